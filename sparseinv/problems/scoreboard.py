"""Run numbered problems one after another: rows, goals and figures, and a table of all of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparseinv.problems.catalogue import CATALOGUE, run_problem
from sparseinv.problems.report import Demo, Missing, save

_HEADING = "| problem | method | scores | non-zeros | status | certificate | products | seconds |"


def run_scoreboard(
    ids: Sequence[str],
    *,
    size: str = "m",
    seed: int = 0,
    data: Path | None = None,
    out: Path | None = None,
    table: Path | None = None,
) -> bool:
    """Run problems of the catalogue and print them; tell whether all goals are met and all certified.

    A problem that does not come in this size or whose data or package is missing is skipped, says so,
    and counts as done.

    Parameters
    ----------
    ids : sequence of str
        Keys of `CATALOGUE`.
    size, seed, data
        As for `load_problem`.
    out : Path, optional
        Folder for figures and numbers; none are written without it.
    table : Path, optional
        Markdown file to write the whole scoreboard to.
    """
    fine, lines = True, [f"# Scoreboard, size {size.upper()}, seed {seed}", "", _HEADING, "|---" * 8 + "|"]
    goals: list[str] = []
    for id in ids:
        entry = CATALOGUE[id]
        print(f"\n== {id}: {entry.title}", flush=True)
        if size not in entry.sizes:
            print(f"   SKIPPED: comes in size {' or '.join(entry.sizes).upper()} only", flush=True)
            continue
        try:
            demo = run_problem(id, size=size, seed=seed, data=data, echo=True)
        except Missing as missing:
            print(f"   SKIPPED: {missing}", flush=True)
            goals.append(f"- {id}: skipped: {missing}")
            continue
        for goal in demo.goals:
            print(f"   {goal}", flush=True)
            goals.append(f"- {id}: {goal}")
        if not demo.certified:
            print("   not every answer is certified: the status column says which", flush=True)
        if out is not None:
            for path in save(demo, out):
                print(f"   wrote {path}", flush=True)
        lines += _lines(id, demo)
        fine &= demo.certified and all(goal.met for goal in demo.goals)
    if table is not None:
        table.write_text("\n".join([*lines, "", "## Goals", "", *goals]) + "\n", encoding="utf-8")
    return fine


def _lines(id: str, demo: Demo) -> list[str]:
    """Return one line of the scoreboard for each row of the tables."""
    lines = []
    for part in demo.tables:
        for row in part.rows:
            scores = ", ".join(
                f"{name} {value:.4g}" for name, value in row.scores.items() if value is not None
            )
            cells = [id, row.method, scores, row.nonzeros, row.status, row.certificate, row.products]
            seconds = "-" if row.seconds is None else f"{row.seconds:.2f}"
            # norms in certificates hold the sign that divides cells
            texts = ["-" if cell is None else str(cell).replace("|", "\\|") for cell in cells]
            lines.append("| " + " | ".join([*texts, seconds]) + " |")
    return lines
