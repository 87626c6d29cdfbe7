"""The neighbourhood of a support: what adding, removing or exchanging one coefficient gains after a refit."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]

_ROUNDING = 1e-12  # a gain below this, relative to 1/2 ||b||^2, is none
_REFRESH = 50  # moves after which everything is formed anew
_CACHE = 1 << 29  # bytes of products A^T a_j that are kept
_BYTES = 1 << 31  # of H A_S^T A: a support does not grow beyond
_TOGETHER = 8  # columns whose products are formed at once where one alone costs a pass over A
_LARGE = 1 << 20  # entries of A from which that is so
_BLOCK = 64  # columns formed at once, at most


class Move(NamedTuple):
    """A change of the support: by how much the objective falls, which place leaves, which column enters."""

    gain: float
    leaves: int  # place in the support, -1 for none
    enters: int  # column, -1 for none


class Columns:
    """Products A^T a_j, kept for as long as they fit; searches on the same A share them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._rows: OrderedDict[int, Array] = OrderedDict()
        self._most = max(2 * _TOGETHER, _CACHE // (8 * max(problem.n, 1)))

    def take(self, index: Array, likely: Array | None = None) -> list[Array]:
        """Return A^T a_j for the columns ``index``; form those of ``likely`` along with them."""
        found = {int(j): self._rows[int(j)] for j in index if int(j) in self._rows}
        missing = [int(j) for j in index if int(j) not in found]
        if missing and likely is not None:
            more = [int(j) for j in likely if int(j) not in self._rows and int(j) not in missing]
            missing += more[: max(0, _TOGETHER - len(missing))]
        for start in range(0, len(missing), _BLOCK):
            found |= self._formed(missing[start : start + _BLOCK])
        for j, row in found.items():
            self._rows[j] = row
            self._rows.move_to_end(j)
        while len(self._rows) > self._most:
            self._rows.popitem(last=False)
        return [found[int(j)] for j in index]

    def _formed(self, index: list[int]) -> dict[int, Array]:
        operator = self.problem.operator
        products = operator.rmatmat(np.asfortranarray(operator.columns(np.array(index))))
        return {j: np.ascontiguousarray(products[:, k]) for k, j in enumerate(index)}


class SupportMoves:
    """Hold a support with its refitted coefficients, and find, judge and make moves.

    Minimises ``1/2 ||A x - b||^2 + sum_j cost_j [x_j != 0] + ridge_j |x_j|^2 / 2`` over supports of at most
    ``most`` coefficients; real data. Every exchange is judged after a full refit, in O(k n) for all of them;
    a move costs O(k n) and, for a column seen for the first time, one product with A^T.
    """

    def __init__(self, problem: Problem, cost: Array, ridge: Array, most: int) -> None:
        from sparseinv.kernels.support import BLOCK

        n = problem.n
        self.problem, self.ridge = problem, ridge
        # one for all problems with this A, the certificate of a run included
        self.columns: Columns = problem.__dict__.setdefault("columns_kept", Columns(problem))
        self.most = min(most, problem.m if not ridge.all() else n, n, _BYTES // (8 * max(n, 1)))
        self.cost = cost
        self.correlations = problem.gradient(problem.b)
        self.squares = problem.column_norms**2 + ridge
        self._gains, self._which = np.empty(BLOCK), np.empty(BLOCK, dtype=np.int64)
        self._capacity = 0
        self._support, self._T = np.zeros(0, dtype=np.int64), np.zeros((0, n))
        self._H, self._beta = np.zeros((0, 0)), np.zeros(0)
        self.clear()

    @staticmethod
    def judges(problem: Problem, x: Array) -> bool:
        """Tell whether all moves from x can be judged: real data, no level of |x|, no sign, enough memory."""
        penalty = problem.penalty
        if np.count_nonzero(x) >= _BYTES // (8 * max(problem.n, 1)):
            return False
        if "c" in (problem.operator.dtype.kind, problem.b.dtype.kind) or getattr(
            penalty, "nonnegative", True
        ):
            return False
        plain = hasattr(penalty, "l0") and not (penalty.l1[~penalty.excluded] > 0).any()
        return plain or hasattr(penalty, "k")

    @classmethod
    def of(cls, problem: Problem) -> SupportMoves:
        """Return the moves of a problem with an L0 penalty or an L0Ball."""
        penalty, none = problem.penalty, np.zeros(problem.n)
        if hasattr(penalty, "k"):
            return cls(problem, none, none, penalty.k)
        cost = np.where(penalty.excluded, np.inf, penalty.l0)
        return cls(problem, cost, np.where(penalty.excluded, 0.0, penalty.l2), problem.n)

    def clear(self) -> None:
        """Empty the support."""
        self.k, self._age = 0, 0
        self.g, self.d = self.correlations.copy(), self.squares.copy()
        self.inside = np.isinf(self.cost)
        self._reserve(max(8, self._capacity))

    def _reserve(self, capacity: int) -> None:
        if capacity <= self._capacity:
            return
        n, k = self.problem.n, self.k
        support, T = np.zeros(capacity, dtype=np.int64), np.zeros((capacity, n))
        H, beta = np.zeros((capacity, capacity)), np.zeros(capacity)
        if k:
            support[:k], T[:k], H[:k, :k] = self._support[:k], self._T[:k], self._H[:k, :k]
            beta[:k] = self._beta[:k]
        self._support, self._T, self._H, self._beta, self._capacity = support, T, H, beta, capacity

    @property
    def support(self) -> Array:
        """Columns in the support, in the order of their places."""
        return self._support[: self.k]

    @property
    def value(self) -> float:
        """The objective at the refitted coefficients."""
        S = self.support
        fit = float(self.correlations[S] @ self._beta[: self.k])
        return self.problem.scale - 0.5 * fit + float(self.cost[S].sum())

    @property
    def x(self) -> Array:
        """The refitted coefficients (n,)."""
        out = np.zeros(self.problem.n)
        out[self.support] = self._beta[: self.k]
        return out

    def best(self, *, may_add: bool = True, may_remove: bool = True) -> Move:
        """Return the move after which the objective is lowest."""
        from sparseinv.kernels.support import best_move

        gain, leaves, enters = best_move(
            self._T, self._H, self._beta, self.g, self.d, self.squares, self.cost, self._support,
            self.inside, self.k, may_add and self.k < self.most, may_remove, self._gains, self._which,
        )  # fmt: skip
        return Move(float(gain), int(leaves), int(enters))

    def make(self, move: Move) -> None:
        """Change the support."""
        if move.leaves >= 0:
            self._delete(move.leaves)
        if move.enters >= 0:
            self._insert(move.enters)
        self._age += 1
        if self._age >= _REFRESH:
            self.restart(self.support.copy())

    def restart(self, support: Array) -> None:
        """Go over to another support, forming everything anew; columns that others explain are left out."""
        self.clear()
        self.columns.take(support)
        for j in support:
            if self.k < self.most and self.d[j] > 1e-10 * self.squares[j] and not self.inside[j]:
                self._insert(int(j))

    def descend(self, rounds: int = 1 << 30, *, may_remove: bool = True) -> bool:
        """Make best moves while they improve; return whether none is left."""
        for _ in range(rounds):
            move = self.best(may_remove=may_remove)
            if not move.gain > _ROUNDING * self.problem.scale:
                return True
            self.make(move)
        return False

    def _insert(self, j: int) -> None:
        from sparseinv.kernels.support import insert

        self._reserve(self.k + 1 if self.k < self._capacity else 2 * self._capacity)
        likely = None
        if self.problem.explicit and self.problem.m * self.problem.n >= _LARGE:
            promise = np.where(self.inside, 0.0, self.g**2 / np.maximum(self.d, 1e-10 * self.squares))
            likely = np.argpartition(promise, -min(_TOGETHER, promise.size))[-_TOGETHER:]
        column = self.columns.take(np.array([j]), likely)[0].copy()
        column[j] += self.ridge[j]
        at = column[self.support]
        insert(self._T, self._H, self._beta, self.g, self.d, self.k, j, column, at)
        self._support[self.k] = j
        self.inside[j] = True
        self.k += 1

    def _delete(self, place: int) -> None:
        from sparseinv.kernels.support import delete

        delete(self._T, self._H, self._beta, self.g, self.d, self.k, place)
        self.inside[self._support[place]] = False
        self.k -= 1
        self._support[place] = self._support[self.k]

    def exchanges(self, count: int) -> list[Move]:
        """Return the best exchanges that do not improve, at most one per column that leaves."""
        found = []
        k, free = self.k, ~self.inside
        for i in range(k):
            t, h = self._T[i], self._H[i, i]
            left = self.d + t * t / h
            usable = free & (left > 1e-10 * self.squares)
            if not usable.any():
                continue
            slope = self.g + self._beta[i] / h * t
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = np.where(usable, 0.5 * slope**2 / left - self.cost, -np.inf)
            j = int(np.argmax(gain))
            loss = self.cost[self._support[i]] - 0.5 * self._beta[i] ** 2 / h
            found.append(Move(float(gain[j] + loss), i, j))
        return sorted(found, reverse=True)[:count]

    def saved(self) -> tuple[Any, ...]:
        """Return a copy of where the search stands."""
        k = self.k
        return (
            k, self._age, self.g.copy(), self.d.copy(), self.inside.copy(), self._support[:k].copy(),
            self._T[:k].copy(), self._H[:k, :k].copy(), self._beta[:k].copy(),
        )  # fmt: skip

    def back_to(self, saved: tuple[Any, ...]) -> None:
        """Go back to a copy."""
        k, self._age, g, d, inside, support, T, H, beta = saved
        self.k, self.g, self.d, self.inside = k, g.copy(), d.copy(), inside.copy()
        self._support[:k], self._T[:k], self._H[:k, :k], self._beta[:k] = support, T, H, beta
