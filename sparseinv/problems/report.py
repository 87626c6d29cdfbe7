"""What a demo reports: rows, tables, figures, and how a level is chosen without the truth."""

from __future__ import annotations

import json
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.counted_operator import Products
from sparseinv.result import Result

Array = np.ndarray[Any, Any]


class Missing(Exception):
    """Data or an optional package that a demo needs is not there; the text says what to do."""


@dataclass(frozen=True)
class Row:
    """Hold one line of a table; None where a column does not apply.

    Attributes
    ----------
    method : str
        What was done.
    scores : dict
        Name of each score of the table and its value.
    nonzeros : int or None
        Coefficients that are not zero.
    status, certificate : str
        How the solver ended, and what its certificate proves; "-" for a baseline without a solver.
    products : int or None
        Products with A and A^H, those for the choice of lambda not included.
    seconds : float or None
        Wall time of the solve.
    """

    method: str
    scores: Mapping[str, float | None]
    nonzeros: int | None = None
    status: str = "-"
    certificate: str = "-"
    products: int | None = None
    seconds: float | None = None


@dataclass(eq=False)
class Table:
    """Collect rows, and print them as they come if asked to.

    Attributes
    ----------
    title : str
        What is compared.
    scores : tuple of str
        Headings of the score columns, with units.
    rows : list of Row
        The lines so far.
    notes : list of str
        How lambda was chosen, and what the table shows.
    """

    title: str
    scores: tuple[str, ...]
    echo: bool = False
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.echo:
            print(f"\n{self.title}\n{self._heading()}", flush=True)

    def baseline(self, method: str, *scores: float | None) -> None:
        """Add a line without a solver."""
        self._add(Row(method, dict(zip(self.scores, scores, strict=True))))

    def solved(self, method: str, result: Result, *scores: float | None, nonzeros: int | None = None) -> None:
        """Add the line of a solve."""
        count = int(result.support.size) if nonzeros is None else nonzeros
        self._add(
            Row(
                method,
                dict(zip(self.scores, scores, strict=True)),
                count,
                result.status.name,
                str(result.certificate),
                result.products.total,
                result.seconds,
            )
        )

    def row(self, row: Row) -> None:
        """Add a line whose columns do not come from one result."""
        self._add(row)

    def note(self, text: str) -> None:
        """Add a sentence below the table."""
        self.notes.append(text)
        if self.echo:
            print(_wrapped(text), flush=True)

    @property
    def certified(self) -> bool:
        """Whether every solver converged, or came to an end that promises nothing and says so."""
        return all(row.status in ("-", "CONVERGED", "EXHAUSTED") for row in self.rows)

    def score(self, method: str, name: str | None = None) -> float:
        """Return a score of a method, by default the first of the table."""
        value = next(row for row in self.rows if row.method == method).scores[name or self.scores[0]]
        return math.nan if value is None else value

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        if self.echo:
            print(self._line(row), flush=True)

    def _heading(self) -> str:
        scores = "".join(f"{name:>15}" for name in self.scores)
        rest = f"{'non-zeros':>11}  {'status':<10}{'products':>9}{'seconds':>9}  certificate"
        return f"{'method':<18}{scores}{rest}"

    def _line(self, row: Row) -> str:
        scores = "".join(
            f"{_text(row.scores[name], '.1f' if 'dB' in name else '.2f'):>15}" for name in self.scores
        )
        return (
            f"{row.method:<18}{scores}{_text(row.nonzeros, 'd'):>11}  {row.status:<10}"
            f"{_text(row.products, 'd'):>9}{_text(row.seconds, '.2f'):>9}  {row.certificate}"
        )

    def __str__(self) -> str:
        lines = [self.title, self._heading(), *(self._line(row) for row in self.rows)]
        return "\n".join([*lines, *map(_wrapped, self.notes)])


@dataclass(frozen=True)
class Goal:
    """Compare a number that was reached with the one asked for.

    Attributes
    ----------
    text : str
        What is measured, with its unit.
    reached, asked : float
        The two numbers.
    at_least : bool
        Whether ``reached`` must not be less than ``asked``, or not more.
    """

    text: str
    reached: float
    asked: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether the number asked for was reached; never for NaN."""
        return self.reached >= self.asked if self.at_least else self.reached <= self.asked

    def __str__(self) -> str:
        verdict, word = "met" if self.met else "MISSED", "at least" if self.at_least else "at most"
        return f"{verdict}: {self.text} {self.reached:.4g}, asked {word} {self.asked:.4g}"


@dataclass(frozen=True, eq=False)
class Demo:
    """Hold what a demo or a numbered problem computed.

    Attributes
    ----------
    name : str
        Name of the demo.
    tables : tuple of Table
        Methods side by side.
    figures : dict
        Name of each figure and a function that draws it and returns (figure, axes).
    goals : tuple of Goal
        What was asked for and what was reached; empty for a demo without numbers to reach.
    """

    name: str
    tables: tuple[Table, ...]
    figures: Mapping[str, Callable[[], Any]]
    goals: tuple[Goal, ...] = ()

    @property
    def certified(self) -> bool:
        """Whether every solver converged."""
        return all(table.certified for table in self.tables)


def save(demo: Demo, out: Path) -> list[Path]:
    """Write the figures of a demo as PNG and its numbers as JSON; return the files written."""
    out.mkdir(parents=True, exist_ok=True)
    numbers: list[dict[str, Any]] = [
        {"title": table.title, "rows": [asdict(row) for row in table.rows], "notes": table.notes}
        for table in demo.tables
    ]
    if demo.goals:
        numbers.append({"goals": [asdict(goal) | {"met": goal.met} for goal in demo.goals]})
    record = out / f"{demo.name}.json"
    record.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    written = [record]
    if find_spec("matplotlib") is None:  # asked for here, so that its absence costs no table
        print('   no figures: matplotlib is missing (python -m pip install "sparseinv[demo]")')
        return written
    for name, draw in demo.figures.items():
        path = out / f"{name}.png"
        draw()[0].savefig(path)
        written.append(path)
    return written


def best_level(levels: Iterable[float], error: Callable[[float], float]) -> float:
    """Return the level with the smallest error; the levels fall, and a tie goes to the larger one."""
    tried = [(error(level), level) for level in levels]
    return min(tried, key=lambda pair: pair[0])[1]


def data_folder(data: Path | None) -> Path | None:
    """Return the place where the user keeps field data, None where nothing was said."""
    if data is not None:
        return data
    named = os.environ.get("SPARSEINV_DATA")
    return Path(named) if named else None


def together(results: Sequence[Result]) -> Result:
    """Return one result for the row of several: the worst certificate, products and seconds of all."""
    worst = max(results, key=lambda result: (not result.success, result.certificate.relative))
    each = [result.products for result in results]
    names = [part.name for part in fields(Products)]
    products = Products(**{name: sum(getattr(one, name) for one in each) for name in names})
    return replace(worst, products=products, seconds=sum(result.seconds for result in results))


def _wrapped(note: str) -> str:
    return textwrap.fill(note, 110, initial_indent="   ", subsequent_indent="   ")


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
