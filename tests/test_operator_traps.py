"""What users call A: the traps of linear operators, every dense and sparse container, and counting.

The seven traps: (1) a PyLops operator is no SciPy LinearOperator, (2) column vectors, (3) a declared dtype
that is not true, (4) a missing or wrong adjoint, (5) maps that are linear over the reals only, (6) views,
reused, read-only or altered buffers, (7) an interface in motion, so that anything with shape, matvec and
rmatvec will do.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spl

import sparseinv as si
from sparseinv.operators import DenseMatrix, Operator, SparseMatrix

M, N = 20, 30


def problem(dtype=float, seed=0):
    """A, b and lam of a small lasso."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((M, N))
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((M, N))
    x = np.zeros(N, dtype=dtype)
    x[[2, 11, 25]] = 2.0, -1.5, 1.0
    b = A @ x + 0.01 * rng.standard_normal(M)
    return A, b, 0.1 * float(np.abs(A.conj().T @ b).max())


class Counting:
    """A map that counts its products and insists on one-dimensional vectors."""

    def __init__(self, A):
        self.array, self.shape, self.forward, self.adjoint = A, A.shape, 0, 0

    def matvec(self, x):
        assert isinstance(x, np.ndarray)
        assert x.shape == (self.shape[1],)
        self.forward += 1
        return self.array @ x

    def rmatvec(self, y):
        assert isinstance(y, np.ndarray)
        assert y.shape == (self.shape[0],)
        self.adjoint += 1
        return self.array.conj().T @ y


def assert_same_answer(operator, dtype=float, tol=1e-10, atol=1e-6):
    A, b, lam = problem(dtype)
    expected = si.solve(A, b, si.L1(lam), tol=1e-12)
    result = si.solve(operator, b, si.L1(lam), tol=tol)
    assert expected.success
    assert result.success, result
    assert np.allclose(result.x, expected.x, atol=atol)
    return result


# --- (1) and (7): who may be an operator --------------------------------------------------------------


def test_pylops_operators_are_taken_as_they_are():
    import pylops

    A, _, _ = problem()
    operator = pylops.MatrixMult(A)
    assert not isinstance(operator, spl.LinearOperator)
    assert_same_answer(operator)
    assert_same_answer(pylops.MatrixMult(problem(complex)[0], dtype=complex), complex)


def test_pylops_algebra_and_dims():
    import pylops

    A, _, _ = problem()
    scaled = pylops.Diagonal(np.full(M, 2.0)) @ pylops.MatrixMult(0.5 * A)
    assert_same_answer(scaled)
    grid = pylops.FirstDerivative((4, 5), axis=0)
    adapted = si.as_operator(grid)
    assert (adapted.dims, adapted.dimsd) == ((4, 5), (4, 5))
    result = si.solve(grid, np.arange(20.0), si.L1(0.1), tol=1e-8)
    assert result.x.shape == (20,)
    assert result.success


@pytest.mark.parametrize(
    "wrap",
    [
        spl.aslinearoperator,
        lambda A: spl.LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y: A.T @ y, dtype=float),
        lambda A: spl.aslinearoperator(A.T).H,
        lambda A: 0.5 * spl.aslinearoperator(2 * A),
        Counting,
        lambda A: si.as_operator(Counting(A)),
        lambda A: DenseMatrix(np.array(A)),
        lambda A: 2.0 * DenseMatrix(np.asfortranarray(0.5 * A)),
    ],
)
def test_anything_with_products(wrap):
    assert_same_answer(wrap(problem()[0]))


def test_own_operator_in_six_lines():
    A, _, _ = problem()

    class Mine(Operator):
        def __init__(self):
            super().__init__(A.shape)

        def _matvec(self, x):
            return A @ x

        def _rmatvec(self, y):
            return A.T @ y

    assert_same_answer(Mine())


def test_objects_that_are_both_array_and_operator_are_matrices():
    """A sparse container has neither matvec nor rmatvec, an ndarray subclass may."""

    class Hybrid(np.ndarray):
        def matvec(self, x):
            raise AssertionError

        rmatvec = matvec

    A, _, _ = problem()
    assert isinstance(si.as_operator(A.view(Hybrid)), DenseMatrix)
    assert isinstance(si.as_operator(sp.csr_array(A)), SparseMatrix)


