"""From lam_max on x = 0 and below it not; what rescaling, weights and free coefficients do to lambda."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from scipy.sparse import csc_array

import sparseinv as si
from cases import Products, generator
from reference import enumerate_l0, plain

Array = np.ndarray[Any, Any]

M, N = 14, 9
LABELS = np.arange(N) // 3
FREE = {"weights": [4], "groups": [3, 4, 5]}
ABOVE, BELOW = 1.0 + 1e-12, 1.0 - 1e-6


def data(seed: int, *, is_complex: bool = False, m: int = M, n: int = N) -> tuple[Array, Array]:
    rng = generator(71, seed)
    A, b = rng.standard_normal((m, n)), rng.standard_normal(m)
    A *= 10.0 ** rng.uniform(-1, 1, n)
    if is_complex:
        A, b = A + 1j * rng.standard_normal((m, n)), b + 1j * rng.standard_normal(m)
    return A, b


def weights_of(kind: str) -> Array:
    w = np.linspace(0.5, 3.0, N)
    if "free" in kind:
        w[4] = 0.0
    if "excluded" in kind:
        w[[1, 7]] = np.inf
    return w


def per_group(kind: str) -> Array:
    w = np.array([1.5, 0.5, 2.0])
    if "free" in kind:
        w[1] = 0.0
    if "excluded" in kind:
        w[2] = np.inf
    return w


def make(name: str, kind: str, lam: Any = None) -> si.Penalty:
    """Return the penalty; kind: plain, weighted, tied (one lam per group), free, excluded in combination."""
    if name == "GroupL1":
        return si.GroupL1(lam, groups=LABELS, weights=None if kind == "plain" else per_group(kind))
    fields: dict[str, Any] = {}
    if "tied" in kind:
        fields = {"groups": LABELS, "weights": per_group(kind)}
    elif kind != "plain":
        fields = {"weights": weights_of(kind)}
    if name == "nonnegative":
        return si.L1(lam, nonnegative=True, **fields)
    if name == "ElasticNet":
        return si.ElasticNet(lam, l1_ratio=0.4, **fields)
    return {"L1": si.L1, "L0": si.L0}[name](lam, **fields)


def penalised(name: str, kind: str) -> tuple[Array, Array]:
    """Return indices of the unpenalised and of the penalised, not excluded coefficients."""
    tied = name == "GroupL1" or "tied" in kind
    w = np.ones(N) if kind == "plain" else per_group(kind)[LABELS] if tied else weights_of(kind)
    return np.flatnonzero(w == 0), np.flatnonzero((w > 0) & np.isfinite(w))


KINDS = [
    "plain",
    "weighted",
    "weighted free",
    "weighted excluded",
    "weighted free excluded",
    "tied",
    "tied free",
]
CONVEX = ["L1", "ElasticNet", "GroupL1", "nonnegative"]


def slow_lam_max(A: Array, b: Array, name: str, kind: str) -> float:
    """The same from the definition: fit the free coefficients, take the largest of what is left."""
    free, rest = penalised(name, kind)
    r = b.copy()
    if free.size and name == "nonnegative":
        r = b - A[:, free] @ nnls(A[:, free], b)[0]
    elif free.size:
        r = b - A[:, free] @ np.linalg.lstsq(A[:, free], b, rcond=None)[0]
    c = A.conj().T @ r
    tied = name == "GroupL1" or "tied" in kind
    w = np.ones(N) if kind == "plain" else per_group(kind)[LABELS] if tied else weights_of(kind)
    if name == "GroupL1":
        kept = [k for k in range(3) if LABELS[rest].tolist().count(k)]
        return max(float(np.linalg.norm(c[k == LABELS])) / w[k == LABELS][0] for k in kept)
    size = np.maximum(c.real, 0.0) if name == "nonnegative" else np.abs(c)
    return float((size[rest] / w[rest]).max()) / (0.4 if name == "ElasticNet" else 1.0)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CONVEX)
def test_zero_from_lam_max_on_and_not_below(name: str, kind: str, is_complex: bool) -> None:
    if is_complex and name == "nonnegative":
        return
    for seed in range(3):
        A, b = data(seed, is_complex=is_complex)
        top = si.lam_max(A, b, make(name, kind))
        assert top == pytest.approx(slow_lam_max(A, b, name, kind), rel=1e-11)
        rest = penalised(name, kind)[1]
        above = si.solve(A, b, make(name, kind, ABOVE * top), tol=1e-9)
        assert above.success
        assert not above.x[rest].any()
        # the smallest gain there is, of 1e-12 relative to lam_max, is far below a usual tolerance
        below = si.solve(A, b, make(name, kind, BELOW * top), tol=1e-14, max_iter=200)
        assert below.x[rest].any(), below
        # with lam set, the factor on it
        assert si.lam_max(A, b, make(name, kind, 2.0 * top)) == pytest.approx(0.5, rel=1e-11)


@pytest.mark.parametrize("form", ["csc", "operator", "fortran"])
def test_containers_agree(form: str) -> None:
    A, b = data(5)
    passed = {"csc": csc_array(A), "operator": Products(A), "fortran": np.asfortranarray(A)}[form]
    for name in [*CONVEX, "L0"]:
        for kind in KINDS:
            expected = si.lam_max(A, b, make(name, kind))
            assert si.lam_max(passed, b, make(name, kind)) == pytest.approx(expected, rel=1e-9)


def test_ridge_never_gives_zero() -> None:
    A, b = data(0)
    assert si.lam_max(A, b, si.L2()) == np.inf
    assert si.lam_max(A, b, si.L2(), certified=True) == np.inf
    assert si.lam_max(A, np.zeros(M), si.L2()) == 0.0


# --- L0: one coefficient at a time, and proved --------------------------------------------------------


def l0_problem(A: Array, b: Array, kind: str, lam: float, **levels: Any) -> Any:
    free, rest = penalised("L0", kind)
    charge = np.full(N, np.inf)
    charge[free] = 0.0
    tied = per_group(kind)[LABELS] if "tied" in kind else None
    w = np.ones(N) if kind == "plain" else weights_of(kind) if tied is None else tied
    charge[rest] = lam * w[rest]
    return plain(A, b, l0=charge, **levels)


def single_gains(A: Array, b: Array, kind: str) -> Array:
    """Return what each penalised coefficient takes off the misfit, free ones refitted, over its weight."""
    free, rest = penalised("L0", kind)
    tied = per_group(kind)[LABELS] if "tied" in kind else None
    w = np.ones(N) if kind == "plain" else weights_of(kind) if tied is None else tied

    def misfit(index: Array) -> float:
        r = b - A[:, index] @ np.linalg.lstsq(A[:, index], b, rcond=None)[0] if index.size else b
        return 0.5 * float(np.vdot(r, r).real)

    return np.array([(misfit(free) - misfit(np.append(free, j))) / w[j] for j in rest])


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_l0_coordinate_wise(kind: str, is_complex: bool) -> None:
    for seed in range(3):
        A, b = data(seed, is_complex=is_complex)
        top = si.lam_max(A, b, make("L0", kind))
        assert top == pytest.approx(single_gains(A, b, kind).max(), rel=1e-9)
        free, rest = penalised("L0", kind)
        if not free.size:  # descent moves one coefficient and leaves the free ones as they are
            x = si.solve(A, b, make("L0", kind, BELOW * top), solver=si.CoordinateDescent(), tol=0.0).x
            assert x[rest].any()


@pytest.mark.parametrize("kind", KINDS)
def test_l0_certified_is_the_global_minimum(kind: str) -> None:
    """At the proved level enumeration finds nothing better than the fit of the free coefficients."""
    rest = penalised("L0", kind)[1]
    for seed in range(4):
        A, b = data(seed)
        proved = si.lam_max(A, b, make("L0", kind), certified=True)
        assert proved >= si.lam_max(A, b, make("L0", kind)) * (1 - 1e-12)
        x = enumerate_l0(l0_problem(A, b, kind, proved * ABOVE))[1]
        assert not x[rest].any()


def test_l0_a_pair_of_suppressors() -> None:
    """Two nearly parallel columns fit together what neither fits alone."""
    A, b = np.array([[1.0, 1.0], [0.0, 0.05]]), np.array([0.0, 1.0])
    single, proved = si.lam_max(A, b, si.L0()), si.lam_max(A, b, si.L0(), certified=True)
    assert single < 2e-3
    value, x = enumerate_l0(plain(A, b, l0=np.full(2, 2 * single)))
    assert np.count_nonzero(x) == 2
    assert value < 0.5
    assert proved == pytest.approx(0.25)  # both gain 1/2 ||b||^2, and this is what they cost
    assert np.count_nonzero(enumerate_l0(plain(A, b, l0=np.full(2, proved * ABOVE)))[1]) == 0
    assert np.count_nonzero(enumerate_l0(plain(A, b, l0=np.full(2, proved * (1 - 1e-3))))[1]) == 2


def test_l0_certified_is_exact_for_orthogonal_columns() -> None:
    A, b = data(3, m=20)
    q = np.linalg.qr(A)[0] * np.linspace(0.1, 5, N)
    assert si.lam_max(q, data(3, m=20)[1], si.L0(), certified=True) == pytest.approx(
        si.lam_max(q, b, si.L0()), rel=1e-9
    )


def test_l0_certified_without_columns_stays_a_bound() -> None:
    A, b = data(6)
    matrix = si.lam_max(A, b, si.L0(), certified=True)
    free = si.lam_max(Products(A), b, si.L0(), certified=True)
    assert free >= matrix * (1 - 1e-12)
    assert free <= 0.25 * float(b @ b) * (1 + 1e-12) or free == pytest.approx(si.lam_max(A, b, si.L0()))


@pytest.mark.parametrize("fields", [{"l1": 0.3}, {"l2": 2.0}, {"l1": 0.2, "l2": 1.0}])
def test_l0_companions_stay_where_they_are(fields: dict[str, float]) -> None:
    """L0L1 and L0L2: lam_max is a level of lam alone."""
    for seed in range(4):
        A, b = data(seed)
        l1, l2 = fields.get("l1", 0.0), fields.get("l2", 0.0)
        top = si.lam_max(A, b, si.L0(**fields))
        over = np.maximum(np.abs(A.T @ b) - l1, 0.0)
        assert top == pytest.approx(float((over**2 / (2 * ((A**2).sum(axis=0) + l2))).max()), rel=1e-12)
        for factor, alive in ((ABOVE, False), (BELOW, True)):
            gains = []
            for j in range(N):  # a fine grid of values of one coefficient
                best = np.sign(A[:, j] @ b) * over[j] / (A[:, j] @ A[:, j] + l2)
                z = best * np.linspace(0.5, 1.5, 101)
                fit = 0.5 * ((b[:, None] - A[:, j : j + 1] * z) ** 2).sum(axis=0)
                gains.append(0.5 * b @ b - (fit + l1 * np.abs(z) + 0.5 * l2 * z**2).min())
            assert (max(gains) > factor * top) == alive
        proved = si.lam_max(A, b, si.L0(**fields), certified=True)
        assert proved >= top
        if not l1:  # the ridge as rows
            stacked, padded = np.vstack([A, np.sqrt(l2) * np.eye(N)]), np.append(b, np.zeros(N))
            assert not enumerate_l0(plain(stacked, padded, l0=np.full(N, proved * ABOVE)))[1].any()


def test_l0_columns_inside_the_free_span_count_nothing() -> None:
    A, b = data(7)
    A[:, 2] = 3.0 * A[:, 4]
    A[:, 5] = A[:, 4] * (1.0 + 1e-3) + 1e-9 * A[:, 6]
    w = np.ones(N)
    w[4] = 0.0
    top = si.lam_max(A, b, si.L0(weights=w))
    q = A[:, 4:5] / np.linalg.norm(A[:, 4])
    left = A - q @ (q.T @ A)
    r = b - q[:, 0] * (q[:, 0] @ b)
    kept = [0, 1, 3, 6, 7, 8]
    expected = max(float(left[:, j] @ r) ** 2 / (2 * float(left[:, j] @ left[:, j])) for j in kept)
    assert top == pytest.approx(expected, rel=1e-6)


# --- what peers get wrong in their grids --------------------------------------------------------------


def test_grid_follows_weights() -> None:
    """adelie and skglm cross-validated on a grid without the weights: ten or a hundred times off."""
    A, b = data(8)
    for scale in (10.0, 0.01):
        base, scaled = si.lam_max(A, b, si.L1()), si.lam_max(A, b, si.L1(weights=scale))
        assert scaled == pytest.approx(base / scale, rel=1e-14)
        path = si.solve_path(A, b, si.L1(weights=scale), n_lams=5)
        assert path.lams[0] == pytest.approx(base / scale, rel=1e-14)
        chosen = si.select_lam(A, b, si.L1(weights=scale), si.CrossValidation(3), n_lams=5)
        np.testing.assert_allclose(chosen.lams.max() * scale, base, rtol=1e-12)


def test_grid_follows_groups() -> None:
    """adelie's grid for groups started at twice the level that empties them."""
    A, b = data(9)
    penalty = si.GroupL1(groups=LABELS, weights=[2.0, 1.0, 0.5])
    norms = np.sqrt(np.bincount(LABELS, weights=(A.T @ b) ** 2)) / [2.0, 1.0, 0.5]
    path = si.solve_path(A, b, penalty, n_lams=4)
    assert path.lams[0] == pytest.approx(norms.max(), rel=1e-13)
    assert path.n_nonzero[0] == 0
    assert si.solve(A, b, penalty.replace(lam=BELOW * path.lams[0]), tol=0.0).support.size > 0


