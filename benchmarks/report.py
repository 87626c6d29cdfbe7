"""Tables and plots from the rows of compare.py.

    python benchmarks/report.py                                 benchmarks/results/peers.jsonl -> peers.md
    python benchmarks/report.py rows.jsonl more.jsonl --out table.md --plots folder

A speed-up is the best peer's median time over ours, both to the same judged gap; above 1 we are faster. Where
no peer reached the gap the cell counts as won but not in the means; where we did not reach it, as lost.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OURS = "sparseinv"
#: what is compared, where it is not the time
COSTS = {"free": ("products", "products")}


def read(paths: Iterable[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (machines, rows); a later row of the same solver, cell, size, threads and gap wins."""
    machines: list[dict[str, Any]] = []
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "machine" in record:
                if record["machine"] not in machines:
                    machines.append(record["machine"])
                continue
            key = tuple(record[k] for k in ("suite", "cell", "size", "threads", "gap", "solver"))
            rows[key] = record
    return machines, list(rows.values())


def duels(rows: Iterable[dict[str, Any]], cost: str = "seconds") -> list[dict[str, Any]]:
    """Set us against the best peer of every cell: {"cell", "ours", "best", "peer", "speedup"}.

    Only rows of one run are compared. speedup is inf where only we reached the gap, 0 where only a peer did;
    cells that nobody reached, and cells in which sparseinv or every peer is absent, are left out.
    """
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (row["suite"], row["cell"], row["size"], row["threads"], row["gap"], row.get("run"))
        cells.setdefault(key, []).append(row)
    found = []
    for (suite, cell, size, threads, gap, _), entries in cells.items():
        ours = [r for r in entries if r["solver"] == OURS and r["status"] != "absent"]
        theirs = [r for r in entries if not r["solver"].startswith(OURS) and r["status"] != "absent"]
        if not ours or not theirs:
            continue
        best = min((r for r in theirs if r["status"] == "reached"), key=lambda r: r[cost], default=None)
        mine = ours[0][cost] if ours[0]["status"] == "reached" else None
        if best is None and mine is None:
            continue
        if best is None:
            speedup = math.inf
        elif mine is None:
            speedup = 0.0
        else:
            speedup = best[cost] / mine
        found.append({
            "suite": suite, "cell": cell, "size": size, "threads": threads, "gap": gap, "ours": mine,
            "best": None if best is None else best[cost], "peer": None if best is None else best["solver"],
            "speedup": speedup,
        })  # fmt: skip
    return found


def summary(duels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return number of cells, geometric mean, share of cells at least as fast, cells reached by one side."""
    finite = [d["speedup"] for d in duels if 0 < d["speedup"] < math.inf]
    return {
        "cells": len(duels),
        "mean": math.exp(sum(map(math.log, finite)) / len(finite)) if finite else None,
        "share": sum(d["speedup"] >= 1 for d in duels) / len(duels) if duels else None,
        "only_ours": sum(d["speedup"] == math.inf for d in duels),
        "only_theirs": sum(d["speedup"] == 0 for d in duels),
    }


# --- tables ---------------------------------------------------------------------------------------------


def groups(rows: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Group rows by what may be averaged: suite, size, threads, gap."""
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row["suite"], row["size"], row["threads"], row["gap"]), []).append(row)
    return grouped


