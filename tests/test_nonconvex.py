"""Lp, LogSum, MCP and SCAD: values and proximal maps by brute force, levels, scales, solvers."""

import numpy as np
import pytest
from scipy import sparse

import cases
import sparseinv as si


def plain_value(penalty, size):
    """R of one modulus, written down from the definitions; SCAD by integrating its slope."""
    size, lam = np.asarray(size, dtype=float), penalty.lam
    if isinstance(penalty, si.Lp):
        return lam * size**penalty.p
    if isinstance(penalty, si.LogSum):
        return lam * np.log1p(size / penalty.eps)
    if isinstance(penalty, si.MCP):
        bent = lam * size - size**2 / (2.0 * penalty.gamma)
        return np.where(size <= penalty.gamma * lam, bent, penalty.gamma * lam**2 / 2.0)
    a = penalty.a
    bent = (2.0 * a * lam * size - size**2 - lam**2) / (2.0 * (a - 1.0))
    flat = (a + 1.0) * lam**2 / 2.0
    return np.where(size <= lam, lam * size, np.where(size <= a * lam, bent, flat))


def drawn(rng, kind):
    lam = 10.0 ** rng.uniform(-1, 1)
    return {
        "half": lambda: si.Lp(lam, 0.5),
        "two thirds": lambda: si.Lp(lam, 2 / 3),
        "power": lambda: si.Lp(lam, rng.uniform(0.02, 0.98)),
        "logsum": lambda: si.LogSum(lam, 10.0 ** rng.uniform(-2, 2)),
        "mcp": lambda: si.MCP(lam, 10.0 ** rng.uniform(-2, 2)),
        "scad": lambda: si.SCAD(lam, 2.0 + 10.0 ** rng.uniform(-2, 1.5)),
    }[kind]()


KINDS = ("half", "two thirds", "power", "logsum", "mcp", "scad")
FOUR = (si.Lp(0.4, 0.5), si.LogSum(0.4, 0.7), si.MCP(0.4, 1.5), si.SCAD(0.4, 3.0))


def least_kept(penalty, step):
    """Return the size at which the prox leaves zero, by bisection on the brute-force comparison."""
    grid = np.concatenate([np.geomspace(1e-9, 1.0, 20001), np.linspace(0.0, 1.0, 20001)[1:]])
    low, high = 0.0, 1e8
    for _ in range(60):
        mid = 0.5 * (low + high)
        x = mid * grid
        better = (step * plain_value(penalty, x) - x * (mid - 0.5 * x)).min() < 0
        low, high = (low, mid) if better else (mid, high)
    return low


@pytest.mark.parametrize("kind", KINDS)
def test_prox_is_the_minimiser_on_a_grid(kind):
    rng = cases.generator(71, KINDS.index(kind))
    grid = np.concatenate([np.geomspace(1e-9, 1.0, 50_001), np.linspace(0.0, 1.0, 50_001)])
    for k in range(80):
        penalty, step = drawn(rng, kind), 10.0 ** rng.uniform(-2, 2)
        size = 10.0 ** rng.uniform(-2, 2.5)
        if k % 4 == 0:
            size = least_kept(penalty, step) * (1.0 + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-8, -1))
        phase = np.exp(2j * np.pi * rng.random())

        def cost(x, penalty=penalty, step=step, size=size):
            return 0.5 * (x - size) ** 2 + step * plain_value(penalty, x)

        for v in (size, -size, size * phase):
            x = penalty.prox(np.array([v]), step)[0]
            assert cost(abs(x)) <= cost(size * grid).min() * (1 + 1e-12), (penalty, step, v)
            assert abs(x * abs(v) - v * abs(x)) <= 1e-14 * abs(v) ** 2  # the phase of v
        forced = penalty.replace(nonnegative=True)
        assert forced.prox(np.array([-size]), step)[0] == 0.0
        assert forced.prox(np.array([size]), step)[0] == penalty.prox(np.array([size]), step)[0]


@pytest.mark.parametrize(("gamma", "step"), [(2.0, 2.0), (2.0, 5.0), (0.1, 1.0)])
def test_mcp_thresholds_hard_where_the_step_exceeds_gamma(gamma, step):
    edge = 0.7 * np.sqrt(gamma * step)
    v = edge * np.array([0.5, 1 - 1e-9, 1 + 1e-9, 3.0])
    np.testing.assert_array_equal(si.MCP(0.7, gamma).prox(v, step), np.where(v > edge, v, 0.0))


