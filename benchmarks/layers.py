"""One lambda per layer against one lambda: what it gains, what it costs, and when it must not be believed.

    python benchmarks/layers.py                   print the tables, write benchmarks/results/layers.md
    python benchmarks/layers.py --seeds 2 --out table.md

Problems: 200 x 600, four layers of 20, 80, 200 and 300 coefficients, normal columns (independent, or each
correlated by 0.5 with the one before), variance of the signal 3 times that of the noise. Different layers:
16, 8, 4 and 2 coefficients are not zero; identical ones: 5 % of each. Risk is the expected squared error of
prediction beyond that of the truth, (x - truth)^T C (x - truth) with the columns' covariance C, divided by
that of the single lambda which 5-fold cross-validation chooses from 100 levels (`select_lam`). Shown are the
mean ratio of the risks and its 95 % interval over seeds (normal, from the standard error of the mean); rules
that follow no gradient take half of the seeds, a lambda per coefficient a tenth. Where sparho, celer and
scikit-learn are installed, sparho is tried on the same problems.

Seconds are those of the processor, one thread of linear algebra, folds included.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from latency import machine
from threadpoolctl import threadpool_limits

import sparseinv as si

RESULTS = Path(__file__).resolve().parent / "results" / "layers.md"
SIZES, SHARE, SNR = (20, 80, 200, 300), 0.05, 3.0
COUNTS = {"different": (16, 8, 4, 2), "identical": tuple(round(SHARE * size) for size in SIZES)}


class Layered(NamedTuple):
    """A problem with its truth."""

    A: np.ndarray
    b: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    correlation: float

    def risk(self, x: np.ndarray) -> float:
        """Return the expected squared error of prediction, beyond that of the truth."""
        d = x - self.truth
        if self.correlation:  # C_ij = correlation^|i - j| applied by two recursions
            forward, backward = np.zeros(d.size), np.zeros(d.size)
            for j in range(1, d.size):
                forward[j] = self.correlation * (forward[j - 1] + d[j - 1])
                backward[-1 - j] = self.correlation * (backward[-j] + d[-j])
            return float(d @ (d + forward + backward))
        return float(d @ d)


def make(seed: int, kind: str, m: int = 200, correlation: float = 0.0) -> Layered:
    """Return a problem of four layers."""
    rng = np.random.default_rng(seed)
    n = sum(SIZES)
    A = np.asfortranarray(rng.standard_normal((m, n)))
    for j in range(1, n if correlation else 0):
        A[:, j] = correlation * A[:, j - 1] + math.sqrt(1 - correlation**2) * A[:, j]
    truth, first = np.zeros(n), 0
    for size, count in zip(SIZES, COUNTS[kind], strict=True):
        truth[first + rng.choice(size, count, replace=False)] = rng.standard_normal(count)
        first += size
    clean = A @ truth
    noise = rng.standard_normal(m) * np.linalg.norm(clean) / math.sqrt(m * SNR)
    labels = np.repeat(np.arange(len(SIZES)), SIZES)
    return Layered(A, clean + noise, labels, truth, correlation)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return (processor seconds, answer)."""
    began = time.process_time()
    answer = call()
    return time.process_time() - began, answer


def row(name: str, kind: str, seeds: int, correlation: float, **options: Any) -> str:
    """Return a row of the first table."""
    ratios, proposed, kept, ours, single = [], [], 0, 0.0, 0.0
    per_coefficient = options.pop("per_coefficient", False)
    for seed in range(seeds):
        case = make(seed, kind, correlation=correlation)
        labels = np.arange(case.truth.size) if per_coefficient else case.labels
        spent, choice = timed(lambda c=case: si.select_lam(c.A, c.b, si.L1(), si.CrossValidation(5)))
        single += spent
        penalty = si.L1(groups=labels)
        spent, tuning = timed(lambda c=case, p=penalty: si.tune_lams(c.A, c.b, p, **options))
        ours += spent
        base = case.risk(choice.result.x)
        ratios.append(case.risk(tuning.result.x) / base)
        proposed.append(case.risk(si.solve(case.A, case.b, penalty.replace(lam=tuning.proposed)).x) / base)
        kept += tuning.fell_back
    half = 1.96 * np.std(ratios, ddof=1) / math.sqrt(seeds)
    mean = float(np.mean(ratios))
    return (
        f"| {name} | {kind} | {mean:.3f} | {mean - half:.3f} to {mean + half:.3f} | "
        f"{np.mean(proposed):.3f} | {kept} of {seeds} | {ours / single:.2f} |"
    )


