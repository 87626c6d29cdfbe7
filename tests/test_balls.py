"""L1Ball: projection, value and gap in plain NumPy, solutions against cvxpy."""

import cvxpy as cp
import numpy as np
import pytest
from scipy import sparse

import cases
import sparseinv as si

SOLVERS = {
    "auto": lambda: "auto", "FISTA": si.FISTA, "ISTA": si.ISTA, "BarzilaiBorwein": si.BarzilaiBorwein,
}  # fmt: skip


def projected(v, w, radius):
    """Bisect the level by which moduli shrink."""
    size = np.abs(v)
    if (w * size).sum() <= radius:
        return v
    low, high = 0.0, (size / w).max()
    for _ in range(200):
        mid = 0.5 * (low + high)
        low, high = (mid, high) if (w * np.maximum(size - mid * w, 0)).sum() > radius else (low, mid)
    return v * np.maximum(size - high * w, 0) / size


@pytest.mark.parametrize("number", ["real", "complex"])
def test_projection(number):
    rng = cases.generator(81)
    for k in range(60):
        v = rng.standard_normal(30) * 10.0 ** rng.uniform(-3, 3, 30)
        v = v * np.exp(2j * np.pi * rng.random(30)) if number == "complex" else v
        w = 10.0 ** rng.uniform(-1, 1, 30) if k % 2 else np.ones(30)
        radius = 10.0 ** rng.uniform(-3, 4)
        ball = si.L1Ball(radius, weights=w)
        x = ball.prox(v, 0.3)
        np.testing.assert_allclose(x, projected(v, w, radius), atol=1e-12 * np.abs(v).max())
        assert (w * np.abs(x)).sum() <= radius * (1 + 1e-14)
        assert ball.value(x) == 0.0
        # the normal to the set at x: <v - x, y - x> <= 0 for all y in it
        y = rng.standard_normal((200, 30))
        y = y * (radius / (w * np.abs(y)).sum(axis=1))[:, None]
        assert ((y - x) @ (v - x).conj()).real.max() <= 1e-9 * radius * np.abs(v).max() / w.min()


def test_projection_at_the_ends():
    v = np.array([3.0, -3.0, 1.0])
    np.testing.assert_array_equal(si.L1Ball(0.0).prox(v, 1.0), [0, 0, 0])
    np.testing.assert_array_equal(si.L1Ball(7.0).prox(v, 1.0), v)
    np.testing.assert_allclose(si.L1Ball(4.0).prox(v, 1.0), [2, -2, 0], atol=1e-15)
    np.testing.assert_allclose(si.L1Ball(2.0, nonnegative=True).prox(v, 1.0), [2, 0, 0])
    tied = si.L1Ball(2.0, weights=[0.0, 1.0], groups=["a", "b", "b"])
    np.testing.assert_allclose(tied.prox(v, 1.0), [3, -2, 0])
    np.testing.assert_allclose(si.L1Ball(2.0, weights=[np.inf, 1.0, 1.0]).prox(v, 1.0), [0, -2, 0])
    assert si.L1Ball(2.0).value(np.array([1.0, 1.1])) == np.inf
    assert si.L1Ball(2.0, weights=[np.inf, 1.0]).value(np.array([1e-9, 0.0])) == np.inf
    assert si.L1Ball(3.0).conjugate(np.array([0.5, -2.0])) == 6.0
    assert si.L1Ball(3.0, weights=[0.0, 1.0]).conjugate(np.array([0.5, -2.0])) == np.inf


def problem(key, m, n, number="real"):
    rng = cases.generator(82, key)
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = 0.8 * A[:, j - 1] + 0.6 * A[:, j]
    if number == "complex":
        A = A * np.exp(2j * np.pi * rng.random(A.shape))
    x = np.where(rng.random(n) < 0.2, rng.standard_normal(n), 0.0)
    return A, A @ x + 0.1 * rng.standard_normal(m), float(np.abs(x).sum())


def plain_gap(A, b, radius, w, x, nonnegative=False):
    """The gap from the scaled residual, where every weight is positive and finite."""
    r = A @ x - b
    c = -(A.conj().T @ r)
    steep = ((np.maximum(c, 0) if nonnegative else np.abs(c)) / w).max()
    s = max(np.vdot(b, -r).real - radius * steep, 0.0) / np.vdot(r, r).real
    dual = s * np.vdot(b, -r).real - 0.5 * s**2 * np.vdot(r, r).real - radius * s * steep
    return 0.5 * np.vdot(r, r).real - dual


def truth(A, b, radius, w, nonnegative=False):
    x = cp.Variable(A.shape[1], complex=np.iscomplexobj(A), nonneg=nonnegative)
    live = np.isfinite(w)
    bounds = [cp.norm1(cp.multiply(w[live], x[live])) <= radius]
    bounds += [x[~live] == 0] if not live.all() else []
    cost = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ x - b)), bounds)
    fine = 1e-9 if np.iscomplexobj(A) else 1e-12
    cost.solve(solver=cp.CLARABEL, tol_gap_abs=fine, tol_gap_rel=fine, tol_feas=fine)
    return float(cost.value)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("m", "n"), [(20, 40), (40, 20)])