def test_ties_go_to_zero():
    assert si.MCP(1.0, 4.0).prox(np.array([4.0]), 4.0)[0] == 0.0
    assert si.SCAD(1.0, 3.0).prox(np.array([8.0]), 16.0)[0] == 0.0  # sqrt((a + 1) step) lam
    assert si.Lp(1.0, 0.5).prox(np.array([1.5]), 1.0)[0] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_threshold_is_where_the_prox_leaves_zero(kind):
    rng = cases.generator(72, KINDS.index(kind))
    for _ in range(40):
        penalty, d = drawn(rng, kind), 10.0 ** rng.uniform(-2, 2)
        c = 10.0 ** rng.uniform(-1, 1)
        t = penalty.bind(1).lam_max(np.array([c]), np.array([np.sqrt(d)]))
        for factor, kept in ((1 + 1e-9, False), (1 - 1e-7, True)):
            x = penalty.replace(lam=penalty.lam * t * factor).prox(np.array([c / d]), 1.0 / d)[0]
            assert (x != 0) == kept, (penalty, d, c)


@pytest.mark.parametrize("penalty", FOUR)
def test_value_slope_and_majorant(penalty):
    rng = cases.generator(73)
    bound = penalty.bind(40)
    x = rng.standard_normal(40) * 10.0 ** rng.uniform(-2, 1, 40)
    np.testing.assert_allclose(bound.values(x), plain_value(penalty, np.abs(x)), rtol=1e-13)
    assert penalty.value(1j * x) == pytest.approx(plain_value(penalty, np.abs(x)).sum(), rel=1e-13)
    h = 1e-6 * np.abs(x)
    numeric = (plain_value(penalty, np.abs(x) + h) - plain_value(penalty, np.abs(x) - h)) / (2 * h)
    np.testing.assert_allclose(bound.slope(x), numeric, rtol=1e-5, atol=1e-6)
    # the weighted L1 penalty touches R at x and lies above it
    y = rng.standard_normal((50, 40)) * 3
    above = plain_value(penalty, np.abs(x)) + bound.slope(x) * (np.abs(y) - np.abs(x))
    assert (plain_value(penalty, np.abs(y)) <= above + 1e-12).all()
    assert penalty.replace(nonnegative=True).value(np.array([-1.0])) == np.inf


def planted(key, m=40, n=80, rho=0.0, number="real"):
    rng = cases.generator(74, key)
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    if number == "complex":
        A = A * np.exp(2j * np.pi * rng.random(A.shape))
    A = A / np.linalg.norm(A, axis=0)
    x = np.zeros(n)
    x[rng.choice(n, 6, replace=False)] = rng.choice([-2.0, 2.0], 6) + rng.standard_normal(6)
    b = A @ x
    return A, b + 0.05 * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m)


def objective(A, b, penalty, x):
    level = penalty.levels(x.size)
    value = sum(
        plain_value(penalty.replace(lam=float(w), weights=None, groups=None), abs(v))
        for v, w in zip(x, level, strict=True) if v != 0 and w > 0
    )  # fmt: skip
    return 0.5 * np.linalg.norm(A @ x - b) ** 2 + float(value)


def coordinate_decrease(A, b, penalty, x):
    """Return the largest decrease by changing one real coefficient, on a grid."""
    r, best = A @ x - b, 0.0
    level = penalty.levels(x.size)
    for j in range(x.size):
        if np.isinf(level[j]):
            continue
        one = penalty.replace(lam=float(level[j]), weights=None, groups=None)
        z = np.concatenate([[0.0], np.linspace(-6, 6, 20_001)])
        z = z[z >= 0] if penalty.nonnegative else z
        d, g = (A[:, j] ** 2).sum(), A[:, j] @ r
        change = g * (z - x[j]) + 0.5 * d * (z - x[j]) ** 2
        change += plain_value(one, np.abs(z)) - plain_value(one, abs(x[j])) if level[j] > 0 else 0.0
        best = max(best, -float(change.min()))
    return best


SOLVERS = {"auto": lambda: "auto", "CoordinateDescent": si.CoordinateDescent, "ISTA": si.ISTA}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("penalty", FOUR)
def test_no_single_coefficient_improves_what_coordinate_descent_returns(penalty, solver):
    A, b = planted(1)
    penalty = penalty.replace(lam=0.1 * si.lam_max(A, b, penalty.replace(lam=None)))
    result = si.solve(A, b, penalty, solver=SOLVERS[solver](), tol=1e-10, max_iter=5000)
    assert result.success
    assert result.objective == pytest.approx(objective(A, b, penalty, result.x), rel=1e-12)
    exact = si.certify(A, b, penalty, result.x)
    assert exact.kind is si.Kind.COORDINATE_MINIMUM
    seen = coordinate_decrease(A, b, penalty, result.x)
    assert seen <= exact.value + 1e-12 * exact.scale
    if solver != "ISTA":
        assert result.certificate.kind is si.Kind.COORDINATE_MINIMUM
        assert seen <= 1e-10 * exact.scale


