"""What a demo reports: one row per method, and a rule for lambda that never sees the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.penalties import Penalty
from sparseinv.result import Result

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Row:
    """One method of a study.

    Attributes
    ----------
    method, rule : str
        What was done, and how lambda was chosen.
    snr : float
        Signal-to-noise ratio of the answer [dB].
    result : Result or None
        None for baselines that solve nothing.
    """

    method: str
    rule: str
    snr: float
    result: Result | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """A problem solved in several ways.

    Attributes
    ----------
    name, title : str
        File name of the figure, and what is shown.
    score : str
        What ``snr`` measures.
    rows : list of Row
        Baselines first.
    remarks : list of str
        What the numbers say.
    draw : callable or None
        Returns (figure, axes).
    """

    name: str
    title: str
    score: str
    rows: Sequence[Row]
    remarks: Sequence[str]
    draw: Callable[[], tuple[Any, Any]] | None = None

    def snr(self, method: str) -> float:
        """Return the score of a method [dB]."""
        return next(row.snr for row in self.rows if row.method == method)


def report(study: Study, out: Path) -> bool:
    """Print the table and write the figure; return whether every solved row is certified."""
    print(f"\n{study.title}\n  score: {study.score}")
    print(f"  {'method':<26} {'SNR dB':>7} {'non-zeros':>9} {'products':>8} {'s':>6}  status, certificate, lambda")
    fine = True
    for row in study.rows:
        if row.result is None:
            print(f"  {row.method:<26} {row.snr:>7.2f} {'-':>9} {'-':>8} {'-':>6}  {row.rule}")
            continue
        r = row.result
        fine &= r.success
        print(
            f"  {row.method:<26} {row.snr:>7.2f} {r.support.size:>9} {r.products.total:>8} {r.seconds:>6.2f}  "
            f"{r.status.name}, {r.certificate}; {row.rule}"
        )
    for remark in study.remarks:
        print(f"  {remark}")
    if study.draw is not None:
        try:
            figure, _ = study.draw()
        except ImportError:
            print("  no figure: matplotlib is not installed (extra: plot)")
        else:
            path = out / f"{study.name}.png"
            figure.savefig(path)
            print(f"  figure: {path}")
    print(flush=True)
    return fine


def hold_out(
    fit: tuple[Any, Array],
    judge: Callable[[Array], float],
    penalty: Callable[[float], Penalty],
    levels: Sequence[float],
    **options: Any,
) -> tuple[float, Array | None]:
    """Return the level whose solution on ``fit`` predicts held-out data best, and that solution.

    Parameters
    ----------
    fit : tuple
        (A, b) of the data that are not held out.
    judge : callable
        Error of a solution on the held-out data.
    penalty : callable
        Penalty of a level.
    levels : sequence of float
        Decreasing; each solve starts from the last one.
    **options
        Passed to `solve`.
    """
    A, b = fit
    best, chosen, kept, x = np.inf, float(levels[0]), None, None
    for level in levels:
        x = solve(A, b, penalty(level), x0=x, check_operator=False, **options).x
        error = judge(x)
        if error < best:
            best, chosen, kept = error, float(level), x
    return chosen, kept
