"""GroupConcave: prox by search, limits that are known, stationarity, groups that come whole and unbiased."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseinv as si
from cases import Products, generator

Array = np.ndarray[Any, Any]

LABELS = np.arange(60) // 4
GROUPS = [np.flatnonzero(np.equal(LABELS, g)) for g in range(15)]
CURVES = (si.Lp(p=0.5), si.LogSum(eps=0.5), si.MCP(gamma=1.5), si.SCAD(a=3.0))


def planted(seed: int, *, is_complex: bool = False) -> tuple[Array, Array, Array]:
    """Three live groups out of fifteen, columns of about unit norm."""
    rng = generator(37, seed)
    A = rng.standard_normal((40, 60)) / np.sqrt(40)
    x = np.where(np.isin(LABELS, [1, 6, 11]), rng.standard_normal(60) + np.sign(rng.standard_normal(60)), 0.0)
    noise = rng.standard_normal(40)
    if is_complex:
        A = A + 1j * rng.standard_normal((40, 60)) / np.sqrt(40)
        x = x * np.exp(1j * rng.uniform(0, 6, 60))
        noise = noise + 1j * rng.standard_normal(40)
    return A, A @ x + 0.05 * noise, x


def norms(x: Array) -> Array:
    return np.array([np.linalg.norm(x[group]) for group in GROUPS])


def objective(A: Array, b: Array, R: Any, x: Array) -> float:
    """Straight from the definition: the curve applied to the norms."""
    curve = R.curve.replace(lam=R.lam)
    return float(0.5 * np.linalg.norm(A @ x - b) ** 2 + curve.value(norms(x)))


@pytest.mark.parametrize("curve", CURVES, ids=repr)
@pytest.mark.parametrize("is_complex", [False, True])
def test_prox_is_the_best_point_of_a_fine_search(curve: Any, is_complex: bool) -> None:
    """No point of the ray to v, and no random point, does better."""
    rng = generator(38, int(is_complex))
    R = si.GroupConcave(0.7, curve, groups=[0, 0, 1])
    for _ in range(6):
        v = 2.0 * rng.standard_normal(3) + (2j * rng.standard_normal(3) if is_complex else 0.0)
        step = 10.0 ** rng.uniform(-1, 0.5)
        x = R.prox(v, step)

        def cost(z: Array, v: Array = v, step: float = step) -> float:
            return 0.5 * float(np.linalg.norm(z - v) ** 2) + step * R.value(z)

        grid = np.linspace(0.0, 1.2, 121)
        rays = [np.array([s * v[0], s * v[1], t * v[2]]) for s in grid for t in (x[2] / v[2], 0.0, 1.0)]
        nearby = [x + 10.0 ** rng.uniform(-6, 0) * rng.standard_normal(3) for _ in range(200)]
        assert cost(x) <= min(map(cost, rays + nearby)) + 1e-12


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_groups_of_one_are_the_penalty_itself(curve: Any) -> None:
    A, b, _ = planted(1)
    single = curve.replace(lam=0.2)
    R = si.GroupConcave(0.2, curve, groups=np.arange(60))
    x = np.linspace(-2, 2, 60)
    assert R.value(x) == pytest.approx(single.value(x), rel=1e-14)
    np.testing.assert_allclose(R.prox(x, 0.8), single.prox(x, 0.8), rtol=1e-13, atol=1e-15)
    assert si.lam_max(A, b, R) == pytest.approx(si.lam_max(A, b, single), rel=1e-12)
    chosen = si.solve(A, b, si.GroupConcave(None, curve, groups=np.arange(60)))
    assert chosen.lam == pytest.approx(si.solve(A, b, curve).lam, rel=0.02)  # draws of noise differ


def test_a_flat_curve_is_group_l1_and_a_steep_one_is_l0_of_groups() -> None:
    A, b, _ = planted(2)
    flat = si.solve(A, b, si.GroupConcave(0.3, si.MCP(gamma=1e9), groups=LABELS), tol=1e-12)
    convex = si.solve(A, b, si.GroupL1(0.3, groups=LABELS), tol=1e-12)
    np.testing.assert_allclose(flat.x, convex.x, atol=1e-5)
    Q = np.linalg.qr(generator(39).standard_normal((60, 60)))[0]
    c = norms(Q.T @ (b_of := Q @ np.linspace(-1, 1, 60) ** 3))
    charge = 0.05
    steep = si.GroupConcave(np.sqrt(2 * charge / 0.01), si.MCP(gamma=0.01), groups=LABELS)
    kept = norms(si.solve(Q, b_of, steep, tol=1e-12).x) > 0
    np.testing.assert_array_equal(kept, 0.5 * c**2 > charge)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
@pytest.mark.parametrize("is_complex", [False, True])
def test_solutions_are_stationary_and_no_worse_than_group_l1(curve: Any, is_complex: bool) -> None:
    A, b, _ = planted(3, is_complex=is_complex)
    top = si.lam_max(A, b, si.GroupConcave(None, curve, groups=LABELS))
    R = si.GroupConcave(0.3 * top, curve, groups=LABELS)
    result = si.solve(A, b, R, tol=1e-13)
    assert result.success
    assert result.certificate.kind.name == "PROX_STATIONARITY"
    assert result.objective == pytest.approx(objective(A, b, R, result.x), rel=1e-12)
    g, size = A.conj().T @ (A @ result.x - b), norms(result.x)
    h = 1e-6
    single = curve.replace(lam=R.lam)
    for k in np.flatnonzero(size):
        slope = (single.value(size[k : k + 1] + h) - single.value(size[k : k + 1] - h)) / (2 * h)
        block = result.x[GROUPS[k]]
        np.testing.assert_allclose(g[GROUPS[k]] + slope * block / size[k], 0.0, atol=2e-5)
    convex = si.solve(A, b, si.GroupL1(0.3 * si.lam_max(A, b, si.GroupL1(groups=LABELS)), groups=LABELS))
    assert result.objective <= objective(A, b, R, convex.x)


def test_strong_groups_come_whole_and_are_not_biased() -> None:
    """Beyond the plateau of MCP what is left is least squares on the groups that are there."""
    A, b, truth = planted(4)
    result = si.solve(A, b, si.GroupConcave(0.5, si.MCP(gamma=2.0), groups=LABELS), tol=1e-12)
    live = np.isin(LABELS, [1, 6, 11])
    np.testing.assert_array_equal(result.x != 0, live)
    np.testing.assert_allclose(result.x[live], np.linalg.lstsq(A[:, live], b, rcond=None)[0], atol=1e-5)
    convex = si.solve(A, b, si.GroupL1(0.5, groups=LABELS)).x
    assert np.linalg.norm(result.x - truth) < 0.3 * np.linalg.norm(convex - truth)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_lam_max_is_where_the_first_group_pays(curve: Any) -> None:
    """Orthogonal blocks of columns of one length: exact; the levels of a path start there."""
    rng = generator(40)
    A = 1.7 * np.linalg.qr(rng.standard_normal((60, 60)))[0]
    b = rng.standard_normal(60)
    R = si.GroupConcave(None, curve, groups=LABELS)
    top = si.lam_max(A, b, R)
    assert not si.solve(A, b, R.replace(lam=1.0001 * top), tol=1e-12).x.any()
    path = si.solve_path(A, b, R, n_lams=8, ratio=0.1)
    assert path.lams[0] == pytest.approx(top)
    assert path.success
    assert path.n_nonzero[0] <= 4 < path.n_nonzero[-1]
    sizes, below = np.linspace(0.02, 3.0, 4001), curve.replace(lam=0.98 * top)
    gains = np.outer(norms(A.T @ b), sizes) - 0.5 * 1.7**2 * sizes**2 - [below.value(t[None]) for t in sizes]
    assert gains.max() > 0.0


def test_weights_free_and_excluded_groups_and_an_intercept() -> None:
    A, b, _ = planted(5)
    weights = np.ones(15)
    weights[[0, 6]] = 0.0, np.inf
    R = si.GroupConcave(0.4, si.MCP(gamma=2.0), groups=LABELS, weights=weights)
    result = si.solve(A, b + 7.0, R, intercept=True, tol=1e-12)
    assert result.success
    assert (result.x[GROUPS[0]] != 0).all()
    assert not result.x[GROUPS[6]].any()
    r = A @ result.x + result.intercept - b - 7.0
    assert abs(r.sum()) < 1e-6
    assert np.abs(A[:, GROUPS[0]].T @ r).max() < 1e-6
    nothing = si.solve(
        A, b, R.replace(lam=np.where(np.arange(15) == 3, 0.0, np.inf), weights=None), tol=1e-12
    )
    expected = np.linalg.lstsq(A[:, GROUPS[3]], b, rcond=None)[0]
    np.testing.assert_allclose(nothing.x[GROUPS[3]], expected, atol=1e-6)


def test_other_kinds_of_input_say_the_same() -> None:
    from scipy.sparse import csc_array

    A, b, _ = planted(6)
    R = si.GroupConcave(0.5, si.MCP(gamma=2.0), groups=LABELS)
    x = si.solve(A, b, R, tol=1e-12).x
    for other in (csc_array(A), Products(A)):
        np.testing.assert_allclose(si.solve(other, b, R, tol=1e-12).x, x, atol=1e-5)
    single = si.solve(A.astype(np.float32), b.astype(np.float32), R, tol=1e-5)
    assert single.x.dtype == np.float32
    np.testing.assert_allclose(single.x, x, atol=1e-3)
    far = si.solve(A, b * 2.0**300, R.replace(lam=0.5 * 2.0**300), tol=1e-12).x * 2.0**-300
    np.testing.assert_allclose(far, x, atol=1e-6)
    batch = si.solve_many(A, np.stack([b, 2 * b], axis=1), R, tol=1e-12)
    np.testing.assert_allclose(batch.x[:, 0], x, atol=1e-6)


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_the_default_level_finds_the_groups(curve: Any) -> None:
    A, b, _ = planted(7)
    chosen = si.solve(A, b, si.GroupConcave(None, curve, groups=LABELS))
    assert chosen.success
    assert "GroupL1 by the pivotal rule" in chosen.selection.rule
    assert {1, 6, 11} <= set(np.flatnonzero(norms(chosen.x)).tolist())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: si.GroupConcave(1.0, si.MCP()), "groups is missing: GroupConcave needs"),
        (lambda: si.GroupConcave(1.0, groups=[0, 1]), "curve is None, but Lp"),
        (lambda: si.GroupConcave(1.0, si.L1(), groups=[0, 1]), "curve is L1"),
        (lambda: si.GroupConcave(1.0, si.MCP, groups=[0, 1]), "curve is <class"),
        (lambda: si.GroupConcave(1.0, si.MCP(0.3), groups=[0, 1]), "lam, weights and groups belong to"),
        (lambda: si.GroupConcave(1.0, si.MCP(nonnegative=True), groups=[0, 1]), "a norm has no sign"),
        (lambda: si.GroupConcave(-1.0, si.MCP(), groups=[0, 1]), "lam is -1.0"),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.GroupConcave(1.0, si.MCP(), groups=[0, 1, 2])),
            "groups has",
        ),
        (
            lambda: si.solve(
                np.eye(2), np.ones(2), si.GroupConcave(1.0, si.MCP(), groups=[0, 1]), solver=si.WorkingSet()
            ),
            "GroupConcave",
        ),
        (
            lambda: si.lam_max(
                np.eye(2), np.ones(2), si.GroupConcave(None, si.MCP(), groups=[0, 1]), certified=True
            ),
            "no bound is known",
        ),
    ],
)
def test_bad_input(call: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        call()
