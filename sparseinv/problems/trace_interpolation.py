"""Dead traces filled by three methods that work on plane waves (problem I5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.operators.fourier import FFT
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties import L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Row, Table
from sparseinv.seismic.anti_leakage import antileakage
from sparseinv.seismic.convex_projections import POCSResult, pocs
from sparseinv.seismic.frequency_slices import SliceInterpolation
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.minimum_weighted_norm import mwni
from sparseinv.seismic.reflectivity import linear_events
from sparseinv.seismic.space_windows import in_windows
from sparseinv.seismic.wavelets import ricker_at

Array = np.ndarray[Any, Any]

_SIZES = {
    "s": (64, 16, 16),
    "m": (140, 80, 60),
    "l": (512, 64, 64),
}  # samples, and traces along both axes of the cube
_WINDOW = 24  # traces of a window along both axes
_WAVES = 20  # that the greedy method may use in a slice of a window
_GAINS = {"s": 4.0, "m": 10.0, "l": 10.0}  # asked for, over zero-fill [dB]
_DEAD = {"s": 0.6, "m": 0.79, "l": 0.79}  # share of the cube; a fifth of 256 traces resolves no wavenumbers
_DT, _F0, _DX = 0.004, 25.0, 10.0  # [s], [Hz], [m]
_BAND = (2.0, 62.0)  # where a Ricker wavelet of 25 Hz has energy [Hz]
_NOISE = 0.05  # residual that the slice methods leave, of the data
_LINE = {"s": (32, 96), "m": (60, 128), "l": (120, 256)}  # traces at irregular positions, samples
_SCORES = ("SNR [dB]", "dead [dB]")
_POCS, _MWNI, _ALFT = "POCS", "MWNI", "ALFT"


@dataclass(frozen=True, eq=False)
class Cube:
    """Hold a cube of traces and which of them were recorded.

    Attributes
    ----------
    traces : ndarray, shape (nx, ny, n_samples)
        The complete cube.
    live : ndarray of bool, shape (nx, ny)
        Recorded traces.
    """

    traces: Array
    live: Array

    @property
    def recorded(self) -> Array:
        """The cube with zeros in dead traces."""
        return np.where(self.live[:, :, None], self.traces, 0.0)

    def scores(self, estimate: Array) -> tuple[float, float]:
        """Return SNR over the cube and over its dead traces [dB]."""
        return snr_db(self.traces, estimate), snr_db(self.traces[~self.live], estimate[~self.live])


def cube(size: str, seed: int) -> Cube:
    """Return three curved events (parabolic along both axes, tilted) and a random choice of traces."""
    samples, nx, ny = _SIZES[size]
    x, y = np.linspace(-1.0, 1.0, nx)[:, None], np.linspace(-1.0, 1.0, ny)
    t = np.arange(samples) * _DT
    traces = np.zeros((nx, ny, samples))
    scale = nx / 80.0  # the same slopes per trace in all sizes
    for share, px, py, qx, qy, amplitude in (
        (0.25, 0.02, 0.04, 0.10, 0.06, 1.0),
        (0.5, -0.05, 0.03, 0.06, 0.12, -0.8),
        (0.75, 0.03, -0.02, 0.08, -0.05, 0.6),
    ):  # fmt: skip
        arrival = share * t[-1] + scale * (px * x + py * y + qx * x**2 + qy * y**2)
        traces += amplitude * ricker_at(t - arrival[:, :, None], _F0)
    return Cube(traces, np.random.default_rng(seed).random((nx, ny)) >= _DEAD[size])


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the loudest frequency slice; see `sparseinv.problems.catalogue.load_problem`."""
    made = cube(size, seed)
    spectra = np.fft.rfft(made.traces, axis=-1)
    j = int(np.argmax(np.linalg.norm(spectra, axis=(0, 1))))
    grid = made.live.shape
    synthesis = FFT(grid, sizes=[2 * n for n in grid]).H
    A = Restriction(grid, made.live, axis=None) @ synthesis
    b, whole = spectra[..., j][made.live], spectra[..., j].ravel()
    return Case(
        id=id, size=size, seed=seed, A=A, b=b, penalty=L2(_NOISE**2 * float(np.vdot(b, b).real) / b.size),
        rule="0.05^2 ||b||^2 / m: noise of 5 % of the data, prior variances of one", sigma=0.0,
        score=lambda x: {"SNR [dB]": snr_db(whole, synthesis @ x)}, dims=synthesis.dims,
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Fill a cube on a grid, and a line at irregular positions."""
    made = cube(size, seed)
    first, estimates = _cube_table(made, echo)
    second, line = _line_table(size, seed, echo)
    zero = first.score("zero-fill")
    goals = (
        *(
            Goal(f"{name} over zero-fill [dB]", first.score(name) - zero, _GAINS[size])
            for name in (_POCS, _MWNI, _ALFT)
        ),
        Goal("irregular line: ALFT at true positions over binned ones [dB]",
             second.score("ALFT") - second.score("ALFT, binned"), 3.0),
        Goal("irregular line: ALFT over linear [dB]", second.score("ALFT") - second.score("linear"), 3.0),
    )  # fmt: skip
    figures = {
        "i5_cube": partial(_draw_cube, made, estimates, first),
        "i5_line": partial(_draw_line, line, second),
    }
    return Demo("i5_interpolation", (first, second), figures, goals)


# --- the cube ------------------------------------------------------------------------------------------


def _cube_table(made: Cube, echo: bool) -> tuple[Table, dict[str, Array]]:
    nx, ny, samples = made.traces.shape
    dead = 1.0 - made.live.mean()
    table = Table(
        f"cube of {samples} samples x {nx} x {ny} traces, three curved events, {dead:.0%} of the traces dead",
        _SCORES,
        echo,
    )
    estimates = {"zero-fill": made.recorded, "linear": _linear(made)}
    for name, estimate in estimates.items():
        table.baseline(name, *made.scores(estimate))
    for name, fill in ((_POCS, _fill_pocs), (_MWNI, _fill_mwni), (_ALFT, _fill_alft)):
        filled = in_windows(fill, made.recorded, made.live, window=_WINDOW)
        estimates[name] = filled.estimate
        row = _pocs_row if name == _POCS else _slice_row
        table.row(row(name, filled.pieces, made.scores(filled.estimate)))
    table.note(
        "Recorded traces are put back in all rows; the second score is of the dead ones alone. All three "
        f"work in windows of {_WINDOW} x {_WINDOW} traces (or all there are) that share at least a quarter: "
        "over a large cube curved events are no sums of few plane waves. POCS: hard thresholds falling from "
        "99 % to 1 % of the largest coefficient in 40 steps, Fourier transform over all three axes. MWNI and "
        f"ALFT: slices of {_BAND[0]:g} to {_BAND[1]:g} Hz, one by one; noise of {_NOISE:.0%} of the data in "
        f"the first, waves until {_NOISE:.0%} of a slice are left, at most {_WAVES}, in the second. No "
        "number was chosen with the truth."
    )
    best = max((_POCS, _MWNI, _ALFT), key=table.score)
    gain = table.score(best) - table.score("linear")
    verdict = (
        f"{gain:.1f} dB above linear interpolation between neighbours, which knows nothing of slopes"
        if gain > 0.5
        else "but linear interpolation between neighbours is as good: few traces resolve no wavenumbers"
    )
    table.note(
        f"Best is {best}, {verdict}. The least-squares problems of MWNI are certified by their duality gaps; "
        "ALFT is greedy, and its certificate says what exchanging a wave would gain; POCS proves nothing."
    )
    return table, estimates


def _fill_pocs(traces: Array, live: Array) -> POCSResult:
    nx, ny, samples = traces.shape
    synthesis = FFT(traces.shape, sizes=(3 * nx // 2, 3 * ny // 2, samples)).H
    return pocs(traces, live[:, :, None], synthesis, last=1e-2, n_iter=40)


def _fill_mwni(traces: Array, live: Array) -> SliceInterpolation:
    return mwni(traces, live, _DT, band=_BAND, noise=_NOISE, padding=1.5)


def _fill_alft(traces: Array, live: Array) -> SliceInterpolation:
    every = np.argwhere(np.ones_like(live)) * _DX
    found = antileakage(
        traces[live], np.argwhere(live) * _DX, _DT, every, max_wavenumber=0.25 / _DX, band=_BAND,
        noise=_NOISE, max_waves=_WAVES, oversampling=1.5,
    )  # fmt: skip
    return replace(found, estimate=found.estimate.reshape(traces.shape))


def _linear(made: Cube) -> Array:
    """Return the cube with dead traces interpolated linearly between neighbours, nearest at the rim."""
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

    known, wanted = np.argwhere(made.live), np.argwhere(~made.live)
    values = made.traces[made.live]
    filled = LinearNDInterpolator(known, values)(wanted)
    outside = np.isnan(filled[:, 0])
    filled[outside] = NearestNDInterpolator(known, values)(wanted[outside])
    out = made.traces.copy()
    out[~made.live] = filled
    return out


def _pocs_row(method: str, filled: Sequence[POCSResult], scores: Sequence[float]) -> Row:
    return Row(
        method, dict(zip(_SCORES, scores, strict=False)),
        sum(int(np.count_nonzero(each.x)) for each in filled),
        products=sum(each.n_matvec + each.n_rmatvec for each in filled),
        seconds=sum(each.seconds for each in filled),
    )  # fmt: skip


def _slice_row(method: str, found: Sequence[SliceInterpolation], scores: Sequence[float]) -> Row:
    last = [each[-1] for part in found for each in part.results]
    # the status that promises least
    order = ("CONVERGED", "EXHAUSTED")
    status = max(
        {each.status.name for each in last}, key=lambda name: order.index(name) if name in order else 2
    )
    worst = max(last, key=lambda each: each.certificate.relative)
    return Row(
        method, dict(zip(_SCORES, scores, strict=False)),
        sum(int(np.count_nonzero(part.coefficients)) for part in found), status,
        f"worst slice: {worst.certificate}", sum(part.products for part in found),
        sum(part.seconds for part in found),
    )  # fmt: skip


# --- the line ------------------------------------------------------------------------------------------


def _line_table(size: str, seed: int, echo: bool) -> tuple[Table, dict[str, Any]]:
    count, samples = _LINE[size]
    rng = np.random.default_rng(seed)
    spacing, cells = _DX, 2 * count
    grid = spacing * np.arange(cells)
    h = np.sort(rng.uniform(grid[0], grid[-1], count))
    length = samples * _DT
    events: dict[str, Any] = {
        "times": [0.2 * length, 0.55 * length, 0.7 * length], "amplitudes": [1.0, -0.7, 0.8],
        "slopes": [0.5 * length / grid[-1], 0.1 * length / grid[-1], -0.55 * length / grid[-1]], "f0": _F0,
    }  # fmt: skip
    recorded, truth = linear_events(samples, _DT, h, **events), linear_events(samples, _DT, grid, **events)
    place = np.rint(h / spacing).astype(int)
    live = np.zeros(cells, dtype=bool)
    live[place] = True
    binned = np.zeros_like(truth)
    np.add.at(binned, place, recorded)
    binned[live] /= np.bincount(place, minlength=cells)[live, None]
    table = Table(
        f"line: {count} traces at random positions over {grid[-1]:g} m, wanted every {spacing:g} m; three "
        "straight events",
        _SCORES[:1],
        echo,
    )
    estimates: dict[str, Array] = {"linear": _linear_line(h, recorded, grid)}
    table.baseline("linear", snr_db(truth, estimates["linear"]))
    filled = pocs(
        binned, live[:, None], FFT(binned.shape, sizes=(2 * cells, samples)).H, last=1e-2, n_iter=50
    )
    estimates["POCS, binned"] = filled.estimate
    table.row(_pocs_row("POCS, binned", [filled], [snr_db(truth, filled.estimate)]))
    weighted = mwni(binned, live, _DT, band=_BAND, noise=_NOISE)
    options: dict[str, Any] = {"max_wavenumber": 0.5 / spacing, "band": _BAND, "noise": _NOISE}
    found = {
        "MWNI, binned": weighted,
        "ALFT, binned": antileakage(binned[live], grid[live], _DT, grid, **options),
        "ALFT": antileakage(recorded, h, _DT, grid, **options),
    }
    for name, each in found.items():
        estimates[name] = each.estimate
        table.row(_slice_row(name, [each], [snr_db(truth, each.estimate)]))
    table.note(
        f"Binned: each trace is taken to the nearest place of the grid, up to {spacing / 2:g} m away, and "
        "traces that meet are averaged, as methods on a grid need it. ALFT fits its waves at the true "
        "positions; the same method on binned traces shows what the positions are worth."
    )
    return table, {"h": h, "grid": grid, "recorded": recorded, "truth": truth, "estimates": estimates}


def _linear_line(h: Array, recorded: Array, grid: Array) -> Array:
    return np.array([np.interp(grid, h, sample) for sample in recorded.T]).T


# --- figures -------------------------------------------------------------------------------------------


def _draw_cube(made: Cube, estimates: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import clip_level, figure, section

    names = ["zero-fill", "linear", _POCS, _MWNI, _ALFT]
    drawing, axes = figure(2, 6, size=(17.0, 8.0), sharex=True, sharey=True)
    row = made.live.shape[0] // 3
    level = clip_level(made.traces[row], 99.0)
    y = _DX * np.arange(made.live.shape[1])
    section(
        made.traces[row],
        _DT,
        axes=axes[0, 0],
        x=y,
        clip=level,
        signed=False,
        title=f"truth, x = {row * _DX:g} m",
    )
    place = axes[1, 0].get_subplotspec()
    axes[1, 0].remove()
    chart = drawing.add_subplot(place)
    far = _DX * np.array(made.live.shape)
    chart.imshow(
        made.live, cmap="gray_r", extent=(0.0, far[1], far[0], 0.0), aspect="auto", interpolation="none"
    )
    chart.axhline(row * _DX, color="tab:red", linewidth=1.0)
    chart.set_xlabel("y [m]")
    chart.set_ylabel("x [m]")
    chart.set_title(f"recorded: {int(made.live.sum())} of {made.live.size} traces", fontsize=9)
    for column, name in zip(axes[:, 1:].T, names, strict=True):
        shown = estimates[name][row]
        title = f"{name}: {table.score(name):.1f} dB"
        section(shown, _DT, axes=column[0], x=y, clip=level, signed=False, title=title)
        section(shown - made.traces[row], _DT, axes=column[1], x=y, clip=level, title="error, same clip")
    _tidy(drawing, axes, "y [m]")
    axes[1, 1].set_ylabel("time [s]")
    axes[1, 1].tick_params(labelleft=True)
    return drawing, axes


def _draw_line(line: dict[str, Any], table: Table) -> Any:
    from sparseinv.plotting import clip_level, figure, section

    names = ["linear", "POCS, binned", "MWNI, binned", "ALFT, binned", "ALFT"]
    drawing, axes = figure(2, 6, size=(17.0, 8.0), sharex=True, sharey=True)
    level, grid = clip_level(line["truth"], 99.0), line["grid"]
    section(line["truth"], _DT, axes=axes[0, 0], x=grid, clip=level, signed=False, title="truth")
    place = np.rint(line["h"] / (grid[1] - grid[0])).astype(int)
    seen = np.zeros_like(line["truth"])
    seen[place] = line["recorded"]
    section(
        seen,
        _DT,
        axes=axes[1, 0],
        x=grid,
        clip=level,
        signed=False,
        title=f"{line['h'].size} recorded traces",
    )
    for column, name in zip(axes[:, 1:].T, names, strict=True):
        shown = line["estimates"][name]
        title = f"{name}: {table.score(name):.1f} dB"
        section(shown, _DT, axes=column[0], x=grid, clip=level, signed=False, title=title)
        section(shown - line["truth"], _DT, axes=column[1], x=grid, clip=level, title="error, same clip")
    _tidy(drawing, axes, "position [m]")
    return drawing, axes


def _tidy(drawing: Any, axes: Any, label: str) -> None:
    for panel in axes[0]:
        panel.set_xlabel("")
    for panel in axes[1]:
        panel.set_xlabel(label)
    for panel in axes[:, 1:].ravel():
        panel.set_ylabel("")
    drawing.colorbar(axes[0, -1].images[0], ax=axes[0, -1], label="amplitude")
    drawing.colorbar(axes[1, -1].images[0], ax=axes[1, -1], label="error")
