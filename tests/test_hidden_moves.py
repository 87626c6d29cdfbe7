"""What is left of nearly dependent columns against rational arithmetic; certificates that look at them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize

import sparseinv as si
from cases import Products
from sparseinv import hidden_moves
from sparseinv.exact_columns import Basis, difference
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem

GAPS = [3e-5, 1e-6, 1e-8, 1e-10, 1e-12]


def solved(G, q):
    """Solve a small system by elimination in rational arithmetic."""
    rows = [[*row, value] for row, value in zip(G, q, strict=True)]
    n = len(rows)
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [a - rows[k][i] * c for a, c in zip(rows[k], rows[i], strict=True)]
    return [row[n] for row in rows]


def rational(A):
    return [[Fraction(float(v)) for v in column] for column in A.T]


def fitted(A, b, S, l2=0):
    """Return (1/2 misfit + 1/2 l2 |x|^2, x) of the exact refit on S, without any rounding."""
    columns, target = rational(A[:, list(S)]), [Fraction(float(v)) for v in b]
    half = sum(v * v for v in target) / 2
    if not columns:
        return half, []
    G = [[sum(x * y for x, y in zip(u, v, strict=True)) for v in columns] for u in columns]
    for i in range(len(G)):
        G[i][i] += Fraction(float(l2))
    q = [sum(x * y for x, y in zip(u, target, strict=True)) for u in columns]
    x = solved(G, q)
    return half - sum(u * v for u, v in zip(q, x, strict=True)) / 2, x


def best_neighbour(A, b, S, lam, l2=0, most=None):
    """Return the lowest exact objective after one addition, removal or exchange, S itself included."""
    S, n = list(S), A.shape[1]
    rest = [j for j in range(n) if j not in S]
    near = [S, *([i for i in S if i != j] for j in S)]
    near += [[*T, j] for T in list(near) for j in rest]
    near = [T for T in near if most is None or len(T) <= most]
    return float(min(fitted(A, b, T, l2)[0] + sum(Fraction(float(lam[j])) for j in T) for T in near))


def twins(seed, gap, m=14, n=6):
    """Return (A, b): columns 0 and 1 differ by gap, in a direction that b needs."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    z = rng.standard_normal(m)
    A[:, 1] = A[:, 0] + gap * z
    return A, 2.0 * A[:, 0] + z + 0.3 * A[:, 3] + 0.05 * rng.standard_normal(m)


@pytest.mark.parametrize("gap", GAPS)
def test_what_is_left_has_all_its_digits(gap):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((9, 3))
    a = 0.7 * A[:, 0] - 1.3 * A[:, 1] + gap * rng.standard_normal(9)
    columns, own = rational(A), [Fraction(float(v)) for v in a]
    G = [[sum(x * y for x, y in zip(u, v, strict=True)) for v in columns] for u in columns]
    t = solved(G, [sum(x * y for x, y in zip(u, own, strict=True)) for u in columns])
    exact = [v - sum(s * c[k] for s, c in zip(t, columns, strict=True)) for k, v in enumerate(own)]
    left = Basis(A).left(a)
    np.testing.assert_allclose(left.column, [float(v) for v in exact], rtol=0, atol=1e-14 * left.square**0.5)
    assert left.square == pytest.approx(float(sum(v * v for v in exact)), rel=1e-14)
    # a coefficient that is nearly zero has its digits, too
    np.testing.assert_allclose(left.shares, [float(v) for v in t], rtol=1e-12)


@pytest.mark.parametrize("gap", GAPS)
def test_a_basis_of_near_twins_is_orthonormal_and_fits(gap):
    A, b = twins(1, gap)
    basis = Basis(A[:, [0, 1, 3]])
    assert basis.complete
    np.testing.assert_allclose(basis.q.T @ basis.q, np.eye(3), atol=1e-13)
    x = basis.fit(b)
    np.testing.assert_allclose(x, [float(v) for v in fitted(A, b, (0, 1, 3))[1]], rtol=1e-9)


