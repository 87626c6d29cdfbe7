"""How a solution moves with the levels of its penalty: one linear system on what is not zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.dual_points import solve_symmetric
from sparseinv.penalties.group import Grouped
from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]


class ActiveSystem:
    """Hold the optimality conditions of a solution, linearised on the coefficients that are not zero.

    With S the active set and f_j the derivative of lam_j's part of the penalty,
    A_S^H (A x - b) + f = 0 gives H dx_S = -f_S dtheta for lam = exp(theta), where
    H = A_S^H A_S + the penalty's own curvature: l2 for the ridge part, lam / |x_j| across the phase of a
    complex coefficient, lam_g / ||x_g|| across the direction of a group.

    Parameters
    ----------
    problem : Problem
        At the levels in question; L1, L2, elastic net or group penalty, columns of A in memory.
    x : ndarray, shape (n,)
        Its solution, in working units.

    Attributes
    ----------
    index : ndarray
        The active coefficients.
    force : ndarray
        Derivative of the penalty's gradient with respect to log lam_j, on the active coefficients.
    """

    def __init__(self, problem: Problem, x: Array) -> None:
        penalty = problem.penalty
        grouped = isinstance(penalty, Grouped)
        level = penalty.level if grouped else penalty.l1
        size = penalty.spread(penalty.norms(x)) if grouped else np.abs(x)
        alive = size > 0
        if not penalty.nonnegative:  # nothing holds these at zero
            alive |= level == 0
        self.index = np.flatnonzero(alive & ~penalty.excluded)
        part, size, level = x[self.index], size[self.index], level[self.index]
        direction = np.divide(part, size, out=np.zeros_like(part), where=size > 0)
        ridge = np.zeros(part.size) if grouped else penalty.l2[self.index]
        self.force = level * direction + ridge * part
        across = np.divide(level, size, out=np.zeros(part.size), where=size > 0)
        bent = grouped or (part.dtype.kind == "c" and bool(across.any()))
        self._real = bent and part.dtype.kind == "c"
        columns = problem.operator.inner.columns(self.index)
        if self._real:
            columns = np.block([[columns.real, -columns.imag], [columns.imag, columns.real]])
        diagonal = ridge + across if bent else ridge
        self._columns, self._diagonal = columns, np.tile(diagonal, 2) if self._real else diagonal
        self._rank_one: list[tuple[Array, Array, float]] = []
        if bent:
            self._bend(penalty, direction, across)
        m, k = columns.shape
        self._dual = not bent and k > m and bool((ridge > 0).all())
        self._matrix = self._dual_matrix() if self._dual else self._primal_matrix()

    def _bend(self, penalty: Any, direction: Array, across: Array) -> None:
        """Take the curvature off again along the direction of every block."""
        if isinstance(penalty, Grouped):
            labels = np.empty(penalty.n, dtype=np.int64)
            labels[penalty.order] = np.repeat(np.arange(penalty.lam.size), np.diff(penalty.starts))
            order = np.argsort(labels[self.index], kind="stable")
            ends = np.flatnonzero(np.diff(labels[self.index][order])) + 1
            blocks = np.split(order, ends) if order.size else []
        else:
            blocks = [np.array([j]) for j in range(self.index.size)]
        for block in blocks:
            if across[block[0]] == 0:
                continue
            along = direction[block]
            rows = np.concatenate([block, block + self.index.size]) if self._real else block
            along = np.concatenate([along.real, along.imag]) if self._real else along
            self._rank_one.append((rows, along, float(across[block[0]])))

    def _primal_matrix(self) -> Array:
        gram = self._columns.conj().T @ self._columns
        gram[np.diag_indices_from(gram)] += self._diagonal
        for rows, along, weight in self._rank_one:
            gram[np.ix_(rows, rows)] -= weight * np.outer(along, along)
        # columns of any length: one factorisation with a unit diagonal
        unit = np.sqrt(np.diag(gram).real)
        self._unit = np.where(unit > 0, unit, 1.0)
        gram /= self._unit
        gram /= self._unit[:, None]
        return np.asarray(gram)

    def _dual_matrix(self) -> Array:
        M = self._columns
        return (M / self._diagonal) @ M.conj().T + np.eye(M.shape[0])

    def solve(self, rhs: Array) -> Array:
        """Return u with H u = rhs, shape (k,) or (k, q); of minimum norm where H is singular."""
        if self.index.size == 0:
            return rhs
        if self._real:
            rhs = np.concatenate([rhs.real, rhs.imag])
        shape = (-1,) + (1,) * (rhs.ndim - 1)
        if self._dual:
            D, M = self._diagonal.reshape(shape), self._columns
            first = rhs / D
            u = first - (M.conj().T @ solve_symmetric(self._matrix, M @ first)) / D
        else:
            unit = self._unit.reshape(shape)
            u = solve_symmetric(self._matrix, rhs / unit) / unit
        if self._real:
            u = u[: self.index.size] + 1j * u[self.index.size :]
        return np.asarray(u)

    def gradient(self, slope: Array) -> Array:
        """Return dC/dlog lam_j of every active coefficient, for slope = dC/dx on the active set."""
        return np.asarray(-(np.conj(self.solve(slope)) * self.force).real)

    def motion(self, share: Array) -> Array:
        """Return dx_S/da, shape (k, q), where log lam_j moves by share[j] a."""
        return -self.solve(self.force[:, None] * share)
