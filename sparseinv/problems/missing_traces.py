"""What the problems with missing traces share: masks, baselines, scores, rows and panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.operators.base import Operator
from sparseinv.problems.report import Table
from sparseinv.seismic.convex_projections import pocs
from sparseinv.seismic.interpolation import InterpolatedTraces, interpolate_traces
from sparseinv.seismic.metrics import snr_db

Array = np.ndarray[Any, Any]

SCORES = ("all [dB]", "missing [dB]")


@dataclass(frozen=True, eq=False)
class Gaps:
    """Hold a section of which only some traces are kept.

    Attributes
    ----------
    truth : ndarray, shape (n_traces, n_samples)
        The section.
    mask : ndarray of bool, shape (n_traces,)
        Traces that are kept.
    dt : float
        Sampling interval [s].
    """

    truth: Array
    mask: Array
    dt: float = 0.004

    @property
    def recorded(self) -> Array:
        """The section with NaN in the missing traces."""
        return np.where(self.mask[:, None], self.truth, np.nan)

    def scores(self, estimate: Array) -> tuple[float, float]:
        """Return the SNR of all traces and of the missing ones [dB]."""
        missing = ~self.mask
        return snr_db(self.truth, estimate), snr_db(self.truth[missing], estimate[missing]) + 0.0

    def score(self, estimate: Array) -> Mapping[str, float]:
        """Return the same by name."""
        return dict(zip(SCORES, self.scores(estimate), strict=True))

    def linear(self) -> Array:
        """Return the gaps filled by linear interpolation from trace to trace, constant beyond the ends."""
        place, known = np.arange(self.mask.size), np.flatnonzero(self.mask)
        columns = [np.interp(place, known, row) for row in self.truth[known].T]
        return np.stack(columns, axis=1)


class Comparison:
    """Fill the gaps by one method after another: a row and an estimate each."""

    def __init__(self, gaps: Gaps, title: str, echo: bool) -> None:
        self.gaps, self.table = gaps, Table(title, SCORES, echo)
        self.estimates: dict[str, Array] = {}
        self.found: dict[str, InterpolatedTraces] = {}

    def baselines(self) -> None:
        """Add the rows of zeros and of straight lines."""
        self.add("zero-fill", np.where(self.gaps.mask[:, None], self.gaps.truth, 0.0))
        self.add("linear", self.gaps.linear())

    def add(self, method: str, estimate: Array) -> None:
        """Add a row without a solver."""
        self.estimates[method] = estimate
        self.table.baseline(method, *self.gaps.scores(estimate))

    def project(self, method: str, synthesis: Operator, **options: Any) -> None:
        """Add the row of a run of `pocs`, which certifies nothing."""
        self.add(method, pocs(self.gaps.recorded, self.gaps.mask[:, None], synthesis, **options).estimate)

    def interpolate(self, method: str, dictionary: Any, **options: Any) -> InterpolatedTraces:
        """Add the row of a run of `interpolate_traces`."""
        found = interpolate_traces(self.gaps.recorded, self.gaps.mask, dictionary=dictionary, **options)
        self.found[method], self.estimates[method] = found, found.estimate
        self.table.solved(method, found.result, *self.gaps.scores(found.estimate))
        return found

    def draw(self, methods: Sequence[str], title: str, signed: bool = False) -> Any:
        """Draw truth and gaps, then estimates above their errors on the same scale."""
        from sparseinv.plotting import clip_level, figure, section

        gaps, table = self.gaps, self.table
        drawing, axes = figure(
            2, len(methods) + 1, size=(2.9 * (len(methods) + 1), 7.0), sharex=True, sharey=True
        )
        level = clip_level(gaps.truth, 99.0)
        section(gaps.truth, gaps.dt, axes=axes[0, 0], clip=level, signed=signed, title="truth")
        kept = f"kept: {int(gaps.mask.sum())} of {gaps.mask.size} traces"
        shown = np.where(gaps.mask[:, None], gaps.truth, 0.0)
        section(shown, gaps.dt, axes=axes[1, 0], clip=level, signed=signed, title=kept)
        for column, name in zip(axes[:, 1:].T, methods, strict=True):
            headline = f"{name}: {table.score(name):.1f} dB"
            section(self.estimates[name], gaps.dt, axes=column[0], clip=level, signed=signed, title=headline)
            error = self.estimates[name] - gaps.truth
            section(error, gaps.dt, axes=column[1], clip=level, title="its error, same clip")
        for panel in axes[0]:
            panel.set_xlabel("")
        for panel in axes[:, 1:].ravel():
            panel.set_ylabel("")
        drawing.colorbar(axes[0, -1].images[0], ax=axes[0, -1], label="amplitude")
        drawing.colorbar(axes[1, -1].images[0], ax=axes[1, -1], label="error of amplitude")
        drawing.suptitle(title)
        return drawing, axes


def random_gaps(count: int, dropped: int, seed: int, ends: bool = False) -> Array:
    """Return a mask of the traces kept, the dropped ones a random choice; ``ends`` keeps first and last."""
    mask = np.ones(count, dtype=bool)
    rng = np.random.default_rng(seed)
    if ends:
        mask[1 + rng.choice(count - 2, dropped, replace=False)] = False
    else:
        mask[rng.choice(count, dropped, replace=False)] = False
    return mask
