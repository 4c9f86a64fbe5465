"""Acquisitions as the paper's sample protocols have them, and the sidecar of a map."""

import pytest

from qsmbids.io.metadata import Acquisition
from qsmbids.reports.protocols import PROTOCOLS
from qsmbids.units import centre_frequency_hz


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
            "centre_frequency_hz": centre_frequency_hz(b0_tesla),
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
        two_voxels_of_fat = 3.4e-6 * centre_frequency_hz(b0_tesla) / 2
        common = {
            "Manufacturer": "Siemens",
            "ManufacturersModelName": "Prisma_fit",
            "SoftwareVersions": "syngo MR E11",
            "MagneticFieldStrength": b0_tesla,
            "ImagingFrequency": centre_frequency_hz(b0_tesla) / 1e6,
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


@pytest.fixture
def finished_record():
    """Return the parts of a map's sidecar that the text looks at, for a run with defaults."""
    return {
        "QsmbidsVersion": "9.8.7",
        "EchoTime": [0.005, 0.011, 0.017, 0.023, 0.029],
        "TiltDegrees": 0.0,
        "SliceAlternation": {"Axes": [], "Coherence": [0.9, 0.9, 0.9]},
        "PhaseSign": {"Sign": 1, "Reason": "convention of Siemens"},
        "BrainExtraction": {
            "Name": "built-in BET",
            "Parameters": {"fractional_intensity": 0.5, "threshold_gradient": 0.0},
        },
        "PhaseChecks": {"OpenFringeLines": {"Value": 0.0, "Suspicious": False}},
        "ReadoutCorrection": {"Bipolar": False, "StrengthRad": 0.0002},
        "PhaseOffsetCorrection": {"Name": "MCPC-3D-S", "SmoothingMm": 7.0, "Refinements": 8},
        "DataWeights": {"RelativeResidual": True, "RelativeResidualThreshold": 0.3},
        "BackgroundRemoval": {
            "Name": "V-SHARP",
            "Parameters": {"RadiusUnit": "voxel", "MaximumRadius": 12, "MinimumRadius": 1},
        },
        "DipoleInversion": {"Name": "FANSI", "Parameters": {"GradientL1Penalty": 0.0005}},
        "ReferenceRegion": "brain (Mask 4)",
        "ReferenceValue": -0.0026440957,
    }
