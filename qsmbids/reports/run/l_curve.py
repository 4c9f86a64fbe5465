"""The picture and the table of an L-curve."""

import io
from collections.abc import Callable

import numpy as np

from qsmbids.core.inversion.l_curve import LCurve
from qsmbids.reports.run.planes import WIDTH_INCHES

__all__ = ["curve_table", "draw_l_curve"]

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.linewidth": 0.6,
    "svg.hashsalt": "qsmbids",
    "svg.fonttype": "path",
}
_DPI = 300
_CURVE, _CORNER = "#33475b", "#b03a2e"


#: What the strength of a method is called, and the strength of the curve by it.
_STRENGTHS: dict[str, tuple[str, Callable[[float], float]]] = {
    "fansi": ("alpha1", lambda strength: strength),
    "medi": ("lambda", lambda strength: 1.0 / strength),
}


def draw_l_curve(curve: LCurve, title: str, form: str = "svg", method: str = "fansi") -> bytes:
    """Draw an L-curve and its curvature, with the corner where there is one.

    Parameters
    ----------
    curve : LCurve
    title : str
        The run.
    form : str
        "svg" or "png".
    method : str
        "fansi" or "medi", which decides how the strength is called.

    Returns
    -------
    bytes
        The file.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    name, of = _STRENGTHS[method]
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(
            figsize=(WIDTH_INCHES, 0.42 * WIDTH_INCHES), facecolor="white", layout="constrained"
        )
        left, right = figure.subplots(1, 2)
        left.plot(curve.residual, curve.regularity, "o-", color=_CURVE, ms=3, lw=0.9)
        for alpha, x, y in zip(curve.strengths, curve.residual, curve.regularity, strict=True):
            left.annotate(
                f"{of(alpha):.1e}", (x, y), (4, 3), textcoords="offset points", fontsize=5
            )
        left.set_xlabel("log10 of the weighted misfit [Hz]")
        left.set_ylabel("log10 of the total variation [ppm]")
        values = [of(alpha) for alpha in curve.strengths]
        right.semilogx(values, curve.curvature, "o-", color=_CURVE, ms=3, lw=0.9)
        right.set_xlabel({"fansi": "gradient penalty alpha1"}.get(method, name))
        right.set_ylabel("curvature")
        if not curve.at_the_edge:
            t = np.log10(curve.strengths)
            at = np.log10(curve.corner)
            corner = [np.interp(at, t, v) for v in (curve.residual, curve.regularity)]
            left.plot(*corner, "s", color=_CORNER, ms=6, mfc="none")
            right.axvline(of(curve.corner), color=_CORNER, lw=0.8, ls="--")
            title += f": corner at {name} = {of(curve.corner):.2e}"
        else:
            title += ": no corner in this range"
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, fontsize=9)
        buffer = io.BytesIO()
        extra = {"metadata": {"Date": None, "Creator": "qsmbids"}} if form == "svg" else {}
        figure.savefig(buffer, format=form, dpi=_DPI, **extra)  # type: ignore[arg-type]
    return buffer.getvalue()


def curve_table(curve: LCurve, method: str = "fansi") -> str:
    """Return the points of an L-curve as tab-separated values, from weak to strong.

    Examples
    --------
    >>> from qsmbids.core.inversion.l_curve import find_corner
    >>> a = np.geomspace(1e-4, 1e-2, 5)
    >>> print(curve_table(find_corner(a, 1 + a / 1e-3, 1 + 1e-3 / a)).splitlines()[0])
    alpha1	log10_misfit_hz	log10_total_variation_ppm	curvature
    """
    name, of = _STRENGTHS[method]
    rows = [f"{name}\tlog10_misfit_hz\tlog10_total_variation_ppm\tcurvature"]
    points = zip(curve.strengths, curve.residual, curve.regularity, curve.curvature, strict=True)
    rows += [f"{of(a):.4g}\t{rho:.5f}\t{eta:.5f}\t{k:.3f}" for a, rho, eta, k in points]
    return "\n".join(rows) + "\n"
