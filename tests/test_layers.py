"""One lambda per layer: exact gradients, gains where there are any, and none invented."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from sparseinv.intercept import Intercept
from sparseinv.operators.adapt import system
from sparseinv.problem import Problem
from sparseinv.selection.hypergradient import ActiveSystem
from sparseinv.selection.layer_evidence import maximise_evidence
from sparseinv.selection.layer_levels import Layers
from sparseinv.selection.layer_parts import Part, build
from sparseinv.selection.layer_search import Baseline, _Search, by_gradient
from sparseinv.selection.path import unit_penalty
from sparseinv.selection.reweighting import adaptive_weights, refit
from sparseinv.selection.selector import Selector, Task
from sparseinv.solvers.auto import resolve


@dataclass(frozen=True, eq=False)
class Held(Selector):
    """Hold the last rows out."""

    count: int = 15

    def rows(self, m: int) -> Any:
        return np.arange(m - self.count, m)


@dataclass(frozen=True, eq=False)
class Risk(Selector):
    """Estimate the risk."""

    sigma: float | None = None
    probes: int = 0
    seed: int = 0


def layered(seed, kind="different", m=120, sizes=(15, 45, 90), dtype=float, snr=3.0):
    """Return A, b, labels, x: signal mostly in the small layer, or the same share of non-zeros everywhere."""
    rng = np.random.default_rng(seed)
    draw = (
        rng.standard_normal
        if dtype is float
        else lambda s: rng.standard_normal((*np.atleast_1d(s), 2)) @ [1, 1j]
    )
    n = sum(sizes)
    A = draw((m, n)).reshape(m, n)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    counts = (12, 5, 2) if kind == "different" else [round(0.1 * size) for size in sizes]
    x, first = np.zeros(n, dtype=dtype), 0
    for size, count in zip(sizes, counts, strict=True):
        x[first + rng.choice(size, count, replace=False)] = draw(count).ravel()
        first += size
    clean = A @ x
    noise = draw(m).ravel()
    return A, clean + np.linalg.norm(clean) / math.sqrt(snr) * noise / np.linalg.norm(noise), labels, x


def prepared(A, b, penalty, criterion, codata=None, intercept=False):
    """Return (criterion, layers) as tune_lams makes them."""
    operator, vector = system(A, b)
    added = Intercept.of(intercept, penalty, vector, operator.shape[1])
    operator, vector, penalty = added.operator(operator), added.data(vector), added.penalty(penalty)
    problem = Problem(operator, vector, unit_penalty(penalty))
    task = Task(operator, vector, problem, penalty, np.zeros(0), lambda at: resolve(at, "auto"), n_threads=1)
    return build(criterion, task), Layers(penalty, problem, codata)


# --- exactness ----------------------------------------------------------------------------------------


LABELS = np.repeat([0, 1, 2], [8, 12, 20])
CASES = {
    "L1": (si.L1(groups=LABELS), float, {}),
    "L1, weights and signs": (
        si.L1(groups=LABELS, weights=np.linspace(0.5, 2, 40), nonnegative=True), float, {},
    ),
    "L1, own lam": (si.L1([1.0, 2.0, 0.5], groups=LABELS), float, {}),
    "L1, intercept": (si.L1(groups=LABELS), float, {"intercept": True}),
    "L1, a free layer": (si.L1([1.0, 0.0, 1.0], groups=LABELS), float, {}),
    "L1, an excluded layer": (si.L1([1.0, np.inf, 1.0], groups=LABELS), float, {}),
    "L1, complex": (si.L1(groups=LABELS), complex, {}),
    "ElasticNet": (si.ElasticNet(groups=LABELS, l1_ratio=0.6), float, {}),
    "ElasticNet, complex": (si.ElasticNet(groups=LABELS, l1_ratio=0.6), complex, {}),
    "L2": (si.L2(groups=LABELS), float, {}),
    "L2, signs": (si.L2(groups=LABELS, nonnegative=True), float, {}),
    "L2, complex": (si.L2(groups=LABELS), complex, {}),
    "GroupL1": (si.GroupL1(groups=np.arange(40) // 4), float, {}),
    "GroupL1, complex": (si.GroupL1(groups=np.arange(40) // 4, weights=np.linspace(1, 2, 10)), complex, {}),
    "GroupL1, co-data": (
        si.GroupL1(groups=np.arange(40) // 4), float, {"codata": np.repeat(np.eye(2), 5, axis=0)},
    ),
    "L1, co-data per coefficient": (si.L1(), float, {"codata": np.linspace(-1, 1, 40)[:, None]}),
}  # fmt: skip


@pytest.mark.parametrize("m", [30, 90])
@pytest.mark.parametrize("name", CASES)
def test_hypergradient_is_the_derivative(name, m):
    penalty, dtype, options = CASES[name]
    rng = np.random.default_rng(m)
    A = rng.standard_normal((m, 40)) + (1j * rng.standard_normal((m, 40)) if dtype is complex else 0.0)
    x = np.where(rng.random(40) < 0.5, rng.standard_normal(40), 0.0)
    b = A @ np.abs(x) + rng.standard_normal(m) + (1.0 if options.get("intercept") else 0.0)
    for criterion in (si.CrossValidation(3), Held(), Risk(sigma=1.0)):
        evaluator, layers = prepared(A, b, penalty, criterion, **options)
        logs = layers.high - (9.0 if isinstance(penalty, si.L2) else 2.0)
        a = layers.numbers(logs) + 0.1 * rng.standard_normal(layers.size)
        compare_with_differences(evaluator, layers, a)


def compare_with_differences(evaluator, layers, a, h=1e-5):
    grade = evaluator.value(layers, layers.logs(a), 1e-14)
    exact = layers.share(a).T @ np.sum(evaluator.gradient(layers, grade), axis=0)
    motions = evaluator.motions(layers, layers.share(a))
    by_motion = sum((J.conj().T @ v).real for J, v in zip(motions, grade.slopes, strict=True))
    assert np.abs(exact).max() > 1e-4  # something to compare
    np.testing.assert_allclose(by_motion, exact, rtol=1e-9, atol=1e-12)
    for k in range(layers.size):
        step = h * np.eye(layers.size)[k]
        up, down = (evaluator.value(layers, layers.logs(a + s * step), 1e-14).value for s in (1, -1))
        assert abs((up - down) / (2 * h) - exact[k]) <= 1e-6 * np.abs(exact).max()


def test_hypergradient_on_sparse_and_on_reduced_tall_data():
    rng = np.random.default_rng(1)
    A = sparse.random(60, 40, 0.3, random_state=2, format="csc")
    b = A @ rng.standard_normal(40) + rng.standard_normal(60)
    evaluator, layers = prepared(A, b, si.L1(groups=LABELS), si.CrossValidation(3))
    compare_with_differences(evaluator, layers, layers.numbers(layers.high - 2.0))
    A = rng.standard_normal((400, 40))
    evaluator, layers = prepared(A, A[:, ::2].sum(axis=1) + rng.standard_normal(400), si.L1(groups=LABELS),
                                 si.CrossValidation(3))  # fmt: skip
    assert evaluator.parts[0].problem.m == 41  # the folds are solved on their Gram matrix
    compare_with_differences(evaluator, layers, layers.numbers(layers.high - 2.0))


def test_dependent_active_columns_have_a_gradient_of_minimum_norm():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((30, 6))
    A = np.column_stack([A, A[:, 0]])
    b = 3 * A[:, 0] + A[:, 1]
    operator, vector = system(A, b)
    problem = Problem(operator, vector, si.L1(1.0))
    x = si.solve(A, b, si.L1(1.0), tol=1e-14).x
    x[6] = x[0] = 0.5 * (x[0] + x[6])  # as good a solution, both copies active
    found = ActiveSystem(problem, problem.units.working(x))
    slope = np.ones(found.index.size)
    u = found.solve(slope)
    assert np.isfinite(u).all()
    assert abs(u[list(found.index).index(0)] - u[list(found.index).index(6)]) < 1e-8


# --- what it is for -----------------------------------------------------------------------------------


def excess(x, truth):
    return float(np.linalg.norm(x - truth) ** 2)  # of the prediction, for independent normal columns


def test_different_layers_gain_and_identical_ones_do_not():
    ratios: dict[str, list[float]] = {"different": [], "same": []}
    for kind, found in ratios.items():
        for seed in range(5):
            A, b, labels, truth = layered(seed, kind)
            tuning = si.tune_lams(A, b, si.L1(groups=labels))
            single = si.solve(A, b, si.L1(tuning.single_lam))
            assert tuning.result.success
            if tuning.fell_back:
                assert np.all(tuning.lams == tuning.single_lam)
                assert "single lambda is kept" in tuning.rule
            else:
                assert tuning.gain > tuning.gain_error
                np.testing.assert_array_equal(tuning.lams, tuning.proposed)
            found.append(excess(tuning.result.x, truth) / excess(single.x, truth))
    assert np.mean(ratios["different"]) < 0.75
    assert np.mean(ratios["same"]) < 1.05


def test_the_single_lambda_is_that_of_select_lam():
    A, b, labels, _ = layered(0)
    tuning = si.tune_lams(A, b, si.L1(groups=labels))
    choice = si.select_lam(A, b, si.L1(), si.CrossValidation(5))
    assert tuning.single_lam == pytest.approx(choice.lam, rel=1e-12)
    assert tuning.single_criterion == pytest.approx(choice.criterion.min(), rel=1e-3)
    assert tuning.criterion < tuning.single_criterion
    again = si.solve(A, b, tuning.penalty)
    np.testing.assert_allclose(again.x, tuning.result.x, atol=1e-5)


@pytest.mark.parametrize("criterion", [Held(40), Risk()])
def test_other_criteria_gain_as_well(criterion):
    ratios = []
    for seed in range(4):
        A, b, labels, truth = layered(seed)
        tuning = si.tune_lams(A, b, si.L1(groups=labels), criterion=criterion)
        proposed = si.solve(A, b, si.L1(tuning.proposed, groups=labels))
        single = si.solve(A, b, si.L1(tuning.single_lam))
        ratios.append(excess(proposed.x, truth) / excess(single.x, truth))
    assert np.mean(ratios) < 0.9


def test_a_risk_estimate_pays_for_the_lambdas_themselves():
    gains = []
    for seed in range(4):
        A, b, labels, _ = layered(seed, "same")
        tuning = si.tune_lams(A, b, si.L1(groups=labels), criterion=Risk(probes=6))
        gains.append(tuning.gain)
        raw = 1.0 - tuning.criterion / tuning.single_criterion
        assert tuning.gain < raw
    assert np.mean(gains) < 0.05


def test_layers_that_are_zero_at_the_single_lambda_come_back():
    """A layer of small coefficients on which much depends: its columns are weak, and all of them matter."""
    revived = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((150, 90))
        A[:, :10] *= 0.1
        truth = np.zeros(90)
        truth[:10] = rng.choice([-1.0, 1.0], 10) * 6.0
        truth[10:13] = 4.0, -4.0, 3.0
        b = A @ truth + rng.standard_normal(150)
        labels = np.repeat([0, 1], [10, 80])
        evaluator, layers = prepared(A, b, si.L1(groups=labels), si.CrossValidation(5))
        logs = np.array([layers.high[0], math.log(20.0)])  # layer 0 is zero
        starts = []
        for part in evaluator.parts:
            part.solve(layers, logs, evaluator.follower(1e-6))
            starts.append(part.x)
            assert not part.x[:10].any()
        grade = evaluator.value(layers, logs, 1e-6)
        baseline = Baseline(20.0, logs, grade, starts, False)
        search = _Search(evaluator, layers, baseline, 0.0)
        _, gradient = search(layers.numbers(logs))
        assert gradient[0] == 0.0  # no gradient leads back
        assert search.revived(layers.numbers(logs))[0] < logs[0]
        proposal = by_gradient(evaluator, layers, baseline, 0.01, 40)
        alive = all(part.x[:10].any() for part in evaluator.parts)
        revived += alive and proposal.grade.value < 0.9 * grade.value
    assert revived == 5


def test_a_layer_without_signal_stays_zero_and_is_named():
    A, b, labels, _ = layered(1)
    rng = np.random.default_rng(9)
    A = np.column_stack([A, rng.standard_normal((120, 30))])
    labels = np.append(np.array(["a", "b", "c"])[labels], ["noise"] * 30)
    tuning = si.tune_lams(A, b, si.L1(groups=labels))
    assert list(tuning.labels) == ["a", "b", "c", "noise"]
    assert tuning.lams[3] > 2 * tuning.lams[0]
    assert set(tuning.dead) <= {"c", "noise"}


@pytest.mark.parametrize("penalty", ["L2", "ElasticNet", "GroupL1"])
def test_other_penalties_gain(penalty):
    ratios = []
    for seed in range(3):
        A, b, labels, truth = layered(seed)
        made = {
            "L2": si.L2(groups=labels),
            "ElasticNet": si.ElasticNet(groups=labels, l1_ratio=0.8),
            "GroupL1": si.GroupL1(groups=labels),
        }[penalty]
        tuning = si.tune_lams(A, b, made)
        single = si.solve(A, b, made.replace(lam=tuning.single_lam))
        ratios.append(excess(tuning.result.x, truth) / excess(single.x, truth))
    assert np.mean(ratios) < (0.9 if penalty != "GroupL1" else 1.0)


def test_complex_layers():
    A, b, labels, truth = layered(4, dtype=complex)
    tuning = si.tune_lams(A, b, si.L1(groups=labels))
    single = si.solve(A, b, si.L1(tuning.single_lam))
    assert excess(tuning.result.x, truth) < 0.9 * excess(single.x, truth)


def test_codata_need_fewer_numbers():
    """Sixty small layers whose signal falls with a known covariate."""
    rng = np.random.default_rng(0)
    K, p, m = 60, 3, 150
    labels, depth = np.repeat(np.arange(K), p), np.linspace(0, 1, K)
    A = rng.standard_normal((m, K * p))
    truth = rng.standard_normal(K * p) * np.exp(-5 * depth[labels])
    b = A @ truth + rng.standard_normal(m)
    tuning = si.tune_lams(A, b, si.L1(groups=labels), codata=depth)
    logs = np.log(tuning.lams)
    inner = logs[5:-20]  # within the box
    slope, offset = np.polyfit(depth[5:-20], inner, 1)
    assert not tuning.fell_back
    assert slope > 0.5
    np.testing.assert_allclose(inner, slope * depth[5:-20] + offset, atol=0.3)
    per_coefficient = si.tune_lams(A, b, si.L1(), codata=depth[labels])
    assert per_coefficient.lams.shape == (K * p,)
    assert not per_coefficient.fell_back


def test_scaling_of_the_data_scales_the_lambdas():
    A, b, labels, _ = layered(2)
    one, other = (si.tune_lams(A, s * b, si.L1(groups=labels)) for s in (1.0, 2.0**40))
    np.testing.assert_allclose(other.lams, 2.0**40 * one.lams, rtol=1e-9)
    assert other.gain == pytest.approx(one.gain, rel=1e-6)
    extreme = si.tune_lams(2.0**300 * A, 2.0**300 * b, si.L1(groups=labels))
    np.testing.assert_allclose(np.log2(extreme.lams), 600 + np.log2(one.lams), rtol=1e-12)
    threaded = si.tune_lams(A, b, si.L1(groups=labels), n_threads=2)
    np.testing.assert_allclose(threaded.lams, one.lams, rtol=1e-12)


# --- rules --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["evidence", "rms", "balancing"])
def test_rules_are_judged_by_the_criterion(method):
    A, b, labels, _ = layered(0)
    tuning = si.tune_lams(A, b, si.L1(groups=labels), method=method)
    assert tuning.proposed[0] < tuning.proposed[2]
    assert tuning.result.success
    assert tuning.fell_back == (not tuning.gain > tuning.gain_error)
    if method == "rms":
        x = si.solve(A, b, si.L1(tuning.single_lam)).x
        rms = np.sqrt([np.mean(x[labels == k] ** 2) for k in range(3)])
        product = tuning.proposed * np.maximum(rms, 1e-2 * rms.max())
        np.testing.assert_allclose(product, product[0], rtol=1e-2)


def test_evidence_is_where_the_likelihood_is_highest():
    """The fixed point against a search over the variances of b ~ N(0, sigma^2 I + sum t_g A_g A_g^H)."""
    from scipy.optimize import minimize

    for dtype, m in ((float, 50), (complex, 50), (float, 20)):
        A, b, labels, _ = layered(5, m=m, sizes=(13, 12, 12), dtype=dtype)
        operator, vector = system(A, b)
        problem = Problem(operator, vector, si.L2(1.0))
        found = maximise_evidence(problem, labels, 3, limit=2000)
        K = [A[:, labels == g] @ A[:, labels == g].conj().T for g in range(3)]
        y = problem.b

        def minus_log(z, K=K, y=y, m=m, A=A):
            C = np.exp(z[3]) * np.eye(m) + sum(np.exp(z[g]) * K[g] for g in range(3))
            return np.linalg.slogdet(C)[1] + (y.conj() @ np.linalg.solve(C, y)).real

        z = np.log(np.append(found.variance, found.sigma**2))
        best = minimize(minus_log, z, method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-10})
        assert minus_log(z) <= best.fun + 1e-3


def test_evidence_levels_are_exact_for_ridge():
    A, b, labels, _ = layered(6, m=200)
    tuning = si.tune_lams(A, b, si.L2(groups=labels), method="evidence")
    operator, vector = system(A, b)
    found = maximise_evidence(Problem(operator, vector, si.L2(1.0)), labels, 3)
    np.testing.assert_allclose(tuning.proposed, found.sigma**2 / found.variance, rtol=1e-6)


# --- limits, noise, nothing to do -----------------------------------------------------------------------


def test_parts_that_run_one_after_another_share_the_time(monkeypatch):
    A, b, labels, _ = layered(0)
    given = []
    whole = Part.path

    def path(self, follower, penalty, lams):
        given.append(follower.stopping.max_time)
        return whole(self, follower, penalty, lams)

    monkeypatch.setattr(Part, "path", path)
    si.tune_lams(A, b, si.L1(groups=labels), max_time=1000.0, n_threads=1, max_evaluations=1)
    # whatever the first ones take, all of them stay within the limit
    assert given[0] <= 1000.0 / 6
    assert given[4] <= 1000.0 / 2


def test_many_layers_are_warned_of_and_bounded():
    A, b, _, _ = layered(0)
    labels = np.arange(150) // 3
    tuning = si.tune_lams(A, b, si.L1(groups=labels), max_evaluations=6)
    assert "more than one per 20 rows" in tuning.rule
    assert tuning.n_evaluations <= 10
    hurried = si.tune_lams(A, b, si.L1(groups=labels), max_time=0.0)
    assert hurried.result.x.shape == (150,)


def test_nothing_to_tune():
    A = np.random.default_rng(0).standard_normal((20, 4))
    labels = [0, 0, 1, 1]
    for b, penalty in ((np.zeros(20), si.L1(groups=labels)), (A[:, 0], si.L1(0.0, groups=labels))):
        tuning = si.tune_lams(A, b, penalty)
        assert tuning.fell_back
        assert tuning.gain == 0.0
        assert tuning.result.success


def test_noiseless_and_pure_noise():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 30))
    labels = np.arange(30) // 10
    exact = si.tune_lams(A, A[:, :3].sum(axis=1), si.L1(groups=labels))
    assert excess(exact.result.x, np.arange(30) < 3) < 0.1
    noise = si.tune_lams(A, rng.standard_normal(60), si.L1(groups=labels))
    assert excess(noise.result.x, 0.0) < 1.0


def test_report():
    A, b, labels, _ = layered(0)
    text = repr(si.tune_lams(A, b, si.L1(groups=labels)))
    assert re.search(r"gain +-?\d+\.\d% \+- \d+\.\d%", text)
    assert "layer 0" in text
    assert "CONVERGED" in text


def test_problems_of_the_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "benchmarks"))
    import layers

    plain, related = layers.make(0, "identical"), layers.make(0, "different", correlation=0.5)
    x = np.random.default_rng(1).standard_normal(600)
    C = 0.5 ** np.abs(np.subtract.outer(np.arange(600), np.arange(600)))
    assert plain.risk(x) == pytest.approx(np.sum((x - plain.truth) ** 2), rel=1e-12)
    assert related.risk(x) == pytest.approx((x - related.truth) @ C @ (x - related.truth), rel=1e-9)
    assert np.count_nonzero(related.truth) == 30


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"penalty": si.L1()}, ValueError, "penalty has no groups"),
        ({"penalty": si.L1}, TypeError, "pass an object"),
        ({"penalty": si.L0(groups=[0, 1])}, TypeError, "needs L1, L2, ElasticNet or GroupL1"),
        ({"penalty": si.MCP(groups=[0, 1])}, TypeError, "needs L1, L2, ElasticNet or GroupL1"),
        ({"penalty": si.L1(groups=[0, 1, 1])}, ValueError, "3 labels"),
        ({"criterion": 5}, TypeError, "criterion is 5"),
        ({"criterion": si.CrossValidation}, TypeError, "criterion is"),
        ({"criterion": si.Discrepancy(sigma=1.0)}, TypeError, "HoldOut"),
        ({"criterion": si.CrossValidation(9)}, ValueError, "folds is 9"),
        ({"method": "newton"}, ValueError, "method is 'newton'"),
        ({"codata": np.ones((3, 1))}, ValueError, r"codata has shape \(3, 1\)"),
        ({"codata": [np.nan, 1.0]}, ValueError, "codata contains nan"),
        ({"codata": [1j, 1.0]}, TypeError, "codata is complex"),
        ({"codata": [1.0, 2.0], "method": "rms"}, ValueError, "codata"),
        ({"hyper_ridge": -1.0}, ValueError, "hyper_ridge"),
        ({"max_evaluations": 0}, ValueError, "max_evaluations"),
        ({"max_time": -1.0}, ValueError, "max_time"),
        ({"tol": -1.0}, ValueError, "tol"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"A": si.as_operator(np.eye(4)[:, :2]) @ si.as_operator(np.eye(2))}, TypeError, "matrix-free"),
        ({"b": np.ones(3)}, ValueError, "b has 3 entries"),
    ],
)
def test_bad_input(change, error, words):
    arguments = {"A": np.eye(4)[:, :2], "b": np.ones(4), "penalty": si.L1(groups=[0, 1]), **change}
    A, b, penalty = (arguments.pop(name) for name in ("A", "b", "penalty"))
    with pytest.raises(error, match=words):
        si.tune_lams(A, b, penalty, **arguments)


# --- weights from a first solution ------------------------------------------------------------------------


def test_adaptive_weights_and_refit():
    A, b, _, _ = layered(3)
    first = si.solve(A, b, si.L1())
    weights = adaptive_weights(first.x)
    assert np.argmin(weights) == np.argmax(np.abs(first.x))
    assert np.isfinite(weights).all()
    assert weights[np.argmax(np.abs(first.x))] == pytest.approx(1.0)
    sharper = si.solve(A, b, si.L1(weights=weights))
    assert sharper.support.size < first.support.size
    fitted = refit(A, b, sharper)
    S = sharper.support
    np.testing.assert_allclose(fitted[S], np.linalg.lstsq(A[:, S], b, rcond=None)[0], rtol=1e-8)
    assert not np.delete(fitted, S).any()
    half = refit(A, b, sharper, share=0.5)
    np.testing.assert_allclose(half, 0.5 * (fitted + sharper.x), rtol=1e-12, atol=1e-14)
    grouped = adaptive_weights(first.x, groups=np.arange(150) // 10)
    assert grouped.shape == (15,)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: adaptive_weights([np.nan]), "x contains nan"),
        (lambda: adaptive_weights([1.0], power=0.0), "power"),
        (lambda: adaptive_weights([1.0], floor=0.0), "floor"),
        (lambda: refit(np.eye(2), np.ones(2), np.ones(3)), "x has shape"),
        (lambda: refit(np.eye(2), np.ones(2), np.ones(2), share=2.0), "share"),
    ],
)
def test_bad_input_of_weights(call, words):
    with pytest.raises(ValueError, match=words):
        call()
