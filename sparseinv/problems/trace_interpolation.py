"""Dead traces filled by three methods that work on plane waves (problem I5)."""

from __future__ import annotations

from dataclasses import dataclass
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
from sparseinv.seismic.wavelets import ricker_at

Array = np.ndarray[Any, Any]

# samples and traces along both axes of the cube; waves that the greedy method may use in a slice
_SIZES = {"s": (64, 16, 16, 20), "m": (140, 80, 60, 40)}
_DEAD = 0.79
_DT, _F0, _DX = 0.004, 25.0, 10.0  # [s], [Hz], [m]
_BAND = (2.0, 62.0)  # where a Ricker wavelet of 25 Hz has energy [Hz]
_NOISE = 0.05  # residual that the slice methods leave, of the data
_LINE = {"s": (24, 64), "m": (60, 128)}  # traces at irregular positions, samples
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
    samples, nx, ny, _ = _SIZES[size]
    x, y = np.linspace(-1.0, 1.0, nx)[:, None], np.linspace(-1.0, 1.0, ny)
    t = np.arange(samples) * _DT
    traces = np.zeros((nx, ny, samples))
    scale = nx / 80.0  # the same slopes per trace in all sizes
    for share, px, py, qx, qy, amplitude in (
        (0.25, 0.02, 0.04, 0.10, 0.06, 1.0), (0.5, -0.05, 0.03, 0.06, 0.12, -0.8), (0.75, 0.03, -0.02, 0.08, -0.05, 0.6),
    ):  # fmt: skip
        arrival = share * t[-1] + scale * (px * x + py * y + qx * x**2 + qy * y**2)
        traces += amplitude * ricker_at(t - arrival[:, :, None], _F0)
    return Cube(traces, np.random.default_rng(seed).random((nx, ny)) >= _DEAD)


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
    first, estimates = _cube_table(made, size, echo)
    second, line = _line_table(size, seed, echo)
    zero = first.score("zero-fill")
    goals = (
        *(Goal(f"{name} over zero-fill [dB]", first.score(name) - zero, asked) for name, asked in ((_POCS, 4.0), (_MWNI, 3.0), (_ALFT, 1.0))),
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


def _cube_table(made: Cube, size: str, echo: bool) -> tuple[Table, dict[str, Array]]:
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
    mask = np.broadcast_to(made.live[:, :, None], made.traces.shape)
    synthesis = FFT(made.traces.shape, sizes=(2 * nx, 2 * ny, samples)).H
    filled = pocs(made.recorded, mask, synthesis, last=1e-2, n_iter=50)
    estimates[_POCS] = filled.estimate
    table.row(_pocs_row(filled, made.scores(filled.estimate)))
    weighted = mwni(made.recorded, made.live, _DT, band=_BAND, noise=_NOISE)
    estimates[_MWNI] = weighted.estimate
    table.row(_slice_row(_MWNI, weighted, made.scores(weighted.estimate)))
    where, every = np.argwhere(made.live) * _DX, np.argwhere(np.ones_like(made.live)) * _DX
    waves = antileakage(
        made.traces[made.live], where, _DT, every, max_wavenumber=0.25 / _DX, band=_BAND, noise=_NOISE,
        max_waves=_SIZES[size][3], oversampling=1.5,
    )  # fmt: skip
    estimates[_ALFT] = np.where(made.live[:, :, None], made.traces, waves.estimate.reshape(made.traces.shape))
    table.row(_slice_row(_ALFT, waves, made.scores(estimates[_ALFT])))
    table.note(
        "Recorded traces are put back in all rows; the second score is of the dead ones alone. POCS: hard "
        "thresholds falling from 99 % to 1 % of the largest coefficient in 50 steps, Fourier transform over "
        f"all three axes, padded twice. MWNI and ALFT: slices of {_BAND[0]:g} to {_BAND[1]:g} Hz, one by one; "
        f"noise of {_NOISE:.0%} of the data in the first, waves until {_NOISE:.0%} of a slice are left, at "
        f"most {_SIZES[size][3]}, in the second. No number was chosen with the truth."
    )
    best = max((_POCS, _MWNI, _ALFT), key=table.score)
    table.note(
        f"{best} comes out best. Curved events have broad spectra in space: a transform over all axes sees "
        "that the slices belong together, methods that take slices one by one have to tell signal from gaps "
        "in each of them. The least-squares problems of MWNI are certified by their duality gaps; ALFT is "
        "greedy, and its certificate says what exchanging a wave would gain; POCS proves nothing."
    )
    return table, estimates


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


def _pocs_row(filled: POCSResult, scores: tuple[float, float]) -> Row:
    return Row(
        _POCS, dict(zip(_SCORES, scores, strict=True)), int(np.count_nonzero(filled.x)),
        products=filled.n_matvec + filled.n_rmatvec, seconds=filled.seconds,
    )  # fmt: skip


def _slice_row(
    method: str, found: SliceInterpolation, scores: tuple[float, float], names: tuple[str, ...] = _SCORES
) -> Row:
    statuses = {each[-1].status.name for each in found.results}
    # the status that promises least
    order = ("CONVERGED", "EXHAUSTED")
    status = max(statuses, key=lambda name: order.index(name) if name in order else len(order), default="-")
    return Row(
        method, dict(zip(names, scores, strict=False)), int(np.count_nonzero(found.coefficients)), status,
        "-" if found.worst is None else f"worst slice: {found.worst.certificate}", found.products, found.seconds,
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
    table.row(
        Row("POCS, binned", {_SCORES[0]: snr_db(truth, filled.estimate)}, int(np.count_nonzero(filled.x)),
            products=filled.n_matvec + filled.n_rmatvec, seconds=filled.seconds)
    )  # fmt: skip
    weighted = mwni(binned, live, _DT, band=_BAND, noise=_NOISE)
    options: dict[str, Any] = {"max_wavenumber": 0.5 / spacing, "band": _BAND, "noise": _NOISE}
    found = {
        "MWNI, binned": weighted,
        "ALFT, binned": antileakage(binned[live], grid[live], _DT, grid, **options),
        "ALFT": antileakage(recorded, h, _DT, grid, **options),
    }
    for name, each in found.items():
        estimates[name] = each.estimate
        table.row(_slice_row(name, each, (snr_db(truth, each.estimate), 0.0), _SCORES[:1]))
    table.note(
        f"Binned: each trace is taken to the nearest place of the grid, up to {spacing / 2:g} m away, and traces "
        "that meet are averaged, as methods on a grid need it. ALFT fits its waves at the true positions; "
        "the same method on binned traces shows what the positions are worth."
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
    axes[1, 0].remove()
    for column, name in zip(axes[:, 1:].T, names, strict=True):
        shown = estimates[name][row]
        title = f"{name}: {table.score(name):.1f} dB"
        section(shown, _DT, axes=column[0], x=y, clip=level, signed=False, title=title)
        section(shown - made.traces[row], _DT, axes=column[1], x=y, clip=level, title="error, same clip")
    _tidy(drawing, axes, "y [m]")
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