def markdown(machines: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> str:
    """Return the report."""
    lines = ["# sparseinv and its Python peers", "", *_about(machines), ""]
    lines += _overview(rows)
    for (suite, size, threads, gap), entries in groups(rows).items():
        cost, word = COSTS.get(suite, ("seconds", "milliseconds"))
        fights = duels(entries, cost)
        lines += ["", f"## {suite}, size {size}, {_threads(threads)}, to a gap of {gap:.0e}: {word}", ""]
        lines += _table(entries, fights, cost)
        slow = sorted(fights, key=lambda d: d["speedup"])[:5]
        if slow:
            worst = ", ".join(f"{d['cell']} {_ratio(d['speedup'])}" for d in slow)
            lines += ["", f"The worst {len(slow)}: {worst}."]
    lines += ["", *_losses(rows), "", *_missing(rows)]
    return "\n".join(lines).rstrip() + "\n"


def _about(machines: Sequence[dict[str, Any]]) -> list[str]:
    text = [
        "Medians of interleaved runs on fresh copies of the data, each to the judged gap relative to",
        "1/2 ||b||^2 that is named; the judge is `sparseinv.certify` (scaled residual and support refit).",
        "The speed-up is that over the best peer of the cell. First calls, which compile, are left out.",
        "In the suite without matrices spgl1 is given the radius ||x*||_1, which nobody knows beforehand.",
        "",
    ]
    return text + [
        "- " + ", ".join(f"{key} {value}" for key, value in machine.items()) for machine in machines
    ]


def _overview(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| suite | size | threads | gap | cells | geometric mean | share >= 1 | only we reach | only peers |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (suite, size, threads, gap), entries in groups(rows).items():
        for cost in dict.fromkeys(("seconds", COSTS.get(suite, ("seconds",))[0])):
            s = summary(duels(entries, cost))
            name = suite if cost == "seconds" else f"{suite} ({cost})"
            mean = "-" if s["mean"] is None else f"{s['mean']:.2f}"
            share = "-" if s["share"] is None else f"{100 * s['share']:.0f} %"
            lines.append(
                f"| {name} | {size} | {threads} | {gap:.0e} | {s['cells']} | {mean} | {share} "
                f"| {s['only_ours']} | {s['only_theirs']} |"
            )
    return lines


def _table(entries: Sequence[dict[str, Any]], fights: Sequence[dict[str, Any]], cost: str) -> list[str]:
    present = dict.fromkeys(r["solver"] for r in entries if r["status"] != "absent")
    solvers = sorted(present, key=lambda solver: not solver.startswith(OURS))
    extra = ["time outside products"] if cost == "products" else []
    lines = [
        f"| cell | {' | '.join([*solvers, 'speed-up', 'best peer', 'first call s', *extra])} |",
        "|---" * (len(solvers) + 4 + len(extra)) + "|",
    ]
    won = {d["cell"]: d for d in fights}
    for cell in dict.fromkeys(r["cell"] for r in entries):
        mine = {r["solver"]: r for r in entries if r["cell"] == cell}
        shown = [_cost(mine.get(solver), cost) for solver in solvers]
        duel = won.get(cell)
        shown += [_ratio(duel["speedup"]), duel["peer"] or "none"] if duel else ["-", "-"]
        first = mine.get(OURS, {}).get("first")
        shown.append("-" if first is None else f"{first:.2f}")
        if extra:
            outside = mine.get(OURS, {}).get("outside")
            shown.append("-" if outside is None else f"{100 * outside:.0f} %")
        lines.append(f"| {cell} | {' | '.join(shown)} |")
    return lines


def _losses(rows: Sequence[dict[str, Any]]) -> list[str]:
    lost = []
    for (suite, size, threads, gap), entries in groups(rows).items():
        cost = COSTS.get(suite, ("seconds",))[0]
        slower = (d for d in duels(entries, cost) if d["speedup"] < 1)
        lost += [(d["speedup"], suite, size, threads, gap, d) for d in slower]
    lines = ["## Where we lose", ""]
    if not lost:
        return [*lines, "In no cell of these runs."]
    lines += [
        "| suite | cell | size | threads | gap | speed-up | best peer |",
        "|---|---|---|---|---|---|---|",
    ]
    for speedup, suite, size, threads, gap, d in sorted(lost, key=lambda row: row[:5]):
        lines.append(
            f"| {suite} | {d['cell']} | {size} | {threads} | {gap:.0e} | {_ratio(speedup)} | {d['peer']} |"
        )
    return lines


def _missing(rows: Sequence[dict[str, Any]]) -> list[str]:
    """List what is absent or failed, once a reason."""
    seen: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        if row["status"] != "reached":
            key = (row["suite"], row["solver"], row["status"], row.get("note", "tolerances exhausted"))
            cells = seen.setdefault(key, [])
            if row["cell"] not in cells:
                cells.append(row["cell"])
    if not seen:
        return []
    head = "| suite | solver | what | why | cells |"
    lines = ["## Absent, failed, not reached", "", head, "|---|---|---|---|---|"]
    for (suite, solver, status, note), cells in seen.items():
        lines.append(f"| {suite} | {solver} | {status} | {note.replace('|', '/')} | {', '.join(cells)} |")
    return lines


def _cost(row: dict[str, Any] | None, cost: str) -> str:
    if row is None:
        return ""
    if row["status"] != "reached":
        return row["status"]
    return f"{row[cost]}" if cost != "seconds" else f"{1e3 * row[cost]:.3g}"


def _ratio(speedup: float) -> str:
    if speedup == math.inf:
        return "only we"
    return f"{speedup:.2f}" if speedup else "not reached"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


# --- plots ----------------------------------------------------------------------------------------------


def profile(rows: Sequence[dict[str, Any]], cost: str = "seconds") -> dict[str, list[float]]:
    """Return, for each solver, its sorted ratios to the best solver of each cell (inf: not reached)."""
    ratios: dict[str, list[float]] = {}
    for cell in dict.fromkeys(r["cell"] for r in rows):
        mine = [r for r in rows if r["cell"] == cell and r["status"] != "absent"]
        reached = [r[cost] for r in mine if r["status"] == "reached"]
        if reached:
            for r in mine:
                ratio = r[cost] / min(reached) if r["status"] == "reached" else math.inf
                ratios.setdefault(r["solver"], []).append(ratio)
    return {solver: sorted(values) for solver, values in ratios.items()}


def plot(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write a performance profile a group, and gap against time a cell, as PNG files; return them."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for (suite, size, threads, gap), entries in groups(rows).items():
        cost, word = COSTS.get(suite, ("seconds", "time"))
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        for solver, ratios in profile(entries, cost).items():
            share = [(k + 1) / len(ratios) for k, ratio in enumerate(ratios) if ratio < math.inf]
            axes.step([*ratios[: len(share)]], share, where="post", label=solver)
        axes.set(xscale="log", ylim=(0, 1.02), xlabel=f"{word} / that of the best solver of the cell",
                 ylabel="share of cells", title=f"{suite}, gap {gap:.0e}, {_threads(threads)}")  # fmt: skip
        if axes.lines:
            axes.legend()
        written.append(folder / f"profile-{suite}-{size}-{threads}-{gap:.0e}.png")
        figure.savefig(written[-1], dpi=120)
    written += _gap_plots(rows, folder)
    return written


def _gap_plots(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    from matplotlib.figure import Figure

    curves: dict[tuple[Any, ...], dict[str, list[list[float]]]] = {}
    for row in rows:
        if row.get("ladder"):
            key = (row["suite"], row["cell"], row["size"], row["threads"])
            curves.setdefault(key, {})[row["solver"]] = row["ladder"]
    written = []
    for (suite, cell, size, threads), solvers in curves.items():
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        for solver, ladder in solvers.items():
            points = [(seconds, max(gap, 1e-16)) for _, seconds, gap in ladder if gap is not None]
            if points:
                axes.loglog(*zip(*points, strict=True), "o-", label=solver)
        axes.set(xlabel="time [s], single runs", ylabel="judged relative gap", title=f"{suite} {cell}")
        if axes.lines:
            axes.legend()
        written.append(folder / f"gap-{suite}-{cell.replace('/', '-')}-{size}-{threads}.png")
        figure.savefig(written[-1], dpi=120)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the Markdown report, and the plots where a folder is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", type=Path, default=[HERE / "results" / "peers.jsonl"])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "peers.md")
    parser.add_argument("--plots", type=Path, help="folder for PNG files (needs matplotlib)")
    options = parser.parse_args(arguments)
    missing = [path for path in options.rows if not path.is_file()]
    if missing:
        parser.error(f"{missing[0]} does not exist; run compare.py first")
    machines, rows = read(options.rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(markdown(machines, rows), encoding="utf-8")
    print(f"wrote {options.out.name}")
    if options.plots is not None:
        print(f"wrote {len(plot(rows, options.plots))} figures to {options.plots}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
