r"""The penalties of the adaptive inversion from the error of the field (recommendation 7.b).

For an error of variance sigma^2 and gradients of chi with the mean length q, the most probable
map has a gradient penalty in proportion to sigma^2 / q. For an error with the spectrum of the
signal itself, b times as strong, it has the square term b x^2 / 2 (Wiener's filter), of which a
part is enough beside the gradients. So

.. math:: t = 0.23 \, b', \qquad \lambda = \tau_w \sigma_w^2 / q_w + \tau_s \sigma_s^2 / q,
          \qquad g = \kappa \, b' \, q

with b' = b - 0.001 from b = 0.02 on, nothing of it up to 0.01 and a part between the two (an error
that small is better held by the gradients alone), the white part w of the error and the rest s,
and the gradients q_w of a map in which the noise has been smoothed already.

Small gradients of real tissue are texture more than noise: from b = 0.02 on, lambda has no white
part, which is held at high frequencies instead, by a part of what Wiener's filter has,
sigma_w^2 / S_chi(k). The power of tissue falls with the third power of the frequency, in half
a real head and in simulated ones (measured: 2.8 to 3.1), so that

.. math:: S_\chi(k) = \frac{\sigma_s^2 / b}{39 \, k^3}, \qquad
          q(k) = 0.25 \, \sigma_w^2 / S_\chi(k)

with sigma_s^2 / b the mean of the power over the band that sigma is taken from.

The factors are the same for every field: all three follow from what :mod:`cone_spectrum` measures.
Low frequencies are held by their local energy, too, with 0.25 b' (:mod:`adaptive_bands`).
Where nothing but noise disturbs the field, b is 0 and total variation is left. Strong sources are
not those that the square term is there for: it falls with the third power of the local size of x.

Gradients differ from place to place, and lambda with them: it is multiplied by the local mean of
their square over the whole one to the power of -1/4, so that edges of the map are held less, and
divided by the gradient that images of the run expect there over the mean one
(:mod:`qsmbids.core.inversion.image_edges`). The error differs, too, and the data count the less
for it (:func:`local_say`), most of all where b counts.

A harmonic field is held the less, the more of the error a map without it leaves: its penalty is in
proportion to (1 / rho - 1 / rho_0)^2, where rho is the error that only it takes over what is
left. Of an error with the spectrum of the tissue that is a third to once what is left, of the rest
of a background removal three to ten times that. From rho_0 on it is free: 2.1, or 0.6 where b' is
nothing, for what is smooth of so small an error is not of the tissue.
"""

from dataclasses import replace

import numpy as np

from qsmbids.core.inversion import adaptive_kernels as loops
from qsmbids.core.inversion.adaptive_solver import AdaptiveProblem, Penalties
from qsmbids.core.inversion.cone_spectrum import ErrorModel
from qsmbids.core.inversion.image_edges import ImageEdges
from qsmbids.core.maths.arrays import Float32Array, Mask
from qsmbids.core.maths.masked import mean_in, scale_in
from qsmbids.core.maths.parallel import planes
from qsmbids.core.maths.smoothing import LocalMean

__all__ = [
    "FIRST",
    "LEAST_TIKHONOV",
    "NEGLIGIBLE",
    "LocalGradient",
    "LocalSquare",
    "local_say",
    "penalties_for",
    "textured",
    "with_local_error",
]


#: Factors of the rule, fitted to simulated heads and half a real one, then frozen.
SHRINK, TAU, TAU_STRUCTURED, KAPPA = 0.23, 0.65, 0.65, 46.0
#: Of the low bands, and of high frequencies.
SHRINK_LOW, SHRINK_HIGH = 0.25, 0.25
#: Mean of the inverse third power of the frequency over the band that sigma is taken from.
INVERSE_CUBE = 39.0
#: Part of the error's variance that is not white, at least, where its share counts.
LEAST_STRUCTURED = 0.1
#: Power of the relative variance by which the data count less: without a square term, and what a
#: whole one adds.
LOCAL_POWER, LOCAL_POWER_MORE = 0.5, 0.25
#: Shares of the error that scale with the signal up to which no square term is needed, and from
#: which on the whole of it is.
BEGINS, WHOLE = 0.01, 0.02
#: Factor of the harmonic penalty, and the ratio from which on there is none, for a whole square
#: term and for none.
HARMONIC, FREE_FROM, FREE_SMALL = 0.27, 2.1, 0.6
#: Smallest ratio that counts.
LEAST_RATIO = 0.02
#: Of the share of the error that scales with the signal, what the steps before the inversion leave
#: of any field; the square term would take the contrast of a clean map for it.
NEGLIGIBLE = 1e-3
#: Of the iterations: the geometric mean of lambda and the mean gradient over their threshold, and
#: the consistency of the field. Fewest iterations for the same map, at any lambda.
CONSISTENCY, FIDELITY = 0.5, 0.3
#: Penalties of the first map, which the error is measured with.
FIRST = Penalties(tikhonov=1e-5, gradient=1e-4, huber=0.0, threshold=0.005)
#: The same of a map that has to explain the field alone.
WITHOUT_HARMONIC = replace(FIRST, harmonic=1e6)
#: The square term is never less, so that x is held where there are no data.
LEAST_TIKHONOV = 1e-6
#: Widths of Huber's function below this [ppm] are none.
LEAST_HUBER = 1e-4
#: Range of the gradient penalty [ppm] and least mean gradient [ppm].
LIMITS = (1e-7, 1e-1)
LEAST_GRADIENT = 1e-5
#: Standard deviation of the window of the local size of x [voxels], and the least weight.
WIDTH, FLOOR = 2.5, 0.005
#: Standard deviation of the window of local gradients [voxels], and their least part.
EDGE_WIDTH, EDGE_FLOOR = 1.0, 0.1


