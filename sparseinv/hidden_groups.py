"""Moves of groups whose columns others almost span, judged by orthogonal factors instead of Gram matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.group_moves import GroupFit, GroupMoves
from sparseinv.problem import Problem, squared
from sparseinv.support_moves import ROUNDING

Array = np.ndarray[Any, Any]

_NEAR = 1e-6  # share of a squared length below which Gram matrices have lost too many digits
_SAME = 1e-12  # share of a length below which a direction counts as explained
_WORK = 1e9  # multiplications that judging all moves may take
_TOGETHER = 1 << 22  # numbers in the columns of groups judged at once


@dataclass(frozen=True)
class Judged:
    """The lowest objective that a refit reaches on the present groups or after one move, and where."""

    value: float
    groups: list[int]


def lowest_nearby(moves: GroupMoves, inside: list[int]) -> Judged | None:
    """Return the best of these groups and of all their neighbours; None where that takes too much work.

    Gram matrices judge what they can: they square condition numbers. Where the groups inside, or one of
    them with a group outside, depend on each other almost, moves are judged by QR and singular values of
    the columns, of which directions below 1e-12 of a column's length count as explained. That costs
    O(k m (k^2 + h k p)) for k columns inside and h groups outside, of p columns at most, judged so.
    """
    problem = moves.problem
    columns = moves.sizes[inside].sum()
    if columns > problem.m and (len(inside) + 1.0) * problem.m * columns**2 > _WORK:
        return None
    moves.fit = fit = GroupFit(moves, inside)
    fitted = _Basis(moves, inside)
    open_ = np.isfinite(moves.cost)
    open_[inside] = False
    hidden = np.flatnonzero(open_ & (_close(moves) if fitted.firm else True))
    found = Judged(moves.value, list(inside))
    if fitted.firm:
        move = moves.best()
        if move.gain > 0.0:
            found = Judged(moves.value - move.gain, _after(inside, move.leaves, move.enters))
    if fitted.firm and not hidden.size:
        return found
    k, widest = fit.index.size, int(moves.sizes.max())
    if (len(inside) + 1.0) * problem.m * (k**2 + hidden.size * widest * (k + widest)) > _WORK:
        return None
    if not fitted.firm:
        found = Judged(fitted.misfit + _price(moves, inside), list(inside))
    leaving = [place for place, g in enumerate(inside) if moves.cost[g] > 0.0]
    for place in [-1, *leaving]:
        groups = _after(inside, place, -1)
        basis = fitted if place < 0 else _Basis(moves, groups)
        price = _price(moves, groups)
        if basis.misfit + price < found.value:
            found = Judged(basis.misfit + price, groups)
        if hidden.size:
            values = basis.misfit - basis.gains(hidden) + price + moves.cost[hidden]
            h = int(np.argmin(values))
            if values[h] < found.value:
                found = Judged(float(values[h]), _after(inside, place, int(hidden[h])))
    return found


def group_decrease(problem: Problem, x: Array, r: Array) -> float | None:
    """Return the best decrease of the objective by adding, removing or exchanging one group, or None.

    None where groups depend on each other almost and judging them takes too much work.
    """
    best = _judged(problem, x)
    return None if best is None else max(problem.objective(x, r) - best.value, 0.0)


def after_hidden_groups(problem: Problem, x: Array) -> Array | None:
    """Return the refit after the best move from x, None where no move lowers the objective."""
    best = _judged(problem, x)
    most = problem.objective(x, problem.residual(x)) - ROUNDING * problem.scale
    if best is None or not best.value < most:
        return None
    y = _refit(GroupMoves(problem), best.groups)
    return y if problem.objective(y, problem.residual(y)) < most else None


def _judged(problem: Problem, x: Array) -> Judged | None:
    moves = GroupMoves(problem)
    moves.largest, moves.columns = moves.sizes.size, 2 * problem.n  # nothing is left out
    there = np.flatnonzero((problem.penalty.blocks.norms(x) > 0) & (moves.cost > 0.0))
    return lowest_nearby(moves, [*moves.forced, *there.tolist()])


def gains_alone(moves: GroupMoves, groups: Array) -> Array:
    """Return what each of these groups takes off the misfit of those without a price, its own left out."""
    return _Basis(moves, moves.forced).gains(groups)


class _Basis:
    """Hold an orthonormal basis of the columns of some groups, and what it leaves of b."""

    def __init__(self, moves: GroupMoves, groups: list[int]) -> None:
        from scipy.linalg import qr

        self.moves, problem = moves, moves.problem
        unit = _unit(problem, moves.columns_of(groups))
        self.Q, self.firm = np.zeros((problem.m, 0), dtype=problem.dtype), True
        if unit.size:
            Q, R, _ = qr(unit, mode="economic", pivoting=True)
            size = np.abs(np.diagonal(R))
            self.Q = Q[:, size > _SAME]
            self.firm = bool(unit.shape[1] <= problem.m and size.min() ** 2 > _NEAR)
        self.rest = self.without(problem.b)
        self.misfit = 0.5 * squared(self.rest)

    def without(self, v: Array) -> Array:
        """Return v without its part in the basis, twice for the sake of rounding."""
        for _ in range(2):
            v = v - self.Q @ (self.Q.conj().T @ v)
        return v

    def gains(self, groups: Array) -> Array:
        """Return what each of these groups takes off the misfit."""
        m, widest = self.moves.problem.m, int(self.moves.sizes.max())
        most = max(_TOGETHER // max(m * widest, 1), 1)
        parts = [self._gains(groups[at : at + most]) for at in range(0, groups.size, most)]
        return np.concatenate([np.zeros(0), *parts])

    def _gains(self, groups: Array) -> Array:
        columns = _columns(self.moves, groups)
        m, count, widest = columns.shape
        left = self.without(columns.reshape(m, -1)).reshape(m, count, widest).transpose(1, 0, 2)
        U, s, _ = np.linalg.svd(left, full_matrices=False)
        shares = np.abs(np.einsum("gmp,m->gp", U.conj(), self.rest)) ** 2
        return np.asarray(0.5 * np.where(s > _SAME, shares, 0.0).sum(axis=1))


def _close(moves: GroupMoves) -> Array:
    """Return the mask of the groups of which some direction is almost explained by those inside."""
    size = np.sqrt(np.where(np.diagonal(moves.grams, axis1=1, axis2=2).real > 0.0, 1.0, 0.0))
    scale = np.sqrt(np.where(size > 0.0, np.diagonal(moves.grams, axis1=1, axis2=2).real, 1.0))
    left = moves.fit.left / (scale[:, :, None] * scale[:, None, :])
    place = np.arange(scale.shape[1])
    left[:, place, place] = np.where(size > 0.0, left[:, place, place], 1.0)
    return np.asarray(np.linalg.eigvalsh(left)[:, 0] < _NEAR)


def _unit(problem: Problem, index: Array) -> Array:
    """Return columns of A at length 1, and 0 where they are zero."""
    a = np.asarray(problem.operator.columns(index))
    a = a.astype(np.result_type(a, problem.dtype))
    size = np.linalg.norm(a, axis=0)
    return np.divide(a, size, out=np.zeros_like(a), where=size > 0.0)


def _columns(moves: GroupMoves, groups: Array) -> Array:
    """Return the unit columns of groups, (m, h, p), padded with zeros."""
    widest = int(moves.sizes.max())
    out = np.zeros((moves.problem.m, groups.size, widest), dtype=moves.problem.b.dtype)
    for h, g in enumerate(groups.tolist()):
        out[:, h, : moves.sizes[g]] = _unit(moves.problem, moves.columns_of([g]))
    return out


def _refit(moves: GroupMoves, groups: list[int]) -> Array:
    """Return the least-squares fit by the columns of groups."""
    from scipy.linalg import lstsq

    problem, index = moves.problem, moves.columns_of(groups)
    x = np.zeros(problem.n, dtype=problem.dtype)
    if index.size:
        size = np.linalg.norm(np.asarray(problem.operator.columns(index)), axis=0)
        beta = lstsq(_unit(problem, index), problem.b, cond=_SAME)[0]
        x[index] = np.divide(beta, size, out=np.zeros_like(beta), where=size > 0.0)
    return x


def _after(groups: list[int], leaves: int, enters: int) -> list[int]:
    kept = [g for place, g in enumerate(groups) if place != leaves]
    return [*kept, enters] if enters >= 0 else kept


def _price(moves: GroupMoves, groups: list[int]) -> float:
    return float(moves.cost[groups].sum())
