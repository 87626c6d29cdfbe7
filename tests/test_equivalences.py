"""Problems that are the same problem must have the same answer, and those that are not must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseinv as si
from cases import Products, generator
from reference import enumerate_l0, plain

Array = np.ndarray[Any, Any]

TIGHT = 1e-13  # relative gap asked for where two objectives must agree to 1e-12


def draw(k: int, m: int = 25, n: int = 18, *, is_complex: bool = False) -> tuple[Array, Array, Array]:
    """Return A, b and levels spread over two decades, at about a tenth of lam_max."""
    rng = generator(20, k)
    A = rng.standard_normal((m, n))
    b = A[:, ::4] @ rng.standard_normal(A[:, ::4].shape[1]) + 0.5 * rng.standard_normal(m)
    if is_complex:
        A = A + 1j * rng.standard_normal((m, n))
        b = b + 1j * rng.standard_normal(m)
    lam = 0.1 * float(np.abs(A.conj().T @ b).max()) * 10.0 ** rng.uniform(-1, 1, n)
    return A, b, lam


def objective(A: Array, b: Array, lam: Array, x: Array, power: int) -> float:
    r = A @ x - b
    size = np.abs(x)
    return 0.5 * float(np.vdot(r, r).real) + float((lam * size**power / power).sum())


# --- one lambda per coefficient against one lambda and rescaled columns -------------------------------


@pytest.mark.parametrize("k", range(60))
@pytest.mark.parametrize("power", [1, 2])
def test_weighted_is_rescaled(k: int, power: int) -> None:
    """L1: columns over lam; L2: columns over sqrt(lam)."""
    m, n = [(25, 18), (12, 30)][k % 2]
    A, b, lam = draw(k, m, n, is_complex=k % 5 == 4)
    penalty = si.L1(lam) if power == 1 else si.L2(lam)
    direct = si.solve(A, b, penalty, tol=TIGHT)
    one = si.rescale_problem(A, penalty)
    assert one.penalty.lam == 1.0
    np.testing.assert_allclose(one.A, A / (lam if power == 1 else np.sqrt(lam)), rtol=1e-15)
    rescaled = si.solve(one.A, b, one.penalty, tol=TIGHT)
    assert direct.success
    assert rescaled.success
    x = one.recover(rescaled.x)
    first = objective(A, b, lam, direct.x, power)
    second = objective(A, b, lam, x, power)
    assert second == pytest.approx(first, rel=1e-12)
    assert rescaled.objective == pytest.approx(direct.objective, rel=1e-12)
    np.testing.assert_allclose(x, direct.x, atol=1e-5 * np.abs(direct.x).max())


def test_wrong_exponent_is_another_problem() -> None:
    """sqrt(lam) is right for L2 only: for L1 it misses the minimum by percents."""
    errors = []
    for k in range(50):
        A, b, lam = draw(k)
        best = si.solve(A, b, si.L1(lam), tol=1e-10).objective
        y = si.solve(A / np.sqrt(lam), b, si.L1(1.0), tol=1e-10).x
        errors.append(objective(A, b, lam, y / np.sqrt(lam), 1) / best - 1.0)
    assert min(errors) > 0.0
    assert np.median(errors) > 1e-2
    assert max(errors) > 1e-1


@pytest.mark.parametrize("container", ["csc", "operator", "float32"])
def test_rescaling_keeps_the_container(container: str) -> None:
    from scipy.sparse import csc_array, issparse

    A, b, lam = draw(1)
    A = A * (generator(21).random(A.shape) < 0.5)
    passed = {"csc": csc_array(A), "operator": Products(A), "float32": A.astype(np.float32)}[container]
    one = si.rescale_problem(passed, si.L1(lam))
    assert issparse(one.A) == (container == "csc")
    first = si.solve(passed, b, si.L1(lam), tol=1e-9)
    second = si.solve(one.A, b, one.penalty, tol=1e-9)
    assert first.success
    assert second.success
    assert second.objective == pytest.approx(first.objective, rel=1e-8)


def test_rescaling_keeps_signs_and_spreads_groups() -> None:
    A, b, _ = draw(2)
    labels = np.arange(A.shape[1]) % 3
    penalty = si.L1([0.5, 1.0, 4.0], groups=labels, weights=np.linspace(1, 2, A.shape[1]), nonnegative=True)
    one = si.rescale_problem(A, penalty)
    assert one.penalty.nonnegative
    first = si.solve(A, b, penalty, tol=TIGHT)
    second = si.solve(one.A, b, one.penalty, tol=TIGHT)
    assert second.objective == pytest.approx(first.objective, rel=1e-12)
    assert (one.recover(second.x) >= 0).all()


@pytest.mark.parametrize("k", range(20))
def test_weighted_groups_and_elastic_nets_are_rescaled(k: int) -> None:
    """GroupL1: a group's columns over lam_g; an elastic net where l2_i = c l1_i^2: columns over l1_i."""
    A, b, lam = draw(k, is_complex=k % 5 == 4)
    n = A.shape[1]
    labels = np.arange(n) // 3
    w = lam / lam.mean()
    penalties = [
        si.GroupL1(lam[:6], groups=labels, weights=np.linspace(1, 2, 6)),
        si.ElasticNet(0.3 * lam.mean(), l1_ratio=0.7, weights=w, ridge_weights=w**2),
        si.L1(lam[:6], groups=labels),
        si.L2(lam[:6], groups=labels),
    ]
    for penalty in penalties:
        direct = si.solve(A, b, penalty, tol=TIGHT)
        one = si.rescale_problem(A, penalty)
        rescaled = si.solve(one.A, b, one.penalty, tol=TIGHT)
        assert np.ndim(one.penalty.lam) == 0
        assert one.penalty.weights is None
        assert rescaled.objective == pytest.approx(direct.objective, rel=1e-12)
        x = one.recover(rescaled.x)
        np.testing.assert_allclose(x, direct.x, atol=1e-5 * np.abs(direct.x).max())
        r = A @ x - b
        value = 0.5 * float(np.vdot(r, r).real) + penalty.value(x)
        assert value == pytest.approx(direct.objective, rel=1e-12)


