"""Working sets of blocks: group norms and complex moduli, judged by interior points and duality."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

import sparseinv as si
from reference import judged_gap, plain, truth
from sparseinv.operators.adapt import as_operator
from sparseinv.problem import Problem
from sparseinv.solvers import active_blocks, block_newton
from sparseinv.solvers.active_blocks import ActiveBlocks
from sparseinv.solvers.active_columns import ActiveColumns
from sparseinv.solvers.block_columns import Blocks, block_norms, take_columns

WS = si.WorkingSet()
CD = si.CoordinateDescent()


def zoo(seed):
    """A random problem: (container of A, A, b, groups or None, levels, ridges)."""
    rng = np.random.default_rng([41, seed])
    is_complex, grouped = bool(seed % 2), seed % 3 > 0
    if not grouped:
        is_complex = True
    m, n = int(rng.integers(8, 30)), int(rng.integers(10, 50))

    def normal(*shape):
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if is_complex else v

    A = normal(m, n)
    kind = seed % 7
    if kind == 1:
        A[:, n // 2 : 2 * (n // 2)] = A[:, : n // 2]  # twins
    elif kind == 2:
        A *= 10.0 ** rng.uniform(-3, 3, n)
    elif kind == 3:
        A = normal(m, 4) @ normal(4, n)
    elif kind == 4:
        A = A + 3.0 * normal(m, 1)
    elif kind == 5:
        A[rng.random((m, n)) < 0.6] = 0.0
        A[:, ::7] = 0.0
    count = n
    groups = None
    if grouped:
        groups = np.unique(rng.integers(0, max(2, n // 4), n), return_inverse=True)[1]
        count = int(groups.max()) + 1
    x = normal(n) * (rng.random(n) < 0.2) / np.maximum(np.linalg.norm(A, axis=0), 1e-3)
    b = A @ x + 0.1 * normal(m)
    if grouped:
        top = np.sqrt(np.bincount(groups, weights=np.abs(A.conj().T @ b) ** 2)).max()
    else:
        top = np.abs(A.conj().T @ b).max()
    lam = top * 10.0 ** rng.uniform(-3, -0.3) * rng.uniform(0.5, 2.0, count)
    if seed % 5 == 0:
        lam[int(rng.integers(count))], lam[int(rng.integers(count))] = 0.0, np.inf
    ratio = 0.6 if not grouped and seed % 4 == 1 else 1.0
    container = sp.csc_array if seed % 4 == 3 or kind == 5 else np.asarray
    return container, A, b, groups, lam, ratio


def penalty_of(groups, lam, ratio):
    if groups is not None:
        return si.GroupL1(lam, groups=groups)
    return si.L1(lam) if ratio == 1.0 else si.ElasticNet(lam, l1_ratio=ratio)


@pytest.mark.parametrize("seed", range(42))
def test_against_interior_points_and_coordinate_descent(seed):
    container, A, b, groups, lam, ratio = zoo(seed)
    penalty = penalty_of(groups, lam, ratio)
    ridge = 0.0 if ratio == 1.0 else np.where(np.isinf(lam), 0.0, (1.0 - ratio) * lam)
    problem = plain(A, b, l1=ratio * lam, l2=ridge, groups=groups)
    known = truth(problem)
    assert known.upper - known.lower <= 1e-11 * problem.scale, "the judge does not know the minimum"
    result = si.solve(container(A), b, penalty, solver=WS, tol=1e-10)
    assert result.success, result
    assert float(problem.objective(result.x) - known.lower) <= 2e-10 * problem.scale
    assert not result.x[problem.excluded].any()
    slow = si.solve(container(A), b, penalty, solver=CD, tol=1e-10, max_iter=5000)
    assert result.objective <= slow.objective + 1e-10 * problem.scale
    assert result.certificate.relative <= max(slow.certificate.relative, 1e-10)


@pytest.mark.parametrize("seed", range(21))
def test_without_a_gram_matrix(seed, monkeypatch):
    """The same where there are too many columns for one, and where Newton systems are too large."""
    container, A, b, groups, lam, ratio = zoo(seed)
    penalty = penalty_of(groups, lam, ratio)
    expected = si.solve(container(A), b, penalty, solver=WS, tol=1e-10)
    monkeypatch.setattr(active_blocks, "_TALL", 0.1)
    lean = si.solve(container(A), b, penalty, solver=WS, tol=1e-10)
    assert lean.success
    assert abs(lean.objective - expected.objective) <= 2e-10 * expected.certificate.scale
    monkeypatch.setattr(active_blocks, "_LARGEST", 4)
    sweeps = si.solve(container(A), b, penalty, solver=WS, tol=1e-4)
    assert sweeps.certificate.relative <= 1e-3


@pytest.mark.parametrize("seed", range(0, 42, 3))
def test_x0_of_any_kind(seed):
    container, A, b, groups, lam, ratio = zoo(seed)
    penalty = penalty_of(groups, lam, ratio)
    rng = np.random.default_rng(seed)
    cold = si.solve(container(A), b, penalty, solver=WS, tol=1e-10)
    scale = cold.certificate.scale
    for x0 in (rng.standard_normal(A.shape[1]), cold.x):
        warm = si.solve(container(A), b, penalty, solver=WS, tol=1e-10, x0=x0)
        assert warm.success
        assert abs(warm.objective - cold.objective) <= 2e-10 * scale
    assert warm.n_iter <= 1


@pytest.mark.parametrize("seed", [1, 2, 4, 9, 13, 15, 16, 25])
def test_powers_of_two_change_no_bit(seed):
    container, A, b, groups, lam, _ = zoo(seed)
    expected = si.solve(container(A), b, penalty_of(groups, lam, 1.0), solver=WS, tol=1e-9)
    for s, c in ((40, 0), (0, 33), (-200, 60)):
        penalty = penalty_of(groups, np.ldexp(lam, s + c), 1.0)
        result = si.solve(container(A * 2.0**c), b * 2.0**s, penalty, solver=WS, tol=1e-9)
        assert np.array_equal(result.x * 2.0 ** (c - s), expected.x)


@pytest.mark.parametrize("seed", range(0, 12))
def test_b_zero_and_levels_above_the_largest(seed):
    container, A, b, groups, lam, ratio = zoo(seed)
    nothing = si.solve(container(A), 0.0 * b, penalty_of(groups, lam, ratio), solver=WS)
    assert nothing.success
    assert not nothing.x.any()
    lam = np.where(np.isinf(lam), lam, 1e4 * np.abs(A.conj().T @ b).sum() * (lam > 0))
    if not (lam == 0).any():
        high = si.solve(container(A), b, penalty_of(groups, lam, ratio), solver=WS)
        assert high.success
        assert not high.x.any()


def large(dtype, seed=0, m=60, count=40, k=5):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, count * k)) + 0.5 * rng.standard_normal((m, 1))
    b = A[:, : 2 * k] @ rng.standard_normal(2 * k) + rng.standard_normal(m)
    if dtype is complex:
        A, b = A + 1j * rng.standard_normal(A.shape), b + 1j * rng.standard_normal(m)
    groups = np.arange(count * k) // k
    return A, b, groups, np.sqrt(np.bincount(groups, weights=np.abs(A.conj().T @ b) ** 2)).max()


@pytest.mark.parametrize("dtype", [float, complex])
def test_the_end_is_quadratic(dtype):
    """Newton's method: from a gap of 1e-3 it takes a handful of rounds to rounding level."""
    A, b, groups, top = large(dtype)
    for ratio in (0.1, 0.01, 0.001):
        lam = ratio * top
        result = si.solve(A, b, si.GroupL1(lam, groups=groups), solver=WS, tol=1e-12)
        assert result.success
        assert result.n_iter <= 20
        gaps = np.array([row[3] for row in result.history.rows])
        assert (gaps > 1e-12).sum() - (gaps > 1e-3).sum() <= 5
        problem = plain(A, b, l1=lam, groups=groups)
        assert judged_gap(problem, result.x) <= 1e-11 * problem.scale


