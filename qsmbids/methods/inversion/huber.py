"""Huber's function with penalties that follow from the error of the field (7.b)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qsmbids.methods.declaration import Answer, Clause, Method, setting
from qsmbids.methods.inversion.data import InversionData, Susceptibility

if TYPE_CHECKING:
    from qsmbids.core.inversion.cone_spectrum import ErrorModel
    from qsmbids.core.inversion.standard_error import StandardError
    from qsmbids.core.maths.arrays import FloatArray

__all__ = ["METHOD", "Huber"]

_FIXED = {"regularisation": ("fixed",)}


@dataclass(frozen=True)
class Huber:
    """Settings of the adaptive Huber inversion: none, unless a study fixes what runs measured."""

    regularisation: str = setting(
        "adaptive",
        "choice of the penalties",
        doc="adaptive measures the error of the field of each run; fixed takes it as below, from"
        " --adaptive-from, so that all runs of a study have the same penalties.",
        choices=("adaptive", "fixed"),
    )
    edges: str = setting(
        "map-and-images",
        "edges at which the gradient is penalised less",
        doc="Those of the map itself, or also those of the combined magnitude and of R2*, as far"
        " as the map has gradients there.",
        choices=("map", "map-and-images"),
    )
    put_back: bool = setting(
        True,
        "local field that was removed, put back by the inversion",
        doc="What V-SHARP takes of the field of the map's own fine structure, where V-SHARP has"
        " not put it back, is not followed by PDF, and the inversion is of one pass. Without it"
        " nuclei are too weak by up to 10 ppb.",
    )
    error_share: float = setting(
        0.0,
        "error of the field that scales with the signal, share of its power",
        doc="b.",
        minimum=0.0,
        maximum=10.0,
        when=_FIXED,
    )
    white_noise_ppm: float = setting(
        0.001, "white error of the field", "ppm", "sqrt(a).", minimum=0.0, when=_FIXED
    )
    error_ppm: float = setting(
        0.001,
        "error of the field beyond 0.1 cycles per voxel",
        "ppm",
        "Its standard deviation.",
        minimum=0.0,
        when=_FIXED,
    )
    harmonic_ratio: float = setting(
        0.0,
        "power of the harmonic rest of the background over that of the error",
        doc="In the cone of k-space; the larger, the less the harmonic field is held.",
        minimum=0.0,
        when=_FIXED,
    )
    gradient_ppm: float = setting(
        0.01, "mean gradient of the first map", "ppm", "Noise included.", minimum=0.0, when=_FIXED
    )
    calm_gradient_ppm: float = setting(
        0.01, "mean gradient of a smooth map", "ppm", "Without noise.", minimum=0.0, when=_FIXED
    )


def _given(settings: Huber) -> "ErrorModel | None":
    """Return the error that a study has fixed."""
    from qsmbids.core.inversion.cone_spectrum import ErrorModel

    if settings.regularisation == "adaptive":
        return None
    return ErrorModel(
        white_ppm=settings.white_noise_ppm,
        share=settings.error_share,
        sigma_ppm=settings.error_ppm,
        gradient_ppm=settings.gradient_ppm,
        calm_gradient_ppm=settings.calm_gradient_ppm,
        white_percent=0.0,
        structured_percent=0.0,
        harmonic_ratio=settings.harmonic_ratio,
    )


def _images(data: InversionData) -> "dict[str, FloatArray]":
    """Return the images whose edges count, by name."""
    from qsmbids.core.inversion.image_edges import even_out

    even = even_out(data.magnitude, data.support, data.voxel_size, data.n_threads)
    images = {"magnitude": even}
    if data.r2star is not None:
        images["R2*"] = data.r2star
    return images


def _compute(data: InversionData, settings: Huber) -> Susceptibility:
    from qsmbids.core.inversion.adaptive_inversion import adaptive_inversion

    images = _images(data) if settings.edges == "map-and-images" else {}
    result = adaptive_inversion(
        *data.volumes,
        centre_frequency=data.centre_frequency,
        echo_time=data.echo_times[-1],
        error=_given(settings),
        images=list(images.values()),
        removal=data.removal if settings.put_back else None,
        n_threads=data.n_threads,
    )
    error, penalties = result.error, result.penalties
    sure = None
    if data.uncertainty:
        from qsmbids.core.inversion.standard_error import standard_error

        sure = standard_error(result, data.voxel_size)
    measured = settings.regularisation == "adaptive"
    found = (
        f"the field holds an error of {error.error_percent:.0f} % that no susceptibility explains:"
        f" {error.white_percent:.0f} % is noise, {error.structured_percent:.0f} % has the spectrum"
        " of the tissue"
    )
    rule = (
        f"penalties: square {penalties.tikhonov:.3g}, of low frequencies {penalties.low:.3g} more,"
        f" of high ones {penalties.high:.3g} times the third power of the frequency,"
        f" gradient {penalties.gradient:.3g} ppm,"
        f" linear beyond {penalties.huber:.3g} ppm"
    )
    rest = (
        f"a harmonic field, as background removal leaves, takes {result.harmonic_percent:.0f} % of"
        f" the field (in the cone {error.harmonic_ratio:.3g} times the error that is left)"
    )
    shares = dict(zip(images, result.edge_shares, strict=True))
    seen = " and ".join(f"{100 * share:.0f} % of {name}" for name, share in shares.items())
    edges = f"expected gradients of the map: {seen}, the rest even" if seen else ""
    back = (
        f"of the local field, {result.put_back_percent:.1f} % that background removal had taken of"
        " the field of the map was put back"
        if result.put_back_percent > 0
        else ""
    )
    turned = f"data of {result.n_turned} voxels moved by whole turns" if result.n_turned else ""
    end = f"adaptive Huber: {result.n_iterations} iterations"
    facts: dict[str, Any] = {
        "Iterations": result.n_iterations,
        "LastUpdatePercent": float(result.update_percent),
        "TurnedVoxels": result.n_turned,
        "SquarePenalty": float(penalties.tikhonov),
        "LowFrequencyPenalty": float(penalties.low),
        "HighFrequencyPenalty": float(penalties.high),
        "GradientPenaltyPpm": float(penalties.gradient),
        "HuberWidthPpm": float(penalties.huber),
        "HarmonicPenalty": float(penalties.harmonic),
        "HarmonicFieldPercent": float(result.harmonic_percent),
        "PutBackPercent": float(result.put_back_percent),
    }
    if shares:
        names = {"magnitude": "Magnitude", "R2*": "R2star"}
        facts["EdgeShares"] = {names[name]: share for name, share in shares.items()}
    if measured:
        facts |= {
            "FieldErrorPercent": float(error.error_percent),
            "FieldErrorWhitePercent": float(error.white_percent),
            "FieldErrorStructuredPercent": float(error.structured_percent),
        }
    said, numbers = _size(sure, data)
    return Susceptibility(
        result.chi,
        data.support,
        decisions=(found if measured else "", rule, edges, rest, back, turned, end, said),
        parameters={
            "ErrorShare": float(error.share),
            "WhiteNoisePpm": float(error.white_ppm),
            "ErrorPpm": float(error.sigma_ppm),
            "HarmonicRatio": float(error.harmonic_ratio),
            "GradientPpm": float(error.gradient_ppm),
            "CalmGradientPpm": float(error.calm_gradient_ppm),
            "EchoTime": data.echo_times[-1],
        },
        facts=facts | numbers,
        standard_error=None if sure is None else sure.total_ppm,
        errors=None if sure is None else sure.errors,
        error_factor=1.0 if sure is None else sure.factor,
    )


def _size(sure: "StandardError | None", data: InversionData) -> tuple[str, dict[str, Any]]:
    """Return the size of the standard error in words and numbers."""
    if sure is None:
        return "", {}
    total, chance = (float(np.median(v[data.support])) for v in (sure.total_ppm, sure.chance_ppm))
    said = (
        f"standard error of the susceptibility, from {len(sure.errors)} simulated heads: in the"
        f" median voxel {1e3 * total:.2g} ppb, of which {1e3 * chance:.2g} ppb by chance; errors"
        f" count {sure.factor:.2f} times theirs, by what they lose"
    )
    return said, {
        "StandardErrorMedianPpm": total,
        "StandardErrorByChanceMedianPpm": chance,
        "SimulatedHeads": len(sure.errors),
        "ErrorOverSimulated": sure.factor,
    }


METHOD = Method(
    name="huber",
    titles=("adaptive Huber",),
    settings=Huber,
    doi="https://doi.org/10.1007/BF00131148",
    answer=Answer(
        "7.a",
        "dipole inversion",
        "pass",
        "Optimisation with sparse gradients; its penalties follow from the error of the field.",
    ),
    compute=_compute,
    loop="inversion.adaptive_kernels:solve",
    strength="error_share",
    uncertain=True,
    as_left=True,
    tune="let --adaptive-from fix what finished runs found, and keep it for the study",
    study=(
        "error_share",
        "white_noise_ppm",
        "error_ppm",
        "harmonic_ratio",
        "gradient_ppm",
        "calm_gradient_ppm",
    ),
    sentences=(
        Clause(
            "Susceptibility was calculated by an inversion that sets itself: least squares without"
            " outliers [@black1996], with square penalties of the map and of its low and high"
            " frequencies and Huber's function of its gradient, whose weights follow from the"
            " error of the field and are less at strong"
            " sources and edges. A weak harmonic field was fitted along [@milovic2019], the more"
            " freely, the more error it explained."
        ),
        Clause(
            "Edges were those of the map and, as far as the map had gradients at them, of the"
            " combined magnitude [@liu2011medi] and of R2* where it was mapped.",
            {"edges": "map-and-images"},
        ),
        Clause("Edges were those of the map alone.", {"edges": "map"}),
        Clause(
            "What V-SHARP takes of the field of the map itself, less its local mean, was then"
            " put back once, and the iterations went on.",
            {"put_back": True, "run.put_back_by_inversion": True},
        ),
        Clause("", {"run.put_back_by_inversion": False}, ("put_back",)),
        Clause(
            "The inversion put nothing back of what background removal takes of the local field.",
            {"put_back": False},
        ),
        Clause(
            "That error was measured in each run, in the cone of k-space where no susceptibility"
            " acts.",
            {"regularisation": "adaptive"},
        ),
        Clause(
            "It was {run.field_error} % of the field.",
            {"regularisation": "adaptive", "run.field_error_known": True},
        ),
        Clause(
            "That error was fixed for the study: a share of {error_share} of the power of the"
            " signal, {white_noise_ppm} of noise, {error_ppm} in all at the higher frequencies,"
            " with mean gradients of {gradient_ppm} and {calm_gradient_ppm}.",
            {"regularisation": "fixed"},
        ),
        Clause("These values are the {dipole_inversion.regularisation_from}."),
        Clause(
            "The standard error of the susceptibility was taken from inversions of simulated heads"
            " with the edges of the map, the power that was measured for the tissue, and errors"
            " as measured; it holds bias and chance. Intervals of the means of regions"
            " lie about the mean less its estimated bias.",
            {"dipole_inversion.uncertainty": True},
        ),
        Clause("", {"dipole_inversion.uncertainty": False}),
    ),
)
