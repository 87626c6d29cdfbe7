"""Levels tied by groups in L0: one lam per label, every coefficient charged; against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import sparseinv as si

NAMES = np.array(["deep", "near", "mid"])
SOLVERS = [
    si.LocalSearch(), si.IRLS(), si.IRL1(), si.SL0(), si.BranchAndBound(), si.OMP(), si.OLS(backward=True),
    si.Portfolio(), si.SparseBayesian(), si.MessagePassing(), si.CoordinateDescent(), si.ISTA(),
]  # fmt: skip


def data(seed, m=16, n=10, is_complex=False):
    """Return (A, b, labels, lam per label in sorted order): coherent columns, three groups out of order."""
    rng = np.random.default_rng([7, seed])
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = 0.8 * A[:, j - 1] + 0.6 * A[:, j]
    x = np.zeros(n)
    x[rng.permutation(n)[:4]] = rng.standard_normal(4)
    if is_complex:
        A, x = A + 1j * rng.standard_normal((m, n)), x * np.exp(1j * np.arange(n))
    b = A @ x
    b = b + 0.2 * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m)
    labels = NAMES[rng.permutation(np.arange(n) % 3)]
    return A, b, labels, np.linalg.norm(b) ** 2 * rng.permutation([0.002, 0.01, 0.03])


def spread(lam, labels):
    """Return one level per coefficient, written down from the definition."""
    order = sorted(set(labels))
    return np.array([lam[order.index(label)] for label in labels])


def swept(A, b, S, l1, l2, nonnegative):
    """Return the minimiser on the support S by sweeps over its coefficients."""
    S = list(S)
    G, q = A[:, S].conj().T @ A[:, S] + np.diag(l2[S]), A[:, S].conj().T @ b
    x = np.zeros(len(S), dtype=G.dtype)
    for _ in range(5000):
        before = x.copy()
        for u in range(len(S)):
            slope = q[u] - G[u] @ x + G[u, u] * x[u]
            size = max(slope.real, 0.0) if nonnegative else abs(slope)
            x[u] = max(size - l1[S[u]], 0.0) * (slope / abs(slope) if size else 0.0) / G[u, u].real
        if np.abs(x - before).max(initial=0.0) <= 1e-14:
            break
    return x


def enumerated(A, b, level, l1=0.0, l2=0.0, nonnegative=False):
    """Return the least objective over all supports without excluded coefficients."""
    n = A.shape[1]
    l1, l2 = np.broadcast_to(l1, (n,)), np.broadcast_to(l2, (n,))
    there = [j for j in range(n) if np.isfinite(level[j])]
    best = np.inf
    for k in range(len(there) + 1):
        for S in itertools.combinations(there, k):
            if l1.any() or nonnegative:
                x = swept(A, b, S, l1, l2, nonnegative)
            else:
                tall = np.vstack([A[:, list(S)], np.diag(np.sqrt(l2[list(S)]))])
                x = np.linalg.lstsq(tall, np.concatenate([b, np.zeros(k)]), rcond=None)[0]
            r = A[:, list(S)] @ x - b
            value = 0.5 * np.vdot(r, r).real + l1[list(S)] @ np.abs(x) + 0.5 * l2[list(S)] @ np.abs(x) ** 2
            best = min(best, value + sum(level[j] for j, v in zip(S, x, strict=True) if v != 0))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_search_and_tree_find_the_enumerated_minimum(seed):
    A, b, labels, lam = data(seed)
    if seed % 4 == 1:
        lam[0] = 0.0  # a group without a penalty
    if seed % 4 == 2:
        lam[1] = np.inf  # one that is excluded
    if seed % 4 == 3:
        lam[:2] = 0.0, np.inf
    level = spread(lam, labels)
    best = enumerated(A, b, level)
    for solver in (si.LocalSearch(), si.BranchAndBound(), si.Portfolio()):
        result = si.solve(A, b, si.L0(lam, groups=labels), solver=solver, tol=1e-9)
        assert result.success
        assert result.objective == pytest.approx(best, rel=1e-9)
        assert not result.x[np.isinf(level)].any()
        np.testing.assert_allclose(A[:, level == 0].T @ (A @ result.x - b), 0.0, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["ridge", "levels of moduli", "nonnegative", "complex"])
def test_search_finds_it_with_companions_signs_and_complex_data(mode, seed):
    A, b, labels, lam = data(20 + seed, n=8, is_complex=mode == "complex")
    l1 = 0.05 * np.abs(A.T @ b).max() if mode == "levels of moduli" else 0.0
    l2 = 2.0 if mode == "ridge" else 0.0
    nonnegative = mode == "nonnegative"
    penalty = si.L0(lam, groups=labels, l1=l1 or None, l2=l2 or None, nonnegative=nonnegative)
    result = si.solve(A, b, penalty, solver=si.LocalSearch())
    assert result.success
    assert result.objective == pytest.approx(
        enumerated(A, b, spread(lam, labels), l1, l2, nonnegative), rel=1e-8
    )


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_tied_levels_are_levels_of_coefficients_bit_for_bit(solver):
    A, b, labels, lam = data(30)
    level = spread(lam, labels)
    tied = si.solve(A, b, si.L0(lam, groups=labels), solver=solver)
    single = si.solve(A, b, si.L0(level), solver=solver)
    np.testing.assert_array_equal(tied.x, single.x)
    assert tied.objective >= enumerated(A, b, level) * (1 - 1e-9)
    # factors per label do the same
    weighted = si.solve(A, b, si.L0(2.0, groups=labels, weights=0.5 * lam), solver=solver)
    np.testing.assert_allclose(weighted.x, tied.x, atol=1e-12)


@pytest.mark.parametrize("solver", [si.IRLS(), si.IRL1()], ids=repr)
def test_reweighting_comes_close_with_free_and_excluded_groups(solver):
    found = 0
    for seed in range(8):
        A, b, labels, lam = data(40 + seed)
        lam[seed % 3], lam[(seed + 1) % 3] = 0.0, np.inf
        level = spread(lam, labels)
        result = si.solve(A, b, si.L0(lam, groups=labels), solver=solver)
        best = enumerated(A, b, level)
        assert result.success
        assert result.objective >= best * (1 - 1e-9)
        assert not result.x[np.isinf(level)].any()
        np.testing.assert_allclose(A[:, level == 0].T @ (A @ result.x - b), 0.0, atol=1e-6)
        found += result.objective <= best * (1 + 1e-9)
    assert found >= 6


@pytest.mark.parametrize("solver", [si.IRLS(), si.IRL1()], ids=repr)
@pytest.mark.parametrize("make", [si.L1, lambda lam, groups: si.ElasticNet(lam, 0.7, groups=groups)])
def test_tied_levels_of_convex_penalties(make, solver):
    A, b, labels, lam = data(50)
    levels = 20.0 * lam
    tied = si.solve(A, b, make(levels, groups=labels), solver=solver, tol=1e-5)
    best = si.solve(A, b, make(spread(levels, labels), groups=None), tol=1e-12)
    assert tied.success
    assert tied.objective == pytest.approx(best.objective, abs=1e-5 * 0.5 * (b @ b))


@pytest.mark.parametrize("solver", [si.LocalSearch(), si.BranchAndBound(), si.IRLS(), si.IRL1()], ids=repr)
def test_a_group_is_charged_for_each_of_its_coefficients(solver):
    """Tied levels are no block penalty: two coefficients of a group cost twice its level."""
    A, b = np.eye(4), np.array([3.0, 3.0, 3.0, 1.0])
    result = si.solve(A, b, si.L0([1.0, 9.0], groups=[0, 0, 1, 1]), solver=solver)
    np.testing.assert_allclose(result.x, [3.0, 3.0, 0.0, 0.0], atol=1e-12)
    assert result.objective == pytest.approx(2.0 + 0.5 * (9.0 + 1.0))
    # as one block, [3, 1] would pay: 1/2 (9 + 1) > 4.6, each alone does not
    both = si.solve(A, b, si.L0([1.0, 4.6], groups=[0, 0, 1, 1]), solver=solver)
    np.testing.assert_array_equal(both.support, [0, 1])


def test_many_right_hand_sides_and_paths():
    A, b, labels, lam = data(60, n=8)
    B = np.stack([b, np.roll(b, 3), -b], axis=1)
    batch = si.solve_many(A, B, si.L0(lam, groups=labels), solver=si.LocalSearch())
    for j in range(3):
        assert batch[j].objective == pytest.approx(enumerated(A, B[:, j], spread(lam, labels)), rel=1e-9)
    path = si.solve_path(A, b, si.L0(lam, groups=labels), lams=[4.0, 1.0, 0.25], solver=si.LocalSearch())
    for factor, result in zip((4.0, 1.0, 0.25), path, strict=True):
        assert result.objective <= enumerated(A, b, factor * spread(lam, labels)) * (1 + 1e-6)
