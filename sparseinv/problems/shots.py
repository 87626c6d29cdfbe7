"""Missing shots of a real marine gather, interpolated in the frequency-wavenumber domain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.fourier import FFT
from sparseinv.operators.sampling import Restriction
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.table import Row, Study, hold_out
from sparseinv.seismic import Gather, load_gather, mobil_gather, snr_db
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.proximal_gradient import ISTA

Array = np.ndarray[Any, Any]

_CUTOFF = 0.05  # wavenumber [cycles per shot] beyond which coefficients get dear


def load(data: Path | None) -> Gather:
    """Return the gather from a file, a folder, SPARSEINV_DATA, or the pinned source distribution."""
    if data is None and "SPARSEINV_DATA" in os.environ:
        data = Path(os.environ["SPARSEINV_DATA"])
    if data is not None and data.is_dir():
        data = data / "mobil.npy"
        if not data.is_file():
            data = None
    if data is not None:
        return load_gather(data, dt=0.004) if data.suffix == ".npy" else load_gather(data)
    print("  fetching the gather from its pinned source distribution (50 MB, once) ...", flush=True)
    return mobil_gather(download=True)


def studies(data: Path | None = None, size: str = "m", seed: int = 0) -> Iterator[Study]:
    """Yield the study, or say why it is skipped."""
    try:
        gather = load(data)
    except OSError as error:
        print(f"  skipped: {error}\n")
        return
    traces = gather.traces.astype(float)
    traces = traces[:24, :200] if size == "s" else traces
    yield interpolate(traces / np.abs(traces).max(), gather.dt, seed)


def interpolate(truth: Array, dt: float, seed: int) -> Study:
    """Return the study of a gather (shots, samples) of which 40 % of the shots are dropped."""
    shots, samples = truth.shape
    rng = np.random.default_rng(seed)
    dropped = np.sort(rng.choice(np.arange(1, shots - 1), int(0.4 * shots), replace=False))
    kept = np.setdiff1d(np.arange(shots), dropped)
    inner = kept[1:-1]
    held = np.sort(rng.choice(inner, max(kept.size // 5, 1), replace=False))
    used = np.setdiff1d(kept, held)
    # padded by half, so that the last shot is no neighbour of the first
    sizes = (2 * shots if shots < 64 else int(1.5 * shots), samples + samples // 20)
    synthesis = FFT(truth.shape, sizes=sizes).H
    wavenumber = np.abs(np.fft.fftfreq(sizes[0]))[:, None] + np.zeros((1, sizes[1]))
    weights = (1.0 + (wavenumber / _CUTOFF) ** 2).ravel()

    def measured(which: Array) -> tuple[Any, Array]:
        return Restriction(truth.shape, which, axis=0) @ synthesis, truth[which].ravel()

    def section(x: Array) -> Array:
        out: Array = (synthesis @ x).real.reshape(truth.shape)
        out[kept] = truth[kept]
        return out

    def judge(x: Array) -> float:
        predicted = (synthesis @ x).real.reshape(truth.shape)[held]
        return float(((predicted - truth[held]) ** 2).sum())

    A, b = measured(kept)
    part = measured(used)
    top = lam_max(A, b, L1(weights=weights))
    plain = lam_max(A, b, L1())
    zero = np.where(np.isin(np.arange(shots), kept)[:, None], truth, 0.0)
    line = np.array([np.interp(np.arange(shots), kept, truth[kept, t]) for t in range(samples)]).T
    rows = [
        Row("zero fill", "", snr_db(truth[dropped], zero[dropped])),
        Row("linear interpolation", "", snr_db(truth[dropped], line[dropped])),
    ]
    estimates = {"zero fill": zero, "linear interpolation": line}
    factors = (0.01, 0.005, 0.002, 0.001)
    squares = [(4 * f * top) ** 2 / 2 for f in factors]
    methods: list[tuple[str, Any, list[float], Any]] = [
        ("L2, weights", lambda t: L2(t, weights=weights**2), [1e-1, 1e-2, 1e-3, 1e-4], "auto"),
        ("L1, one lambda", lambda t: L1(t), [f * plain for f in factors], "auto"),
        ("L1, weights", lambda t: L1(t, weights=weights), [f * top for f in factors], "auto"),
        ("L0, weights", lambda t: L0(t, weights=weights**2), squares, ISTA()),
    ]
    rule = "lambda: best on 1/5 of the kept shots held out"
    chosen_l1 = top
    for name, penalty, levels, solver in methods:
        chosen, start = hold_out(part, judge, penalty, levels, solver=solver, tol=1e-3, max_iter=60)
        if name == "L1, weights":
            chosen_l1 = chosen
        x0 = None if name.startswith("L0") else start
        result = solve(A, b, penalty(chosen), solver=solver, x0=x0, tol=1e-4, max_iter=600, check_operator=False)
        estimates[name] = section(result.x)
        rows.append(Row(name, rule, snr_db(truth[dropped], estimates[name][dropped]), result))
        if name == "L1, weights":
            first = result.x
    # one reweighting: large coefficients get cheaper, small ones keep their price
    size = np.abs(first)
    cheaper = weights / (1.0 + size / (0.02 * size.max()))
    result = solve(A, b, L1(1.5 * chosen_l1, weights=cheaper), x0=first, tol=1e-4, max_iter=600, check_operator=False)
    estimates["L1, reweighted"] = section(result.x)
    score = snr_db(truth[dropped], estimates["L1, reweighted"][dropped])
    rows.append(Row("L1, reweighted", "weights from the L1 answer", score, result))
    remarks = [
        f"{dropped.size} of {shots} shots dropped; {A.shape[1]} complex coefficients; weights "
        f"1 + (wavenumber / {_CUTOFF})^2.",
        "Neighbouring shots are so alike that linear interpolation is close to the incoherent noise, and one "
        "lambda for all wavenumbers loses to it; one lambda per coefficient does not.",
    ]

    def draw() -> tuple[Any, Any]:
        from sparseinv.plotting import clip_level, figure
        from sparseinv.plotting import section as panel_of

        names = ["zero fill", "linear interpolation", "L2, weights", "L1, weights"]
        canvas, axes = figure(2, 5, size=(14.0, 8.0), sharex=True, sharey=True)
        level = clip_level(truth, 98.0)
        panel_of(truth, dt, axes=axes[0, 0], clip=level, signed=False, title="all shots", xlabel="shot")
        axes[1, 0].axis("off")
        for k, name in enumerate(names, start=1):
            values = estimates[name]
            title = f"{name}\n{snr_db(truth[dropped], values[dropped]):.2f} dB on missing shots"
            panel_of(values, dt, axes=axes[0, k], clip=level, signed=False, title=title, xlabel="shot")
            panel_of(
                values - truth, dt, axes=axes[1, k], clip=level, signed=True, title="error, same clip", xlabel="shot"
            )
        for panel in axes[:, 1:].ravel():
            panel.set_ylabel("")
        axes[1, 1].set_ylabel("time [s]")
        return canvas, axes

    return Study(
        "shots", "Real marine gather, 40 % of the shots missing", "SNR on the missing shots", rows, remarks, draw
    )
