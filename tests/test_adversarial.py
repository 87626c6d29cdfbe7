"""Input that breaks other packages, and the classes of bugs they are known for.

The table: NaN, zeros, extreme scales, badly scaled columns, single precision, exotic containers. Then the
equivariance that the library promises: any scale gives the same answer, powers of two the same bits.

The known classes, by number, and where they are covered:

B1 zero target, B2 zero and constant columns, B3 zero levels, B4 relative tolerance, B5 tiny lambda, B6
single precision, B7 Gram matrix in single precision, B8 status against certificate, B9 stuck at zero,
B11 weights that are no numbers, B13 one row or one column, B14 no exception for a run that does not
converge, B16 and B17 threads, B18 arguments left alone: here. B10 (shape of x for every container): here,
for one right-hand side. B12 (a path shorter than asked for): there is no path yet, so nothing to test. B15
(slower after a release): here as products of warm and cold starts; times belong to the benchmarks. B19
failing operators, B20 pickles, B21 Ctrl-C: test_driver.py.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import scipy.sparse as sp

import sparseinv as si
from reference import best_coordinate_decrease, plain, truth

# func_only: compiling kernels happens in the fixture below and does not count
pytestmark = pytest.mark.timeout(2, func_only=True)

TOL = 1e-8


class MatrixFree:
    """A map that shows nothing but its products."""

    def __init__(self, A, dtype=None):
        self.array, self.shape = A, A.shape
        if dtype is not None:
            self.dtype = np.dtype(dtype)

    def matvec(self, x):
        return self.array @ x

    def rmatvec(self, y):
        return self.array.conj().T @ y


WRAP = {"dense": np.asarray, "csc": sp.csc_array, "operator": MatrixFree}


@pytest.fixture(scope="module", autouse=True)
def compiled_kernels():
    """Compile what the tests call, so that their time limits are about solving."""
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((6, 8)), rng.standard_normal(6)
    groups = np.arange(8) // 2
    for wrap in WRAP.values():
        for matrix, data in ((A, b), (A + 1j * A, b + 1j * b), (A, b + 1j * b)):
            for penalty in (si.L1(0.1), si.L0(0.1), si.GroupL1(0.1, groups=groups)):
                si.solve(wrap(matrix), data, penalty)
                si.solve(wrap(matrix), data, penalty, solver=si.ISTA())
                if penalty.bind(8).convex:
                    si.solve(wrap(matrix), data, penalty, solver=si.FISTA())
                    si.solve(wrap(matrix), data, penalty, solver=si.BarzilaiBorwein())
                if wrap is not MatrixFree:
                    si.solve(wrap(matrix), data, penalty, solver=si.CoordinateDescent())
        if wrap is not MatrixFree:
            si.solve(wrap(A), b, si.L1(0.1), solver=si.CoordinateDescent(gram=True))
            si.solve(wrap(A), b, si.L1(0.1), solver=si.WorkingSet())
            si.solve(wrap(A[:, :2]), b, si.L1(0.1), solver=si.WorkingSet())  # tall
    A, b, lam = lasso()
    si.solve(A, b, si.L1(1e-5 * lam), solver=si.WorkingSet(), max_iter=20)
    truth(plain(A, b, l1=lam))  # imports cvxpy


def lasso(m=30, n=50, seed=0, dtype=float):
    """The problem of the table: three spikes, a little noise, lam = 0.1 lam_max."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((m, n))
    x = np.zeros(n, dtype=dtype)
    x[[3, n // 3, n - 10]] = 2.0, -1.5, 1.0
    b = A @ x + 0.01 * rng.standard_normal(m)
    return A, b, 0.1 * float(np.abs(A.conj().T @ b).max())


@functools.cache
def minimum(row):
    """Return lower and upper bounds of the minimum, found without the package."""
    found = truth(row()[3])
    return found.lower, found.upper


def assert_optimal(result, problem, x=None, *, bounds=None, tol=TOL):
    """The status, the certificate and an independent judge agree that x is optimal."""
    x = np.asarray(result.x if x is None else x)
    assert result.status is si.Status.CONVERGED, result
    assert result.success
    assert result.certificate.relative <= tol
    assert np.isfinite(x).all()
    if bounds is None:
        found = truth(problem)
        bounds = found.lower, found.upper
    assert bounds[1] - bounds[0] <= 1e-12 * problem.scale, "the judge does not know the minimum"
    assert problem.objective(x) - bounds[0] <= (tol + 1e-12) * problem.scale


# --- the table ----------------------------------------------------------------------------------------


def base():
    A, b, lam = lasso()
    return A, b, lam, plain(A, b, l1=lam), 1.0


def zero_column():
    A, b, lam = lasso()
    A[:, ::7] = 0.0
    return A, b, lam, plain(A, b, l1=lam), 1.0


def duplicated_columns():
    A, b, lam = lasso()
    A = A[:, np.arange(50) // 2]
    return A, b, lam, plain(A, b, l1=lam), 1.0


def constant_column():
    A, b, lam = lasso()
    A[:, 4] = 1.0
    return A, b, lam, plain(A, b, l1=lam), 1.0


def read_only():
    A, b, lam = lasso()
    A.flags.writeable = b.flags.writeable = False
    return A, b, lam, plain(A, b, l1=lam), 1.0


def strided():
    A, b, lam = lasso()
    return np.repeat(A, 2, axis=0)[::2], np.repeat(b, 3)[::3], lam, plain(A, b, l1=lam), 1.0


def integers():
    A, b, _ = lasso()
    A, b = np.rint(5 * A).astype(np.int64), np.rint(20 * b).astype(np.int32)
    lam = 0.1 * float(np.abs(A.T @ b).max())
    return A, b, lam, plain(A.astype(float), b.astype(float), l1=lam), 1.0


def zero_matrix():
    A, b, lam = lasso()
    return 0 * A, b, lam, plain(0 * A, b, l1=lam), 1.0


def tiny_matrix():
    A, b, lam = lasso()
    return A * 1e-150, b, lam * 1e-150, plain(A, b, l1=lam), 1e-150


def denormal_products():
    A, b, lam = lasso()
    return A * 1e-200, b, lam * 1e-200, plain(A, b, l1=lam), 1e-200


def huge_matrix():
    A, b, lam = lasso()
    return A * 1e150, b, lam * 1e150, plain(A, b, l1=lam), 1e150


def huge_data():
    A, b, lam = lasso()
    return A, b * 1e160, lam * 1e160, plain(A, b, l1=lam), 1e-160


def denormal_data():
    A, b, lam = lasso()
    return A, b * 1e-310, lam * 1e-310, plain(A, b, l1=lam), "1e310"


def complex_numbers():
    A, b, lam = lasso(dtype=complex)
    return A, b, lam, plain(A, b, l1=lam), 1.0


def complex_data_only():
    A, b, lam = lasso()
    b = b * (1 + 2j)
    return A, b, 2 * lam, plain(A, b, l1=2 * lam), 1.0


TABLE = [
    base, zero_column, duplicated_columns, constant_column, read_only, strided, integers, zero_matrix,
    tiny_matrix, denormal_products, huge_matrix, huge_data, denormal_data, complex_numbers, complex_data_only,
]  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "csr_matrix", "operator"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.__name__)
def test_table(row, kind):
    A, b, lam, problem, factor = row()
    wrap = {**WRAP, "csr": sp.csr_array, "csr_matrix": sp.csr_matrix}[kind]
    result = si.solve(wrap(A), b, si.L1(lam), tol=TOL)
    # extended precision: the factor itself may not fit a double
    extended = np.clongdouble if np.iscomplexobj(result.x) else np.longdouble
    x = (result.x.astype(extended) * np.longdouble(factor)).astype(result.x.dtype)
    assert_optimal(result, problem, x, bounds=minimum(row))
    assert result.x.shape == (50,)


@pytest.mark.parametrize("solver", [si.CoordinateDescent(), si.WorkingSet(), si.IRL1(), "auto"], ids=str)
def test_columns_of_every_size(solver):
    A, b, _ = lasso()
    A = A * np.geomspace(1e-6, 1e6, 50)
    lam = 0.1 * float(np.abs(A.T @ b).max())
    assert_optimal(si.solve(A, b, si.L1(lam), solver=solver, tol=TOL), plain(A, b, l1=lam))


@functools.cache
def beyond_gradients():
    A, b, _ = lasso()
    A = A * np.geomspace(1e-6, 1e6, 50)
    return si.solve(A, b, si.L1(1e-9 * float(np.abs(A.T @ b).max())), tol=1e-7)


@pytest.mark.parametrize("kind", ["dense", "operator"])
@pytest.mark.parametrize("solver", [si.FISTA(), si.BarzilaiBorwein(), si.ISTA()], ids=str)
def test_columns_of_every_size_are_beyond_gradients_and_they_say_so(solver, kind):
    A, b, _ = lasso()
    A = A * np.geomspace(1e-6, 1e6, 50)
    lam = 1e-9 * float(np.abs(A.T @ b).max())
    result = si.solve(WRAP[kind](A), b, si.L1(lam), solver=solver, tol=TOL, max_iter=300)
    best = beyond_gradients()
    assert result.status is not si.Status.CONVERGED
    assert result.objective - best.objective <= result.certificate.value * (1 + 1e-9)


@pytest.mark.parametrize("make", [sp.csc_array, sp.csr_matrix, sp.coo_array], ids=lambda make: make.__name__)
def test_indices_of_64_bits(make):
    A, b, lam = lasso()
    A = make(np.where(np.abs(A) > 0.7, A, 0.0))
    for name in ("indices", "indptr", "row", "col"):
        if hasattr(A, name) and not isinstance(getattr(type(A), name, None), property):
            setattr(A, name, getattr(A, name).astype(np.int64))
    if hasattr(A, "coords"):
        A.coords = tuple(index.astype(np.int64) for index in A.coords)
    assert_optimal(si.solve(A, b, si.L1(lam), tol=TOL), plain(A.toarray(), b, l1=lam))


def test_duplicates_of_a_coo_matrix_are_summed():
    A, b, lam = lasso()
    rows, cols = np.nonzero(np.ones_like(A))
    halves = np.concatenate([0.25 * A.ravel(), 0.75 * A.ravel()])
    coo = sp.coo_array((halves, (np.tile(rows, 2), np.tile(cols, 2))), shape=A.shape)
    assert_optimal(si.solve(coo, b, si.L1(lam), tol=TOL), plain(A, b, l1=lam))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["A", "sparse A", "b"])
def test_not_finite(where, value):
    A, b, lam = lasso()
    if where == "b":
        b[7] = value
        expected = rf"b contains {value} at b\[7\]"
    else:
        A[4, 9] = value
        expected = rf"A contains {value} at A\[4, 9\]"
    A = sp.csr_array(A) if where == "sparse A" else A
    with pytest.raises(ValueError, match=expected):
        si.solve(A, b, si.L1(lam))


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize(("m", "n"), [(0, 50), (30, 0), (0, 0)])
def test_no_rows_or_no_columns(m, n, kind):
    A, b, lam = lasso()
    result = si.solve(WRAP[kind](A[:m, :n]), b[:m], si.L1(lam))
    assert result.success
    assert result.x.shape == (n,)
    assert not result.x.any()
    assert result.certificate.value == 0.0


# --- B6, B7: single precision -------------------------------------------------------------------------


def single(kind):
    A, b, lam = lasso()
    A, b = A.astype(np.float32), b.astype(np.float32)
    A64 = A.astype(float)
    if kind == "operator":
        A = MatrixFree(A, dtype=np.float32)
        A.matvec = lambda x: A.array @ x.astype(np.float32)
        A.rmatvec = lambda y: A.array.T @ y.astype(np.float32)
    elif kind == "csc":
        A = sp.csc_array(A)
    return A, b, lam, plain(A64, b.astype(float), l1=lam)


@functools.cache
def truth_in_single_precision():
    return truth(single("dense")[3])


@pytest.mark.parametrize("tol", [1e-6, 1e-8, 1e-13, 1e-17])
@pytest.mark.parametrize("kind", WRAP)
def test_single_precision_is_judged_honestly(kind, tol):
    """B6: x comes back in single precision; whatever cannot be reached is said and bounded."""
    A, b, lam, problem = single(kind)
    result = si.solve(A, b, si.L1(lam), tol=tol)
    assert result.x.dtype == np.float32
    assert result.status in (si.Status.CONVERGED, si.Status.PRECISION_FLOOR)
    assert result.success == (result.certificate.relative <= tol)
    excess = float(problem.objective(result.x.astype(float)) - truth_in_single_precision().lower)
    slack = 1e-6 if kind == "operator" else 1e-14  # the certificate of an operator is made of its products
    assert excess <= result.certificate.value + slack * problem.scale
    assert result.certificate.relative <= 1e-6
    assert result.seconds < 0.5


@pytest.mark.parametrize(
    "penalty", [si.L2(1.0), si.L0(0.02), si.GroupL1(3.0, groups=np.arange(50) // 5)], ids=str
)
@pytest.mark.parametrize("kind", WRAP)
def test_single_precision_with_other_penalties(kind, penalty):
    A, b, _, _ = single(kind)
    result = si.solve(A, b, penalty, tol=1e-8)
    assert result.x.dtype == np.float32
    assert result.status in (si.Status.CONVERGED, si.Status.PRECISION_FLOOR)
    assert result.success == (result.certificate.relative <= 1e-8)
    assert result.certificate.relative <= 1e-5


def test_gram_matrix_in_single_precision():
    """B7."""
    A, b, lam, problem = single("dense")
    result = si.solve(A, b, si.L1(lam), solver=si.CoordinateDescent(gram=True), tol=TOL)
    assert_optimal(result, problem, result.x.astype(float))


@pytest.mark.parametrize(("a", "c"), [(1e-30, 1e30), (1e30, 1e-30)])
def test_single_precision_cannot_hold_x(a, c):
    """x of size 1e60 or 1e-60 stays in double precision instead of becoming inf or 0."""
    A, b, _ = lasso()
    A, b = (a * A).astype(np.float32), (c * b).astype(np.float32)
    lam = 0.1 * si.lam_max(A, b, si.L1())
    result = si.solve(A, b, si.L1(lam), tol=TOL)
    assert result.success
    assert set(result.support) == {3, 16, 40}
    assert result.x.dtype == np.float64


def test_complex_single_precision():
    A, b, lam = lasso(dtype=complex)
    result = si.solve(A.astype(np.complex64), b.astype(np.complex64), si.L1(lam), tol=1e-7)
    assert result.x.dtype == np.complex64
    assert result.success


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, ">f8", ">f4", np.uint8, bool])
def test_every_number_type(dtype):
    A, b, _ = lasso()
    A = np.abs(A) > 0.5 if dtype is bool else np.abs(A) if dtype is np.uint8 else A
    A = A.astype(dtype)
    lam = 0.1 * float(np.abs(A.astype(float).T @ b).max())
    result = si.solve(A, b, si.L1(lam), tol=TOL)
    assert_optimal(result, plain(A.astype(float), b, l1=lam))
    assert result.x.dtype == np.float64


# --- equivariance -------------------------------------------------------------------------------------

SOLVERS = {
    "auto": "auto",
    "ISTA": si.ISTA(),
    "FISTA": si.FISTA(),
    "FISTA monotone": si.FISTA(monotone=True),
    "BarzilaiBorwein": si.BarzilaiBorwein(),
    "CoordinateDescent": si.CoordinateDescent(),
    "CoordinateDescent gram": si.CoordinateDescent(gram=True),
    "WorkingSet": si.WorkingSet(),
    "Ridge": si.Ridge(direct=True),
    "Ridge iterative": si.Ridge(direct=False),
    "IRLS": si.IRLS(),
    "IRL1": si.IRL1(),
    "MessagePassing": si.MessagePassing(),
    "Portfolio": si.Portfolio(),
    "SL0": si.SL0(),
    "SparseBayesian": si.SparseBayesian(),
}
PROXIMAL = ["auto", "ISTA", "FISTA", "CoordinateDescent"]
ACCEPTED = {
    "L1": [
        *PROXIMAL,
        "BarzilaiBorwein",
        "FISTA monotone",
        "CoordinateDescent gram",
        "WorkingSet",
        "IRLS",
        "IRL1",
    ],
    "L1 mixed": [*PROXIMAL, "BarzilaiBorwein", "WorkingSet", "IRLS", "IRL1"],
    "L2": [*PROXIMAL, "BarzilaiBorwein", "WorkingSet", "Ridge", "Ridge iterative", "IRLS", "IRL1"],
    "L0": [
        "auto",
        "ISTA",
        "CoordinateDescent",
        "CoordinateDescent gram",
        "IRLS",
        "IRL1",
        "MessagePassing",
        "Portfolio",
        "SL0",
        "SparseBayesian",
    ],
    "ElasticNet": [*PROXIMAL, "BarzilaiBorwein", "WorkingSet", "IRLS", "IRL1"],
    "GroupL1": [*PROXIMAL, "BarzilaiBorwein", "IRLS"],
}
# b -> s b and A -> c A keep the problem when lam -> lam s^i c^j; an elastic net needs s = c
POWERS = {"L1": (1, 1), "L1 mixed": (1, 1), "L2": (0, 2), "L0": (2, 0), "ElasticNet": (1, 1)}
POWERS["GroupL1"] = (1, 1)
SMALL = lasso(12, 20, seed=3)
IN_MEMORY = ("CoordinateDescent", "CoordinateDescent gram", "MessagePassing", "WorkingSet", "Ridge")
CASES = [
    (penalty, solver, kind)
    for penalty, solvers in ACCEPTED.items()
    for solver in solvers
    for kind in WRAP
    if kind != "operator" or solver not in IN_MEMORY
]


def solvers_for(name, kind):
    return [case[1] for case in CASES if case[0] == name and case[2] == kind]


def make(name, lam):
    if name == "GroupL1":
        return si.GroupL1(lam, groups=np.arange(20) % 6)
    return {"L1": si.L1, "L1 mixed": si.L1, "L2": si.L2, "L0": si.L0, "ElasticNet": si.ElasticNet}[name](lam)


def level(name):
    if name == "L1 mixed":
        lam = 2 * SMALL[2] * (1 + np.arange(20) / 20)
        lam[[2, 11]] = 0.0
        lam[[0, 7]] = np.inf
        return lam
    return {"L2": 0.5, "L0": 0.5}.get(name, 2 * SMALL[2])


def accuracy(solver):
    return 1e-4 if solver == "IRLS" else 1e-7  # it takes hundreds of factorisations to the last digits


@functools.cache
def unscaled(name, solver, kind):
    A, b, _ = SMALL
    return si.solve(WRAP[kind](A), b, make(name, level(name)), solver=SOLVERS[solver], tol=accuracy(solver))


def changes(name, values):
    if name == "ElasticNet":
        return [(v, v) for v in values]
    return [(v, None) for v in values] + [(None, v) for v in values]


@pytest.mark.parametrize(("name", "solver", "kind"), CASES)
def test_powers_of_two_change_no_bit(name, solver, kind):
    A, b, _ = SMALL
    i, j = POWERS[name]
    # the first iterations tell as much as the last ones
    settings = {"solver": SOLVERS[solver], "tol": 1e-7, "max_iter": 30 if solver == "IRLS" else 1000}
    expected = si.solve(WRAP[kind](A), b, make(name, level(name)), **settings)
    for of_b, of_A in changes(name, (-500, -60, 130)):
        s, c = of_b or 0, of_A or 0
        penalty = make(name, np.ldexp(level(name), i * s + j * c))
        result = si.solve(WRAP[kind](np.ldexp(A, c)), np.ldexp(b, s), penalty, **settings)
        what = f"b * 2**{s}, A * 2**{c}"
        assert np.array_equal(np.ldexp(result.x, c - s), expected.x), what
        assert result.status is expected.status, what
        assert result.n_iter == expected.n_iter, what
        assert (result.n_matvec, result.n_rmatvec) == (expected.n_matvec, expected.n_rmatvec), what
        assert result.certificate.relative == expected.certificate.relative, what
        assert np.array_equal(result.history.relative, expected.history.relative), what


@pytest.mark.parametrize(("name", "solver", "kind"), CASES)
def test_any_scale_gives_the_same_answer(name, solver, kind):
    A, b, _ = SMALL
    expected = unscaled(name, solver, kind)
    assert expected.success
    i, j = POWERS[name]
    for of_b, of_A in changes(name, [1e-150, 1e150]):
        s, c = of_b or 1.0, of_A or 1.0
        lam = level(name) * s**i * c**j
        tol = accuracy(solver)
        result = si.solve(WRAP[kind](A * c), b * s, make(name, lam), solver=SOLVERS[solver], tol=tol)
        assert result.status is expected.status
        assert result.certificate.relative <= tol
        x = result.x * c / s
        if name == "L0":  # first-order methods stop within tol of a stationary point, not all at the same
            assert np.array_equal(x != 0, expected.x != 0)
        assert np.abs(x - expected.x).max() <= 1e-3 * np.abs(expected.x).max()


@pytest.mark.parametrize("name", ["L1", "L0", "GroupL1", "ElasticNet"])
def test_chosen_lambda_follows_the_scale(name):
    A, b, _ = SMALL
    expected = si.solve(A, b, make(name, None))
    assert expected.lam > 0
    i, j = POWERS[name]
    for of_b, of_A in changes(name, (-200, 200)):
        s, c = of_b or 0, of_A or 0
        result = si.solve(np.ldexp(A, c), np.ldexp(b, s), make(name, None))
        assert result.lam == np.ldexp(expected.lam, i * s + j * c)
        assert np.array_equal(np.ldexp(result.x, c - s), expected.x)


# --- the known classes --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", ACCEPTED)
def test_zero_target(name, kind):
    """B1: b = 0 gives x = 0 at once, with 0 / 0 = 0, wherever the run is started."""
    A, _, _ = SMALL
    for solver in solvers_for(name, kind):
        for x0 in (None, np.ones(20)):
            result = si.solve(
                WRAP[kind](A), np.zeros(12), make(name, level(name)), solver=SOLVERS[solver], x0=x0, tol=0.0
            )
            assert result.status is si.Status.CONVERGED, solver
            assert not result.x.any(), solver
            assert result.n_iter <= 1, solver
            assert (result.certificate.value, result.certificate.relative) == (0.0, 0.0), solver


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", ACCEPTED)
def test_zero_columns_get_zero(name, kind):
    """B2: also where nothing penalises them, which is the choice of minimum norm."""
    A, b, _ = SMALL
    A = A.copy()
    A[:, [0, 2, 5]] = 0.0
    for solver in solvers_for(name, kind):
        result = si.solve(WRAP[kind](A), b, make(name, level(name)), solver=SOLVERS[solver])
        assert result.success, solver
        assert not result.x[[0, 2, 5]].any(), solver


@pytest.mark.parametrize(("solver", "kind"), [case[1:] for case in CASES if case[0] == "L1 mixed"])
def test_unpenalised_coefficients_are_a_least_squares_fit(solver, kind):
    """B3: against lstsq; all levels zero, and two of them."""
    A, b, _ = SMALL
    A = A[:, :6]
    fit = np.linalg.lstsq(A, b, rcond=None)[0]
    result = si.solve(WRAP[kind](A), b, si.L1(0.0), solver=SOLVERS[solver], tol=1e-12)
    assert result.success
    assert np.allclose(result.x, fit, atol=1e-4)
    lam = np.array([0.0, 0.0, 1e6, 1e6, 1e6, 1e6])
    result = si.solve(WRAP[kind](A), b, si.L1(lam), solver=SOLVERS[solver], tol=1e-12)
    fit = np.linalg.lstsq(A[:, :2], b, rcond=None)[0]
    assert result.success
    assert np.allclose(result.x, [*fit, 0, 0, 0, 0], atol=1e-4)


def test_tolerance_is_relative_to_the_data_and_both_numbers_are_reported():
    """B4: a loose tol may accept x = 0 where A explains little of b; the report says what that means."""
    rng = np.random.default_rng(5)
    A = np.vstack([rng.standard_normal((10, 15)), np.zeros((5, 15))])
    b = np.concatenate([rng.standard_normal(10), np.full(5, 1e5)])
    penalty = si.L1(0.1 * si.lam_max(A, b, si.L1()))
    loose = si.solve(A, b, penalty, tol=1e-6)
    certificate = loose.certificate
    assert certificate.scale == pytest.approx(0.5 * b @ b)
    assert certificate.relative == pytest.approx(certificate.value / certificate.scale)
    assert certificate.bound == pytest.approx(certificate.objective - certificate.value)
    # what b without the unexplained rows gives, reached by asking for it
    part = si.solve(A[:10], b[:10], penalty, tol=1e-6)
    tight = si.solve(A, b, penalty, tol=1e-6 * part.certificate.scale / certificate.scale)
    assert part.support.size > 0
    assert tight.certificate.value <= 1e-5 * part.certificate.scale
    assert np.allclose(tight.x, part.x, atol=1e-2)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
@pytest.mark.parametrize(
    "solver", ["auto", "FISTA", "BarzilaiBorwein", "CoordinateDescent", "WorkingSet", "IRLS"]
)
@pytest.mark.parametrize("ratio", [1e-6, 1e-9, 1e-12])
def test_tiny_lambda(shape, solver, ratio):
    """B5: a level far below rounding is solved, or the status says that it is not."""
    A, b, lam = lasso(*shape)
    penalty = si.L1(10 * ratio * lam)
    result = si.solve(A, b, penalty, solver=SOLVERS[solver], max_iter=2000, tol=TOL)
    assert result.success == (result.certificate.relative <= TOL)
    # the least objective possible is that of least squares, up to the penalty of its solution
    fit = np.linalg.lstsq(A, b, rcond=None)[0]
    least = 0.5 * np.linalg.norm(A @ fit - b) ** 2 + penalty.value(fit)
    assert result.objective - result.certificate.value <= least * (1 + 1e-12) + 1e-25


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", ACCEPTED)
def test_status_follows_the_final_certificate(name, kind):
    """B8, B14: converged means certified, and a run that is cut short is a result, not an exception."""
    A, b, _ = SMALL
    penalty = make(name, level(name))
    for solver, limit in itertools.product(solvers_for(name, kind), (0, 1, 3)):
        result = si.solve(WRAP[kind](A), b, penalty, solver=SOLVERS[solver], max_iter=limit)
        assert result.n_iter <= limit
        if result.status is si.Status.CONVERGED:
            assert result.certificate.relative <= 1e-6
        else:
            assert result.status in (si.Status.MAX_ITER, si.Status.PRECISION_FLOOR)
            assert not result.success
        again = si.certify(WRAP[kind](A), b, penalty, result.x)
        if again.kind is si.Kind.DUALITY_GAP and result.certificate.kind is si.Kind.DUALITY_GAP:
            assert again.objective == pytest.approx(result.objective, rel=1e-12)
            # two bounds of the same thing: neither lies below what the other one proves to be missing
            assert again.value >= result.objective - again.objective - 1e-12 * result.certificate.scale


@pytest.mark.parametrize("kind", ["dense", "csc"])
@pytest.mark.parametrize("solver", ["CoordinateDescent", "IRL1", "IRLS", "ISTA"])
def test_not_stuck_at_zero(solver, kind):
    """B9: x = 0 is stationary for L0 to first order, but one coefficient can improve on it."""
    A, b, _ = SMALL
    penalty = si.L0(0.5)
    problem = plain(A, b, l0=0.5)
    assert best_coordinate_decrease(problem, np.zeros(20)) > 0
    result = si.solve(WRAP[kind](A), b, penalty, solver=SOLVERS[solver], x0=np.zeros(20))
    assert result.success
    if result.certificate.kind is si.Kind.COORDINATE_MINIMUM:
        assert result.x.any()
        decrease = best_coordinate_decrease(problem, result.x)
        assert decrease <= result.certificate.value + 1e-12 * problem.scale
    judged = si.certify(A, b, penalty, np.zeros(20))
    assert judged.value == pytest.approx(best_coordinate_decrease(problem, np.zeros(20)), rel=1e-10)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, np.asfortranarray, list, sp.csr_array, sp.csc_matrix, sp.coo_array, MatrixFree],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("n", [1, 5])
