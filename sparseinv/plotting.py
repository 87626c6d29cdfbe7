"""Figures: sections, traces, convergence. Every function returns (figure, axes) and shows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None, **options: Any
) -> Any:
    """Return (figure, axes) that can be saved without a display.

    Parameters
    ----------
    rows, columns : int
        Number of panels.
    size : tuple of float, optional
        Width and height [inch].
    **options
        Passed to ``Figure.subplots``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(figsize=size or (4.2 * columns, 3.4 * rows), layout="constrained", dpi=130)
    FigureCanvasAgg(canvas)
    return canvas, canvas.subplots(rows, columns, **options)


def clip_level(section: Array, perc: float = 99.0) -> float:
    """Return the percentile of abs(section) at which colours saturate, a positive number."""
    level = float(np.percentile(np.abs(section), perc))
    return level if level > 0 else float(np.abs(section).max()) or 1.0


def section(
    data: Array, dt: float, *, axes: Any = None, x: Array | None = None, kind: str = "density",
    clip: float | None = None, perc: float = 99.0, signed: bool = True, title: str = "",
    xlabel: str = "trace", t0: float = 0.0,
) -> Any:  # fmt: skip
    """Draw a gather with time downwards.

    Parameters
    ----------
    data : ndarray, shape (n_traces, n_samples)
        One trace per row.
    dt : float
        Sampling interval [s].
    axes : matplotlib axes, optional
        Where to draw; a new figure if None.
    x : ndarray, optional
        Position of each trace; 0, 1, ... if None.
    kind : {"density", "wiggle"}
        Grey or red-blue map, or wiggles with positive lobes filled.
    clip : float, optional
        Amplitude at which colours saturate; the ``perc`` percentile of abs(data) if None. Give the same
        number to panels that are compared.
    signed : bool
        Red-blue map (models, residuals) instead of grey (data).
    title, xlabel : str
        Texts.
    t0 : float
        Time of the first sample [s].

    Returns
    -------
    figure, axes
    """
    if kind not in ("density", "wiggle"):
        raise ValueError(f"kind is {kind!r}, but 'density' or 'wiggle' is needed")
    data = np.asarray(data)
    if data.ndim != 2:
        raise ValueError(f"data has shape {data.shape}, but (n_traces, n_samples) is needed")
    if axes is None:
        _, axes = figure()
    count, samples = data.shape
    x = np.arange(count) if x is None else np.asarray(x)
    level = clip_level(data, perc) if clip is None else clip
    step = float(np.median(np.diff(x))) if count > 1 else 1.0
    if kind == "density":
        axes.imshow(
            data.T, cmap="RdBu_r" if signed else "gray", vmin=-level, vmax=level, aspect="auto",
            interpolation="none",
            extent=(x[0] - step / 2, x[-1] + step / 2, t0 + (samples - 0.5) * dt, t0 - 0.5 * dt),
        )  # fmt: skip
    else:
        t = t0 + np.arange(samples) * dt
        for position, trace in zip(x, data, strict=True):
            excursion = position + np.clip(trace / level, -1.5, 1.5) * 0.7 * step
            axes.plot(excursion, t, color="black", linewidth=0.5)
            axes.fill_betweenx(
                t,
                position,
                excursion,
                where=excursion > position,
                color="black",
                linewidth=0,
                interpolate=True,
            )
        axes.set_ylim(t[-1], t[0])
        axes.set_xlim(x[0] - step, x[-1] + step)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("time [s]")
    if title:
        axes.set_title(title, fontsize=9)
    return axes.figure, axes


def convergence(histories: dict[str, Any], *, axes: Any = None, against: str = "products") -> Any:
    """Draw certificate.relative of several runs against products, iterations or seconds.

    Parameters
    ----------
    histories : dict
        Name of each run and its ``result.history``.
    axes : matplotlib axes, optional
        Where to draw; a new figure if None.
    against : {"products", "n_iter", "seconds"}
        Horizontal axis.

    Returns
    -------
    figure, axes
    """
    labels = {"products": "products with A and A^H", "n_iter": "iterations", "seconds": "time [s]"}
    if against not in labels:
        raise ValueError(f"against is {against!r}, but one of {', '.join(labels)} is needed")
    if axes is None:
        _, axes = figure()
    for name, history in histories.items():
        values = np.maximum(history.relative, 1e-17)
        axes.semilogy(getattr(history, against), values, marker=".", markersize=3, linewidth=1, label=name)
    axes.set_xlabel(labels[against])
    axes.set_ylabel("certificate / (1/2 ||b||²)")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    return axes.figure, axes


def spikes(truth: Array, estimates: dict[str, Array], dt: float, *, axes: Sequence[Any] | None = None) -> Any:
    """Draw a true spike train and estimates of it, one panel each, on the same scale.

    Parameters
    ----------
    truth : ndarray, shape (n,)
        True coefficients.
    estimates : dict
        Name and coefficients of each estimate.
    dt : float
        Sampling interval [s].
    axes : sequence of matplotlib axes, optional
        One per estimate; a new figure if None.

    Returns
    -------
    figure, axes
    """
    if axes is None:
        _, grid = figure(len(estimates), 1, size=(7.0, 1.7 * len(estimates)), sharex=True, squeeze=False)
        axes = list(np.ravel(grid))
    t = np.arange(truth.size) * dt
    level = 1.15 * float(np.abs(truth).max() or 1.0)
    where = np.flatnonzero(truth)
    for panel, (name, estimate) in zip(axes, estimates.items(), strict=True):
        panel.vlines(t, 0, estimate, color="tab:blue", linewidth=1.0)
        panel.plot(
            t[where], truth[where], "o", color="tab:red", markersize=3, fillstyle="none", label="truth"
        )
        panel.axhline(0, color="black", linewidth=0.5)
        panel.set_ylim(-level, level)
        panel.set_title(name, fontsize=9, loc="left")
    axes[0].legend(fontsize=7, loc="upper right")
    axes[-1].set_xlabel("time [s]")
    return axes[0].figure, axes