# --- (2) one-dimensional vectors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "penalty", [si.L1(0.5), si.L2(0.5), si.L0(0.5), si.GroupL1(0.5, groups=np.arange(N) // 3)]
)
def test_only_vectors_are_passed(penalty):
    """`Counting` asserts it; SciPy from 1.18 on warns about columns."""
    A, b, _ = problem()
    assert si.solve(Counting(A), b, penalty).success
    si.certify(Counting(A), b, penalty, np.zeros(N))
    si.lam_max(Counting(A), b, penalty)
    si.norm_bound(Counting(A))
    si.adjoint_test(Counting(A))


# --- (3) declared dtypes ------------------------------------------------------------------------------


class Declared(Counting):
    """A map whose dtype attribute says what it is told to say."""

    def __init__(self, A, dtype):
        super().__init__(A)
        self.dtype = dtype


@pytest.mark.parametrize("dtype", [None, float, "f8", np.int8, bool, complex])
def test_the_declared_type_is_not_believed(dtype):
    if dtype is complex:  # a complex map of real numbers is slower, not wrong
        A, b, lam = problem()
        result = si.solve(Declared(A, dtype), b, si.L1(lam), tol=1e-9)
        assert np.allclose(result.x, si.solve(A, b, si.L1(lam), tol=1e-12).x, atol=1e-5)
        return
    assert_same_answer(Declared(problem()[0], dtype))


@pytest.mark.parametrize("dtype", [None, float, np.float32, np.complex128])
def test_a_complex_map_that_calls_itself_real(dtype):
    A, b, lam = problem(complex)
    result = si.solve(Declared(A, dtype), b, si.L1(lam), tol=1e-8)
    assert np.iscomplexobj(result.x)
    assert np.allclose(result.x, si.solve(A, b, si.L1(lam), tol=1e-12).x, atol=1e-3)
    assert si.as_operator(Declared(A, dtype)).dtype == np.complex128


def test_a_scipy_operator_without_dtype():
    """SciPy calls matvec with an int8 vector at construction to find one."""
    A, _, _ = problem()
    operator = spl.LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y: A.T @ y)
    assert_same_answer(operator)


def test_single_precision_declared_and_kept():
    A, b, lam = problem()
    A32 = A.astype(np.float32)
    operator = Declared(A32, np.float32)
    result = si.solve(operator, b.astype(np.float32), si.L1(lam), tol=1e-6)
    assert result.success
    assert result.x.dtype == np.float32
    # products in double precision under that name do no harm
    result = si.solve(Declared(A, np.float32), b.astype(np.float32), si.L1(lam), tol=1e-6)
    assert result.success
    assert result.x.dtype == np.float32
    # b in double precision: so is x
    assert si.solve(operator, b, si.L1(lam), tol=1e-6).x.dtype == np.float64


def test_single_precision_in_secret_is_found_out():
    """Products of single precision from a map that declares double fail the adjoint test."""
    A, b, lam = problem()
    A32 = A.astype(np.float32)

    class Secret(Counting):
        def matvec(self, x):
            return (A32 @ x.astype(np.float32)).astype(float)

        def rmatvec(self, y):
            return (A32.T @ y.astype(np.float32)).astype(float)

    with pytest.raises(ValueError, match="is not the adjoint"):
        si.solve(Secret(A), b, si.L1(lam))


@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
def test_a_real_map_of_complex_data_keeps_imaginary_parts():
    """Maps written for real vectors drop the imaginary part of complex ones, with a warning at best."""
    A, b, lam = problem()

    class Real(Counting):
        def matvec(self, x):
            y = np.empty(M)
            y[:] = self.array @ np.asarray(x, dtype=float)
            return y

        def rmatvec(self, y):
            return self.array.T @ np.asarray(y, dtype=float)

    b = b * (1 - 2j)
    expected = si.solve(A, b, si.L1(lam), tol=1e-12)
    result = si.solve(Real(A), b, si.L1(lam), tol=1e-10)
    assert result.success
    assert np.allclose(result.x, expected.x, atol=1e-5)
    judged = si.certify(Real(A), b, si.L1(lam), expected.x)
    assert judged.relative <= 1e-10


