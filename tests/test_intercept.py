"""An intercept is one more coefficient without a penalty: compared with cvxpy, and with centred data."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import sparseinv as si
from sparseinv.operators.bordered import BorderedMatrix

RNG = np.random.default_rng(3)
A = RNG.standard_normal((40, 60)) + 3 * RNG.standard_normal(60)
B = A[:, :3].sum(axis=1) - 7.0 + 0.3 * RNG.standard_normal(40)
SPARSE = sparse.random_array((40, 60), density=0.3, rng=RNG, format="csc")
LAM = RNG.uniform(1.0, 4.0, 60)
LABELS = np.repeat(np.arange(20), 3)


def truth(A, b, kind, lam, nonnegative=False):
    """Return (minimum, x, constant) from cvxpy."""
    A = A.toarray() if sparse.issparse(A) else A
    x, c = cp.Variable(A.shape[1], nonneg=nonnegative), cp.Variable()
    R = {
        "L1": lambda: cp.sum(cp.multiply(lam, cp.abs(x))),
        "L2": lambda: 0.5 * cp.sum(cp.multiply(lam, cp.square(x))),
        "ElasticNet": lambda: cp.sum(cp.multiply(lam, 0.5 * cp.abs(x) + 0.25 * cp.square(x))),
        "GroupL1": lambda: cp.sum([lam[g] * cp.norm(x[g == LABELS]) for g in range(20)]),
    }[kind]()
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ x + c - b) + R))
    tol = 1e-9 if kind == "GroupL1" else 1e-12
    problem.solve(solver="CLARABEL", tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol)
    return problem.value, x.value, float(c.value)


def check(result, A, b, kind, lam, nonnegative=False):
    minimum, _, constant = truth(A, b, kind, lam, nonnegative)
    assert result.success
    assert result.x.shape == (60,)
    assert result.objective == pytest.approx(minimum, rel=1e-7, abs=1e-9)
    # the objective of the pair that is returned, formed anew
    r = A @ result.x + result.intercept - b
    penalty = result.objective - 0.5 * r @ r
    assert penalty >= -1e-9
    assert result.intercept == pytest.approx(constant, rel=2e-3, abs=2e-3)
    if not nonnegative:
        assert abs(r.sum()) <= 1e-3 * np.abs(r).sum() + 1e-9


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("kind", ["L1", "L2", "ElasticNet"])
@pytest.mark.parametrize("matrix", [A, SPARSE, aslinearoperator(A)], ids=["dense", "csc", "operator"])
def test_separable_penalties_agree_with_cvxpy(matrix, kind, nonnegative):
    explicit = A if isinstance(matrix, LinearOperator) else matrix
    penalty = getattr(si, kind)(LAM, nonnegative=nonnegative)
    result = si.solve(matrix, B, penalty, intercept=True, tol=1e-10, max_iter=100_000)
    check(result, explicit, B, kind, LAM, nonnegative)
    np.testing.assert_array_equal(result.lam, LAM)


@pytest.mark.parametrize("solver", [si.CoordinateDescent(), si.FISTA(), si.BarzilaiBorwein()])
def test_every_convex_solver_fits_the_constant(solver):
    result = si.solve(A, B, si.L1(LAM), intercept=True, tol=1e-9, max_iter=200_000, solver=solver)
    check(result, A, B, "L1", LAM)


@pytest.mark.parametrize("matrix", [A, SPARSE], ids=["dense", "csc"])
@pytest.mark.parametrize("lam", [np.linspace(1, 5, 20), 2.0], ids=["per group", "one"])
def test_groups(matrix, lam):
    penalty = si.GroupL1(lam, groups=LABELS)
    result = si.solve(matrix, B, penalty, intercept=True, tol=1e-10)
    check(result, matrix, B, "GroupL1", np.broadcast_to(lam, 20))


def test_tied_levels_and_labels_of_any_kind():
    names = np.array([f"layer {k % 4}" for k in range(60)])
    lam = np.array([1.0, 2.0, 3.0, 4.0])
    tied = si.solve(A, B, si.L1(lam, groups=names), intercept=True, tol=1e-11)
    single = si.solve(A, B, si.L1(lam[np.arange(60) % 4]), intercept=True, tol=1e-11)
    np.testing.assert_allclose(tied.x, single.x, atol=1e-6)
    np.testing.assert_array_equal(tied.lam, lam)


@pytest.mark.parametrize("penalty", [si.L1(3.0), si.L2(3.0), si.L0(3.0)], ids=["L1", "L2", "L0"])
def test_same_as_centred_data(penalty):
    centred, b = A - A.mean(axis=0), B - B.mean()
    with_constant = si.solve(A, B, penalty, intercept=True, tol=1e-11)
    plain = si.solve(centred, b, penalty, tol=1e-11)
    assert with_constant.objective == pytest.approx(plain.objective, rel=1e-6)
    np.testing.assert_allclose(with_constant.x, plain.x, atol=1e-5)
    assert with_constant.intercept == pytest.approx(B.mean() - A.mean(axis=0) @ plain.x, abs=1e-4)


def test_complex_data():
    rng = np.random.default_rng(5)
    C = rng.standard_normal((30, 45)) + 1j * rng.standard_normal((30, 45))
    b = C[:, 0] - 2 * C[:, 1] + (3 - 4j) + 0.1 * rng.standard_normal(30)
    result = si.solve(C, b, si.L1(2.0), intercept=True, tol=1e-10)
    plain = si.solve(C - C.mean(axis=0), b - b.mean(), si.L1(2.0), tol=1e-10)
    assert result.success
    assert result.objective == pytest.approx(plain.objective, rel=1e-7)
    assert abs(result.intercept - (b.mean() - C.mean(axis=0) @ plain.x)) <= 1e-4
    assert si.certify(C, b, si.L1(2.0), result.x, intercept=result.intercept).relative <= 1e-9


def test_lam_max_is_where_x_becomes_zero():
    for penalty in (si.L1(), si.ElasticNet(), si.L1(nonnegative=True), si.GroupL1(groups=LABELS)):
        top = si.lam_max(A, B, penalty, intercept=True)
        above = si.solve(A, B, penalty.replace(lam=top * (1 + 1e-9)), intercept=True, tol=1e-10)
        below = si.solve(A, B, penalty.replace(lam=top * 0.99), intercept=True, tol=1e-10)
        assert not above.x.any(), penalty
        assert below.x.any(), penalty
        assert above.intercept == pytest.approx(B.mean())


def test_path_selection_batch_and_loop_know_the_constant():
    path = si.solve_path(A, B, si.L1(), n_lams=10, intercept=True, tol=1e-9)
    assert path.success
    assert path.X.shape == (60, 10)
    assert path.n_nonzero[0] == 0
    assert path[0].intercept == pytest.approx(B.mean())
    last = si.solve(A, B, si.L1(path.lams[-1]), intercept=True, tol=1e-9)
    assert path[-1].objective == pytest.approx(last.objective, rel=1e-6)
    choice = si.select_lam(A, B, si.L1(), si.CrossValidation(4), n_lams=10, intercept=True)
    assert choice.result.x.shape == (60,)
    assert choice.result.intercept is not None
    chosen = si.solve(A, B, si.L1(), select=si.CrossValidation(4), intercept=True)
    assert chosen.intercept is not None
    batch = si.solve_many(A, np.stack([B, B + 5.0], axis=1), si.L1(3.0), intercept=True, tol=1e-10)
    assert batch.x.shape == (60, 2)
    np.testing.assert_allclose(batch.x[:, 0], batch.x[:, 1], atol=1e-6)
    assert batch.intercept[1] - batch.intercept[0] == pytest.approx(5.0, abs=1e-4)
    states = si.iterate(A, B, si.L1(3.0), intercept=True)
    first = next(states)
    assert first.x.shape == (60,)
    assert isinstance(first.intercept, float)


def test_many_right_hand_sides_in_compiled_code_or_not():
    rng = np.random.default_rng(0)
    many = A @ (rng.standard_normal((60, 40)) * (rng.random((60, 40)) < 0.1)) + rng.standard_normal(40)
    batch = si.solve_many(A, many, si.L1(2.0), intercept=True, tol=1e-9)
    assert batch.success
    for j in (0, 17, 39):
        one = si.solve(A, many[:, j], si.L1(2.0), intercept=True, tol=1e-9)
        assert batch[j].objective == pytest.approx(one.objective, rel=1e-6)


def test_shift_of_the_data_moves_nothing_but_the_constant():
    one = si.solve(A, B, si.L1(2.0), intercept=True, tol=1e-12)
    far = si.solve(A, B + 1e3, si.L1(2.0), intercept=True, tol=1e-16)
    np.testing.assert_allclose(far.x, one.x, atol=1e-5)
    assert far.intercept - one.intercept == pytest.approx(1e3, rel=1e-6)


@pytest.mark.parametrize(
    "penalty",
    [si.L1(2.0), si.L1(), si.L1(nonnegative=True), si.L2(), si.L0(), si.ElasticNet(l1_ratio=0.5), si.MCP()],
    ids=repr,
)
def test_an_offset_of_the_data_changes_neither_level_nor_solution_at_the_usual_tolerance(penalty):
    near, far = (si.solve(A, B + shift, penalty, intercept=True) for shift in (0.0, 1e5))
    assert near.support.size
    assert far.lam == pytest.approx(near.lam, rel=1e-6)
    np.testing.assert_allclose(far.x, near.x, atol=1e-6)
    assert far.intercept - near.intercept == pytest.approx(1e5, rel=1e-9)


def test_an_offset_changes_no_choice_path_or_batch():
    for rule in (si.Universal(), si.Whiteness(), si.SURE(), si.CrossValidation(4)):
        near, far = (
            si.select_lam(A, B + shift, si.L1(), rule, n_lams=20, intercept=True) for shift in (0.0, 1e5)
        )
        assert far.lam == pytest.approx(near.lam, rel=1e-6)
    near, far = (si.solve_path(A, B + shift, si.L1(), n_lams=5, intercept=True) for shift in (0.0, 1e5))
    np.testing.assert_allclose(far.X, near.X, atol=1e-6)
    batch = si.solve_many(
        A, np.stack([B, B + 1e5, 1e-9 * B], axis=1), si.L1(), lams=[2.0, 2.0, 2e-9], intercept=True
    )
    np.testing.assert_allclose(batch.x[:, 1], batch.x[:, 0], atol=1e-6)
    np.testing.assert_allclose(
        batch.intercept - [0.0, 1e5, 0.0], batch.intercept[0] * np.array([1, 1, 1e-9]), atol=1e-6
    )
    last = list(zip(range(30), si.iterate(A, B + 1e5, si.L1(2.0), intercept=True), strict=False))[-1][1]
    assert last.intercept == pytest.approx(1e5, rel=1e-3)
    assert si.certify(A, B + 1e5, si.L1(2.0), np.zeros(60), intercept=1e5).relative > 0.01


def test_constant_data_are_the_constant():
    b = np.full(A.shape[0], 0.1)
    for penalty in (si.L1(), si.L0(), si.L2(), si.GroupL1(groups=np.arange(60) // 2)):
        result = si.solve(A, b, penalty, intercept=True)
        assert result.success
        assert result.support.size == 0
        assert result.lam > 0
        assert result.intercept == pytest.approx(0.1, rel=1e-15)


@pytest.mark.parametrize("exponent", [-150, 150])
def test_scales_out_of_all_range(exponent):
    scale = 10.0**exponent
    result = si.solve(A * scale, B, si.L1(2.0 * scale), intercept=True, tol=1e-10)
    plain = si.solve(A, B, si.L1(2.0), intercept=True, tol=1e-10)
    assert result.success
    np.testing.assert_allclose(result.x * scale, plain.x, atol=1e-6)
    assert result.intercept == pytest.approx(plain.intercept, rel=1e-6)


def test_callback_and_start_have_the_length_of_x():
    seen = []
    x0 = np.ones(60)
    si.solve(A, B, si.L1(2.0), intercept=True, x0=x0, solver=si.FISTA(), callback=seen.append, max_iter=50)
    assert seen
    assert all(progress.x.shape == (60,) for progress in seen)


def test_no_column_is_added_without_being_asked_for():
    assert si.solve(A, B, si.L1(2.0)).intercept is None
    assert si.solve_many(A, B[:, None], si.L1(2.0)).intercept is None


@pytest.mark.parametrize("matrix", [A, SPARSE], ids=["dense", "csc"])
@pytest.mark.parametrize("count", [1, 2])
def test_bordered_matrix_is_the_stacked_one(matrix, count):
    inner = si.as_operator(matrix)
    whole = BorderedMatrix(inner, count)
    dense = matrix.toarray() if sparse.issparse(matrix) else matrix
    stacked = np.hstack([dense, np.ones((40, 1)), -np.ones((40, 1))])[:, : 60 + count]
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(60 + count), rng.standard_normal(40)
    index = rng.permutation(60 + count)[:20]
    index[3] = 60
    np.testing.assert_allclose(whole.matvec(x), stacked @ x)
    np.testing.assert_allclose(whole.rmatvec(y), stacked.T @ y)
    np.testing.assert_allclose(whole.matmat(np.stack([x, -x], 1)), stacked @ np.stack([x, -x], 1))
    np.testing.assert_allclose(whole.rmatmat(np.stack([y, -y], 1)), stacked.T @ np.stack([y, -y], 1))
    np.testing.assert_allclose(whole.columns(index), stacked[:, index])
    np.testing.assert_allclose(whole.take(index), stacked[:, index].T)
    picked = whole.picked(index)
    np.testing.assert_allclose(picked.toarray() if sparse.issparse(picked) else picked, stacked[:, index])
    np.testing.assert_allclose(whole.gram(index), stacked[:, index].T @ stacked[:, index])
    np.testing.assert_allclose(whole.gram(), stacked.T @ stacked)
    np.testing.assert_allclose(whole.column_norms(), np.linalg.norm(stacked, axis=0))
    np.testing.assert_allclose(whole.rows(np.array([1, 4])).columns(index), stacked[[1, 4]][:, index])
    np.testing.assert_allclose(whole.scaled(-3).columns(index), stacked[:, index] / 8)
    filled = (stacked[:, index] != 0).sum() if sparse.issparse(matrix) else 40 * index.size
    assert whole.entries(index) == filled
    assert np.shares_memory(whole.layout.dense if not whole.sparse else whole.layout.data, _memory(inner))


class Own(si.Penalty):
    """A penalty of the user's."""

    def value(self, x):
        return 0.0

    def prox(self, v, step):
        return v


