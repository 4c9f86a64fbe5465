"""Participants as tasks of a job array, all into one output folder at once."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slurm

N = 8


def _submit(environment, *words):
    done = subprocess.run(
        ["sbatch", "--parsable", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return done.stdout.strip()


def test_tasks_of_an_array_share_an_output_folder(
    small_dataset_source, slurm, environment, command, until, tmp_path
):
    bids, out = tmp_path / "bids", tmp_path / "out"
    for number in range(1, N + 1):
        anat = bids / f"sub-{number:02d}" / "anat"
        anat.mkdir(parents=True)
        for path in (small_dataset_source / "sub-demo" / "anat").iterdir():
            shutil.copy(path, anat / path.name.replace("sub-demo", f"sub-{number:02d}"))
    shutil.copy(small_dataset_source / "dataset_description.json", bids)
    words = shlex.join(command(bids, out, "--nprocs", 1, "--output-level", "minimal"))
    script = tmp_path / "array.sh"
    script.write_text(
        "#!/bin/bash\n"
        "label=$(sed -n ${SLURM_ARRAY_TASK_ID}p participants.txt)\n"
        f'{words} --participant-label "$label" -w work-$SLURM_ARRAY_TASK_ID --clean-workdir\n'
    )
    labels = [f"{number:02d}" for number in range(1, N + 1)]
    (tmp_path / "participants.txt").write_text("\n".join(labels) + "\n")
    group = shlex.join([sys.executable, "-m", "qsmbids", str(bids), str(out), "group"])
    after = f"#!/bin/bash\ncp {out}/logs/summary.json seen.json\n{group}\n"
    (tmp_path / "after.sh").write_text(after)
    options = ["-D", tmp_path, "--mem=1400", f"--array=1-{N}", "-o", tmp_path / "task-%a.log"]
    array = _submit(environment, *options, script)
    _submit(
        environment, "-D", tmp_path, f"--dependency=afterok:{array}", "--kill-on-invalid-dep=yes",
        "-o", tmp_path / "after.log", tmp_path / "after.sh",
    )  # fmt: skip
    until(lambda: not slurm(), 900)

    logs = "".join(path.read_text() for path in sorted(tmp_path.glob("task-*.log")))
    # what comes after the array began when everything was there
    summary = json.loads((tmp_path / "seen.json").read_text()) if "1 ok" in logs else logs
    assert summary["counts"] == {"ok": N}, logs
    assert [run["run"] for run in summary["runs"]] == [f"sub-{label}" for label in labels]
    for run in summary["runs"]:
        assert all((out / name).stat().st_size for name in run["outputs"])
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert len(list(out.glob("sub-*/anat/*_desc-wholebrain_Chimap.nii.gz"))) == N
    assert not [p for p in out.rglob("*") if p.name.startswith(".~") or "tmp" in p.name]
    assert not list(tmp_path.glob("work-*"))
    # and the group was gathered by it
    said = (tmp_path / "after.log").read_text()
    assert f"{N} participants, {N} runs; 0 failed, 0 missing" in said
    rows = (out / "group_runs.tsv").read_text().splitlines()
    assert len(rows) == N + 1
