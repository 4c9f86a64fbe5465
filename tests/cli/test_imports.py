"""What a command imports, and what it does without."""

import subprocess
import sys

import pytest

#: Of no use before the first step begins. (SciPy's own ``__init__`` is imported by nibabel.)
NEEDLESS = {
    "nipype",
    "networkx",
    "traits",
    "pydicom",
    "gdcm",
    "requests",
    "numba",
    "llvmlite",
    "scipy.ndimage",
    "scipy.sparse",
    "matplotlib",
    "jinja2",
    "pandas",
    "yaml",
    "qsmbids.interfaces",
    "qsmbids.workflows.run",
}


def _python(code: str, *words: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_dry_run_imports_nothing_that_only_a_run_needs(small_dataset, tmp_path):
    code = (
        "import sys; from qsmbids.cli.run import main; code = main(sys.argv[1:]);"
        "print(code, *sorted(sys.modules), sep='\\n')"
    )
    options = ("--dry-run", "--skip-bids-validation")
    lines = _python(code, small_dataset, tmp_path / "out", "participant", *options)
    end = lines.index("0")  # the exit code
    assert any("dipole inversion" in line for line in lines[:end])
    imported = set(lines[end + 1 :])
    assert {"nibabel", "bids.layout"} <= imported
    assert not NEEDLESS & imported


def test_what_is_needless_here_is_what_other_commands_import():
    """Else a name above may be misspelt."""
    code = (
        "import sys, qsmbids.workflows.base, qsmbids.reports.run.page, pydicom.pixels, pandas;"
        "import matplotlib.figure, nipype.pipeline.engine as pe; pe.Workflow('w');"
        "print(*sys.modules, sep='\\n')"
    )
    assert set(_python(code)) >= NEEDLESS


_ALONE = """
import io, sys
from qsmbids.cli.nibabel_alone import import_nibabel
import_nibabel()
assert "pydicom" not in sys.modules
import nibabel as nib
import numpy as np
header = bytes.fromhex("0800050043530a0049534f5f495220313030")
image = nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
if {before}:
    import pydicom
image.header.extensions.append(nib.nifti1.Nifti1Extension(2, header))
image.to_filename(sys.argv[1])
again = nib.load(sys.argv[1])
(extension,) = again.header.extensions
assert extension.get_code() == 2 and extension._raw.rstrip(b"\\0") == header
again.to_filename(sys.argv[2])
(extension,) = nib.load(sys.argv[2]).header.extensions
assert extension._raw.rstrip(b"\\0") == header
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
dataset = Dataset()
dataset.PatientName = "Phantom"
dataset.file_meta = FileMetaDataset()
dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
buffer = io.BytesIO()
pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
buffer.seek(0)
assert pydicom.dcmread(buffer, force=True).PatientName == "Phantom"
assert isinstance(dataset, pydicom.Dataset)
print("done")
"""


@pytest.mark.parametrize("before", [False, True])
def test_dicom_is_read_and_its_header_extensions_kept_after_nibabel_alone(tmp_path, before):
    code = _ALONE.replace("{before}", str(before))
    assert _python(code, tmp_path / "one.nii", tmp_path / "two.nii.gz") == ["done"]


def test_where_pydicom_is_there_already_nothing_is_hidden():
    code = (
        "import pydicom, sys; from qsmbids.cli.nibabel_alone import import_nibabel;"
        "import_nibabel(); print(sys.modules['pydicom'] is pydicom, 'nibabel' in sys.modules)"
    )
    assert _python(code) == ["True False"]
