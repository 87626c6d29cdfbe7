"""explain: degrees of freedom by differences, shares, pulls and the noise level, per group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseinv as si
from cases import Products, generator

Array = np.ndarray[Any, Any]

M, N = 40, 24
LABELS = np.arange(N) // 6
WEIGHTS = np.linspace(0.5, 2.0, N)
WEIGHTS[[3, 17]] = 0.0, np.inf


def data(seed: int, *, is_complex: bool = False) -> tuple[Array, Array]:
    rng = generator(91, seed)
    A = rng.standard_normal((M, N)) * 10.0 ** rng.uniform(-1, 1, N)
    x = np.where(rng.random(N) < 0.3, rng.standard_normal(N), 0.0) / np.linalg.norm(A, axis=0) * 10
    b = A @ x + 0.5 * rng.standard_normal(M)
    if is_complex:
        A = A + 1j * rng.standard_normal((M, N))
        b = A @ (x * np.exp(1j * np.arange(N))) + 0.5 * (rng.standard_normal(M) + 1j * rng.standard_normal(M))
    return A, b


def penalty(name: str, lam: float | None = None) -> Any:
    return {
        "L1": si.L1(lam),
        "weighted": si.L1(lam, weights=WEIGHTS),
        "nonnegative": si.L1(lam, nonnegative=True),
        "L2": si.L2(lam, weights=np.linspace(0.5, 2.0, N)),
        "ElasticNet": si.ElasticNet(lam, l1_ratio=0.6, weights=WEIGHTS),
        "GroupL1": si.GroupL1(lam, groups=LABELS, weights=[1.0, 2.0, 0.0, 1.0]),
    }[name]


def divergence(A: Array, b: Array, R: Any) -> float:
    """sum_i d (A x)_i / d b_i by central differences, over real and imaginary parts."""
    h = 1e-4 * float(np.abs(b).max())
    parts = (1.0, 1j) if np.iscomplexobj(b) else (1.0,)
    total = 0.0
    for i in range(b.size):
        for part in parts:
            step = np.zeros_like(b)
            step[i] = h * part
            up, down = (si.solve(A, b + s * step, R, tol=1e-14).x for s in (1, -1))
            slope = (A @ (up - down))[i] / (2 * h)
            total += float((slope / part).real)
    return total


@pytest.mark.parametrize(
    ("name", "is_complex"),
    [("L1", False), ("weighted", False), ("nonnegative", False), ("L2", False), ("ElasticNet", False),
     ("GroupL1", False), ("weighted", True), ("GroupL1", True), ("L2", True)],
)  # fmt: skip
def test_degrees_of_freedom_are_the_divergence(name: str, is_complex: bool) -> None:
    A, b = data(1, is_complex=is_complex)
    lam = 20.0 if name == "L2" else 0.2 * si.lam_max(A, b, penalty(name))
    R = penalty(name, lam)
    seen = si.explain(A, b, R, si.solve(A, b, R, tol=1e-14))
    assert seen.df == pytest.approx(divergence(A, b, R) / (2 if is_complex else 1), rel=1e-5)
    assert 1.0 < seen.df < N


@pytest.mark.parametrize("name", ["L1", "weighted", "nonnegative", "ElasticNet", "GroupL1"])
@pytest.mark.parametrize("is_complex", [False, True])
def test_pull_is_one_where_something_is_not_zero(name: str, is_complex: bool) -> None:
    """Whatever the size of a group: every live one is held with its level, every dead one pulls less."""
    if is_complex and name == "nonnegative":
        return
    for seed in range(3):
        A, b = data(10 + seed, is_complex=is_complex)
        R = penalty(name, 0.3 * si.lam_max(A, b, penalty(name)))
        result = si.solve(A, b, R, tol=1e-15)
        seen = si.explain(A, b, R, result, groups=LABELS)
        assert seen.lam_ratio == pytest.approx(0.3, rel=1e-10)
        assert seen.share.sum() == pytest.approx(1.0, rel=1e-12)
        assert seen.n_nonzero.sum() == result.support.size
        np.testing.assert_array_equal(seen.size, 6)
        for k in range(4):
            index = k == LABELS
            held = index & (R.bind(N).level > 0 if name == "GroupL1" else R.levels(N) > 0)
            if not held.any():
                assert np.isnan(seen.kkt[k])
            elif result.x[held].any():
                assert seen.kkt[k] == pytest.approx(1.0, abs=1e-8)
            else:
                assert seen.kkt[k] <= 1.0 + 1e-9
            values = [R.value(np.where(part, result.x, 0.0)) for part in (index, np.ones(N, dtype=bool))]
            assert seen.share[k] == pytest.approx(values[0] / values[1], rel=1e-9, abs=1e-15)
        r = A @ result.x - b
        left = M - seen.df
        assert seen.residual_norm == pytest.approx(np.linalg.norm(r), rel=1e-12)
        assert seen.sigma == pytest.approx(np.linalg.norm(r) / np.sqrt(left), rel=1e-12)


def test_ridge_and_charge() -> None:
    A, b = data(20)
    R = penalty("L2", 3.0)
    seen = si.explain(A, b, R, si.solve(A, b, R, tol=1e-15), groups=LABELS)
    assert seen.lam_ratio == 0.0
    np.testing.assert_allclose(seen.kkt, 1.0, rtol=1e-6)
    w = 1.0 + np.arange(N) % 3
    R = si.L0(0.05 * si.lam_max(A, b, si.L0()), weights=w)
    result = si.solve(A, b, R, tol=1e-13)
    seen = si.explain(A, b, R, result, groups=LABELS)
    zero = result.x == 0
    gain = (A.T @ (A @ result.x - b)) ** 2 / (2 * (A**2).sum(axis=0)) / (R.lam * w)
    expected = [gain[zero & (k == LABELS)].max() for k in range(4)]
    np.testing.assert_allclose(seen.kkt, expected, rtol=1e-9)
    assert seen.kkt.max() <= 1.0
    assert seen.df == pytest.approx(result.support.size)


def test_lam_from_the_data_and_in_both_units() -> None:
    A, b = data(30)
    chosen = si.solve(A, b, si.L1(groups=LABELS), tol=1e-10)
    seen = si.explain(A, b, si.L1(groups=LABELS), chosen)
    assert seen.lam == chosen.lam
    assert seen.lam_ratio == pytest.approx(chosen.lam / si.lam_max(A, b, si.L1()))
    np.testing.assert_array_equal(seen.groups, np.arange(4))
    scaled = si.scale_penalty(A, si.L1(0.01), scaling="mean", normalize="columns")
    seen = si.explain(A, b, scaled, si.solve(A, b, scaled))
    raw = 0.01 * M * np.linalg.norm(A, axis=0)
    assert seen.lam == 0.01
    np.testing.assert_allclose(seen.level, [[raw.min(), raw.max()]])
    unit = A / np.linalg.norm(A, axis=0)
    assert seen.lam_ratio == pytest.approx(0.01 * M / si.lam_max(unit, b, si.L1()))


def test_scale_and_containers_change_nothing() -> None:
    A, b = data(40)
    R = penalty("ElasticNet", 0.2 * si.lam_max(A, b, penalty("ElasticNet")))
    x = si.solve(A, b, R, tol=1e-13).x
    seen = si.explain(A, b, R, x)
    free = si.explain(Products(A), b, R, x)
    huge = si.explain(A * 2.0**300, b * 2.0**-200, si.L1(1e-30), x * 2.0**-500)
    for name in ("df", "sigma", "share", "kkt", "lam_ratio"):
        np.testing.assert_allclose(getattr(free, name), getattr(seen, name), rtol=1e-9)
    assert huge.sigma == pytest.approx(si.explain(A, b, si.L1(1e-60), x).sigma * 2.0**-200, rel=1e-9)


def test_ends() -> None:
    A, b = data(50)
    zero = si.explain(A, b, si.L1(1e9), np.zeros(N))
    assert (zero.df, zero.share.sum(), zero.n_nonzero.sum()) == (0.0, 0.0, 0)
    assert zero.lam_ratio > 1
    assert si.explain(A, np.zeros(M), si.L1(1.0), np.zeros(N)).lam_ratio == np.inf
    text = repr(si.explain(A, b, penalty("GroupL1", 1.0), np.ones(N)))
    assert "degrees of freedom" in text
    assert len(text.splitlines()) == 6
    square = si.explain(np.eye(3), np.ones(3), si.L1(0.1), 0.9 * np.ones(3))
    assert np.isnan(square.sigma)


@pytest.mark.parametrize("name", ["L1", "weighted", "nonnegative", "L2", "ElasticNet", "GroupL1"])
def test_an_intercept_is_a_free_column_of_ones(name: str) -> None:
    """Taking means off A and b, which is the same, must say the same but for one degree of freedom."""
    A, b = data(5)
    b = b + 30.0
    lam = 0.1 * si.lam_max(A, b, penalty(name), intercept=True) if name != "L2" else 3.0
    R = penalty(name, lam)
    result = si.solve(A, b, R, intercept=True, tol=1e-14)
    seen = si.explain(A, b, R, result, groups=LABELS)
    centred = si.explain(A - A.mean(axis=0), b - b.mean(), R, result.x, groups=LABELS)
    assert seen.residual_norm == pytest.approx(np.linalg.norm(A @ result.x + result.intercept - b), rel=1e-9)
    assert seen.df == pytest.approx(centred.df + 1.0, rel=1e-9)
    assert seen.sigma == pytest.approx(seen.residual_norm / np.sqrt(M - seen.df), rel=1e-12)
    assert seen.lam_ratio == pytest.approx(centred.lam_ratio, rel=1e-9)
    np.testing.assert_allclose(seen.kkt, centred.kkt, atol=1e-6)
    np.testing.assert_allclose(seen.share, centred.share, atol=1e-12)
    np.testing.assert_array_equal(seen.size, centred.size)
    point = si.explain(A, b, R, result.x, groups=LABELS, intercept=result.intercept)
    assert repr(point) == repr(seen)
    with pytest.raises(ValueError, match="brings its own"):
        si.explain(A, b, R, result, intercept=1.0)


@pytest.mark.parametrize(
    ("R", "x", "words"),
    [
        (si.L1(), np.zeros(2), "lam is missing: pass the Result"),
        (si.L0Ball(1), np.zeros(2), "has no level to explain"),
        (si.L1(1.0), np.zeros(3), "x has shape"),
        (si.L1, np.zeros(2), "penalty is the class L1"),
    ],
)
def test_explain_refuses(R: Any, x: Array, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        si.explain(np.eye(2), np.ones(2), R, x)
