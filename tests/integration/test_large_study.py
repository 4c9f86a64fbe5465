"""One participant of a large study costs no more than one of a small study."""

import subprocess
import sys

import pytest

_WATCH = """
import sys
seen = []

def watch(event, arguments):
    if event in ("open", "os.scandir", "os.listdir", "os.stat", "glob.glob"):
        seen.append(str(arguments[0]))

sys.addaudithook(watch)
from qsmbids.cli.run import main
code = main(sys.argv[2:])
open(sys.argv[1], "w").write("\\n".join(seen))
sys.exit(code)
"""


@pytest.mark.slow
def test_other_participants_are_never_looked_into(small_dataset, tmp_path):
    for number in range(20):
        anat = small_dataset / f"sub-other{number}" / "anat"
        anat.mkdir(parents=True)
        (anat / f"sub-other{number}_echo-1_part-mag_MEGRE.json").write_text("{broken")
        (small_dataset / "sourcedata" / f"sub-other{number}").mkdir(parents=True)
    seen = tmp_path / "seen.txt"
    words = [small_dataset, tmp_path / "out", "participant", "--participant-label", "demo"]
    done = subprocess.run(
        [sys.executable, "-c", _WATCH, seen, *words, "--dry-run"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "1 to process" in done.stdout
    assert "sub-demo_echo-1_part-phase_MEGRE.nii.gz" in seen.read_text()
    assert "sub-other" not in seen.read_text()
