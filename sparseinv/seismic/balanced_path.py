"""The balanced problem of a tight frame, solved through falling levels."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.base import Operator
from sparseinv.penalties import L0, L1
from sparseinv.result import Interrupted, Result, Status
from sparseinv.seismic.interruption import answered, kept
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.proximal_gradient import ISTA

Array = np.ndarray[Any, Any]

_FALL = 0.5  # factor between two levels
_FIRST, _LAST = 0.2, 4e-4  # largest and smallest level over the one that leaves nothing
_HELD, _PARTS = 20, 3  # traces that are held out in all, at least, in at most so many parts
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


class Descent:
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
        try:
            for one in reversed(above):
                result = self.at(one, last=one == level)
                if callback is not None:
                    callback(one, self.predicted(result.x))
        except KeyboardInterrupt:
            raise Interrupted(self.judged(level, self.x)) from None
        return result

    def judged(self, level: float, x: Array | None) -> Result:
        """Return x with its certificate at a level, after an interruption."""
        self.x, self.deadline = x, -math.inf
        result, _ = kept(self.at, level, last=True)
        # its tolerance is that of a path which was not followed to the end, and proves little
        return dataclasses.replace(result, status=Status.INTERRUPTED)

    def at(self, level: float, last: bool = False) -> Result:
        """Return the solution at a level, started from the last one."""
        penalty, solver = self._penalty(level)
        loose = _LOOSE[self.reweight]
        tol = (min(loose, 1.0) if last else loose) * self.tol * self.size
        left = None if math.isinf(self.deadline) else max(self.deadline - time.perf_counter(), 0.0)
        result, stopped = kept(
            solve, self.A, self.b, penalty, solver=solver, x0=self.x, tol=tol, max_time=left,
            check_operator=False,
        )  # fmt: skip
        self.x = result.x
        # the objective falls with the level, and what is left of 1/2 ||b||^2 must be known to the same digits
        self.size = min(result.objective / result.certificate.scale, 1.0) if result.objective else self.size
        self.n_products += result.products.total
        return answered(result, stopped)

    def predicted(self, x: Array) -> Array:
        """Return the section that coefficients stand for."""
        return np.asarray(self.S.matvec(x).real.reshape(self.traces.shape))

    def _penalty(self, level: float) -> tuple[L1 | L0, Any]:
        if self.hard:
            return L0(0.5 * level**2, weights=self.weights**2), ISTA(norm=1.0, continuation=self.x is None)
        if not self.reweight or self.x is None:
            return L1(level, weights=self.weights), "auto"
        return L1(level, weights=self.weights / (1.0 + 2.0 * np.abs(self.x) / level)), "auto"


def chosen_level(descents: Sequence[Descent], live: Array) -> tuple[float, Array, Array, str]:
    """Return the level that predicts best the traces that descents have not seen, and what was tried.

    Interrupted, on Ctrl-C, holds the same of the levels tried so far.
    """
    traces = descents[0].traces
    tested = [live & ~descent.live for descent in descents]
    size = math.hypot(*(float(np.linalg.norm(traces[held])) for held in tested)) or 1.0
    lams: list[float] = []
    errors: list[float] = []
    settled = stopped = False
    top = max(descent.top for descent in descents)
    level = _FIRST * top
    while level >= _LAST * top and level > 0.0 and not stopped:
        misses = []
        for descent, held in zip(descents, tested, strict=True):
            x, cut = kept(descent.at, level, instead=lambda: None)
            stopped |= cut
            if x is None:
                break
            misses.append(float(np.linalg.norm(descent.predicted(x.x)[held] - traces[held])))
            if cut:
                break
        if len(misses) < len(descents) and lams:  # errors of other traces do not compare
            break
        if not misses:  # nothing is known yet
            raise KeyboardInterrupt
        lams.append(level)
        errors.append(math.hypot(*misses) / size)
        waited = len(errors) - 1 - int(np.argmin(errors))
        begun = min(errors) < _BEGUN * errors[0]
        settled = begun and errors[-1] > _GAIN[descents[0].reweight] * min(errors[:-1])
        if waited >= _PATIENCE or settled or time.perf_counter() >= descents[0].deadline:
            break
        level *= _FALL
    if not lams:  # nothing but zeros was recorded
        return 1.0, np.zeros(0), np.zeros(0), "no signal"
    best = int(np.argmin(errors))
    rule = f"least error of {sum(int(held.sum()) for held in tested)} recorded traces held out"
    rule += f" in {len(descents)} parts" if len(descents) > 1 else ""
    if best == 0 or (best == len(errors) - 1 and not settled):
        rule += f", at the edge of the {len(errors)} levels tried"
    if stopped:
        rule += "; interrupted at the last of them"
    return answered((lams[best], np.array(lams), np.array(errors), rule), stopped)


def training_masks(live: Array, share: float, seed: int) -> list[Array]:
    """Return recorded traces without those held out, which are others in each of the masks.

    Sections of few traces have several masks: the error of a handful of traces tells too little. Where that
    can be avoided no gap becomes wider than the widest of the section, because what happens there would
    decide about the level although no trace that is missing is as far from its neighbours. The first and
    the last recorded trace are never held out.
    """
    inner = np.flatnonzero(live)[1:-1]
    count = min(max(round(share * int(live.sum())), 1), inner.size)
    parts = max(1, min(math.ceil(_HELD / count), inner.size // count, _PARTS))
    widest = max(int(np.diff(np.flatnonzero(live)).max()), 2)
    waiting = np.random.default_rng(seed).permutation(inner).tolist()
    masks = []
    for _ in range(parts):
        out = live.copy()
        for _ in range(count):
            gaps = [_gap_without(out, k) for k in waiting]
            place = next((i for i, gap in enumerate(gaps) if gap <= widest), int(np.argmin(gaps)))
            out[waiting.pop(place)] = False
        masks.append(out)
    return masks


def _gap_without(live: Array, k: int) -> int:
    """Return the distance of the recorded traces on both sides of trace k, which is not at an end."""
    after = int(np.argmax(live[k + 1 :])) + 1
    before = int(np.argmax(live[k - 1 :: -1])) + 1
    return before + after