# --- (4) adjoints -------------------------------------------------------------------------------------


def transposed(A):
    """rmatvec = A^T where A^H is needed: the classic mistake with complex maps."""
    operator = Counting(A)
    operator.rmatvec = lambda y: A.T @ y
    return operator


def test_transpose_instead_of_adjoint():
    A, b, lam = problem(complex)
    with pytest.raises(ValueError, match="conjugate transpose") as caught:
        si.solve(transposed(A), b, si.L1(lam))
    assert str(caught.value).count("j") >= 2, "both complex inner products are shown"
    assert si.adjoint_test(transposed(A.real.copy())) <= 1e-12
    with pytest.raises(ValueError, match="is not the adjoint"):
        si.adjoint_test(transposed(A))


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize("wrong", [False, True])
def test_adjoint_test_at_any_scale(scale, wrong):
    A, _, _ = problem()
    operator = Counting(scale * A)
    if wrong:
        operator.rmatvec = lambda y: 1.001 * scale * (A.T @ y)
        with pytest.raises(ValueError, match="is not the adjoint"):
            si.adjoint_test(operator)
    else:
        assert si.adjoint_test(operator) <= 1e-14


def test_adjoint_test_is_seeded_and_adjustable():
    A, _, _ = problem()
    operator = Counting(A)
    operator.rmatvec = lambda y: (1 + 1e-6) * (A.T @ y)
    with pytest.raises(ValueError, match="is not the adjoint"):
        si.adjoint_test(operator)
    loose = si.adjoint_test(operator, tol=1e-5)
    assert 1e-9 < loose < 1e-5
    assert si.adjoint_test(operator, tol=1e-5) == loose
    assert si.adjoint_test(operator, tol=1e-5, rng=3) != loose
    assert si.adjoint_test(0 * A) == 0.0
    assert si.adjoint_test(np.zeros((0, 3))) == 0.0


@pytest.mark.parametrize("error", [NotImplementedError, AttributeError, TypeError])
def test_adjoint_that_is_not_implemented(error):
    A, b, lam = problem()

    class Half(Counting):
        def rmatvec(self, y):
            raise error

    with pytest.raises(ValueError, match="without a usable rmatvec"):
        si.solve(Half(A), b, si.L1(lam))
    with pytest.raises(TypeError, match="without a usable rmatvec"):
        si.adjoint_test(Half(A))


# --- (5) maps that are linear over the reals only -----------------------------------------------------


def test_real_linear_maps_are_compared_by_real_parts():
    import pylops

    operator = pylops.Real(dims=8, dtype=complex)
    assert operator.clinear is False
    assert si.adjoint_test(operator) <= 1e-12
    b = np.r_[3.0, -2.0, np.zeros(6)]
    result = si.solve(operator, b, si.L1(0.5), tol=1e-8)
    assert result.success
    assert np.allclose(result.x, np.r_[2.5, -1.5, np.zeros(6)], atol=1e-4)


def test_a_map_that_is_not_linear_over_the_complex_numbers_and_does_not_say_so():
    class RealPart(Counting):
        dtype = np.dtype(complex)

        def matvec(self, x):
            return (self.array @ x).real.astype(complex)

        def rmatvec(self, y):
            return self.array.conj().T @ y.real.astype(complex)

    A, b, lam = problem(complex)
    with pytest.raises(ValueError, match="is not the adjoint"):
        si.solve(RealPart(A), b.real, si.L1(lam))
    RealPart.clinear = False
    assert si.adjoint_test(RealPart(A)) <= 1e-12


# --- (6) buffers --------------------------------------------------------------------------------------