def test_the_same_column_twice_is_no_basis():
    A, _ = twins(2, 0.0)
    assert not Basis(A[:, [0, 1, 3]]).complete
    assert Basis(A[:, [0, 3]]).left(A[:, 1] * 3.0 + 1e-15).square == 0.0


def test_complex_differences():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((8, 2)) + 1j * rng.standard_normal((8, 2))
    t = np.array([1.0 - 2.0j, 0.5j])
    delta = 1e-9 * (rng.standard_normal(8) + 1j * rng.standard_normal(8))
    a = A @ t + delta
    exact = difference(a.real, np.hstack([A.real, A.imag]), np.concatenate([t.real, -t.imag]))
    got = difference(a, A, t)
    np.testing.assert_array_equal(got.real, exact)
    np.testing.assert_allclose(got, delta, atol=1e-14)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("form", ["L0", "L0L2", "L0Ball", "different levels", "operator"])
def test_the_certificate_sees_the_pair(gap, form):
    """From the support {0, 3} the addition of 1, which is 0 but for gap, is what betters it."""
    A, b = twins(4, gap)
    lam, l2, most = np.full(6, 0.05), 0.0, None
    penalty = si.L0(0.05)
    if form == "L0L2":
        l2 = 1e-14 * gap
        penalty = si.L0(0.05, l2=l2)
    elif form == "L0Ball":
        lam, most = np.zeros(6), 3
        penalty = si.L0Ball(3)
    elif form == "different levels":
        lam = np.linspace(0.02, 0.3, 6)
        penalty = si.L0(lam)
    given = Products(A) if form == "operator" else A
    for S in ((0, 3), (1, 3), (0,), (0, 3, 4)):
        x = np.zeros(6)
        x[list(S)] = [float(v) for v in fitted(A, b, S, l2)[1]]
        problem = Problem(*system(given, b), penalty)
        y = problem.units.working(x)
        decrease = problem.units.objective(hidden_moves.swap_decrease(problem, y, problem.residual(y)))
        now = 0.5 * np.sum((A @ x - b) ** 2) + lam[list(S)].sum() + 0.5 * l2 * (x @ x)
        if most is not None and len(S) > most:
            continue
        expected = now - best_neighbour(A, b, S, lam, l2, most)
        # products of columns, which do for a gap of 3e-5, leave half of the digits
        assert decrease == pytest.approx(expected, rel=1e-6 if gap > 1e-5 else 1e-8, abs=1e-9)
        if len(S) < 3 and 0 in S:
            assert expected > 0.1 * 0.5 * (b @ b) or len(S) == 1


@pytest.mark.parametrize("gap", [3e-5, 1e-6, 1e-8])
def test_a_support_of_near_twins_is_judged(gap):
    """Products of columns cannot hold this support; its certificate is that of the exact neighbourhood."""
    A, b = twins(5, gap)
    lam = np.full(6, 0.05)
    for S in ((0, 1), (0, 1, 3), (0, 1, 2, 3)):
        x = np.zeros(6)
        x[list(S)] = [float(v) for v in fitted(A, b, S)[1]]
        problem = Problem(*system(A, b), si.L0(0.05))
        y = problem.units.working(x)
        decrease = problem.units.objective(hidden_moves.swap_decrease(problem, y, problem.residual(y)))
        now = 0.5 * np.sum((A @ x - b) ** 2) + 0.05 * len(S)
        expected = now - best_neighbour(A, b, S, lam)
        assert decrease == pytest.approx(expected, rel=1e-6, abs=1e-6 * 0.5 * (b @ b))


