"""What each choice of a setting means for the recommendations: one line per choice."""

from qsmbids.reports.paper.findings import Verdict

__all__ = ["CHOICES", "Choice"]

#: Recommendation, topic, verdict and text.
Choice = tuple[str, str, Verdict, str]

#: What each value of a setting means.
CHOICES: dict[str, dict[object, Choice]] = {
    "total_field.echo_phase_combination": {
        "romeo-weighted-average": (
            "4.c",
            "unwrapping and echo combination",
            "pass",
            "Template unwrapping, then weighted echo averaging.",
        ),
        "nonlinear-fit": (
            "4.c",
            "unwrapping and echo combination",
            "pass",
            "Nonlinear fit of the complex signal, then spatial unwrapping.",
        ),
    },
    "total_field.phase_offset_correction": {
        "mcpc-3d-s": ("4.c", "phase offset", "pass", "Removed explicitly, by MCPC-3D-S."),
        "none": (
            "4.c",
            "phase offset",
            "changed",
            "The phase at TE = 0 stays in the field; background removal takes only part of it.",
        ),
    },
    "masks.brain_extraction_image": {
        "first-echo": ("5.a", "Mask 1", "pass", "BET on the magnitude of the first echo."),
        "combined": ("5.a", "Mask 1", "pass", "BET on the combined magnitude."),
    },
    "masks.reliable_phase": {
        "romeo-quality": ("5.a", "Mask 2", "pass", "Threshold of the phase quality map."),
        "inverse-noise": ("5.a", "Mask 2", "pass", "Threshold of the noise map of the field."),
        "relative-residual": (
            "5.a",
            "Mask 2",
            "pass",
            "Threshold of the residual of the signal model over the echoes.",
        ),
        "none": (
            "5.a",
            "Mask 2",
            "changed",
            "No mask of reliable phase; the weights alone reduce the influence of bad voxels.",
        ),
    },
    "background_field.method": {
        "vsharp": ("6.a", "background field removal", "pass", "V-SHARP."),
        "pdf": (
            "6.b",
            "background field removal",
            "pass",
            "PDF, for the whole brain to its surface; it needs a good brain mask.",
        ),
        "resharp": (
            "6.a",
            "background field removal",
            "changed",
            "RESHARP, of the SHARP family, instead of V-SHARP or PDF; its radius is eroded.",
        ),
        "lbv": (
            "6.a",
            "background field removal",
            "changed",
            "LBV instead of V-SHARP or PDF; it depends much on the mask and on noise at its rim.",
        ),
        "ismv": (
            "6.a",
            "background field removal",
            "changed",
            "iSMV, of spherical mean values too, instead of V-SHARP or PDF; its radius is eroded.",
        ),
    },
    "dipole_inversion.method": {
        "fansi": (
            "7.a",
            "dipole inversion",
            "pass",
            "Optimisation, sparse gradients, FANSI.",
        ),
        "medi": ("7.a", "dipole inversion", "pass", "Optimisation with an L1 norm, MEDI."),
        "tkd": (
            "7.a",
            "dipole inversion",
            "changed",
            "Truncated k-space division: no sparsity, so streaks remain; not for final results.",
        ),
        "l2": (
            "7.a",
            "dipole inversion",
            "changed",
            "L2 regularisation: no sparsity, which smooths edges; not for final results.",
        ),
    },
    "dipole_inversion.constraint": {
        "tv": ("7.a", "sparsity", "pass", "Total variation."),
        "tgv": ("7.a", "sparsity", "pass", "Total generalised variation."),
    },
    "reference.region": {
        "brain-mask": (
            "8.c",
            "reference",
            "pass",
            "Referenced to the mean of the brain (Mask 4).",
        ),
        "csf": ("8.c", "reference", "pass", "Referenced to the cerebrospinal fluid."),
        "region": ("8.c", "reference", "pass", "Referenced to a region that was given."),
        "none": (
            "8.c",
            "reference",
            "advice",
            "Not referenced: subtract the mean of a region before any analysis.",
        ),
    },
}