class Reusing(Counting):
    """Returns the same buffer from every call."""

    def __init__(self, A):
        super().__init__(A)
        self.out, self.back = np.empty(M, dtype=A.dtype), np.empty(N, dtype=A.dtype)

    def matvec(self, x):
        np.dot(self.array, x, out=self.out)
        return self.out

    def rmatvec(self, y):
        np.dot(self.array.conj().T, y, out=self.back)
        return self.back


class ReadOnly(Counting):
    """Returns arrays that cannot be written to."""

    def matvec(self, x):
        y = super().matvec(x)
        y.flags.writeable = False
        return y

    def rmatvec(self, y):
        x = super().rmatvec(y)
        x.flags.writeable = False
        return x


class Views(Counting):
    """Returns strided views of larger arrays."""

    def matvec(self, x):
        return np.repeat(super().matvec(x), 2)[::2]

    def rmatvec(self, y):
        return np.repeat(super().rmatvec(y), 3)[::-1][::-3][:N]


class Writing(Counting):
    """Uses its argument as scratch space."""

    def matvec(self, x):
        y = super().matvec(x)
        x[:] = np.nan
        return y

    def rmatvec(self, y):
        x = super().rmatvec(y)
        y[:] = np.nan
        return x


class Lists(Counting):
    """Returns lists of numbers."""

    def matvec(self, x):
        return super().matvec(x).tolist()

    def rmatvec(self, y):
        return super().rmatvec(y).tolist()


@pytest.mark.parametrize("kind", [Reusing, ReadOnly, Views, Writing, Lists])
@pytest.mark.parametrize(
    "solver", ["auto", si.ISTA(), si.FISTA(monotone=True), si.IRLS(), si.IRL1()], ids=str
)
def test_buffers(kind, solver):
    A, b, lam = problem()
    expected = si.solve(Counting(A), b, si.L1(lam), solver=solver, tol=1e-8, max_iter=100)
    result = si.solve(kind(A), b, si.L1(lam), solver=solver, tol=1e-8, max_iter=100)
    assert result.status is expected.status
    assert result.certificate == expected.certificate
    assert np.array_equal(result.x, expected.x)


def test_identity_that_returns_its_argument():
    class Identity(Counting):
        def matvec(self, x):
            return x

        def rmatvec(self, y):
            return y

    b = np.array([3.0, -0.2, 1.0])
    for penalty, expected in ((si.L1(0.5), [2.5, 0, 0.5]), (si.L2(1.0), b / 2), (si.L0(0.5), [3, 0, 0])):
        result = si.solve(Identity(np.eye(3)), b, penalty, tol=1e-12)
        assert result.success
        assert np.allclose(result.x, expected)
    assert np.array_equal(b, [3.0, -0.2, 1.0])


# --- counting -----------------------------------------------------------------------------------------

