"""Interpolation of missing traces by sparse coefficients of a tight frame, lambda by hold-out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve
from sparseinv.operators.adapt import as_operator
from sparseinv.operators.base import Operator
from sparseinv.operators.fourier import FFT
from sparseinv.penalties import L0, L1, Penalty
from sparseinv.result import Result
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.proximal_gradient import ISTA

Array = np.ndarray[Any, Any]

_FALL = 0.5  # factor between two levels
_FIRST, _LAST = 0.2, 4e-4  # largest and smallest level over the one that leaves nothing
_PATIENCE = 2  # levels without a better prediction after which the path is left
_BEGUN = 0.9  # factor on the first error below which the path predicts at all
# With fixed weights a level moves x little, so that it must be solved exactly and may gain little; weights
# that follow x move it much, and their last levels cost the most.
_LOOSE = {True: 2.0, False: 0.3}  # by reweight: tolerance on the way, relative to that of the last level,
_GAIN = {True: 0.99, False: 1.01}  # and factor on the error above which a level is the last


class BalancedFrame(Operator):
    """Restrict a real section synthesised from frame coefficients, and charge what no section has.

    ``A x = [M Re(S x); kappa (x - S^H Re(S x))]`` for a tight frame S (S S^H = I): with b = [d; 0] the
    misfit is ``1/2 ||M S x - d||^2 + kappa^2/2 dist(x, range S^H)^2``. kappa = 0 is the synthesis problem,
    kappa = 1 the one that `pocs` takes proximal steps on.

    Parameters
    ----------
    synthesis : Operator, shape (samples, n)
        S.
    kept : ndarray of bool, shape (samples,)
        Samples that were recorded.
    kappa : float
        Weight of the distance, 0 to 1, which keeps the norm at 1.

    Notes
    -----
    Linear over the reals only. Cost: one product with S and one with S^H for A, and for A^H.
    """

    clinear = False

    def __init__(self, synthesis: Operator, kept: Array, kappa: float = 1.0) -> None:
        self.synthesis, self.kappa = synthesis, kappa
        #: positions of the recorded samples
        self.index = np.flatnonzero(kept)
        n = synthesis.shape[1]
        self._charged = kappa > 0.0 and n > synthesis.shape[0]
        super().__init__((self.index.size + (n if self._charged else 0), n), synthesis.dtype)

    def data(self, samples: Array) -> Array:
        """Return b for recorded samples: [d; 0]."""
        return np.concatenate([samples, np.zeros(self.shape[0] - self.index.size)])

    def _matvec(self, x: Array) -> Array:
        image = self.synthesis.matvec(x).real
        if not self._charged:
            return image[self.index]
        return np.concatenate([image[self.index], self.kappa * (x - self.synthesis.rmatvec(image))])

    def _rmatvec(self, y: Array) -> Array:
        count = self.index.size
        if not self._charged:
            back = np.zeros(self.synthesis.shape[0], dtype=y.real.dtype)
            back[self.index] = y.real
            return self.synthesis.rmatvec(back)
        rest = self.kappa * y[count:]
        back = -self.synthesis.matvec(rest).real
        back[self.index] += y[:count].real
        return self.synthesis.rmatvec(back) + rest

    def norm_bound(self) -> float:
        """Return 1: the two parts act on orthogonal spaces, each with norm at most 1."""
        return 1.0


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Hold what `interpolate_traces` found.

    Attributes
    ----------
    estimate : ndarray, shape (n_traces, n_samples)
        The section with its gaps filled.
    x : ndarray, shape (n,)
        Coefficients; ``synthesis @ x`` is the section that they stand for.
    result : Result
        The last solve, with its certificate.
    lam : float
        The lam of the penalty.
    rule : str
        How it was chosen.
    mask : ndarray of bool, shape (n_traces,)
        True for the traces that were used.
    synthesis : Operator
        S.
    lams, errors : ndarray
        Each lam tried and the error of prediction of the traces held out, relative to their norm; empty where
        it was given.
    n_products : int
        Products with the map and its adjoint, hold-out included; two transforms each for redundant frames.
    seconds : float
        Wall time.
    """

    estimate: Array
    x: Array
    result: Result
    lam: float
    rule: str
    mask: Array
    synthesis: Operator
    lams: Array = field(default_factory=lambda: np.zeros(0))
    errors: Array = field(default_factory=lambda: np.zeros(0))
    n_products: int = 0
    seconds: float = 0.0

    @property
    def success(self) -> bool:
        """Whether the certificate meets the tolerance."""
        return self.result.success

    def __repr__(self) -> str:
        missing, total = int((~self.mask).sum()), self.mask.size
        return (
            f"{missing} of {total} traces interpolated from {self.result.support.size} of {self.x.size} "
            f"coefficients\n  lam         {self.lam:.6g}: {self.rule}\n"
            f"  certificate {self.result.certificate}\n"
            f"  cost        {self.n_products} products, {self.seconds:.3g} s"
        )