def test_no_factor_suits_an_elastic_net_with_many_levels() -> None:
    """Neither 1/lam nor 1/sqrt(lam) gives the minimum where l1_i and l2_i are both proportional to lam_i."""
    for k in range(10):
        A, b, lam = draw(k)
        best = si.solve(A, b, si.ElasticNet(lam), tol=1e-12).objective
        for factors in (1.0 / lam, 1.0 / np.sqrt(lam)):
            y = si.solve(A * factors, b, si.ElasticNet(1.0), tol=1e-12).x
            r = A @ (factors * y) - b
            assert 0.5 * float(r @ r) + si.ElasticNet(lam).value(factors * y) > best * (1 + 1e-4)


@pytest.mark.parametrize(
    ("penalty", "words"),
    [
        (si.L0(1.0), "L0 counts coefficients whatever their size"),
        (si.L0Ball(2), "penalty is L0Ball"),
        (si.ElasticNet([1.0, 2.0, 2.0]), "but l2 / l1\\^2 is 1 for coefficient 1"),
        (si.GroupL1([1.0, 0.0], groups=[0, 1, 1]), "lam is 0.0 for coefficient 1"),
        (si.L1([1.0, 0.0, 2.0]), "lam is 0.0 for coefficient 1"),
        (si.L2([1.0, 3.0, np.inf]), "lam is inf for coefficient 2"),
        (si.L1(0.0), "lam is 0.0 for coefficient 0"),
    ],
)
def test_rescaling_refuses(penalty: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        si.rescale_problem(np.eye(3), penalty)


# --- L0 knows no scale --------------------------------------------------------------------------------


def test_l0_weights_are_no_rescaling() -> None:
    """The global minima of weighted L0 and of L0 on rescaled columns have other supports, often."""
    other, kept = 0, 0
    trials = 60
    for k in range(trials):
        rng = generator(22, k)
        A, b = rng.standard_normal((12, 8)), rng.standard_normal(12)
        lam = 0.1 * float(b @ b) * 10.0 ** rng.uniform(-1, 1, 8)
        weighted = np.flatnonzero(enumerate_l0(plain(A, b, l0=lam))[1])
        mean = float(np.exp(np.log(lam).mean()))
        rescaled = np.flatnonzero(enumerate_l0(plain(A / np.sqrt(lam / mean), b, l0=mean))[1])
        other += not np.array_equal(weighted, rescaled)
        # while columns of any length leave the weighted problem as it is
        d = 10.0 ** rng.uniform(-1.5, 1.5, 8)
        value, x = enumerate_l0(plain(A * d, b, l0=lam))
        kept += np.array_equal(np.flatnonzero(x), weighted)
        assert value == pytest.approx(enumerate_l0(plain(A, b, l0=lam))[0], rel=1e-12)
    assert other >= 0.4 * trials, f"supports differ in {other} of {trials}"
    assert kept == trials


@pytest.mark.parametrize("k", range(20))
def test_l0_descent_does_not_see_column_lengths(k: int) -> None:
    """Coordinate descent takes the same way whatever the lengths of the columns."""
    rng = generator(23, k)
    A, b = rng.standard_normal((15, 25)), rng.standard_normal(15)
    lam = 0.02 * float(b @ b) * 10.0 ** rng.uniform(-1, 1, 25)
    d = 2.0 ** rng.integers(-5, 6, 25)
    first = si.solve(A, b, si.L0(lam), solver=si.CoordinateDescent())
    second = si.solve(A * d, b, si.L0(lam), solver=si.CoordinateDescent())
    np.testing.assert_array_equal(second.support, first.support)
    np.testing.assert_allclose(second.x * d, first.x, rtol=1e-12)


# --- containers and forms of the same method ----------------------------------------------------------


PENALTIES = {
    "L1": lambda lam: si.L1(lam),
    "L2": lambda lam: si.L2(lam),
    "ElasticNet": lambda lam: si.ElasticNet(lam, l1_ratio=0.6),
    "GroupL1": lambda lam: si.GroupL1(3 * float(lam.mean()), groups=np.arange(lam.size) // 3),
    "nonnegative": lambda lam: si.L1(lam, nonnegative=True),
    "L0": lambda lam: si.L0(lam),
}


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("k", range(3))
def test_dense_csc_and_operator_agree(name: str, is_complex: bool, k: int) -> None:
    from scipy.sparse import csc_array, csr_matrix
    from scipy.sparse.linalg import aslinearoperator

    if name == "nonnegative" and is_complex:
        return
    A, b, lam = draw(100 + k, is_complex=is_complex)
    A = A * (generator(24, k).random(A.shape) < 0.6)
    penalty = PENALTIES[name](lam)
    forms = [A, np.asfortranarray(A), csc_array(A), csr_matrix(A), aslinearoperator(A), Products(A)]
    solver: Any = si.FISTA()
    if name == "L0":  # one step length, because another one may lead to another local minimum
        solver = si.ISTA(norm=1.01 * float(np.linalg.norm(A, 2)))
    results = [si.solve(form, b, penalty, solver=solver, tol=1e-11, max_iter=20000) for form in forms]
    for result in results:
        assert result.success, result
        assert result.objective == pytest.approx(results[0].objective, rel=1e-10)
        np.testing.assert_allclose(result.x, results[0].x, atol=2e-5 * np.abs(results[0].x).max())
        np.testing.assert_array_equal(result.support, results[0].support)
    if name != "L0":
        chosen = si.solve(A, b, penalty, tol=1e-11)
        assert chosen.objective == pytest.approx(results[0].objective, rel=1e-10)


@pytest.mark.parametrize("name", ["L1", "L2", "ElasticNet", "nonnegative"])
@pytest.mark.parametrize("k", range(6))
def test_descent_by_columns_and_by_gram(name: str, k: int) -> None:
    A, b, lam = draw(200 + k, 60, 15, is_complex=k % 3 == 2 and name != "nonnegative")
    penalty = PENALTIES[name](lam)
    columns = si.solve(A, b, penalty, solver=si.CoordinateDescent(gram=False), tol=TIGHT)
    gram = si.solve(A, b, penalty, solver=si.CoordinateDescent(gram=True), tol=TIGHT)
    assert columns.success
    assert gram.success
    assert gram.objective == pytest.approx(columns.objective, rel=1e-12)
    np.testing.assert_array_equal(gram.support, columns.support)
    np.testing.assert_allclose(gram.x, columns.x, atol=1e-6 * np.abs(columns.x).max())


@pytest.mark.parametrize("k", range(10))
def test_l0_descent_by_columns_and_by_gram(k: int) -> None:
    A, b, lam = draw(250 + k, 60, 15)
    results = [
        si.solve(A, b, si.L0(lam), solver=si.CoordinateDescent(gram=gram), tol=1e-12)
        for gram in (False, True)
    ]
    for result in results:
        assert result.success
        assert result.certificate.kind is si.Kind.COORDINATE_MINIMUM


@pytest.mark.parametrize("name", ["L1", "ElasticNet", "GroupL1", "nonnegative"])
@pytest.mark.parametrize("k", range(4))
def test_ista_fista_and_monotone_fista_agree(name: str, k: int) -> None:
    A, b, lam = draw(300 + k, 40, 12)
    penalty = PENALTIES[name](lam)
    results = [
        si.solve(A, b, penalty, solver=solver, tol=1e-12, max_iter=20000)
        for solver in (si.ISTA(), si.FISTA(), si.FISTA(monotone=True), si.FISTA(norm=np.linalg.norm(A, 2)))
    ]
    for result in results:
        assert result.success
        assert result.objective == pytest.approx(results[0].objective, rel=1e-11)


@pytest.mark.parametrize("solver", [si.ISTA(), si.FISTA(monotone=True), si.CoordinateDescent()])
def test_descent_methods_never_rise(solver: Any) -> None:
    for k in range(5):
        A, b, lam = draw(400 + k, 15, 30)
        objectives = si.solve(A, b, si.L1(lam), solver=solver, tol=0.0, max_iter=200).history.objective
        assert (np.diff(objectives) <= 1e-14 * objectives[:-1]).all()


# --- warm starts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize(
    "solver", ["auto", "FISTA", "BarzilaiBorwein", "ISTA", "CoordinateDescent", "IRLS", "IRL1"]
)
def test_warm_starts(name: str, solver: str) -> None:
    """From the answer nothing is lost, from a neighbour it is never worse than a cold start."""
    A, b, lam = draw(500)
    penalty = PENALTIES[name](lam)
    method: Any = solver if solver == "auto" else getattr(si, solver)()
    refused = {("L0", "FISTA"), ("L0", "BarzilaiBorwein"), ("nonnegative", "IRLS"), ("GroupL1", "IRL1")}
    if (name, solver) in refused:
        return
    cold = si.solve(A, b, penalty, solver=method, tol=1e-10, max_iter=20000)
    again = si.solve(A, b, penalty, solver=method, tol=1e-10, x0=cold.x, max_iter=20000)
    assert cold.success
    assert again.success
    assert again.objective <= cold.objective * (1 + 1e-10)
    convex = name != "L0"
    if convex and solver != "IRLS":
        assert again.n_iter <= cold.n_iter
    if convex:
        near = si.solve(A, b, penalty, solver=method, tol=1e-10, x0=1.01 * cold.x, max_iter=20000)
        assert near.success
        assert near.objective == pytest.approx(cold.objective, rel=1e-9)
    wild = si.solve(A, b, penalty, solver=method, tol=1e-10, x0=np.full(A.shape[1], 1e3), max_iter=20000)
    assert wild.success
    if convex:
        assert wild.objective == pytest.approx(cold.objective, rel=1e-9)


def test_x0_is_not_written_to() -> None:
    A, b, lam = draw(501)
    x0 = np.ones(A.shape[1])
    x0.flags.writeable = False
    for solver in (si.FISTA(), si.ISTA(), si.CoordinateDescent(), si.IRLS(), si.IRL1()):
        si.solve(A, b, si.L1(lam), solver=solver, x0=x0)
    assert (x0 == 1.0).all()


# --- symmetries ---------------------------------------------------------------------------------------


SOLVERS = {"auto": "auto", "FISTA": si.FISTA(), "BarzilaiBorwein": si.BarzilaiBorwein(), "IRLS": si.IRLS()}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["L1", "L2", "ElasticNet"])
@pytest.mark.parametrize("k", range(3))
def test_symmetries(solver: str, name: str, k: int) -> None:
    """Permuted and reflected columns, rotated data, and repeated rows leave the problem as it is."""
    A, b, lam = draw(600 + k)
    rng = generator(25, k)
    m, n = A.shape
    method = SOLVERS[solver]

    def solve(matrix: Array, data: Array, level: Array) -> Any:
        result = si.solve(matrix, data, PENALTIES[name](level), solver=method, tol=1e-11, max_iter=20000)
        assert result.success, result
        return result

    base = solve(A, b, lam)
    close = {"atol": 2e-5 * float(np.abs(base.x).max())}
    order = rng.permutation(n)
    permuted = solve(A[:, order], b, lam[order])
    assert permuted.objective == pytest.approx(base.objective, rel=1e-10)
    np.testing.assert_allclose(permuted.x, base.x[order], **close)
    sign = rng.choice([-1.0, 1.0], n)
    np.testing.assert_allclose(solve(A * sign, b, lam).x * sign, base.x, **close)
    np.testing.assert_allclose(solve(A, -b, lam).x, -base.x, **close)
    rows = rng.permutation(m)
    np.testing.assert_allclose(solve(A[rows], b[rows], lam).x, base.x, **close)
    q, _ = np.linalg.qr(rng.standard_normal((m, m)))
    np.testing.assert_allclose(solve(q @ A, q @ b, lam).x, base.x, **close)
    # a row twice, each over sqrt(2), is the row once
    times = rng.integers(1, 4, m)
    repeated = np.repeat(np.arange(m), times)
    root = np.sqrt(times[repeated])
    doubled = solve(A[repeated] / root[:, None], b[repeated] / root, lam)
    assert doubled.objective == pytest.approx(base.objective, rel=1e-10)
    np.testing.assert_allclose(doubled.x, base.x, **close)


