"""Sparse-spike deconvolution: a synthetic gather, and a real stacked section where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve
from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L0, L1, L2, Penalty
from sparseinv.problems.table import Row, Study
from sparseinv.seismic import read_su, ricker, score_spikes, snr_db
from sparseinv.solvers.base import Solver
from sparseinv.solvers.reweighted import IRLS

Array = np.ndarray[Any, Any]


def block_matrix(wavelet: Array, center: int, traces: int, samples: int) -> Any:
    """Return the convolution of every trace as one sparse matrix."""
    from scipy import sparse

    one = Convolution(samples, wavelet, offset=center).columns(np.arange(samples))
    return sparse.csc_array(sparse.kron(sparse.identity(traces), sparse.csc_array(one)))


def studies(data: Path | None = None, size: str = "m", seed: int = 0) -> Iterator[Study]:
    """Yield the synthetic gather, then the stacked section if ``data`` or SPARSEINV_DATA has it."""
    yield synthetic(size, seed)
    folder = data or (Path(os.environ["SPARSEINV_DATA"]) if "SPARSEINV_DATA" in os.environ else None)
    names = ("small_stack.su", "wavelet_for_small_stack.su")
    if folder is None or not all((folder / name).is_file() for name in names):
        print(
            f"  skipped: the real stacked section needs {names[0]} and {names[1]} in the folder given with "
            "--data or SPARSEINV_DATA\n"
        )
        return
    yield stack(folder / names[0], folder / names[1])


def synthetic(size: str, seed: int) -> Study:
    """Return the study of a gather with known reflectivity."""
    traces, samples, dt = (6, 128, 0.004) if size == "s" else (16, 256, 0.004)
    rng = np.random.default_rng(seed)
    wavelet, _, center = ricker(25.0, dt)
    shape = (traces, samples)
    truth = np.where(rng.random(shape) < 0.05, rng.standard_normal(shape), 0.0)
    A = block_matrix(wavelet, center, traces, samples)
    clean = A @ truth.ravel()
    sigma = 0.05 * np.abs(clean).max()
    b = clean + sigma * rng.standard_normal(clean.size)
    runs: list[tuple[str, str, Penalty, Solver | str]] = [
        ("L2", "generalised cross-validation", L2(), "auto"),
        ("L1", "pivotal", L1(), "auto"),
        ("L0, reweighted L1", "sigma^2 log n", L0(), "auto"),
        ("L0, reweighted L2", "sigma^2 log n", L0(), IRLS()),
    ]
    rows = [Row("data as they are", "", snr_db(truth, b.reshape(shape)))]
    estimates: dict[str, Array] = {}
    remarks = []
    for name, rule, penalty, solver in runs:
        result = solve(A, b, penalty, solver=solver)
        estimates[name] = result.x.reshape(shape)
        score = score_spikes(truth, estimates[name], threshold=0.1)
        rows.append(Row(name, f"lambda from the data: {rule}", snr_db(truth, estimates[name]), result))
        remarks.append(
            f"{name}: spike F1 {score.f1:.2f} (one sample of tolerance, threshold 0.1), "
            f"{score.n_matched} of {score.n_truth} spikes found, {score.n_estimate} reported"
        )

    def draw() -> tuple[Any, Any]:
        from sparseinv.plotting import figure, section

        panels = {"data": b.reshape(shape), "truth": truth, **estimates}
        canvas, axes = figure(1, len(panels), size=(2.3 * len(panels), 4.6), sharey=True)
        for panel, (name, values) in zip(axes, panels.items(), strict=True):
            seen = name in estimates
            title = f"{name}\n{snr_db(truth, values):.1f} dB" if seen else f"{name}\n "
            # a spike narrower than a pixel would vanish: wiggles show it
            section(values, dt, axes=panel, kind="wiggle", clip=1.5, title=title)
            if panel is not axes[0]:
                panel.set_ylabel("")
        return canvas, axes

    return Study(
        "spikes", f"Deconvolution of {traces} traces, 25 Hz Ricker wavelet, 5 % noise",
        "SNR of the reflectivity", rows, remarks, draw,
    )  # fmt: skip


def stack(section_file: Path, wavelet_file: Path) -> Study:
    """Return the study of a real section, for which there is no truth.

    What sparsity buys is judged by parsimony: how well the largest coefficients alone explain the data.
    """
    gather = read_su(section_file)
    wavelet = read_su(wavelet_file).traces[0].astype(float)
    data = gather.traces.astype(float)
    A = block_matrix(wavelet, wavelet.size // 2, *data.shape)
    b = data.ravel()
    runs = [
        ("L2", "generalised cross-validation", L2()),
        ("L1", "given: lam = 0.55", L1(0.55)),
        ("L0, reweighted L1", "given: the threshold of L1", L0(0.55**2 / 2 / (wavelet @ wavelet))),
    ]
    results = {name: solve(A, b, penalty) for name, _, penalty in runs}
    budget = results["L1"].support.size

    def explained(x: Array) -> float:
        largest = np.zeros_like(x)
        keep = np.argsort(np.abs(x))[-budget:]
        largest[keep] = x[keep]
        return snr_db(b, A @ largest)

    rows = [Row("zero model", "", 0.0)]
    rows += [Row(name, rule, explained(results[name].x), results[name]) for name, rule, _ in runs]
    residual = float(np.linalg.norm(A @ results["L1"].x - b) / np.linalg.norm(b))
    remarks = [
        f"L1 at lam = 0.55: objective {results['L1'].objective:.2f}, relative residual {residual:.3f}.",
        "L2 fits the data best when all of its coefficients are used, but spreads every reflector over "
        "many of them; the sparse answers say as much with few.",
    ]

    def draw() -> tuple[Any, Any]:
        from sparseinv.plotting import figure, section

        canvas, axes = figure(1, 4, size=(11.0, 4.2), sharey=True)
        section(data, gather.dt, axes=axes[0], kind="wiggle", title="stacked section (data)")
        for panel, (name, result) in zip(axes[1:], results.items(), strict=True):
            values = result.x.reshape(data.shape)
            title = f"{name}, {result.support.size} coefficients"
            section(values, gather.dt, axes=panel, kind="wiggle", title=title, clip=np.abs(values).max() / 1.5)
            panel.set_ylabel("")
        return canvas, axes

    return Study(
        "stack", "Deconvolution of a real stacked section (20 traces, 2 ms)",
        f"SNR of the data explained by the {budget} largest coefficients", rows, remarks, draw,
    )  # fmt: skip
