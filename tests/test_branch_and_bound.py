"""Branch and bound against enumeration, planted optima and stored objectives; its bounds and its limits."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.solvers.branch_and_bound import support_bound
from sparseinv.solvers.branch_shapes import components, curvatures, shape


def chained(rng, m, n, rho):
    """Return columns each of which is like the one before."""
    A = rng.standard_normal((m, n))
    for j in range(1, n):
        A[:, j] = rho * A[:, j - 1] + np.sqrt(1 - rho**2) * A[:, j]
    return A


def problem_of(seed, most_columns=11):
    """Return a coherent problem with a level per coefficient; every third without a ridge."""
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(5, 30)), int(rng.integers(5, most_columns))
    A = chained(rng, m, n, rng.choice([0.5, 0.9, 0.99]))
    b = A @ np.where(rng.random(n) < 0.4, rng.standard_normal(n), 0.0) + 0.3 * rng.standard_normal(m)
    lam = 0.03 * (b @ b) * rng.choice([0.1, 1.0]) * (0.1 + rng.random(n))
    l2 = np.zeros(n) if seed % 3 == 0 else 0.1 * rng.random(n) * (A**2).sum(axis=0) + 1e-3
    return A, b, lam, l2


def fitted(A, b, S, l2):
    """Return half of what the columns S explain, by a dense solve."""
    S = list(S)
    if not S:
        return 0.0
    H, q = A[:, S].T @ A[:, S] + np.diag(l2[S]), A[:, S].T @ b
    return 0.5 * q @ np.linalg.lstsq(H, q, rcond=None)[0]


def enumerated(A, b, lam, l2, *, most=None, inside=(), outside=()):
    n = A.shape[1]
    free = [j for j in range(n) if j not in inside and j not in outside]
    best = np.inf
    for k in range(len(free) + 1):
        for more in itertools.combinations(free, k):
            S = [*inside, *more]
            if most is None or len(S) <= most:
                best = min(best, 0.5 * b @ b - fitted(A, b, S, l2) + lam[S].sum())
    return best


@pytest.mark.parametrize("seed", range(60))
def test_optimum_of_enumeration_with_a_level_per_coefficient(seed):
    A, b, lam, l2 = problem_of(seed)
    result = si.solve(A, b, si.L0(lam, l2=l2), solver=si.BranchAndBound(), tol=1e-10)
    best, scale = enumerated(A, b, lam, l2), 0.5 * b @ b
    assert abs(result.objective - best) <= 1e-10 * scale
    assert result.success
    assert result.certificate.kind is si.Kind.GLOBAL_BOUND
    assert result.certificate.provided == ""
    assert result.certificate.bound <= best + 1e-10 * scale


@pytest.mark.parametrize("seed", range(24))
def test_optimum_with_at_most_k_columns(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 10))
    A = chained(rng, 20, n, rng.choice([0.5, 0.9]))
    b = A @ rng.standard_normal(n) + rng.standard_normal(20)
    k = int(rng.integers(0, n + 1))
    result = si.solve(A, b, si.L0Ball(k), solver=si.BranchAndBound(), tol=1e-10)
    best, scale = enumerated(A, b, np.zeros(n), np.zeros(n), most=k), 0.5 * b @ b
    assert result.success
    assert result.support.size <= k
    assert abs(result.objective - best) <= 1e-10 * scale
    assert result.certificate.bound <= best + 1e-10 * scale


@pytest.mark.parametrize("seed", range(6))
def test_zero_levels_stay_in_and_infinite_ones_stay_out(seed):
    A, b, lam, l2 = problem_of(seed, 10)
    lam[1], lam[3] = 0.0, np.inf
    result = si.solve(A, b, si.L0(lam, l2=l2), solver=si.BranchAndBound(), tol=1e-10)
    left = np.delete(np.arange(lam.size), 3)
    best = enumerated(A[:, left], b, lam[left], l2[left])
    assert result.success
    assert result.x[3] == 0
    assert abs(result.objective - best) <= 1e-10 * 0.5 * b @ b


def planted(blocks, size, coherent, seed):
    """Return (A, b, lam, minimum): orthogonal blocks, of which only ``coherent`` are not orthonormal."""
    rng = np.random.default_rng(seed)
    n = blocks * size
    lam = 0.3 + 0.4 * rng.random(n)
    R, target, best = np.eye(n), np.zeros(n), 0.0
    for block in range(blocks):
        at = np.arange(block * size, (block + 1) * size)
        if block < coherent:
            R[np.ix_(at, at)] = np.linalg.qr(chained(rng, 2 * size, size, 0.8))[1]
            target[at] = 1.2 * rng.standard_normal(size)
            own = enumerated(R[np.ix_(at, at)], target[at], lam[at], np.zeros(size))
        else:
            target[at] = 0.5 * rng.standard_normal(size)
            own = np.minimum(lam[at], 0.5 * target[at] ** 2).sum()
        best += own
    order = rng.permutation(n)
    if n <= 300:
        Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    else:  # reflections: as orthogonal, and quick
        Q = np.eye(n)
        for _ in range(3):
            u = rng.standard_normal(n)
            Q -= np.outer(Q @ u, 2.0 / (u @ u) * u)
    return (Q @ R)[:, order], Q @ target, lam[order], best


@pytest.mark.parametrize(
    ("blocks", "size", "coherent", "seed"), [(30, 8, 5, 0), (30, 8, 4, 1), (300, 8, 5, 2)]
)
def test_optimum_that_was_planted_in_orthogonal_blocks(blocks, size, coherent, seed):
    A, b, lam, best = planted(blocks, size, coherent, seed)
    result = si.solve(A, b, si.L0(lam), solver=si.BranchAndBound(), tol=1e-10)
    assert result.success
    assert abs(result.objective - best) <= 1e-10 * 0.5 * b @ b


@pytest.mark.parametrize("seed", range(10))
def test_bound_of_any_dual_vector_is_below_the_minimum_of_the_node(seed):
    rng = np.random.default_rng(seed)
    A, b, lam, _ = problem_of(seed, 8)
    n = lam.size
    l2 = (0.01 + rng.random(n)) * (A**2).sum(axis=0) * 0.2
    tightest = -np.inf
    for trial in range(100):
        fixing = rng.choice([0, 0, 0, 1, -1], n)
        inside, outside = np.flatnonzero(fixing == 1), np.flatnonzero(fixing == -1)
        best = enumerated(A, b, lam, l2, inside=list(inside), outside=list(outside))
        u = b - A @ (rng.standard_normal(n) * rng.choice([0.0, 0.1, 1.0]))
        if trial % 2:
            kept = np.flatnonzero(fixing >= 0)
            H = A[:, kept].T @ A[:, kept] + np.diag(l2[kept])
            u = b - A[:, kept] @ np.linalg.solve(H, A[:, kept].T @ b)
        bound = support_bound(A, b, lam, l2, u, inside=inside, outside=outside)
        assert bound <= best + 1e-12 * (b @ b)
        tightest = max(tightest, bound / best)
    assert tightest > 0.5  # bounds that say nothing would be valid too


def test_bound_with_sizes_and_with_a_limit_on_the_non_zeros():
    rng = np.random.default_rng(3)
    A, b, none = rng.standard_normal((12, 7)), rng.standard_normal(12), np.zeros(7)
    for k in range(8):
        best, size = np.inf, 0.0
        for S in itertools.combinations(range(7), k):
            x = np.linalg.lstsq(A[:, S], b, rcond=None)[0] if S else np.zeros(0)
            r = b - A[:, S] @ x
            if 0.5 * r @ r < best:
                best, size = 0.5 * r @ r, np.abs(x).max(initial=0.0)
        for _ in range(30):
            u = b - A @ (0.3 * rng.standard_normal(7))
            bound = support_bound(A, b, none, none, u, big_m=1.01 * size + 1e-9, most=k)
            assert bound <= best + 1e-12
    assert support_bound(A, b, none, none, b) == -np.inf


@pytest.mark.parametrize("seed", range(8))
def test_curvature_that_is_shared_out_leaves_a_semidefinite_rest(seed):
    rng = np.random.default_rng(seed)
    A, b, lam, _ = problem_of(seed)
    n = min(A.shape)
    A, lam = A[:, :n], lam[:n]
    H = A.T @ A
    norm = np.sqrt(np.diag(H))
    unit = H / np.outer(norm, norm)
    d = curvatures(unit, 0.1 + rng.random(n))
    assert (d >= 0).all()
    assert np.linalg.eigvalsh(unit - np.diag(d))[0] >= -1e-12
    assert d.sum() >= n * max(np.linalg.eigvalsh(unit)[0] - 1e-6, 0.0) * 0.9
    inside = np.zeros(n, dtype=bool)
    upper = enumerated(A, b, lam, np.zeros(n)) * 1.2
    found = shape(H, A.T @ b, 0.5 * b @ b, lam, inside, upper)
    if found is None:
        return
    assert found.floor <= upper
    for k in range(1, n + 1):
        for S in itertools.combinations(range(n), k):
            x = np.linalg.lstsq(A[:, S], b, rcond=None)[0]
            if 0.5 * np.sum((A[:, S] @ x - b) ** 2) + lam[list(S)].sum() <= upper:
                assert (np.abs(x) <= found.top[list(S)]).all()


def test_parts_that_nothing_connects_are_told_apart():
    H = np.eye(5)
    H[0, 3] = H[3, 0] = 0.4
    assert sorted(sorted(part.tolist()) for part in components(H)) == [[0, 3], [1], [2], [4]]


def synthetic(m):
    """Return the data of the test of l0bnb (MIT), test/test_objective.py, drawn as its generator does."""
    rng = np.random.RandomState(1)
    truth = np.zeros(50)
    truth[::5] = 1.0
    A = rng.normal(size=(m, 50)) + 0.0 * rng.normal(size=(m, 1))
    signal = A @ truth
    return A, signal + rng.normal(size=m, scale=np.std(signal, ddof=1) / np.sqrt(5))


STORED = [
    (25, 100.0, [140.7496992712402, 134.73678148063837, 132.7966398218242, 131.92442262876952]),
    (50, 100.0, [252.01738710057455, 249.60196757751095, 237.91468825572306, 237.1552209007437]),
    (100, 0.1, [582.8799315049895, 511.31843817806424, 485.195434198173, 456.735738689179]),
    (100, 0.0, [582.8775383112129, 511.1380945270483, 484.75318292430666, 456.3438073701726]),
]


@pytest.mark.parametrize(("m", "ridge", "stored"), STORED)
def test_objectives_that_l0bnb_stored_from_a_commercial_solver(m, ridge, stored):
    A, b = synthetic(m)
    squares = (A**2).sum(axis=0) + 2 * ridge
    lam = 0.99 * 0.5 * np.max((A.T @ b) ** 2 / squares)
    for expected in stored:
        result = si.solve(A, b, si.L0(lam, l2=2 * ridge), solver=si.BranchAndBound(), tol=1e-8)
        assert result.success
        assert result.objective == pytest.approx(expected, rel=1e-4)  # as its own test has it
        gains = 0.5 * (A.T @ (b - A @ result.x)) ** 2 / squares
        gains[result.support] = 0.0
        lam = min(gains.max(), 0.95 * lam)


def test_pairs_that_suppress_each_other():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 12))
    A[:, 1] = A[:, 0] + 0.1 * rng.standard_normal(60)
    A -= A.mean(axis=0)
    A /= np.linalg.norm(A, axis=0)
    d = A[:, 0] - A[:, 1]
    b = d / np.linalg.norm(d) + 0.35 * A[:, 5]
    b -= b.mean()
    b /= np.linalg.norm(b)
    result = si.solve(A, b, si.L0(0.0577, l2=2e-4), solver=si.BranchAndBound(), tol=1e-9)
    assert result.success
    assert result.objective == pytest.approx(0.1831, abs=1e-4)
    assert result.support.tolist() == [0, 1]


def wide(seed=0, m=40, n=120):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    A /= np.linalg.norm(A, axis=0)
    b = A[:, :8].sum(axis=1) + 0.3 * rng.standard_normal(m)
    return A, b / np.linalg.norm(b)


def test_limits_return_the_incumbent_with_a_true_gap():
    A, b = wide()
    penalty = si.L0(0.005, l2=0.02)
    best = si.solve(A, b, penalty, solver=si.LocalSearch())
    for limits in ({"max_time": 0.2}, {"solver": si.BranchAndBound(max_nodes=20)}):
        result = si.solve(A, b, penalty, **{"solver": si.BranchAndBound(), "tol": 1e-9} | limits)
        assert result.status in (si.Status.MAX_TIME, si.Status.MAX_NODES)
        assert not result.success
        if result.status is si.Status.MAX_NODES:
            assert result.certificate.kind is si.Kind.GLOBAL_BOUND
            assert result.n_iter <= 20
            assert 0 < result.certificate.bound < best.objective
            assert result.objective <= best.objective * (1 + 1e-12)
        assert np.isfinite(result.objective)


def test_more_nodes_never_lower_the_bound():
    A, b = wide(1)
    bounds = [
        si.solve(A, b, si.L0(0.008, l2=0.05), solver=si.BranchAndBound(max_nodes=k), tol=1e-9).certificate
        for k in (1, 10, 50, 200)
    ]
    bounds = [certificate.bound for certificate in bounds]
    assert bounds == sorted(bounds)


def test_callbacks_stop_a_run_and_what_was_proved_stays():
    A, b = wide(2)
    calls = []

    def stop(progress):
        calls.append(progress.objective)
        if len(calls) == 4:
            raise StopIteration

    result = si.solve(A, b, si.L0(0.005, l2=0.01), solver=si.BranchAndBound(), tol=1e-12, callback=stop)
    assert result.status is si.Status.STOPPED_BY_CALLBACK
    assert result.objective == min(calls)


def test_sizes_that_are_assumed_are_stated():
    A, b = wide(3, 20, 30)
    free = si.solve(A, b, si.L0(0.05), solver=si.BranchAndBound(max_nodes=30), tol=1e-9)
    assert free.certificate.provided == ""
    sized = si.solve(A, b, si.L0(0.05), solver=si.BranchAndBound(big_m=3.0), tol=1e-9)
    assert sized.success
    assert sized.certificate.provided == "|x| <= big_m"
    assert "provided |x| <= big_m" in str(sized)
    assert np.abs(sized.x).max() < 3.0
    assert sized.certificate.bound > free.certificate.bound


@pytest.mark.parametrize("exponent", [-800, -40, 40, 800])
def test_scale_of_the_data_changes_no_bit(exponent):
    A, b, lam, l2 = problem_of(4)
    plain = si.solve(A, b, si.L0(lam, l2=l2), solver=si.BranchAndBound())
    scaled = si.solve(
        A, np.ldexp(b, exponent // 2), si.L0(np.ldexp(lam, exponent), l2=l2), solver=si.BranchAndBound()
    )
    np.testing.assert_array_equal(scaled.x, np.ldexp(plain.x, exponent // 2))
    assert scaled.n_iter == plain.n_iter


@pytest.mark.parametrize("kind", ["csc", "float32", "permuted", "few rows at a time"])
def test_what_A_is_makes_no_difference(kind, monkeypatch):
    A, b = wide(5, 50, 80)
    lam, tol = 0.03, 1e-7
    expected = si.solve(A, b, si.L0(lam, l2=0.1), solver=si.BranchAndBound(), tol=tol)
    assert expected.success
    given, order = A, np.arange(80)
    if kind == "csc":
        given = sparse.csc_array(A)
    elif kind == "float32":
        given = A.astype(np.float32)
    elif kind == "permuted":
        order = np.random.default_rng(0).permutation(80)
        given = -A[:, order]
    else:
        from sparseinv.solvers import branch_tree

        monkeypatch.setattr(branch_tree, "_WHOLE", 0)
        monkeypatch.setattr(branch_tree, "_AT_ONCE", 0)
        monkeypatch.setattr(branch_tree, "_FIRST", 3 * 8 * 80)
        monkeypatch.setattr(branch_tree, "_WIDTH", 12)
    result = si.solve(given, b, si.L0(lam, l2=0.1), solver=si.BranchAndBound(), tol=tol)
    assert result.success
    assert result.objective == pytest.approx(expected.objective, rel=1e-6)
    np.testing.assert_array_equal(np.sort(order[result.support]), expected.support)


def test_dependent_columns_and_empty_ones_are_no_trouble():
    rng = np.random.default_rng(9)
    A = chained(rng, 12, 9, 0.8)
    A[:, 5], A[:, 6], A[:, 7] = A[:, 4], -2 * A[:, 4], 0.0
    b = A @ rng.standard_normal(9) + 0.1 * rng.standard_normal(12)
    lam = 0.02 * (b @ b) * (0.5 + rng.random(9))
    result = si.solve(A, b, si.L0(lam), solver=si.BranchAndBound(), tol=1e-9)
    kept = [0, 1, 2, 3, int(4 + np.argmin(lam[4:7])), 8]
    assert result.success
    assert result.objective == pytest.approx(enumerated(A[:, kept], b, lam[kept], np.zeros(6)), rel=1e-9)


def test_node_arrays_grow():
    from sparseinv.solvers.branch_tree import BranchTree

    A, b = wide(6)
    problem = Problem(*system(A, b), si.L0(0.004, l2=0.01))
    tree = BranchTree(problem, problem.scale, None, 1e-9)
    rows = tree.nodes.shape[0]
    while tree.done < 6000 and not tree.explore(tree.numbers[0], 1e-9, 1e7, 6000):
        tree.incumbent()
    assert tree.nodes.shape[0] > rows
    assert 0.0 < tree.lower <= tree.numbers[0]


def test_what_it_cannot_treat_is_refused():
    A, b = wide(0, 10, 8)
    for penalty, words in (
        (si.L1(0.1), "BranchAndBound needs an L0 penalty or L0Ball"),
        (si.L0(0.1, l1=0.2), "levels of"),
        (si.L0(0.1, nonnegative=True), "nonnegative=True"),
    ):
        with pytest.raises(ValueError, match=words):
            si.solve(A, b, penalty, solver=si.BranchAndBound())
    with pytest.raises(ValueError, match="needs real data"):
        si.solve(A * 1j, b, si.L0(0.1), solver=si.BranchAndBound())
    with pytest.raises(ValueError, match="columns of A in memory"):
        si.solve(sparse.linalg.aslinearoperator(A), b, si.L0(0.1), solver=si.BranchAndBound())
    with pytest.raises(ValueError, match="big_m has 3 values"):
        si.solve(A, b, si.L0(0.1), solver=si.BranchAndBound(big_m=[1.0, 2.0, 3.0]))
    for arguments in ({"max_nodes": -1}, {"big_m": 0.0}, {"big_m": -1.0}):
        with pytest.raises(ValueError, match=r"max_nodes|big_m"):
            si.BranchAndBound(**arguments)
    with pytest.raises(TypeError, match="incumbent is 3"):
        si.BranchAndBound(incumbent=3)
    with pytest.raises(TypeError, match="first is 'a'"):
        si.BranchAndBound(first="a")


@pytest.mark.parametrize("apart", [1e-5, 3e-6, 2e-6, 1e-6, 1e-7])
@pytest.mark.parametrize("penalty", [si.L0(0.01), si.L0Ball(2)])
def test_a_pair_that_is_almost_one_column_is_no_false_proof(apart, penalty):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 6))
    A /= np.linalg.norm(A, axis=0)
    z = rng.standard_normal(20)
    z -= A @ np.linalg.lstsq(A, z, rcond=None)[0]
    z /= np.linalg.norm(z)
    A[:, 1] = A[:, 0] + apart * z
    b = z + 0.1 * A[:, 3]
    best = 0.5 * (0.1 * np.linalg.norm(A[:, 3] - A[:, 0] * (A[:, 0] @ A[:, 3]))) ** 2
    best += 0.0 if isinstance(penalty, si.L0Ball) else 0.02
    result = si.solve(A, b, penalty, solver=si.BranchAndBound())
    assert result.certificate.bound <= best + 1e-8
    assert result.success
    assert set(result.support) == {0, 1}


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8, 1e9])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_columns_far_from_zero_with_an_intercept(offset):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((20, 6)) + offset
    b = A[:, :2] @ [1.0, 1.0] - 2 * offset + 0.3 * rng.standard_normal(20) + 1
    centred, target = A - A.mean(axis=0), b - b.mean()
    best = enumerated(centred, target, np.full(6, 0.1), np.zeros(6))
    result = si.solve(A, b, si.L0(0.1), solver=si.BranchAndBound(), intercept=True)
    assert result.certificate.bound <= best + 1e-15 * offset * (b @ b)
    if offset < 1e7:
        assert result.success
        assert abs(result.objective - best) <= 1e-7 * best


def test_columns_that_free_ones_explain_stay_out():
    rng = np.random.default_rng(2)
    A = rng.standard_normal((15, 6))
    A[:, 4], A[:, 5] = A[:, 0] - 2 * A[:, 1], A[:, 0] + 1e-5 * A[:, 3]
    lam = np.array([0.0, 0.0, 0.2, 0.2, 0.2, 0.2])
    b = rng.standard_normal(15) + A[:, 3]
    result = si.solve(A, b, si.L0(lam), solver=si.BranchAndBound())
    best = min(
        0.5 * np.sum((b - A[:, S] @ np.linalg.lstsq(A[:, S], b, rcond=None)[0]) ** 2) + lam[S].sum()
        for k in range(4)
        for S in ([0, 1, *more] for more in itertools.combinations([2, 3, 5], k))
    )
    assert result.success
    assert abs(result.objective - best) <= 1e-9 * best


@pytest.mark.parametrize(
    "incumbent", [si.IRL1(), si.IRLS(), si.OMP(), si.CoordinateDescent(), si.BranchAndBound(max_nodes=3)]
)
def test_any_solver_that_fits_finds_the_first_point(incumbent):
    A, b, lam, l2 = problem_of(1)
    result = si.solve(A, b, si.L0(lam, l2=l2), solver=si.BranchAndBound(incumbent=incumbent))
    assert result.success
    assert result.objective <= enumerated(A, b, lam, l2) * (1 + 1e-5)


def test_a_longer_search_follows_where_the_tree_stays_open(monkeypatch):
    from sparseinv.solvers import branch_and_bound

    A, b = wide(5, 50, 80)
    started = []

    class Noted(si.OMP):
        def start(self, problem, x0):
            started.append(type(self).__name__)
            return super().start(problem, x0)

    class Longer(si.LocalSearch):
        def start(self, problem, x0):
            started.append(type(self).__name__)
            return super().start(problem, x0)

    solver = si.BranchAndBound(first=Noted(), incumbent=Longer())
    early = si.solve(A, b, si.L0(0.03, l2=0.1), solver=solver, tol=1e-7)
    assert started == ["Noted"]
    monkeypatch.setattr(branch_and_bound, "_EARLY", 1e4)
    late = si.solve(A, b, si.L0(0.03, l2=0.1), solver=solver, tol=1e-7)
    assert started == ["Noted", "Noted", "Longer"]
    cut = si.solve(A, b, si.L0(0.03, l2=0.1), solver=dataclasses.replace(solver, max_nodes=1), tol=1e-7)
    assert started[3:] == ["Noted", "Longer"]
    assert early.success
    assert late.success
    assert not cut.success
    assert early.objective == pytest.approx(late.objective, abs=1e-7)
    assert cut.objective <= early.objective + 1e-7


def test_a_first_solver_that_does_not_fit_is_refused():
    A, b, lam, l2 = problem_of(1)
    for incumbent, words in ((si.HTP(), "incumbent of BranchAndBound does not fit this problem: HTP"),):
        with pytest.raises(ValueError, match=words):
            si.solve(A, b, si.L0(lam, l2=l2), solver=si.BranchAndBound(incumbent=incumbent))


# --- coefficients of a ball that are free or excluded -------------------------------------------------------


def best_in_ball(A, b, k, free, excluded):
    """Return (least misfit with at most k columns beside the free ones, its support)."""
    counted = [j for j in range(A.shape[1]) if j not in free and j not in excluded]
    found = []
    for size in range(min(k, len(counted)) + 1):
        for S in itertools.combinations(counted, size):
            index = [*free, *S]
            x = np.linalg.lstsq(A[:, index], b, rcond=None)[0] if index else np.zeros(0)
            found.append((0.5 * np.sum((A[:, index] @ x - b) ** 2), S))
    return min(found)


@pytest.mark.parametrize("seed", range(16))
def test_a_ball_with_free_and_excluded_coefficients(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 11))
    A = chained(rng, 20, n, rng.choice([0.5, 0.9, 0.99]))
    b = A @ rng.standard_normal(n) + rng.standard_normal(20)
    roles = rng.permutation(n)
    free, excluded = sorted(map(int, roles[: seed % 4])), sorted(map(int, roles[4 : 4 + seed % 3]))
    weights = np.ones(n)
    weights[free], weights[excluded] = 0.0, np.inf
    k = int(rng.integers(0, 5))
    result = si.solve(A, b, si.L0Ball(k, weights=weights), solver=si.BranchAndBound(), tol=1e-10)
    best, scale = best_in_ball(A, b, k, free, excluded)[0], 0.5 * b @ b
    assert result.success
    assert result.certificate.kind is si.Kind.GLOBAL_BOUND
    assert not result.x[excluded].any()
    assert np.count_nonzero(np.delete(result.x, free)) <= k
    assert abs(result.objective - best) <= 1e-9 * scale
    assert result.certificate.bound <= best + 1e-10 * scale
    # the residual is orthogonal to what is free
    np.testing.assert_allclose(A[:, free].T @ (A @ result.x - b), 0.0, atol=1e-9 * scale)


def test_a_ball_with_dependent_free_columns_a_constant_and_nothing_that_counts():
    rng = np.random.default_rng(20)
    A, b = rng.standard_normal((15, 8)), rng.standard_normal(15)
    A[:, 3], A[:, 5] = 2.0 * A[:, 2], A[:, 2] + A[:, 4]
    weights = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    result = si.solve(A, b, si.L0Ball(2, weights=weights), solver=si.BranchAndBound())
    assert result.success
    assert result.objective == pytest.approx(best_in_ball(A, b, 2, [2, 3, 4], [])[0], rel=1e-8)
    assert result.x[5] == 0  # explained by the free ones

    shifted = si.solve(A, b + 7.0, si.L0Ball(2), solver=si.BranchAndBound(), intercept=True)
    centred = best_in_ball(A - A.mean(axis=0), b - b.mean(), 2, [], [])
    assert shifted.success
    assert shifted.objective == pytest.approx(centred[0], rel=1e-6)

    for weights in (np.r_[np.zeros(4), np.full(4, np.inf)], np.full(8, np.inf)):
        result = si.solve(A, b, si.L0Ball(2, weights=weights), solver=si.BranchAndBound())
        free = np.flatnonzero(weights == 0.0)
        assert result.success
        assert result.objective == pytest.approx(best_in_ball(A, b, 0, list(free), [])[0], rel=1e-9)
    nothing = si.solve(A, b, si.L0Ball(0, weights=np.r_[0.0, np.ones(7)]), solver=si.BranchAndBound())
    assert nothing.support.tolist() == [0]
    assert nothing.success


def test_a_ball_whose_proof_is_cut_off_says_how_far_it_is():
    A, b = wide(7, 30, 40)
    weights = np.ones(40)
    weights[:3], weights[3:6] = 0.0, np.inf
    result = si.solve(A, b, si.L0Ball(5, weights=weights), solver=si.BranchAndBound(max_nodes=30), tol=1e-9)
    assert result.status is si.Status.MAX_NODES
    assert result.certificate.bound <= result.objective
    search = si.solve(A, b, si.L0Ball(5, weights=weights), solver=si.LocalSearch())
    assert result.objective <= search.objective * (1 + 1e-9)
    assert not result.x[3:6].any()