@pytest.mark.parametrize("gap", [3e-5, 1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("penalty", [si.L0(0.05), si.L0Ball(3)], ids=str)
def test_a_search_finds_the_pair_or_does_not_call_itself_optimal(gap, penalty):
    A, b = twins(6, gap)
    result = si.solve(A, b, penalty, solver=si.LocalSearch())
    lam = 0.05 if isinstance(penalty, si.L0) else 0.0
    sizes = range(7) if lam else range(4)
    best = min(
        float(fitted(A, b, S)[0]) + lam * k for k in sizes for S in itertools.combinations(range(6), k)
    )
    assert {0, 1} <= set(result.support)
    assert result.objective == pytest.approx(best, rel=1e-5)
    assert result.certificate.value <= 1e-5 * best or not result.success


def test_signs_forbid_what_the_pair_would_need():
    """x >= 0 leaves no use for two columns that are almost one; no false alarm is raised."""
    A, b = twins(7, 1e-6)
    for penalty in (si.L0(0.05, nonnegative=True), si.L0(0.05, l1=0.1), si.L0Ball(3, nonnegative=True)):
        result = si.solve(A, b, penalty, solver=si.LocalSearch())
        assert result.success
        assert result.certificate.relative <= 1e-6


def test_columns_equal_but_for_rounding_are_one():
    rng = np.random.default_rng(8)
    A = rng.standard_normal((20, 8))
    A[:, 4] = (A[:, 0] - 2.0 * A[:, 1]) / 3.0
    A[:, 5] = A[:, 2] * (1.0 + 2.0**-52)
    b = A[:, 0] + A[:, 1] + 3.0 * A[:, 2] + 0.3 * rng.standard_normal(20)
    result = si.solve(A, b, si.L0(0.05), solver=si.LocalSearch())
    assert result.success
    assert np.abs(result.x).max() < 10.0


def test_hidden_columns_too_many_to_look_at_are_counted_in(monkeypatch):
    A, b = twins(9, 1e-7)
    x = np.zeros(6)
    x[[0, 3]] = np.linalg.lstsq(A[:, [0, 3]], b, rcond=None)[0]
    problem = Problem(*system(A, b), si.L0(0.05))
    y = problem.units.working(x)
    exact = hidden_moves.swap_decrease(problem, y, problem.residual(y))
    monkeypatch.setattr(hidden_moves, "_WORK", 0.0)
    bound = hidden_moves.swap_decrease(problem, y, problem.residual(y))
    assert bound >= exact > 0.0
    assert bound <= 0.5 * float(np.sum(problem.residual(y) ** 2)) * (1 + 1e-9)


def test_an_intercept_beside_the_pair():
    A, b = twins(10, 1e-6)
    result = si.solve(A, b + 5.0, si.L0(0.05), solver=si.LocalSearch(), intercept=True)
    ones = np.column_stack([A, np.ones(14)])
    best = min(
        float(fitted(ones, b + 5.0, (*S, 6))[0]) + 0.05 * k
        for k in range(5)
        for S in itertools.combinations(range(6), k)
    )
    assert {0, 1} <= set(result.support)
    assert result.objective == pytest.approx(best, rel=1e-5)


def test_free_columns_that_depend_on_each_other():
    A, b = twins(11, 1e-6, m=14, n=8)
    A[:, 6], A[:, 7] = 2.0 * A[:, 5], 0.0
    lam = np.full(8, 0.05)
    lam[[5, 6, 7]] = 0.0
    result = si.solve(A, b, si.L0(lam), solver=si.LocalSearch())
    best = min(
        float(fitted(A, b, (*S, 5))[0]) + 0.05 * k
        for k in range(5)
        for S in itertools.combinations(range(5), k)
    )
    assert {0, 1} <= set(result.support)
    assert result.objective == pytest.approx(best, rel=1e-5)
    basis = Basis(A[:, [5, 6, 0, 7, 1]])
    assert basis.kept.tolist() == [True, False, True, False, True]
    np.testing.assert_array_equal(basis.fit(b)[[1, 3]], 0.0)


def test_many_right_hand_sides_are_judged_as_each_alone():
    rng = np.random.default_rng(12)
    A = rng.standard_normal((30, 40))
    A[:, 7] = A[:, 3] + 1e-6 * rng.standard_normal(30)
    A[:, 9] = -2.0 * A[:, 8]  # the same column, which hides nothing
    B = A[:, [3, 8, 20, 30]] @ rng.standard_normal((4, 40)) + 0.5 * rng.standard_normal((30, 40))
    batch = si.solve_many(A, B, si.L0Ball(3), solver=si.OMP())
    held = 0
    for c in range(40):
        alone = si.solve(A, B[:, c], si.L0Ball(3), solver=si.OMP())
        np.testing.assert_array_equal(batch[c].support, alone.support)
        assert batch[c].certificate.relative == pytest.approx(alone.certificate.relative, rel=1e-6, abs=1e-12)
        held += bool({3, 7} & set(alone.support))
    assert 5 < held < 40


def bundle(seed, gap, m=10, n=8):
    """Return (A, b): all columns are nearly one, b lies in their differences."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, 1)) + gap * rng.standard_normal((m, n))
    near = (A[:, 0] - A[:, 1]) + 0.3 * (A[:, 2] - A[:, 3])
    return A, near / gap + 0.2 * rng.standard_normal(m)


def best_nonnegative_neighbour(A, b, S, lam):
    """Return the lowest objective with x >= 0 after one addition, removal or exchange."""
    near = [S, *(tuple(i for i in S if i != j) for j in S)]
    near += [(*T, j) for T in list(near) for j in range(A.shape[1]) if j not in S]
    values = []
    for T in near:
        x, misfit = scipy.optimize.nnls(A[:, T], b, maxiter=1000)
        values.append(0.5 * misfit**2 + lam * np.count_nonzero(x))
    return min(values)


@pytest.mark.parametrize("gap", [1e-3, 1e-4, 3e-5, 1e-5])
@pytest.mark.parametrize("form", ["L0", "L0L2", "L0Ball", "nonnegative", "operator"])
def test_a_support_of_many_columns_that_are_nearly_one_is_judged(gap, form):
    """No column is explained by the others to 1e-10, and yet products do not know their inverse."""
    for seed, S in ((1, (1, 3, 5, 6)), (2, (1, 2, 4, 7)), (1, (1, 2, 4, 5, 6, 7))):
        A, b = bundle(seed, gap)
        lam, l2, most = 0.01 * 0.5 * (b @ b), 0.0, None
        penalty = si.L0(lam)
        if form == "L0L2":
            l2 = 1e-3 * gap**2
            penalty = si.L0(lam, l2=l2)
        elif form == "L0Ball":
            lam, most = 0.0, len(S)
            penalty = si.L0Ball(most)
        elif form == "nonnegative":
            A[:, S] *= np.sign([float(v) for v in fitted(A, b, S)[1]])
            penalty = si.L0(lam, nonnegative=True)
        x = np.zeros(8)
        x[list(S)] = [float(v) for v in fitted(A, b, S, l2)[1]]
        problem = Problem(*system(Products(A) if form == "operator" else A, b), penalty)
        y = problem.units.working(x)
        decrease = problem.units.objective(hidden_moves.swap_decrease(problem, y, problem.residual(y)))
        now = 0.5 * np.sum((A @ x - b) ** 2) + lam * len(S) + 0.5 * l2 * (x @ x)
        if form == "nonnegative":
            expected = now - best_nonnegative_neighbour(A, b, S, lam)
        else:
            expected = now - best_neighbour(A, b, S, np.full(8, lam), l2, most)
        assert decrease == pytest.approx(expected, rel=1e-3, abs=1e-5 * 0.5 * (b @ b))


@pytest.mark.parametrize("gap", [1e-4, 1e-5])
def test_a_search_among_columns_that_are_nearly_one_ends_swap_optimal(gap):
    for seed in range(3):
        A, b = bundle(seed, gap)
        lam = 0.01 * 0.5 * (b @ b)
        result = si.solve(A, b, si.L0(lam), solver=si.LocalSearch())
        now = fitted(A, b, result.support)[0] + lam * result.support.size
        low = best_neighbour(A, b, tuple(map(int, result.support)), np.full(8, lam))
        assert result.success
        assert float(now) - low <= 2e-6 * 0.5 * (b @ b)
