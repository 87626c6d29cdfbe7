"""Deblending of the marine gather of problem B1: the published example of PyLops beside `seismic.deblend`.

    SPARSEINV_DATA=FOLDER python benchmarks/deblend_pylops.py     print the table, write results/deblending.md

PyLops: patches of 20 x 80 samples transformed on 128 x 128 points, 60 iterations of FISTA at levels that fall
as in its tutorial, its own estimate of the step. Ours: the same windows not padded, lambda chosen by hold-out
(told apart), and padded in the same way. Seconds are those of the processor, one thread. Without the data or
without PyLops it says so and ends.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from latency import machine
from threadpoolctl import threadpool_limits

from sparseinv.problems import Missing
from sparseinv.problems.blended_shots import Survey, survey
from sparseinv.seismic import deblend

Array = np.ndarray[Any, Any]

RESULTS = Path(__file__).resolve().parent / "results" / "deblending.md"
DT = 0.004
ROUNDS = 60


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return (processor seconds, answer)."""
    start = time.process_time()
    answer = call()
    return time.process_time() - start, answer


def by_pylops(held: Survey) -> Array:
    """Return the shots as the published example estimates them."""
    import pylops

    shots, samples = held.shots.shape
    blending = pylops.waveeqprocessing.blending.BlendingContinuous(
        samples, 1, shots, DT, held.times, dtype="complex128"
    )
    record = blending @ held.shots.ravel()  # its own record, one sample longer
    window, overlap, padded, half = (20, 80), (10, 40), (128, 128), (128, 65)
    waves = pylops.signalprocessing.FFT2D(window, nffts=padded, real=True)
    patches = pylops.signalprocessing.Patch2D(
        waves.H, (5 * half[0], 24 * half[1]), held.shots.shape, window, overlap, half, tapertype="hanning"
    )
    decay = (np.exp(-0.05 * np.arange(ROUNDS)) + 0.2) / 1.2
    found = pylops.optimization.sparsity.fista(
        blending @ patches, record, niter=ROUNDS, eps=5.0, decay=decay, show=False,
        eigsdict={"niter": 5, "ncv": 5, "tol": 5e-2},
    )[0]  # fmt: skip
    return np.asarray((patches @ found).real.reshape(held.shots.shape))


def compare(held: Survey) -> list[str]:
    """Return the lines of the table."""
    lines = ["| method | unknowns | SNR [dB] | iterations | processor seconds |", "|---|---|---|---|---|"]

    def add(name: str, unknowns: int, snr: float, rounds: int, seconds: float) -> None:
        lines.append(f"| {name} | {unknowns} | {snr:.2f} | {rounds} | {seconds:.1f} |")
        print(lines[-1], flush=True)

    samples = held.shots.shape[1]
    settings: dict[str, Any] = {"window": held.window, "tol": 5e-3, "max_iter": ROUNDS}
    seconds, chosen = timed(lambda: deblend(held.record, held.times, DT, samples, **settings))
    n = chosen.coefficients.size
    add("ours, lambda chosen", n, held.snr(chosen.estimate), chosen.result.n_iter, seconds)
    padded = {"sizes": (128, 128), "step": (10, 40)}
    share = chosen.lam / float(chosen.selection.lams[0])
    for name, extra in (("ours", {}), ("ours, padded", padded)):
        # the same share of the largest level, which follows from one product
        lam = share * largest(held, extra)
        call = partial(deblend, held.record, held.times, DT, samples, lam=lam, **settings, **extra)
        seconds, found = timed(call)
        add(name, found.coefficients.size, held.snr(found.estimate), found.result.n_iter, seconds)
    seconds, estimate = timed(lambda: by_pylops(held))
    add("PyLops", 998_400, held.snr(estimate), ROUNDS, seconds)
    return lines


def largest(held: Survey, extra: dict[str, Any]) -> float:
    """Return the first of the levels among which `deblend` chooses."""
    from sparseinv.seismic import local_plane_waves

    S = local_plane_waves(held.blending, held.window, **extra)
    return 0.1 * float(np.abs((held.blending @ S).rmatvec(held.record.ravel())).max())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 0."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--data", type=Path, help="file mobil.npy or its folder")
    parser.add_argument("--size", choices=("s", "m"), default="m", help="s: small, without PyLops")
    options = parser.parse_args(arguments)
    try:
        held = survey("B1", options.size, 0, options.data)
    except Missing as missing:
        print(f"SKIPPED: {missing}")
        return 0
    if options.size == "s":
        found = deblend(held.record, held.times, DT, held.shots.shape[1], window=held.window, tol=5e-3)
        print(f"{held.snr(found.estimate):.2f} dB")
        return 0
    if find_spec("pylops") is None:
        print("SKIPPED: pylops is missing")
        return 0
    with threadpool_limits(limits=1):
        lines = compare(held)
    RESULTS.write_text(
        "\n".join(["# Deblending", "", f"Machine: {json.dumps(machine())}", "", *lines]) + "\n",
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