COUNTED = {
    "L1": (
        si.L1(0.5),
        [
            "auto",
            si.ISTA(),
            si.FISTA(),
            si.BarzilaiBorwein(),
            si.FISTA(norm=20.0),
            si.FISTA(monotone=True),
            si.IRLS(),
        ],
    ),
    "L1 chosen": (si.L1(), ["auto", si.IRL1()]),
    "L1 mixed": (si.L1(np.r_[0.0, 0.0, np.inf, np.full(N - 3, 0.5)]), ["auto", si.ISTA(), si.IRL1()]),
    "L2": (si.L2(0.5), ["auto", si.FISTA(), si.IRLS()]),
    "L2 chosen": (si.L2(), ["auto"]),
    "L0": (si.L0(0.3), ["auto", si.ISTA(), si.IRLS(), si.IRL1()]),
    "L0 chosen": (si.L0(), ["auto"]),
    "ElasticNet": (si.ElasticNet(0.5), ["auto"]),
    "GroupL1": (si.GroupL1(0.5, groups=np.arange(N) // 3), ["auto", si.ISTA(), si.IRLS()]),
}


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("name", COUNTED)
def test_every_product_is_counted(name, dtype):
    penalty, solvers = COUNTED[name]
    A, b, _ = problem(dtype)
    for solver in solvers:
        for settings in ({"max_iter": 7, "check_operator": False}, {"max_iter": 90, "x0": np.ones(N)}):
            operator = Counting(A)
            result = si.solve(operator, b, penalty, solver=solver, **settings)
            assert (result.n_matvec, result.n_rmatvec) == (operator.forward, operator.adjoint), solver
            p = result.products
            assert p.setup + p.iterations + p.certificate == result.n_matvec + result.n_rmatvec
            assert result.history.products[-1] <= p.total


def test_counts_of_a_progress():
    A, b, lam = problem()
    operator = Counting(A)
    for state in si.iterate(operator, b, si.L1(lam)):
        assert (state.n_matvec, state.n_rmatvec) == (operator.forward, operator.adjoint)
        if state.relative <= 1e-6:
            break


# --- dense matrices -----------------------------------------------------------------------------------

DENSE = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "read-only C": lambda A: frozen(np.ascontiguousarray(A)),
    "read-only F": lambda A: frozen(np.asfortranarray(A)),
    "every second row": lambda A: np.repeat(A, 2, axis=0)[::2],
    "every third column": lambda A: np.repeat(A, 3, axis=1)[:, ::3],
    "reversed": lambda A: np.ascontiguousarray(A[::-1, ::-1])[::-1, ::-1],
    "window": lambda A: np.pad(A, 3)[3:-3, 3:-3],
    "broadcast": lambda A: A,  # replaced below: one column shown N times
    "unaligned": lambda A: unaligned(A),
    "big-endian": lambda A: A.astype(A.dtype.newbyteorder(">")),
    "list": lambda A: A.tolist(),
    "tuple of rows": lambda A: tuple(A),
    "memoryview": lambda A: memoryview(np.ascontiguousarray(A)),
    "subclass": lambda A: A.view(type("Sub", (np.ndarray,), {})),
    "memmap": None,
}


def frozen(A):
    A = A.copy(order="K")
    A.flags.writeable = False
    return A


def unaligned(A):
    raw = np.zeros(A.nbytes + 1, dtype=np.uint8)
    view = raw[1:].view(A.dtype).reshape(A.shape)
    view[:] = A
    assert not view.flags.aligned
    return view


@pytest.mark.parametrize("layout", DENSE)
@pytest.mark.parametrize("dtype", [float, complex])
def test_dense_layouts(layout, dtype, tmp_path):
    A, b, lam = problem(dtype)
    if layout == "broadcast":
        A = np.broadcast_to(A[:, :1], (M, N))
        lam, given = 0.1 * float(np.abs(A[:, 0].conj() @ b)), A
    elif layout == "memmap":
        given = np.memmap(tmp_path / "A.bin", dtype=dtype, mode="w+", shape=A.shape)
        given[:] = A
        given.flush()
        given = np.memmap(tmp_path / "A.bin", dtype=dtype, mode="r", shape=A.shape)
    else:
        given = DENSE[layout](A)
    result = si.solve(given, b, si.L1(lam), tol=1e-9)
    expected = si.solve(np.array(A), b, si.L1(lam), tol=1e-9)
    assert result.success
    assert np.array_equal(result.x, expected.x)


@pytest.mark.parametrize(
    "dtype",
    [
        bool, np.int8, np.uint16, np.int32, np.int64, np.uint64, np.float16, np.float32, np.longdouble,
        np.complex64, np.clongdouble, ">i4", ">c16",
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [np.asarray, np.asfortranarray, sp.csc_array, sp.csr_matrix, sp.coo_array])
def test_number_types(dtype, wrap):
    """Every answer is that of the same numbers in double precision, to the bit."""
    A, b, _ = problem()
    A = (np.rint(2 * np.abs(A))).astype(dtype)
    try:
        given = wrap(A)
    except ValueError:  # SciPy itself has no sparse matrices of half precision or foreign byte order
        assert wrap not in (np.asarray, np.asfortranarray)
        return
    double = wrap(A.astype(complex if A.dtype.kind == "c" else float))
    lam = 0.1 * si.lam_max(double, b, si.L1())
    result = si.solve(given, b, si.L1(lam), tol=1e-8)
    assert result.success
    assert np.array_equal(result.x, si.solve(double, b, si.L1(lam), tol=1e-8).x)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32, ">f8", np.longdouble])
