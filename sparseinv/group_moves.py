"""The neighbourhood of a set of groups: what adding, removing or exchanging one gains after a full refit."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sparseinv.kept_columns import KeptColumns
from sparseinv.penalties.group_l0 import CountedGroups
from sparseinv.problem import Problem, squared
from sparseinv.support_moves import DEPENDENT, ROUNDING, Move

Array = np.ndarray[Any, Any]

_ENTRIES = 1 << 26  # numbers in the Gram matrices of all groups, padded to one size, at most
_PADDING, _FEW = 8, 100_000  # coefficients of groups padded to one size: times n, or so few, at most
_BYTES = 1 << 31  # of what the columns inside leave in memory, at most, were they complex


class GroupFit:
    """Hold the least-squares fit by the columns of some groups, and what it leaves of all others.

    Attributes
    ----------
    groups : list of int
        The groups of the fit.
    beta : ndarray, shape (k,)
        Coefficients of their columns.
    misfit : float
        1/2 ||A_S beta - b||^2.
    slope : ndarray, shape (K, p)
        A_g^H r for r = b - A_S beta, padded with zeros.
    left : ndarray, shape (K, p, p)
        A_g^H A_g without what A_S explains; 1 on the diagonal of the padding.
    """

    def __init__(self, moves: GroupMoves, groups: list[int]) -> None:
        self.groups = groups
        self.index = moves.columns_of(groups)
        self.ends = np.cumsum([moves.sizes[g] for g in groups], dtype=np.int64)
        k, n = self.index.size, moves.problem.n
        C = np.zeros((k, n), dtype=moves.problem.dtype)
        if k:
            C[:] = np.array(KeptColumns.of(moves.problem).take(moves.problem, self.index)).conj()
        G = 0.5 * (C[:, self.index] + C[:, self.index].conj().T)
        self.H, self.whole = _inverse(G)
        self.T = self.H @ C
        c = moves.correlations
        self.beta = self.H @ c[self.index]
        self.misfit = max(moves.scale - 0.5 * float(np.vdot(c[self.index], self.beta).real), 0.0)
        self.slope = moves.padded(c - C.conj().T @ self.beta)
        self.shares = moves.padded(self.T)
        self.left = moves.grams - np.einsum("kgp,kgq->gpq", moves.padded(C).conj(), self.shares)

    def part(self, place: int) -> slice:
        """Return where the columns of the group at a place lie."""
        return slice(int(self.ends[place - 1]) if place else 0, int(self.ends[place]))


class GroupMoves:
    """Hold a set of groups with its refit, and find, judge and make moves, like `SupportMoves` for columns.

    Minimises ``1/2 ||A x - b||^2 + sum_g lam_g [x_g != 0]``. With S the columns inside, H = (A_S^H A_S)^{-1},
    T = H A_S^H A, beta the coefficients, c = A^H r and D_g what S leaves of A_g^H A_g, the objective falls by

    - adding g: c_g^H D_g^{-1} c_g / 2 - lam_g,
    - removing i: lam_i - beta_i^H (H_ii)^{-1} beta_i / 2,
    - exchanging i for g: what removing i gains, and adding g with c_g + T_ig^H (H_ii)^{-1} beta_i in place of
      c_g, D_g + T_ig^H (H_ii)^{-1} T_ig in place of D_g.

    All exchanges cost O(k n p) and a small system each, p the size of a group; a move costs O(k^2 n).
    """

    price: ClassVar[float] = 30.0

    swift: ClassVar[bool] = False
    made: ClassVar[int] = 0

    def __init__(self, problem: Problem) -> None:
        penalty: CountedGroups = problem.penalty
        self.problem = problem
        self.sizes = np.diff(penalty.starts)
        self.cost, self.scale = penalty.lam, problem.scale
        count, widest = self.sizes.size, int(self.sizes.max(initial=1))
        place = np.arange(widest)
        self._there = place < self.sizes[:, None]
        self._slot = np.where(self._there, penalty.starts[:-1, None] + place, 0)
        self._slot = np.where(self._there, penalty.order[self._slot], 0)
        self.correlations = problem.gradient(problem.b)
        self.grams = self._own_grams(count, widest)
        squares = np.where(self._there, np.einsum("gpp->gp", self.grams).real, 0.0)
        # far above rounding, far below what counts; padding has ones there already
        self._guard = np.where(squares > 0.0, DEPENDENT * squares, 1.0)[:, :, None] * np.eye(widest)
        self.forced = [int(g) for g in np.flatnonzero(self.cost == 0.0)]
        # every group with a price that is of use takes up a direction of its own, but maybe only one
        priced = int(np.isfinite(self.cost).sum()) - len(self.forced)
        self.largest = len(self.forced) + min(problem.m, priced)
        self.columns = _columns(problem)
        self.fit = GroupFit(self, self.forced)

    def _own_grams(self, count: int, widest: int) -> Array:
        """Return A_g^H A_g of every group; kept for all problems on the same A with the same groups."""
        kept = self.problem.__dict__.setdefault("group_grams", {})
        name = (self._slot.tobytes(), self._there.tobytes())
        if name not in kept:
            out = np.zeros((count, widest, widest), dtype=self.problem.dtype)
            for g in range(count):
                size = int(self.sizes[g])
                a = np.asarray(self.problem.operator.columns(self._slot[g, :size]))
                out[g, :size, :size] = a.conj().T @ a
                pad = np.arange(size, widest)
                out[g, pad, pad] = 1.0
            kept.clear()
            kept[name] = out
        return np.asarray(kept[name])

    # --- where the search stands -----------------------------------------------------------------------

    @property
    def k(self) -> int:
        """Number of groups inside."""
        return len(self.fit.groups)

    @property
    def support(self) -> Array:
        """Groups inside."""
        return np.array(self.fit.groups, dtype=np.int64)

    @property
    def room(self) -> int:
        """How many more groups may come in."""
        return self.largest - self.k

    @property
    def value(self) -> float:
        """The objective at the refitted coefficients."""
        return self.fit.misfit + float(self.cost[self.fit.groups].sum())

    @property
    def x(self) -> Array:
        """The refitted coefficients (n,)."""
        out = np.zeros(self.problem.n, dtype=self.problem.dtype)
        out[self.fit.index] = self.fit.beta
        return out

    def refined(self, x: Array) -> Array:
        """Return x after a step of iterative refinement, where that is no worse."""
        problem, fit = self.problem, self.fit
        r = problem.residual(x)
        y = x.copy()
        y[fit.index] -= fit.H @ problem.gradient(r)[fit.index]
        return y if squared(problem.residual(y)) < squared(r) else x

    def columns_of(self, groups: list[int]) -> Array:
        """Return the columns of groups, one group after the other."""
        parts = [self._slot[g, : self.sizes[g]] for g in groups]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def padded(self, values: Array) -> Array:
        """Return (..., n) as (..., K, p), with zeros where groups are smaller than the largest."""
        return np.where(self._there, values[..., self._slot], 0.0)

    @cached_property
    def by_promise(self) -> Array:
        """Groups by how much each alone lowers the objective, its price left out; the best first."""
        alone = self.alone
        usable = np.flatnonzero(np.isfinite(self.cost) & (self.cost > 0.0) & (alone > 0.0))
        return usable[np.argsort(-alone[usable], kind="stable")]

    @cached_property
    def alone(self) -> Array:
        """What every group alone takes off 1/2 ||b||^2."""
        return self._gains(self.padded(self.correlations), self.grams)

    # --- moves -----------------------------------------------------------------------------------------

    def _gains(self, slope: Array, left: Array) -> Array:
        """Return c^H D^{-1} c / 2 of every group; what lies in the span of the others brings nothing."""
        y = np.linalg.solve(left + self._guard, slope[..., None])[..., 0]
        return np.asarray(0.5 * np.einsum("...p,...p->...", slope.conj(), y).real)

    def _additions(self, slope: Array, left: Array) -> Array:
        gains = self._gains(slope, left) - self.cost
        gains[..., self.fit.groups] = -np.inf
        usable = np.isfinite(self.cost) & (self.fit.index.size + self.sizes <= self.columns)
        return np.where(usable, gains, -np.inf)

    def _removals(self) -> Array:
        """Return what removing each group gains."""
        fit, out = self.fit, np.empty(self.k)
        for place, g in enumerate(fit.groups):
            part = fit.part(place)
            if self.cost[g] == 0.0:
                out[place] = -np.inf
            elif fit.whole:
                beta = fit.beta[part]
                loss = 0.5 * float(np.vdot(beta, np.linalg.solve(fit.H[part, part], beta)).real)
                out[place] = self.cost[g] - loss
            else:
                without = GroupFit(self, [j for j in fit.groups if j != g])
                out[place] = self.cost[g] + fit.misfit - without.misfit
        return out

    def _exchanges(self, removals: Array) -> list[Move]:
        """Return the best exchange for every group that may leave."""
        fit, found = self.fit, []
        for place in np.flatnonzero(np.isfinite(removals)):
            part = fit.part(int(place))
            if fit.whole:
                share = fit.shares[part]
                inverse = np.linalg.inv(fit.H[part, part])
                slope = fit.slope + np.einsum("kgp,k->gp", share.conj(), inverse @ fit.beta[part])
                left = fit.left + np.einsum("kgp,kl,lgq->gpq", share.conj(), inverse, share, optimize=True)
            else:
                without = GroupFit(self, [g for i, g in enumerate(fit.groups) if i != place])
                slope, left = without.slope, without.left
            gains = self._additions(slope, left)
            g = int(np.argmax(gains))
            found.append(Move(float(gains[g] + removals[place]), int(place), g))
        return found

    def best(self) -> Move:
        """Return the move after which the objective is lowest."""
        removals = self._removals()
        moves = self._exchanges(removals)
        moves += [Move(float(gain), place, -1) for place, gain in enumerate(removals)]
        if self.room > 0:
            gains = self._additions(self.fit.slope, self.fit.left)
            g = int(np.argmax(gains))
            moves.append(Move(float(gains[g]), -1, g))
        return max(moves, default=Move(-np.inf, -1, -1))

    def exchanges(self, count: int) -> list[Move]:
        """Return the exchanges that are the least bad, at most one per group that leaves."""
        return sorted(self._exchanges(self._removals()), reverse=True)[:count]

    def make(self, move: Move) -> None:
        """Change the groups inside."""
        groups = [g for place, g in enumerate(self.fit.groups) if place != move.leaves]
        self.fit = GroupFit(self, [*groups, move.enters] if move.enters >= 0 else groups)

    def descend(self, rounds: int = 1 << 30) -> bool:
        """Make best moves while they improve; return whether none is left."""
        for _ in range(rounds):
            move = self.best()
            if not move.gain > ROUNDING * self.scale:
                return True
            self.make(move)
        return False

    def restart(self, support: Array) -> None:
        """Go over to other groups; those without a price come first."""
        rest = [int(g) for g in support if np.isfinite(self.cost[g]) and self.cost[g] > 0.0]
        groups = [*self.forced, *rest][: self.largest]
        held = int(np.searchsorted(np.cumsum(self.sizes[groups]), self.columns, side="right"))
        self.fit = GroupFit(self, groups[: max(held, len(self.forced))])

    def saved(self) -> GroupFit:
        """Return where the search stands."""
        return self.fit

    def back_to(self, saved: GroupFit) -> None:
        """Go back there."""
        self.fit = saved


def fits(problem: Problem) -> bool:
    """Tell whether whole groups can be moved: columns at hand, and groups that are not too uneven in size."""
    penalty = problem.penalty
    if not isinstance(penalty, CountedGroups) or not problem.explicit or not problem.n:
        return False
    sizes = np.diff(penalty.starts)
    forced = int(sizes[penalty.lam == 0.0].sum())
    widest = int(sizes.max())
    even = sizes.size * widest <= max(_PADDING * problem.n, _FEW)
    return bool(even and sizes.size * widest**2 <= _ENTRIES and forced <= _columns(problem))


def judges_groups(problem: Problem, x: Array) -> bool:
    """Tell whether all moves from x can be judged within the memory that they may take."""
    if not fits(problem):
        return False
    penalty = problem.penalty
    inside = (penalty.blocks.norms(x) > 0) | (penalty.lam == 0.0)
    return bool(np.isfinite(penalty.lam[inside]).all()) and (
        int(np.diff(penalty.starts)[inside].sum()) <= _columns(problem)
    )


def _columns(problem: Problem) -> int:
    """Return how many columns may be inside: each takes several numbers per column, the padding included."""
    sizes = np.diff(problem.penalty.starts)
    padded = sizes.size * int(sizes.max(initial=1))
    return int(_BYTES // (32 * (problem.n + padded)))


def _inverse(G: Array) -> tuple[Array, bool]:
    """Return the inverse of a Gram matrix and True, or its pseudo-inverse and False where it has none."""
    size = np.sqrt(np.maximum(np.diagonal(G).real, 0.0))
    unit = np.divide(1.0, size, out=np.zeros(size.size), where=size > 0)
    scaled = G * np.outer(unit, unit)
    try:
        L = np.linalg.cholesky(scaled)
        if not size.size or (size.all() and np.diagonal(L).real.min() ** 2 > DEPENDENT):
            inverse = np.linalg.inv(L)
            return np.asarray(inverse.conj().T @ inverse * np.outer(unit, unit)), True
    except np.linalg.LinAlgError:
        pass
    w, V = np.linalg.eigh(scaled)
    kept = w > DEPENDENT * max(float(w.max(initial=0.0)), 1e-300)
    H = (V[:, kept] / w[kept]) @ V[:, kept].conj().T
    return np.asarray(H * np.outer(unit, unit)), False
