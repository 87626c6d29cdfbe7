"""Rows 2a to 2g: conventions, what lambda follows, early stopping, the best lambda over problems."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from claim import Claim, Panel, header, lowest, middle, slope
from lambda_risk import SNRS, data
from scipy.special import ndtr

import sparseinv as si

Array = np.ndarray[Any, Any]
V = 0.07  # a value of every convention's parameter, up to its unit
# a and c of the objective a ||r||^2 + c ||x||_1 or c ||x||^2 that each convention writes down, for a value v
L1_FORMS: dict[str, Any] = {
    "mean": lambda v, m, s: (0.5 / m, v),
    "C": lambda v, m, s: (0.5 * v, 1.0),
    "sklearn.Lasso": lambda v, m, s: (0.5 / m, v),
    "celer": lambda v, m, s: (0.5 / m, v),
    "skglm": lambda v, m, s: (0.5 / m, v),
    "adelie": lambda v, m, s: (0.5 / m, v),
    "glmnet": lambda v, m, s: (0.5 / m, v),
    "pylops": lambda v, m, s: (1.0, v),
    "pyproximal": lambda v, m, s: (0.5, v),
    "bayes.laplace": lambda v, m, s: (0.5 / s**2, 1.0 / v),
}
L2_FORMS: dict[str, Any] = {
    "sklearn.Ridge": lambda v, m, s: (1.0, v),
    "damp": lambda v, m, s: (1.0, v**2),
    "weight_decay": lambda v, m, s: (0.5 / m, 0.5 * v),
    "weight_decay.mse": lambda v, m, s: (1.0 / m, 0.5 * v),
    "course": lambda v, m, s: (0.5 / m, 0.5 * v / m),
    "bayes.gaussian": lambda v, m, s: (0.5 / s**2, 0.5 / v**2),
}


def row_2a(small: bool) -> Claim:
    """Minimise the objective each convention writes down, and ours at the converted lambda."""
    rng = np.random.default_rng(0)
    m, n, sigma = 30, 20, 0.3
    A = rng.standard_normal((m, n))
    b = A[:, :4] @ rng.standard_normal(4) + sigma * rng.standard_normal(m)
    off: dict[str, float] = {}
    level = 0.1 * si.lam_max(A, b, si.L1())
    for name, form in {**L1_FORMS, **L2_FORMS}.items():
        v = float(si.convert_lam(level, "sparseinv", name, m=m, b=b, sigma=sigma))
        a, c = form(v, m, sigma)
        lam = si.convert_lam(v, name, "sparseinv", m=m, b=b, sigma=sigma)
        if name in L1_FORMS:
            literal = si.solve(math.sqrt(2 * a) * A, math.sqrt(2 * a) * b, si.L1(c), tol=1e-15).x
            x = si.solve(A, b, si.L1(lam), tol=1e-15).x
        else:
            literal = np.linalg.solve(a * A.T @ A + c * np.eye(n), a * A.T @ b)
            x = si.solve(A, b, si.L2(lam)).x
        off[name] = float(np.abs(x - literal).max() / np.abs(literal).max())
    mean = si.solve(A, b, si.scale_penalty(A, si.L1(level / m), scaling="mean"), tol=1e-15).x
    x = si.solve(A, b, si.L1(level), tol=1e-15).x
    off['scaling="mean"'] = float(np.abs(x - mean).max() / np.abs(mean).max())
    worst = max(off, key=lambda name: off[name])
    table = ["| convention | largest difference of x over largest x |", "|---|---|"]
    table += [f"| {name} | {value:.1e} |" for name, value in off.items()]
    return Claim(
        "J = 1/m sum of losses + lam/2m sum th^2: which lambda is that?",
        "same argmin, <= 1e-12, 9 conventions",
        f"{off[worst]:.1e} ({worst}) over {len(off)}", off[worst] <= 1e-12, table,
    )  # fmt: skip


def _ridge_best(A: Array, x0s: Array, sigma: float, lams: Array) -> float:
    """Return the lam with the least expected ||x - x0||^2, the mean over the columns of x0s."""
    _, s, V = np.linalg.svd(A, full_matrices=False)
    z2 = np.mean((V @ x0s) ** 2, axis=1)
    kept = s[:, None] ** 2 + lams
    risk = (lams / kept) ** 2 * z2[:, None] + sigma**2 * (s[:, None] / kept) ** 2
    return lowest(lams, risk.sum(axis=0))


def _threshold_best(hard: bool, n: int, k: int, tau: float) -> float:
    """Return the threshold, in sigma, with the least risk for n coefficients, k of them N(0, tau^2).

    Orthonormal columns, where L1 and L0 are soft and hard thresholding.
    """
    t = np.linspace(0.5, 7.0, 300)
    density = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    tail = ndtr(-t)
    nothing = 2 * (t * density + tail) if hard else 2 * ((1 + t**2) * tail - t * density)
    # E over x and noise, by quadrature over y ~ N(0, 1 + tau^2): given y, x has the mean g y and variance g
    g = tau**2 / (1 + tau**2)
    y = np.linspace(0.0, 9.0, 4001) * math.sqrt(1 + tau**2)
    weight = np.exp(-(y**2) / (2 * (1 + tau**2)))
    weight /= weight.sum()
    estimate = np.where(y > t[:, None], y if hard else y - t[:, None], 0.0)
    spike = ((estimate - g * y) ** 2) @ weight + g
    return lowest(t, k * spike + (n - k) * nothing)


def row_2b(small: bool) -> Claim:
    """The best lambda against the number of coefficients."""
    rng = np.random.default_rng(0)
    m, sigma, draws = 60, 1.0, 200
    ridge_n = (20, 80, 160) if small else (25, 50, 100, 200, 400, 800)
    sparse_n = (100, 1000, 10_000) if small else (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
    tau, k, energy = 0.5, 10, 25.0
    prior, fixed = [], []
    for n in ridge_n:
        A = rng.standard_normal((m, n))
        X = rng.standard_normal((n, draws))
        for found, size in ((prior, tau), (fixed, math.sqrt(energy / n))):
            expected = (sigma / size) ** 2
            found.append(_ridge_best(A, size * X, sigma, expected * np.geomspace(0.2, 5.0, 81)))
    soft = [_threshold_best(False, n, k, 5.0) for n in sparse_n]
    hard = [0.5 * _threshold_best(True, n, k, 5.0) ** 2 for n in sparse_n]
    l1_theory = [si.theory_lam(si.L1(), sigma=1.0, m=1, n=n, n_nonzero=k) for n in sparse_n]
    l0_theory = [
        si.theory_lam(si.L0(), sigma=1.0, m=1, n=n, n_nonzero=k, prior_std=5.0, column_norm=1.0)
        for n in sparse_n
    ]
    slopes = {
        "L2, coefficients of one size: log lam over log n (0)": (slope(np.log(ridge_n), np.log(prior)), 0.0),
        "L2, one norm of x: log lam over log n (1)": (slope(np.log(ridge_n), np.log(fixed)), 1.0),
        "L1: lam over sqrt(2 log(n/k)) (1)": (slope(l1_theory, soft), 1.0),
        "L0: lam over log(n/k) (1)": (slope(np.log(np.array(sparse_n) / k), hard), 1.0),
    }
    ones = {si.theory_lam(si.L2(), sigma=sigma, m=m, n=n, prior_std=tau) for n in ridge_n}
    assert len(ones) == 1
    table = ["| slope (theory) | measured |", "|---|---|"]
    table += [f"| {name} | {value:.3f} |" for name, (value, _) in slopes.items()]
    table += ["", "| n | L1, best | sqrt(2 log(n/k)) | L0, best | its theory |", "|---|---|---|---|---|"]
    table += [
        f"| {n} | {a:.2f} | {b:.2f} | {c:.2f} | {d:.2f} |"
        for n, a, b, c, d in zip(sparse_n, soft, l1_theory, hard, l0_theory, strict=True)
    ]
    flat, rising = [(sigma / tau) ** 2] * len(ridge_n), [n * sigma**2 / energy for n in ridge_n]
    panels = [
        Panel("L2", "n", "best lam / sigma^2", {
            "coefficients of one size": (ridge_n, prior), "sigma^2 / tau^2:": (ridge_n, flat),
            "one norm of x": (ridge_n, fixed), "n sigma^2 / ||x||^2:": (ridge_n, rising),
        }),
        Panel("L1 and L0, 10 not zero", "n", "best lam, in units of the noise", {
            "L1": (sparse_n, soft), "sqrt(2 log(n/k)):": (sparse_n, l1_theory),
            "L0": (sparse_n, hard), "log(n/k - 1) + log(1 + 25)/2:": (sparse_n, l0_theory),
        }, "x"),
    ]  # fmt: skip
    words = ", ".join(f"{name.split(':')[0]} {value:.3f}" for name, (value, _) in slopes.items())
    return Claim(
        "should lambda scale with the number of parameters?",
        "slopes 0, 1 (L2), 1 (L1 over sqrt log), 1 (L0 over log) within .1",
        words, all(abs(value - aim) <= 0.1 for value, aim in slopes.values()), table, panels,
    )  # fmt: skip


def row_2c(small: bool) -> Claim:
    """The best lambda against the number of rows, and rows written twice."""
    rows, seeds, n, k = ((60, 120, 240), 2, 40, 4) if small else ((100, 200, 400, 800, 1600), 10, 200, 10)
    grid = np.geomspace(4.0, 0.2, 15 if small else 40)
    l1, unit, l2 = [], [], []
    for m in rows:
        risks = np.zeros((2, grid.size))
        bests = []
        for seed in range(seeds):
            rng = np.random.default_rng([m, seed])
            A = np.asfortranarray(rng.standard_normal((m, n)))
            x0 = np.zeros(n)
            x0[rng.permutation(n)[:k]] = rng.choice([-1.0, 1.0], k)
            d = np.linalg.norm(A, axis=0)
            b = A @ x0 + rng.standard_normal(m)
            for row, (M, x, lams) in enumerate(((A, x0, grid * math.sqrt(m)), (A / d, x0 * d, grid))):
                path = si.solve_path(M, b, si.L1(), lams=lams)
                risks[row] += [float(np.sum((result.x - x) ** 2)) for result in path]
            bests.append(_ridge_best(A, rng.standard_normal((n, 40)), 1.0, np.geomspace(0.1, 10.0, 81)))
        l1.append(lowest(grid[::-1], risks[0, ::-1]) * math.sqrt(m))
        unit.append(lowest(grid[::-1], risks[1, ::-1]))
        l2.append(middle(bests))
    slopes = [slope(np.log(rows), np.log(values)) for values in (l1, unit, l2)]

    m = 60
    rng = np.random.default_rng(5)
    A = rng.standard_normal((m, 40))
    b = A[:, :4] @ np.ones(4) + 2.0 * rng.standard_normal(m)
    A2, b2, label = np.vstack([A, A]), np.concatenate([b, b]), np.arange(m)
    once = si.select_lam(A, b, si.L1(), si.CrossValidation(5, groups=label)).lam / m
    twice = np.concatenate([label, label])
    together = si.select_lam(A2, b2, si.L1(), si.CrossValidation(5, groups=twice)).lam / (2 * m) / once
    apart = si.select_lam(A2, b2, si.L1(), si.CrossValidation(5)).lam / (2 * m) / once
    x = [si.solve(M, v, si.L2(20.0)).x for M, v in ((A, b), (A2, b2))]
    ridge = float(np.linalg.norm(x[1] - x[0]) / np.linalg.norm(x[0]))
    table = ["| rows | L1, columns grow with m | L1, columns of length 1 | L2 |", "|---|---|---|---|"]
    columns = zip(rows, l1, unit, l2, strict=True)
    table += [f"| {m} | {a:.2f} | {b_:.2f} | {c:.2f} |" for m, a, b_, c in columns]
    table += ["| slope in log-log | " + " | ".join(f"{value:.3f}" for value in slopes) + " |", ""]
    table += [
        "Every row twice, lam of the mean loss by cross-validation over that without copies: "
        f"{together:.7f} with copies in one fold, {apart:.3f} with copies anywhere. L2 at lam = 20 of the "
        f"sum (scikit-learn's Ridge): x changes by {ridge:.2f} of its norm."
    ]
    panel = Panel("best lambda, sigma = 1", "rows m", "lam", {
        "L1, columns grow": (rows, l1), "slope 1/2:": (rows, [l1[0] * math.sqrt(m / rows[0]) for m in rows]),
        "L1, columns of length 1": (rows, unit), "L2, sigma^2 / tau^2 = 1": (rows, l2),
    })  # fmt: skip
    return Claim(
        "should lambda scale with the number of data?",
        "slopes 0.5, 0 (L1), 0 (L2) within .1; rows twice: abs(1 - ratio) <= 1e-6 in folds by row, not else",
        "slopes " + ", ".join(f"{value:.3f}" for value in slopes)
        + f"; rows twice {together:.7f}, naive {apart:.2f}",
        max(abs(value - aim) for value, aim in zip(slopes, (0.5, 0.0, 0.0), strict=True)) <= 0.1
        and abs(1 - together) <= 1e-6, table, [panel],
    )  # fmt: skip


def _stopped(A: Array, b: Array, x0: Array, steps: int) -> float:
    """Return the least error of prediction over the iterates of conjugate gradients for least squares."""
    x, r = np.zeros_like(x0), b.copy()
    g = A.conj().T @ r
    p, norm, best = g.copy(), float(np.vdot(g, g).real), np.inf
    for _ in range(steps):
        q = A @ p
        step = norm / float(np.vdot(q, q).real)
        x, r = x + step * p, r - step * q
        best = min(best, float(np.linalg.norm(A @ (x - x0)) ** 2))
        g = A.conj().T @ r
        before, norm = norm, float(np.vdot(g, g).real)
        p = g + norm / before * p
    return best


def row_2d(small: bool) -> Claim:
    """Stopping gradient descent at time 1 / lam against L2; hold-out that ends early; the usual interval."""
    t = np.geomspace(1e-4, 1e4, 161)
    ratios, tuned, krylov, saved, same = [], [], [], [], []
    curves: dict[str, Any] = {}
    seeds = range(1 if small else 5)
    for design, snr, seed in itertools.product(("iid", "ar", "deconvolution"), SNRS, seeds):
        A, b, x0, sigma = data(design, snr, seed, small)
        U, s, V = np.linalg.svd(A, full_matrices=False)
        z2, s2, c = (V @ x0) ** 2, s**2, U.T @ b
        lams = s2[0] * t[:, None]
        ridge, flow = lams / (s2 + lams), np.exp(-s2 / lams)  # what is left of a singular component
        risk = [np.sum(s2 * left**2 * z2 + sigma**2 * (1 - left) ** 2, axis=1) for left in (ridge, flow)]
        quotient = risk[1] / risk[0]
        ratios.append(float(quotient.max()))
        tuned.append(float(risk[1].min() / risk[0].min()))
        best = min(float(np.linalg.norm(A @ (V.T @ (s / (s2 + lam) * c) - x0)) ** 2) for lam in lams[::4, 0])
        krylov.append(_stopped(A, b, x0, min(A.shape) // 2) / best)
        if seed == 0 and snr == 1.0:
            curves[design] = (t.tolist(), quotient.tolist())
        early, full = (
            si.select_lam(A, b, si.L1(), si.HoldOut(0.2, patience=wait), n_lams=60, ratio=5e-3)
            for wait in (10, 1000)
        )
        seen = int(np.isfinite(early.criterion).sum())
        saved.append(1 - seen / 60)
        same.append(early.lam == full.lam)
    cells = sweep(small)
    inside = float(np.mean([0.01 <= cell.best <= 0.4 for cell in cells]))
    by_problem = {}
    for cell in cells:
        by_problem.setdefault((cell.problem, cell.snr), []).append(cell.best)
    covered = sum(0.01 <= middle(values) <= 0.4 for values in by_problem.values())
    table = [
        "| | |", "|---|---|",
        f"| gradient flow stopped at 1/lam over L2 at lam, largest ratio of risks | {max(ratios):.3f} |",
        f"| each at its best, median (largest) | {middle(tuned):.3f} ({max(tuned):.3f}) |",
        f"| conjugate gradients at the best step over L2 at the best lam, median | {middle(krylov):.3f} |",
        f"| hold-out that ends 10 levels after the least error: lam of a full path | {np.mean(same):.0%} |",
        f"| levels of the path it did not solve, mean | {np.mean(saved):.0%} |",
        f"| best lam of L1 lies in [0.01, 0.4] lam_max: data sets | {inside:.0%} |",
        f"| the same, problems (median) | {covered} of {len(by_problem)} |",
    ]  # fmt: skip
    panel = Panel("early stopping over L2, SNR 1", "lam / ||A||^2", "ratio of risks",
                  {**curves, "1.69:": ([t[0], t[-1]], [1.69, 1.69])}, "x")  # fmt: skip
    return Claim(
        "hold-out and early stopping over 0.01 .. 0.4",
        "risk of stopping at 1/lam <= 1.69 always, typically <= 1.1 at the best",
        f"{max(ratios):.3f} at most; {middle(tuned):.3f} at the best; [0.01, 0.4] lam_max covers the best "
        f"in {covered} of {len(by_problem)}",
        max(ratios) <= 1.69 and middle(tuned) <= 1.1, table, [panel],
    )  # fmt: skip


class Cell(NamedTuple):
    """One data set of the sweep; levels over lam_max."""

    problem: str
    snr: float
    best: float  #: least risk on the path
    half: float  #: half the universal level, the noise known
    own: float  #: what solve takes by itself
    half_risk: float  #: risk there over the least
    own_risk: float
    work: float  #: products spent by solve over those of the path


def _shaped(
    design: str, shape: tuple[int, int, int], snr: float, seed: int
) -> tuple[Array, Array, Array, float]:
    m, n, k = shape
    rng = np.random.default_rng([m, n, k, seed, int(10 * snr)])
    A = rng.standard_normal((m, n))
    if design == "AR(.5)":
        for j in range(1, n):
            A[:, j] = 0.5 * A[:, j - 1] + math.sqrt(0.75) * A[:, j]
    x0 = np.zeros(n)
    x0[rng.permutation(n)[:k]] = rng.uniform(0.5, 1.5, k) * rng.choice([-1.0, 1.0], k)
    sigma = float(np.linalg.norm(A @ x0) / math.sqrt(snr * m))
    return A, A @ x0 + sigma * rng.standard_normal(m), x0, sigma


def problems(small: bool) -> dict[str, Any]:
    """Return generators (snr, seed) -> (A, b, x0, sigma) by name."""
    shapes = [(30, 50, 3)] if small else [(150, 300, 15), (300, 100, 10), (100, 400, 8)]
    made: dict[str, Any] = {
        f"{design}, {shape[0]} x {shape[1]}, {shape[2]} not zero": (
            lambda snr, seed, d=design, s=shape: _shaped(d, s, snr, seed)
        )
        for shape in shapes
        for design in ("iid", "AR(.5)")[: 1 if small else 2]
    }
    names = {
        "ar": "AR(.9), 100 x 200, 10 not zero", "deconvolution": "deconvolution, 160 x 160, 10 not zero",
        "fourier": "irregular Fourier, 80 x 160, 5 not zero",
    }  # fmt: skip
    for design, name in list(names.items())[: 1 if small else 3]:
        made[name] = lambda snr, seed, d=design: data(d, snr, seed, small)
    return made


@cache
def sweep(small: bool) -> list[Cell]:
    """Return the best lam / lam_max, and what rules say, over problems, noise and seeds."""
    cells = []
    seeds = range(1 if small else 10)
    for (name, make), snr, seed in itertools.product(problems(small).items(), SNRS, seeds):
        A, b, x0, sigma = make(snr, seed)
        m, n = A.shape
        top = si.lam_max(A, b, si.L1())

        def risk(x: Array, A: Array = A, x0: Array = x0) -> float:
            return float(np.linalg.norm(A @ (x - x0)) ** 2)

        half = 0.5 * si.theory_lam(
            si.L1(), sigma=sigma, m=m, n=n, column_norm=float(np.linalg.norm(A)) / math.sqrt(n),
            is_complex=np.iscomplexobj(A),
        )  # fmt: skip
        path = si.solve_path(A, b, si.L1(), n_lams=60, ratio=5e-3)
        risks = np.array([risk(result.x) for result in path])
        own, at_half = si.solve(A, b, si.L1()), si.solve(A, b, si.L1(half))
        assert own.selection is not None
        spent = own.n_matvec + own.n_rmatvec
        cells.append(
            Cell(
                name, snr, lowest(path.lams[::-1], risks[::-1]) / top, half / top, float(own.lam) / top,
                risk(at_half.x) / risks.min(), risk(own.x) / risks.min(),
                spent / max(path.n_matvec + path.n_rmatvec, 1),
            )
        )  # fmt: skip
    return cells


def _within(value: float, truth: float) -> bool:
    return 0.5 <= value / truth <= 2.0


def row_2e(small: bool) -> Claim:
    """The best lam / lam_max over problems, and two rules that predict it."""
    cells = sweep(small)
    by: dict[str, dict[float, list[Cell]]] = {}
    for cell in cells:
        by.setdefault(cell.problem, {}).setdefault(cell.snr, []).append(cell)
    table = [
        "Best lam / lam_max for prediction with L1, median (10 % to 90 %).", "",
        "| problem | " + " | ".join(f"SNR {snr:g}" for snr in SNRS) + " |", "|" + "---|" * (len(SNRS) + 1),
    ]  # fmt: skip
    for name, parts in by.items():
        words = []
        for snr in SNRS:
            best = [cell.best for cell in parts[snr]]
            low, high = np.quantile(best, [0.1, 0.9])
            words.append(f"{middle(best):.2f} ({low:.2f} to {high:.2f})")
        table.append(f"| {name} | " + " | ".join(words) + " |")
    half = float(np.mean([_within(cell.half, cell.best) for cell in cells]))
    own = float(np.mean([_within(cell.own, cell.best) for cell in cells]))
    table += [
        "", *header("rule", "within a factor 2 of the best", "risk over the least, median", "90 %"),
        f"| half of sigma d sqrt(2 log n), sigma known | {half:.0%} | "
        f"{middle([c.half_risk for c in cells]):.3f} | "
        f"{np.quantile([c.half_risk for c in cells], 0.9):.2f} |",
        f"| `lam=None`, nothing known | {own:.0%} | {middle([c.own_risk for c in cells]):.3f} | "
        f"{np.quantile([c.own_risk for c in cells], 0.9):.2f} |",
    ]  # fmt: skip
    curves = {
        name: (list(SNRS), [middle([c.best for c in parts[s]]) for s in SNRS]) for name, parts in by.items()
    }
    power = middle([slope(np.log(SNRS), np.log(y)) for _, y in curves.values()])
    table += ["", f"With SNR the best ratio falls like SNR to the power {power:.2f} (median over problems)."]
    panel = Panel("best lam / lam_max", "SNR", "lam / lam_max", curves)
    return Claim(
        "publish the optimal lambda for different problems",
        "a rule within a factor 2 in 90 % of the data sets",
        f"lam=None within a factor 2 in {own:.0%}, half the universal level (sigma known) in {half:.0%}",
        max(own, half) >= 0.9, table, [panel],
    )  # fmt: skip


def _proof(result: Any) -> str:
    return str(result.certificate).replace("||b||", " norm(b)")  # bars would end the cell of a table


def row_2f(small: bool) -> Claim:
    """The objective times a constant, and plus one."""
    rng = np.random.default_rng(0)
    m, n = 60, 100
    A = rng.standard_normal((m, n))
    b = A[:, :5] @ rng.standard_normal(5) + 0.3 * rng.standard_normal(m)
    lam = 0.15 * si.lam_max(A, b, si.L1())
    plain = si.solve(A, b, si.L1(lam), tol=1e-14)
    table = ["| objective | its value | certificate | change of x |", "|---|---|---|---|"]
    table.append(f"| F | {plain.objective:.6g} | {_proof(plain)} | |")
    worst = 0.0
    for c in (1e-6, 1e-3, 1e3, 1e6):
        found = si.solve(math.sqrt(c) * A, math.sqrt(c) * b, si.L1(c * lam), tol=1e-14)
        change = float(np.abs(found.x - plain.x).max() / np.abs(plain.x).max())
        worst = max(worst, change)
        table.append(f"| {c:g} F | {found.objective:.6g} | {_proof(found)} | {change:.1e} |")
    for constant in (1e3, 1e6):  # data that no x can explain cost a constant
        more = np.vstack([A, np.zeros(n)])
        found = si.solve(more, np.append(b, math.sqrt(2 * constant)), si.L1(lam), tol=1e-14)
        change = float(np.abs(found.x - plain.x).max() / np.abs(plain.x).max())
        worst = max(worst, change)
        table.append(f"| F + {constant:g} | {found.objective:.6g} | {_proof(found)} | {change:.1e} |")
    start = 0.5 * float(b @ b)
    far = 1e3 * rng.standard_normal(n)
    begun = 0.5 * float(np.sum((A @ far - b) ** 2)) + lam * float(np.abs(far).sum())
    again = si.solve(A, b, si.L1(lam), tol=1e-14, x0=far)
    change = float(np.abs(again.x - plain.x).max() / np.abs(plain.x).max())
    worst = max(worst, change)
    table += [
        "", f"Started at x = 0 the cost is {start:.4g}; started far off it is {begun:.3g}, and ends at "
        f"{again.objective:.6g} like the other, x off by {change:.1e}.",
    ]  # fmt: skip
    return Claim(
        "a huge cost, at the start or at the end, means nothing",
        "argmin changes by <= 1e-12; the certificate is printed",
        f"{worst:.1e}", worst <= 1e-12, table,
    )  # fmt: skip


def row_2g(small: bool) -> Claim:
    """The lambda that solve takes by itself, over all problems of 2e."""
    cells = sweep(small)
    table = ["| SNR | risk over the least, median | 90 % |", "|---|---|---|"]
    for snr in SNRS:
        values = [cell.own_risk for cell in cells if cell.snr == snr]
        table.append(f"| {snr:g} | {middle(values):.3f} | {np.quantile(values, 0.9):.2f} |")
    ratio, work = middle([cell.own_risk for cell in cells]), middle([cell.work for cell in cells])
    table += ["", f"Products with A over those of a path of 60 levels: {work:.2f} (median)."]
    return Claim(
        "a rule of thumb", "lam=None: median risk over the least <= 1.15, at the price of one path (<= 1.1)",
        f"{ratio:.3f}, at {work:.2f} of the products of a path", ratio <= 1.15 and work <= 1.1, table,
    )  # fmt: skip


ROWS = {"2a": row_2a, "2b": row_2b, "2c": row_2c, "2d": row_2d, "2e": row_2e, "2f": row_2f, "2g": row_2g}
