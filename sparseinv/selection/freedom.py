"""How the fitted data A x(b) move with the data b: degrees of freedom, leverages, traces."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.adapt import system
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem, squared
from sparseinv.selection.curvature import CG_STEPS, curvature, moving, probed
from sparseinv.threads import single_threaded_lapack

Array = np.ndarray[Any, Any]

_DEPENDENT = 1e-12  # eigenvalues of a Gram matrix of unit diagonal below this, times its order, count as 0
_MOST_COLUMNS = 300  # columns of an operator that each cost a product; more are probed
_MOST_BYTES = 1 << 30
_LARGEST_SVD = 1500
_PROBES = 8


def degrees_of_freedom(
    A: Any, b: Any, penalty: Penalty, x: Any, *, probes: int = 0, rng: Any = None
) -> float:
    """Return the degrees of freedom of a solution: the trace of d(A x(b)) / db.

    With S the coefficients that move (non-zero, or without a kink at zero) and H the curvature of the
    penalty at x_S, df = tr A_S (A_S^H A_S + H)^+ A_S^H: the rank of A_S for L1 [1]_ [2]_, with
    H = diag(lam_2) for L2 and the elastic net, and with blocks
    lam_g / ||x_g|| (I - x_g x_g^H / ||x_g||^2) for groups. A complex L1 coefficient is a group of its real
    and imaginary part.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix or linear operator.
    b : array_like, shape (m,)
        The data; only whether they are complex matters.
    penalty : L1, L2, ElasticNet, GroupL1 or L0
        With lam set.
    x : array_like, shape (n,)
        The solution for A, b and the penalty, as `solve` returns it.
    probes : int
        0: exact, but for operators without cheap columns, which take 8 probes. Otherwise the number of
        random vectors d of Hutchinson's estimate, the mean of <d, (dA x/db) d>, each at the price of
        conjugate gradients with A.
    rng : None, int or Generator
        Seed of the probes; None is seed 0.

    Returns
    -------
    float
        df. For complex data half of the trace over real and imaginary parts, so that k free columns count k
        in both cases and sigma^2 = ||A x - b||^2 / (m - df) holds for both.

    Raises
    ------
    ValueError, TypeError
        Bad input; a penalty whose curvature is not known here.

    Notes
    -----
    For L0 this is the size of the support, a lower bound: the search for it is not counted. Cost: the
    columns of S and a factorisation of order |S| (twice that for complex data with a kink).

    References
    ----------
    .. [1] H. Zou, T. Hastie, R. Tibshirani, On the degrees of freedom of the lasso, Ann. Stat. 35 (2007)
       2173-2192, doi:10.1214/009053607000000127.
    .. [2] R. J. Tibshirani, J. Taylor, Degrees of freedom in lasso problems, Ann. Stat. 40 (2012) 1198-1232,
       doi:10.1214/12-AOS1003.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> b = np.array([3.0, 1.0, 0.2])
    >>> si.degrees_of_freedom(np.eye(3), b, si.L2(1.0), b / 2)
    1.5
    >>> si.degrees_of_freedom(np.eye(3), b, si.L1(0.5), [2.5, 0.5, 0.0])
    2.0
    """
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if not isinstance(penalty, Leveled) or penalty.lam is None:
        raise ValueError(f"penalty is {penalty!r}, but one with a level is needed, such as L1(0.3)")
    probes = validation.count(probes, "probes")
    operator, vector = system(A, b)
    point = validation.candidate(x, operator.shape[1])
    if np.iscomplexobj(point) and operator.dtype.kind != "c" and vector.dtype.kind != "c":
        vector = vector.astype(np.complex128)
    problem = Problem(operator, vector, penalty, rng=rng, check_operator=False)
    require_curvature(problem)
    working = np.ascontiguousarray(problem.units.working(point), dtype=problem.dtype)
    if probes:
        return probed(problem, working, probes, problem.rng)
    return Freedom(problem, problem.rng).df(problem, working)


def require_curvature(problem: Problem) -> None:
    """Refuse a penalty whose curvature is not known."""
    if not isinstance(problem.penalty, (Separable, Grouped)):
        raise TypeError(
            f"penalty is {type(problem.penalty).__name__}, for which degrees of freedom are not known; they "
            "are for L1, L2, ElasticNet, GroupL1 and L0"
        )


class Hat:
    """Hold a factor B of the derivative B^H B of the fitted data.

    Parameters
    ----------
    factor : ndarray, shape (k, m) or (k, 2 m)
        B; of width 2 m over real and imaginary parts of complex data.
    m : int
        Rows of A.
    """

    def __init__(self, factor: Array, m: int) -> None:
        self.factor, self.m = factor, m
        self.parts = 2 if factor.shape[1] != m else 1

    @property
    def df(self) -> float:
        """Trace of the derivative; half of it over real and imaginary parts."""
        return squared(self.factor.ravel(order="K")) / self.parts

    @property
    def square(self) -> float:
        """Trace of the square of the derivative."""
        B = self.factor
        return squared((B @ B.conj().T).ravel(order="K")) / self.parts

    def left_out(self, r: Array) -> Array:
        """Return what the residuals r would be, to first order, if their own row had been left out."""
        B, m = self.factor, self.m
        least = 1e-10
        if self.parts == 1:
            return np.asarray(r / np.maximum(1.0 - (np.abs(B) ** 2).sum(axis=0), least))
        re, im = B[:, :m], B[:, m:]
        p, q = 1.0 - (re * re).sum(axis=0), 1.0 - (im * im).sum(axis=0)
        c = (re * im).sum(axis=0)
        det = np.maximum(p * q - c * c, least)
        # (I - J)^{-1} of the 2 x 2 block (p, -c; -c, q) of every row
        return np.asarray((q * r.real + c * r.imag) / det + 1j * (c * r.real + p * r.imag) / det)


class Freedom:
    """Compute hats for solutions of one problem at many levels; columns of A are fetched once.

    Parameters
    ----------
    problem : Problem
        The data.
    rng : Generator
        Seed of the probes where there are too many columns.
    """

    def __init__(self, problem: Problem, rng: Any = None) -> None:
        self.problem = problem
        self.seed = np.random.default_rng(0 if rng is None else rng).integers(2**31)
        self._place = np.full(problem.n, -1, dtype=np.int64)
        self._columns: Array = np.empty((problem.m, 0), dtype=problem.dtype, order="F")
        self._gram: Array = np.empty((0, 0), dtype=problem.dtype)
        self._ridge: tuple[Array, _Ridge] | None = None

    def df(self, at: Problem, x: Array) -> float:
        """Return the degrees of freedom of x, the solution at a level."""
        if self._is_ridge(at):
            return self._spectrum(at)
        index = moving(at, x)
        if not self._affordable(index):
            return probed(at, x, _PROBES, np.random.default_rng(self.seed))
        hat = self._factored(at, x, index, rows=False)
        return hat if isinstance(hat, float) else hat.df

    def hat(self, at: Problem, x: Array) -> Hat:
        """Return the factored derivative at x, with one column per row of A."""
        if self._is_ridge(at):
            factor, ridge = self._decomposed(_ridge_weights(at))
            return Hat(ridge.factor(factor), at.m)
        index = moving(at, x)
        if not self._affordable(index):
            raise TypeError(
                f"leverages of {index.size} moving coefficients of a matrix-free A cost as many products, "
                "or more memory than a GiB; use SURE(probes=1) or CrossValidation, or pass a matrix"
            )
        hat = self._factored(at, x, index, rows=True)
        assert isinstance(hat, Hat)
        return hat

    def refit(self, support: Array, x: Array, r: Array) -> tuple[float, float]:
        """Return (rank of the columns of a support, ||A x - b||^2 of the least-squares fit on them)."""
        from scipy.linalg import qr

        if support.size == 0:
            return 0.0, squared(self.problem.b)
        if not self._affordable(support):
            return float(support.size), self._refit_by_products(support, r)
        place = self._taken(support)  # which replaces the columns held where it fetches new ones
        columns = self._columns[:, place]
        norms = np.linalg.norm(columns, axis=0)
        with single_threaded_lapack():
            q, upper, _ = qr(columns / np.where(norms > 0, norms, 1.0), mode="economic", pivoting=True)
        pivots = np.abs(np.diag(upper))
        q = q[:, pivots > 1e-12 * max(columns.shape) * pivots.max(initial=0.0)]
        left = self.problem.b - q @ (q.conj().T @ self.problem.b)
        return float(q.shape[1]), squared(left)

    def _refit_by_products(self, support: Array, r: Array) -> float:
        problem, padded = self.problem, np.zeros(self.problem.n, dtype=self.problem.dtype)
        r = r.copy()
        s = problem.gradient(r)[support]
        p, gamma = s, squared(s)
        stop = 1e-12 * gamma
        for _ in range(min(CG_STEPS, support.size)):
            if gamma <= stop:
                break
            padded[support] = p
            q = np.array(problem.operator.matvec(padded))
            r = r - (gamma / squared(q)) * q
            s = problem.gradient(r)[support]
            previous, gamma = gamma, squared(s)
            p = s + (gamma / previous) * p
        return squared(r)

    def _is_ridge(self, at: Problem) -> bool:
        return (
            isinstance(at.penalty, Separable)
            and at.penalty.quadratic
            and at.explicit
            and min(at.m, at.n) <= _LARGEST_SVD
        )

    def _spectrum(self, at: Problem) -> float:
        factor, ridge = self._decomposed(_ridge_weights(at))
        return ridge.df(factor)

    def _decomposed(self, weights: Array) -> tuple[float, _Ridge]:
        """Return (t, spectrum): the levels are t times those for which the spectrum was computed."""
        if self._ridge is not None:
            known = self._ridge[0]
            live = (known > 0) & np.isfinite(known)
            same = np.array_equal(live, (weights > 0) & np.isfinite(weights))
            if same and live.any():
                ratio = weights[live] / known[live]
                if ratio.max() <= ratio.min() * (1.0 + 1e-12):
                    return float(ratio[0]), self._ridge[1]
        ridge = _Ridge(self.problem, weights)
        self._ridge = (weights, ridge)
        return 1.0, ridge

    def _affordable(self, index: Array) -> bool:
        problem = self.problem
        if index.size * problem.m * problem.dtype.itemsize > _MOST_BYTES:
            return False
        if problem.explicit or problem.operator.inner.closed_columns:
            return True
        return index.size <= _MOST_COLUMNS

    def _taken(self, index: Array) -> Array:
        """Return where the columns lie; fetch those that are new."""
        new = index[self._place[index] < 0]
        if new.size:
            count = self._columns.shape[1] + new.size
            if count * self.problem.m * self.problem.dtype.itemsize > _MOST_BYTES:
                self._place[:] = -1
                self._columns, self._gram = self._columns[:, :0], self._gram[:0, :0]
                new = index
            columns = self.problem.operator.columns(new)
            if self.problem.dtype.kind != "c" and columns.dtype.kind == "c":
                columns = columns.real
            old = self._columns.shape[1]
            cross = self._columns.conj().T @ columns
            own = columns.conj().T @ columns
            self._gram = np.block([[self._gram, cross], [cross.conj().T, own]])
            self._columns = np.asfortranarray(np.hstack([self._columns, columns]))
            self._place[new] = np.arange(old, old + new.size)
        return self._place[index]

    def _factored(self, at: Problem, x: Array, index: Array, rows: bool) -> Hat | float:
        if index.size == 0:
            return Hat(np.zeros((0, at.m)), at.m)
        place = self._taken(index)
        gram = self._gram[np.ix_(place, place)]
        H, real_linear = curvature(at.penalty, x, index)
        if real_linear:
            gram = np.block([[gram.real, -gram.imag], [gram.imag, gram.real]])
        whole = gram + H
        diagonal = np.sqrt(np.maximum(np.diag(whole).real, 0.0))
        scale = np.divide(1.0, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
        with single_threaded_lapack():
            root, kept = _root(whole * np.outer(scale, scale), bool((diagonal > 0).all()))
            if not H.any() and not rows:
                return float(kept) / (2.0 if real_linear else 1.0)
            columns = self._columns[:, place]
            if real_linear:
                columns = np.block([[columns.real, -columns.imag], [columns.imag, columns.real]])
            return Hat(root((columns * scale).conj().T), at.m)


def _root(M: Array, try_cholesky: bool) -> tuple[Any, int]:
    """Return (rhs -> R rhs, rank) with R^H R the pseudoinverse of M, which has a unit diagonal."""
    from scipy.linalg import eigh, get_lapack_funcs

    small = _DEPENDENT * M.shape[0]
    if try_cholesky:
        potrf, trtrs = get_lapack_funcs(("potrf", "trtrs"), (M,))
        L, info = potrf(M, lower=1, clean=1)
        # below this pivot the factor does not tell the rank any more
        if info == 0 and float(np.diag(L).real.min()) ** 2 > 1e3 * small:
            return lambda rhs: trtrs(L, rhs, lower=1)[0], M.shape[0]
    values, vectors = eigh(M, check_finite=False)
    kept = values > small * max(float(values[-1]), 0.0)
    R = vectors[:, kept].conj().T / np.sqrt(values[kept])[:, None]
    return lambda rhs: R @ rhs, int(kept.sum())


def _ridge_weights(problem: Problem) -> Array:
    """Return the levels of the squares; inf for what is excluded, by whichever part of the penalty."""
    return np.where(problem.penalty.excluded, np.inf, problem.penalty.l2)


class _Ridge:
    """Singular values of A / sqrt(weights) off the span of the unpenalised columns."""

    def __init__(self, problem: Problem, weights: Array) -> None:
        from scipy.linalg import svd

        index = np.flatnonzero(np.isfinite(weights) & (weights > 0))
        matrix = problem.operator.columns(index) / np.sqrt(weights[index])
        free = problem.operator.columns(np.flatnonzero(weights == 0))
        self.basis: Array = np.empty((problem.m, 0), dtype=problem.dtype)
        if free.shape[1]:
            norms = np.linalg.norm(free, axis=0)
            u, s, _ = svd(free / np.where(norms > 0, norms, 1.0), full_matrices=False, check_finite=False)
            self.basis = u[:, s > 1e-13 * max(free.shape) * s.max(initial=0.0)]
            matrix = matrix - self.basis @ (self.basis.conj().T @ matrix)
        self.u, self.s, _ = svd(matrix, full_matrices=False, check_finite=False)

    def kept(self, t: float) -> Array:
        """Return the share of every singular direction that the fit keeps at t times the levels."""
        return np.asarray(self.s**2 / (self.s**2 + t))

    def df(self, t: float) -> float:
        return float(self.basis.shape[1] + self.kept(t).sum())

    def factor(self, t: float) -> Array:
        return np.vstack([self.basis.conj().T, np.sqrt(self.kept(t))[:, None] * self.u.conj().T])


def ridge_values(problem: Problem) -> Array | None:
    """Return the levels, as factors, at which L2 keeps half of each direction; None if too costly."""
    if not (problem.explicit and min(problem.m, problem.n) <= _LARGEST_SVD):
        return None
    squares = _Ridge(problem, _ridge_weights(problem)).s ** 2
    return np.asarray(squares[squares > 1e-20 * squares.max(initial=0.0)])