def test_few_iterations_are_reported_as_such():
    A, b, groups, top = large(float)
    problem = plain(A, b, l1=1e-3 * top, groups=groups)
    known = truth(problem)
    for most in (1, 2, 3):
        result = si.solve(A, b, si.GroupL1(1e-3 * top, groups=groups), solver=WS, tol=1e-12, max_iter=most)
        assert result.status is si.Status.MAX_ITER
        assert not result.success
        assert result.n_iter <= most
        missing = float(problem.objective(result.x) - known.upper)
        assert missing <= result.certificate.value * (1 + 1e-9)


@pytest.mark.parametrize("make", [np.asarray, sp.csc_array], ids=lambda make: make.__name__)
@pytest.mark.parametrize("dtype", [float, complex])
def test_path(dtype, make):
    A, b, groups, _ = large(dtype)
    path = si.solve_path(make(A), b, si.GroupL1(groups=groups), n_lams=12, ratio=0.01, solver=WS, tol=1e-9)
    assert path.success
    for lam, result in zip(path.lams, path, strict=True):
        problem = plain(A, b, l1=lam, groups=groups)
        assert judged_gap(problem, result.x) <= 1e-8 * problem.scale
    # columns and Gram matrix are kept from one level to the next
    alone = [si.solve(make(A), b, si.GroupL1(lam, groups=groups), solver=WS, tol=1e-9) for lam in path.lams]
    assert sum(r.products.total for r in path) < sum(r.products.total for r in alone)


