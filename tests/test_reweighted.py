"""IRLS, IRL1 and SL0: majorisation, weight rules, noise-free recovery, scale, and penalties of one's own."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

import cases
import sparseinv as si
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.solvers import reweighted_least_squares
from sparseinv.solvers.auto import complete
from sparseinv.solvers.discrete_answer import eliminate
from sparseinv.solvers.reweighted_l1 import _evidence_weights
from sparseinv.stopping import Budget

BUDGET = Budget(tol=1e-6, iterations=10_000, seconds=math.inf, gap=math.inf)
NOISE_FREE = [
    si.IRLS(),
    si.IRLS(anneal=True),
    si.SL0(),
    si.IRL1(weighting="modulus"),
    si.IRL1(weighting="evidence"),
    si.SparseBayesian("em"),
]


def instance(key, m, n, k, law="gaussian", number="real"):
    rng = cases.generator(81, key)
    A, x = rng.standard_normal((m, n)), np.zeros(n)
    values = rng.standard_normal(k) if law == "gaussian" else rng.choice([-1.0, 1.0], k)
    if number == "complex":
        A = A + 1j * rng.standard_normal((m, n))
        values, x = values * np.exp(1j * rng.uniform(0, 6, k)), x.astype(complex)
    x[rng.permutation(n)[:k]] = values
    return A, A @ x, x


def problem(A, b, penalty):
    return Problem(*system(A, b), penalty)


def level(b, n):
    return 1e-8 * float(np.linalg.norm(b) ** 2) / n


def recovered(result, x):
    return np.linalg.norm(result.x - x) <= 1e-2 * np.linalg.norm(x)


# --- IRLS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.3, 0.5, 1.0])
def test_irls_never_raises_the_smoothed_objective(p):
    A, b, _ = instance(1, 20, 40, 5)
    task = problem(A, b + 0.1, si.L0(np.geomspace(0.01, 1.0, 40)))
    solver = complete(si.IRLS(p=p), task)
    state = solver.start(task, None)

    def smoothed(x, eps):
        u2 = (np.abs(x) / state.size) ** 2 + eps
        return 0.5 * np.linalg.norm(task.residual(x)) ** 2 + (task.penalty.l0 * u2 ** (p / 2)).sum()

    falls = 0
    while state.polisher is None:
        eps, before, alive = state.eps, smoothed(state.x, state.eps), state.alive
        solver.step(task, state, BUDGET)
        if state.polisher is None:
            after = smoothed(state.x, eps)
            # what is left out at the end of a smoothing takes its small part of the fit along
            assert after <= before * (1 + (1e-10 if state.alive is alive else 1e-2))
            falls += after < before * (1 - 1e-6)
    assert falls > 10


def test_anneal_goes_from_one_to_p():
    solver = si.IRLS(p=0.4, anneal=True)
    exponents = [solver.exponent(10.0**-k) for k in range(10)]
    assert exponents[0] == 1.0
    assert exponents[4] == pytest.approx(0.4)
    assert exponents[9] == pytest.approx(0.4)
    assert (np.diff(exponents) <= 1e-12).all()
    assert si.IRLS(p=0.4).exponent(1.0) == 0.4


class Bound(si.Penalty):
    """sum_i |x_i|^(1/2), with nothing but value, prox and slope."""

    nonnegative = quadratic = False

    def __init__(self, n=0):
        self.excluded = self.unpenalised = np.zeros(n, dtype=bool)

    def bind(self, n):
        return Bound(n)

    def value(self, x):
        return 0.3 * float(np.sqrt(np.abs(x)).sum())

    def slope(self, s):
        return 0.15 / np.sqrt(s)

    def prox(self, v, step):
        grid = np.linspace(0.0, 1.0, 400)[:, None] * np.abs(v)
        cost = 0.5 * (grid - np.abs(v)) ** 2 + 0.3 * step * np.sqrt(grid)
        return np.sign(v) * np.take_along_axis(grid, cost.argmin(axis=0)[None], 0)[0]


def test_irls_takes_a_penalty_by_its_slope():
    """The weights touch sum |x|^(1/2) from above; the answer beats a descent from zero."""
    A, b, _ = instance(2, 15, 30, 3)
    solver = si.IRLS(polish=si.ISTA())
    task = problem(A, b, Bound())
    state = solver.start(task, None)
    w = solver.weights(task, state)
    smooth = np.abs(state.x) ** 2 + state.eps * state.size**2
    for t in (0.3, 0.9, 1.5, 4.0):
        rise = 0.3 * ((t * smooth) ** 0.25 - smooth**0.25)
        assert (rise <= 0.5 * w * (t - 1) * smooth + 1e-12).all()
    result = si.solve(A, b, Bound(), solver=solver, max_iter=500)
    alone = si.solve(A, b, Bound(), solver=si.ISTA(), max_iter=500)
    assert result.objective <= alone.objective


# --- the weights of IRL1 ------------------------------------------------------------------------------


def test_weights_of_the_evidence_are_the_formula():
    A, b, _ = instance(3, 12, 20, 3)
    lam = np.geomspace(0.05, 0.5, 20)
    lam[2], lam[5] = 0.0, np.inf
    task = problem(A, b, si.L0(lam))
    solver = complete(si.IRL1(weighting="evidence"), task)
    state = solver.start(task, None)
    size = np.abs(cases.generator(82).standard_normal(20)) * (np.arange(20) % 3 == 0)
    size[5] = 0.0
    live = (lam > 0) & np.isfinite(lam)
    level = task.penalty.l0
    s2 = np.median(level[live]) / math.log(live.sum())
    gamma = np.where(live, size / (np.linalg.norm(A, axis=0) / np.sqrt(s2)), 0.0)
    for _ in range(2):
        weights = _evidence_weights(task, state, size)
        M = (A * gamma) @ A.T + s2 * np.eye(12)
        roots = np.sqrt(np.einsum("ij,ij->j", A, np.linalg.solve(M, A)))
        expected = level[live] / math.log(live.sum()) * roots[live]
        np.testing.assert_allclose(weights.l1[live], expected, rtol=1e-9)
        assert weights.l1[2] == 0
        assert np.isinf(weights.l0[5])
        assert weights.convex
        gamma = np.where(live, size / roots, 0.0)


def test_modulus_rule_takes_the_ranked_coefficient():
    A, b, _ = instance(4, 20, 40, 3)
    task = problem(A, b, si.L0(0.2))
    solver = complete(si.IRL1(weighting="modulus"), task)
    state = solver.start(task, None)
    state.x = cases.generator(83).standard_normal(40)
    rank = int(20 / (4 * math.log(2)))
    eps = np.sort(np.abs(state.x))[::-1][rank]
    weights = solver._next(task, state)
    first = np.sqrt(2.0 * task.penalty.l0) * np.linalg.norm(A, axis=0)
    np.testing.assert_allclose(weights.l1, first * eps / (np.abs(state.x) + eps), rtol=1e-12)


# --- the discrete answer ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["real", "complex"])
def test_elimination_makes_the_best_removals(number):
    A, b, _ = instance(5, 15, 8, 4, number=number)
    b = b + cases.generator(84).standard_normal(15)
    lam = np.linspace(0.5, 3.0, 8)
    lam[1] = 0.0
    task = problem(A, b, si.L0(lam))

    def fitted(support):
        x = np.zeros(8, dtype=A.dtype)
        x[support] = np.linalg.lstsq(A[:, support], task.b, rcond=None)[0]
        return x, task.objective(x, task.residual(x))

    support = list(range(8))
    while True:
        options = [(fitted([i for i in support if i != j])[1], j) for j in support if lam[j] > 0]
        best, j = min(options)
        if not best < fitted(support)[1]:
            break
        support.remove(j)
    x = eliminate(task, np.ones(8, dtype=A.dtype))
    np.testing.assert_array_equal(np.flatnonzero(x), support)
    np.testing.assert_allclose(x, fitted(support)[0], atol=1e-12)
    assert len(support) < 8


def test_elimination_leaves_dependent_columns_and_levels_of_moduli_alone():
    A, b, _ = instance(6, 15, 8, 4)
    A[:, 3] = A[:, 2]
    x = np.ones(8)
    assert eliminate(problem(A, b, si.L0(0.5)), x) is x
    assert eliminate(problem(A, b, si.L0(0.5, l1=0.1)), x) is x
    assert eliminate(problem(cases.Products(A), b, si.L0(0.5)), x) is x


@pytest.mark.parametrize("solver", [si.IRLS(), si.SL0(), si.IRL1(), si.SparseBayesian()], ids=repr)
def test_close_to_the_best_support(solver):
    """Against enumeration, with a level each, one free and one excluded coefficient."""
    worse = 0
    for key in range(5):
        A, b, _ = instance(20 + key, 8, 10, 3)
        b = b + 0.1 * cases.generator(85, key).standard_normal(8)
        lam = cases.generator(86, key).uniform(0.5, 2.0, 10)
        lam[0], lam[1] = 0.0, np.inf
        result = si.solve(A, b, si.L0(lam), solver=solver)
        assert result.x[1] == 0
        assert result.success
        best = math.inf
        for size in range(8):
            for chosen in itertools.combinations(range(2, 10), size):
                support = [0, *chosen]
                r = A[:, support] @ np.linalg.lstsq(A[:, support], b, rcond=None)[0] - b
                best = min(best, 0.5 * r @ r + lam[list(chosen)].sum())
        assert result.objective >= best * (1 - 1e-9)
        worse += result.objective > 1.3 * best
    assert worse <= 2


# --- data without noise -------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", NOISE_FREE, ids=repr)
@pytest.mark.parametrize("number", ["real", "complex"])
def test_noise_free_recovery(solver, number):
    A, b, x = instance(7, 40, 80, 10, number=number)
    result = si.solve(A, b, si.L0(level(b, 80)), solver=solver)
    assert result.success
    np.testing.assert_allclose(result.x, x, atol=1e-6)
    np.testing.assert_array_equal(result.support, np.flatnonzero(x))


def test_irls_lies_above_l1_at_half_the_rows():
    """m / n = 1/2, k / m = 1/2, normal coefficients: L1 finds none, p = 1/2 most (7.7 in 10 at least)."""
    found = l1 = 0
    for key in range(8):
        A, b, x = instance(30 + key, 100, 200, 50)
        found += recovered(si.solve(A, b, si.L0(level(b, 200)), solver=si.IRLS()), x)
        l1 += recovered(si.solve(A, b, si.L1(1e-5 * np.abs(A.T @ b).max())), x)
    assert found >= 6
    assert l1 == 0


def test_bayes_lies_above_l1_at_half_the_rows():
    found = 0
    for key in range(3):
        A, b, x = instance(30 + key, 100, 200, 46)
        found += recovered(si.solve(A, b, si.L0(level(b, 200)), solver=si.SparseBayesian("em")), x)
    assert found >= 2


@pytest.mark.parametrize("solver", [si.IRLS(), si.SL0()], ids=repr)
def test_operators_find_the_same(solver):
    A, b, x = instance(9, 30, 60, 5)
    free = si.solve(cases.Products(A), b, si.L0(level(b, 60)), solver=solver)
    np.testing.assert_array_equal(np.abs(free.x) > 1e-3, x != 0)
    np.testing.assert_allclose(free.x, x, atol=1e-3)


@pytest.mark.parametrize(
    "solver", [si.IRLS(), si.SL0(), si.IRL1(weighting="modulus"), si.IRL1(weighting="evidence")], ids=repr
)
@pytest.mark.parametrize("factor", [1e-9, 1e9, 2.0**30])
def test_equivariant_to_scale(solver, factor):
    A, b, _ = instance(10, 30, 60, 8)
    one = si.solve(A, b, si.L0(level(b, 60)), solver=solver)
    other = si.solve(A, factor * b, si.L0(level(b, 60) * factor**2), solver=solver)
    np.testing.assert_array_equal(one.support, other.support)
    np.testing.assert_allclose(other.x, factor * one.x, rtol=1e-6)
    if factor == 2.0**30:
        np.testing.assert_array_equal(other.x, factor * one.x)


# --- SL0 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["real", "complex"])
def test_sl0_stays_on_the_solutions(number):
    A, b, _ = instance(11, 15, 30, 3, number=number)
    lam = np.full(30, level(b, 30))
    lam[4] = np.inf
    task = problem(A, b, si.L0(lam))
    solver = complete(si.SL0(), task)
    state = solver.start(task, None)
    while state.polisher is None:
        assert np.linalg.norm(task.residual(state.x)) <= 1e-10 * np.linalg.norm(task.b)
        assert state.x[4] == 0
        solver.step(task, state, BUDGET)


def test_sl0_on_tall_and_rank_deficient_data():
    A, b, x = instance(12, 60, 20, 4)
    tall = si.solve(A, b, si.L0(level(b, 20)), solver=si.SL0())
    np.testing.assert_allclose(tall.x, x, atol=1e-8)
    A, _, x = instance(13, 20, 60, 4)
    A[10:] = A[:10]
    b = A @ x
    assert si.solve(A, b, si.L0(level(b, 60)), solver=si.SL0()).success


def test_sl0_with_a_free_coefficient():
    A, b, x = instance(14, 30, 60, 5)
    lam = np.full(60, level(b, 60))
    lam[np.flatnonzero(x == 0)[0]] = 0.0
    result = si.solve(A, b, si.L0(lam), solver=si.SL0())
    np.testing.assert_allclose(result.x, x, atol=1e-6)


def test_polish_by_local_search_is_certified_by_exchanges():
    A, b, _ = instance(15, 20, 30, 4)
    b = b + 0.3 * cases.generator(87).standard_normal(20)
    plain = si.solve(A, b, si.L0(1.0), solver=si.IRLS())
    polished = si.solve(A, b, si.L0(1.0), solver=si.IRLS(polish=si.LocalSearch(restarts=0)))
    assert polished.objective <= plain.objective * (1 + 1e-12)
    assert polished.success


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: si.IRLS(anneal=1), TypeError, ["anneal is 1", "True or False"]),
        (lambda: si.IRL1(weighting="wipf"), ValueError, ["weighting is 'wipf'", "evidence"]),
        (lambda: si.SL0(decrease=1.0), ValueError, ["decrease is 1"]),
        (lambda: si.SL0(steps=0), ValueError, ["steps is 0"]),
        (lambda: si.SL0(mu=0.0), ValueError, ["mu is 0", "positive"]),
        (lambda: si.SL0(polish="cd"), TypeError, ["polish is 'cd'"]),
    ],
)
def test_refusals(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("solver", "penalty", "operator", "words"),
    [
        (si.SL0(), si.L1(1.0), False, ["needs an L0 penalty", "IRLS"]),
        (si.SL0(), si.L0(1.0, nonnegative=True), False, ["nonnegative=True"]),
        (si.IRL1(weighting="evidence"), si.L0(1.0), True, ["columns of A in memory", "weighting='level'"]),
        (si.IRL1(polish=si.HTP()), si.L0(1.0), False, ["HTP needs L0Ball"]),
        (si.SL0(polish=si.FISTA()), si.L0(1.0), True, ["FISTA needs a convex penalty"]),
    ],
)
def test_refused_problems(solver, penalty, operator, words):
    A, b, _ = instance(16, 10, 20, 2)
    with pytest.raises(ValueError, match=words[0]) as error:
        si.solve(cases.Products(A) if operator else A, b, penalty, solver=solver)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("solver", [si.SL0(polish=si.IRL1()), si.IRL1(inner=si.IRL1())], ids=repr)
def test_solvers_within_solvers_get_what_they_need(solver):
    A, b, x = instance(16, 10, 20, 2)
    for method in (solver, si.LocalSearch(starts=(solver,)), si.Portfolio(starts=(solver,))):
        assert recovered(si.solve(A, b, si.L0(level(b, 20)), solver=method), x)


def test_fields_can_be_replaced():
    assert dataclasses.replace(si.IRL1(), weighting="modulus").weighting == "modulus"
    assert repr(si.SL0(decrease=0.9)) == "SL0(decrease=0.9)"


def test_a_tall_path_whose_inner_problems_are_already_solved():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((90, 10))
    b = A[:, 0] + 0.5 * rng.standard_normal(90)
    path = si.solve_path(A, b, si.L0(), solver=si.IRL1(), n_lams=30, ratio=1e-3)
    assert len(path) == 30
    assert np.isfinite(path.X).all()


def test_free_columns_that_fit_the_data_by_themselves():
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((4, 8)), rng.standard_normal(4)
    lam = np.full(8, 0.05 * b @ b)
    lam[:4] = 0.0
    result = si.solve(A, b, si.L0(lam), solver=si.IRL1())
    assert result.status is si.Status.CONVERGED
    assert result.n_iter < 100


# --- coefficients that are left out ---------------------------------------------------------------------


def spent(A, b, penalty, solver=None):
    """Return (multiplications of factorisations, products, steps) until the smoothing is over."""
    task = problem(A, b, penalty)
    solver = complete(solver or si.IRLS(), task)
    state = solver.start(task, None)
    steps = 0
    while not state.polishing:
        solver.step(task, state, BUDGET)
        state.check(task)
        steps += 1
    return (
        state.work + (0.0 if state.system is None else state.system.work),
        task.operator.products.total,
        steps,
    )


def correlated_data(key):
    A, _, x = instance(key, 60, 200, 8)
    A = A + 0.3 * np.cumsum(A, axis=1) if key % 2 else A
    b = A @ x
    return A, b + 0.1 * b.std() * cases.generator(88, key).standard_normal(60)


@pytest.mark.parametrize(
    ("name", "share", "fewer"), [("L0", 0.85, 0.9), ("L1", 0.6, 0.6), ("MCP", 0.6, 0.6), ("Lp", 0.9, 0.95)]
)
@pytest.mark.parametrize("key", [60, 63])
def test_what_is_negligible_costs_nothing_any_more(key, name, share, fewer, monkeypatch):
    """Fewer multiplications in memory, fewer products without, and the same answers."""
    A, b = correlated_data(key)
    top = np.abs(A.T @ b).max()
    penalty = {
        "L0": si.L0(0.01 * (b @ b)), "L1": si.L1(0.1 * top), "MCP": si.MCP(0.1 * top, gamma=0.1),
        "Lp": si.Lp(0.1 * top, 0.5),
    }[name]  # fmt: skip
    runs = {}
    for shrinking in (True, False):
        if not shrinking:
            monkeypatch.setattr(reweighted_least_squares, "_SHRINKING", 0.0)
        work, _, steps = spent(A, b, penalty)
        _, products, _ = spent(cases.Products(A), b, penalty)
        runs[shrinking] = work, products, steps, si.solve(A, b, penalty, solver=si.IRLS())
    less, all_of_it = runs[True], runs[False]
    assert less[0] <= share * all_of_it[0]
    assert less[1] <= fewer * all_of_it[1]
    assert less[2] <= 1.1 * all_of_it[2]
    np.testing.assert_array_equal(less[3].support, all_of_it[3].support)
    assert less[3].objective == pytest.approx(all_of_it[3].objective, abs=1e-7 * 0.5 * (b @ b))
    assert less[3].success


@pytest.mark.parametrize("key", range(4))
def test_leaving_out_costs_no_recovery(key, monkeypatch):
    A, b, x = instance(70 + key, 100, 200, 50)
    with_it = si.solve(A, b, si.L0(level(b, 200)), solver=si.IRLS())
    monkeypatch.setattr(reweighted_least_squares, "_SHRINKING", 0.0)
    without = si.solve(A, b, si.L0(level(b, 200)), solver=si.IRLS())
    assert recovered(with_it, x) == recovered(without, x)


@pytest.mark.parametrize("eps", [1e-7, 1e-9])
@pytest.mark.parametrize("wrap", [np.asarray, cases.Products], ids=["dense", "operator"])
def test_a_coefficient_that_was_left_out_by_mistake_comes_back(wrap, eps):
    A, b, x = instance(80, 40, 80, 5)
    task = problem(wrap(A), b, si.L0(1e-6 * (b @ b)))
    solver = complete(si.IRLS(), task)
    state = solver.start(task, None)
    missing = np.flatnonzero(x)[:2]
    while state.eps > eps * (1 + 1e-9):
        solver.step(task, state, BUDGET)
    alive = state.alive.copy()
    alive[missing] = False
    solver._narrow(task, state, alive)
    assert not state.x[missing].any()
    state.check(task)
    while not (state.alive[missing].all() or state.polishing):
        solver.step(task, state, BUDGET)
    assert state.alive[missing].all()
    assert not state.polishing


def test_free_and_excluded_coefficients_are_never_left_out():
    A, b = correlated_data(62)
    lam = np.full(200, 0.01 * (b @ b))
    lam[3], lam[4] = 0.0, np.inf
    task = problem(A, b, si.L0(lam))
    solver = complete(si.IRLS(), task)
    state = solver.start(task, None)
    fewest = 200
    while not state.polishing:
        solver.step(task, state, BUDGET)
        assert state.alive[3]
        assert state.x[3] != 0
        fewest = min(fewest, state.alive.sum())
    assert fewest < 50
    assert state.x[4] == 0
    groups = np.arange(200) // 4
    result = si.solve(
        A, b, si.GroupL1(0.2 * np.abs(A.T @ b).max(), groups=groups), solver=si.IRLS(), tol=1e-5
    )
    best = si.solve(A, b, si.GroupL1(0.2 * np.abs(A.T @ b).max(), groups=groups), tol=1e-10)
    assert result.success
    assert result.objective == pytest.approx(best.objective, rel=1e-4)


def test_reweighted_l1_comes_down_to_a_tiny_level_from_above():
    """From zero at once, the working set would take in nearly all columns and creep: 4910 products."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((250, 500))
    x = np.zeros(500)
    x[rng.choice(500, 120, replace=False)] = rng.standard_normal(120)
    b = A @ x
    result = si.solve(A, b, si.L0(1e-13 * float(b @ b)), solver=si.IRL1())
    assert result.success
    assert result.products.total < 1000