def many_layers(seeds: int) -> list[str]:
    """Return the rows of the second table: the same data, cut into more and more layers."""
    rows, first = [], 0.0
    for count in (4, 16, 64):
        seconds, single, ratios = 0.0, 0.0, []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            m, n = 400, 640
            A, truth = rng.standard_normal((m, n)), np.zeros(n)
            truth[rng.choice(n // 4, 30, replace=False)] = rng.standard_normal(30)
            truth[n // 4 + rng.choice(3 * n // 4, 6, replace=False)] = rng.standard_normal(6)
            clean = A @ truth
            b = clean + rng.standard_normal(m) * np.linalg.norm(clean) / math.sqrt(m * SNR)
            spent, choice = timed(lambda A=A, b=b: si.select_lam(A, b, si.L1(), si.CrossValidation(5)))
            single += spent
            labels = np.arange(n) // (n // count)
            spent, tuning = timed(lambda A=A, b=b, g=labels: si.tune_lams(A, b, si.L1(groups=g)))
            seconds += spent
            ratios.append(np.sum((tuning.result.x - truth) ** 2) / np.sum((choice.result.x - truth) ** 2))
        first = first or seconds
        rows.append(
            f"| {count} | {seconds / seeds:.2f} | {seconds / first:.2f} | {seconds / single:.2f} | "
            f"{np.mean(ratios):.3f} |"
        )
    return rows


def beside(seeds: int) -> list[str]:
    """Return rows of sparho: one lambda, or one per coefficient, by gradients of 5-fold cross-validation.

    It ties no lambdas to layers. Alpha is lambda over the number of samples, as in its solvers; it starts
    at a tenth of the largest, and everything else is left at its defaults.
    """
    import sparho
    from sparho.adapters.celer import CelerLasso
    from sparho.adapters.sklearn import SklearnWeightedLasso

    rows = []
    for kind in COUNTS:
        for name, penalty, solver in (
            ("one lambda", sparho.L1(), CelerLasso()),
            ("a lambda per coefficient", sparho.WeightedL1(), SklearnWeightedLasso()),
        ):
            ratios, spent, single, steps = [], 0.0, 0.0, 0
            for seed in range(seeds):
                case = make(seed, kind)
                seconds, choice = timed(
                    lambda c=case: si.select_lam(c.A, c.b, si.L1(), si.CrossValidation(5))
                )
                single += seconds
                problem = sparho.Problem(sparho.SquaredLoss(), penalty, case.A, case.b)
                start = 0.1 * float(np.abs(case.A.T @ case.b).max()) / case.b.size
                first = start if name == "one lambda" else np.full(case.truth.size, start)
                folds = sparho.CrossVal.kfold(case.b.size, k=5)
                seconds, found = timed(
                    lambda p=problem, h=first, s=solver, f=folds: sparho.hoag_search(
                        p, h, solver=s, criterion=f
                    )
                )
                spent += seconds
                steps += found.n_iter
                ratios.append(case.risk(found.best_coef) / case.risk(choice.result.x))
            half = 1.96 * np.std(ratios, ddof=1) / math.sqrt(seeds)
            mean = float(np.mean(ratios))
            rows.append(
                f"| {name} | {kind} | {mean:.3f} | {mean - half:.3f} to {mean + half:.3f} | "
                f"{steps / seeds:.0f} | {spent / single:.1f} |"
            )
            print(rows[-1], flush=True)
    return rows


def tables(seeds: int) -> str:
    """Return the page."""
    warm = make(0, "different")
    si.tune_lams(warm.A, warm.b, si.L1(groups=warm.labels))  # compiles what is needed
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    lines = [
        "# One lambda per layer", "",
        f"{about}; {seeds} seeds. Goals: ratio of the risks on different layers at most 0.65 with the",
        "interval below 1, on identical ones at most 1.03, time at most 3 times that of the single lambda;",
        "64 layers at most twice the time of 4. `python benchmarks/layers.py` makes this page; its first",
        "lines say how the problems are made.", "",
        "| tune_lams | layers | risk / risk with the single lambda | 95 % interval | without falling back | "
        "fell back | time / cross-validation of one lambda |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind in COUNTS:
        for name, correlation, options in (
            ("hypergradients", 0.0, {}),
            ("hypergradients, correlated columns", 0.5, {}),
            ("`method=\"evidence\"`", 0.0, {"method": "evidence"}),
            ("`method=\"rms\"`", 0.0, {"method": "rms"}),
            ("`method=\"balancing\"`", 0.0, {"method": "balancing"}),
        ):  # fmt: skip
            count = max(2, seeds // 2) if options else seeds
            lines.append(row(name, kind, count, correlation, **options))
            print(lines[-1], flush=True)
        if hasattr(si, "SURE"):
            lines.append(row("hypergradients, `SURE()`", kind, seeds, 0.0, criterion=si.SURE()))
    few = max(2, seeds // 10)
    for name, options in (
        ("a lambda per coefficient", {}),
        ("a lambda per coefficient, `hyper_ridge=0`", {"hyper_ridge": 0.0}),
    ):
        lines.append(row(name, "different", few, 0.0, per_coefficient=True, **options))
        print(lines[-1], flush=True)
    lines += [
        "", f"400 x 640, the first quarter of the coefficients rich, equal layers, {few + 1} seeds:", "",
        "| layers | processor seconds | / 4 layers | / cross-validation of one lambda | risk ratio |",
        "|---|---|---|---|---|", *many_layers(few + 1), "",
    ]  # fmt: skip
    if find_spec("sparho") is not None:
        lines += [
            f"sparho {version('sparho')} tunes lambdas of sparse penalties by gradients, too, but ties none",
            f"to layers; {few + 1} seeds:", "",
            "| sparho, HOAG | layers | risk / risk with the single lambda | 95 % interval | steps | "
            "time / cross-validation of one lambda |", "|---|---|---|---|---|---|", *beside(few + 1), "",
        ]  # fmt: skip
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    with threadpool_limits(limits=1):
        page = tables(max(options.seeds, 2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page, encoding="utf-8")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