def test_grid_with_an_intercept_is_that_of_centred_data() -> None:
    """skglm's grid forgot the intercept: a mean of 50 made it 136 times too high."""
    rng = generator(72)
    A = rng.standard_normal((60, 12))
    b = 50.0 + A[:, 0] + 0.1 * rng.standard_normal(60)
    with_ones = np.column_stack([A, np.ones(60)])
    w = np.append(np.ones(12), 0.0)
    centred = np.abs((A - A.mean(axis=0)).T @ (b - b.mean())).max()
    for penalty, scale in ((si.L1(weights=w), 1.0), (si.ElasticNet(weights=w, l1_ratio=0.5), 2.0)):
        assert si.lam_max(with_ones, b, penalty) == pytest.approx(scale * centred, rel=1e-11)
    assert np.abs(A.T @ b).max() > 10 * centred


# --- equivariance -------------------------------------------------------------------------------------


EXPONENTS = {"L1": (1, 1), "L2": (0, 2), "L0": (2, 0), "GroupL1": (1, 1), "nonnegative": (1, 1)}


def build(name: str, lam: Any) -> si.Penalty:
    if name == "L2":
        return si.L2(lam)
    return make(name, "plain", lam)


@pytest.mark.parametrize("c", [1e-8, 3.7, 1e11])
@pytest.mark.parametrize("name", EXPONENTS)
def test_scale_of_data_and_of_matrix(name: str, c: float) -> None:
    for seed in range(3):
        A, b = data(20 + seed)
        in_b, in_a = EXPONENTS[name]
        lam = 0.3 if name == "L2" else 0.2 * si.lam_max(A, b, build(name, None))
        x = si.solve(A, b, build(name, lam), tol=1e-13).x
        close = {"rtol": 1e-6, "atol": 1e-7 * float(np.abs(x).max())}
        np.testing.assert_allclose(
            si.solve(A, c * b, build(name, lam * c**in_b), tol=1e-13).x / c, x, **close
        )
        np.testing.assert_allclose(
            si.solve(c * A, b, build(name, lam * c**in_a), tol=1e-13).x * c, x, **close
        )
        if name != "L2":
            for A2, b2, power in ((A, c * b, in_b), (c * A, b, in_a)):
                top = si.lam_max(A2, b2, build(name, None))
                assert top == pytest.approx(c**power * si.lam_max(A, b, build(name, None)), rel=1e-12)