def _counting(error: ErrorModel) -> float:
    """Return how much the share of the error that scales with the signal counts, 0 to 1."""
    return float(np.clip((error.share - BEGINS) / (WHOLE - BEGINS), 0.0, 1.0))


def textured(error: ErrorModel) -> float:
    """Return how much of the white error high frequencies are held for in place of gradients.

    It is the square of what the share counts, for between the two limits gradients do better.
    """
    return _counting(error) ** 2


def penalties_for(error: ErrorModel) -> Penalties:
    """Return the penalties that suit an error model."""
    gradient = max(error.gradient_ppm, LEAST_GRADIENT)
    calm = max(error.calm_gradient_ppm, LEAST_GRADIENT)
    counts = _counting(error)
    share = counts * max(error.share - NEGLIGIBLE, 0.0)
    free_from = FREE_SMALL + counts * (FREE_FROM - FREE_SMALL)
    huber = KAPPA * share * gradient
    white, all_error = error.white_variance, error.sigma_ppm**2
    texture = textured(error)
    structured = max(all_error - white, LEAST_STRUCTURED * all_error)
    held = (1 - texture) * TAU * white / calm + TAU_STRUCTURED * (all_error - white) / gradient
    held = float(np.clip(held, *LIMITS))
    return Penalties(
        tikhonov=max(SHRINK * share, LEAST_TIKHONOV),
        gradient=held,
        huber=huber if huber > LEAST_HUBER else 0.0,
        threshold=float(np.sqrt(held * calm)) / CONSISTENCY,
        harmonic=HARMONIC
        * max(1 / max(error.harmonic_ratio, LEAST_RATIO) - 1 / free_from, 0.0) ** 2,
        low=SHRINK_LOW * share,
        high=SHRINK_HIGH * texture * white * INVERSE_CUBE * error.share / structured
        if texture > 0
        else 0.0,
        fidelity=FIDELITY,
    )


def local_say(variance: Float32Array, texture: float = 0.0) -> Float32Array:
    """Return what data weights are multiplied by: they fall with the relative variance.

    With its root: where the error is large the signal is, too, as a rule. With the power of 3/4
    where :func:`textured` is 1.
    """
    power = np.float32(LOCAL_POWER + LOCAL_POWER_MORE * texture)
    return (variance**-power).astype(np.float32)


def with_local_error(problem: AdaptiveProblem, say: Float32Array) -> AdaptiveProblem:
    """Return the problem with weights multiplied by :func:`local_say`, as many in all."""
    weights, sums = np.empty_like(say), np.empty((say.shape[0], 2))
    with planes(say.shape[0], problem.n_threads) as run:
        run(loops.product_and_sums, weights, problem.weights, say, sums)
    before, after = sums.sum(axis=0)
    weights *= np.float32(before / after)
    return replace(problem, weights=weights)


class LocalSquare:
    """What the square term is multiplied by: 1 in even tissue and outside the mask.

    It is the third power of the root mean square of x over the local one, at most 1.
    """

    def __init__(self, mask: Mask, n_threads: int = 1) -> None:
        self._mask, self._n_threads = mask, n_threads
        self._around = LocalMean(mask, WIDTH, n_threads)

    def __call__(self, x: Float32Array) -> Float32Array:
        """Return it for a map."""
        mask, n_threads = self._mask, self._n_threads
        square = x - np.float32(mean_in(x, mask, n_threads))
        square *= square
        square *= mask
        typical = np.float32(mean_in(square, mask, n_threads))
        local = self._around(square)
        with planes(x.shape[0], n_threads) as run:
            run(loops.spared, local, mask, typical, np.float32(FLOOR))
        return local


class LocalGradient:
    """What lambda is multiplied by, and the share that each image has in it.

    It is less at edges of the map and of the images, and without these 1 on average in the mask. A
    gradient penalty in proportion to the variance over the mean gradient holds for each place,
    with the gradients around it; of those of the map the root of it is taken, for the map errs,
    too.
    """

    def __init__(self, problem: AdaptiveProblem, edges: ImageEdges) -> None:
        self._mask, self._steps, self._n_threads = problem.mask, problem.steps, problem.n_threads
        self._edges = edges
        self._around = LocalMean(problem.mask, EDGE_WIDTH, problem.n_threads, 1e-2)

    def __call__(self, x: Float32Array) -> tuple[Float32Array, tuple[float, ...]]:
        """Return both for a map."""
        factor = self._own(x)
        if not self._edges.lengths:
            return factor, ()
        of_images, shares = self._edges.penalty(x, self._steps)
        factor *= of_images
        return factor, shares

    def _own(self, x: Float32Array) -> Float32Array:
        """Return the factor of the edges of the map itself."""
        mask, n_threads, square = self._mask, self._n_threads, np.empty_like(x)
        with planes(x.shape[0], n_threads) as run:
            run(loops.squares_in_mask, square, x, mask, self._steps)
            factor = self._around(square)
            typical = mean_in(factor, mask, n_threads)
            if not typical > 0:
                return np.ones_like(x)
            run(loops.edge_factor, factor, mask, np.float32(typical), np.float32(EDGE_FLOOR))
        scale_in(factor, 1 / mean_in(factor, mask, n_threads), mask, n_threads)
        return factor