def test_duplicated_columns_share_the_coefficient() -> None:
    """Two copies of a column do for L1 what one does: the minimum and the sum of the two are kept."""
    for k in range(10):
        A, b, _ = draw(700 + k)
        lam = 0.1 * si.lam_max(A, b, si.L1())
        one = si.solve(A, b, si.L1(lam), tol=TIGHT)
        two = si.solve(np.hstack([A, A[:, :5]]), b, si.L1(lam), tol=TIGHT)
        assert two.objective == pytest.approx(one.objective, rel=1e-12)
        merged = two.x[: A.shape[1]].copy()
        merged[:5] += two.x[A.shape[1] :]
        np.testing.assert_allclose(merged, one.x, atol=1e-5 * np.abs(one.x).max())


def test_elastic_net_is_an_augmented_lasso() -> None:
    for k in range(10):
        A, b, _ = draw(800 + k)
        n = A.shape[1]
        lam, ratio = 0.2 * si.lam_max(A, b, si.L1()), 0.7
        net = si.solve(A, b, si.ElasticNet(lam, l1_ratio=ratio), tol=TIGHT)
        stacked = np.vstack([A, np.sqrt((1 - ratio) * lam) * np.eye(n)])
        lasso = si.solve(stacked, np.concatenate([b, np.zeros(n)]), si.L1(ratio * lam), tol=TIGHT)
        assert net.objective == pytest.approx(lasso.objective, rel=1e-12)
        np.testing.assert_allclose(net.x, lasso.x, atol=1e-6 * np.abs(net.x).max())


