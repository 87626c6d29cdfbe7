"""An electrocardiogram from 30 % of its samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.wavelet import Wavelet
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.table import Row, Study, hold_out
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.base import Solver
from sparseinv.solvers.reweighted import IRL1

Array = np.ndarray[Any, Any]

RATE = 360.0  # samples per second of the recording [Hz]
_SHIFTS = 4  # circular shifts of the wavelet basis, so that no position of a beat is special


def snr(truth: Array, estimate: Array) -> float:
    """Return the signal-to-noise ratio [dB] of an estimate, the mean of the truth not counted as signal."""
    return float(10 * np.log10(((truth - truth.mean()) ** 2).sum() / ((truth - estimate) ** 2).sum()))


def dictionary(n: int) -> tuple[Array, Array]:
    """Return (shifted orthogonal wavelets as columns, level of each column, 0 the coarsest)."""
    wavelet = Wavelet(n, "sym8", 3)
    basis = wavelet.H.columns(np.arange(n))
    columns = np.hstack([np.roll(basis, -k, axis=0) for k in range(_SHIFTS)]) / np.sqrt(_SHIFTS)
    return np.asfortranarray(columns), np.tile(wavelet.levels(), _SHIFTS)


def studies(data: Path | None = None, size: str = "m", seed: int = 0) -> Iterator[Study]:
    """Yield the study; the recording ships with PyWavelets."""
    import pywt

    signal = pywt.data.ecg().astype(float)
    signal = signal[:512] if size == "s" else signal
    n = signal.size
    rng = np.random.default_rng(seed)
    count = int(0.3 * n)
    # one sample at a random place in each of count cells: random, but without gaping holes
    kept = np.unique(np.floor((np.arange(count) + rng.random(count)) * n / count).astype(int))
    held = np.sort(rng.choice(kept.size, kept.size // 5, replace=False))
    used = np.setdiff1d(np.arange(kept.size), held)
    columns, level = dictionary(n)
    A, b = np.asfortranarray(columns[kept]), signal[kept]
    part = (np.asfortranarray(A[used]), b[used])
    weights = 2.0 ** (1.5 * level)  # detail is rare: the finer the scale, the dearer
    top = lam_max(A, b, L1(weights=weights))
    rule = "lambda: best on 1/5 of the samples held out"

    def judge(x: Array) -> float:
        return float(((A[held] @ x - b[held]) ** 2).sum())

    zero = np.zeros(n)
    zero[kept] = b
    line = np.interp(np.arange(n), kept, b)
    rows = [
        Row("zero fill", "", snr(signal, zero)),
        Row("linear interpolation", "", snr(signal, line)),
    ]
    estimates = {"linear interpolation": line}
    factors = (0.03, 0.01, 0.003, 0.001)
    methods: list[tuple[str, Any, list[float], Solver | str]] = [
        ("L2", lambda t: L2(t, weights=weights**2), [10.0, 1.0, 0.1, 0.01, 1e-3], "auto"),
        ("L1", lambda t: L1(t, weights=weights), [f * top for f in factors], "auto"),
        ("L0", lambda t: L0(t, weights=weights**2), [(3 * f * top) ** 2 / 2 for f in factors], IRL1(rounds=1)),
        ("L0, reweighted L1", lambda t: L0(t, weights=weights**2), [(3 * f * top) ** 2 / 2 for f in factors], "auto"),
    ]
    for name, penalty, levels, solver in methods:
        chosen, x0 = hold_out(part, judge, penalty, levels, solver=solver, tol=1e-5)
        # reweighting restarts from scratch on all samples: a warm start would fix its support
        start = None if name.startswith("L0") else x0
        result = solve(A, b, penalty(chosen), solver=solver, x0=start, tol=1e-6)
        estimate = columns @ result.x
        rows.append(Row(name, rule, snr(signal, estimate), result))
        estimates[name] = estimate
    remarks = [
        f"{kept.size} of {n} samples; sym8 wavelets at {_SHIFTS} shifts, {columns.shape[1]} coefficients, "
        "weights 2^(1.5 level).",
    ]

    def draw() -> tuple[Any, Any]:
        from sparseinv.plotting import figure

        names = ["linear interpolation", "L2", "L1"]
        canvas, axes = figure(len(names), 1, size=(9.0, 6.4), sharex=True, sharey=True)
        t = np.arange(n) / RATE
        for panel, name in zip(axes, names, strict=True):
            panel.plot(t, signal, color="0.6", linewidth=2.0, label="recorded")
            panel.plot(t, estimates[name], color="tab:blue", linewidth=0.9, label=name)
            panel.plot(t[kept], b, ".", color="tab:red", markersize=2.5, label="samples used")
            panel.set_title(f"{name}: {snr(signal, estimates[name]):.1f} dB", fontsize=10, loc="left")
            panel.set_ylabel("amplitude [ADC units]")
        axes[0].legend(fontsize=8, ncols=3, loc="upper right")
        axes[-1].set_xlabel("time [s]")
        return canvas, axes

    yield Study(
        "ecg", "ECG recovered from 30 % of its samples", "SNR over all samples", rows, remarks, draw
    )