def test_shape_of_x(convert, n):
    """B10: x is (n,) whatever the container."""
    A, b, lam = lasso(12, 20)
    A = A[:, :n]
    A = convert(A.tolist() if convert is list else A)
    result = si.solve(A, b if convert is not list else b.tolist(), si.L1(lam))
    assert result.x.shape == (n,)
    assert result.success


@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_weights_must_be_numbers(bad):
    """B11: refused where they enter; a fold cannot turn them into NaN later."""
    with pytest.raises(ValueError, match=r"weights\[2\] is (nan|-1\.0), but it must be >= 0"):
        si.L1(1.0, weights=[1.0, 2.0, bad])


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", [name for name in ACCEPTED if name != "L1 mixed"])
@pytest.mark.parametrize("shape", [(12, 1), (1, 12), (1, 1)])
def test_one_row_or_one_column(name, kind, shape):
    """B13."""
    rng = np.random.default_rng(7)
    A, b = rng.standard_normal(shape), 3 + rng.standard_normal(shape[0])
    penalty = si.GroupL1(0.1, groups=np.arange(shape[1]) // 4) if name == "GroupL1" else make(name, 0.1)
    a, c = float((A**2).sum()), float(A[:, 0] @ b)
    soft = np.sign(c) * max(abs(c) - 0.1, 0.0) / a
    alone = {"L2": c / (a + 0.1), "L0": c / a, "ElasticNet": None}.get(name, soft)
    for solver in solvers_for(name, kind):
        result = si.solve(WRAP[kind](A), b, penalty, solver=SOLVERS[solver], tol=1e-10)
        assert result.success, solver
        assert result.x.shape == (shape[1],), solver
        if shape[1] == 1 and alone is not None:
            assert result.x[0] == pytest.approx(alone, rel=1e-3), solver


@pytest.mark.parametrize("solver", ["auto", "FISTA", "BarzilaiBorwein", "ISTA", "CoordinateDescent", "IRL1"])
def test_a_warm_start_does_not_cost_more(solver):
    """B15, as far as it can be counted: starting at the solution needs no iteration to speak of."""
    A, b, lam = lasso()
    cold = si.solve(A, b, si.L1(lam), solver=SOLVERS[solver], tol=TOL)
    warm = si.solve(A, b, si.L1(lam), solver=SOLVERS[solver], tol=TOL, x0=cold.x)
    assert warm.success
    assert warm.n_iter <= 0.2 * cold.n_iter
    assert warm.n_matvec + warm.n_rmatvec < cold.n_matvec + cold.n_rmatvec
    assert np.allclose(warm.x, cold.x, atol=1e-3)


@pytest.mark.parametrize("penalty", [si.L1(20.0), si.L0(1.0), si.L2(1.0)], ids=str)
def test_threads_of_the_linear_algebra(penalty):
    """B16, B17: one thread count repeats bit by bit; another one gives the same support and certificate."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(11)
    A = rng.standard_normal((150, 300))
    x = np.zeros(300)
    x[::30] = 5.0
    b = A @ x + 0.1 * rng.standard_normal(150)
    runs = {}
    for threads in (1, 1, 2):
        with threadpool_limits(threads, user_api="blas"):
            result = si.solve(A, b, penalty)
        assert result.success
        if threads in runs:
            assert np.array_equal(result.x, runs[threads].x)
        runs[threads] = result
    assert np.array_equal(runs[1].x != 0, runs[2].x != 0)
    assert np.allclose(runs[1].x, runs[2].x, atol=1e-2)


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", ACCEPTED)
def test_arguments_are_left_alone(name, kind):
    """B18: A, b, x0, lam; test_operator_traps.py looks at the structure of sparse matrices too."""
    A, b, _ = SMALL
    A, b, x0, lam = np.asfortranarray(A), b.copy(), np.linspace(-1, 1, 20), np.asarray(level(name)).copy()
    before = [v.copy() for v in (A, b, x0, lam)]
    for solver in solvers_for(name, kind):
        result = si.solve(WRAP[kind](A), b, make(name, lam), solver=SOLVERS[solver], x0=x0)
        assert not np.shares_memory(result.x, x0)
        assert not np.shares_memory(result.x, b)
    for now, then in zip((A, b, x0, lam), before, strict=True):
        assert np.array_equal(now, then)