@pytest.mark.parametrize("k", range(12))
def test_complex_problem_is_a_real_group_problem(k: int) -> None:
    """Moduli are norms of pairs: (A, b) complex is [[Re, -Im], [Im, Re]] with groups of two."""
    A, b, lam = draw(900 + k, 14, 20, is_complex=True)
    if k % 3 == 1:
        A = A.real
    if k % 3 == 2:
        b = b.real
    n = A.shape[1]
    lam[0], lam[3] = 0.0, np.inf
    direct = si.solve(A, b, si.L1(lam), tol=TIGHT)
    real = np.block([[A.real, -np.imag(A)], [np.imag(A), A.real]])
    data = np.concatenate([b.real, np.imag(b)])
    pairs = si.solve(real, data, si.GroupL1(lam, groups=np.tile(np.arange(n), 2)), tol=TIGHT, max_iter=50000)
    assert direct.success
    assert pairs.success
    assert pairs.objective == pytest.approx(direct.objective, rel=1e-12)
    np.testing.assert_allclose(pairs.x[:n] + 1j * pairs.x[n:], direct.x, atol=1e-5 * np.abs(direct.x).max())
    # and the groups of one are L1 itself
    single = si.solve(A, b, si.GroupL1(lam, groups=np.arange(n)), tol=TIGHT)
    assert single.objective == pytest.approx(direct.objective, rel=1e-12)


