"""Cyclic coordinate descent on matrices in memory, by columns or by the Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import Kind
from sparseinv.penalties.nonconvex import Concave
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, Solver, State, called, chunk, cost_of_pass, refuse, start_point
from sparseinv.solvers.block_columns import eigen
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_NONE = np.empty(0, dtype=np.int64)
_INNER = 10  # sweeps over the non-zeros after each full sweep
_GRAM_SWEEPS = 20
_LARGEST_GROUP = 200  # larger groups take proximal steps: their eigenvectors would cost more than they save
_BASIS_BYTES = 1 << 29  # so do groups whose eigenvectors exceed this in sum
_BATCH = 1 << 22  # entries of A laid out at a time
_CONTINUATION = 0.5  # factor between two levels while a nonconvex problem is approached


@dataclass(slots=True, eq=False, kw_only=True)
class DescentState(State):
    """Carry the residual and the curvatures."""

    squares: Array  # ||a_j||^2; with groups the eigenvalues of A_g^H A_g, in the order of the groups
    basis: tuple[Array, ...]  # eigenvectors of all A_g^H A_g, where each begins, zero columns, scratch; or ()
    active: Array  # scratch: coordinates or groups that are not zero
    gram: Array | None  # A^H A, F-ordered
    level: float = 1.0  # factor on the penalty while the problem is approached; 1 is the problem itself


@dataclass(frozen=True, repr=False)
class CoordinateDescent(Solver):
    """Minimise over one coefficient at a time: x_j <- prox(x_j - a_j^H r / ||a_j||^2).

    Parameters
    ----------
    gram : bool or None
        Work on A^H A (n x n) instead of columns; None: if m >= 3 n and n <= 2000.
    continuation : bool
        For nonconvex penalties without x0: approach the problem through a falling sequence of levels,
        which finds far better minima than a cold start.

    Notes
    -----
    Every update is exact, so the objective never rises and column scales do not matter. After each
    full sweep only non-zero coefficients are swept until they settle [1]_. For L0 the limit is a
    coordinate-wise minimum; a tie goes to zero. Cost: a full sweep reads A once (counted as one product
    with A and one with A^H). Dense and CSC; storage A (column-major), the residual, and A^H A where it is
    used.

    A group is minimised exactly as well: with A_g^H A_g = V diag(s) V^H and c = V^H A_g^H (b - the other
    groups), the minimiser is zero if ||c|| <= lam_g and else has the norm t that solves
    sum_i |c_i|^2 / (s_i t + lam_g)^2 = 1, found by Newton's method [2]_. So correlated, dependent and badly
    scaled columns inside a group do not slow the sweeps down. The eigenvectors are formed once, at about
    4 m k^2 multiplications for a group of k columns, cost 3 k^2 more a visit beside the 2 m k of the
    columns, and take k^2 numbers a group: at most 200 n in all, and at most 512 MiB. Groups of more than
    200 columns and groups beyond that limit take one proximal step with the sum of ||a_j||^2 instead, which
    is no minimisation.

    References
    ----------
    .. [1] J. Friedman, T. Hastie, R. Tibshirani, J. Stat. Softw. 33 (2010) 1-22,
       doi:10.18637/jss.v033.i01.
    .. [2] Z. Qin, K. Scheinberg, D. Goldfarb, Efficient block-coordinate descent algorithms for the group
       lasso, Math. Program. Comput. 5 (2013) 143-169, doi:10.1007/s12532-013-0051-x.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1(0.5), solver=si.CoordinateDescent()).x
    array([1.5, 0. ])
    """

    gram: bool | None = None
    continuation: bool = True

    local_kind: ClassVar[Kind] = Kind.COORDINATE_MINIMUM
    refit: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuse matrix-free operators and penalties that kernels do not know."""
        if not problem.explicit:
            raise refuse(self, "needs columns of A in memory (dense or CSC)", "FISTA, ISTA, IRLS or Ridge")
        concave = isinstance(problem.penalty, Concave)
        if problem.penalty.terms is None and not concave:
            raise refuse(self, f"does not know the penalty {called(problem.penalty)}", "ISTA or FISTA")
        if self.gram and (concave or problem.penalty.terms[5].size):
            kind = "penalty of this kind" if concave else "groups"
            raise refuse(self, f"with gram=True has no {kind}", "CoordinateDescent()")

    def start(self, problem: Problem, x0: Array | None) -> DescentState:
        """Return the state at x0 (zero by default)."""
        problem.operator.phase = "setup"
        x = start_point(problem, x0)
        concave = isinstance(problem.penalty, Concave)
        order, starts = (_NONE, _NONE) if concave else problem.penalty.terms[4:]
        squares, count = problem.column_norms**2, problem.n
        basis: tuple[Array, ...] = ()
        if starts.size:
            squares, basis = _group_bases(problem, order, starts)
            count = starts.size - 1
        wanted = self.gram
        if wanted is None:
            wanted = not (starts.size or concave) and problem.m >= 3 * problem.n and 0 < problem.n <= 2000
        gram = np.asfortranarray(problem.operator.gram(), dtype=problem.dtype) if wanted else None
        state = DescentState(
            x, problem.residual(x), squares=squares, basis=basis, gram=gram,
            active=np.empty(count, dtype=np.int64),
        )  # fmt: skip
        if x0 is None and not problem.penalty.convex and self.continuation:
            g = problem.gradient(state.r)
            level = problem.penalty.lam_max(-g, problem.column_norms)
            state.level = max(1.0, level * _CONTINUATION) if np.isfinite(level) else 1.0
            state.settled = state.level <= 1.0
        return state

    def resume(self, problem: Problem, state: DescentState) -> DescentState:
        """Go on from the last iterate; curvatures and Gram matrix are kept."""
        state.r = problem.residual(state.x)
        state.level, state.settled = 1.0, True
        return state

    def step(self, problem: Problem, state: DescentState, budget: Budget) -> Outcome:
        """Sweep over all coefficients, then over the non-zero ones."""
        from sparseinv.kernels.descent import gram_descent

        penalty = problem.penalty if state.level <= 1.0 else problem.penalty.tilted(state.level)
        size = float(np.linalg.norm(problem.b))
        if state.gram is not None:
            # the gradient is formed afresh, so that rounding in A^H A cannot accumulate
            g = problem.gradient(state.r)
            sweeps = int(np.clip(1e8 / max(problem.n, 1) ** 2, 1, min(_GRAM_SWEEPS, budget.iterations)))
            change, done = gram_descent(state.gram, problem.n, penalty.terms, state.x, g, sweeps, 1e-3)
            state.r = problem.residual(state.x)
            state.n_iter += done
        else:
            done = 0
            kernel, terms, extra = self._kernel(penalty, state)
            for _ in range(min(chunk(problem, 1.0, 4), budget.iterations)):
                change, inner, kept = kernel(
                    problem.layout, terms, state.x, state.r, state.squares, *extra, state.active,
                    self._inner(problem, state), 0.1,
                )  # fmt: skip
                done += 1
                share = inner * kept / max(state.active.size, 1)
                problem.operator.charge(forward=1 + round(share), adjoint=1 + round(share))
                if change <= 1e-16 * size:
                    break
            state.n_iter += done
            # columns are added to r thousands of times: start again from a fresh one now and then
            if state.n_iter // 50 != (state.n_iter - done) // 50:
                state.r = problem.residual(state.x)
        if state.level > 1.0:
            state.level = max(1.0, state.level * _CONTINUATION)
            state.settled = state.level <= 1.0
            return Outcome.MOVED
        return Outcome.FLOOR if change <= 1e-16 * size else Outcome.MOVED

    @staticmethod
    def _kernel(penalty: Any, state: DescentState) -> tuple[Any, Any, list[Any]]:
        """Return the kernel, what it is told of the penalty, and what else it needs."""
        if isinstance(penalty, Concave):
            from sparseinv.kernels.nonconvex import concave_descent

            return concave_descent, penalty.curve, []
        from sparseinv.kernels.descent import coordinate_descent, group_descent

        return (
            (group_descent, penalty.terms, [state.basis]) if state.basis
            else (coordinate_descent, penalty.terms, [])
        )  # fmt: skip

    @staticmethod
    def _inner(problem: Problem, state: DescentState) -> int:
        """Return how many sweeps over the non-zeros keep a call below about a tenth of a second."""
        density = np.count_nonzero(state.x) / max(problem.n, 1)
        work = cost_of_pass(problem) * max(density, 1.0 / max(problem.n, 1))
        return int(np.clip(1e8 / work, 1, _INNER))


