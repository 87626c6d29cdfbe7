"""I1: three linear events from 60 % of their traces, where a smooth L2 fit beats sparse plane waves."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve_many
from sparseinv.operators.fourier import FFT
from sparseinv.penalties import L1, L2
from sparseinv.problems.catalogue import Case
from sparseinv.problems.missing_traces import Comparison, Gaps, random_gaps
from sparseinv.problems.report import Demo, Goal
from sparseinv.result import Result
from sparseinv.seismic.balanced_path import BalancedFrame
from sparseinv.seismic.reflectivity import linear_events
from sparseinv.selection.theory import lam_max

Array = np.ndarray[Any, Any]

_DX, _DT, _F0, _SPEED = 2.0, 0.004, 20.0, 1500.0  # [m], [s], [Hz], [m/s]
_ANGLES = (0.0, 30.0, -80.0)  # [degrees]: slopes are sin(angle) / speed
_ASKED_FK, _ASKED_SMOOTH = 21.9, 39.8  # [dB]
_PADDED = {"s": (140, 160), "m": (256, 256)}


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Return the problem in plane waves."""
    gaps = _gaps(seed)
    S = FFT(gaps.truth.shape, sizes=_PADDED[size]).H
    kept = np.broadcast_to(gaps.mask[:, None], gaps.truth.shape).ravel()
    A = BalancedFrame(S, kept)
    b = A.data(gaps.truth.ravel()[kept])

    def score(x: Array) -> Any:
        filled = (S @ x).real.reshape(gaps.truth.shape)
        return gaps.score(np.where(gaps.mask[:, None], gaps.truth, filled))

    return Case(
        id,
        size,
        seed,
        A,
        b,
        L1(1e-3 * lam_max(A, b, L1())),
        "1e-3 of lam_max",
        0.0,
        score,
        None,
        _PADDED[size],
    )


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem."""
    gaps = _gaps(seed)
    count, samples = gaps.truth.shape
    both = Comparison(
        gaps,
        f"three linear events on {count} traces of {samples} samples, {_DX:g} m apart, Ricker {_F0:g} Hz; "
        f"{int(gaps.mask.sum())} traces kept",
        echo,
    )
    both.baselines()
    smooth, result = second_derivative_fit(gaps)
    both.estimates["L2 2nd derivative"] = smooth
    live = int(np.count_nonzero(smooth))
    both.table.solved("L2 2nd derivative", result, *gaps.scores(smooth), nonzeros=live)
    S = FFT(gaps.truth.shape, sizes=_PADDED[size]).H
    both.project("POCS f-k", S, n_iter=60, last=1e-4)
    both.interpolate("L1", S, reweight=False)
    found = both.interpolate("reweighted L1", S)
    table = both.table
    sparse = table.score("reweighted L1")
    best = table.score("L2 2nd derivative")
    table.note(
        f"The traces are {_DX:g} m apart and nothing is aliased, so that a section with small second "
        f"derivatives from trace to trace is nearly the truth: {best:.1f} dB by one linear system per sample "
        "(penalty and damping as in the tutorial that set this problem, whose mask gave 39.8 dB and 21.9 dB "
        f"with plane waves; here the first and last trace are kept). Sparse plane waves reach {sparse:.1f} "
        "dB: a straight event that ends at the edge of the section is not sparse in them. Lambda: "
        f"{found.rule}."
    )
    goals = (
        Goal("sparse plane waves [dB]", sparse, _ASKED_FK),
        Goal("L2 2nd derivative [dB]", best, _ASKED_SMOOTH),
    )
    shown = ["linear", "L2 2nd derivative", "L1", "reweighted L1"]
    title = f"{int((~gaps.mask).sum())} of {count} traces missing at random; SNR of all traces"
    return Demo(id, (table,), {id: partial(both.draw, shown, title)}, goals)


def second_derivative_fit(gaps: Gaps, weight: float = 0.1, damping: float = 1e-4) -> tuple[Array, Result]:
    """Return the y with the least ||M y - d||^2 + weight ||D y||^2 + damping ||y||^2, and the worst result.

    D is the second difference from trace to trace; all samples share one system.
    """
    count, samples = gaps.truth.shape
    D = np.diff(np.eye(count), n=2, axis=0)
    A = np.vstack([np.eye(count)[gaps.mask], math.sqrt(weight) * D])
    B = np.vstack([gaps.truth[gaps.mask], np.zeros((count - 2, samples))])
    batch = solve_many(A, B, L2(damping))
    worst = int(np.argmax(batch.relative))
    return batch.x, batch[worst]


def _gaps(seed: int) -> Gaps:
    slopes = [math.sin(math.radians(angle)) / _SPEED for angle in _ANGLES]
    truth = linear_events(
        80,
        _DT,
        _DX * np.arange(70.0),
        times=[0.1, 0.2, 0.28],
        slopes=slopes,
        amplitudes=[1.0, -2.0, 0.5],
        f0=_F0,
    )
    return Gaps(truth, random_gaps(70, 28, seed, ends=True), _DT)
