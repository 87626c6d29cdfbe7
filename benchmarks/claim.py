"""What an experiment on lambda says, and how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Panel:
    """Hold the curves of one set of axes; a name that ends in ":" is drawn dashed."""

    title: str
    x_label: str
    y_label: str
    curves: dict[str, tuple[Sequence[float], Sequence[float]]]
    log: str = "xy"


@dataclass(frozen=True)
class Claim:
    """Hold a sentence, the number that was asked for and the one that was reached; ``met`` None: absent."""

    claim: str
    asked: str
    reached: str
    met: bool | None
    table: list[str] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "absent" if self.met is None else "yes" if self.met else "**no**"


def absent(claim: str, asked: str) -> Claim:
    return Claim(claim, asked, "tune_lams is absent", None)


def header(*names: str) -> list[str]:
    """Return the first two lines of a table."""
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def slope(x: Any, y: Any) -> float:
    """Return the slope of a line through the points."""
    return float(np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)[0])


def lowest(x: Array, y: Array) -> float:
    """Return where y is least, refined by a parabola in log x."""
    k = int(np.clip(np.argmin(y), 1, y.size - 2))
    u, v = np.log(x[k - 1 : k + 2]), y[k - 1 : k + 2]
    a, b, _ = np.polyfit(u - u[1], v, 2)
    return float(x[k] if a <= 0 else np.exp(u[1] + np.clip(-b / (2 * a), u[0] - u[1], u[2] - u[1])))


def middle(values: Any) -> float:
    return float(np.median(np.asarray(values, float)))


def _style(name: str, points: int) -> str:
    return "--" if name.endswith(":") else "o-" if points <= 20 else "-"


def draw(panels: list[Panel], path: Path) -> None:
    """Draw the panels side by side into a file."""
    from sparseinv.plotting import figure

    wide = sum(4.6 if len(panel.curves) <= 5 else 7.0 for panel in panels)  # a long legend stands beside
    canvas, axes = figure(1, len(panels), size=(wide, 3.6), squeeze=False)
    for panel, ax in zip(panels, axes[0], strict=True):
        for name, (x, y) in panel.curves.items():
            ax.plot(x, y, _style(name, len(x)), ms=3.5, lw=1.3, label=name.rstrip(":"))
        if "x" in panel.log:
            ax.set_xscale("log")
            points = sorted({value for x, _ in panel.curves.values() for value in x})
            if len(points) <= 8:  # few enough to be named; matplotlib's own minor labels run into each other
                ax.set_xticks(points, labels=[f"{value:g}" for value in points])
                ax.set_xticks([], minor=True)
        if "y" in panel.log:
            ax.set_yscale("log")
        ax.set_title(panel.title, fontsize=10)
        ax.set_xlabel(panel.x_label)
        ax.set_ylabel(panel.y_label)
        ax.grid(alpha=0.3, which="both", lw=0.4)
        if len(panel.curves) > 5:
            ax.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        else:
            ax.legend(fontsize=7.5)
    canvas.savefig(path, dpi=110)
