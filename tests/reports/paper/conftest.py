"""Acquisitions as the paper's sample protocols have them, and the sidecar of a map."""

import pytest

from qsmbids.config import Settings
from qsmbids.io.metadata import Acquisition
from qsmbids.reports.paper.protocols import PROTOCOLS
from qsmbids.reports.paper.run_facts import run_facts
from qsmbids.reports.paper.settings_in_force import in_force
from qsmbids.units import larmor_frequency


@pytest.fixture
def make_acquisition():
    """Return an acquisition; by default the 3 T protocol of S1.5, axial, array axes R, A, S."""

    def make(b0_tesla=3.0, echo_times=None, voxel_size=None, matrix=None, **kwargs):
        protocol = min(PROTOCOLS, key=lambda p: abs(p.b0_tesla - b0_tesla))
        front, side, head = protocol.matrix
        matrix = matrix or (side, front, head)
        voxel_size = voxel_size or (protocol.voxel_size,) * 3
        if echo_times is None:
            echo_times = [
                protocol.first_echo + i * protocol.echo_spacing for i in range(protocol.n_echoes)
            ]
        x, y, z = voxel_size
        options = {
            "centre_frequency_hz": larmor_frequency(b0_tesla),
            "centre_frequency_source": "ImagingFrequency",
            "affine": ((x, 0, 0, 0), (0, y, 0, 0), (0, 0, z, 0), (0, 0, 0, 1)),
            "b0_direction": (0.0, 0.0, 1.0),
            "tilt_degrees": 0.0,
            "manufacturer": "Siemens",
            "phase_units": "arbitrary",
            **kwargs,
        }
        return Acquisition(
            echo_times=tuple(echo_times),
            b0_tesla=b0_tesla,
            voxel_size=voxel_size,
            matrix=matrix,
            **options,
        )

    return make


@pytest.fixture
def make_sidecars():
    """Return the sidecars of a sample protocol of S1.5 as a converter would write them."""

    def make(b0_tesla=3.0, **changed):
        protocol = min(PROTOCOLS, key=lambda p: abs(p.b0_tesla - b0_tesla))
        two_voxels_of_fat = 3.4e-6 * larmor_frequency(b0_tesla) / 2
        common = {
            "Manufacturer": "Siemens",
            "ManufacturersModelName": "Prisma_fit",
            "SoftwareVersions": "syngo MR E11",
            "MagneticFieldStrength": b0_tesla,
            "ImagingFrequency": larmor_frequency(b0_tesla) / 1e6,
            "MRAcquisitionType": "3D",
            "ScanningSequence": "GR",
            "SequenceVariant": "SK_SP",
            "ScanOptions": "FC",
            "ReadoutMode": "Monopolar",
            "RepetitionTimeExcitation": protocol.repetition_time,
            "FlipAngle": protocol.flip_angle,
            "PixelBandwidth": two_voxels_of_fat,
            "ParallelReductionFactorInPlane": protocol.acceleration,
            "ParallelAcquisitionTechnique": "GRAPPA",
            "PartialFourier": 1,
            "ReceiveCoilName": "HeadNeck_64",
            "PatientPosition": "HFS",
            "AcquisitionMatrixPE": protocol.matrix[1],
            "ReconMatrixPE": protocol.matrix[1],
            "AcquisitionDuration": 394.0,
            "ConversionSoftware": "dcm2niix",
            "ConversionSoftwareVersion": "v1.0.20240202",
            **changed,
        }
        kept = {k: v for k, v in common.items() if v is not None}
        return tuple({**kept, "EchoNumber": i + 1} for i in range(5))

    return make


def _put(record, path, value):
    *parents, last = path.split(".")
    for name in parents:
        record = record.setdefault(name, {})
    record[last] = value


@pytest.fixture
def make_record():
    """Return what the sidecars of an ordinary run say, by the settings that it had.

    That real runs say the same, in this and in every other way, is tested with whole runs.
    """

    def make(settings=None, n_echoes=5, **changed):
        settings = settings or Settings()
        record = {
            "QsmbidsVersion": "9.8.7",
            "EchoTime": [0.005 + 0.006 * i for i in range(n_echoes)],
            "TiltDegrees": 0.0,
            "MagneticFieldStrength": 3.0,
            "FilledVoxels": 12,
            "FieldNoiseMedianHz": 0.1,
            "PhaseChecks": {"OpenFringeLines": {"Value": 0.0, "Suspicious": False}},
            "DataWeights": {"RelativeResidual": n_echoes > 2},
            "ReferenceRegion": "brain (Mask 4)",
            "ReferenceValue": -0.0026440957,
            "ReferenceValues": {"wholebrain": -0.0026440957, "csf": 0.01},
        }
        for row, value in in_force(settings, n_echoes):
            words = {v: k for k, v in row.names.items()}
            if row.sidecar and not (row.otherwise and value == row.otherwise[0]):
                _put(record, row.sidecar, words.get(value, value))
        found = {
            "PhaseSign.Sign": 1,
            "SliceAlternation.Axes": [],
            "BrainExtraction.Name": "built-in BET",
            "ReadoutCorrection.Bipolar": False,
            "R2StarFit.Name": "arlo",
            "CsfRegion.Found": True,
            "BackgroundRemoval.Parameters.RadiusUnit": "voxel",
        }
        fit = settings.total_field.echo_phase_combination == "nonlinear-fit" and n_echoes > 2
        if fit:
            found |= {"Unwrapping.FitWeights": "romeo4", "PhaseQuality.Weights": "romeo3"}
        else:
            found |= {"PhaseQuality.Weights": settings.total_field.romeo_weights}
        found["Unwrapping.Name"] = "ROMEO"
        if n_echoes == 1:
            record["EchoCombination"] = {"Name": "single echo"}
        for path, value in found.items():
            _put(record, path, value)
        planned = run_facts(settings, {}, None, n_echoes, 0.0)
        steps = [k.removeprefix("step.") for k, there in planned.items()
                 if k.startswith("step.") and there]  # fmt: skip
        record["Steps"] = ["mask1", "check_phase", *steps]
        if settings.dipole_inversion.holes == "two-pass":
            record["Steps"].append("merge_two_pass")
        return {**record, **changed}

    return make


@pytest.fixture
def finished_record(make_record):
    """Return what the sidecars of a run with the defaults say."""
    return make_record()
