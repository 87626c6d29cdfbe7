"""The neighbourhood of a support: what adding, removing or exchanging one coefficient gains after a refit."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sparseinv.kept_columns import TOGETHER, KeptColumns, ProjectedColumns
from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

ROUNDING = 1e-12  # a gain below this, relative to 1/2 ||b||^2, is none
REFRESH = 50  # moves after which everything is formed anew
_BYTES = 1 << 31  # of H A_S^H A: a support does not grow beyond
_LARGE = 1 << 20  # entries of A from which that is so
_SQUARE = 1e8  # multiplications that A^H A may take for moves to be made without Python
_SIDE = 1000  # its largest size
DEPENDENT = 1e-10  # share of its squared norm below which a column counts as explained by the support


class Move(NamedTuple):
    """A change of the support: by how much the objective falls, which place leaves, which column enters."""

    gain: float
    leaves: int  # place in the support, -1 for none
    enters: int  # column, -1 for none


class SupportMoves:
    """Hold a support with its refitted coefficients, and find, judge and make moves.

    Minimises ``1/2 ||A x - b||^2 + sum_j cost_j [x_j != 0] + ridge_j |x_j|^2 / 2`` with at most ``limit``
    non-zeros among the coefficients that count. Every exchange is judged after a full refit, in O(k n) for
    all of them; a move costs O(k n) and, for a column seen for the first time, one product with A^H.
    Coefficients without a cost that need not be counted come first and stay. Those without any
    penalty, of any sign, are no part of the support: of A and b the moves see what their span leaves.
    """

    #: multiplications per entry of H A_S^H A that finding and making a move takes
    price: ClassVar[float] = 6.0

    def __init__(self, problem: Problem) -> None:
        from sparseinv.kernels.support import BLOCK

        penalty, n = problem.penalty, problem.n
        self.problem = problem
        projects = problem.unpenalised.size > 0 and problem.reducible and not penalty.nonnegative
        self.free = problem.unpenalised if projects else np.zeros(0, dtype=np.int64)
        self.columns = KeptColumns.of(problem).beside(problem, self.free)
        self.ball = hasattr(penalty, "k")
        level = np.zeros(n) if self.ball else penalty.l0
        self.cost = np.where(penalty.excluded, np.inf, level)
        self.ridge = np.zeros(n) if self.ball else np.where(penalty.excluded, 0.0, penalty.l2)
        self.counted = ~penalty.unpenalised if self.ball else np.ones(n, dtype=bool)
        self._all_count = bool(self.counted.all())
        self.limit: int = min(penalty.k, n) if self.ball else n  # non-zeros among those counted
        without = np.zeros(n, dtype=bool)
        without[self.free] = True
        forced = (self.cost == 0.0) & (penalty.unpenalised if self.ball else True)
        self.forced = np.flatnonzero(forced & ~without)
        self.largest = largest_support(problem, self.ridge, self.free)
        self.scale = problem.scale  # 1/2 ||b||^2 for the b that the moves see
        if isinstance(self.columns, ProjectedColumns):
            b = problem.project(problem.b)
            self.scale = 0.5 * squared(b)
            self.correlations = self.columns.against(problem, b).astype(problem.dtype)
            self.squares = problem.reduced_norms**2 + self.ridge
        else:
            self.correlations = problem.gradient(problem.b)
            self.squares = problem.column_norms**2 + self.ridge
        self._stays = np.zeros(n, dtype=bool)
        self._stays[self.forced] = True
        self._gains, self._which = np.empty(BLOCK), np.empty(BLOCK, dtype=np.int64)
        self._capacity = 0
        self._support, self._T = np.zeros(0, dtype=np.int64), np.zeros((0, n), dtype=problem.dtype)
        self._H, self._beta = np.zeros((0, 0), dtype=problem.dtype), np.zeros(0, dtype=problem.dtype)
        self._shift = np.zeros(0)  # l1_j times the sign of the coefficient
        small = n <= _SIDE and float(problem.m) * n * n <= _SQUARE
        #: whether moves are made by a kernel, on all products A^H a_j
        self.swift = small and problem.explicit and self._all_count and type(self) is SupportMoves
        self.made = 0  # moves made by `descend`
        self._saved: tuple[Array, ...] = ()
        self.clear()

    def clear(self) -> None:
        """Empty the support."""
        self.k, self._age = 0, 0
        self.g, self.d = self.correlations.copy(), self.squares.copy()
        self.inside = np.isinf(self.cost)
        self.inside[self.free] = True
        self._reserve(max(8, self._capacity))

    def _reserve(self, capacity: int) -> None:
        if capacity <= self._capacity:
            return
        n, k, dtype = self.problem.n, self.k, self.problem.dtype
        support, T = np.zeros(capacity, dtype=np.int64), np.zeros((capacity, n), dtype=dtype)
        H, beta = np.zeros((capacity, capacity), dtype=dtype), np.zeros(capacity, dtype=dtype)
        shift = np.zeros(capacity)
        if k:
            support[:k], T[:k], H[:k, :k] = self._support[:k], self._T[:k], self._H[:k, :k]
            beta[:k], shift[:k] = self._beta[:k], self._shift[:k]
        self._support, self._T, self._H, self._beta, self._capacity = support, T, H, beta, capacity
        self._shift = shift

    @property
    def support(self) -> Array:
        """Columns in the support, in the order of their places."""
        return self._support[: self.k]

    @property
    def room(self) -> int:
        """How many more of the coefficients that count may come in; negative where some must leave."""
        return self.limit - (self.k if self._all_count else int(self.counted[self.support].sum()))

    @property
    def value(self) -> float:
        """The objective at the refitted coefficients."""
        S, beta = self.support, self._beta[: self.k]
        fit = float(np.vdot(self.correlations[S] - self._shift[: self.k], beta).real)
        return self.scale - 0.5 * fit + float(self.cost[S].sum())

    @property
    def x(self) -> Array:
        """The refitted coefficients (n,)."""
        out = np.zeros(self.problem.n, dtype=self.problem.dtype)
        out[self.support] = self._beta[: self.k]
        return self._completed(out)

    def _completed(self, x: Array) -> Array:
        """Return x with the free coefficients fitted to what the others leave."""
        if self.free.size:
            x[self.free] = 0.0
            _, columns, norms = self.problem._basis
            assert columns is not None
            fitted = np.linalg.lstsq(columns, -self.problem.residual(x), rcond=None)[0]
            x[self.free] = np.divide(fitted, norms, out=np.zeros_like(fitted), where=norms > 0)
        return x

    def refined(self, x: Array) -> Array:
        """Return x on the present support after a step of iterative refinement, where that is no worse."""
        problem, S = self.problem, self.support
        r = problem.residual(x)
        slope = problem.gradient(r)[S] + self.ridge[S] * x[S] + self._shift[: self.k]
        y = x.copy()
        y[S] -= self._H[: self.k, : self.k] @ slope
        y = self._completed(y)
        better = problem.objective(y, problem.residual(y)) < problem.objective(x, r)
        return y if better and np.array_equal(y != 0, x != 0) else x

    def marginal(self) -> tuple[float, float]:
        """Return (what adding the best column gains, what removing the one that matters least loses)."""
        loss = self._cheapest_removal().gain if self.k else 0.0
        new = ~self.inside & (self.d > DEPENDENT * self.squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(new, 0.5 * self._pull(self.g) ** 2 / self.d, 0.0)
        return float(gain.max(initial=0.0)), max(-loss, 0.0) if np.isfinite(loss) else 0.0

    def best(self) -> Move:
        """Return the move after which the objective is lowest; where too many are inside, a removal."""
        from sparseinv.kernels.support import best_move

        room = self.room
        if room < 0:
            return self._cheapest_removal()
        gain, leaves, enters = best_move(
            self._T, self._H, self._beta, self.g, self.d, self.squares, self.cost, self._support,
            self.inside, self._stays, self.k, room > 0 and self.k < self.largest, True, self._gains,
            self._which,
        )  # fmt: skip
        return Move(float(gain), int(leaves), int(enters))

    def _cheapest_removal(self) -> Move:
        k, S = self.k, self.support
        gains = self.cost[S] - 0.5 * np.abs(self._beta[:k]) ** 2 / np.diagonal(self._H)[:k].real
        gains[self._stays[S] | ~self.counted[S]] = -np.inf
        place = int(np.argmax(gains))
        return Move(float(gains[place]), place, -1)

    def make(self, move: Move) -> None:
        """Change the support."""
        if move.leaves >= 0:
            self._delete(move.leaves)
        if move.enters >= 0:
            self._insert(move.enters)
        self._grow_old(1)

    def restart(self, support: Array) -> None:
        """Go over to another support, forming everything anew; columns that others explain are left out.

        Where more come in than may stay, those that matter least leave again.
        """
        self.clear()
        support = self._wanted(support)
        self._fill(support[~self.inside[support]], np.zeros(support.size))
        self.trim()

    def _fill(self, support: Array, shift: Array) -> None:
        """Bring columns into the empty support, all at once unless they are nearly dependent."""
        rows: Any
        if self.swift and support.size:
            rows = self.columns.square(self.problem)[support]
        else:
            rows = self.columns.take(self.problem, support)
        if 2 <= support.size <= self.largest and self._load(support, shift[: support.size], rows):
            return
        for j, own in zip(support, shift, strict=False):
            if self.k < self.largest and self._is_new(j):
                self._insert(int(j), float(own))

    def _load(self, support: Array, shift: Array, rows: list[Array]) -> bool:
        """Form everything by a Cholesky factorisation; return False where columns are nearly dependent."""
        size = support.size
        C = np.array(rows).conj()  # A_S^H A
        C[np.arange(size), support] += self.ridge[support]
        G = C[:, support]
        try:
            L = np.linalg.cholesky(0.5 * (G + G.conj().T))
        except np.linalg.LinAlgError:
            return False
        if not (np.diagonal(L).real ** 2 > DEPENDENT * self.squares[support]).all():
            return False
        inverse = np.linalg.inv(L)
        H = inverse.conj().T @ inverse
        self._reserve(size)
        T = np.matmul(H, C, out=self._T[:size])
        beta = H @ (self.correlations[support] - shift)
        self.g = self.correlations - beta @ C.conj()
        self.d = self.squares - np.einsum("ij,ij->j", C.conj(), T).real
        self._H[:size, :size], self._beta[:size] = H, beta
        self._support[:size], self._shift[:size], self.k = support, shift, size
        self.inside[support] = True
        return True

    def _wanted(self, support: Array) -> Array:
        """Return the columns to bring in: those without a cost come first."""
        if not self.forced.size:
            return support
        rest = support[~np.isin(support, self.forced)]
        return np.concatenate([self.forced, rest]).astype(np.int64)

    def _is_new(self, j: int) -> bool:
        return bool(self.d[j] > DEPENDENT * self.squares[j]) and not self.inside[j]

    def trim(self) -> None:
        """Remove what costs least until no more are inside than may be."""
        if self.swift and self.room < 0:
            from sparseinv.kernels.support import trim

            fit, fixed, scratch = self._parts()
            self.k = trim(fit, fixed, scratch, self.k, self.limit)
            return
        while self.room < 0:
            move = self._cheapest_removal()
            if not np.isfinite(move.gain):
                break
            self._delete(move.leaves)

    def descend(self, rounds: int = 1 << 30) -> bool:
        """Make best moves while they improve; return whether none is left."""
        if self.swift and self.room >= 0:
            return self._walk(rounds)
        for _ in range(rounds):
            move = self.best()
            if not move.gain > ROUNDING * self.scale:
                return True
            self.make(move)
            self.made += 1
        return False

    def _walk(self, rounds: int) -> bool:
        """Descend on all products A^H a_j."""
        from sparseinv.kernels.support import descend

        while rounds > 0:
            some = min(rounds, REFRESH - self._age)
            self._reserve(self.k + some + 1)
            fit, fixed, scratch = self._parts()
            self.k, made, ended = descend(
                fit, fixed, scratch, self.k, self.limit, self.largest, ROUNDING * self.scale, some
            )
            self.made += made
            rounds -= some
            self._grow_old(made)
            if ended:
                return True
        return False

    def _grow_old(self, moves: int) -> None:
        self._age += moves
        if self._age >= REFRESH:
            self.restart(self.support.copy())

    def _parts(self) -> tuple[tuple[Array, ...], tuple[Array, ...], tuple[Array, ...]]:
        """Return what kernels that walk change, what they read, and scratch."""
        fit = (self._T, self._H, self._beta, self.g, self.d, self._support, self.inside)
        square = self.columns.square(self.problem)
        fixed = (square, self.squares, self.ridge, self.cost, self.correlations, self._stays)
        column, at = np.empty_like(self.correlations), np.empty_like(self._beta)
        return fit, fixed, (column, at, self._gains, self._which)

    def chain(self, count: int, rounds: int) -> bool:
        """Try exchanges that do not improve, followed by a few moves, where moves are swift."""
        from sparseinv.kernels.support import best_exchanges, chain

        k = self.k
        self._reserve(k + rounds + 2)
        fit, fixed, scratch = self._parts()
        gains, enters = np.empty(k), np.empty(k, dtype=np.int64)
        best_exchanges(fit, fixed, k, gains, enters)
        order = np.argsort(-gains, kind="stable")
        order = order[enters[order] >= 0][:count]
        if not self._saved or self._saved[0].shape != self._T.shape:
            self._saved = tuple(np.empty_like(part) for part in fit)
        self.k, made = chain(
            fit, self._saved, fixed, scratch, k, order, enters, self.limit, self.largest,
            ROUNDING * self.scale, rounds,
        )  # fmt: skip
        self._grow_old(made)
        return bool(made > 0)

    def _insert(self, j: int, shift: float = 0.0) -> None:
        from sparseinv.kernels.support import insert

        self._reserve(self.k + 1 if self.k < self._capacity else 2 * self._capacity)
        likely = None
        if self.problem.explicit and self.problem.m * self.problem.n >= _LARGE:
            left = np.maximum(self.d, DEPENDENT * self.squares)
            # nothing is left of free columns, which are inside, nor of columns of zeros
            promise = np.divide(
                np.abs(self.g) ** 2, left, out=np.zeros(left.size), where=~self.inside & (left > 0.0)
            )
            likely = np.argpartition(promise, -min(TOGETHER, promise.size))[-TOGETHER:]
        column = self.columns.take(self.problem, np.array([j]), likely)[0].copy()
        column[j] += self.ridge[j]
        at = column[self.support]
        insert(self._T, self._H, self._beta, self.g, self.d, self.k, j, column, at, shift)
        self._support[self.k], self._shift[self.k] = j, shift
        self.inside[j] = True
        self.k += 1

    def _delete(self, place: int) -> None:
        from sparseinv.kernels.support import delete

        delete(self._T, self._H, self._beta, self.g, self.d, self.k, place)
        self.inside[self._support[place]] = False
        self.k -= 1
        self._support[place], self._shift[place] = self._support[self.k], self._shift[self.k]

    def exchanges(self, count: int) -> list[Move]:
        """Return the exchanges that are the least bad, at most one per column that leaves.

        What they gain is the gain without signs, an upper bound where signs matter.
        """
        found = []
        free = ~self.inside & (self.counted | (self.limit == self.problem.n))
        for i in range(self.k):
            leaving = self._support[i]
            if self._stays[leaving] or not self.counted[leaving]:
                continue
            t, h = self._T[i], self._H[i, i].real
            left = self.d + np.abs(t) ** 2 / h
            usable = free & (left > DEPENDENT * self.squares)
            if not usable.any():
                continue
            slope = self._pull(self.g + self._beta[i] / h * t.conj())
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = np.where(usable, 0.5 * slope**2 / left - self.cost, -np.inf)
            j = int(np.argmax(gain))
            loss = self.cost[leaving] - 0.5 * abs(self._beta[i]) ** 2 / h
            found.append(Move(float(gain[j] + loss), i, j))
        return sorted(found, reverse=True)[:count]

    def _pull(self, slope: Array) -> Array:
        """Return what of a correlation can move a coefficient from zero."""
        return np.abs(slope)

    @cached_property
    def by_promise(self) -> Array:
        """Columns by how much each alone lowers the objective, its cost left out; the best first."""
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = self._pull(self.correlations) ** 2 / self.squares
        usable = np.flatnonzero(np.isfinite(self.cost) & (self.squares > 0))
        return usable[np.argsort(-alone[usable], kind="stable")]

    def saved(self) -> tuple[Any, ...]:
        """Return a copy of where the search stands."""
        k = self.k
        return (
            k, self._age, self.g.copy(), self.d.copy(), self.inside.copy(), self._support[:k].copy(),
            self._T[:k].copy(), self._H[:k, :k].copy(), self._beta[:k].copy(), self._shift[:k].copy(),
        )  # fmt: skip

    def back_to(self, saved: tuple[Any, ...]) -> None:
        """Go back to a copy."""
        k, self._age, g, d, inside, support, T, H, beta, shift = saved
        self.k, self.g, self.d, self.inside = k, g.copy(), d.copy(), inside.copy()
        self._support[:k], self._T[:k], self._H[:k, :k], self._beta[:k] = support, T, H, beta
        self._shift[:k] = shift


def largest_support(problem: Problem, ridge: Array, free: Array) -> int:
    """Return how many columns fit into memory, and can be independent: with a ridge any, else one per row."""
    usable = ~np.asarray(problem.penalty.excluded)
    usable[free] = False
    ridged = int(np.count_nonzero(usable & (ridge > 0.0)))
    bare = int(np.count_nonzero(usable)) - ridged
    most = ridged + min(problem.m, bare)
    return min(most, places(problem))


def places(problem: Problem) -> int:
    """Return how many columns fit into memory."""
    return int(_BYTES // (problem.dtype.itemsize * max(problem.n, 1)))