def interpolate_traces(
    section: Any,
    mask: Any = None,
    *,
    dictionary: Any = "curvelet",
    penalty: L1 | L0 | None = None,
    reweight: bool | None = None,
    keep: str = "recorded",
    held: float = 0.2,
    seed: int = 0,
    kappa: float = 1.0,
    tol: float = 0.1,
    max_time: float | None = None,
    callback: Callable[[float, Array], Any] | None = None,
) -> Interpolation:
    """Fill the missing traces of a section by sparse coefficients of plane waves or curvelets.

    Minimises ``1/2 ||M S x - d||^2 + kappa^2/2 ||(I - S^H S) x||^2 + R(x)`` through falling levels, each from
    the one before: S the synthesis, M d the traces at hand.

    Parameters
    ----------
    section : array_like, shape (n_traces, n_samples)
        Real.
    mask : array_like of bool, shape (n_traces,), optional
        True for traces to use. By default those that hold no NaN and are not zero throughout.
    dictionary : {"curvelet", "fk"} or operator
        "curvelet": `Curvelet` of four scales; "fk": plane waves, `FFT` padded to twice the section; or the
        synthesis S itself, a tight frame of shape (n_traces n_samples, n).
    penalty : L1 or L0, optional
        R, ``L1()`` by default. Without lam the level is chosen by hold-out; with lam, one number, that is the
        last level (of L0: lam^2 / 2 has the threshold that L1 at lam has). weights, shape (n,), are relative
        levels of the coefficients; inf excludes them.
    reweight : bool, optional
        At every level, replace lam_j of L1 by lam_j / (1 + 2 |x_j| / lam), x of the level before, which
        charges large coefficients little: iteratively reweighted L1 [1]_. By default where R is L1.
    keep : {"recorded", "denoised"}
        Return recorded traces as they are, or as synthesised like the others.
    held : float
        Share of the recorded traces held out for the choice of the level.
    seed : int
        Decides which.
    kappa : float
        0 for the synthesis problem, up to 1; what `pocs` solves has 1, which interpolates better.
    tol : float
        The last level is solved until its certificate is at most tol times the objective of the level
        before, without reweighting to 0.3 times that; relative to 1/2 ||b||^2 it falls with the level.
    max_time : float, optional
        Most seconds, roughly.
    callback : callable, optional
        Called with the level and the synthesised section after each level of the final path.

    Returns
    -------
    Interpolation
        Estimate, coefficients, `Result` with its certificate, lam and the rule.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    ImportError
        dictionary is "curvelet" and the package curvelets is not installed.

    Notes
    -----
    Hold-out: a path is solved on a part of the recorded traces, whole traces being held out because samples
    of one trace say much about each other; the level that predicts them best is taken, and the path is left
    when two levels were not better, or one gained too little for its price. Then the same path is followed
    with all traces down to that level. The result is certified for the last level: a duality gap for L1,
    reweighted for the weights of the last round, first-order stationarity for L0.
    Data that are regularly decimated and aliased need ``L1(weights=...)``: see `low_frequency_weights`.

    This is the function for tight frames (S S^H = I) on a whole section, where the balanced objective and
    reweighting give the best sections. `fill_traces` solves the plain synthesis problem and takes any
    dictionary, norm or not (local Radon panels of curved events), any penalty with a level, any
    selector and any solver.

    References
    ----------
    .. [1] E. Candes, M. Wakin, S. Boyd, Enhancing sparsity by reweighted l1 minimization, J. Fourier
       Anal. Appl. 14 (2008) 877-905, doi:10.1007/s00041-008-9045-x.
    .. [2] F. Herrmann, G. Hennenfent, Non-parametric seismic data recovery with curvelet frames,
       Geophys. J. Int. 173 (2008) 233-248, doi:10.1111/j.1365-246X.2007.03698.x.

    Examples
    --------
    >>> import numpy as np
    >>> i = np.arange(32)
    >>> section = np.cos(2 * np.pi * (3 * i[:, None] + 5 * i) / 32)
    >>> gaps = section.copy(); gaps[[4, 9, 10, 21, 26]] = np.nan
    >>> found = interpolate_traces(gaps, dictionary="fk")
    >>> found.result.success, bool(np.abs(found.estimate - section).max() < 0.1)
    (True, True)
    """
    began = time.perf_counter()
    traces, live = _section(section, mask)
    kind, rounds = _checked_penalty(penalty, reweight)
    if keep not in ("recorded", "denoised"):
        raise ValueError(f'keep is {keep!r}, but "recorded" or "denoised" is needed')
    share, seed = validation.fraction(held, "held"), validation.count(seed, "seed")
    kappa, tol = validation.real_number(kappa, "kappa"), validation.tolerance(tol)
    if not 0.0 <= kappa <= 1.0:
        raise ValueError(f"kappa is {kappa}, but it must lie between 0 and 1")
    limit = math.inf if max_time is None else validation.positive(max_time, "max_time")
    S = _dictionary(dictionary, traces.shape)
    level, relative = _level(kind, S.shape[1])
    hard = isinstance(kind, L0)
    deadline = began + limit
    if level is None:
        half = began + 0.5 * limit  # the rest is for the answer
        descent = _Descent(traces, _trained(live, share, seed), S, kappa, relative, hard, rounds, tol, half)
        level, lams, errors, rule = _chosen(descent, live)
        spent = descent.n_products
    else:
        lams, errors, rule, spent = np.zeros(0), np.zeros(0), "given", 0
    descent = _Descent(traces, live, S, kappa, relative, hard, rounds, tol, deadline)
    result = descent.to(level, callback)
    estimate = descent.predicted(result.x)
    if keep == "recorded":
        estimate = np.where(live[:, None], traces, estimate)
    if validation.is_single(section):
        estimate = estimate.astype(np.float32)
    if hard:
        level, lams = 0.5 * level**2, 0.5 * lams**2
    return Interpolation(
        estimate, result.x, result, level, rule, live, S, lams, errors, spent + descent.n_products,
        time.perf_counter() - began,
    )  # fmt: skip


