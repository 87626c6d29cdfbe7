"""One adapter a solver and suite, all in the convention 1/2 ||A x - b||^2 + lam ||x||_1.

An adapter is a function of fresh data, lam and a tolerance of the solver's own scale, and returns x. What
"tolerance" means differs from package to package; the comparison climbs it by powers of ten and judges every
x by the same certificate, so only its direction matters. Packages are imported inside the adapters.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SUITES = ("single", "path", "cv", "batch", "free")


def powers(first: int, last: int) -> tuple[float, ...]:
    """Return 10^-first, ..., 10^-last."""
    return tuple(float(f"1e-{k}") for k in range(first, last + 1))


@dataclass(frozen=True)
class Peer:
    """Describe one solver of one suite.

    Attributes
    ----------
    name : str
        Column of the tables.
    package : str
        What is imported; where it is missing the solver is reported as absent.
    distribution : str
        Where the version is read.
    call : callable
        The adapter.
    ladder : tuple of float
        Tolerances from loose to tight.
    starts_at_gap : bool
        The tolerance is the judged gap itself: the ladder starts at the gap asked.
    needs : str or None
        Attribute of the package without which the solver is absent.
    cells : tuple of str
        How the names of the cells begin that it takes part in.
    """

    name: str
    package: str
    distribution: str
    call: Callable[..., Any]
    ladder: tuple[float, ...] = powers(2, 12)
    starts_at_gap: bool = False
    needs: str | None = None
    cells: tuple[str, ...] = ("",)


def threads() -> int:
    """Return the number of threads of this run, set by the comparison."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


# --- one lambda: call(A, b, lam, tol) -> x -------------------------------------------------------------


def ours(A, b, lam, tol):
    import sparseinv as si

    return si.solve(A, b, si.L1(lam), tol=tol).x


def celer(A, b, lam, tol):
    from celer import Lasso

    model = Lasso(alpha=lam / b.size, fit_intercept=False, tol=tol, max_iter=1000)
    return model.fit(A, b).coef_


def skglm(A, b, lam, tol):
    from skglm.datafits import Quadratic
    from skglm.penalties import L1
    from skglm.solvers import AndersonCD

    # its tolerance is an absolute distance to the subdifferential of the objective divided by m
    solver = AndersonCD(tol=tol * lam / b.size, fit_intercept=False, max_iter=1000)
    return solver.solve(_matrix(A), b, Quadratic(), L1(lam / b.size))[0]


def scikit_learn(A, b, lam, tol):
    from sklearn.linear_model import Lasso

    tall = isinstance(A, np.ndarray) and A.shape[0] > A.shape[1]
    model = Lasso(
        alpha=lam / b.size, fit_intercept=False, precompute=tall, copy_X=False, tol=tol, max_iter=1_000_000
    )
    return model.fit(A, b).coef_


def adelie(A, b, lam, tol):
    return _adelie_path(A, b, np.array([lam]), tol)[:, -1]


def cvxpy(A, b, lam, tol):
    """Solve as a cone program, with Clarabel: the slow truth of the tests."""
    import cvxpy as cp

    x = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ x - b) + lam * cp.norm1(x)))
    problem.solve(solver="CLARABEL", tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol)
    return x.value


def _adelie_path(A, b, lams, tol):
    import adelie as ad

    state = ad.grpnet(
        _adelie_matrix(A), ad.glm.gaussian(b), lmda_path=lams / b.size, tol=tol, max_iters=10**8,
        n_threads=threads(), intercept=False, progress_bar=False, early_exit=False,
    )  # fmt: skip
    X = np.asarray(state.betas.toarray()).T
    if X.shape[1] != lams.size:
        raise RuntimeError(f"{X.shape[1]} of {lams.size} lambdas were solved")
    return X


def _adelie_matrix(A):
    import adelie as ad

    if isinstance(A, np.ndarray):
        return ad.matrix.dense(A, method="naive", n_threads=threads())
    return ad.matrix.sparse(_matrix(A), method="naive", n_threads=threads())


def _matrix(A):
    """Return the older sparse class, which some packages ask for; the arrays are shared."""
    if isinstance(A, np.ndarray):
        return A
    from scipy import sparse

    return sparse.csc_matrix((A.data, A.indices, A.indptr), shape=A.shape)


