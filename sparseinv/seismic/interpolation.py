"""Interpolation of missing traces by sparse coefficients of a tight frame, lambda by hold-out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.adapt import as_operator
from sparseinv.operators.base import Operator
from sparseinv.operators.fourier import FFT
from sparseinv.penalties import L0, L1, Penalty
from sparseinv.result import Result
from sparseinv.seismic.balanced_path import Descent, chosen_level, training_masks
from sparseinv.seismic.interruption import answered, kept

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class InterpolatedTraces:
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
    traces: Any,
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
) -> InterpolatedTraces:
    """Fill the missing traces of a section by sparse coefficients of plane waves or curvelets.

    Minimises ``1/2 ||M S x - d||^2 + kappa^2/2 ||(I - S^H S) x||^2 + R(x)`` through falling levels, each from
    the one before: S the synthesis, M d the traces at hand.

    Parameters
    ----------
    traces : array_like, shape (n_traces, n_samples)
        Real; side by side they are the section.
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
        Share of the recorded traces held out for the choice of the level; where that makes less than 20
        traces, up to three such parts are held out, each from a path of its own.
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
    InterpolatedTraces
        Estimate, coefficients, `Result` with its certificate, lam and the rule.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    ImportError
        dictionary is "curvelet" and the package curvelets is not installed.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Hold-out: a path is solved on a part of the recorded traces, whole traces being held out because samples
    of one trace say much about each other, if possible such that no gap becomes wider than the widest is;
    the level that predicts them best is taken, and the path is left when two levels were not better, or one
    gained too little for its price. Then the same path is followed with all traces down to that level. The
    result is certified for the last level: a duality gap for L1, reweighted for the weights of the last
    round, first-order stationarity for L0.
    Data that are regularly decimated and aliased need ``L1(weights=...)``: see `low_frequency_weights`.

    Take this function for tight frames (S S^H = I) of a whole section, curvelets or plane waves, where it
    gives the best sections, and `fill_traces` for any other dictionary, penalty, selector or solver.

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
    recorded, live = _recorded(traces, mask)
    kind, rounds = _checked_penalty(penalty, reweight)
    if keep not in ("recorded", "denoised"):
        raise ValueError(f'keep is {keep!r}, but "recorded" or "denoised" is needed')
    share, seed = validation.fraction(held, "held"), validation.count(seed, "seed")
    kappa, tol = validation.real_number(kappa, "kappa"), validation.tolerance(tol)
    if not 0.0 <= kappa <= 1.0:
        raise ValueError(f"kappa is {kappa}, but it must lie between 0 and 1")
    limit = math.inf if max_time is None else validation.positive(max_time, "max_time")
    S = _dictionary(dictionary, recorded.shape)
    level, relative = _level(kind, S.shape[1])
    hard = isinstance(kind, L0)
    deadline = began + limit
    stopped, start = False, None
    if level is None:
        half = began + 0.5 * limit  # the rest is for the answer
        descents = [
            Descent(recorded, part, S, kappa, relative, hard, rounds, tol, half)
            for part in training_masks(live, share, seed)
        ]
        (level, lams, errors, rule), stopped = kept(chosen_level, descents, live)
        spent, start = sum(descent.n_products for descent in descents), descents[0].x
    else:
        lams, errors, rule, spent = np.zeros(0), np.zeros(0), "given", 0
    descent = Descent(recorded, live, S, kappa, relative, hard, rounds, tol, deadline)
    if stopped:
        result = descent.judged(level, start)
    else:
        result, stopped = kept(descent.to, level, callback)
    estimate = descent.predicted(result.x)
    if keep == "recorded":
        estimate = np.where(live[:, None], recorded, estimate)
    if validation.is_single(traces):
        estimate = estimate.astype(np.float32)
    if hard:
        level, lams = 0.5 * level**2, 0.5 * lams**2
    answer = InterpolatedTraces(
        estimate, result.x, result, level, rule, live, S, lams, errors, spent + descent.n_products,
        time.perf_counter() - began,
    )  # fmt: skip
    return answered(answer, stopped)


def _recorded(traces: Any, mask: Any) -> tuple[Array, Array]:
    """Return the traces, zeros where missing, and which were recorded."""
    data = validation.numeric(traces, "traces")
    if data.ndim != 2 or min(data.shape) == 0:
        raise ValueError(f"traces has shape {data.shape}, but (n_traces, n_samples) is needed")
    if data.dtype.kind == "c":
        raise TypeError("traces is complex, but real traces are needed")
    if mask is None:
        live: Array = np.asarray(~np.isnan(data).any(axis=1) & data.any(axis=1))
    else:
        live = np.asarray(mask)
        if live.dtype != bool or live.shape != data.shape[:1]:
            raise ValueError(
                f"mask has shape {live.shape} and dtype {live.dtype}, but one bool per trace is needed, "
                f"shape ({data.shape[0]},)"
            )
    if live.sum() < 5:
        raise ValueError(f"traces has {int(live.sum())} recorded ones, but at least 5 are needed")
    validation.finite(data[live], "traces[mask]")
    return np.where(live[:, None], data, 0.0), live


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
            f"dictionary has {S.shape[0]} rows, but traces has {math.prod(shape)} samples; the map from "
            "coefficients to the section is needed, for example FFT(traces.shape).H"
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
