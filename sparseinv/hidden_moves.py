"""Moves that products of columns cannot judge: those that bring in a column nearly explained by the support.

`SupportMoves` knows what a support leaves of a column as a difference of products, which is rounding once
less than 1e-10 of the square is left, and passes such columns over. Two columns that are almost one can fit
together what neither fits alone, so a certificate has to look at them: here they are orthogonalised one by
one. Columns that differ by less than 1e-13 of their length count as the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.exact_columns import SAME, Basis, difference
from sparseinv.problem import Problem, squared
from sparseinv.signed_moves import SignedMoves, moves_of
from sparseinv.support_moves import DEPENDENT, ROUNDING

Array = np.ndarray[Any, Any]

_WORK = 3e9  # multiplications up to which hidden columns are looked at one by one
_BLOCK = 256  # columns looked at together
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
        missing = given[~moves.inside[given]]
        missing = missing[self._hidden(missing)]
        everything = np.flatnonzero(self._hidden(np.arange(problem.n)) & ~moves.inside)
        if missing.size or everything.size:
            self._look(x, missing, everything)
        self.move = moves.best()
        self.gain = max(self.move.gain, self.unseen, 0.0)
        self.columns = moves.support.copy()

    def _hidden(self, index: Array) -> Array:
        moves = self.moves
        there = np.isfinite(moves.cost[index]) & (moves.squares[index] > 0.0)
        return np.asarray(there & ~(moves.d[index] > DEPENDENT * moves.squares[index]))

    def _look(self, x: Array, missing: Array, hidden: Array) -> None:
        """Bring in the columns of x that were left out, and make exact what is hidden beside them."""
        moves = self.moves
        if not missing.size:
            hidden = self._distinct(hidden)
            if not hidden.size:
                return
        for j in missing:
            basis = self._basis()
            left = basis.left(self._tall(np.array([j]))[:, 0])
            square = left.square + float(moves.ridge[j])
            if square > 0.0:
                moves.d[j], moves._T[: moves.k, j] = square, left.shares[moves.free.size :]
                moves.g[j] = self._slope(basis, left.column, left.shares)
                self._insert(int(j), left.column, x)
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
                moves.g[j] = self._slope(basis, left.column, left.shares, r)

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

    def _tall(self, index: Array, own: bool = False) -> Array:
        """Return columns of A, with a row for the ridge of every place of the support beneath."""
        moves = self.moves
        columns = np.asarray(self.problem.operator.columns(index)).astype(self.problem.dtype)
        if not moves.ridge.any():
            return columns
        below = np.zeros((moves.k, index.size), dtype=columns.dtype)
        if own:
            below[np.arange(moves.k), index.size - moves.k + np.arange(moves.k)] = np.sqrt(
                moves.ridge[moves.support]
            )
        return np.vstack([columns, below])

    def _basis(self) -> Basis:
        return Basis(self._tall(np.concatenate([self.moves.free, self.moves.support]), own=True))

    def _residual(self) -> Array:
        """Return b - A_S beta of the refit, in the rows of `_tall`; without signs beta is fitted anew."""
        moves, b = self.moves, self.problem.b.astype(self.problem.dtype)
        if moves.ridge.any():
            b = np.concatenate([b, np.zeros(moves.k, dtype=b.dtype)])
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

    def _slope(self, basis: Basis, column: Array, shares: Array, r: Array | None = None) -> Any:
        """Return a_j^H r for what is left of a_j: r is orthogonal to the support but for levels of |x|."""
        moves = self.moves
        r = self._residual() if r is None else r
        return np.vdot(column, r) + np.vdot(shares[moves.free.size :], moves._shift[: moves.k])

    def _insert(self, j: int, column: Array, x: Array) -> None:
        """Let a column enter, as `kernels.support.insert` does, from what is left of it."""
        moves, m = self.moves, self.problem.m
        moves._reserve(moves.k + 1 if moves.k < moves._capacity else 2 * moves._capacity)
        k, pivot = moves.k, float(moves.d[j])
        shift = float(np.sign(x[j].real)) * moves.l1[j] if isinstance(moves, SignedMoves) else 0.0
        row = self.problem.gradient(np.ascontiguousarray(column[:m])).astype(moves._T.dtype)
        if moves.ridge.any():
            row[moves.support] += np.sqrt(moves.ridge[moves.support]) * column[m:]
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