@pytest.mark.parametrize("variant", ["plain", "weights", "nonnegative", "complex"])
def test_solutions(variant, m, n, solver):
    A, b, size = problem(m + len(variant), m, n, variant)
    w = np.ones(n) if variant != "weights" else 10.0 ** cases.generator(83).uniform(-0.5, 0.5, n)
    forced = variant == "nonnegative"
    for share in (0.2, 0.8):
        ball = si.L1Ball(share * size, weights=w if variant == "weights" else None, nonnegative=forced)
        result = si.solve(A, b, ball, solver=SOLVERS[solver](), tol=1e-8)
        assert result.success or (solver == "ISTA" and result.status is si.Status.MAX_ITER)
        assert result.certificate.kind is si.Kind.DUALITY_GAP
        assert (w * np.abs(result.x)).sum() <= share * size * (1 + 1e-13)
        assert not forced or result.x.min() >= 0
        tol = max(result.certificate.relative, 1e-8) * result.certificate.scale
        assert plain_gap(A, b, share * size, w, result.x, forced) <= 1.01 * tol
        best = truth(A, b, share * size, w, forced)
        assert abs(result.objective - best) <= 2 * tol
        assert result.certificate.value >= result.objective - best - 1e-9 * result.certificate.scale


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.5, 3.0, 100.0])
def test_radius_from_nothing_to_inactive(share):
    for m, n in ((20, 40), (40, 20)):
        A, b, size = problem(7, m, n)
        result = si.solve(A, b, si.L1Ball(share * size))
        assert result.success
        assert np.abs(result.x).sum() <= share * size * (1 + 1e-13)
        if share == 0.0:
            assert not result.x.any()
        if share == 100.0 and m > n:
            fit = np.linalg.lstsq(A, b, rcond=None)[0]
            assert result.objective <= 0.5 * np.sum((A @ fit - b) ** 2) + 1e-6 * result.certificate.scale


def test_free_and_excluded_coefficients():
    A, b, size = problem(9, 25, 40)
    w = np.ones(40)
    w[[0, 7]] = 0.0
    w[[3, 9]] = np.inf
    for solver in SOLVERS.values():
        result = si.solve(A, b, si.L1Ball(0.4 * size, weights=w), solver=solver(), tol=1e-8)
        assert result.success
        assert not result.x[[3, 9]].any()
        assert abs(result.objective - truth(A, b, 0.4 * size, w)) <= 2e-8 * result.certificate.scale


def test_the_solution_is_that_of_l1():
    A, b, _ = problem(10, 30, 60)
    lam = 0.1 * si.lam_max(A, b, si.L1())
    expected = si.solve(A, b, si.L1(lam), tol=1e-12)
    result = si.solve(A, b, si.L1Ball(float(np.abs(expected.x).sum())), tol=1e-12)
    np.testing.assert_allclose(result.x, expected.x, atol=1e-9)


def test_containers_scales_and_starts():
    A, b, size = problem(11, 30, 50)
    A[np.abs(A) < 0.3] = 0.0
    ball = si.L1Ball(0.5 * size)
    expected = si.solve(A, b, ball, tol=1e-10)
    for held in (sparse.csc_array(A), sparse.csr_array(A), cases.Products(A)):
        result = si.solve(held, b, ball, tol=1e-10)
        assert result.success
        np.testing.assert_allclose(result.x, expected.x, atol=1e-4)
    s = 2.0**-300
    np.testing.assert_array_equal(si.solve(A, s * b, si.L1Ball(s * 0.5 * size), tol=1e-10).x, s * expected.x)
    scaled = si.solve(1e70 * A, 1e-70 * b, si.L1Ball(0.5 * size * 1e-140), tol=1e-10)
    np.testing.assert_allclose(scaled.x * 1e140, expected.x, atol=1e-7)
    far = si.solve(A, b, ball, x0=1e3 * np.ones(50), tol=1e-10)
    np.testing.assert_allclose(far.x, expected.x, atol=1e-6)
    assert not si.solve(A, np.zeros(30), ball).x.any()
    single = si.solve(A.astype(np.float32), b.astype(np.float32), ball, tol=1e-5)
    assert single.x.dtype == np.float32
    assert single.success
    assert np.abs(single.x.astype(float)).sum() <= 0.5 * size * (1 + 1e-13)


def test_certify_judges_any_point():
    A, b, size = problem(12, 30, 50)
    ball = si.L1Ball(0.5 * size)
    best = si.solve(A, b, ball, tol=1e-12).objective
    x = ball.prox(cases.generator(84).standard_normal(50), 1.0)
    certificate = si.certify(A, b, ball, x)
    assert certificate.objective - best <= certificate.value <= certificate.objective
    assert si.certify(A, b, ball, 2 * size * np.ones(50)).value == np.inf


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: si.L1Ball(-1.0), ValueError, "radius is -1.0, but it must be a finite number >= 0"),
        (lambda: si.L1Ball(np.inf), ValueError, "radius is inf"),
        (lambda: si.L1Ball("1"), TypeError, "radius is '1'"),
        (lambda: si.L1Ball(1.0, weights=[-1.0]), ValueError, "weights"),
        (lambda: si.L1Ball(1.0, nonnegative=1), TypeError, "nonnegative is 1"),
        (lambda: si.lam_max(np.eye(2), np.ones(2), si.L1Ball(1.0)), TypeError, "has no level"),
        (lambda: si.solve_path(np.eye(2), np.ones(2), si.L1Ball(1.0)), TypeError, "has no level"),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.L1Ball(1.0), solver=si.CoordinateDescent()),
            ValueError,
            "does not know the penalty",
        ),
        (
            lambda: si.solve(1j * np.eye(2), np.ones(2), si.L1Ball(1.0, nonnegative=True)),
            ValueError,
            "nonnegative=True needs real data",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
