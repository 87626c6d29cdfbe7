"""Rules that solve on a part of the rows: a held-out part with early stopping, and stability."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.counted_operator import CountedOperator
from sparseinv.operators.matrix import ldexp
from sparseinv.penalties.base import Leveled
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import L2
from sparseinv.result import Interrupted, Selection, Status
from sparseinv.selection.cross_validation import CrossValidation, _fold_problem, _row_labels, _rows
from sparseinv.selection.selector import Selector, Task
from sparseinv.selection.trail import PathRule, Reading, Trail

Array = np.ndarray[Any, Any]

_PREDICTION = 1e-4  # of the misfit: as exact as a comparison of errors of prediction needs


@dataclass(frozen=True, eq=False)
class HoldOut(Selector):
    """Choose the lambda whose solution predicts best some rows that are held out, and stop early.

    One path is solved on the other rows and followed only until the error of prediction has not fallen for
    ``patience`` levels.

    Parameters
    ----------
    held : float or array_like of bool, shape (m,)
        Share of the rows to hold out, in (0, 1), or the rows themselves.
    groups : array_like, shape (m,), optional
        A label per row; rows of one label stay together.
    patience : int
        Levels without a smaller error after which the path is left.
    seed : int
        Decides which rows are held out.
    margin : float
        Take the largest lambda whose error is at most (1 + margin) times the least, in [0, 1). Where errors
        hardly differ over many levels, chance picks the least of them.

    Notes
    -----
    Ctrl-C after the first level raises `Interrupted` with the best solution so far, that of the rows that are
    not held out, whose ``selection`` says what was tried.
    Cost: less than one path. Less precise than `CrossValidation`, which holds out every row once. The
    lambdas are used unscaled, as there; ``standard_error`` is that of the mean squared error.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> result = si.solve(A, b, si.L1(), select=si.HoldOut(0.25))
    >>> result.selection.at_edge, 4 in result.support
    (False, True)
    """

    held: Any = 0.2
    groups: Any = dataclasses.field(default=None, kw_only=True)
    patience: int = dataclasses.field(default=10, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)
    margin: float = dataclasses.field(default=0.0, kw_only=True)
    ridge_levels = True

    def __post_init__(self) -> None:
        if np.ndim(self.held) == 0:
            validation.fraction(self.held, "held")
        elif self.groups is not None:
            raise ValueError("held names the rows, which leaves nothing for groups to decide")
        validation.count(self.patience, "patience", least=1)
        validation.count(self.seed, "seed")
        margin = validation.real_number(self.margin, "margin")
        if not 0.0 <= margin < 1.0:
            raise ValueError(f"margin is {margin}, but it must lie in [0, 1)")

    def __repr__(self) -> str:
        """Name the rows, and what differs from the defaults."""
        parts = [f"{self.held:g}" if np.ndim(self.held) == 0 else f"<{np.size(self.held)} rows>"]
        parts += [f"groups=<{np.size(self.groups)} labels>"] if self.groups is not None else []
        parts += [f"patience={self.patience}"] if self.patience != 10 else []
        parts += [f"seed={self.seed}"] if self.seed else []
        parts += [f"margin={self.margin:g}"] if self.margin else []
        return f"HoldOut({', '.join(parts)})"

    def rows(self, m: int) -> Array:
        """Return the rows held out, increasing."""
        if np.ndim(self.held) != 0:
            mask = np.asarray(self.held)
            if mask.dtype != bool or mask.shape != (m,):
                raise ValueError(
                    f"held has shape {mask.shape} and dtype {mask.dtype}, but one bool per row is needed, "
                    f"shape ({m},)"
                )
            out = np.flatnonzero(mask)
        elif self.groups is not None:
            labels = _row_labels(self.groups, "groups", m)
            distinct, place = np.unique(labels, return_inverse=True)
            order = np.random.default_rng(self.seed).permutation(distinct.size)
            sizes = np.cumsum(np.bincount(place)[order])
            last = int(np.argmin(np.abs(sizes - self.held * m)))
            out = np.flatnonzero(np.isin(place, order[: last + 1]))
        else:
            order = np.random.default_rng(self.seed).permutation(m)
            out = np.sort(order[: max(round(self.held * m), 1)])
        if not 0 < out.size < m:
            raise ValueError(f"held leaves {m - out.size} rows to learn from and {out.size} to judge by")
        return out

    def check(self, m: int) -> None:
        """Refuse rows that do not fit."""
        self.rows(m)

    def choose(self, task: Task) -> Selection:
        """Return the level chosen for a task."""
        out = self.rows(task.problem.m)
        problem = _fold_problem(task, out, None)
        trail = Trail(dataclasses.replace(task, trail=None), problem, _PREDICTION)
        seen = CountedOperator(_rows(task.operator, out))
        unit = task.problem.units.b_exponent
        b = ldexp(task.b[out], -unit)
        errors: list[float] = []
        spread: list[float] = []
        stopped = False
        while True:
            try:
                level = trail.level(len(errors))
                if level is None:
                    if errors and int(np.argmin(errors)) == len(errors) - 1 and trail.extend():
                        continue
                    break
                squares = np.abs(ldexp(seen.matvec(level.result.x), -unit) - b) ** 2
            except KeyboardInterrupt:
                if not errors:
                    raise
                stopped = True
                break
            errors.append(float(squares.mean()))
            spread.append(float(squares.std(ddof=1)) / math.sqrt(out.size) if out.size > 1 else 0.0)
            if len(errors) - 1 - int(np.argmin(errors)) >= self.patience:
                break
        least = int(np.argmin(errors))
        best = int(np.argmax(np.array(errors) <= (1.0 + self.margin) * errors[least]))
        at_edge = least in (0, len(errors) - 1) or best == 0
        rule = f"least squared error of {out.size} rows held out"
        if self.margin:
            rule = f"largest lam within {self.margin:.2%} of the " + rule
        if at_edge:
            rule += f", at the edge of the {len(errors)} levels read"
        if trail.late:
            rule += f"; time for {trail.n_solved} of {trail.lams.size} levels only"
        if stopped:
            rule += f"; interrupted after {len(errors)} of {trail.lams.size} levels"
        spent = problem.operator.products
        forward, adjoint = spent.forward + len(errors), spent.adjoint
        task.problem.operator.charge(forward, adjoint)
        selection = Selection(
            lam=float(trail.lams[best]), rule=rule, sigma=None, lams=trail.lams[: len(errors)],
            criterion=ldexp(np.array(errors), 2 * unit), n_products=forward + adjoint,
            standard_error=ldexp(np.array(spread), 2 * unit), at_edge=at_edge,
        )  # fmt: skip
        if stopped:
            chosen = trail.level(best)
            assert chosen is not None
            raise Interrupted(
                dataclasses.replace(chosen.result, status=Status.INTERRUPTED, selection=selection)
            )
        return selection


@dataclass(frozen=True, eq=False)
class Stability(PathRule):
    """Choose the largest lambda whose solution holds all coefficients that half-samples agree on.

    On every half of the rows the path is followed until q coefficients have been selected; those selected
    in at least ``threshold`` of all halves are stable. With
    q = sqrt((2 threshold - 1) n pfer) at most ``pfer`` of them are expected to be false [1]_; halves are
    drawn in complementary pairs [2]_.

    Parameters
    ----------
    pfer : float
        Expected number of false stable coefficients that is allowed.
    threshold : float
        Share of the half-samples, in (0.5, 1].
    pairs : int
        Pairs of complementary half-samples.
    groups : array_like, shape (m,), optional
        A label per row; rows of one label stay together.
    seed : int
        Seed of the halves.

    Notes
    -----
    The stable coefficients (groups for GroupL1) are those with ``selection.probabilities >= threshold``; the
    solution returned usually holds more. The bound assumes that noise coefficients are exchangeable.
    Cost: 2 pairs prefixes of paths on half of the rows, and one path on all.

    References
    ----------
    .. [1] N. Meinshausen, P. Buehlmann, Stability selection, J. R. Stat. Soc. B 72 (2010) 417-473,
       doi:10.1111/j.1467-9868.2010.00740.x.
    .. [2] R. Shah, R. Samworth, Variable selection with error control: another look at stability selection,
       J. R. Stat. Soc. B 75 (2013) 55-80, doi:10.1111/j.1467-9868.2011.01034.x.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> selection = si.solve(A, b, si.L1(), select=si.Stability(pairs=10)).selection
    >>> np.flatnonzero(selection.probabilities >= 0.75)
    array([4])
    """

    pfer: float = 1.0
    threshold: float = dataclasses.field(default=0.75, kw_only=True)
    pairs: int = dataclasses.field(default=25, kw_only=True)
    groups: Any = dataclasses.field(default=None, kw_only=True)
    seed: int = dataclasses.field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        validation.positive(self.pfer, "pfer")
        threshold = validation.real_number(self.threshold, "threshold")
        if not 0.5 < threshold <= 1.0:
            raise ValueError(f"threshold is {threshold}, but it must lie in (0.5, 1]")
        validation.count(self.pairs, "pairs", least=1)
        validation.count(self.seed, "seed")

    def __repr__(self) -> str:
        """Name what differs from the defaults."""
        parts = [f"{self.pfer:g}"]
        parts += [f"threshold={self.threshold:g}"] if self.threshold != 0.75 else []
        parts += [f"pairs={self.pairs}"] if self.pairs != 25 else []
        parts += [f"groups=<{np.size(self.groups)} labels>"] if self.groups is not None else []
        parts += [f"seed={self.seed}"] if self.seed else []
        return f"Stability({', '.join(parts)})"

    def check(self, m: int) -> None:
        """Refuse rows that cannot be halved."""
        for rows in self._halves(m)[:1]:
            if rows.size in (0, m):
                raise ValueError(f"A has {m} rows, which cannot be halved")

    def accept(self, penalty: Leveled, solver: Any = "auto") -> None:
        """Refuse L2, whose solutions select nothing."""
        if isinstance(penalty, L2):
            raise TypeError(f"select is {self!r}, but the solutions of L2 have no zeros: use L1 or L0")

    def _halves(self, m: int) -> list[Array]:
        """Return the rows that each half leaves out."""
        found = []
        for pair in range(self.pairs):
            seed = int(np.random.default_rng([self.seed, pair]).integers(2**31))
            found += CrossValidation(2, groups=self.groups, seed=seed).split(m)
        return found

    def read(self, trail: Trail) -> Reading:
        """Return the choice."""
        key = ("stability", self)
        if key not in trail.kept:
            trail.kept[key] = self._frequencies(trail)
        chances, q, halves = trail.kept[key]
        stable = np.flatnonzero(chances >= self.threshold)
        missing, level = [], None
        for level in trail:
            missing.append(float((~self._selected(trail, level.x)[stable]).sum()))
            if missing[-1] == 0.0:
                break
        assert level is not None
        rule = (
            f"stability: {stable.size} of {chances.size} selected in {self.threshold:.0%} of {halves} "
            f"half-samples, q = {q}, at most {self.pfer:g} false expected"
        )
        met = missing[-1] == 0.0
        return Reading(level.lam, rule, np.array(missing), not met, not met, probabilities=chances)

    def _frequencies(self, trail: Trail) -> tuple[Array, int, int]:
        """Return how often every coefficient is among the first q of a half, q, and the number of halves."""
        task = dataclasses.replace(trail.task, trail=None)
        none = self._selected(trail, np.zeros(trail.problem.n))
        charged = self._charged(trail)
        q = max(int(math.sqrt((2.0 * self.threshold - 1.0) * charged * self.pfer)), 1)
        counts, halves = np.zeros(none.size), 0
        for out in self._halves(trail.problem.m):
            if halves and time.perf_counter() >= task.deadline:
                trail.late = True
                break
            problem = _fold_problem(task, out, None)
            half, seen = Trail(task, problem, _PREDICTION), none.copy()
            for level in half:
                union = seen | self._selected(trail, level.x)
                if union.sum() > q:
                    break
                seen = union
            counts += seen
            halves += 1
            spent = problem.operator.products
            trail.problem.operator.charge(spent.forward, spent.adjoint)
        return counts / halves, q, halves

    def _charged(self, trail: Trail) -> int:
        bound = trail.problem.penalty
        if isinstance(bound, Grouped):
            return int(((bound.lam > 0) & np.isfinite(bound.lam)).sum())
        return int((~bound.excluded & ~bound.unpenalised).sum())

    def _selected(self, trail: Trail, x: Array) -> Array:
        """Return the mask of the penalised coefficients (groups) that are not zero."""
        bound = trail.problem.penalty
        if isinstance(bound, Grouped):
            return np.asarray((bound.norms(x) > 0) & (bound.lam > 0))
        live = x != 0
        live[trail.problem.unpenalised] = False
        return np.asarray(live)