@pytest.mark.parametrize("name", ["L1", "L2", "ElasticNet", "L0"])
def test_weights_times_c_is_lam_times_c(name: str) -> None:
    A, b = data(30)
    w = np.linspace(0.5, 2.0, N)
    kind = {"L1": si.L1, "L2": si.L2, "ElasticNet": si.ElasticNet, "L0": si.L0}[name]
    first = si.solve(A, b, kind(0.4, weights=8.0 * w))
    np.testing.assert_array_equal(si.solve(A, b, kind(3.2, weights=w)).x, first.x)
    np.testing.assert_array_equal(si.solve(A, b, kind(3.2 * w)).x, first.x)


@pytest.mark.parametrize("name", ["L1", "L2", "GroupL1", "L0", "ElasticNet"])
def test_rows_twice(name: str) -> None:
    """Sum convention: every row twice takes lam twice; mean convention: lam stays."""
    A, b = data(31)
    A2, b2 = np.vstack([A, A]), np.append(b, b)
    lam = 0.01 if name != "L0" else 0.1 * si.lam_max(A, b, si.L0()) / M

    def solve(matrix: Array, rhs: Array, level: float, scaling: str) -> Array:
        penalty: Any = build(name, level)
        return si.solve(matrix, rhs, si.scale_penalty(matrix, penalty, scaling=scaling), tol=1e-14).x

    x = solve(A, b, M * lam, "sum")
    close = {"atol": 1e-6 * float(np.abs(x).max())}
    np.testing.assert_allclose(solve(A2, b2, 2 * M * lam, "sum"), x, **close)
    np.testing.assert_allclose(solve(A, b, lam, "mean"), x, **close)
    np.testing.assert_allclose(solve(A2, b2, lam, "mean"), x, **close)