@pytest.mark.parametrize("penalty", FOUR)
def test_certificate_is_the_best_decrease_of_a_point_that_is_no_minimum(penalty):
    A, b = planted(2)
    x = cases.generator(75).standard_normal(80) * (np.arange(80) < 20)
    certificate = si.certify(A, b, penalty, x)
    seen = coordinate_decrease(A, b, penalty, x)
    assert seen <= certificate.value * (1 + 1e-12)
    assert certificate.value <= seen * (1 + 1e-3)


@pytest.mark.parametrize("penalty", FOUR)
def test_containers_and_number_fields_agree(penalty):
    A, b = planted(3)
    A[np.abs(A) < 0.1] = 0.0
    expected = si.solve(A, b, penalty, tol=1e-10)
    assert expected.success
    held = si.solve(sparse.csc_array(A), b, penalty, tol=1e-10)
    np.testing.assert_allclose(held.x, expected.x, atol=1e-6)
    free = si.solve(cases.Products(A), b, penalty, tol=1e-10)
    assert free.success
    assert free.certificate.kind is si.Kind.PROX_STATIONARITY
    assert free.objective == pytest.approx(expected.objective, rel=1e-4)
    rotation = np.exp(1j * np.arange(40))
    rotated = si.solve(rotation[:, None] * A, rotation * b, penalty, tol=1e-10)
    assert rotated.success
    np.testing.assert_allclose(rotated.x, expected.x, atol=1e-5)


def test_auto_ends_lower_than_coordinate_descent_where_columns_are_correlated():
    won = []
    for key in range(4):
        A, b = planted(10 + key, m=50, n=120, rho=0.9)
        for penalty in FOUR:
            at = penalty.replace(lam=0.05 * si.lam_max(A, b, penalty.replace(lam=None)))
            auto = si.solve(A, b, at)
            assert auto.success
            swept = si.solve(A, b, at, solver=si.CoordinateDescent())
            won.append(auto.objective <= swept.objective * (1 + 1e-6))
    assert np.mean(won) >= 0.8


@pytest.mark.parametrize("penalty", FOUR)
def test_zero_infinite_and_tied_levels(penalty):
    A, b = planted(4)
    labels = np.repeat(["a", "b", "c", "d"], 20)
    lam = np.array([0.0, 0.1, np.inf, 0.05])
    tied = penalty.replace(lam=lam, groups=labels)
    for solver in SOLVERS.values():
        result = si.solve(A, b, tied, solver=solver(), tol=1e-9, max_iter=20_000)
        assert result.success
        assert not result.x[40:60].any()
        assert np.abs(A[:, :20].T @ (A @ result.x - b)).max() < 1e-3  # unpenalised: fitted
    spread = si.solve(A, b, penalty.replace(lam=np.repeat(lam, 20)))
    np.testing.assert_array_equal(spread.x, si.solve(A, b, tied).x)
    weighted = penalty.replace(lam=0.1, weights=np.repeat([0.0, 1.0, np.inf, 0.5], 20))
    np.testing.assert_allclose(si.solve(A, b, weighted).x, spread.x, atol=1e-9)
    nothing = si.solve(A, b, penalty.replace(lam=np.repeat([0.0, np.inf], 40)))  # least squares
    assert nothing.certificate.kind is si.Kind.DUALITY_GAP
    assert nothing.success


@pytest.mark.parametrize("kind", [si.MCP, si.SCAD])
def test_weights_multiply_the_threshold(kind):
    v = np.array([2.5])
    weighted = kind(0.5, weights=[2.0])
    assert weighted.prox(v, 1.0)[0] == kind(1.0).prox(v, 1.0)[0]
    assert weighted.value(v) == kind(1.0).value(v)
    assert weighted.value(v) != pytest.approx(2.0 * kind(0.5).value(v))


@pytest.mark.parametrize("penalty", FOUR)
def test_nonnegative(penalty):
    A, b = planted(5)
    forced = penalty.replace(nonnegative=True, lam=0.1)
    result = si.solve(A, b, forced, tol=1e-10)
    assert result.success
    assert result.x.min() >= 0
    assert result.x.any()
    assert coordinate_decrease(A, b, forced, result.x) <= 1e-9
    with pytest.raises(ValueError, match="nonnegative=True needs real data"):
        si.solve(A.astype(complex), b, forced)


def scaled(penalty, s, c):
    """The penalty under which b -> s b, A -> c A takes x to x s / c."""
    if isinstance(penalty, si.Lp):
        return penalty.replace(lam=penalty.lam * s ** (2 - penalty.p) * c**penalty.p)
    if isinstance(penalty, si.LogSum):
        return penalty.replace(lam=penalty.lam * s**2, eps=penalty.eps * s / c)
    if isinstance(penalty, si.MCP):
        return penalty.replace(lam=penalty.lam * s * c, gamma=penalty.gamma / c**2)
    assert c == 1
    return penalty.replace(lam=penalty.lam * s)