def test_a_number_of_nonzeros_does_not_count_the_constant():
    result = si.solve(A, B, si.L0Ball(3), intercept=True)
    plain = si.solve(A - A.mean(axis=0), B - B.mean(), si.L0Ball(3))
    assert result.objective == pytest.approx(plain.objective, rel=1e-9)
    np.testing.assert_array_equal(result.support, plain.support)
    path = si.solve_path(A, B, si.L0Ball(3), intercept=True)
    assert list(path.n_nonzero) == [0, 1, 2, 3]
    assert path[0].intercept == pytest.approx(B.mean())


def _memory(inner):
    return inner.layout.data if inner.sparse else inner.array


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: si.solve(A, B, si.L1(1.0), intercept="yes"), "intercept is 'yes'"),
        (lambda: si.solve(A, B, Own(), intercept=True), "one level per coefficient"),
        (lambda: si.certify(A, B, si.L1(1.0), np.zeros(60), intercept=np.inf), "one finite number"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_lam_max_of_l0_counts_what_the_constant_leaves_of_a_column():
    centred = A - A.mean(axis=0)
    expected = ((centred.T @ (B - B.mean())) ** 2 / (2 * (centred**2).sum(axis=0))).max()
    assert si.lam_max(A, B, si.L0(), intercept=True) == pytest.approx(expected, rel=1e-9)
    with_copy = np.hstack([A, np.full((40, 1), 3.0)])
    assert si.lam_max(with_copy, B, si.L0(), intercept=True) == pytest.approx(expected, rel=1e-9)