# --- the parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(14))
def test_coordinates_of_blocks(seed):
    container, A, b, groups, lam, ratio = zoo(seed)
    problem = Problem(as_operator(container(A)), b, penalty_of(groups, lam, ratio))
    blocks = Blocks.of(problem.penalty)
    index = np.random.default_rng(seed).permutation(blocks.count)[: blocks.count // 2 + 1]
    part = take_columns(problem, blocks, index)
    size = np.linalg.norm(A)
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(part.k).astype(problem.dtype)
    x = part.spread(y, problem.n)
    scale = 2.0**-(problem.units.b_exponent)
    np.testing.assert_allclose(part.combine(y), A @ x, atol=1e-12 * size * np.linalg.norm(y))
    np.testing.assert_allclose(part.correlate(b), part.gather(A.conj().T @ b), atol=1e-12 * size / scale)
    # norms are kept, and the columns of a block are orthogonal
    kept = part.taken(part.sizes > 0)
    starts = np.concatenate([[0], np.cumsum(kept.sizes)])
    np.testing.assert_allclose(blocks.norms(x)[kept.index], block_norms(y, starts), rtol=1e-12)
    gram = kept.gram(kept)
    for lo, hi in itertools.pairwise(starts):
        own = gram[lo:hi, lo:hi]
        assert np.abs(own - np.diag(np.diag(own))).max() <= 1e-12 * np.abs(own).max()
    # what is left out is nothing but rounding
    for j, rank in zip(index, part.sizes, strict=True):
        mine = A[:, blocks.order[blocks.starts[j] : blocks.starts[j + 1]]]
        assert rank == (np.linalg.matrix_rank(mine) if mine.any() else 0)


@pytest.mark.parametrize("dtype", [float, complex])
def test_newton_systems(dtype):
    """Both ways against finite differences of the gradient of the smooth objective."""
    rng = np.random.default_rng(3)

    def normal(*shape):
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if dtype is complex else v

    starts = np.array([0, 3, 4, 9, 11])
    block = np.repeat(np.arange(4), np.diff(starts))
    lam, ridge = np.array([1.0, 2.0, 0.5, 1.5]), np.array([0.0, 0.3, 0.0, 0.2])[block]
    for m in (20, 6):
        A, y, c = normal(m, 11), normal(11), normal(11)
        gram = A.conj().T @ A

        def gradient(v, gram=gram):
            return gram @ v + ridge * v + (lam / block_norms(v, starts))[block] * v

        size = block_norms(y, starts)
        unit, weight = y / size[block], lam / size
        answers = [block_newton.by_gram(gram.copy(), starts, unit, weight, ridge, c)]
        answers.append(block_newton.by_rows(A.T.copy(), starts, unit, weight, ridge, c))
        for z in answers:
            h = 1e-6 / np.linalg.norm(z)
            image = (gradient(y + h * z) - gradient(y - h * z)) / (2 * h)
            np.testing.assert_allclose(image, c, atol=2e-5 * np.linalg.norm(c))


def test_steps_never_rise():
    A, b, groups, top = large(complex, 5)
    problem = Problem(as_operator(A), b, si.GroupL1(1e-2 * top, groups=groups))
    active = ActiveBlocks(problem)
    active.extend(np.arange(25))
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = (rng.standard_normal(problem.n) + 1j * rng.standard_normal(problem.n)) * (groups < 25)
        active.place(x)
        values = []
        for _ in range(30):
            x = active.solution()
            values.append(problem.objective(x, problem.residual(x)))
            np.testing.assert_allclose(active.residual(), problem.residual(x), atol=1e-9)
            active.newton(1.0)
        assert (np.diff(values) <= 1e-13 * values[0]).all()
        assert values[-1] < values[0]


def test_which_engine():
    A, b, groups, _ = large(complex)
    cases = [(A.real, b.real, si.L1(1.0), ActiveColumns), (A, b, si.L1(1.0), ActiveBlocks)]
    cases += [(A.real, b, si.ElasticNet(1.0), ActiveBlocks)]
    cases += [(A.real, b.real, si.GroupL1(1.0, groups=groups), ActiveBlocks)]
    for matrix, data, penalty, engine in cases:
        assert type(WS.start(Problem(as_operator(matrix), data, penalty), None).active) is engine
