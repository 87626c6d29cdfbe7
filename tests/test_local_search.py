"""Exact moves between supports, against enumeration; L0 with companions; at most k non-zeros."""

import itertools

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.signed_moves import moves_of
from sparseinv.support_moves import Move, SupportMoves


def coherent(seed, m, n, rho=0.9):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    x = np.zeros(n)
    x[rng.choice(n, 4, replace=False)] = rng.standard_normal(4)
    b = A @ x
    return A, b + 0.3 * b.std() * rng.standard_normal(m)


def objective(A, b, S, lam, l2):
    """Refit on the support S by a dense solve."""
    S = list(S)
    if not S:
        return 0.5 * b @ b
    H = A[:, S].T @ A[:, S] + np.diag(l2[S])
    q = A[:, S].T @ b
    return 0.5 * b @ b - 0.5 * q @ np.linalg.lstsq(H, q, rcond=None)[0] + lam[S].sum()


def enumerated(A, b, lam, l2=None, most=None):
    n = A.shape[1]
    l2 = np.zeros(n) if l2 is None else l2
    sizes = range(min(n, n if most is None else most) + 1)
    supports = itertools.chain.from_iterable(itertools.combinations(range(n), k) for k in sizes)
    return min((objective(A, b, S, lam, l2), S) for S in supports)


@pytest.mark.parametrize("seed", range(10))
def test_every_move_is_judged_exactly(seed):
    rng = np.random.default_rng(seed)
    m, n = 15, 10
    A, b = np.cumsum(rng.standard_normal((m, n)), axis=1), rng.standard_normal(m)
    lam, l2 = 0.05 * rng.random(n) * (b @ b), 0.1 * rng.random(n)
    problem = Problem(*system(A, b), si.L0(lam, l2=l2))
    moves = SupportMoves(problem)
    unit = problem.units.objective(1.0)
    for _ in range(60):  # beyond a refresh
        S = [int(j) for j in moves.support]
        now = objective(A, b, S, lam, l2)
        assert moves.value * unit == pytest.approx(now, abs=1e-9)
        others = [j for j in range(n) if j not in S]
        gains = {(-1, j): now - objective(A, b, [*S, j], lam, l2) for j in others}
        for i, leaves in enumerate(S):
            kept = [j for j in S if j != leaves]
            gains[i, -1] = now - objective(A, b, kept, lam, l2)
            gains |= {(i, j): now - objective(A, b, [*kept, j], lam, l2) for j in others}
        best = moves.best()
        assert best.gain * unit == pytest.approx(max(gains.values()), abs=1e-9)
        assert gains[best.leaves, best.enters] == pytest.approx(max(gains.values()), abs=1e-9)
        chosen = list(gains)[int(rng.integers(len(gains)))]
        moves.make(Move(0.0, *chosen))


@pytest.mark.parametrize("seed", range(12))
def test_search_finds_the_enumerated_optimum_with_a_level_per_coefficient(seed):
    rng = np.random.default_rng(seed)
    A, b = coherent(seed, 20, 11)
    lam = 0.02 * (b @ b) * (0.2 + rng.random(11))
    l2 = 0.05 * rng.random(11) if seed % 2 else None
    result = si.solve(A, b, si.L0(lam, l2=l2), solver=si.LocalSearch())
    best, support = enumerated(A, b, lam, l2)
    assert result.success
    assert result.certificate.kind is si.Kind.SWAP_MINIMUM
    assert result.objective == pytest.approx(best, rel=1e-10)
    assert tuple(result.support) == support


@pytest.mark.parametrize(("rho", "m", "least"), [(0.8, 40, 1.0), (0.95, 20, 0.85), (0.9, 15, 0.8)])
def test_search_hits_the_best_four_of_28_columns(rho, m, least):
    hits = 0
    for seed in range(30):
        A, b = coherent(seed, m, 28, rho)
        G, q = A.T @ A, A.T @ b
        index = np.array(list(itertools.combinations(range(28), 4)))
        fitted = np.linalg.solve(G[index[:, :, None], index[:, None, :]], q[index][:, :, None])[:, :, 0]
        best = 0.5 * b @ b - 0.5 * (fitted * q[index]).sum(axis=1).max()
        result = si.solve(A, b, si.L0Ball(4))
        assert result.support.size <= 4
        assert result.objective >= best * (1 - 1e-9)
        hits += result.objective <= best * (1 + 1e-9)
    assert hits >= least * 30