def test_number_types_of_b(dtype):
    A, b, _ = problem()
    b = np.rint(b).astype(dtype)
    expected = si.solve(A, b.astype(float), si.L1(0.5))
    assert np.array_equal(si.solve(A, b, si.L1(0.5)).x, expected.x)
    assert np.array_equal(si.solve(A, np.repeat(b, 2)[::2], si.L1(0.5)).x, expected.x)
    assert np.array_equal(si.solve(A, b.tolist(), si.L1(0.5)).x, expected.x)


def test_a_column_major_matrix_is_not_copied():
    A, _, _ = problem()
    A = np.asfortranarray(A)
    assert np.shares_memory(si.as_operator(A).array, A)
    fixed = frozen(A)
    assert np.shares_memory(si.as_operator(fixed).array, fixed)
    csc = sp.csc_array(A)
    assert np.shares_memory(si.as_operator(csc).array.data, csc.data)


def test_read_only_matrices_need_no_compilation_of_their_own():
    from sparseinv.kernels import descent

    A, b, lam = problem()
    csc = sp.csc_array(A)
    for given in (np.asfortranarray(A), csc):
        si.solve(given, b, si.L1(lam))
        si.solve(given, b, si.L1(lam), solver=si.FISTA())
    before = [len(f.signatures) for f in (descent.coordinate_descent, descent.proximal_gradient)]
    for part in (csc.data, csc.indices, csc.indptr):
        part.flags.writeable = False
    for given in (frozen(np.asfortranarray(A)), csc, A, A.astype(np.float32), sp.coo_array(A)):
        si.solve(given, b, si.L1(lam))
        si.solve(given, b, si.L1(lam), solver=si.FISTA())
    assert [len(f.signatures) for f in (descent.coordinate_descent, descent.proximal_gradient)] == before


# --- sparse matrices ----------------------------------------------------------------------------------

FORMATS = ["csc", "csr", "coo", "bsr", "dia", "dok", "lil"]


def sparse_problem(seed=0):
    rng = np.random.default_rng(seed)
    A = np.where(rng.random((M, N)) < 0.3, rng.standard_normal((M, N)), 0.0)
    A[:, 4] = 0.0
    A[7] = 0.0
    b = A @ np.where(rng.random(N) < 0.2, 2.0, 0.0) + 0.01 * rng.standard_normal(M)
    return A, b, 0.1 * float(np.abs(A.T @ b).max())


def fingerprint(A):
    """Everything that a solver could change behind the back of its caller."""
    parts = {"type": type(A), "format": A.format, "dtype": A.dtype, "shape": A.shape, "nnz": A.nnz}
    for name in ("data", "indices", "indptr", "offsets", "rows", "row", "col"):
        value = getattr(A, name, None)
        if isinstance(value, np.ndarray):
            kind = value.tolist() if value.dtype.kind == "O" else (value.tobytes(), value.dtype, value.shape)
            parts[name] = kind
    parts["dense"] = A.toarray().tobytes()
    if hasattr(A, "indptr"):  # of a copy: reading it evaluates and stores it
        parts["sorted"] = bool(A.copy().has_sorted_indices)
    return parts