@pytest.mark.parametrize("penalty", FOUR)
@pytest.mark.parametrize(
    ("s", "c"), [(2.0**9, 1.0), (2.0**-400, 1.0), (1e140, 1.0), (1.0, 2.0**7), (1e-60, 1e60)]
)
def test_scales(penalty, s, c):
    if isinstance(penalty, si.SCAD) and c != 1.0:
        pytest.skip("SCAD does not follow a rescaling of A")
    A, b = planted(6)
    expected = si.solve(A, b, penalty)
    result = si.solve(c * A, s * b, scaled(penalty, s, c))
    assert result.success
    if not isinstance(penalty, si.Lp) and np.log2(s) % 1 == 0 and c == 1.0:
        np.testing.assert_array_equal(result.x / s, expected.x)
    np.testing.assert_allclose(result.x * (c / s), expected.x, atol=1e-7)


@pytest.mark.parametrize("penalty", FOUR)
def test_lam_max_path_and_default_level(penalty):
    A, b = planted(7)
    free = penalty.replace(lam=None)
    top = si.lam_max(A, b, free)
    assert not si.solve(A, b, penalty.replace(lam=top * 1.0001)).x.any()
    assert si.solve(A, b, penalty.replace(lam=top * 0.99), solver=si.CoordinateDescent()).x.any()
    path = si.solve_path(A, b, free, n_lams=12)
    assert path.success
    assert len(path) == 12
    assert path.n_nonzero[0] <= 1 < path.n_nonzero[-1]
    chosen = si.solve(A, b, free)
    assert chosen.success
    assert "L1" in chosen.selection.rule
    assert 1 <= chosen.support.size < 40
    batch = si.solve_many(A, np.stack([b, 2 * b], axis=1), penalty)
    assert batch.success
    np.testing.assert_allclose(batch.x[:, 0], si.solve(A, b, penalty).x, atol=1e-8)


def test_default_level_of_mcp_is_that_of_l1():
    A, b = planted(8)
    assert si.solve(A, b, si.MCP()).lam == pytest.approx(si.solve(A, b, si.L1()).lam)


@pytest.mark.parametrize("penalty", FOUR)
def test_a_start_is_not_made_worse(penalty):
    A, b = planted(9, rho=0.9)
    for seed in range(3):
        x0 = np.random.default_rng(seed).standard_normal(80) * (np.arange(80) % 9 == seed)
        result = si.solve(A, b, penalty, x0=x0)
        assert result.success
        assert result.objective <= objective(A, b, penalty, x0)


@pytest.mark.parametrize("penalty", FOUR)
@pytest.mark.parametrize("c", [1e200, 1e-200])
def test_levels_far_from_the_scale_of_the_matrix(penalty, c):
    A, b = planted(9)
    result = si.solve(c * A, b, penalty)
    assert result.success
    assert np.isfinite(result.x).all()


def test_single_precision_and_empty_data():
    A, b = planted(9)
    result = si.solve(A.astype(np.float32), b.astype(np.float32), si.MCP(0.3), tol=1e-5)
    assert result.x.dtype == np.float32
    assert result.success
    assert not si.solve(A, np.zeros(40), si.SCAD(0.3)).x.any()
    A[:, 3] = 0.0
    result = si.solve(A, b, si.Lp(0.3))
    assert result.success
    assert result.x[3] == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: si.Lp(1.0, 1.0), "p is 1.0, but it must lie between 0 and 1; use L1"),
        (lambda: si.Lp(1.0, 0.0), "use L1 for p = 1 and L0 for p = 0"),
        (lambda: si.LogSum(1.0), "eps is missing"),
        (lambda: si.LogSum(1.0, 0.0), "eps is 0.0, but it must be a finite number > 0"),
        (lambda: si.MCP(1.0, -1.0), "gamma is -1.0"),
        (lambda: si.SCAD(1.0, 2.0), "a is 2.0, but it must be > 2"),
        (lambda: si.MCP(-1.0), "lam is -1.0"),
        (lambda: si.MCP(1.0).conjugate(np.ones(2)), "certifies nothing"),
        (lambda: si.solve(np.eye(2), np.ones(2), si.MCP(0.1), solver=si.FISTA()), "convex"),
        (lambda: si.solve(np.eye(2), np.ones(2), si.MCP(0.1), solver=si.WorkingSet()), "not treat Concave"),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.MCP(0.1), solver=si.CoordinateDescent(gram=True)),
            "with gram=True has no penalty of this kind",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