class _Descent:
    """Follow falling levels on some traces of a section."""

    def __init__(
        self,
        traces: Array,
        live: Array,
        S: Operator,
        kappa: float,
        weights: Array,
        hard: bool,
        reweight: bool,
        tol: float,
        deadline: float,
    ) -> None:
        self.traces, self.live, self.S = traces, live, S
        self.weights, self.hard, self.reweight = weights, hard, reweight
        self.tol, self.deadline = tol, deadline
        kept = np.broadcast_to(live[:, None], traces.shape).ravel()
        self.A = BalancedFrame(S, kept, kappa)
        self.b = self.A.data(traces.ravel()[kept])
        self.top = lam_max(self.A, self.b, L1(weights=weights))
        self.x: Array | None = None
        self.size = 1.0  # objective over 1/2 ||b||^2
        self.n_products = 2

    def to(self, level: float, callback: Callable[[float, Array], Any] | None = None) -> Result:
        """Return the solution at a level, approached through the larger ones."""
        above = [level]
        while above[-1] < _FIRST * self.top * _FALL**0.5:
            above.append(above[-1] / _FALL)
        for one in reversed(above):
            result = self.at(one, last=one == level)
            if callback is not None:
                callback(one, self.predicted(result.x))
        return result

    def at(self, level: float, last: bool = False) -> Result:
        """Return the solution at a level, started from the last one."""
        penalty, solver = self._penalty(level)
        loose = _LOOSE[self.reweight]
        tol = (min(loose, 1.0) if last else loose) * self.tol * self.size
        left = None if math.isinf(self.deadline) else max(self.deadline - time.perf_counter(), 0.0)
        result = solve(
            self.A, self.b, penalty, solver=solver, x0=self.x, tol=tol, max_time=left, check_operator=False
        )
        self.x = result.x
        # the objective falls with the level, and what is left of 1/2 ||b||^2 must be known to the same digits
        self.size = min(result.objective / result.certificate.scale, 1.0) if result.objective else self.size
        self.n_products += result.products.total
        return result

    def predicted(self, x: Array) -> Array:
        """Return the section that coefficients stand for."""
        return np.asarray(self.S.matvec(x).real.reshape(self.traces.shape))

    def _penalty(self, level: float) -> tuple[L1 | L0, Any]:
        if self.hard:
            return L0(0.5 * level**2, weights=self.weights**2), ISTA(norm=1.0, continuation=self.x is None)
        if not self.reweight or self.x is None:
            return L1(level, weights=self.weights), "auto"
        return L1(level, weights=self.weights / (1.0 + 2.0 * np.abs(self.x) / level)), "auto"


