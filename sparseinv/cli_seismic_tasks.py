"""What ``sparseinv seismic`` can do to a gather: options and work of each task."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.seismic.gather import Gather
from sparseinv.seismic.interruption import kept
from sparseinv.seismic.io import check_format, load_array, load_gather

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Hold what a command makes of a gather.

    Attributes
    ----------
    gather : Gather
        What is written to the output file.
    fit : ndarray, shape of the input
        What the model explains of the input.
    rule : str
        Level and how it was chosen, in words.
    results : tuple of Result
        Every solve: status, certificate, products, seconds.
    facts : dict
        More to report.
    spikes : bool
        Whether the output is a reflectivity.
    curve : tuple (levels, errors, chosen), or None
        What the choice of lambda compared.
    shown : tuple (data, fit), or None
        What the report draws in place of the input and the fit.
    interrupted : bool
        Whether Ctrl-C came, so that this is what was found until then.
    """

    gather: Gather
    fit: Array
    rule: str
    results: Sequence[Any]
    facts: dict[str, str] = field(default_factory=dict)
    spikes: bool = False
    curve: tuple[Array, Array, float] | None = None
    shown: tuple[Array, Array] | None = None
    interrupted: bool = False


# --- deconvolution -----------------------------------------------------------------------------------


def _decon_options(task: argparse.ArgumentParser) -> None:
    shape = task.add_mutually_exclusive_group(required=True)
    shape.add_argument("--wavelet", type=Path, help="file with the wavelet: .npy, .txt, .su, .sgy")
    shape.add_argument("--ricker", type=float, metavar="F0", help="Ricker wavelet of this frequency [Hz]")
    shape.add_argument(
        "--ormsby", type=_numbers(4), metavar="F,F,F,F", help="Ormsby wavelet, its corners [Hz]"
    )
    task.add_argument(
        "--zero-time", type=int, help="sample of the wavelet's zero time; the middle by default"
    )
    task.add_argument("--penalty", choices=["l1", "l0"], default="l1")
    task.add_argument("--coupled", action="store_true", help="reflectors at the same times in all traces")
    task.add_argument("--common", action="store_true", help="one level for all traces")
    task.add_argument("--biased", action="store_true", help="write the amplitudes of L1 without the refit")


def _decon(options: argparse.Namespace, gather: Gather) -> Outcome:
    from sparseinv.penalties import L0, L1
    from sparseinv.seismic.deconvolution import deconvolve

    check_format(options.output, gather)
    wavelet, center = _wavelet(options, gather.dt)
    answer, stopped = kept(
        deconvolve, gather.traces, wavelet, gather.dt, {"l0": L0, "l1": L1}[options.penalty](options.lam),
        offset=center, coupled=options.coupled, common=options.common, refit=not options.biased,
        tol=options.tol, max_time=options.max_time, progress=options.progress,
    )  # fmt: skip
    low, high = float(np.min(answer.lam)), float(np.max(answer.lam))
    level = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return Outcome(
        gather.with_traces(answer.refitted), answer.fit, f"{level}: {answer.rule}", answer.results,
        {"amplitudes": "as L1 shrinks them" if options.biased else "refitted on the support"}, spikes=True,
        interrupted=stopped,
    )  # fmt: skip


def _wavelet(options: argparse.Namespace, dt: float) -> tuple[Array, int | None]:
    """Return the wavelet and its zero time, from a file or by formula."""
    from sparseinv.seismic.wavelets import ormsby, ricker

    if options.ricker is not None:
        wavelet, _, center = ricker(options.ricker, dt)
        return wavelet, center if options.zero_time is None else options.zero_time
    if options.ormsby is not None:
        f1, f2, f3, f4 = options.ormsby
        wavelet, _, center = ormsby(f1, f2, f3, f4, dt)
        return wavelet, center if options.zero_time is None else options.zero_time
    path: Path = options.wavelet
    if path.suffix.lower() == ".txt":
        return _vector(path), options.zero_time
    file = load_gather(path, dt=dt if path.suffix.lower() in (".npy", ".npz") else None)
    if file.traces.shape[0] != 1:
        raise ValueError(f"{path.name} holds {file.traces.shape[0]} traces, but one wavelet is needed")
    if abs(file.dt - dt) > 1e-6 * dt:
        raise ValueError(
            f"{path.name} is sampled at {file.dt:g} s, the traces at {dt:g} s; resample one of them"
        )
    return file.traces[0], options.zero_time


# --- interpolation -----------------------------------------------------------------------------------


def _interpolate_options(task: argparse.ArgumentParser) -> None:
    task.add_argument("--dictionary", choices=["curvelet", "fk"], default="curvelet")
    task.add_argument("--penalty", choices=["reweighted", "l1", "l0"], default="reweighted")
    task.add_argument(
        "--mask", type=Path, help="file with 1 for traces to use, 0 for those to fill: .npy, .txt"
    )
    task.add_argument("--grid", type=float, metavar="DX", help="fill offsets missing on a grid of DX [m]")
    task.add_argument("--denoise", action="store_true", help="replace recorded traces, too")
    task.add_argument(
        "--held", type=float, default=0.2, help="share of traces held out to choose lambda (0.2)"
    )