# --- a path: call(A, b, lams, tol) -> X of shape (n, number of lambdas) ---------------------------------


def our_path(A, b, lams, tol):
    import sparseinv as si

    return si.solve_path(A, b, si.L1(), lams=lams, tol=tol).X


def celer_path(A, b, lams, tol):
    from celer import celer_path as path

    return path(A, b, "lasso", alphas=lams / b.size, tol=tol, max_iter=1000, prune=1)[1]


def scikit_learn_path(A, b, lams, tol):
    from sklearn.linear_model import lasso_path

    return lasso_path(A, b, alphas=lams / b.size, tol=tol, max_iter=1_000_000)[1]


def adelie_path(A, b, lams, tol):
    return _adelie_path(A, b, lams, tol)


# --- cross-validation: call(A, b, lams, tol) -> (lam, x at lam on all data) -----------------------------


def our_cv(A, b, lams, tol):
    import sparseinv as si

    rule = si.CrossValidation(5)
    chosen = si.select_lam(A, b, si.L1(), rule, lams=lams, tol=tol, n_threads=threads())
    return float(chosen.lam), chosen.result.x


def celer_cv(A, b, lams, tol):
    from celer import LassoCV

    model = LassoCV(alphas=lams / b.size, cv=5, fit_intercept=False, tol=tol, max_iter=1000, n_jobs=threads())
    model.fit(A, b)
    return model.alpha_ * b.size, model.coef_


def celer_folds(A, b, lams, tol):
    """Cross-validate with celer_path by hand: celer 0.7.4's LassoCV does not know newer scikit-learns."""
    from celer import celer_path as path
    from sklearn.model_selection import KFold

    errors = np.zeros(lams.size)
    for train, left in KFold(5).split(b):
        # the penalty keeps its share of the squares, as in LassoCV
        X = path(A[train], b[train], "lasso", alphas=lams / b.size, tol=tol, max_iter=1000, prune=1)[1]
        errors += ((A[left] @ X - b[left, None]) ** 2).sum(axis=0)
    best = int(errors.argmin())
    return float(lams[best]), celer(A, b, float(lams[best]), tol)


def scikit_learn_cv(A, b, lams, tol):
    from sklearn.linear_model import LassoCV

    model = LassoCV(
        alphas=lams / b.size, cv=5, fit_intercept=False, tol=tol, max_iter=1_000_000, n_jobs=threads()
    )
    model.fit(A, b)
    return model.alpha_ * b.size, model.coef_


def adelie_cv(A, b, lams, tol):
    import adelie as ad

    matrix, glm = _adelie_matrix(A), ad.glm.gaussian(b)
    options = {"n_threads": threads(), "intercept": False, "progress_bar": False, "tol": tol}
    found = ad.cv_grpnet(
        matrix, glm, n_folds=5, seed=0, min_ratio=lams[-1] / lams[0], lmda_path_size=lams.size, **options
    )
    state = found.fit(matrix, glm, **options)
    return float(state.lmdas[-1]) * b.size, np.asarray(state.betas[-1].toarray()).ravel()


# --- many right-hand sides: call(A, B, lams, tol) -> X of shape (n, k) ----------------------------------


def our_batch(A, B, lams, tol):
    import sparseinv as si

    return si.solve_many(A, B, si.L1(), lams=lams, tol=tol, n_threads=threads()).x


def our_loop(A, B, lams, tol):
    import sparseinv as si

    operator = si.as_operator(A)
    return np.stack([si.solve(operator, b, si.L1(lam), tol=tol).x for b, lam in _columns(B, lams)], axis=1)


def shared_gram(A, B, lams, tol):
    from sklearn.linear_model import Lasso

    gram, m = A.T @ A, A.shape[0]
    solved = [
        Lasso(alpha=lam / m, fit_intercept=False, precompute=gram, copy_X=False, tol=tol, max_iter=1_000_000)
        .fit(A, b)
        .coef_
        for b, lam in _columns(B, lams)
    ]
    return np.stack(solved, axis=1)