def test_pairs_that_suppress_each_other_are_found():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 12))
    A[:, 1] = A[:, 0] + 0.1 * rng.standard_normal(60)
    A -= A.mean(axis=0)
    A /= np.linalg.norm(A, axis=0)
    d = A[:, 0] - A[:, 1]
    b = d / np.linalg.norm(d) + 0.35 * A[:, 5]
    b -= b.mean()
    b /= np.linalg.norm(b)
    lam, l2 = np.full(12, 0.0577), np.full(12, 2e-4)
    best, support = enumerated(A, b, lam, l2, most=4)
    assert best == pytest.approx(0.1831, abs=1e-4)
    result = si.solve(A, b, si.L0(lam, l2=l2), solver=si.LocalSearch())
    assert result.objective == pytest.approx(best, rel=1e-10)
    assert tuple(result.support) == support == (0, 1)


@pytest.mark.parametrize("exponent", [-900, -30, 30, 900])
@pytest.mark.parametrize("penalty", [si.L0(0.5), si.L0Ball(3)])
def test_scale_of_the_data_changes_no_bit(exponent, penalty):
    A, b = coherent(3, 20, 30)
    plain = si.solve(A, b, penalty, solver=si.LocalSearch())
    scaled_b = np.ldexp(b, exponent // 2)
    scaled_penalty = si.L0(np.ldexp(0.5, exponent)) if isinstance(penalty, si.L0) else penalty
    scaled = si.solve(A, scaled_b, scaled_penalty, solver=si.LocalSearch())
    np.testing.assert_array_equal(scaled.x, np.ldexp(plain.x, exponent // 2))


@pytest.mark.parametrize("kind", ["csc", "operator", "float32", "wide scales"])
def test_what_A_is_makes_no_difference(kind):
    A, b = coherent(5, 25, 40)
    expected = si.solve(A, b, si.L0Ball(4))
    scale = np.ones(40)
    if kind == "csc":
        given = sparse.csc_array(A)
    elif kind == "operator":
        from scipy.sparse.linalg import aslinearoperator

        given = aslinearoperator(A)
    elif kind == "float32":
        given, b = A.astype(np.float32), b.astype(np.float32)
    else:
        scale = 10.0 ** np.random.default_rng(0).uniform(-8, 8, 40)
        given = A * scale
    result = si.solve(given, b, si.L0Ball(4), solver=si.LocalSearch())
    assert result.success
    np.testing.assert_array_equal(result.support, expected.support)
    np.testing.assert_allclose(result.x * scale, expected.x, rtol=1e-5)


def test_zero_levels_stay_in_and_infinite_ones_stay_out():
    A, b = coherent(7, 30, 20)
    lam = np.full(20, 0.1 * (b @ b))
    lam[3], lam[8:12] = 0.0, np.inf
    result = si.solve(A, b, si.L0(lam), solver=si.LocalSearch())
    assert result.success
    assert result.x[3] != 0
    assert not result.x[8:12].any()
    free = np.flatnonzero(np.isfinite(lam))
    best, _ = enumerated(A[:, free], b, lam[free], most=4)
    assert result.objective <= best * (1 + 1e-10)


def test_dependent_columns_and_empty_ones_are_no_trouble():
    A, b = coherent(9, 12, 20)
    A[:, 5], A[:, 6], A[:, 7] = A[:, 4], -2 * A[:, 4], 0.0
    for penalty in (si.L0(1e-3), si.L0Ball(20), si.L0Ball(0)):
        result = si.solve(A, b, penalty, solver=si.LocalSearch())
        assert np.isfinite(result.objective)
        assert result.objective <= 0.5 * b @ b
        assert result.x[7] == 0
    assert not si.solve(A, b, si.L0Ball(0)).x.any()


def test_certificate_of_an_answer_that_is_not_swap_optimal_says_what_a_move_gains():
    A, b = coherent(11, 30, 12)
    lam = 0.02 * (b @ b)
    x = si.solve(A[:, :3], b, si.L2(0.0)).x
    x = np.concatenate([x, np.zeros(9)])
    result = si.solve(A, b, si.L0(lam), solver=si.LocalSearch(restarts=0), x0=x, max_iter=1)
    now = objective(A, b, result.support, np.full(12, lam), np.zeros(12))
    assert result.objective == pytest.approx(now, rel=1e-9)
    if not result.success:
        assert result.certificate.value > 0


def test_a_run_that_is_cut_short_keeps_its_best_support():
    A, b = coherent(13, 100, 3000)
    si.solve(A, b, si.L0Ball(2))  # compiles
    result = si.solve(A, b, si.L0Ball(20), solver=si.LocalSearch(restarts=10_000), max_time=1.0)
    assert result.status is si.Status.CONVERGED or result.status is si.Status.MAX_TIME
    assert result.support.size == 20
    assert result.objective < 0.2 * (0.5 * b @ b)


def test_few_products_kept_change_no_answer(monkeypatch):
    from sparseinv import kept_columns, support_moves

    A, b = coherent(17, 60, 90)
    expected = si.solve(A, b, si.L0Ball(25), solver=si.LocalSearch(restarts=2))
    monkeypatch.setattr(support_moves, "_SQUARE", 0.0)  # moves one by one, not on the whole Gram matrix
    monkeypatch.setattr(kept_columns, "_CACHE", 0)  # sixteen rows, fewer than the support has columns
    monkeypatch.setattr(kept_columns, "_BLOCK", 7)
    result = si.solve(A, b, si.L0Ball(25), solver=si.LocalSearch(restarts=2))
    np.testing.assert_allclose(result.x, expected.x, atol=1e-9)


def test_a_support_that_memory_ends_is_not_called_swap_optimal(monkeypatch):
    from sparseinv import support_moves

    A, b = coherent(19, 60, 90)
    monkeypatch.setattr(support_moves, "_BYTES", 8 * 90 * 5)
    result = si.solve(A, b, si.L0(1e-9), solver=si.LocalSearch(restarts=2))
    assert result.support.size == 5
    assert result.certificate.kind is si.Kind.COORDINATE_MINIMUM
    assert not result.success
    assert result.certificate.value > 0


def test_search_refuses_what_it_cannot_treat():
    A, b = coherent(0, 10, 8)
    for penalty, words in (
        (si.L1(0.1), "LocalSearch needs an L0 penalty or L0Ball"),
        (si.GroupL1(0.1, groups=[0, 0, 0, 0, 1, 1, 1, 1]), "does not treat Grouped"),
    ):
        with pytest.raises(ValueError, match=words):
            si.solve(A, b, penalty, solver=si.LocalSearch())
    with pytest.raises(ValueError, match=r"levels of .x. with complex data"):
        si.solve(A * 1j, b, si.L0(0.1, l1=0.2), solver=si.LocalSearch())
    with pytest.raises(TypeError, match="starts is"):
        si.LocalSearch(starts=("IRL1",))
    with pytest.raises(TypeError, match="starts is 5, but solvers"):
        si.LocalSearch(starts=5)
    with pytest.raises(ValueError, match="weights of L0Ball"):
        si.L0Ball(3, weights=[0.5, 1.0])
    with pytest.raises(ValueError, match="restarts is -1"):
        si.LocalSearch(restarts=-1)
    with pytest.raises((ValueError, TypeError), match="k is"):
        si.L0Ball(1.5)
    with pytest.raises(ValueError, match="l2 holds inf"):
        si.L0(0.1, l2=np.inf)


@pytest.mark.parametrize("seed", range(5))
def test_prox_of_l0_with_companions_is_the_minimiser(seed):
    rng = np.random.default_rng(seed)
    lam, l1, l2, step = rng.random(4) + 0.1
    penalty = si.L0(lam, l1=l1, l2=l2)
    grid = np.linspace(-6, 6, 240_001)
    for v in rng.uniform(-4, 4, 20):
        values = 0.5 * (grid - v) ** 2 + step * (lam * (grid != 0) + l1 * abs(grid) + 0.5 * l2 * grid**2)
        x = float(penalty.prox(np.array([v]), step)[0])
        value = 0.5 * (x - v) ** 2 + step * penalty.value(np.array([x]))
        assert value <= values.min() + 1e-9


def test_ball_keeps_the_largest_moduli():
    v = np.array([1.0, -3.0, 2.0, -3.0, 0.5j])
    np.testing.assert_array_equal(si.L0Ball(2).prox(v, 0.1), [0, -3, 0, -3, 0])
    assert si.L0Ball(2).value(np.array([1.0, 0.0, 2.0])) == 0.0
    assert si.L0Ball(1).value(np.array([1.0, 0.0, 2.0])) == np.inf
    A, b = coherent(2, 30, 10)
    thresholded = si.solve(A, b, si.L0Ball(3), solver=si.ISTA())
    assert thresholded.support.size <= 3
    assert thresholded.objective >= si.solve(A, b, si.L0Ball(3)).objective * (1 - 1e-9)


# --- signs, levels of moduli, complex data: slow truths by sweeps over every support ----------------------


def swept(A, b, S, l1, l2, nonnegative):
    """Minimise over the support S by many sweeps over its coefficients; return (objective, x on S)."""
    S = list(S)
    G = A[:, S].conj().T @ A[:, S] + np.diag(l2[S])
    q = A[:, S].conj().T @ b
    x = np.zeros(len(S), dtype=G.dtype)
    for _ in range(3000):
        before = x.copy()
        for u in range(len(S)):
            slope = q[u] - G[u] @ x + G[u, u] * x[u]
            size = slope.real if nonnegative else abs(slope)
            x[u] = 0 if size <= l1[S[u]] else (size - l1[S[u]]) * slope / abs(slope) / G[u, u].real
        if np.abs(x - before).max(initial=0.0) <= 1e-14:
            break
    r = A[:, S] @ x - b
    value = 0.5 * np.vdot(r, r).real + l1[S] @ abs(x) + 0.5 * l2[S] @ abs(x) ** 2
    return value, x


def best_support(A, b, lam, l1, l2, nonnegative, most=None, free=()):
    """Return the least objective over all supports with at most ``most`` columns outside ``free``."""
    n = A.shape[1]
    allowed = [j for j in range(n) if np.isfinite(lam[j])]
    best = np.inf
    for k in range(len(allowed) + 1):
        for S in itertools.combinations(allowed, k):
            if most is not None and len(set(S) - set(free)) > most:
                continue
            value, x = swept(A, b, S, l1, l2, nonnegative)
            best = min(best, value + sum(lam[j] for j, v in zip(S, x, strict=True) if v != 0))
    return best


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_signed_move_is_judged_exactly(seed, nonnegative):
    rng = np.random.default_rng(seed)
    m, n = 12, 7
    A, b = np.cumsum(rng.standard_normal((m, n)), axis=1), rng.standard_normal(m)
    lam, l2 = 0.01 * rng.random(n) * (b @ b), 0.1 * rng.random(n)
    l1 = np.zeros(n) if nonnegative and seed % 2 else 0.05 * rng.random(n) * np.abs(A.T @ b).max()
    penalty = si.L0(lam, l1=l1, l2=l2, nonnegative=nonnegative)
    problem = Problem(*system(A, b), penalty)
    moves = moves_of(problem)
    unit = problem.units.objective(1.0)

    def value_of(S):
        value, x = swept(A, b, S, l1, l2, nonnegative)
        return value + sum(lam[j] for j, v in zip(S, x, strict=True) if v != 0), value + lam[list(S)].sum()

    for _ in range(60):
        moves.restart(rng.permutation(n)[: int(rng.integers(0, 5))])
        S = [int(j) for j in moves.support]
        now = value_of(S)[0]
        assert moves.value * unit == pytest.approx(now, abs=1e-9)
        x = problem.units.solution(moves.x)
        assert (x >= 0).all() or not nonnegative
        others = [j for j in range(n) if j not in S]
        kept = [S, *([j for j in S if j != i] for i in S)]
        reached = [value_of(part) for part in kept[1:]]
        reached += [value_of([*part, j]) for part in kept for j in others]
        best = moves.best()
        if best.gain == -np.inf:
            assert min(charged for _, charged in reached) >= now - 1e-9
            continue
        after = now - best.gain * unit
        assert after <= min(charged for _, charged in reached) + 1e-9
        assert min(abs(after - freed) for freed, _ in reached) <= 1e-9
        moves.make(best)
        assert moves.value * unit == pytest.approx(after, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", ["l1", "nonnegative", "l1 nonnegative", "complex"])
def test_search_finds_the_enumerated_optimum_in_every_mode(mode, seed):
    rng = np.random.default_rng(seed)
    n = 8
    A, b = coherent(seed, 16, n)
    if mode == "complex":
        A = A + 1j * coherent(seed + 100, 16, n)[0]
        b = b + 1j * rng.standard_normal(16)
    size = np.vdot(b, b).real
    lam = 0.02 * size * (0.2 + rng.random(n))
    lam[int(rng.integers(n))] = 0.0
    lam[int(rng.integers(n))] = np.inf
    l1 = 0.05 * rng.random(n) * np.abs(A.conj().T @ b).max() if "l1" in mode else np.zeros(n)
    l2 = 0.05 * rng.random(n)
    nonnegative = "nonnegative" in mode
    penalty = si.L0(lam, l1=l1, l2=l2, nonnegative=nonnegative)
    result = si.solve(A, b, penalty, solver=si.LocalSearch())
    assert result.success
    assert result.certificate.kind is si.Kind.SWAP_MINIMUM
    best = best_support(A, b, lam, l1, l2, nonnegative)
    assert result.objective == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["real", "nonnegative", "complex"])
def test_search_finds_the_best_ball_with_free_and_excluded_coefficients(mode, seed):
    rng = np.random.default_rng(seed)
    n = 8
    A, b = coherent(seed, 14, n)
    if mode == "complex":
        A, b = A + 1j * coherent(seed + 50, 14, n)[0], b + 1j * rng.standard_normal(14)
    weights = np.ones(n)
    weights[2], weights[5] = 0.0, np.inf
    lam = np.where(np.isinf(weights), np.inf, 0.0)
    none = np.zeros(n)
    penalty = si.L0Ball(2, weights=weights, nonnegative=mode == "nonnegative")
    result = si.solve(A, b, penalty, solver=si.LocalSearch())
    best = best_support(A, b, lam, none, none, mode == "nonnegative", most=2, free=(2,))
    assert result.success
    assert result.objective == pytest.approx(best, rel=1e-9)
    assert result.x[5] == 0
    assert np.isfinite(penalty.value(result.x))


def test_levels_tied_by_groups_are_levels_of_coefficients():
    A, b = coherent(3, 20, 10)
    labels = np.repeat(["near", "far"], 5)
    lam = np.array([0.03, 0.01]) * (b @ b)
    tied = si.solve(A, b, si.L0(lam, groups=labels), solver=si.LocalSearch())
    spread = np.where(labels == "far", lam[0], lam[1])
    single = si.solve(A, b, si.L0(spread), solver=si.LocalSearch())
    np.testing.assert_array_equal(tied.x, single.x)


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e3, 1e9])
@pytest.mark.parametrize("mode", ["plain", "l1", "nonnegative", "complex", "ball"])
def test_the_size_of_b_changes_no_support(mode, factor):
    A, b = coherent(5, 25, 30)
    lam, l1 = 0.01 * (b @ b), 0.02 * np.abs(A.T @ b).max()
    if mode == "complex":
        A, b = A * (1 + 0.5j), b * 1j + np.roll(b, 1)

    def penalty(s):
        if mode == "ball":
            return si.L0Ball(4, nonnegative=True)
        return si.L0(lam * s**2, l1=l1 * s if mode == "l1" else None, nonnegative=mode == "nonnegative")

    plain = si.solve(A, b, penalty(1.0), solver=si.LocalSearch())
    scaled = si.solve(A, b * factor, penalty(factor), solver=si.LocalSearch())
    assert plain.success
    assert scaled.success
    np.testing.assert_array_equal(plain.support, scaled.support)
    np.testing.assert_allclose(scaled.x, plain.x * factor, rtol=1e-8)


# --- starts, operators, many right-hand sides ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_search_is_never_above_the_solvers_it_starts_from(seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((40, 120))
    x = np.zeros(120)
    x[rng.choice(120, 18, replace=False)] = rng.standard_normal(18)
    b = A @ x + 0.01 * rng.standard_normal(40)
    for level in (0.1, 0.01, 0.001):
        penalty = si.L0(level * si.lam_max(A, b, si.L0()))
        for starts in ((si.IRL1(),), (si.IRLS(),), (si.IRLS(p=0.7), si.CoordinateDescent())):
            search = si.LocalSearch(restarts=0, starts=starts)
            result = si.solve(A, b, penalty, solver=search)
            assert result.success
            for start in starts:
                alone = si.solve(A, b, penalty, solver=start)
                assert result.objective <= alone.objective * (1 + 1e-12)


def test_reweighted_least_squares_lead_the_search_to_dense_supports():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((100, 200))
    x = np.zeros(200)
    x[rng.choice(200, 50, replace=False)] = rng.standard_normal(50)
    b = A @ x
    alone = si.solve(A, b, si.L0Ball(50), solver=si.LocalSearch(restarts=0))
    led = si.solve(A, b, si.L0Ball(50), solver=si.LocalSearch(restarts=0, starts=(si.IRLS(),)))
    assert np.abs(alone.x - x).max() > 0.1
    np.testing.assert_allclose(led.x, x, atol=1e-9)


def test_nearly_dependent_columns_do_not_pass_for_better_than_they_are():
    rng = np.random.default_rng(2)
    A = rng.standard_normal((100, 200))
    x = np.zeros(200)
    x[rng.choice(200, 50, replace=False)] = rng.standard_normal(50)
    b = A @ x
    # a full support of 100 columns costs little here, and some such supports are hardly independent
    result = si.solve(A, b, si.L0(0.5e-6 * (b @ b)), solver=si.LocalSearch())
    np.testing.assert_allclose(result.x, x, atol=1e-9)


def test_auto_searches_l0_problems_of_moderate_size():
    A, b = coherent(1, 40, 80)
    lam = 0.02 * (b @ b)
    result = si.solve(A, b, si.L0(lam))
    assert isinstance(result.solver, si.LocalSearch)
    assert result.certificate.kind is si.Kind.SWAP_MINIMUM
    assert result.objective <= si.solve(A, b, si.L0(lam), solver=si.IRL1()).objective * (1 + 1e-12)


@pytest.mark.parametrize("penalty", [si.L0Ball(6), si.L0(0.5)], ids=repr)
def test_a_convolution_gives_its_columns_away(penalty):
    rng = np.random.default_rng(0)
    wavelet = np.exp(-0.5 * np.linspace(-3, 3, 21) ** 2) * np.cos(np.linspace(-6, 6, 21))
    A = si.operators.Convolution(200, wavelet)
    x = np.zeros(200)
    x[rng.choice(200, 6, replace=False)] = rng.standard_normal(6)
    b = A @ x + 0.02 * rng.standard_normal(200)
    result = si.solve(A, b, penalty)
    assert isinstance(result.solver, si.LocalSearch)
    assert result.success
    assert result.products.columns >= result.support.size
    assert result.n_matvec <= 20  # columns are written down, not formed by products
    dense = si.solve(A.columns(np.arange(200)), b, penalty, solver=result.solver)
    np.testing.assert_array_equal(result.support, dense.support)
    np.testing.assert_allclose(result.x, dense.x, atol=1e-9)


def test_products_with_a_column_are_made_once_per_operator():
    A, b = coherent(4, 50, 70)
    calls = []

    class Counted(si.Operator):
        def _matvec(self, x):
            return A @ x

        def _rmatvec(self, y):
            calls.append(0)
            return A.T @ y

    search = si.LocalSearch(restarts=3)
    plain = si.solve(A, b, si.L0Ball(5), solver=search)
    result = si.solve(Counted((50, 70)), b, si.L0Ball(5), solver=search)
    np.testing.assert_array_equal(result.support, plain.support)
    assert len(calls) <= 70 + 12  # every column once at most, however many moves were made

    calls.clear()
    B = np.stack([b, np.roll(b, 3), b[::-1], -b], axis=1)
    batch = si.solve_many(Counted((50, 70)), B, si.L0Ball(5), solver=search)
    assert batch.success
    assert len(calls) <= 70 + 12 * 4


@pytest.mark.parametrize("penalty", [si.L0Ball(4), si.L0(20.0)], ids=repr)
def test_right_hand_sides_share_columns_and_change_no_bit(penalty):
    A, b = coherent(6, 60, 90)
    B = np.stack([np.roll(b, 5 * j) for j in range(6)], axis=1)
    search = si.LocalSearch(restarts=2, starts=())
    one = si.solve_many(A, B, penalty, solver=search, n_threads=1)
    two = si.solve_many(A, B, penalty, solver=search, n_threads=2)
    backwards = si.solve_many(A, B[:, ::-1], penalty, solver=search, n_threads=1)
    assert one.success
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.x, backwards.x[:, ::-1])
    for j in range(6):
        alone = si.solve(A, B[:, j], penalty, solver=search)
        np.testing.assert_array_equal(one[j].support, alone.support)
        np.testing.assert_allclose(one[j].x, alone.x, atol=1e-10)