def _interpolate(options: argparse.Namespace, gather: Gather) -> Outcome:
    from sparseinv.penalties import L0, L1
    from sparseinv.seismic.interpolation import interpolate_traces

    mask = None
    if options.grid is not None:
        gather, mask = gather.on_grid(options.grid)
    check_format(options.output, gather)
    if options.mask is not None:
        given = _vector(options.mask) != 0
        if given.shape != (gather.traces.shape[0],):
            raise ValueError(
                f"{options.mask.name} holds {given.size} values for {gather.traces.shape[0]} traces"
            )
        mask = given if mask is None else mask & given
    penalty = L0(options.lam) if options.penalty == "l0" else L1(options.lam)
    found, stopped = kept(
        interpolate_traces, gather.traces, mask, dictionary=options.dictionary, penalty=penalty,
        reweight=options.penalty == "reweighted",
        keep="denoised" if options.denoise else "recorded", held=options.held, tol=options.tol,
        max_time=options.max_time,
    )  # fmt: skip
    fit = np.asarray((found.synthesis @ found.x).real).reshape(gather.traces.shape)
    known = found.mask[:, None]
    data = np.where(known, gather.traces, 0.0)
    return Outcome(
        gather.with_traces(found.estimate), np.where(known, fit, 0.0), f"{found.lam:.4g}: {found.rule}",
        [found.result], {"filled": f"{int((~found.mask).sum())} of {found.mask.size} traces"},
        curve=(found.lams, found.errors, found.lam) if found.lams.size > 1 else None,
        shown=(data, np.where(known, fit, 0.0)), interrupted=stopped,
    )  # fmt: skip


# --- multiples ---------------------------------------------------------------------------------------


def _radon_options(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--moveouts", type=_numbers(3), metavar="FIRST,LAST,COUNT", required=True,
        help="panel: moveouts at the far offset [s] (slopes [s/m] for lines), after normal moveout",
    )  # fmt: skip
    task.add_argument("--cut", type=float, required=True, help="events with more moveout are multiples")
    task.add_argument("--curve", choices=["parabolic", "linear"], default="parabolic")
    task.add_argument("--band", type=_numbers(2), metavar="LOW,HIGH", help="frequencies of the panel [Hz]")
    task.add_argument("--reweight", type=int, default=1, help="rounds of reweighting after L1 (1)")
    task.add_argument(
        "--velocities", type=_numbers(), metavar="T,V,T,V,...",
        help="times [s] and velocities [m/s] of the primaries: moveout is corrected, and put back after",
    )  # fmt: skip
    task.add_argument("--offsets", type=Path, help="file with offsets [m], .npy or .txt, instead of headers")
    task.add_argument("--write", choices=["primaries", "multiples"], default="primaries")


def _radon(options: argparse.Namespace, gather: Gather) -> Outcome:
    from sparseinv.penalties import L1
    from sparseinv.seismic.radon_filter import demultiple

    first, last, count = options.moveouts
    if count != int(count) or count < 2:
        raise ValueError(f"--moveouts asks for {count:g} moveouts, but a whole number from 2 on is needed")
    if options.offsets is not None:
        offsets = _vector(options.offsets)
    elif gather.offsets is not None and np.ptp(gather.offsets) > 0:
        offsets = gather.offsets
    else:
        raise ValueError(f"{options.input.name} states no offsets; pass --offsets FILE")
    check_format(options.output, gather)
    flat, bent = _moveout(options.velocities, gather, offsets)
    split, stopped = kept(
        demultiple, flat, offsets, gather.dt, np.linspace(first, last, int(count)), options.cut,
        options.curve, penalty=L1(options.lam), reweight=options.reweight, tol=options.tol,
        max_time=options.max_time, band=None if options.band is None else tuple(options.band),
    )  # fmt: skip
    whole = _energy(gather.traces) or 1.0
    multiples = bent(split.multiples)
    # subtracted where they were recorded: what moveout correction does to noise and stretch stays out
    primaries = np.where(gather.traces == 0.0, 0.0, gather.traces - multiples)
    chosen = primaries if options.write == "primaries" else multiples
    found = split.radon
    facts = {
        "cut": f"moveout over {options.cut:g}, {int(count)} moveouts from {first:g} to {last:g}",
        "written are": options.write,
        "multiples": f"{100 * _energy(multiples) / whole:.2f} % of the energy",
    }
    return Outcome(
        gather.with_traces(chosen),
        bent(found.gather()),
        f"{found.lam:.4g}: {found.rule}",
        [found.result],
        facts,
        interrupted=stopped,
    )