def _group_bases(problem: Problem, order: Array, starts: Array) -> tuple[Array, tuple[Array, ...]]:
    """Return the eigenvalues of all A_g^H A_g, in the order of the groups, and the basis for the kernel.

    A group without eigenvectors has a bound of ||A_g||^2 in place of each eigenvalue.
    """
    sizes = np.diff(starts)
    room = np.where((sizes > 1) & (sizes <= _LARGEST_GROUP), sizes**2, 0)
    room[np.cumsum(room) * problem.dtype.itemsize > _BASIS_BYTES] = 0
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(room, dtype=np.int64)])
    vectors = np.empty(int(offsets[-1]), dtype=problem.dtype)
    squares = problem.column_norms[order] ** 2
    curvatures = np.repeat(np.add.reduceat(squares, starts[:-1]), sizes) if order.size else squares
    for k in np.unique(sizes[room > 0]):
        groups = np.flatnonzero((sizes == k) & (room > 0))
        at_once = max(1, _BATCH // max(problem.m * int(k), 1))
        for first in range(0, groups.size, at_once):
            some = groups[first : first + at_once]
            members = starts[some][:, None] + np.arange(k)
            columns = problem.operator.columns(order[members].ravel())
            values, basis = eigen(columns.reshape(problem.m, some.size, k).transpose(1, 0, 2))
            curvatures[members] = values
            vectors[offsets[some][:, None] + np.arange(k * k)] = basis.reshape(some.size, -1)
    empty = problem.column_norms[order] == 0.0
    scratch = [np.empty(int(sizes.max(initial=0)), dtype=problem.dtype) for _ in range(3)]
    return curvatures, (vectors, offsets, empty, *scratch)
