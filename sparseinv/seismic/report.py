"""One page about a processed gather: sections, spectra, convergence, the choice of lambda, the facts."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.seismic.whole_file import check_place, whole_file

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Report:
    """Hold what a page about a processed gather shows.

    Attributes
    ----------
    title : str
        What was done to which file.
    data, fit, result : ndarray, shape (n_traces, n_samples)
        Input, what the model explains of it, and output; the last may have another number of traces.
    dt : float
        Sampling interval [s].
    facts : dict
        Name and text of everything worth knowing: lambda and its rule, certificate, products, time.
    histories : dict
        Name of each run and its ``result.history``; may be empty.
    curve : tuple (levels, errors, chosen), or None
        What the choice of lambda compared, and the level it took.
    x : ndarray, optional
        Position of each trace of data and fit.
    xlabel : str
        What x is, with its unit.
    spikes : bool
        Whether the result is a reflectivity rather than traces like the input: it gets its own clip.
    """

    title: str
    data: Array
    fit: Array
    result: Array
    dt: float
    facts: Mapping[str, str]
    histories: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Array, Array, float] | None = None
    x: Array | None = None
    xlabel: str = "trace"
    spikes: bool = False

    def draw(self) -> Any:
        """Draw sections on one grey scale, their spectra, convergence and the choice of lambda.

        Returns
        -------
        figure, axes
        """
        from sparseinv.plotting import clip_level, convergence, figure, section

        drawing, axes = figure(2, 4, size=(17.0, 9.0), height_ratios=(1.6, 1.0))
        level = clip_level(self.data, 98.0)
        residual = self.data - self.fit
        own = clip_level(self.result, 99.5) if self.spikes else level
        place = self.x if self.result.shape[0] == self.data.shape[0] else None
        for panel, (name, array, clip, at, signed) in zip(
            axes[0],
            (
                ("input", self.data, level, self.x, False),
                ("result", self.result, own, place, self.spikes),
                ("fit", self.fit, level, self.x, False),
                ("residual: input - fit", residual, level, self.x, False),
            ),
            strict=True,
        ):
            label = self.xlabel if at is not None or self.x is None else "trace"
            section(array, self.dt, axes=panel, x=at, clip=clip, signed=signed, title=name, xlabel=label)
        for panel in axes[0, 1:]:
            panel.set_ylabel("")
        drawing.colorbar(axes[0, 1].images[0], ax=axes[0, 1], label="amplitude of the result")
        drawing.colorbar(axes[0, 3].images[0], ax=axes[0, 3], label="amplitude [units of the file]")
        self._spectra(axes[1, 0], residual)
        recorded = {name: history for name, history in self.histories.items() if history.rows}
        if recorded:
            convergence(recorded, axes=axes[1, 1])
            axes[1, 1].set_title("certificate during the solve", fontsize=9)
        else:
            axes[1, 1].axis("off")
            if self.histories:
                said = "traces solved together,\nwhich keeps no record of the way"
                axes[1, 1].text(0.5, 0.5, said, fontsize=9, ha="center", va="center")
        self._choice(axes[1, 2])
        axes[1, 3].axis("off")
        axes[1, 3].text(0.0, 1.0, _short(self.facts), fontsize=8, va="top", family="monospace")
        drawing.suptitle(self.title)
        return drawing, axes

    def _spectra(self, axes: Any, residual: Array) -> None:
        """Draw mean amplitude spectra in dB below the largest of the input."""
        f = np.fft.rfftfreq(self.data.shape[1], self.dt)
        reference = float(_spectrum(self.data).max()) or 1.0
        for name, array, color in (
            ("input", self.data, "black"), ("fit", self.fit, "tab:blue"), ("residual", residual, "tab:red"),
        ):  # fmt: skip
            ratio = np.maximum(_spectrum(array) / reference, 1e-4)
            axes.plot(f, 20 * np.log10(ratio), color=color, linewidth=1.0, label=name)
        axes.set_xlabel("frequency [Hz]")
        axes.set_ylabel("mean amplitude [dB]")
        axes.set_title("spectra", fontsize=9)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)

    def _choice(self, axes: Any) -> None:
        if self.curve is None:
            axes.axis("off")
            return
        levels, errors, chosen = self.curve
        axes.semilogx(levels, errors, marker=".", color="black", linewidth=1.0)
        axes.axvline(chosen, color="tab:red", linewidth=1.0, label=f"chosen: {chosen:.3g}")
        axes.set_xlabel("lambda")
        axes.set_ylabel("error of prediction")
        axes.set_title("choice of lambda", fontsize=9)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)


def write_report(path: str | Path, report: Report) -> None:
    """Write a report as a picture (.png) or as a page that contains the picture and all facts (.html).

    Parameters
    ----------
    path : str or Path
        File to write; the ending decides. An existing file is replaced once the new one is complete.
    report : Report
        What to show.

    Raises
    ------
    ValueError
        Another ending.
    ImportError
        matplotlib is missing.

    Notes
    -----
    The page refers to nothing outside itself.
    """
    check_report(path)
    drawing, _ = report.draw()
    with whole_file(path) as place:
        if Path(path).suffix.lower() == ".png":
            drawing.savefig(place)
            return
        picture = io.BytesIO()
        drawing.savefig(picture, format="png")
        encoded = base64.b64encode(picture.getvalue()).decode("ascii")
        rows = "\n".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in report.facts.items()
        )
        title = html.escape(report.title)
        place.write_text(
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
            "<style>body{font-family:sans-serif;margin:2em;max-width:1700px}img{max-width:100%}"
            "th{text-align:left;vertical-align:top;padding-right:1.5em;font-weight:600}</style></head>\n"
            f"<body><h1>{title}</h1>\n<table>\n{rows}\n</table>\n"
            f'<img alt="input, result, fit, residual, spectra, convergence" '
            f'src="data:image/png;base64,{encoded}">\n</body></html>\n',
            encoding="utf-8",
        )


def check_report(path: str | Path) -> None:
    """Raise unless a report can be written under this name: .png or .html, with matplotlib installed."""
    if Path(path).suffix.lower() not in (".png", ".html"):
        raise ValueError(f"the report {Path(path).name} must end with .png or .html")
    check_place(path)
    try:
        import_module("matplotlib")
    except ImportError:
        raise ImportError('reports need matplotlib: python -m pip install "sparseinv[plot]"') from None


def _spectrum(array: Array) -> Array:
    return np.asarray(np.abs(np.fft.rfft(array, axis=1)).mean(axis=0))


def _short(facts: Mapping[str, str]) -> str:
    """Return the facts in lines that fit a panel."""
    import textwrap

    lines: list[str] = []
    for name, text in facts.items():
        lines += textwrap.wrap(f"{name}: {text}", 62, subsequent_indent="    ")
    return "\n".join(lines[:32])