def _moveout(
    pairs: list[float] | None, gather: Gather, offsets: Array
) -> tuple[Array, Callable[[Array], Array]]:
    """Return the gather after normal moveout, and the function that takes a corrected gather back."""
    from sparseinv.seismic.moveout import normal_moveout

    if pairs is None:
        return gather.traces, lambda corrected: corrected
    if len(pairs) < 2 or len(pairs) % 2:
        raise ValueError("--velocities needs pairs of a time [s] and a velocity [m/s], T,V,T,V,...")
    times, velocities = pairs[::2], pairs[1::2]
    flat = normal_moveout(gather.traces, offsets, gather.dt, times, velocities)
    return flat, lambda corrected: normal_moveout(
        corrected, offsets, gather.dt, times, velocities, inverse=True
    )


# --- deblending --------------------------------------------------------------------------------------


def _deblend_options(task: argparse.ArgumentParser) -> None:
    task.add_argument("--times", type=Path, required=True, help="file with ignition times [s], .npy or .txt")
    task.add_argument("--samples", type=int, required=True, help="samples of a shot")
    task.add_argument("--window", type=_whole, metavar="SHOTS,SAMPLES", default=(20, 80), help="(20,80)")
    task.add_argument("--step", type=_whole, metavar="SHOTS,SAMPLES", help="distance of windows; a half")
    task.add_argument("--sizes", type=_whole, metavar="SHOTS,SAMPLES", help="padded sizes; not padded")
    task.add_argument("--max-iter", type=int, default=200, help="iterations of the solver (200)")


def _deblend(options: argparse.Namespace, gather: Gather) -> Outcome:
    from sparseinv.operators.blending import Blending
    from sparseinv.seismic.deblending import deblend

    if gather.traces.shape[0] != 1:
        raise ValueError(
            f"{options.input.name} holds {gather.traces.shape[0]} traces, but the continuous record of one "
            "receiver is needed"
        )
    record, times = gather.traces[0], _vector(options.times)
    samples = validation.count(options.samples, "--samples", least=1)
    check_format(options.output, Gather(np.zeros((times.size, samples)), gather.dt))
    found, stopped = kept(
        deblend, record, times, gather.dt, options.samples, window=options.window, step=options.step,
        lam=options.lam, sizes=options.sizes, tol=options.tol, max_iter=options.max_iter,
        max_time=options.max_time,
    )  # fmt: skip
    blending = Blending((times.size, options.samples), times, gather.dt, n_record=record.size)
    fit = np.asarray(blending @ found.estimate.ravel().astype(float))
    curve = None
    if found.selection is not None and found.selection.lams.size > 1:
        curve = (found.selection.lams, found.selection.criterion, found.lam)
    combed = (np.asarray(blending.H @ v).reshape(times.size, -1) for v in (record.astype(float), fit))
    data, explained = combed
    return Outcome(
        Gather(found.estimate, gather.dt), fit[None, :], f"{found.lam:.4g}: {found.rule}", [found.result],
        {"shots": f"{times.size} of {options.samples} samples", "drawn": "the record cut at ignition times"},
        curve=curve, shown=(data, explained), interrupted=stopped,
    )  # fmt: skip


def _vector(path: Path) -> Array:
    """Return the numbers of a .npy or text file."""
    if path.suffix.lower() == ".npy":
        return load_array(path).reshape(-1)
    lines = path.read_text(encoding="utf-8").splitlines()
    words = " ".join(line.partition("#")[0] for line in lines).replace(",", " ").split()
    try:
        numbers = np.array(words, dtype=float)
    except ValueError as error:
        raise ValueError(f"{path.name} holds something that is no number: {error}") from None
    if numbers.size == 0:
        raise ValueError(f"{path.name} holds no numbers")
    return numbers


def _energy(array: Array) -> float:
    return float(np.linalg.norm(array)) ** 2


def _whole(text: str) -> tuple[int, ...]:
    """Read two whole numbers separated by a comma."""
    numbers = _numbers(2)(text)
    if any(number != int(number) for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} holds fractions, but whole numbers are needed")
    return tuple(int(number) for number in numbers)


def _numbers(count: int | None = None) -> Callable[[str], list[float]]:
    """Return a reader of numbers separated by commas."""

    def read(text: str) -> list[float]:
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers separated by commas") from None
        if not np.isfinite(numbers).all():
            raise argparse.ArgumentTypeError(f"{text!r} holds a number that is not finite")
        if count is not None and len(numbers) != count:
            raise argparse.ArgumentTypeError(f"{text!r} holds {len(numbers)} numbers, but {count} are needed")
        return numbers

    return read


#: options of which a command takes one, and those that describe the one: of a parameter file all of them are
#: put aside for one on the command line
EXCLUSIVE = ((("--wavelet", "--ricker", "--ormsby"), ("--zero-time",)),)

#: name of each task: summary, what adds its options, what does the work
TASKS: dict[str, tuple[str, Callable[..., None], Callable[..., Outcome]]] = {
    "decon": ("find the sparse reflectivity under a known wavelet", _decon_options, _decon),
    "interpolate": (
        "fill missing traces by sparse curvelets or plane waves",
        _interpolate_options,
        _interpolate,
    ),
    "radon": ("remove multiples by their moveout, in a sparse Radon panel", _radon_options, _radon),
    "deblend": ("separate shots that overlap in a continuous record", _deblend_options, _deblend),
}
