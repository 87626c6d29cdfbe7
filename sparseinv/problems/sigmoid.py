"""I2: a section with curved beds and faults, 30 and 50 % of its traces missing at random."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.operators.fourier import FFT
from sparseinv.penalties import L1
from sparseinv.problems.catalogue import Case
from sparseinv.problems.missing_traces import Comparison, Gaps, random_gaps
from sparseinv.problems.report import Demo, Goal, Missing, data_folder
from sparseinv.seismic.balanced_path import BalancedFrame
from sparseinv.seismic.interpolation import interpolate_traces
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.wavelets import ricker_at
from sparseinv.selection.theory import lam_max

Array = np.ndarray[Any, Any]

_SHARES = (0.3, 0.5)
_ASKED = {0.3: (20.3, 18.5, 11.7), 0.5: (16.3, 10.8, 9.5)}  # [dB] curvelets, plane waves, linear
# [dB] of the best level of the path; 0.3 is asked for at the published size, and the twenty to thirty
# missing traces of size s alone spread by as much as 0.7 over ten seeds
_WITHIN = {"s": 0.8, "m": 0.3}


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Return the problem with 30 % of the traces missing, in curvelets."""
    gaps = _gaps(size, seed, data, 0.3)
    S = _curvelets(gaps.truth.shape, size)
    kept = np.broadcast_to(gaps.mask[:, None], gaps.truth.shape).ravel()
    A = BalancedFrame(S, kept)
    b = A.data(gaps.truth.ravel()[kept])

    def score(x: Array) -> Any:
        filled = (S @ x).real.reshape(gaps.truth.shape)
        return gaps.score(np.where(gaps.mask[:, None], gaps.truth, filled))

    level = 3e-3 * lam_max(A, b, L1())
    return Case(id, size, seed, A, b, L1(level), "3e-3 of lam_max", 0.0, score, None, (S.shape[1],))


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem."""
    parts = [_compare(size, seed, data, share, echo) for share in _SHARES]
    goals = tuple(goal for _, more in parts for goal in more)
    shown = ["linear", "POCS f-k", "POCS curvelet", "reweighted L1"]
    figures = {
        f"{id}_{share * 100:.0f}": partial(
            part.draw,
            shown,
            f"{share:.0%} of the traces missing at random; SNR of all traces; L1 in curvelets",
        )
        for share, (part, _) in zip(_SHARES, parts, strict=True)
    }
    return Demo(id, tuple(part.table for part, _ in parts), figures, goals)


def _compare(
    size: str, seed: int, data: Path | None, share: float, echo: bool
) -> tuple[Comparison, list[Goal]]:
    gaps = _gaps(size, seed, data, share)
    shape = gaps.truth.shape
    missing = f"{int((~gaps.mask).sum())} of {gaps.mask.size} traces missing at random"
    both = Comparison(gaps, f"a section of {shape[0]} traces of {shape[1]} samples, {missing}", echo)
    both.baselines()
    both.project("POCS f-k", FFT(shape, sizes=[2 * n for n in shape]).H, n_iter=60)
    S = _curvelets(shape, size)
    both.project("POCS curvelet", S, n_iter=100, last=1e-4)
    found = both.interpolate("reweighted L1", S)
    both.interpolate("L1", S, penalty=L1(found.lam), reweight=False)
    table, reached, goals = both.table, both.table.score("reweighted L1"), []
    chosen = f"Lambda by hold-out of a fifth of the kept traces, for both rows of L1: {reached:.1f} dB"
    if size == "s" or share == _SHARES[0]:  # one of the two is enough at the larger size
        best = _best_of_path(gaps, S, float(found.lams[-1]))
        chosen += f"; the best level of the same path, which only the truth can tell, gives {best:.1f} dB"
        goals.append(
            Goal(f"{share:.0%}: below the best level of the path [dB]", best - reached, _WITHIN[size], False)
        )
    table.note(
        f"{chosen}. Products are those of the last level. Both rows of L1 are in curvelets. "
        "Plain L1 shrinks what it finds; weights that follow the coefficients of the level before do not. "
        "POCS is hard thresholding with falling levels on the same frame, without a certificate and with a "
        "last level set by hand."
    )
    if size == "m":
        curvelet, waves, straight = _ASKED[share]
        goals += [
            Goal(f"{share:.0%}: curvelets [dB]", reached, curvelet),
            Goal(f"{share:.0%}: plane waves, hard thresholds [dB]", table.score("POCS f-k"), waves),
            Goal(f"{share:.0%}: linear [dB]", round(table.score("linear"), 1), straight),
        ]
    else:
        goals.append(Goal(f"{share:.0%}: curvelets over linear [dB]", reached, table.score("linear")))
    return both, goals


def _best_of_path(gaps: Gaps, S: Any, lowest: float) -> float:
    """Return the best SNR on the path down to a level: what the truth would have chosen."""
    seen: list[float] = []

    def judge(_: float, section: Array) -> None:
        seen.append(snr_db(gaps.truth, np.where(gaps.mask[:, None], gaps.truth, section)))

    interpolate_traces(gaps.recorded, gaps.mask, dictionary=S, penalty=L1(lowest), callback=judge)
    return max(seen)


def _curvelets(shape: tuple[int, ...], size: str) -> Any:
    try:
        from sparseinv.operators.curvelet import Curvelet

        return Curvelet(shape, scales=4 if size == "m" else 3).H
    except ImportError as absent:
        raise Missing(str(absent)) from None


def _gaps(size: str, seed: int, data: Path | None, share: float) -> Gaps:
    truth = _section(data) if size == "m" else curved_section()
    dropped = int(share * truth.shape[0])
    return Gaps(truth, random_gaps(truth.shape[0], dropped, seed, ends=size != "m"))


def _section(data: Path | None) -> Array:
    folder = data_folder(data)
    file = None if folder is None else folder if folder.is_file() else folder / "sigmoid.npz"
    if file is None or not file.is_file():
        raise Missing(
            "sigmoid.npz was not found: pass --data FOLDER or set SPARSEINV_DATA to the folder that holds it "
            "(testdata of the source distribution of PyLops 2.8.0)"
        )
    with np.load(file, allow_pickle=False) as archive:
        return np.asarray(archive["sigmoid"], dtype=np.float64)


def curved_section(traces: int = 64, samples: int = 64, dt: float = 0.004) -> Array:
    """Return a synthetic section: a flat bed on top of curved ones.

    It has no fault: where the one trace beside a fault is missing nothing predicts it, and on a line as short
    as this one that trace decides about all scores.
    """
    x, t = np.arange(traces) / traces, np.arange(samples) * dt
    out = np.zeros((traces, samples))
    for depth, bend, amplitude in (
        (0.03, 0.0, 0.7), (0.07, 0.01, -1.0), (0.11, 0.03, 0.8), (0.15, 0.05, -0.6), (0.2, 0.06, 1.0),
    ):  # fmt: skip
        arrival = depth + bend * np.sin(2.5 * np.pi * x)
        out += amplitude * ricker_at(t - arrival[:, None], 30.0)
    return out
