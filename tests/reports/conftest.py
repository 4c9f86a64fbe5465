"""A small output dataset with an asymmetric mark, written without running the pipeline."""

import json

import numpy as np
import pytest

from qsmbids.io.runs import run_entities
from qsmbids.io.write import write_json, write_text, write_volume
from qsmbids.reports.run.catalogue import MASKS

SHAPE = (24, 30, 20)
FOLDERS = {
    "anat": {
        "desc-wholebrain_Chimap": 0.05,
        "R2starmap": 20.0,
        "desc-phasequality_probseg": 0.7,
        "echo-2_part-phase_desc-unwrapped_MEGRE": 2.0,
        "echo-2_part-phase_desc-preproc_MEGRE": 1.0,
    },
    "fmap": {"magnitude": 900.0, "desc-local_fieldmap": 3.0, "desc-total_fieldmap": 40.0},
}


@pytest.fixture
def write_outputs(tmp_path):
    """Write the outputs of one run; returns the root and the status."""

    def write(
        label="sub-01", *, affine=None, leave_out=(), sidecar=None, status=None, shape=SHAPE
    ):
        out = tmp_path / "out"
        entities = run_entities(label)
        folder = out / f"sub-{entities['subject']}"
        if "session" in entities:
            folder /= f"ses-{entities['session']}"
        affine = np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine
        rng = np.random.default_rng(1)
        brain = np.zeros(shape, dtype=bool)
        brain[3:-3, 3:-3, 3:-3] = True
        content = {
            "Units": "ppm",
            "Description": "a map",
            "MagneticFieldStrength": 3.0,
            "ImagingFrequency": 127.7,
            "EchoTime": [0.005, 0.01],
            "Decisions": ["phase sign: +1"],
            "Warnings": [],
            "Steps": ["invert_dipole_field"],
            "DipoleInversion": {"Name": "FANSI", "Parameters": {"MaximumIterations": 7}},
            **(sidecar or {}),
        }
        for datatype, names in FOLDERS.items():
            for name, level in names.items():
                if name in leave_out:
                    continue
                noise = rng.normal(0, 0.1 * level, shape)
                image = level + noise if name == "magnitude" else noise * brain
                path = folder / datatype / f"{label}_{name}.nii.gz"
                write_volume(path, image.astype(np.float32), affine)
                write_json(path.with_name(f"{label}_{name}.json"), content)
        for mask in MASKS:
            if mask not in leave_out:
                name = f"{label}_label-brain_desc-{mask}_mask"
                write_volume(folder / "anat" / f"{name}.nii.gz", brain, affine)
                write_json(folder / "anat" / f"{name}.json", {"Decisions": []})
        result = {"run": label, "status": "ok", "log": "logs/job", **(status or {})}
        write_json(out / "logs" / "status" / f"{label}.json", result)
        stamp = "2026-01-01 10:00:00,000 "
        write_text(
            out / "logs" / "job" / "qsmbids.log",
            f"{stamp}INFO    {label}  phase to radians: done in 1.2 s\n"
            f"{stamp}WARNING {label}0      WARNING: of another run\n",
        )
        write_text(
            out / "logs" / "job" / "qsmbids.toml",
            "[dipole_inversion.fansi]\nmaximum_iterations = 7\n"
            '[execution]\npreset = "consensus-fansi"\n',
        )
        write_json(out / "dataset_description.json", {"GeneratedBy": [{"Name": "FSL"}]})
        return out, json.loads((out / "logs" / "status" / f"{label}.json").read_text())

    return write
