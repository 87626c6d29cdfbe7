"""Projection onto convex sets: fill missing traces by thresholding with a falling level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.adapt import as_operator
from sparseinv.operators.base import Operator
from sparseinv.seismic.interruption import answered
from sparseinv.seismic.time_limit import TimeLimit

Array = np.ndarray[Any, Any]

_KINDS = ("hard", "soft")
_SCHEDULES = ("exponential", "linear", "data")


@dataclass(frozen=True, eq=False)
class POCSResult:
    """Hold what `pocs` found.

    Attributes
    ----------
    estimate : ndarray, shape of the data
        The data with the gaps filled; recorded samples as they were for weight 1, mixed with the synthesis
        S x otherwise.
    x : ndarray, shape (n,)
        Coefficients after the last threshold.
    thresholds : ndarray, shape (n_iter,)
        The moduli below which coefficients were zeroed.
    changes : ndarray, shape (n_iter,)
        Norm of the change of the data in each iteration over the norm of the recorded samples.
    complete : bool
        Whether all levels were passed; not where time, Ctrl-C or the callback ended the run.
    lam : float
        Level of L1 (soft) or L0 (hard) that belongs to the last threshold, see `pocs`.
    objective : float
        The objective of `pocs`, Notes, at x and lam.
    n_matvec, n_rmatvec : int
        Products with S and with S^H.
    seconds : float
        Wall time.
    """

    estimate: Array
    x: Array
    thresholds: Array
    changes: Array
    complete: bool
    lam: float
    objective: float
    n_matvec: int
    n_rmatvec: int
    seconds: float

    @property
    def n_iter(self) -> int:
        """Number of thresholdings."""
        return int(self.thresholds.size)

    def __repr__(self) -> str:
        live = int(np.count_nonzero(self.x))
        ended = "" if self.complete else " (ended early)"
        return (
            f"POCS: {self.n_iter} iterations{ended}, threshold {self.thresholds[0]:.3g} to "
            f"{self.thresholds[-1]:.3g}, {live} of {self.x.size} coefficients not zero, "
            f"objective {self.objective:.6g}, {self.n_matvec + self.n_rmatvec} products, {self.seconds:.3g} s"
        )


def pocs(
    data: Any,
    mask: Any,
    synthesis: Any,
    *,
    threshold: str = "hard",
    schedule: str = "exponential",
    first: float = 0.99,
    last: float = 1e-3,
    n_iter: int = 100,
    thresholds: Any = None,
    weight: float = 1.0,
    max_time: float | None = None,
    callback: Callable[[int, Array], Any] | None = None,
) -> POCSResult:
    """Fill gaps by thresholding transform coefficients and putting the recorded samples back.

    With the recorded samples d, their mask M, a tight frame S (S S^H = I) and the threshold T_k::

        x_k = T_k(S^H y_k),   y_{k+1} = S x_k + a M (d - S x_k),   y_1 = M d

    Parameters
    ----------
    data : array_like
        Real or complex, of any shape; values outside of the mask, NaN included, are not read.
    mask : array_like of bool
        True where data were recorded; of a shape that broadcasts to that of the data, for example
        (n_traces, 1) for whole traces.
    synthesis : operator, shape (data.size, n)
        S, from coefficients to the flattened data, with S S^H = I: ``FFT(shape).H``, ``Curvelet(shape).H``,
        ``DCT(shape).H`` and the like; padded ones included.
    threshold : {"hard", "soft"}
        Keep coefficients of modulus above the level as they are, or shrink all of them by it.
    schedule : {"exponential", "linear", "data"}
        How levels fall from ``first`` to ``last``: geometrically, in equal steps, or through the sorted
        moduli of the coefficients of the recorded data, as many of them passed in every iteration.
    first, last : float
        Largest and smallest level over the largest modulus of S^H M d; 0 < last <= first.
    n_iter : int
        Iterations.
    thresholds : array_like, optional
        The levels themselves, in place of a schedule.
    weight : float
        a in (0, 1]: 1 for data without noise, 0.2 to 0.4 for noisy ones, whose recorded samples are then
        denoised too [1]_.
    max_time : float, optional
        Most seconds, roughly, but at least one iteration; the answer is then that of a larger level.
    callback : callable, optional
        Called with k and the read-only y_{k+1}; StopIteration ends the run.

    Returns
    -------
    POCSResult
        ``estimate`` is the last y.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, a mask without a recorded sample, recorded samples that are not finite, or
        numbers out of range.
    Interrupted
        On Ctrl-C after the first iteration; ``.result`` holds the answer after the last complete one.

    Notes
    -----
    For real data the real part of S x is taken. An iteration is exactly one proximal gradient step of
    length a on ``1/2 ||M S x - d||^2 + 1/(2 a) ||(I - S^H S) x||^2 + R(x)``, the balanced problem [3]_, with

    - R = L1(lam), threshold a lam, if soft (ISTA),
    - R = L0(lam), threshold sqrt(2 a lam), if hard (iterative hard thresholding).

    The second term is zero where S is unitary (an FFT without padding). A falling threshold is continuation
    and has no objective of its own; ``lam`` and ``objective`` are those of the last level. Nothing is
    certified: `solve` minimises the same objective with a proof, `interpolate_traces` does so with lambda
    chosen from the data. Cost: one product with S and one with S^H an iteration.

    References
    ----------
    .. [1] R. Abma, N. Kabir, 3D interpolation of irregular data with a POCS algorithm, Geophysics 71
       (2006) E91-E97, doi:10.1190/1.2356088.
    .. [2] J.-J. Gao et al., Irregular seismic data reconstruction based on exponential threshold model of
       POCS method, Appl. Geophys. 7 (2010) 229-238, doi:10.1007/s11770-010-0246-5.
    .. [3] Z. Shen, K.-C. Toh, S. Yun, An accelerated proximal gradient algorithm for frame-based image
       restoration via the balanced approach, SIAM J. Imaging Sci. 4 (2011) 573-596,
       doi:10.1137/090779437.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.operators import FFT
    >>> i = np.arange(32)
    >>> section = np.cos(2 * np.pi * (3 * i[:, None] + 5 * i) / 32)
    >>> mask = np.ones((32, 1), bool); mask[[4, 9, 10, 21, 26]] = False
    >>> filled = pocs(np.where(mask, section, np.nan), mask, FFT((32, 32)).H, n_iter=30)
    >>> bool(np.abs(filled.estimate - section).max() < 1e-6)
    True
    """
    limit = TimeLimit(max_time)
    recorded, live, S = _checked(data, mask, synthesis)
    if threshold not in _KINDS:
        raise ValueError(f'threshold is {threshold!r}, but "hard" or "soft" is needed')
    a = validation.positive(weight, "weight")
    if a > 1.0:
        raise ValueError(f"weight is {a}, but it must lie in (0, 1]")
    real, shape = recorded.dtype.kind != "c", recorded.shape
    y = np.where(live, recorded, 0)
    known = y.ravel()
    keep = (a * live).astype(known.real.dtype).ravel()
    analysed = S.rmatvec(known)
    given = thresholds is not None
    levels = _given(thresholds) if given else _levels(np.abs(analysed), schedule, first, last, n_iter)
    size = float(np.linalg.norm(known)) or 1.0
    changes: list[float] = []
    n_matvec, n_rmatvec = 0, 1
    y = known
    try:
        for k, level in enumerate(levels):
            if k:
                analysed = S.rmatvec(y)
                n_rmatvec += 1
            thresholded = _thresholded(analysed, float(level), threshold)
            product = S.matvec(thresholded)
            n_matvec += 1
            product = product.real if real else product
            following = product + keep * (known - product)
            change = float(np.linalg.norm(following - y)) / size
            # all at once: Ctrl-C must not find the coefficients of one iteration and the data of another
            x, image, y, changes = thresholded, product, following, [*changes, change]
            if callback is not None:
                try:
                    callback(k, _shown(y.reshape(shape)))
                except StopIteration:
                    break
            if limit.ended():
                break
    except KeyboardInterrupt:
        if not changes:
            raise
        limit.stop()
    last = float(levels[len(changes) - 1])
    lam, objective, products = _objective(S, x, image, known, live.ravel(), a, last, threshold, real)
    answer = POCSResult(
        y.reshape(shape), x, levels[: len(changes)], np.array(changes), len(changes) == len(levels), lam,
        objective, n_matvec, n_rmatvec + products, limit.spent,
    )  # fmt: skip
    return answered(answer, limit.stopped)


def _checked(data: Any, mask: Any, synthesis: Any) -> tuple[Array, Array, Operator]:
    """Return the data, the mask in their shape and the synthesis, all checked."""
    recorded = validation.numeric(data, "data")
    if validation.is_single(data):
        recorded = recorded.astype(np.complex64 if recorded.dtype.kind == "c" else np.float32)
    live = np.asarray(mask)
    if live.dtype != bool:
        raise TypeError(f"mask has dtype {live.dtype}, but True where data were recorded is needed")
    try:
        live = np.broadcast_to(live, recorded.shape)
    except ValueError:
        raise ValueError(
            f"mask has shape {live.shape}, which does not broadcast to that of data, {recorded.shape}"
        ) from None
    if not live.any():
        raise ValueError("mask is False everywhere, so there is nothing to interpolate from")
    validation.finite(recorded[live], "data[mask]")
    S = as_operator(synthesis)
    if S.shape[0] != recorded.size:
        raise ValueError(
            f"synthesis has {S.shape[0]} rows, but data has {recorded.size} samples; the map from "
            "coefficients to data is needed, for example FFT(data.shape).H"
        )
    return recorded, live, S


def _given(thresholds: Any) -> Array:
    levels = validation.numeric(thresholds, "thresholds")
    if levels.ndim != 1 or levels.size == 0 or levels.dtype.kind == "c":
        raise ValueError(f"thresholds has shape {levels.shape}, but a vector of real levels is needed")
    if not (np.isfinite(levels) & (levels >= 0)).all():
        raise ValueError("thresholds holds a level that is not a finite number >= 0")
    return levels.astype(np.float64)


def _levels(moduli: Array, schedule: str, first: float, last: float, n_iter: int) -> Array:
    """Return the thresholds of a schedule for the moduli of the coefficients of the recorded data."""
    if schedule not in _SCHEDULES:
        names = ", ".join(f'"{name}"' for name in _SCHEDULES)
        raise ValueError(f"schedule is {schedule!r}, but one of {names} is needed")
    n_iter = validation.count(n_iter, "n_iter", least=1)
    high, low = validation.positive(first, "first"), validation.positive(last, "last")
    if low > high:
        raise ValueError(f"last is {low}, but thresholds fall: at most first = {high} is needed")
    peak = float(moduli.max(initial=0.0))
    if schedule == "linear":
        return np.linspace(high * peak, low * peak, n_iter)
    if schedule == "exponential" or peak == 0.0:
        return peak * np.geomspace(high, low, n_iter)
    ranked = np.sort(moduli, axis=None)[::-1].astype(np.float64)
    ranked = ranked[(ranked <= high * peak) & (ranked >= low * peak)]
    if ranked.size == 0:
        return peak * np.geomspace(high, low, n_iter)
    return ranked[np.round(np.linspace(0, ranked.size - 1, n_iter)).astype(np.intp)]


def _thresholded(v: Array, level: float, kind: str) -> Array:
    modulus = np.abs(v)
    if kind == "hard":
        return np.where(modulus > level, v, 0)
    shrunk = np.maximum(modulus - modulus.dtype.type(level), 0)
    return v * np.divide(shrunk, modulus, out=np.zeros_like(modulus), where=modulus > 0)


def _shown(y: Array) -> Array:
    view = y.view()
    view.flags.writeable = False
    return view


def _objective(
    S: Operator,
    x: Array,
    image: Array,
    known: Array,
    live: Array,
    a: float,
    level: float,
    kind: str,
    real: bool,
) -> tuple[float, float, int]:
    """Return (lam, the balanced objective at x, products with S^H): image is S x."""
    misfit = 0.5 * float(np.linalg.norm((image - known)[live])) ** 2
    # ||(I - S^H S) x||^2 = ||x||^2 - ||S x||^2 would cancel: where S is unitary nothing may be left
    out_of_range = 0.5 / a * float(np.linalg.norm(x - S.rmatvec(image))) ** 2
    if kind == "hard":
        lam = level**2 / (2.0 * a)
        return lam, misfit + out_of_range + lam * int(np.count_nonzero(x)), 1
    lam = level / a
    return lam, misfit + out_of_range + lam * math.fsum(np.abs(x).tolist()), 1
