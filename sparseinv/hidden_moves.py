"""Moves that products of columns cannot judge: those that bring in a column nearly explained by the support.

`SupportMoves` knows what a support leaves of a column as a difference of products, which is rounding once
less than 1e-10 of the square is left, and passes such columns over. Two columns that are almost one can fit
together what neither fits alone, so a certificate has to look at them: here they are orthogonalised one by
one. Columns that differ by less than 1e-13 of their length count as the same. A support of columns that are
nearly dependent among themselves is factorised anew in the same way: products know its inverse too badly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.exact_columns import SAME, Basis, difference
from sparseinv.problem import Problem, squared
from sparseinv.signed_moves import SignedMoves, moves_of
from sparseinv.support_moves import DEPENDENT, ROUNDING, SupportMoves

Array = np.ndarray[Any, Any]

INEXACT = 1e-10  # defect from which on products of columns do not hold a support
_WORK = 3e9  # multiplications up to which hidden columns are looked at one by one
_BLOCK = 256  # columns looked at together
_SHARES = 1e3  # of the defect: shares of a column's square that products cannot tell from none
_PRICE = 40.0  # multiplications of one in twice the working precision


class Neighbourhood:
    """Hold the moves from a point, hidden ones included.

    Attributes
    ----------
    value : float
        The objective at the refit on the support of x.
    gain : float
        What the best move gains, at most.
    move : Move
        That move.
    columns : ndarray
        The support, by places.
    """

    def __init__(self, problem: Problem, x: Array) -> None:
        self.problem = problem
        self.moves = moves_of(problem)
        moves, given = self.moves, np.flatnonzero(x)
        moves.restart(given)
        self.value, self.unseen = moves.value, 0.0
        lost = defect(moves)
        self._least = max(DEPENDENT, _SHARES * lost)
        missing = given[~moves.inside[given]]
        missing = missing[self._hidden(missing)]
        signs = np.sign(x.real)
        if lost > INEXACT:
            self._least = DEPENDENT
            signs[moves.support] = np.sign(moves._shift[: moves.k])
            missing = np.concatenate([moves.support, missing])
            moves.clear()
        everything = np.flatnonzero(self._hidden(np.arange(problem.n)) & ~moves.inside)
        if 0.5 * missing.size**2 * problem.m * _PRICE > _WORK:
            moves.restart(given)
            self.unseen = self.value  # the objective is never negative
        elif missing.size or everything.size:
            self._look(signs, missing, everything)
        self.move = moves.best()
        self.gain = max(self.move.gain, self.unseen, 0.0)
        self.columns = moves.support.copy()

    def _hidden(self, index: Array) -> Array:
        moves = self.moves
        there = np.isfinite(moves.cost[index]) & (moves.squares[index] > 0.0)
        return np.asarray(there & ~(moves.d[index] > self._least * moves.squares[index]))

    def _look(self, signs: Array, missing: Array, hidden: Array) -> None:
        """Bring in the columns of x that were left out, and make exact what is hidden beside them."""
        moves = self.moves
        if not missing.size:
            hidden = self._distinct(hidden)
            if not hidden.size:
                return
        else:
            self._bring_in(signs, missing)
            hidden = np.flatnonzero(self._hidden(np.arange(self.problem.n)))
        hidden = hidden[~moves.inside[hidden]]
        r = self._residual()
        misfit = 0.5 * squared(r)
        self.value = self._objective(misfit)
        # a move cannot take off more than the misfit and the charge of what leaves
        spare = misfit + float(moves.cost[moves.support].max(initial=0.0))
        hidden = hidden[spare - moves.cost[hidden] > ROUNDING * moves.scale]
        moves.d[hidden] = 0.0
        k = moves.k + moves.free.size + 1.0
        if hidden.size * k * self.problem.m * _PRICE > _WORK:
            self.unseen = spare - float(moves.cost[hidden].min())
            return
        basis = self._basis()
        for j in hidden:
            left = basis.left(self._tall(np.array([j]))[:, 0])
            if left.square > 0.0:
                moves.d[j] = moves.squares[j] = left.square + float(moves.ridge[j])
                moves._T[: moves.k, j] = left.shares[moves.free.size :]
                # r is orthogonal to the support but for levels of |x|
                along = np.vdot(left.shares[moves.free.size :], moves._shift[: moves.k])
                moves.g[j] = np.vdot(left.column, r) + along

    def _bring_in(self, signs: Array, missing: Array) -> None:
        """Let columns enter one after another, from what those before leave of them."""
        from scipy.linalg import solve_triangular

        moves, b = self.moves, self._target(self.moves.k + missing.size)
        before = moves.free.size + moves.k
        order = np.concatenate([moves.free, moves.support, missing])
        basis = Basis(self._tall(order, own=True, places=moves.k + missing.size))
        at = np.cumsum(basis.kept) - 1
        for place in range(before, order.size):
            if not basis.kept[place]:
                continue
            j, i, k = int(order[place]), int(at[place]), moves.k
            upper, length = basis.upper[:i, :i], float(basis.upper[i, i].real)
            shares = np.zeros(place, dtype=basis.q.dtype)
            shares[basis.kept[:place]] = solve_triangular(upper, basis.upper[:i, i], check_finite=False)
            entered = np.concatenate([np.ones(before, dtype=bool), basis.kept[before:place]])
            shares = shares[entered][moves.free.size :]
            column = length * basis.q[:, i]
            moves.d[j], moves._T[:k, j] = length * length, shares
            # the residual of the fit differs from b by what the column is orthogonal to
            moves.g[j] = np.vdot(column, b) + np.vdot(shares, moves._shift[:k])
            self._insert(j, column, float(signs[j]))
        if isinstance(moves, SignedMoves):
            moves._mend()

    def _distinct(self, index: Array) -> Array:
        """Return those of the columns of which the support leaves more than rounding."""
        held = self._tall(self.moves.support, own=True)
        q = np.zeros((held.shape[0], 0), dtype=held.dtype)
        if self.moves.free.size:
            free = self.problem._basis[0]
            assert free is not None
            q = np.vstack([free, np.zeros((held.shape[0] - self.problem.m, free.shape[1]), dtype=free.dtype)])
            for _ in range(2):
                held = held - q @ (q.conj().T @ held)
        if held.shape[1]:
            q = np.hstack([q, np.linalg.qr(held / np.linalg.norm(held, axis=0))[0]])
        found = [np.zeros(0, dtype=np.int64)]
        for low in range(0, index.size, _BLOCK):
            part = index[low : low + _BLOCK]
            columns = self._tall(part)
            norms = np.linalg.norm(columns, axis=0)
            for _ in range(2):
                columns = columns - q @ (q.conj().T @ columns)
            found.append(part[np.linalg.norm(columns, axis=0) > 0.5 * SAME * norms])
        return np.concatenate(found)

    def _tall(self, index: Array, own: bool = False, places: int | None = None) -> Array:
        """Return columns of A, with a row for the ridge of every place beneath; own: of the last columns."""
        moves = self.moves
        columns = np.asarray(self.problem.operator.columns(index)).astype(self.problem.dtype)
        if not moves.ridge.any():
            return columns
        k = moves.k if places is None else places
        below = np.zeros((k, index.size), dtype=columns.dtype)
        if own:
            last = np.arange(index.size - k, index.size)
            below[np.arange(k), last] = np.sqrt(moves.ridge[index[last]])
        return np.vstack([columns, below])

    def _target(self, places: int) -> Array:
        """Return b in the rows of `_tall`."""
        b = self.problem.b.astype(self.problem.dtype)
        return np.concatenate([b, np.zeros(places, dtype=b.dtype)]) if self.moves.ridge.any() else b

    def _basis(self) -> Basis:
        return Basis(self._tall(np.concatenate([self.moves.free, self.moves.support]), own=True))

    def _residual(self) -> Array:
        """Return b - A_S beta of the refit, in the rows of `_tall`; without signs beta is fitted anew."""
        moves, b = self.moves, self._target(self.moves.k)
        columns, free = self._tall(np.concatenate([moves.free, moves.support]), own=True), moves.free.size
        if not isinstance(moves, SignedMoves):
            fitted = Basis(columns).fit(b)
            moves._beta[: moves.k] = fitted[free:]
        else:
            fitted = np.concatenate([np.zeros(free, dtype=b.dtype), moves._beta[: moves.k]])
            if free:
                rest = difference(b, columns, fitted)
                fitted[:free] = Basis(columns[:, :free]).fit(rest)
        return difference(b, columns, fitted)

    def _objective(self, misfit: float) -> float:
        moves = self.moves
        beta = np.abs(moves._beta[: moves.k])
        levels = np.abs(moves._shift[: moves.k])
        return misfit + float(moves.cost[moves.support].sum()) + float(levels @ beta)

    def _insert(self, j: int, column: Array, sign: float) -> None:
        """Let a column enter, as `kernels.support.insert` does, from what is left of it."""
        moves, m = self.moves, self.problem.m
        moves._reserve(moves.k + 1 if moves.k < moves._capacity else 2 * moves._capacity)
        k, pivot = moves.k, float(moves.d[j])
        shift = sign * float(moves.l1[j]) if isinstance(moves, SignedMoves) else 0.0
        row = self.problem.gradient(np.ascontiguousarray(column[:m])).astype(moves._T.dtype)
        if moves.ridge.any():
            row[moves.support] += np.sqrt(moves.ridge[moves.support]) * column[m : m + k]
        row[j] = pivot
        slope, row = moves.g[j] - shift, row / pivot
        at = moves._T[:k, j].copy()
        moves._T[:k] -= at[:, None] * row.conj()
        moves._T[k] = row.conj()
        moves.g -= slope * row
        moves.d -= pivot * np.abs(row) ** 2
        moves._H[:k, :k] += np.outer(at, at.conj()) / pivot
        moves._H[:k, k] = -at / pivot
        moves._H[k, :k] = moves._H[:k, k].conj()
        moves._H[k, k] = 1.0 / pivot
        moves._beta[:k] -= at * slope / pivot
        moves._beta[k] = slope / pivot
        moves._support[k], moves._shift[k] = j, shift
        moves.inside[j] = True
        moves.k += 1


def defect(moves: SupportMoves) -> float:
    """Return how far the inverse that a support holds is from that of the products of its columns."""
    S, k = moves.support, moves.k
    if not k:
        return 0.0
    gram = np.array([row[S] for row in moves.columns.take(moves.problem, S)]).conj()
    gram[np.arange(k), np.arange(k)] += moves.ridge[S]
    size = np.sqrt(moves.squares[S])
    wrong = np.abs(moves._H[:k, :k] @ gram - np.eye(k)) * size[:, None] / size
    return float(wrong.max())


def swap_decrease(problem: Problem, x: Array, r: Array) -> float:
    """Return the exact best decrease of the objective by adding, removing or exchanging one coefficient.

    Where hidden columns are too many to be looked at, a bound on what they could bring takes their place.
    """
    around = Neighbourhood(problem, x)
    return max(problem.objective(x, r) - (around.value - around.gain), 0.0)


def after_hidden_move(problem: Problem, x: Array) -> Array | None:
    """Return the fit after the best move from x if that is lower; None where moves see all there is.

    For penalties without signs and levels of |x|.
    """
    around = Neighbourhood(problem, x)
    moves, move = around.moves, around.move
    if isinstance(moves, SignedMoves) or not move.gain > ROUNDING * moves.scale:
        return None
    support = list(around.columns)
    if move.leaves >= 0:
        support.pop(move.leaves)
    if move.enters >= 0:
        support.append(move.enters)
    index = np.concatenate([moves.free, np.array(support, dtype=np.int64)])
    ridge = np.sqrt(moves.ridge[index])
    columns = np.vstack([problem.operator.columns(index), np.diag(ridge)[ridge > 0.0]]).astype(problem.dtype)
    target = np.concatenate([problem.b, np.zeros(columns.shape[0] - problem.m)]).astype(problem.dtype)
    y = np.zeros_like(x)
    y[index] = Basis(columns).fit(target)
    now, then = (problem.objective(v, problem.residual(v)) for v in (x, y))
    return y if then < now - ROUNDING * moves.scale else None
