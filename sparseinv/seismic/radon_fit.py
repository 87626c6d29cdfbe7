"""Fits of a Radon panel to a choice of samples, and the level that predicts unseen traces best."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.base import Operator
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.separable import L0, L1, L2
from sparseinv.result import Interrupted, Result
from sparseinv.seismic.interruption import answered, as_interrupted, kept
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.barzilai_borwein import BarzilaiBorwein
from sparseinv.solvers.proximal_gradient import ISTA

Array = np.ndarray[Any, Any]

_SPARSE = 10.0 ** (-np.arange(1, 10) / 3.0)  # levels tried: of lambda over lambda_max for L1,
_DAMPED = 10.0 ** (-np.arange(2, 10) / 2.0)  # over ||A||^2 for L2
_PATIENCE = 2  # levels without a better prediction before the search stops


@dataclass(frozen=True, eq=False)
class PanelFit:
    """Hold a map A, a gather d and its live samples, and fit S A m = S d for any set of samples S."""

    A: Any
    d: Array
    alive: Array
    tol: float
    max_time: float | None

    def equations(self, samples: Array) -> tuple[Operator, Array]:
        """Return S A and S d."""
        if samples.all():
            return self.A, self.d.ravel()
        return Restriction(self.d.shape, samples, axis=None) @ self.A, self.d[samples]

    def solve(
        self,
        penalty: Any,
        *,
        select: Any = None,
        x0: Any = None,
        samples: Array | None = None,
        loose: float = 1.0,
    ) -> Result:
        """Return the panel for a penalty, from all live samples or the ones given."""
        A, b = self.equations(self.alive if samples is None else samples)
        solver: Any = "auto"
        if select is None and isinstance(penalty, L1):
            # columns of a panel overlap so much that a working set would need most of them
            solver = BarzilaiBorwein()
        elif select is None and isinstance(penalty, L0):
            solver = ISTA()
            if x0 is None:
                level = float(np.sqrt(2.0 * np.max(penalty.lam))) * largest_column(self.A)
                first, stopped = kept(self.solve, L1(level))
                x0 = first.x
                if stopped:
                    raise Interrupted(self.judged(penalty, x0))
        return solve(
            A, b, penalty, solver=solver, select=select, x0=x0, tol=self.tol * loose, max_time=self.max_time
        )

    def judged(self, penalty: Any, x: Any) -> Result:
        """Return a panel, or zero, with its certificate, after an interruption."""
        panel = np.zeros(self.A.shape[1]) if x is None else x
        result, _ = kept(dataclasses.replace(self, max_time=0.0).solve, penalty, x0=panel)
        return as_interrupted(result)

    def refit(self, result: Result) -> Result:
        """Return the least-squares fit on the support; a trace of damping keeps near twins finite."""
        lam = np.full(result.x.size, np.inf)
        lam[result.support] = 1e-3 * self.A.norm_bound()
        return self.solve(L2(lam), loose=0.1)


def level_by_traces(fit: PanelFit, penalty: Any, offsets: Array) -> tuple[float, str, Array | None]:
    """Return the level whose panel of four fifths of the traces predicts the rest best, rule and panel.

    Interrupted, on Ctrl-C, holds the same of the levels tried so far.
    """
    traces = np.flatnonzero(fit.alive.any(axis=1))
    # in the order of offsets, so that none is predicted from one side only
    traces = traces[np.argsort(offsets[traces], kind="stable")]
    if traces.size < 4:
        raise ValueError(
            f"traces has {traces.size} live traces, too few to hold some out; give the penalty a lambda"
        )
    test = np.zeros(fit.d.shape[0], dtype=bool)
    test[traces[1:-1][min(1, traces.size - 3) :: 5]] = True
    judged = fit.alive & test[:, None]
    learned = fit.alive & ~test[:, None]
    if isinstance(penalty, L2):
        top, levels = fit.A.norm_bound() ** 2, _DAMPED
    else:
        top, levels = float(lam_max(*fit.equations(learned), penalty)), _SPARSE
    if top == 0.0:
        return 0.0, "zero: the other traces hold nothing", None
    errors: list[float] = []
    x0 = chosen = None
    stopped = False
    for share in levels:
        at = dataclasses.replace(penalty, lam=top * share)
        try:
            x0 = fit.solve(at, x0=x0, samples=learned, loose=3.0).x
        except KeyboardInterrupt as stop:
            stopped = True
            if isinstance(stop, Interrupted):
                x0 = stop.result.x
            elif errors:
                break
            else:  # nothing is known yet
                raise
        miss = (fit.A @ x0).reshape(fit.d.shape)[judged] - fit.d[judged]
        errors.append(float(np.linalg.norm(miss)))
        if errors[-1] == min(errors):
            chosen = x0
        if stopped or len(errors) - 1 - int(np.argmin(errors)) >= _PATIENCE:
            break
    best = int(np.argmin(errors))
    whole = float(np.linalg.norm(fit.d[judged])) or 1.0
    edge = ", at the edge of the levels tried" if best in (0, len(levels) - 1) else ""
    if stopped:
        edge += f"; interrupted at level {len(errors)}"
    rule = (
        f"least error ({errors[best] / whole:.2f} of their norm) in predicting {int(test.sum())} traces from "
        f"the other ones{edge}"
    )
    return answered((float(top * levels[best]), rule, chosen), stopped)


def convex_relative(penalty: L0 | L1 | L2) -> Leveled:
    """Return the penalty without lam; in place of L0 the L1 whose thresholds are as those of L0."""
    if not isinstance(penalty, L0):
        return penalty.replace(lam=None)
    weights = None if penalty.weights is None else np.sqrt(penalty.weights)
    return L1(groups=penalty.groups, weights=weights, nonnegative=penalty.nonnegative)


def largest_column(A: Operator) -> float:
    """Return the largest column norm; for operators that do not know theirs, of columns in mid-trace."""
    norms = A.column_norms()
    if norms is None:
        samples = A.dims[-1]
        middle = np.arange(A.shape[1] // samples) * samples + samples // 2
        norms = np.linalg.norm(A.columns(middle), axis=0)
    return float(norms.max())