@pytest.mark.parametrize("is_complex", [False, True])
def test_free_coefficients_are_a_projection(is_complex: bool) -> None:
    """Unpenalised columns U: solve with A and b projected off them, then fit them to what is left."""
    for seed in range(3):
        A, b = data(40 + seed, is_complex=is_complex)
        w = weights_of("free")
        w[[4, 6]] = 0.0
        rest = np.flatnonzero(w)
        top = si.lam_max(A, b, si.L1(weights=w))
        whole = si.solve(A, b, si.L1(0.3 * top, weights=w), tol=1e-14).x
        q = np.linalg.qr(A[:, w == 0])[0]
        B, c = A[:, rest] - q @ (q.conj().T @ A[:, rest]), b - q @ (q.conj().T @ b)
        assert si.lam_max(B, c, si.L1(weights=w[rest])) == pytest.approx(top, rel=1e-11)
        part = si.solve(B, c, si.L1(0.3 * top, weights=w[rest]), tol=1e-14).x
        np.testing.assert_allclose(whole[rest], part, atol=1e-6 * np.abs(whole).max())
        fit = np.linalg.lstsq(A[:, w == 0], b - A[:, rest] @ part, rcond=None)[0]
        np.testing.assert_allclose(whole[w == 0], fit, atol=1e-5 * np.abs(whole).max())


