"""Rows 1a to 1g: lambdas of layers, one lambda for very many coefficients, irregular samples."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
from claim import Claim, Panel, absent, header, lowest, middle, slope
from claim_weights import FOLDS, Layered, layered, tuned

import sparseinv as si

Array = np.ndarray[Any, Any]
KINDS = ("different", "alike")


def _by_factor(data: Layered, factors: Array) -> float:
    """Return the excess risk of lam_g = c factor_g with c by cross-validation."""
    penalty = si.L1(weights=factors[data.labels])
    found = si.select_lam(data.A, data.b, penalty, FOLDS, n_lams=60, n_threads=1)
    assert found.result is not None
    return data.excess(found.result.x)


def _inverse(size: Array) -> Array:
    """Return 1 / size, for layers that are zero 1 / (a hundredth of the largest)."""
    return np.asarray(1.0 / np.maximum(size, 0.01 * size.max()))


def _plain_updates(data: Layered) -> int:
    """Return after how many updates lam_g = sigma^2 p_g / ||x_g||_1 has made every coefficient zero, or 0."""
    sigma2 = float(np.sum((data.A @ data.x - data.b) ** 2) / max(data.b.size - np.count_nonzero(data.x), 1))
    x, counts = data.x, np.bincount(data.labels)
    for k in range(1, 51):
        totals = np.bincount(data.labels, np.abs(x))
        with np.errstate(divide="ignore"):
            x = si.solve(data.A, data.b, si.L1(sigma2 * counts / totals, groups=data.labels)).x
        if not x.any():
            return k
    return 0


def row_1a(small: bool) -> Claim:
    """lam of a layer inverse to the norm of its weights."""
    claim = "a lambda per layer, inverse to its (Frobenius) norm"
    asked = (
        "inverse to rms: <= 0.8 where layers differ, <= 1.05 alike; Frobenius, evidence reported; "
        "plain updates collapse"
    )
    if not hasattr(si, "tune_lams"):
        return absent(claim, asked)
    table = ["| excess risk over that of one lambda | layers differ | layers alike |", "|---|---|---|"]
    found: dict[str, dict[str, list[float]]] = {}
    zero: list[int] = []
    for kind, seed in itertools.product(KINDS, range(1 if small else 10)):
        data = layered(kind, seed, small)

        def note(name: str, value: float, kind: str = kind) -> None:
            found.setdefault(name, {}).setdefault(kind, []).append(value)

        for method in ("rms", "evidence", "balancing"):
            tuning, x = tuned(data, data.labels, method=method)
            note(f"`{method}`, as proposed", data.excess(x))
            note(f"`{method}`, taken only if it pays", data.excess(tuning.result.x))
        frobenius = np.sqrt(np.bincount(data.labels, data.x**2))
        note("1 / Frobenius norm", _by_factor(data, _inverse(frobenius)))
        zero.append(_plain_updates(data))
    values = {name: [middle(by[kind]) for kind in KINDS] for name, by in found.items()}
    table += [f"| {name} | {a:.2f} | {b:.2f} |" for name, (a, b) in values.items()]
    collapsed = sum(k > 0 for k in zero)
    end = f"ended at x = 0 in {collapsed} of {len(zero)}."
    table += ["", f"lam_g = sigma^2 p_g / norm_1(x_g), repeated, {end}"]
    a, b = values["`rms`, as proposed"]
    c, d = values["1 / Frobenius norm"]
    e, f = values["`rms`, taken only if it pays"]
    reached = (
        f"rms {a:.2f} and {b:.2f}, taken only if it pays {e:.2f} and {f:.2f}; "
        f"Frobenius {c:.2f} and {d:.2f}; collapse {collapsed}/{len(zero)}"
    )
    return Claim(claim, asked, reached, a <= 0.8 and b <= 1.05 and collapsed > 0, table)


def row_1b(small: bool) -> Claim:
    """lam of a layer inverse to its number of coefficients."""
    names = {"1 / p_g": lambda p: 1.0 / p, "p_g": lambda p: p, "sqrt(log p_g)": lambda p: np.sqrt(np.log(p))}
    table = ["| lam_g as | layers differ | layers alike |", "|---|---|---|"]
    values = {}
    for name, rule in names.items():
        found: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for kind, seed in itertools.product(KINDS, range(1 if small else 10)):
            data = layered(kind, seed, small)
            found[kind].append(_by_factor(data, rule(np.bincount(data.labels).astype(float))))
        values[name] = [middle(found[kind]) for kind in KINDS]
        table.append(f"| {name} | {values[name][0]:.2f} | {values[name][1]:.2f} |")
    (a, b), (c, d) = values["1 / p_g"], values["p_g"]
    return Claim(
        "a lambda per layer, inverse to its number of elements",
        "a bad default: > 1.3 times the excess risk of one lambda; p_g helps only if small layers hold the "
        "signal",
        f"1 / p_g {a:.2f} and {b:.2f}; p_g {c:.2f} and {d:.2f}", min(a, b) > 1.3 and c < 1 < d, table,
    )  # fmt: skip


def row_1c(small: bool) -> Claim:
    """Shares of the penalty, and the pull at every layer."""
    shares, pulls, alive, table = 0.0, 0.0, 0, []
    for seed in range(1 if small else 10):
        data = layered("alike", seed, small)
        lams = 0.2 * si.lam_max(data.A, data.b, si.L1()) * np.array([0.7, 1.0, 1.2, 1.5])
        penalty = si.L1(lams, groups=data.labels)
        result = si.solve(data.A, data.b, penalty, tol=1e-14)
        told = si.explain(data.A, data.b, penalty, result)
        g = np.abs(data.A.T @ (data.A @ result.x - data.b))
        held = np.array([g[data.labels == k].max() / lams[k] for k in range(4)])
        live = told.n_nonzero > 0
        alive += int(live.sum())
        shares = max(shares, abs(float(told.share.sum()) - 1.0))
        pulls = max(pulls, float(np.abs(held[live] - 1.0).max()), float(np.abs(told.kkt - held)[live].max()))
        if seed == 0:
            table = header("layer", "size", "not zero", "share of the penalty", "largest pull / lam")
            table += [
                f"| {k} | {told.size[k]} | {told.n_nonzero[k]} | {told.share[k]:.3f} | {held[k]:.9f} |"
                for k in range(4)
            ]  # fmt: skip
    return Claim(
        "larger layers dominate the penalty",
        "shares sum to 1; the largest pull in every live layer is its lam, to 1e-8, whatever its size",
        f"shares off by {shares:.1e}, pulls off by {pulls:.1e}, {alive} live layers",
        shares <= 1e-12 and pulls <= 1e-8, table,
    )  # fmt: skip


def row_1d(small: bool) -> Claim:
    """Time of tune_lams against cross-validation of one lambda."""
    claim = "cross-validation of more parameters is impractical"
    asked = "4 layers in <= 3 times the time of one cross-validated lambda; a grid of 30 each: 8e5 fits"
    if not hasattr(si, "tune_lams"):
        return absent(claim, asked)
    counts = (4, 16) if small else (4, 16, 64)
    ratios: dict[int, list[float]] = {count: [] for count in counts}
    for seed in range(1 if small else 5):
        data = layered("different", seed, small)
        for count in counts:
            labels = data.labels if count == 4 else np.arange(data.x0.size) * count // data.x0.size
            start = time.thread_time()
            tuned(data, labels)
            ratios[count].append((time.thread_time() - start) / data.seconds)
    values = {count: middle(ratios[count]) for count in counts}
    table = header("layers", "time over that of one cross-validated lambda", "fits on a grid of 30")
    table += [f"| {count} | {value:.2f} | {30.0**count:.0e} |" for count, value in values.items()]
    reached = ", ".join(f"{count} layers {value:.1f} times" for count, value in values.items())
    return Claim(claim, asked, reached, values[4] <= 3.0, table)


def _trace(small: bool) -> tuple[Array, Array]:
    """Return a Ricker convolution and a trace of three spikes in noise."""
    n = 24 if small else 60
    t = np.subtract.outer(np.arange(n), np.arange(n)) / 3.0
    A = (1.0 - 2.0 * t**2) * np.exp(-(t**2))
    x0 = np.zeros(n)
    x0[[n // 5, n // 2, (3 * n) // 4]] = 1.0, -0.8, 0.6
    return A, A @ x0 + 0.05 * np.random.default_rng(0).standard_normal(n)


def _by_enumeration(A: Array, b: Array, lam: float, most: int) -> tuple[Array, int]:
    """Return the minimiser of L0 over all supports of at most ``most``, and how many there were."""
    best, chosen, tried, n = 0.5 * float(b @ b), np.zeros(0, dtype=int), 1, A.shape[1]
    for size in range(1, most + 1):
        S = np.array(list(itertools.combinations(range(n), size)))
        gram, c = A.T @ A, A.T @ b
        G, d = gram[S[:, :, None], S[:, None, :]], c[S]
        fit = np.einsum("ki,ki->k", d, np.linalg.solve(G, d[:, :, None])[:, :, 0])
        value = 0.5 * (b @ b - fit) + lam * size
        tried += len(S)
        if value.min() < best:
            best, chosen = float(value.min()), S[int(np.argmin(value))]
    x = np.zeros(n)
    x[chosen] = np.linalg.lstsq(A[:, chosen], b, rcond=None)[0]
    return x, tried


def row_1e(small: bool) -> Claim:
    """One call for L2, L1 and L0, each against a reference of its own."""
    A, b = _trace(small)
    n, off, words = b.size, {}, []

    def note(name: str, x: Array, truth: Array) -> None:
        off[name] = float(np.abs(x - truth).max() / np.abs(truth).max())

    lam = 0.1
    truth = np.linalg.solve(A.T @ A + lam * np.eye(n), A.T @ b)
    note("L2, normal equations", si.solve(A, b, si.L2(lam)).x, truth)
    lam = 0.1 * si.lam_max(A, b, si.L1())
    x = si.solve(A, b, si.L1(lam), tol=1e-15).x
    S = np.flatnonzero(x)
    truth = np.zeros(n)
    truth[S] = np.linalg.solve(A[:, S].T @ A[:, S], A[:, S].T @ b - lam * np.sign(x[S]))
    pull = np.abs(A.T @ (A @ truth - b)).max()
    valid = np.array_equal(np.sign(truth), np.sign(x)) and pull <= lam * (1 + 1e-9)
    note("L1, equations of the support (optimal)" if valid else "L1, NOT OPTIMAL", x, truth)
    try:
        from celer import Lasso
    except ImportError:
        words.append("celer is absent")
    else:
        note("L1, celer", x, Lasso(lam / n, fit_intercept=False, tol=1e-16, max_iter=200).fit(A, b).coef_)
    lam = 0.3
    result = si.solve(A, b, si.L0(lam))
    most = int(result.objective / lam)  # a larger support costs more than x does
    best, tried = _by_enumeration(A, b, lam, most)
    note(f"L0, all {tried} supports of at most {most}", result.x, best)
    table = ["| reference | largest difference of x over largest x |", "|---|---|"]
    table += [f"| {name} | {value:.1e} |" for name, value in off.items()]
    return Claim(
        "L2, L1 and L0 each ask for a solver of their own",
        "one solve(A, b, penalty): each within 1e-8 of its reference",
        "; ".join([*(f"{name.split(',')[0]} {value:.1e}" for name, value in off.items()), *words]),
        valid and max(off.values()) <= 1e-8, table,
    )  # fmt: skip


def row_1f(small: bool) -> Claim:
    """The level of L1 against the number of coefficients."""
    rng = np.random.default_rng(0)
    m, k = (60, 2) if small else (200, 3)
    counts = (50, 200) if small else (100, 1000, 10_000, 100_000)
    seeds = 2 if small else 20
    grid = np.geomspace(6.0, 0.8, 12 if small else 40)  # lam / (sigma sqrt(m))
    null, best, theory, seconds, spikes, size = [], [], [], 0.0, 0, 0
    for n in counts:
        risk, levels = np.zeros(grid.size), []
        for _ in range(seeds):
            A = rng.standard_normal((n, m)).T
            x0 = np.zeros(n)
            x0[rng.permutation(n)[:k]] = rng.choice([-1.0, 1.0], k)
            noise = rng.standard_normal((m, 40))
            levels.append(middle(np.abs(A.T @ noise).max(axis=0)) / np.sqrt(m))
            b = A @ x0 + noise[:, 0]
            lams = grid * np.sqrt(m)
            path = si.solve_path(A, b, si.L1(), lams=lams)
            risk += [float(np.sum((result.x - x0) ** 2)) for result in path]
        start = time.thread_time()
        chosen = si.solve(A, b, si.L1())
        seconds = time.thread_time() - start
        spikes, size = int(np.count_nonzero(chosen.x[x0 != 0])), chosen.support.size
        null.append(middle(levels))
        best.append(lowest(grid[::-1], risk[::-1]))
        theory.append(si.theory_lam(si.L1(), sigma=1.0, m=m, n=n) / np.sqrt(m))
    a, c = slope(theory, null), slope(theory, best)
    table = ["| n | sqrt(2 log n) | level of pure noise | best for prediction |", "|---|---|---|---|"]
    table += [
        f"| {n} | {t:.2f} | {u:.2f} | {v:.2f} |"
        for n, t, u, v in zip(counts, theory, null, best, strict=True)
    ]
    table += [
        "", "In units of sigma ||a_j||. "
        f"lam=None at n = {counts[-1]}: {size} not zero, {spikes} of the {k} spikes among them, "
        f"{seconds:.1f} s of processor time.",
    ]  # fmt: skip
    panel = Panel(
        "one lambda for n coefficients", "n", "lam / (sigma ||a_j||)",
        {
            "sqrt(2 log n):": (counts, theory), "x = 0 for noise": (counts, null),
            "best for prediction": (counts, best),
        },
        "x",
    )  # fmt: skip
    return Claim(
        "one lambda for tens of thousands of coefficients",
        "level grows like sqrt(2 log n): slope within 10 %; lam chosen in one path at n > 5e4",
        f"slope of the noise level {a:.3f}, of the best for prediction {c:.3f}; {spikes} of {k} spikes found",
        max(abs(a - 1), abs(c - 1)) <= 0.1 and spikes == k, table, [panel],
    )  # fmt: skip


def row_1g(small: bool) -> Claim:
    """A few tones from few irregular samples: a complex dictionary."""
    n, m, k = (128, 24, 3) if small else (1024, 64, 6)
    ratios: dict[str, list[float]] = {}
    freedom = 0.0
    for seed in range(2 if small else 20):
        rng = np.random.default_rng([seed, 11])
        times = np.sort(rng.uniform(0.0, n, m))
        A = np.exp(2j * np.pi * np.outer(times, np.arange(n)) / n)
        x0 = np.zeros(n, dtype=complex)
        x0[rng.permutation(n)[:k]] = rng.uniform(0.5, 1.5, k) * np.exp(2j * np.pi * rng.uniform(size=k))
        sigma = float(np.linalg.norm(A @ x0) / np.sqrt(10.0 * m))
        b = A @ x0 + sigma * (rng.standard_normal(m) + 1j * rng.standard_normal(m)) / np.sqrt(2.0)
        rules = {
            "SURE, sigma known": si.SURE(sigma=sigma), "SURE": si.SURE(), "pivotal": si.Pivotal(),
            "hold-out 20 %": si.HoldOut(0.2), "GCV": si.GCV(),
        }  # fmt: skip
        together = si.compare_selectors(A, b, si.L1(), list(rules.values()), n_lams=40)
        # the n functions are orthogonal on the dense grid, so the error there is n ||x - x0||^2
        best = min(float(np.sum(np.abs(result.x - x0) ** 2)) for result in together.path)
        picks = dict(zip(rules, (choice.result.x for choice in together.selections), strict=True))
        picks["lam=None"] = si.solve(A, b, si.L1()).x
        for name, x in picks.items():
            ratios.setdefault(name, []).append(float(np.sum(np.abs(x - x0) ** 2)) / best)
        if seed == 0:
            freedom = _freedom_error(A, b, rng)
    table = ["| rule | error on the dense grid over the least on the path, median | 90 % |", "|---|---|---|"]
    table += [f"| {name} | {middle(v):.3f} | {np.quantile(v, 0.9):.2f} |" for name, v in ratios.items()]
    table += ["", f"Degrees of freedom of complex L1 against finite differences: off by {freedom:.1e}."]
    a, b_ = middle(ratios["SURE, sigma known"]), middle(ratios["pivotal"])
    return Claim(
        f"a continuous signal from {m} irregular samples",
        "SURE, pivotal <= 1.15 of the best on the dense grid",
        f"SURE {a:.3f}, pivotal {b_:.3f}; df off by {freedom:.0e}", max(a, b_) <= 1.15, table,
    )  # fmt: skip


def _freedom_error(A: Array, b: Array, rng: Any) -> float:
    """Compare the degrees of freedom with the divergence by differences of the fit in every direction."""
    penalty = si.L1(0.25 * si.lam_max(A, b, si.L1()))
    x = si.solve(A, b, penalty, tol=1e-15).x
    told, step, total = si.degrees_of_freedom(A, b, penalty, x), 1e-5 * float(np.abs(b).max()), 0.0
    for j, unit in itertools.product(range(b.size), (1.0, 1j)):
        e = np.zeros(b.size, dtype=complex)
        e[j] = step * unit
        fits = [A[j] @ si.solve(A, b + s * e, penalty, tol=1e-15, x0=x).x for s in (1.0, -1.0)]
        total += float(np.real((fits[0] - fits[1]) * np.conj(unit)) / (2 * step))
    return abs(2.0 * float(told) - total) / abs(total)  # df counts a complex number once


ROWS = {"1a": row_1a, "1b": row_1b, "1c": row_1c, "1d": row_1d, "1e": row_1e, "1f": row_1f, "1g": row_1g}