def test_a_time_limit_is_a_budget_for_starts():
    A, b = coherent(8, 20, 30)
    result = si.solve(A, b, si.L0Ball(4), solver=si.LocalSearch(restarts=10**9), max_iter=10**9, max_time=1.0)
    assert result.status is si.Status.CONVERGED
    assert result.certificate.kind is si.Kind.SWAP_MINIMUM
    assert "time limit" in result.message
    assert "time limit" not in si.solve(A, b, si.L0Ball(4), solver=si.LocalSearch(restarts=1)).message


def test_columns_with_a_ridge_are_not_limited_by_the_rows():
    # excluded coefficients and the intercept have no ridge of their own
    A, b = np.array([[1.0, 1.0, 0.5]]), np.array([10.0])
    result = si.solve(A, b, si.L0([0.1, 0.1, np.inf], l2=1.0), solver=si.LocalSearch())
    assert result.objective == pytest.approx(0.2 + 50.0 / 3.0, rel=1e-12)
    assert result.certificate.kind is si.Kind.SWAP_MINIMUM
    A = np.array([[1.0, 1.0, 0.9], [-1.0, -1.0, -0.9]])
    result = si.solve(A, [10.0, -10.0], si.L0(0.1, l2=1.0), solver=si.LocalSearch(), intercept=True)
    a = A[0]
    x = np.linalg.solve(2 * np.outer(a, a) + np.eye(3), 20 * a)
    assert result.objective == pytest.approx((10 - a @ x) ** 2 + 0.5 * x @ x + 0.3, rel=1e-12)