def test_complex_is_groups_of_two() -> None:
    """The modulus of a complex coefficient is the norm of its two parts."""
    for seed in range(3):
        A, b = data(50 + seed, is_complex=True)
        real = np.vstack([np.hstack([A.real, -A.imag]), np.hstack([A.imag, A.real])])
        rhs = np.append(b.real, b.imag)
        labels = np.tile(np.arange(N), 2)
        w = np.linspace(0.5, 2, N)
        top = si.lam_max(A, b, si.L1(weights=w))
        assert si.lam_max(real, rhs, si.GroupL1(groups=labels, weights=w)) == pytest.approx(top, rel=1e-12)
        x = si.solve(A, b, si.L1(0.2 * top, weights=w), tol=1e-14).x
        z = si.solve(real, rhs, si.GroupL1(0.2 * top, groups=labels, weights=w), tol=1e-14).x
        np.testing.assert_allclose(z[:N] + 1j * z[N:], x, atol=1e-6 * np.abs(x).max())


@given(
    name=st.sampled_from(["L1", "ElasticNet", "GroupL1", "L0", "nonnegative"]),
    kind=st.sampled_from(KINDS),
    is_complex=st.booleans(),
    seed=st.integers(0, 10**6),
    in_b=st.integers(-40, 40),
    in_a=st.integers(-40, 40),
    factor=st.floats(1e-6, 1e6),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_contract(
    name: str, kind: str, is_complex: bool, seed: int, in_b: int, in_a: int, factor: float
) -> None:
    """Whatever the penalty, weights, groups, free and excluded ones: five equalities and both sides."""
    is_complex = is_complex and name != "nonnegative"
    A, b = data(seed, is_complex=is_complex)
    rng = generator(76, seed)
    unit = make(name, kind)
    top = si.lam_max(A, b, unit)
    assert np.isfinite(top)
    # powers of two in A and b change no bit of it; lam and weights multiply
    power = 2 * in_b if name == "L0" else in_b + in_a
    assert si.lam_max(A * 2.0**in_a, b * 2.0**in_b, unit) == np.ldexp(top, power)
    assert si.lam_max(A, b, unit.replace(lam=factor)) == pytest.approx(top / factor, rel=1e-12)
    weights = 1.0 if unit.weights is None else unit.weights
    assert si.lam_max(A, b, unit.replace(weights=factor * weights)) == pytest.approx(top / factor, rel=1e-12)
    # rows turned, and twice
    q = np.linalg.qr(rng.standard_normal((M, M)))[0]
    assert si.lam_max(q @ A, q @ b, unit) == pytest.approx(top, rel=1e-9)
    twice = si.lam_max(np.vstack([A, A]), np.append(b, b), unit)
    assert twice == pytest.approx(2 * top, rel=1e-9)
    assert si.lam_max(A, b, unit, certified=True) >= top * (1 - 1e-12)
    if name == "L0" or top == 0.0:
        return
    rest = penalised(name, kind)[1]
    assert not si.solve(A, b, make(name, kind, ABOVE * top)).x[rest].any()
    assert si.solve(A, b, make(name, kind, BELOW * top), tol=1e-14, max_iter=200).x[rest].any()


# --- theory -------------------------------------------------------------------------------------------


def test_universal_level_keeps_noise_out() -> None:
    """Of pure noise the largest correlation stays below the level, and comes near it."""
    for is_complex in (False, True):
        for n in (100, 3000):
            ratios = []
            for k in range(40):
                rng = generator(73, n, k)
                A, e = rng.standard_normal((50, n)), 0.3 * rng.standard_normal(50)
                if is_complex:
                    e = (e + 0.3j * rng.standard_normal(50)) / np.sqrt(2)
                A /= np.linalg.norm(A, axis=0)
                level = si.theory_lam(si.L1(), sigma=0.3, m=50, n=n, column_norm=1.0, is_complex=is_complex)
                ratios.append(si.lam_max(A, e, si.L1()) / level)
            # |e|^2 of complex noise has no factor below its exponential tail
            assert 0.75 < np.median(ratios) < (1.1 if is_complex else 1.0)
            charge = si.theory_lam(si.L0(), sigma=0.3, m=50, n=n, is_complex=is_complex)
            assert charge == pytest.approx(0.5 * level**2)


def test_group_level_keeps_noise_out() -> None:
    labels = np.arange(400) // 8
    level = si.theory_lam(si.GroupL1(groups=labels), sigma=2.0, m=100, n=400)
    ratios = []
    for k in range(40):
        rng = generator(74, k)
        A, e = rng.standard_normal((100, 400)), 2.0 * rng.standard_normal(100)
        ratios.append(si.lam_max(A, e, si.GroupL1(groups=labels)) / level)
    assert 0.7 < np.median(ratios) < 1.0


def test_ridge_level_is_the_best_one() -> None:
    """With x ~ N(0, tau^2) the expected error, in closed form, is least at sigma^2 / tau^2."""
    rng = generator(75)
    s = np.linalg.svd(rng.standard_normal((30, 40)), compute_uv=False)
    sigma, tau = 0.7, 2.5
    lam = si.theory_lam(si.L2(), sigma=sigma, m=30, n=40, prior_std=tau)
    lams = lam * np.geomspace(0.1, 10, 401)
    shrunk = s[:, None] ** 2 / (s[:, None] ** 2 + lams)
    error = (tau**2 * (1 - shrunk) ** 2 + sigma**2 * shrunk**2 / s[:, None] ** 2).sum(axis=0)
    assert lams[int(np.argmin(error))] == pytest.approx(lam, rel=0.02)
    energy = si.theory_lam(si.L2(), sigma=sigma, m=30, n=40, prior_norm=tau * np.sqrt(40))
    assert energy == pytest.approx(lam)


def test_l0_level_with_a_prior_is_the_odds() -> None:
    """One column: at the threshold that lam sets, the odds of a non-zero coefficient are even."""
    sigma, tau, d, n, k = 0.5, 2.0, 3.0, 50, 4
    for is_complex in (False, True):
        lam = si.theory_lam(
            si.L0(), sigma=sigma, m=9, n=n, column_norm=d, n_nonzero=k, prior_std=tau, is_complex=is_complex
        )
        # z = a^H b / ||a|| is noise, or noise plus a coefficient; its log likelihood ratio at the threshold,
        # without the share of the shrinkage
        wide = sigma**2 + d**2 * tau**2
        power = 1.0 if is_complex else 0.5
        energy = 2.0 * lam * power / sigma**2  # power |z|^2 / sigma^2 at |z|^2 / 2 = lam
        odds = np.log(k / (n - k)) - power * np.log(wide / sigma**2) + energy
        assert odds == pytest.approx(0.0, abs=1e-12)


def test_how_lam_grows() -> None:
    def level(penalty: Any, **changes: Any) -> float:
        return si.theory_lam(penalty, **{"sigma": 0.5, "m": 100, "n": 1000, **changes})

    for penalty, in_m, in_sigma in ((si.L1(), 0.5, 1), (si.L0(), 0.0, 2), (si.ElasticNet(), 0.5, 1)):
        assert level(penalty, m=400) / level(penalty) == pytest.approx(4**in_m)
        assert level(penalty, sigma=1.5) / level(penalty) == pytest.approx(3**in_sigma)
    assert level(si.L1(), n=10**6) / level(si.L1()) == pytest.approx(np.sqrt(2))
    assert level(si.L0(), n=10**6) / level(si.L0()) == pytest.approx(2.0)
    assert level(si.L0(), n_nonzero=100) == pytest.approx(0.25 * np.log(10))
    ridge = si.L2()
    assert level(ridge, prior_std=2.0, n=10) == level(ridge, prior_std=2.0, m=7)
    assert level(ridge, prior_norm=2.0, n=3000) / level(ridge, prior_norm=2.0) == pytest.approx(3.0)
    assert level(si.L1(), prior_std=2.0) == pytest.approx(np.sqrt(2) * 0.25 / 2.0)
    assert level(si.L1(), prior_std=2.0, is_complex=True) == pytest.approx(np.sqrt(6) * 0.25 / 4.0)


@pytest.mark.parametrize(
    ("penalty", "fields", "words"),
    [
        (si.L2(), {}, "L2 has no level that is right for every x: pass prior_std"),
        (si.L2(), {"prior_norm": 1.0, "prior_std": 1.0}, "prior_norm is for L2 alone, in place of prior_std"),
        (si.L1(), {"prior_norm": 1.0}, "prior_norm is for L2 alone"),
        (si.L1(), {"sigma": 0.0}, "sigma is 0.0, but it must be a finite number > 0"),
        (si.L0(), {"n_nonzero": 20}, "n_nonzero is 20, but it must be below the 20 there are"),
        (si.L0Ball(3), {}, "penalty is L0Ball"),
        (si.L1, {}, "penalty is the class L1"),
    ],
)
def test_theory_refuses(penalty: Any, fields: dict[str, float], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        si.theory_lam(penalty, **{"sigma": 1.0, "m": 10, "n": 20, **fields})
