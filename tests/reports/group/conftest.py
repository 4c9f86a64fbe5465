"""A study as its participants' jobs leave it: numbers without images, written in moments."""

import json

import numpy as np
import pytest

ATLAS = {
    "Caudate": 0.06, "Putamen": 0.07, "Pallidum": 0.14, "Red nucleus": 0.11,
    "Substantia nigra": 0.13, "Thalamus": 0.01, "Hippocampus": -0.01, "Dentate": 0.09,
}  # fmt: skip
HEAD = (
    "index name hemisphere n_voxels n_mask4 fraction_excluded mean std median iqr mad p05 p95"
).split()
REFERENCE_HEAD = (
    "reference region n_voxels volume_ml mean std median p05 p95 reference_value"
).split()
SETTINGS = """[dipole_inversion.fansi]
maximum_iterations = {iterations}
[reference]
region = "brain-mask"
[execution]
preset = "consensus-fansi"
version = "{version}"
"""


def _text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _tsv(path, head, rows):
    lines = ["\t".join(head), *("\t".join(map(str, row)) for row in rows)]
    _text(path, "\n".join(lines) + "\n")


class Study:
    """Writes runs one by one; ``out`` and ``bids`` are its folders."""

    def __init__(self, root):
        self.bids, self.out = root / "bids", root / "out"
        self.bids.mkdir(parents=True)
        self.out.mkdir()
        self.rng = np.random.default_rng(7)

    def raw(self, label):
        """Write the (empty) raw images of a run."""
        folder = self._folder(self.bids, label)
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("mag", "phase"):
            (folder / f"{label}_echo-1_part-{part}_MEGRE.nii.gz").touch()

    def run(self, label, *, shift=0.0, csf=0.01, atlas="cit168", shifted="Putamen", sides=True,
            streaks=None, version="1.0", iterations=400, frequency=127.73, warnings=(), tr=0.04,
            excluded=0.02):  # fmt: skip
        """Write the outputs of a run that was processed."""
        folder = self._folder(self.out, label)
        folder.mkdir(parents=True, exist_ok=True)
        csf = csf + self._scatter(0.006)
        name = f"{label}_desc-wholebrain_Chimap"
        (folder / f"{name}.nii.gz").touch()
        sidecar = {
            "MagneticFieldStrength": 3.0,
            "ImagingFrequency": frequency + self._scatter(1e-4),
            "EchoTime": [0.005, 0.01],
            "TiltDegrees": 0.0,
            "QsmbidsVersion": version,
            "Warnings": list(warnings),
            "AcquisitionWarnings": [],
        }
        _text(folder / f"{name}.json", json.dumps(sidecar))
        values = {}
        for roi, typical in ATLAS.items() if atlas else ():
            for side in ("left", "right") if sides else ("n/a",):
                wrong = shift if roi == shifted and side in ("left", "n/a") else 0.0
                values[roi, side] = typical + self._scatter(0.012) + wrong
        for reference, subtracted in (("wholebrain", 0.0), ("csf", csf)) if atlas else ():
            rows = []
            for index, ((roi, side), value) in enumerate(values.items(), 1):
                mean = value - subtracted
                spread = [f"{x:.6f}" for x in (0.02, mean, 0.03, 0.012, mean - 0.03, mean + 0.03)]
                count = [500, round(500 * (1 - excluded)), f"{excluded:.3f}"]
                rows.append([index, roi, side, *count, f"{mean:.6f}", *spread])
            _tsv(folder / f"{label}_seg-{atlas}_desc-{reference}_stats.tsv", HEAD, rows)
        rows = []
        for reference, subtracted in (("wholebrain", 0.0), ("csf", csf)):
            for region, mean in (("wholebrain", 0.0), ("csf", csf)):
                cells = [9000, "9.000", *(f"{x:.6f}" for x in (mean - subtracted, 0.05, 0, -1, 1))]
                rows.append([reference, region, *cells, f"{subtracted:.6f}"])
        _tsv(folder / f"{label}_desc-references_stats.tsv", REFERENCE_HEAD, rows)
        measures = {
            "streaking": 0.02 + self._scatter(0.003) if streaks is None else streaks,
            "noise_ppm": 0.004 + self._scatter(0.0004),
            "mask_hole_fraction": 0.01 + self._scatter(0.004),
        }
        told = {
            "Measures": measures,
            "MeasureUnits": {"streaking": "ppm", "mask_hole_fraction": ""},
            "MeasureVerdicts": {"streaking": "ok" if streaks is None else "look"},
        }
        _text(folder / f"{label}_desc-iqms_stats.json", json.dumps(told))
        raw = {"RepetitionTime": tr, "FlipAngle": 15, "Manufacturer": "Siemens",
               "ManufacturersModelName": "Prisma", "SeriesInstanceUID": label}  # fmt: skip
        _text(folder / f"{label}_desc-acquisition_stats.json", json.dumps(raw))
        job = f"job-{version}-{iterations}"
        _text(
            self.out / "logs" / job / "qsmbids.toml",
            SETTINGS.format(version=version, iterations=iterations),
        )
        _text(self.out / f"{label}.html", f"<!doctype html><title>{label}</title>")
        self.status(label, status="ok", log=f"logs/{job}")

    def status(self, label, **entry):
        """Write only the status of a run."""
        text = json.dumps({"run": label, **entry})
        _text(self.out / "logs" / "status" / f"{label}.json", text)

    def contents(self):
        """Return every file of the group with its bytes."""
        return {p.name: p.read_bytes() for p in sorted(self.out.glob("group_*"))}

    def table(self, name):
        """Return a table of the group as a list of dicts."""
        lines = (self.out / f"group_{name}.tsv").read_text("utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]

    def _scatter(self, width):
        # bounded, so that nobody is far away by chance
        return float(self.rng.uniform(-width, width))

    @staticmethod
    def _folder(root, label):
        words = label.split("_")
        return root.joinpath(*(w for w in words[:2] if w.startswith(("sub-", "ses-"))), "anat")


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


@pytest.fixture
def typical(study):
    """Twelve participants, one far away, one with streaks, one failed, one missing."""
    for number in range(1, 13):
        label = f"sub-{number:02d}"
        study.raw(label)
        options = {3: {"shift": 0.2}, 5: {"streaks": 0.2}, 7: {"warnings": ["odd phase"]}}
        study.run(label, **options.get(number, {}))
    study.raw("sub-13")
    study.status("sub-13", status="failed", step="bet", step_title="brain extraction",
                 message="no brain <b>here</b>", log="logs/x")  # fmt: skip
    study.raw("sub-14")
    return study
