"""Quality measures of whole runs: quiet on clean data, and artefacts of the input are found."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter

TIMES_7T = (0.004, 0.009, 0.014, 0.019)


#: The criteria are for voxels of up to 2 mm.
HEAD = {"shape": (48, 56, 40), "voxel_size": (2.0, 2.0, 2.0)}


@pytest.fixture(scope="module")
def usual(made_once, write_small_dataset):
    """One finished run of the head as it is: ``bids`` and ``work``; nobody writes to it."""
    from qsmbids.cli.run import main

    def build(folder):
        bids = write_small_dataset(folder / "bids", **HEAD)
        words = [bids, folder / "out", "participant", "--work-dir", folder / "work", "--nprocs", 1]
        assert main([str(w) for w in (*words, "--skip-bids-validation")]) == 0

    return made_once("usual-run", build)


@pytest.fixture
def process(tmp_path, write_small_dataset, usual, qsmbids):
    """Write a small head, spoil it, and run everything.

    The head of the usual run is known, so that only what differs from that run is computed.
    """

    def call(*options, spoil=None, **head):
        bids, work = tmp_path / "bids", tmp_path / "work"
        shutil.copytree(usual / "work", work)
        if head:
            write_small_dataset(bids, **HEAD | head)
        else:
            shutil.copytree(usual / "bids", bids)
        if spoil is not None:
            options = (*options, *(spoil(bids) or ()))
        return qsmbids(
            bids, tmp_path / "out", "participant", "--skip-bids-validation", "--nprocs", 1,
            "--output-level", "minimal", "--work-dir", work, *options,
        )  # fmt: skip

    return call


@pytest.fixture
def measure(process, tmp_path):
    """Return the sidecar of the measures of a whole run."""

    def call(*options, **head):
        code, _, said = process(*options, **head)
        assert code == 0, said
        out = tmp_path / "out"
        anat = out / "sub-demo" / "anat"
        content = json.loads((anat / "sub-demo_desc-iqms_stats.json").read_text())
        with (anat / "sub-demo_desc-iqms_stats.tsv").open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert {r["measure"]: r["verdict"] for r in rows} == content["MeasureVerdicts"]
        assert {r["measure"] for r in rows if r["value"] != "n/a"} == set(content["Measures"])
        assert all(type(v) in (int, float) for v in content["Measures"].values())
        return content

    return call


def _unusual(content):
    return {name for name, verdict in content["MeasureVerdicts"].items() if verdict == "look"}


CLEAN = {
    "another cortex": ((), {"seed": 2}),
    "GE": ((), {"encoding": "ge", "seed": 3}),
    "7 T": ((), {"b0_tesla": 7.0, "echo_times": TIMES_7T, "seed": 4}),
    "tilted": ((), {"tilt_degrees": 25.0, "seed": 5}),
    "rotated": (("--oblique", "rotate"), {"tilt_degrees": 25.0}),
    "bipolar": ((), {"readout": "bipolar"}),
    "one echo": ((), {"echo_times": (0.02,)}),
    "two echoes": ((), {"echo_times": (0.008, 0.018)}),
    "nonlinear fit": (("--echo-combination", "nonlinear"), {}),
    "MEDI": (("--inversion", "medi"), {}),
    "TKD": (("--inversion", "tkd"), {}),
    "L2": (("--inversion", "l2"), {}),
    "PDF": (("--background", "pdf"), {}),
    "two passes": (("--holes", "two-pass"), {}),
    "1 mm": ((), {"shape": (96, 112, 80), "voxel_size": (1.0, 1.0, 1.0), "seed": 6}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLEAN)
def test_clean_scans_have_nothing_unusual(measure, name):
    options, head = CLEAN[name]
    content = measure(*options, **head)
    assert _unusual(content) == set()
    absent = {n for n, v in content["MeasureVerdicts"].items() if v == "unknown"}
    # few echoes leave something unknown, closed forms do not iterate, and the sign of a map may
    # be undecided; everything else is measured
    few = {"RimHighR2Star", "MeanAtHighR2Star", "EchoTimeError"}
    assert absent <= few | {"InversionIterations", "WrapJumpsPhase"}


def _phase_images(bids):
    return sorted(Path(bids, "sub-demo", "anat").glob("*part-phase_MEGRE.nii.gz"))


def _swap_echoes(bids):
    """Exchange the images of two echoes, but not their echo times."""
    for part in ("phase", "mag"):
        second, third = (
            Path(bids, "sub-demo", "anat", f"sub-demo_echo-{e}_part-{part}_MEGRE.nii.gz")
            for e in (2, 3)
        )
        kept = second.read_bytes()
        second.write_bytes(third.read_bytes())
        third.write_bytes(kept)


def _change_phase(bids, change):
    for path in _phase_images(bids):
        image = nib.load(path)
        phase = change(np.asarray(image.dataobj, dtype=np.float32))
        nib.save(nib.Nifti1Image(phase.astype(np.float32), image.affine), path)


def _filter_phase(bids):
    def high_pass(phase):
        signal = np.exp(1j * phase)
        low = gaussian_filter(signal.real, 3) + 1j * gaussian_filter(signal.imag, 3)
        return np.angle(signal * low.conj())

    _change_phase(bids, high_pass)


def _halve_phase(bids):
    _change_phase(bids, lambda phase: phase / 2)


def _large_mask(bids):
    truth = Path(bids, "derivatives/truth/sub-demo/anat")
    image = nib.load(next(truth.glob("*_mask.nii.gz")))
    mask = binary_dilation(np.asarray(image.dataobj) > 0, iterations=4)
    folder = Path(bids, "derivatives", "mine", "sub-demo", "anat")
    folder.mkdir(parents=True)
    path = folder / "sub-demo_mask.nii.gz"
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), path)
    return ("--mask", str(path))


SPOILT = {
    "inverted sign": (("--phase-sign", "-1"), {}, {"MeanAtHighR2Star"}),
    "noise x 4": ((), {"noise_std": 0.08}, {"FieldNoise", "LocalFieldNoise", "MagnitudeSnr"}),
    "filtered phase": (
        ("--accept-filtered-phase",),
        {"encoding": "float", "spoil": _filter_phase},
        {"FilteredPhase"},
    ),
    "half the phase": ((), {"encoding": "float", "spoil": _halve_phase}, {"PhaseCoverage"}),
    "mask too large": ((), {"spoil": _large_mask}, {"RemovedByReliability"}),
    "one echo time wrong by a third of the spacing": (
        ("--echo-times", *(str(t) for t in (0.004, 0.010, 0.018, 0.022, 0.028))),
        {},
        {"EchoTimeError"},
    ),
    "echo times 1000 times too long": (
        ("--echo-times", *(str(t) for t in (0.4, 1.0, 1.6, 2.2, 2.8))),
        {},
        {"SusceptibilityStd", "SusceptibilityP99"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOILT)
def test_artefacts_of_the_input_are_found(measure, name):
    options, head, expected = SPOILT[name]
    assert expected <= _unusual(measure(*options, **head))


@pytest.mark.slow
def test_swapped_echoes_are_refused(process, tmp_path):
    code, _, said = process(spoil=_swap_echoes)
    assert code == 1, said
    assert "echo times" in said
    assert "the order of the images" in said
    assert not list((tmp_path / "out").rglob("*_Chimap.nii.gz"))