@pytest.mark.parametrize("flavour", ["array", "matrix"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", [float, np.float32, complex, np.int64])
def test_sparse_formats(format, flavour, dtype):
    A, b, lam = sparse_problem()
    A = np.rint(3 * A).astype(dtype) if dtype is np.int64 else A.astype(dtype)
    lam = lam * (9 if dtype is np.int64 else 1)
    given = getattr(sp, f"{format}_{flavour}")(A)
    before = fingerprint(given)
    result = si.solve(given, b, si.L1(lam), tol=1e-10)
    assert fingerprint(given) == before
    expected = si.solve(A.astype(complex if dtype is complex else float), b, si.L1(lam), tol=1e-10)
    assert result.success
    assert result.x.shape == (N,)
    assert np.allclose(result.x, expected.x, atol=1e-7)
    assert si.solve(given, b, si.L1(lam), solver=si.FISTA()).success
    assert si.solve(given, b, si.L2(lam)).success


def untidy(A, index=np.int64, *, duplicates=True, zeros=True, shuffle=True):
    """CSC arrays with unsorted indices, duplicates and explicit zeros."""
    rng = np.random.default_rng(1)
    data, indices, indptr = [], [], [0]
    for column in A.T:
        rows = np.flatnonzero(column)
        values = column[rows]
        if duplicates:
            rows, values = np.r_[rows, rows[:2]], np.r_[values, 0.25 * values[:2]]
            values[: min(2, values.size // 2)] *= 0.75
        if zeros:
            rows, values = np.r_[rows, 7], np.r_[values, 0.0]
        order = rng.permutation(rows.size) if shuffle else np.argsort(rows, kind="stable")
        data.append(values[order])
        indices.append(rows[order])
        indptr.append(indptr[-1] + rows.size)
    return np.concatenate(data), np.concatenate(indices).astype(index), np.array(indptr, dtype=index)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("kind", [sp.csc_array, sp.csc_matrix, sp.csr_array, sp.csr_matrix])
@pytest.mark.parametrize("mess", ["duplicates", "zeros", "shuffle", "all"])
def test_untidy_sparse_matrices(kind, index, mess):
    A, b, lam = sparse_problem()
    transpose = kind in (sp.csr_array, sp.csr_matrix)
    settings = {key: mess in (key, "all") for key in ("duplicates", "zeros", "shuffle")}
    parts = untidy(A.T if transpose else A, index, **settings)
    given = kind(parts, shape=A.shape)
    given.indices, given.indptr = given.indices.astype(index), given.indptr.astype(index)
    assert np.allclose(given.toarray(), A)
    given = kind(parts, shape=A.shape)  # afresh: toarray() may have evaluated flags
    if index is np.int64:
        given.indices, given.indptr = given.indices.astype(index), given.indptr.astype(index)
    before = fingerprint(given)
    result = si.solve(given, b, si.L1(lam), tol=1e-10)
    assert fingerprint(given) == before, "the user's matrix was tidied up in place"
    assert result.success
    assert np.allclose(result.x, si.solve(A, b, si.L1(lam), tol=1e-10).x, atol=1e-7)
    assert given.indices.dtype == index


def test_sparse_matrix_with_read_only_parts():
    A, b, lam = sparse_problem()
    given = sp.csc_array(A)
    for part in (given.data, given.indices, given.indptr):
        part.flags.writeable = False
    assert si.solve(given, b, si.L1(lam)).success
    given = sp.csc_array(untidy(A), shape=A.shape)
    for part in (given.data, given.indices, given.indptr):
        part.flags.writeable = False
    assert si.solve(given, b, si.L1(lam)).success


def test_empty_sparse_matrices():
    for shape in ((3, 4), (0, 4), (3, 0)):
        for format in FORMATS:
            if format == "bsr" and 0 in shape:
                continue  # SciPy itself has none
            result = si.solve(sp.coo_array(shape).asformat(format), np.ones(shape[0]), si.L1(0.1))
            assert result.success
            assert result.x.shape == (shape[1],)


# --- nothing of the user's is changed -----------------------------------------------------------------


def test_penalties_keep_their_own_copy():
    """Changing an array after the penalty was made, or reading it back, changes nothing."""
    A, b, _ = problem()
    lam, weights, groups = np.full(3, 0.5), np.linspace(1, 2, N), np.arange(N) % 3
    penalty = si.L1(lam, weights=weights, groups=groups)
    before = si.solve(A, b, penalty).x
    lam[:], weights[:], groups[:] = 9.0, 9.0, 0
    assert np.array_equal(si.solve(A, b, penalty).x, before)
    for array in (penalty.lam, penalty.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0


@pytest.mark.parametrize(
    "solver",
    [
        "auto",
        si.ISTA(),
        si.FISTA(),
        si.BarzilaiBorwein(),
        si.CoordinateDescent(),
        si.WorkingSet(),
        si.IRLS(),
        si.IRL1(),
    ],
    ids=str,
)
@pytest.mark.parametrize("excluded", [False, True])
def test_arguments_stay_as_they_were(solver, excluded):
    A, b, _ = problem()
    A, x0 = np.asfortranarray(A), np.linspace(-1, 1, N)
    lam = np.full(N, 0.5)
    if excluded:  # a start outside what is allowed is corrected in a copy
        lam[:5] = np.inf
    copies = [v.copy() for v in (A, b, x0, lam)]
    result = si.solve(A, b, si.L1(lam), solver=solver, x0=x0)
    result.x[:] = 7.0  # the answer belongs to the user
    for now, then in zip((A, b, x0, lam), copies, strict=True):
        assert np.array_equal(now, then)
    point = np.ones(N)
    si.certify(A, b, si.L1(lam), point)
    assert (point == 1).all()


def test_read_only_everything():
    A, b, _ = problem()
    A, b, x0, lam = (frozen(v) for v in (np.asfortranarray(A), b, np.ones(N), np.full(N, 0.5)))
    for solver in (
        "auto",
        si.FISTA(),
        si.BarzilaiBorwein(),
        si.ISTA(),
        si.CoordinateDescent(gram=True),
        si.WorkingSet(),
        si.IRLS(),
        si.IRL1(),
    ):
        assert si.solve(A, b, si.L1(lam), x0=x0, solver=solver).success


# --- norms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (1, 9), (9, 1), (40, 40)])
@pytest.mark.parametrize("wrap", [np.asarray, sp.csc_array, Counting])
def test_norm_estimates_lie_just_above_the_norm(shape, wrap, dtype):
    rng = np.random.default_rng(3)
    A = rng.standard_normal(shape).astype(dtype)
    if dtype is complex:
        A += 1j * rng.standard_normal(shape)
    true = np.linalg.norm(A, 2)
    bound, proven = si.norm_bound(wrap(A))
    assert not proven
    assert true * 0.98 <= bound <= 1.02 * true * (1 + 1e-12)
    assert si.norm_bound(wrap(A)) == (bound, proven), "seeded"
    tight, _ = si.norm_bound(wrap(A), max_steps=60, tol=1e-8)
    assert true <= tight <= 1.0201 * true


def test_norm_of_a_clustered_spectrum_and_of_nothing():
    rng = np.random.default_rng(4)
    q, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    A = q * np.linspace(0.9, 1.0, 60)
    bound, _ = si.norm_bound(A)
    assert 0.98 <= bound <= 1.03
    for zero in (np.zeros((4, 5)), Counting(np.zeros((4, 5))), np.zeros((0, 3)), np.zeros((3, 0))):
        assert si.norm_bound(zero)[0] == 0.0
    b = np.ones(4)
    assert not si.solve(Counting(np.zeros((4, 5))), b, si.L1(0.1), solver=si.FISTA()).x.any()


def test_closed_forms_are_bounds():
    from sparseinv import operators as ops

    rng = np.random.default_rng(5)
    kernel = rng.standard_normal(5)
    known = [ops.Restriction(12, [1, 4, 5]), ops.DCT(12), ops.FFT(12), ops.Convolution(12, kernel)]
    for operator in [*known, known[0] @ known[1], 2.0 * known[3]]:
        matrix = operator.columns(np.arange(12))
        bound, proven = si.norm_bound(operator)
        assert proven, operator
        assert bound >= np.linalg.norm(matrix, 2) * (1 - 1e-12), operator


@pytest.mark.parametrize("accelerated", [True, False])
def test_an_estimate_that_is_too_small_is_noticed(accelerated, monkeypatch):
    """The descent check repairs what no finite number of products can promise."""
    import sparseinv.problem as module

    monkeypatch.setattr(module, "golub_kahan", lambda *args, **kwargs: 0.3)
    A, b, lam = problem()
    for given in (A, Counting(A)):
        solver = si.FISTA() if accelerated else si.ISTA()
        result = si.solve(given, b, si.L1(lam), solver=solver, tol=1e-9)
        assert result.success
        assert np.allclose(result.x, si.solve(A, b, si.L1(lam), tol=1e-12).x, atol=1e-4)