def gram_kernel(A, B, lams, tol):
    from sklearn.linear_model._cd_fast import enet_coordinate_descent_gram

    gram, correlations, rng = np.ascontiguousarray(A.T @ A), B.T @ A, np.random.RandomState(0)
    X = np.zeros((B.shape[1], A.shape[1]))
    for x, c, (b, lam) in zip(X, correlations, _columns(B, lams), strict=True):
        enet_coordinate_descent_gram(x, lam, 0.0, gram, c, b, 1_000_000, tol, rng, 0, 0, 1)
    return X.T


def _columns(B, lams):
    return zip(np.ascontiguousarray(B.T), map(float, lams), strict=True)


# --- matrix-free: call(operator, b, lam, tol, watch) -> x -----------------------------------------------


class Reached(Exception):
    """The gap is met: the iteration is left with its x."""


class Watch:
    """Judge the iterates of a solver that cannot stop at a gap, and leave it when the gap is met.

    The products and seconds spent on judging are not the solver's: `judge` has an operator of its own, and
    `judging` [s] is taken off. It looks at every iteration at first, later every fiftieth of the iterations.
    """

    def __init__(self, judge: Callable[[Array], float], gap: float, most: float) -> None:
        self.judge, self.gap, self.most = judge, gap, most
        self.judging, self.count, self.next = 0.0, 0, 1
        self.x: Array | None = None
        self.start = time.perf_counter()

    def look(self, x: Array) -> None:
        self.count += 1
        if self.count < self.next:
            return
        self.next = self.count + max(1, self.count // 50)
        began = time.perf_counter()
        met = self.judge(x) <= self.gap
        late = began - self.start - self.judging > self.most
        self.judging += time.perf_counter() - began
        if met:
            self.x = x.copy()
            raise Reached
        if late:
            raise TimeoutError(f"took more than {self.most:.0f} s")


def our_free(operator, b, lam, tol, watch):
    import sparseinv as si

    return si.solve(operator, b, si.L1(lam), tol=tol).x


def our_watched(operator, b, lam, tol, watch):
    """Let the judge end the run, as it does for the others: its refits would cost us products."""
    import sparseinv as si

    try:
        return si.solve(operator, b, si.L1(lam), tol=0.0, callback=lambda progress: watch.look(progress.x)).x
    except Reached:
        return watch.x


def our_columns(operator, b, lam, tol, watch):
    """Use the library's own convolution, whose columns are known in closed form and counted apart."""
    import sparseinv as si
    from sparseinv.operators import Convolution

    result = si.solve(Convolution(b.size, operator.wavelet), b, si.L1(lam), tol=tol)
    operator.products, operator.columns = result.n_matvec + result.n_rmatvec, result.products.columns
    return result.x


def pylops_fista(operator, b, lam, tol, watch):
    from pylops.optimization.sparsity import fista

    try:
        fista(_pylops(operator), b, niter=10**7, eps=2 * lam, tol=0.0, callback=watch.look)
    except Reached:
        return watch.x
    raise RuntimeError("stopped before the gap was met")


def pyproximal_fista(operator, b, lam, tol, watch):
    from pyproximal import L1, L2
    from pyproximal.optimization.primal import ProximalGradient

    wrapped = _pylops(operator)
    # the step as PyLops chooses it, from the largest eigenvalue
    largest = float(np.abs((wrapped.H @ wrapped).eigs(neigs=1, symmetric=True)[0]))
    try:
        ProximalGradient(
            L2(wrapped, b), L1(sigma=lam), np.zeros(operator.shape[1], operator.dtype), tau=1 / largest,
            niter=10**7, acceleration="fista", callback=watch.look,
        )  # fmt: skip
    except Reached:
        return watch.x
    raise RuntimeError("stopped before the gap was met")


def _pylops(operator):
    from pylops import LinearOperator

    class Wrapped(LinearOperator):
        def _matvec(self, x):
            return operator.matvec(x)

        def _rmatvec(self, r):
            return operator.rmatvec(r)

    return Wrapped(dtype=operator.dtype, shape=operator.shape)


def sigpy_fista(operator, b, lam, tol, watch):
    from sigpy.alg import GradientMethod
    from sigpy.app import MaxEig
    from sigpy.prox import L1Reg

    size = (operator.shape[1],)
    normal = _sigpy_normal(operator)
    step = 1 / MaxEig(normal, dtype=operator.dtype, show_pbar=False).run()
    correlations = operator.rmatvec(b)
    method = GradientMethod(
        lambda x: normal(x) - correlations, np.zeros(size, operator.dtype), step, proxg=L1Reg(size, lam),
        accelerate=True, max_iter=10**7,
    )  # fmt: skip
    try:
        while not method.done():
            method.update()
            watch.look(method.x)
    except Reached:
        return watch.x
    raise RuntimeError("stopped before the gap was met")


def _sigpy_normal(operator):
    from sigpy.linop import Linop

    class Normal(Linop):
        def __init__(self):
            super().__init__((operator.shape[1],), (operator.shape[1],))

        def _apply(self, x):
            return operator.rmatvec(operator.matvec(x))

        def _adjoint_linop(self):
            return self

    return Normal()


def spgl1(operator, b, lam, tol, watch):
    """Solve with the radius ||x*||_1 given (`watch.radius`); data scaled, as its tolerance is absolute."""
    from scipy.sparse.linalg import LinearOperator
    from spgl1 import spg_lasso

    wrapped = LinearOperator(
        operator.shape, matvec=operator.matvec, rmatvec=operator.rmatvec, dtype=operator.dtype
    )
    scale = 1e3 / np.linalg.norm(b)
    x = spg_lasso(
        wrapped, b * scale, watch.radius * scale, opt_tol=tol, bp_tol=tol, ls_tol=tol, dec_tol=tol,
        iter_lim=10**6,
    )[0]  # fmt: skip
    return x / scale


_OURS = ("sparseinv", "sparseinv", "sparseinv")
_SKLEARN = ("scikit-learn", "sklearn", "scikit-learn")
_CELER = ("celer", "celer", "celer")
_ADELIE = ("adelie", "adelie", "adelie")
_CHANGE = powers(4, 16)  # criteria on the change of x need tighter ones

PEERS: dict[str, tuple[Peer, ...]] = {
    "single": (
        Peer(*_OURS, ours, starts_at_gap=True),
        Peer(*_CELER, celer),
        Peer("skglm", "skglm", "skglm", skglm),
        Peer(*_SKLEARN, scikit_learn),
        Peer(*_ADELIE, adelie, _CHANGE),
        Peer(
            "cvxpy, Clarabel",
            "cvxpy",
            "cvxpy",
            cvxpy,
            powers(4, 12),
            cells=("leadfield", "tall", "decon", "poly"),
        ),
    ),
    "path": (
        Peer(*_OURS, our_path, starts_at_gap=True, needs="solve_path"),
        Peer(*_CELER, celer_path),
        Peer(*_SKLEARN, scikit_learn_path),
        Peer(*_ADELIE, adelie_path, _CHANGE),
    ),
    "cv": (
        Peer(*_OURS, our_cv, starts_at_gap=True, needs="CrossValidation"),
        Peer(*_CELER, celer_cv),
        Peer("celer, own folds", "celer", "celer", celer_folds),
        Peer(*_SKLEARN, scikit_learn_cv),
        Peer(*_ADELIE, adelie_cv, _CHANGE),
    ),
    "batch": (
        Peer(*_OURS, our_batch, starts_at_gap=True, needs="solve_many"),
        Peer("sparseinv, loop", "sparseinv", "sparseinv", our_loop, starts_at_gap=True),
        Peer("scikit-learn, Gram", "sklearn", "scikit-learn", shared_gram),
        Peer("scikit-learn, kernel", "sklearn", "scikit-learn", gram_kernel),
    ),
    "free": (
        Peer(*_OURS, our_free, starts_at_gap=True),
        Peer("sparseinv, watched", "sparseinv", "sparseinv", our_watched, starts_at_gap=True),
        Peer(
            "sparseinv, columns", "sparseinv", "sparseinv", our_columns, starts_at_gap=True, cells=("conv",)
        ),
        Peer("pylops FISTA", "pylops", "pylops", pylops_fista, starts_at_gap=True),
        Peer("pyproximal FISTA", "pyproximal", "pyproximal", pyproximal_fista, starts_at_gap=True),
        Peer("sigpy FISTA", "sigpy", "sigpy", sigpy_fista, starts_at_gap=True),
        Peer("spgl1, radius given", "spgl1", "spgl1", spgl1),
    ),
}


def find(suite: str, name: str) -> Peer:
    """Return the solver `name` of a suite."""
    return next(peer for peer in PEERS[suite] if peer.name == name)
