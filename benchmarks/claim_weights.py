"""Rows 0a to 0e: one lambda or many, columns of different sizes."""

from __future__ import annotations

import importlib.util
import itertools
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from claim import Claim, absent, header, middle

import sparseinv as si

Array = np.ndarray[Any, Any]
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FOLDS = si.CrossValidation(5)


class Layered(NamedTuple):
    """A problem with layers, and the fit with one lambda for all."""

    A: Array
    b: Array
    x0: Array
    labels: Array
    x: Array
    lam: float
    seconds: float

    def excess(self, x: Array) -> float:
        """Return the excess risk of x over that of the single lambda; columns have variance 1."""
        return float(np.sum((x - self.x0) ** 2) / np.sum((self.x - self.x0) ** 2))


@cache
def layered(kind: str, seed: int, small: bool) -> Layered:
    """Return layers of 20, 80, 200 and 300 coefficients; "different": the signal sits in the small ones."""
    rng = np.random.default_rng([seed, kind == "different"])
    sizes, m = ((6, 14, 20, 20), 40) if small else ((20, 80, 200, 300), 200)
    n, starts = sum(sizes), np.concatenate([[0], np.cumsum(sizes)[:-1]])
    x0 = np.zeros(n)
    if kind == "different":
        counts = (4, 2, 1, 0) if small else (12, 8, 4, 0)
        chosen = np.concatenate(
            [s + rng.permutation(p)[:k] for s, p, k in zip(starts, sizes, counts, strict=True)]
        )
    else:
        chosen = rng.permutation(n)[: n // 25]
    x0[chosen] = rng.standard_normal(chosen.size)
    A = rng.standard_normal((m, n))
    b = A @ x0 + np.linalg.norm(x0) / np.sqrt(2.0) * rng.standard_normal(m)
    start = time.thread_time()
    single = si.select_lam(A, b, si.L1(), FOLDS, n_threads=1)
    seconds = time.thread_time() - start
    assert single.result is not None
    return Layered(A, b, x0, np.repeat(np.arange(4), sizes), single.result.x, single.lam, seconds)


def tuned(data: Layered, labels: Array, **options: Any) -> tuple[Any, Array]:
    """Return (tuning, the solution for the lambdas it proposed, taken or not)."""
    found = si.tune_lams(data.A, data.b, si.L1(groups=labels), n_threads=1, **options)
    return found, si.solve(data.A, data.b, si.L1(found.proposed, groups=labels)).x


def row_0a(small: bool) -> Claim:
    """Four lambdas, one, or one per coefficient."""
    claim = "would a different lambda per feature be better?"
    asked = (
        "4 layers: excess risk at least 25 % lower where they differ, at most 3 % off where they are alike; "
        "one per coefficient is worse"
    )
    if not hasattr(si, "tune_lams"):
        return absent(claim, asked)
    four: dict[str, list[float]] = {"different": [], "alike": []}
    free: dict[str, list[float]] = {"different": [], "alike": []}
    kept = 0
    for kind in four:
        for seed in range(1 if small else 10):
            data = layered(kind, seed, small)
            found, _ = tuned(data, data.labels)
            four[kind].append(data.excess(found.result.x))
            kept += kind == "alike" and found.fell_back
            if seed < 3:
                _, x = tuned(data, np.arange(data.x0.size), max_evaluations=20)
                free[kind].append(data.excess(x))
    a, b, c, d = (middle(part[kind]) for part in (four, free) for kind in four)
    table = [
        "| excess risk over that of one lambda | layers differ | layers alike |", "|---|---|---|",
        f"| 4 lambdas, `tune_lams` | {a:.2f} | {b:.3f} |",
        f"| a lambda per coefficient, as proposed | {c:.2f} | {d:.2f} |",
        "", f"Alike: the single lambda was kept in {kept} of {len(four['alike'])}.",
    ]  # fmt: skip
    reached = f"{1 - a:.0%} lower; alike {b - 1:+.1%}; one per coefficient {c:.2f} and {d:.2f} times"
    return Claim(claim, asked, reached, a <= 0.75 and abs(b - 1) <= 0.03 and min(c, d) > 1, table)


def row_0b(small: bool) -> Claim:
    """The cost of a gradient for K lambdas."""
    claim = "100 lambdas to tune instead of one"
    asked = "the gradient for 512 lambdas costs <= 1.1 times that for a single one"
    if not hasattr(si, "tune_lams"):
        return absent(claim, asked)
    system_of = importlib.import_module("sparseinv.selection.hypergradient").ActiveSystem
    build = importlib.import_module("sparseinv.selection.theory").build

    data = layered("different", 0, small)
    n, counts = data.x0.size, (1, 8, 32) if small else (1, 2, 4, 16, 64, 256, 512)
    problem = build(data.A, data.b, si.L1(data.lam))
    x = problem.units.working(data.x)
    least = dict.fromkeys(counts, np.inf)
    for _, count in itertools.product(range(3 if small else 200), counts):  # in turn, so that load hits all
        labels = np.arange(n) * count // n
        start = time.thread_time()
        system = system_of(problem, x)
        each = system.gradient(problem.gradient(data.b)[system.index])
        np.bincount(labels[system.index], each, minlength=count)
        least[count] = min(least[count], time.thread_time() - start)
    table = header("lambdas", "seconds of a gradient", "all of `tune_lams`, over one cross-validated lambda")
    for count in counts:
        start = time.thread_time()
        tuned(data, np.arange(n) * count // n)
        whole = (time.thread_time() - start) / data.seconds
        table.append(f"| {count} | {least[count]:.2e} | {whole:.2f} |")
    ratio = least[counts[-1]] / least[1]
    reached = f"{ratio:.2f} times, with {np.count_nonzero(x)} not zero; a grid of 30 levels each is 30^K fits"
    return Claim(claim, asked, reached, ratio <= 1.1, table)


def _example() -> Any:
    spec = importlib.util.spec_from_file_location("rescaling", EXAMPLES / "rescaling.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _refused(penalty: Any) -> bool:
    try:
        si.rescale_problem(np.eye(2), penalty)
    except ValueError:
        return True
    return False


def row_0c(small: bool) -> Claim:
    """Many lambdas as column lengths: `examples/rescaling.py` on more problems."""
    example, trials = _example(), 4 if small else 100
    errors = example.theorem(trials)
    *right, wrong = errors.values()
    by_lambda, by_length = example.counter_example(trials)
    refused = [
        _refused(penalty)
        for penalty in (si.L0([1.0, 2.0]), si.L1([0.0, 1.0]), si.L2([1.0, np.inf]), si.ElasticNet([1.0, 2.0]))
    ]
    table = ["| | relative error of the objective |", "|---|---|"]
    table += [f"| {name} | {value:.1e} |" for name, value in errors.items()]
    reached = (
        f"L1, L2, groups {max(right):.1e}; wrong exponent {wrong:.2f}; L0 changed by lambdas as lengths in "
        f"{by_lambda / trials:.0%}, by lengths alone in {by_length / trials:.0%}; refused {sum(refused)} of 4"
    )
    return Claim(
        "one lambda per weight is one lambda after rescaling",
        "<= 1e-12; wrong exponent > 1e-2; L0 supports differ in >= 40 %; refused where false", reached,
        max(right) <= 1e-12 and wrong > 1e-2 and by_lambda >= 0.4 * trials and not by_length
        and all(refused),
        table,
    )  # fmt: skip


def _scaled(seed: int, small: bool) -> tuple[Array, Array, Array, Array]:
    """Return (A with columns of length one, b, the signal A x0, lengths over three decades)."""
    rng = np.random.default_rng([seed, 7])
    m, n, k = (30, 40, 3) if small else (100, 200, 10)
    A = rng.standard_normal((m, n))
    A /= np.linalg.norm(A, axis=0)
    x0 = np.zeros(n)
    x0[rng.permutation(n)[:k]] = rng.choice([-1.0, 1.0], k) * rng.uniform(0.5, 1.5, k)
    signal = A @ x0
    b = signal + np.linalg.norm(signal) / np.sqrt(3.0 * m) * rng.standard_normal(m)
    return A, b, signal, 10.0 ** rng.uniform(-1.5, 1.5, n)


def _least_risk(A: Array, b: Array, penalty: Any, signal: Array, lams: Any = None) -> float:
    path = si.solve_path(A, b, penalty, lams=lams, n_lams=40, ratio=5e-3)
    return min(float(np.sum((A @ result.x - signal) ** 2)) for result in path)


def row_0d(small: bool) -> Claim:
    """One lambda for columns of different lengths: the best it can do."""
    ratios: dict[str, list[float]] = {"L1": [], "L2": [], "L1, normalised": [], "L2, normalised": []}
    for seed in range(2 if small else 15):
        A, b, signal, d = _scaled(seed, small)
        for penalty, levels in ((si.L1(), None), (si.L2(), np.geomspace(1e2, 1e-4, 40))):
            name = type(penalty).__name__
            wide = None if levels is None else np.geomspace(1e5, 1e-7, 80)
            unit = _least_risk(A, b, penalty, signal, levels)
            ratios[name].append(_least_risk(A * d, b, penalty, signal, wide) / unit)
            weighted = si.scale_penalty(A * d, penalty, normalize="columns")
            ratios[name + ", normalised"].append(_least_risk(A * d, b, weighted, signal, levels) / unit)
    same = trials = 0
    for seed in range(2 if small else 15):
        rng = np.random.default_rng([seed, 8])
        A, d = rng.standard_normal((20, 12)), 10.0 ** rng.uniform(-1.5, 1.5, 12)
        b = A[:, :3] @ rng.standard_normal(3) + 0.3 * rng.standard_normal(20)
        found = [si.solve(M, b, si.L0(0.4), solver=si.BranchAndBound()).support for M in (A, A * d)]
        same += np.array_equal(*found)
        trials += 1
    l1, l2 = middle(ratios["L1"]), middle(ratios["L2"])
    off = max(abs(value - 1) for name in ratios if "normalised" in name for value in ratios[name])
    table = ["| | risk of the best lambda, over that for columns of length one |", "|---|---|"]
    table += [f"| {name} | {middle(values):.6f} |" for name, values in ratios.items()]
    reached = f"L1 {l1:.2f}, L2 {l2:.2f}; normalised off by {off:.1e}; L0 unchanged in {same} of {trials}"
    return Claim(
        "different feature scales make a shared lambda a problem",
        "risk ratio > 2 for L1, > 1 for L2; 1.000000 normalised; L0 needs nothing", reached,
        l1 > 2 and l2 > 1 and off <= 1e-6 and same == trials, table,
    )  # fmt: skip


def rules(sigma: float) -> list[Any]:
    """Return every rule that takes L1; None is what solve does by itself."""
    return [
        None, si.SURE(sigma=sigma), si.SURE(), si.GCV(), si.GCV(robust=True), si.LeaveOneOut(),
        si.InformationCriterion("aic", sigma=sigma), si.InformationCriterion("bic"),
        si.InformationCriterion("ebic"), si.Pivotal(), si.Pivotal(alpha=0.05), si.Universal(sigma=sigma),
        si.QuantileUniversal(sigma=sigma), si.TargetSparsity(5), si.TargetMisfit(sigma=sigma),
        si.Discrepancy(sigma=sigma), si.Whiteness(), si.LCurve(), si.HoldOut(0.2), si.CrossValidation(5),
        si.CrossValidation(5, rule="1se"), si.Stability(pairs=5),
    ]  # fmt: skip


def row_0e(small: bool) -> Claim:
    """Normalising is weights: every penalty and every rule gives the x of normalised columns, taken back."""
    A, b, _, d = _scaled(3, True)
    n = d.size
    sigma, labels = 0.05, np.arange(n) // 4
    off: dict[str, float] = {}

    def compare(name: str, penalty: Any, lengths: Array = d, **options: Any) -> None:
        weighted = si.scale_penalty(A * lengths, penalty, normalize="columns")
        raw = si.solve(A * lengths, b, weighted, tol=1e-14, **options).x * lengths
        unit = si.solve(A, b, penalty, tol=1e-14, **options).x
        off[name] = float(np.abs(raw - unit).max() / max(np.abs(unit).max(), 1e-300))

    top = si.lam_max(A, b, si.L1())
    compare("L1", si.L1(0.1 * top))
    compare("L2", si.L2(0.1))
    compare("ElasticNet", si.ElasticNet(0.1 * top, l1_ratio=0.7))
    compare("L0", si.L0(0.1 * si.lam_max(A, b, si.L0())))
    # in a group the lengths must be one, so that of the group is
    compare("GroupL1", si.GroupL1(0.2 * top, groups=labels), d[labels])
    for rule in rules(sigma)[: 4 if small else None]:
        compare(f"L1, {rule!r}" if rule else "L1, lam=None", si.L1(), select=rule)
    worst = max(off, key=lambda name: off[name])
    table = ["| | largest difference of x over largest x |", "|---|---|"]
    table += [f"| {name} | {value:.1e} |" for name, value in off.items()]
    return Claim(
        "so normalise", "<= 1e-10 with lengths over three decades, every penalty and rule",
        f"{off[worst]:.1e} at worst ({worst}), {len(off)} cases", off[worst] <= 1e-10, table,
    )  # fmt: skip


ROWS = {"0a": row_0a, "0b": row_0b, "0c": row_0c, "0d": row_0d, "0e": row_0e}
