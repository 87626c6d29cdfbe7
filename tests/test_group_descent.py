"""Coordinate descent on group norms: exact minimisers, few sweeps, whatever the columns inside a group."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparseinv as si
from reference import judged_gap, plain, truth
from sparseinv.kernels import descent
from sparseinv.operators.adapt import as_operator
from sparseinv.problem import Problem
from sparseinv.solvers import coordinate_descent

CD = si.CoordinateDescent()
LONG = np.longdouble
DESIGNS = ["gaussian", "correlated", "dependent", "mixed scales"]


def design(kind, seed, dtype=float, m=60, count=20, k=8):
    """Groups of k columns: alike, of rank three, or with norms over six decades."""
    rng = np.random.default_rng([seed, count])

    def normal(*shape):
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if dtype is complex else v

    if kind == "correlated":
        A = np.hstack([normal(m, 1) + 0.01 * normal(m, k) for _ in range(count)])
    elif kind == "dependent":
        A = np.hstack([normal(m, 3) @ normal(3, k) for _ in range(count)])
    else:
        A = normal(m, count * k)
    if kind == "mixed scales":
        A *= 10.0 ** rng.uniform(-3, 3, count * k)
    groups = np.arange(count * k) // k
    x = np.zeros(count * k, dtype=dtype)
    for g in (1, 5 % count, 11 % count):
        member = groups == g
        x[member] = normal(k) / np.linalg.norm(A[:, member], axis=0)
    b = A @ x
    return A, b + 0.05 * np.linalg.norm(b) / np.sqrt(m) * normal(m), groups


def level(A, b, groups, ratio):
    return ratio * np.sqrt(np.bincount(groups, weights=np.abs(A.conj().T @ b) ** 2).max())


# --- the minimiser of one block -----------------------------------------------------------------------


def norm_by_bisection(s, c, lam):
    """The root of sum |c_i|^2 / (s_i t + lam)^2 = 1, in extended precision."""
    live = s > 0
    s, c, lam = s[live].astype(LONG), np.abs(c[live]).astype(LONG), LONG(lam)
    if np.sqrt((c**2).sum()) <= lam:
        return 0.0
    low, high = LONG(0), np.sqrt((c**2).sum()) / s.min()
    for _ in range(3000):
        middle = (low + high) / 2 if low == 0 or high < 2 * low else np.sqrt(low * high)
        above = ((c / (s * middle + lam)) ** 2).sum() > 1
        low, high = (middle, high) if above else (low, middle)
        if high - low <= 1e-18 * high:
            break
    return float(low)


@pytest.mark.parametrize("decades", [0, 4, 20])
@pytest.mark.parametrize("dtype", [float, complex])
def test_norm_of_the_minimiser(dtype, decades):
    rng = np.random.default_rng(decades)
    for trial in range(200):
        k = int(rng.integers(1, 12))
        s = 10.0 ** rng.uniform(-decades, 0, k) * (rng.random(k) > 0.2)
        s[0] = 1.0
        z, slope = (rng.standard_normal(k).astype(dtype) for _ in range(2))
        if dtype is complex:
            z, slope = z + 1j * rng.standard_normal(k), slope * 1j
        z *= 10.0 ** rng.uniform(-3, 3) * (trial % 3 > 0)  # warm and cold starts
        c = s * z - slope
        lam = np.linalg.norm(c[s > 0]) * 10.0 ** rng.uniform(-decades, 0.5)
        found = descent.block_norm(s, 0, k, lam, z, slope)
        assert found == pytest.approx(norm_by_bisection(s, c, lam), rel=1e-13), (trial, s, c, lam)
        # A -> 2^20 A, lam -> 2^20 lam
        grown = descent.block_norm(np.ldexp(s, 40), 0, k, lam * 2.0**20, z * 2.0**-20, slope * 2.0**20)
        assert grown == found * 2.0**-20


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("kind", DESIGNS)
def test_one_group_takes_one_sweep(kind, dtype):
    """The second sweep changes nothing beyond rounding; a proximal step would take hundreds."""
    for seed in range(5):
        A, b, _ = design(kind, seed, dtype)
        A = A[:, :16]
        groups = np.zeros(16, dtype=int)
        scale = 0.5 * np.vdot(b, b).real
        for ratio in (0.9, 0.1, 1e-3):
            lam = level(A, b, groups, ratio)
            x0 = None if seed % 2 else np.random.default_rng(seed).standard_normal(16)
            result = si.solve(A, b, si.GroupL1(lam, groups=groups), solver=CD, max_iter=2, tol=1e-9, x0=x0)
            assert result.success, (seed, ratio, result)
            assert judged_gap(plain(A, b, l1=lam, groups=groups), result.x) <= 1e-8 * scale


# --- sweeps -------------------------------------------------------------------------------------------

# one proximal step a group took at least (correlated) 440, (dependent) 88, (mixed scales) 496 and 3000
BUDGETS = [("correlated", 1e-3, 20), ("dependent", 1e-3, 60), ("mixed scales", 1e-2, 40)]
BUDGETS += [("mixed scales", 1e-3, 240)]


@pytest.mark.parametrize("make", [np.asarray, sp.csc_array], ids=lambda make: make.__name__)
@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize(("kind", "ratio", "budget"), BUDGETS)
def test_sweeps(kind, ratio, budget, dtype, make):
    for seed in range(3):
        A, b, groups = design(kind, seed, dtype)
        lam = level(A, b, groups, ratio)
        result = si.solve(make(A), b, si.GroupL1(lam, groups=groups), solver=CD, tol=1e-8, max_iter=budget)
        assert result.success, (seed, result)
        assert (np.diff(result.history.objective) <= 1e-13 * result.history.objective[:-1]).all()
        problem = plain(A, b, l1=lam, groups=groups)
        assert judged_gap(problem, result.x) <= 1e-6 * problem.scale


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("kind", DESIGNS)
def test_against_an_interior_point_method(kind, dtype):
    """Levels zero and infinite, a zero column in a group, groups wider than A has rows, uneven sizes."""
    rng = np.random.default_rng(7)
    A, b, _ = design(kind, 3, dtype, m=12, count=4, k=6)
    groups = np.array([0] * 2 + [1] * 14 + [2] * 1 + [3] * 4 + [4] * 3)
    A[:, [3, 18]] = 0.0
    lam = level(A, b, groups, 0.05) * np.array([1.0, 2.0, 0.5, 1.0, 1.0])
    lam[0], lam[4] = 0.0, np.inf
    problem = plain(A, b, l1=lam, groups=groups)
    known = truth(problem)
    assert known.upper - known.lower <= 1e-10 * problem.scale, "the judge does not know the minimum"
    for x0 in (None, rng.standard_normal(24)):
        result = si.solve(A, b, si.GroupL1(lam, groups=groups), solver=CD, tol=1e-9, x0=x0)
        assert result.success
        assert float(problem.objective(result.x) - known.lower) <= 1e-8 * problem.scale
        assert not result.x[[3, 18]].any()  # they cost and gain nothing
        assert not result.x[groups == 4].any()


@pytest.mark.parametrize("dtype", [float, complex])
def test_unpenalised_group_of_dependent_columns(dtype):
    """Least squares, without a word about which of the fits."""
    A, b, groups = design("dependent", 0, dtype)
    A, groups = A[:, :16], groups[:16]
    result = si.solve(A, b, si.GroupL1([0.0, np.inf], groups=groups), solver=CD, tol=1e-12)
    fit = np.linalg.lstsq(A[:, :8], b, rcond=None)[0]
    assert result.success
    np.testing.assert_allclose(A @ result.x, A[:, :8] @ fit, atol=1e-9 * np.linalg.norm(b))
    np.testing.assert_allclose(result.x[:8], fit, atol=1e-9 * np.linalg.norm(fit))


def test_sixteen_decades_in_a_group():
    """Directions below rounding drop out; nothing else is harmed."""
    A, b, groups = design("gaussian", 1)
    A = A * np.tile(np.geomspace(1e-8, 1e8, 8), 20)
    lam = level(A, b, groups, 0.01)
    result = si.solve(A, b, si.GroupL1(lam, groups=groups), solver=CD, tol=1e-8, max_iter=200)
    assert result.success
    problem = plain(A, b, l1=lam, groups=groups)
    assert judged_gap(problem, result.x) <= 1e-5 * problem.scale


@pytest.mark.parametrize("kind", DESIGNS)
def test_powers_of_two_change_no_bit(kind):
    A, b, groups = design(kind, 2, complex)
    lam = level(A, b, groups, 0.05)
    expected = si.solve(A, b, si.GroupL1(lam, groups=groups), solver=CD, tol=1e-8)
    for s, c in ((0, 40), (0, -77), (-300, 0), (13, 200)):
        penalty = si.GroupL1(np.ldexp(lam, s + c), groups=groups)
        result = si.solve(A * 2.0**c, b * 2.0**s, penalty, solver=CD, tol=1e-8)
        assert np.array_equal(result.x * 2.0 ** (c - s), expected.x)
        assert result.n_iter == expected.n_iter


# --- what is held -------------------------------------------------------------------------------------


def test_eigenvectors_and_their_memory():
    A, b, _ = design("mixed scales", 0, complex)
    groups = np.repeat(np.arange(5), [1, 100, 8, 50, 1])
    problem = Problem(as_operator(A), b, si.GroupL1(1.0, groups=groups))
    state = CD.start(problem, None)
    vectors, offsets, empty, *scratch = state.basis
    assert vectors.size == 100**2 + 8**2 + 50**2  # one column needs none
    assert np.diff(offsets).tolist() == [0, 100**2, 8**2, 50**2, 0]
    assert [v.size for v in scratch] == [100] * 3
    assert not empty.any()
    for g in range(5):
        member = groups == g
        k = member.sum()
        s = state.squares[member]
        V = vectors[offsets[g] : offsets[g + 1]].reshape(k, k).T if k > 1 else np.eye(1)
        gram = A[:, member].conj().T @ A[:, member]
        norm = np.linalg.norm(gram, 2)
        assert np.linalg.norm(V @ np.diag(s) @ V.conj().T - gram, 2) <= 1e-12 * norm
        assert np.linalg.norm(V.conj().T @ V - np.eye(k), 2) <= 1e-12


@pytest.mark.parametrize("limit", ["_LARGEST_GROUP", "_BASIS_BYTES"])
def test_beyond_the_limits_a_proximal_step(limit, monkeypatch):
    A, b, groups = design("correlated", 0)
    lam = level(A, b, groups, 0.01)
    penalty = si.GroupL1(lam, groups=groups)
    exact = si.solve(A, b, penalty, solver=CD, tol=1e-9)
    monkeypatch.setattr(coordinate_descent, limit, 3 if limit == "_LARGEST_GROUP" else 5 * 64 * 8)
    problem = Problem(as_operator(A), b, penalty)
    assert CD.start(problem, None).basis[0].size == (0 if limit == "_LARGEST_GROUP" else 5 * 64)
    result = si.solve(A, b, penalty, solver=CD, tol=1e-9)
    assert exact.success
    assert result.success
    assert result.objective == pytest.approx(exact.objective, abs=1e-9 * exact.certificate.scale)
    assert exact.n_iter < result.n_iter


def test_a_group_beyond_two_hundred():
    rng = np.random.default_rng(5)
    A, b = rng.standard_normal((40, 260)), rng.standard_normal(40)
    groups = np.repeat([0, 1, 2], [210, 40, 10])
    lam = level(A, b, groups, 0.2)
    result = si.solve(A, b, si.GroupL1(lam, groups=groups), solver=CD, tol=1e-7)
    assert result.success
    problem = plain(A, b, l1=lam, groups=groups)
    assert judged_gap(problem, result.x) <= 1e-5 * problem.scale