@pytest.mark.parametrize(("A", "b"), [([[0.0, 1.0]], [2.0]), ([[-1.0, 1.0]], [1.0])])
def test_a_free_coefficient_at_zero_takes_no_place(A, b):
    result = si.solve(np.array(A), np.array(b), si.L0([0.0, 0.1], nonnegative=True))
    assert result.objective == pytest.approx(0.1, rel=1e-12)
    np.testing.assert_allclose(result.x, [0.0, b[0]], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_halves_of_an_intercept_leave_a_full_support_its_rows(seed):
    rng = np.random.default_rng(seed)
    A = rng.random((4, 6))
    b = A[:, :3] @ np.array([1.0, 2.0, 1.5]) + 3.0
    ones = np.column_stack([A, np.ones(4), -np.ones(4)])
    lam = np.append(np.full(6, 1e-4), [0.0, 0.0])
    result = si.solve(A, b, si.L0(1e-4, nonnegative=True), solver=si.LocalSearch(), intercept=True)
    best = best_support(ones, b, lam, np.zeros(8), np.zeros(8), True)
    assert result.objective <= best * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("offset", [1e3, 3e5, 1e7])
@pytest.mark.parametrize("seed", [1, 4, 12, 13])
def test_columns_far_from_the_origin_are_judged_beside_the_intercept(seed, offset):
    rng = np.random.default_rng(seed)
    centred = rng.standard_normal((30, 5)) * (0.01 if seed % 2 else 1.0)
    b = centred @ [1.0, 0.0, -2.0, 0.0, 0.0] * (100 if seed % 2 else 1) + 0.1 * rng.standard_normal(30) + 3
    A = centred + offset
    B = A - A.mean(axis=0)
    best = enumerated(B, b - b.mean(), np.full(5, 0.1))[1]
    search = si.LocalSearch(starts=())
    result = si.solve(A, b, si.L0(0.1), solver=search, intercept=True)
    assert result.success
    assert result.n_iter < 200
    assert tuple(result.support) == best


def test_free_columns_of_a_large_matrix_warn_of_nothing():
    """Nothing is left of a free column once it is projected out; that is no division by zero."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((1500, 700))
    A[:, 0] = 1.0
    b = 50.0 * A[:, 0] + 3.0 * A[:, 9] + rng.standard_normal(1500)
    weights = np.r_[0.0, np.ones(699)]
    result = si.solve(A, b, si.L0(30.0, weights=weights), solver=si.LocalSearch())
    assert result.success
    assert set(result.support) == {0, 9}


def test_a_fit_to_rounding_ends_the_search():
    """Data without noise: no other support can be lower, so no further start is made."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 150))
    x = np.zeros(150)
    x[rng.choice(150, 12, replace=False)] = rng.standard_normal(12)
    result = si.solve(A, A @ x, si.L0Ball(12), solver=si.LocalSearch(starts=(si.IRL1(),)))
    np.testing.assert_allclose(result.x, x, atol=1e-10)
    assert result.success
    assert result.n_iter < 30  # a descent; every start would add as many
