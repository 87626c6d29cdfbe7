"""Tables and figures from the rows of phase_transition.py."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import phase_theory
from phase_design import MATRICES, Fit, fit
from phase_solvers import METHODS

Row = dict[str, Any]
# trials are numbered from 0 on a staircase, and from these on
TIMED = 10_000  # at 0.8 rho50, of which the median time is reported
SWEPT = 20_000  # at 20 rho around rho50
MAPPED = 30_000  # in a heat map
#: what si.Portfolio has to reach on Gaussian matrices: (coefficients, delta) -> rho50
GOALS = {("gauss", 0.5): 0.59, ("signs", 0.5): 0.41, ("gauss", 0.25): 0.45}
GOAL_SOLVER, GOAL_N, SLACK = "Portfolio", 800, 0.015
LAWS = {"gauss": "Gaussian coefficients", "signs": "coefficients ±1"}


def fit_rows(rows: Iterable[Row]) -> Fit:
    """Fit the transition to the trials of one solver in one cell."""
    listed = list(rows)
    m = [max(round(row["delta"] * row["n"]), 1) for row in listed]
    rhos = [row["k"] / rows_of for row, rows_of in zip(listed, m, strict=True)]
    return fit(rhos, [row["ok"] for row in listed])


def cells(rows: Iterable[Row]) -> dict[tuple[int, str, str, float, str], list[Row]]:
    """Group rows by (n, matrix, coefficients, delta, solver); trials ended by an error are left out."""
    grouped: dict[tuple[int, str, str, float, str], list[Row]] = {}
    for row in rows:
        if "error" not in row:
            key = (row["n"], row["matrix"], row["coef"], row["delta"], row["solver"])
            grouped.setdefault(key, []).append(row)
    return grouped


def contour_size(rows: Iterable[Row]) -> int:
    """Return the n of the contours: the largest with Gaussian matrices."""
    return max((row["n"] for row in rows if row["matrix"] == "gaussian"), default=0)


def _walked(entries: Sequence[Row]) -> bool:
    """Say whether a staircase was run to its end here, which the timed solves follow."""
    return any(TIMED <= row["trial"] < SWEPT for row in entries)


# --- the table ------------------------------------------------------------------------------------------


def goals(rows: Sequence[Row]) -> list[str]:
    """Compare with what si.Portfolio has to reach."""
    grouped = cells(rows)
    lines = []
    for (coef, delta), wanted in GOALS.items():
        entries = grouped.get((GOAL_N, "gaussian", coef, delta, GOAL_SOLVER))
        what = f"goal, {GOAL_SOLVER}, n {GOAL_N}, delta {delta}, {LAWS[coef]}: rho50 >= {wanted} - {SLACK}"
        if entries is None:
            lines.append(f"{what}: not measured")
            continue
        found = fit_rows(entries)
        word = "met" if found.rho50 >= wanted - SLACK else "MISSED"
        lines.append(f"{what}: {found.rho50:.3f} +- {found.error:.3f}, {word}")
    return lines


def markdown(machines: Sequence[Row], rows: Sequence[Row], absent: dict[str, str]) -> str:
    """Return the report."""
    lines = ["# Phase transitions: how many non-zeros are recovered", ""]
    lines += [
        "A is m by n, b = A x without noise, x has k non-zeros; delta = m / n, rho = k / m. A trial",
        "succeeds if the squared error is below 1e-4 of the squared norm of x. rho50 is where half of the",
        "trials succeed, with the standard deviation of a logistic fit; every solver meets the same",
        "instances. Told k: the solver is given the true number of non-zeros; the others know nothing of x.",
        "CPU seconds, one thread, are medians at k = 0.8 rho50 m, on a machine that others share.",
        "",
        *(f"- {', '.join(f'{key} {value}' for key, value in entry.items())}" for entry in machines),
        "",
        *(f"- {line}" for line in goals(rows)),
    ]  # fmt: skip
    size = contour_size(rows)
    grouped = {key: entries for key, entries in cells(rows).items() if _walked(entries)}
    lines += _contours(
        {key: e for key, e in grouped.items() if key[0] == size and key[1] == "gaussian"}, size
    )
    lines += _by_matrix({key: e for key, e in grouped.items() if key[0] != size or key[1] != "gaussian"})
    lines += ["", "## How each solver is run", "", "| solver | told k | how |", "|---|---|---|"]
    seen = {row["solver"] for row in rows}
    lines += [
        f"| {name} | {'yes' if method.told_k else 'no'} | {method.how} |"
        for name, method in METHODS.items()
        if name in seen
    ]
    errors = {row["solver"]: row["error"] for row in rows if "error" in row}
    remarks = [f"- {name}: absent, {why}" for name, why in absent.items()]
    remarks += [f"- {name}: trials ended by an error, such as {text}" for name, text in errors.items()]
    if remarks:
        lines += ["", "Not measured, or not all of it:", "", *remarks]
    return "\n".join(lines) + "\n"


def _contours(grouped: dict[Any, list[Row]], size: int) -> list[str]:
    if not grouped:
        return []
    columns = sorted({(key[2], key[3]) for key in grouped}, key=lambda pair: (pair[0], pair[1]))
    lines = ["", f"## Gaussian matrices, n = {size}: rho50", ""]
    lines.append("| solver | told k | " + " | ".join(f"{c}, delta {d}" for c, d in columns) + " | CPU s |")
    lines.append("|---" * (len(columns) + 3) + "|")
    for name, method in METHODS.items():
        mine = {(key[2], key[3]): entries for key, entries in grouped.items() if key[4] == name}
        if mine:
            values = [_value(mine.get(pair)) for pair in columns]
            told = "yes" if method.told_k else "no"
            lines.append(f"| {name} | {told} | " + " | ".join(values) + f" | {_seconds(mine.values())} |")
    theory = [f"{phase_theory.l1_transition(d):.3f}" for _, d in columns]
    lines.append("| *theory, L1* | | " + " | ".join(theory) + " | |")
    theory = [f"{phase_theory.bayes_transition(d, c):.3f}" for c, d in columns]
    lines.append("| *theory, Bayes by message passing* | | " + " | ".join(theory) + " | |")
    steep = [
        f"{key[4]} {found.quantile(0.9):.3f} to {found.quantile(0.1):.3f}"
        for key, entries in grouped.items()
        if key[2:4] == ("gauss", 0.5)
        for found in [fit_rows(entries)]
    ]
    if steep:
        lines += ["", f"From 90 % to 10 % success, gauss, delta 0.5: {'; '.join(steep)}."]
    return lines


def _by_matrix(grouped: dict[Any, list[Row]]) -> list[str]:
    lines = []
    for size, coef, delta in sorted({(key[0], key[2], key[3]) for key in grouped}):
        here = {
            (key[1], key[4]): entries
            for key, entries in grouped.items()
            if (key[0], key[2], key[3]) == (size, coef, delta)
        }
        matrices = [name for name in MATRICES if any(matrix == name for matrix, _ in here)]
        lines += ["", f"## Other matrices, n = {size}, delta {delta}, {LAWS.get(coef, coef)}: rho50", ""]
        lines.append("| solver | " + " | ".join(matrices) + " |")
        lines.append("|---" * (len(matrices) + 1) + "|")
        for name in METHODS:
            values = [_value(here.get((matrix, name))) for matrix in matrices]
            if any(values):
                lines.append(f"| {name} | " + " | ".join(values) + " |")
    return lines


def _value(entries: Sequence[Row] | None) -> str:
    if entries is None:
        return ""
    found = fit_rows(entries)
    return f"{found.rho50:.3f} ± {found.error:.3f}"


def _seconds(groups: Iterable[Sequence[Row]]) -> str:
    cpu = [row["cpu"] for entries in groups for row in entries if TIMED <= row["trial"] < SWEPT]
    return f"{statistics.median(cpu):.2g}" if cpu else ""


# --- figures --------------------------------------------------------------------------------------------


def figures(rows: Sequence[Row], stem: Path) -> list[Path]:
    """Draw what the rows allow; return the files, named after the stem."""
    drawn = []
    for name, draw in (("contours", draw_contours), ("heat", draw_heat)):
        figure = draw(rows)
        if figure is not None:
            drawn.append(stem.with_name(f"{stem.name}-{name}.png"))
            figure.savefig(drawn[-1], dpi=110)
    return drawn


def _theory(axes: Any, coef: str, deltas: Any) -> None:
    curves = np.linspace(0.02, 0.98, 97)
    axes.plot(curves, [phase_theory.l1_transition(d) for d in curves], "k-", lw=1.5, label="theory, L1")
    bayes = [phase_theory.bayes_transition(float(d), coef) for d in deltas]
    axes.plot(deltas, bayes, "k--", lw=1.5, label="theory, Bayes by message passing")
    axes.axhline(1.0, color="k", ls=":", lw=1.5, label="information limit, rho = 1")


def _styles() -> dict[str, tuple[Any, str]]:
    """Give every solver its colour and marker, the same in all panels."""
    from matplotlib import colormaps

    palette = colormaps["tab20"].colors
    return {
        name: (palette[(2 * i) % 20 + (2 * i) // 20], "osD^v<>PX*dph"[i % 13])
        for i, name in enumerate(METHODS)
    }


def draw_contours(rows: Sequence[Row]) -> Any:
    """Draw rho50 against delta for each solver, a panel for each law of the coefficients."""
    from matplotlib.figure import Figure

    size = contour_size(rows)
    grouped = {
        key: fit_rows(entries)
        for key, entries in cells(rows).items()
        if key[0] == size and key[1] == "gaussian" and _walked(entries)
    }
    laws = [law for law in LAWS if any(key[2] == law for key in grouped)]
    if not laws:
        return None
    figure = Figure(figsize=(5.2 * len(laws) + 2.8, 5.5), layout="constrained")
    panels = figure.subplots(1, len(laws), sharey=True, squeeze=False)[0]
    styles = _styles()
    for axes, law in zip(panels, laws, strict=True):
        _theory(axes, law, np.round(np.arange(0.05, 0.96, 0.05), 2))
        for name in METHODS:
            points = sorted((key[3], f) for key, f in grouped.items() if key[2] == law and key[4] == name)
            if points:
                colour, marker = styles[name]
                axes.errorbar(
                    [d for d, _ in points], [f.rho50 for _, f in points], [f.error for _, f in points],
                    color=colour, marker=marker, ms=5, lw=1, capsize=2,
                    label=name + (" (told k)" if METHODS[name].told_k else ""),
                )  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="delta = m / n", title=f"{LAWS[law]}, n = {size}")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("rho = k / m recovered in half of the trials")
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize="small")
    return figure


def heat_map(rows: Iterable[Row]) -> tuple[list[float], list[float], Any]:
    """Return (deltas, rhos, share of successes) of the trials of one solver that belong to a heat map.

    A cell that was not tried lies above some that nothing came of, and is taken for empty.
    """
    mapped = [row for row in rows if row["trial"] >= MAPPED]
    deltas = sorted({row["delta"] for row in mapped})
    rhos = sorted({row["rho"] for row in mapped})
    outcomes: dict[tuple[float, float], list[bool]] = {}
    for row in mapped:
        outcomes.setdefault((row["rho"], row["delta"]), []).append(row["ok"])
    table = [[float(np.mean(outcomes.get((rho, delta), [False]))) for delta in deltas] for rho in rhos]
    return deltas, rhos, np.array(table)


def draw_heat(rows: Sequence[Row]) -> Any:
    """Draw the share of successes over delta and rho, a panel for each solver."""
    from matplotlib.figure import Figure

    trials = [row for row in rows if row["trial"] >= MAPPED and "error" not in row]
    size = max((row["n"] for row in trials), default=0)
    names = [name for name in METHODS if any(r["solver"] == name and r["n"] == size for r in trials)]
    if not names:
        return None
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(3.1 * across + 0.8, 2.9 * down + 0.3), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    curves = np.linspace(0.05, 0.95, 19)
    bayes = [phase_theory.bayes_transition(round(float(d), 2)) for d in curves]
    image = None
    for axes, name in zip(panels.flat, names, strict=False):
        deltas, rhos, table = heat_map(r for r in trials if r["solver"] == name and r["n"] == size)
        image = axes.pcolormesh(deltas, rhos, table, shading="nearest", cmap="cividis", vmin=0, vmax=1)
        axes.plot(curves, [phase_theory.l1_transition(d) for d in curves], "w-", lw=1.5)
        axes.plot(curves, bayes, "w--", lw=1.5)
        if min(table.shape) > 1:
            axes.contour(deltas, rhos, table, levels=[0.5], colors="tab:red", linewidths=1.2)
        axes.set(title=name + (" (told k)" if METHODS[name].told_k else ""), ylim=(0, 1), xlim=(0, 1))
        axes.set_facecolor("0.85")
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("delta = m / n")
    figure.supylabel("rho = k / m")
    figure.colorbar(image, ax=panels, shrink=0.7, label=f"share recovered, n = {size}")
    figure.suptitle("white: theory of L1 (full) and Bayes (dashed); red: half recovered", fontsize="medium")
    return figure