def _chosen(descent: _Descent, live: Array) -> tuple[float, Array, Array, str]:
    """Return the level that predicts best the traces that a descent has not seen, and what was tried."""
    tested = live & ~descent.live
    truth = descent.traces[tested]
    size = float(np.linalg.norm(truth)) or 1.0
    lams, errors, settled = [], [], False
    level = _FIRST * descent.top
    while level >= _LAST * descent.top and level > 0.0:
        x = descent.at(level).x
        lams.append(level)
        errors.append(float(np.linalg.norm(descent.predicted(x)[tested] - truth)) / size)
        waited = len(errors) - 1 - int(np.argmin(errors))
        begun = min(errors) < _BEGUN * errors[0]
        settled = begun and errors[-1] > _GAIN[descent.reweight] * min(errors[:-1])
        if waited >= _PATIENCE or settled or time.perf_counter() >= descent.deadline:
            break
        level *= _FALL
    if not lams:  # nothing but zeros was recorded
        return 1.0, np.zeros(0), np.zeros(0), "no signal"
    best = int(np.argmin(errors))
    rule = f"least error of {int(tested.sum())} recorded traces held out"
    if best == 0 or (best == len(errors) - 1 and not settled):
        rule += f", at the edge of the {len(errors)} levels tried"
    return lams[best], np.array(lams), np.array(errors), rule


def _section(section: Any, mask: Any) -> tuple[Array, Array]:
    """Return the traces, zeros where missing, and which were recorded."""
    traces = validation.numeric(section, "section")
    if traces.ndim != 2 or min(traces.shape) == 0:
        raise ValueError(f"section has shape {traces.shape}, but (n_traces, n_samples) is needed")
    if traces.dtype.kind == "c":
        raise TypeError("section is complex, but real traces are needed")
    if mask is None:
        live: Array = np.asarray(~np.isnan(traces).any(axis=1) & traces.any(axis=1))
    else:
        live = np.asarray(mask)
        if live.dtype != bool or live.shape != traces.shape[:1]:
            raise ValueError(
                f"mask has shape {live.shape} and dtype {live.dtype}, but one bool per trace is needed, "
                f"shape ({traces.shape[0]},)"
            )
    if live.sum() < 5:
        raise ValueError(f"section has {int(live.sum())} recorded traces, but at least 5 are needed")
    validation.finite(traces[live], "section[mask]")
    return np.where(live[:, None], traces, 0.0), live


def _dictionary(dictionary: Any, shape: tuple[int, ...]) -> Operator:
    if isinstance(dictionary, str):
        if dictionary == "fk":
            return FFT(shape, sizes=[2 * size for size in shape]).H
        if dictionary == "curvelet":
            from sparseinv.operators.curvelet import Curvelet

            return Curvelet(shape, scales=4).H
        raise ValueError(f'dictionary is {dictionary!r}, but "curvelet", "fk" or an operator is needed')
    S = as_operator(dictionary)
    if S.shape[0] != math.prod(shape):
        raise ValueError(
            f"dictionary has {S.shape[0]} rows, but section has {math.prod(shape)} samples; the map from "
            "coefficients to the section is needed, for example FFT(section.shape).H"
        )
    return S


def _checked_penalty(penalty: Any, reweight: bool | None) -> tuple[L1 | L0, bool]:
    """Return the penalty, L1 by default, and whether it is reweighted."""
    validation.refuse_class(penalty, Penalty, "penalty")
    kind = L1() if penalty is None else penalty
    if not isinstance(kind, (L1, L0)):
        raise TypeError(f"penalty is {penalty!r}, but L1 or L0 is needed")
    companions = isinstance(kind, L0) and (kind.l1 is not None or kind.l2 is not None)
    if kind.groups is not None or kind.nonnegative or companions:
        raise ValueError(f"penalty is {penalty!r}, but only lam, one number, and weights can be set here")
    if isinstance(kind, L0) and reweight:
        raise ValueError("reweight is True, but only L1 can be reweighted, not L0")
    return kind, isinstance(kind, L1) if reweight is None else bool(reweight)


def _level(kind: L1 | L0, n: int) -> tuple[float | None, Array]:
    """Return the threshold or None, and that of every coefficient relative to it."""
    weights = np.asarray(1.0 if kind.weights is None else kind.weights, dtype=np.float64)
    weights = np.full(n, weights) if weights.ndim == 0 else weights
    if weights.shape != (n,):
        raise ValueError(f"weights has shape {weights.shape}, but one number per coefficient, ({n},)")
    if isinstance(kind, L0):
        weights = np.sqrt(weights)
    if kind.lam is None:
        return None, weights
    if np.ndim(kind.lam) > 0:
        raise ValueError(f"penalty has {np.size(kind.lam)} levels, but one is needed; pass them as weights")
    lam = validation.positive(kind.lam, "penalty.lam")
    return (math.sqrt(2.0 * lam) if isinstance(kind, L0) else lam), weights


def _trained(live: Array, share: float, seed: int) -> Array:
    """Return the recorded traces without those held out; the first and the last one stay."""
    inner = np.flatnonzero(live)[1:-1]
    count = min(max(round(share * int(live.sum())), 1), inner.size)
    out = live.copy()
    out[np.random.default_rng(seed).choice(inner, count, replace=False)] = False
    return out