def test_intercept_is_centring() -> None:
    """An unpenalised column of ones does what subtracting means does."""
    for k in range(5):
        A, b, lam = draw(1000 + k)
        b = b + 5.0
        whole = si.solve(np.hstack([A, np.ones((A.shape[0], 1))]), b, si.L1(np.append(lam, 0.0)), tol=TIGHT)
        centred = si.solve(A - A.mean(axis=0), b - b.mean(), si.L1(lam), tol=TIGHT)
        assert whole.objective == pytest.approx(centred.objective, rel=1e-12)
        np.testing.assert_allclose(whole.x[:-1], centred.x, atol=1e-6 * np.abs(centred.x).max())


def test_excluded_is_absent() -> None:
    """lam = inf is the problem without the column, for every penalty."""
    A, b, lam = draw(1100)
    lam[[2, 7]] = np.inf
    keep = np.isfinite(lam)
    for make in (si.L1, si.L2, si.L0, lambda level: si.ElasticNet(level, l1_ratio=0.5)):
        whole = si.solve(A, b, make(lam), tol=1e-12)
        part = si.solve(A[:, keep], b, make(lam[keep]), tol=1e-12)
        assert whole.objective == pytest.approx(part.objective, rel=1e-11)
        assert (whole.x[~keep] == 0).all()


def test_penalties_that_coincide() -> None:
    """ElasticNet(l1_ratio=1) is L1; weights are levels; groups of one label are one level."""
    A, b, lam = draw(1200)
    n = lam.size

    def same(first: Any, second: Any) -> None:
        np.testing.assert_array_equal(si.solve(A, b, first).x, si.solve(A, b, second).x)

    same(si.L1(lam), si.ElasticNet(lam, l1_ratio=1.0))
    same(si.L1(2.0), si.L1(np.full(n, 2.0)))
    same(si.L1(lam), si.L1(1.0, weights=lam))
    same(si.L1(lam), si.L1(lam, groups=np.arange(n)))
    same(si.L2(3.0), si.L2([3.0], groups=np.zeros(n, dtype=int)))
    same(si.L0(3.0), si.L0([3.0], groups=["all"] * n))
