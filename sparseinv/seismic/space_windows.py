"""Interpolation in overlapping windows of traces, inside which curved events are nearly straight."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import whole_numbers
from sparseinv.seismic.frequency_slices import real_traces
from sparseinv.seismic.interruption import answered, kept

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class WindowedInterpolation:
    """Hold traces filled window by window.

    Attributes
    ----------
    estimate : ndarray, shape (*grid, n_samples)
        Blended windows; recorded traces as they are.
    pieces : tuple
        What the method returned for each window.
    corners : tuple of tuple of int
        First trace of each window along each axis.
    complete : bool
        Whether every window with a recorded trace was filled; not where Ctrl-C ended the work.
    """

    estimate: Array
    pieces: tuple[Any, ...]
    corners: tuple[tuple[int, ...], ...]
    complete: bool = True

    @property
    def success(self) -> bool:
        """Whether every window has an answer that says success; False for methods that certify nothing."""
        return self.complete and all(bool(getattr(piece, "success", False)) for piece in self.pieces)


def in_windows(
    fill: Callable[[Array, Array], Any],
    traces: Any,
    mask: Any,
    *,
    window: int | Sequence[int],
    overlap: float = 0.25,
) -> WindowedInterpolation:
    """Fill dead traces in overlapping windows, and blend the windows by tapers.

    Parameters
    ----------
    fill : callable
        Called with the traces of a window, shape (*window, n_samples), zero where dead, and its mask, shape
        window; returns an array of the same shape, or an object with it as ``estimate``.
    traces : array_like, shape (*grid, n_samples)
        Real traces, time last; dead ones are not read.
    mask : array_like of bool, shape grid
        True where a trace was recorded.
    window : int or tuple of int
        Traces of a window along each axis, >= 2; a grid that is shorter has one window.
    overlap : float
        Least share of a window that it has in common with the next one, in (0, 1).

    Returns
    -------
    WindowedInterpolation
        The estimate, and what was returned for each window.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, or numbers out of range.
    Interrupted
        On Ctrl-C after the first window; ``.result`` holds the windows so far, that of ``fill`` included
        where it raises `Interrupted`, too. Dead traces in none of them are zero.

    Notes
    -----
    Tapers are squared sines across the whole window, divided by their sum. Windows without a recorded trace
    are left to their neighbours, and are zero where there are none. Windows that are too short resolve
    wavenumbers badly; 20 to 40 traces are usual.

    Examples
    --------
    >>> import numpy as np
    >>> data, mask = np.ones((30, 8)), np.arange(30) % 3 > 0
    >>> mean = lambda traces, live: np.broadcast_to(traces[live].mean(axis=0), traces.shape)
    >>> filled = in_windows(mean, data * mask[:, None], mask, window=10)
    >>> bool(np.allclose(filled.estimate, 1.0)), filled.corners
    (True, ((0,), (7,), (13,), (20,)))
    """
    data = real_traces(traces, "traces")
    live = np.asarray(mask)
    grid = data.shape[:-1]
    if live.dtype != bool or live.shape != grid:
        raise ValueError(
            f"mask has shape {live.shape} and dtype {live.dtype}, but one boolean for each trace, shape "
            f"{grid}, is needed"
        )
    share = validation.fraction(overlap, "overlap")
    sizes = whole_numbers(window, "window", least=2)
    sizes = sizes * len(grid) if len(sizes) == 1 else sizes
    if len(sizes) != len(grid):
        raise ValueError(f"window has {len(sizes)} entries, but traces have {len(grid)} axes of traces")
    sizes = tuple(min(size, n) for size, n in zip(sizes, grid, strict=True))
    taper = np.ones(())
    for size in sizes:
        sine = np.sin(math.pi * (np.arange(size) + 0.5) / size) ** 2
        taper = taper[..., None] * sine
    recorded = np.where(live[..., None], data, 0.0)
    validation.finite(recorded, "traces[mask]")
    total, weight = np.zeros(data.shape), np.zeros(grid)
    pieces: list[Any] = []
    corners: list[tuple[int, ...]] = []
    stopped = False
    for corner in product(*(_starts(n, size, share) for n, size in zip(grid, sizes, strict=True))):
        place = tuple(slice(first, first + size) for first, size in zip(corner, sizes, strict=True))
        if not live[place].any():
            continue
        piece, stopped = kept(fill, recorded[place], live[place], instead=lambda: None)
        if piece is None:
            if not pieces:
                raise KeyboardInterrupt
            break
        estimate = np.asarray(getattr(piece, "estimate", piece))
        if estimate.shape != recorded[place].shape:
            raise ValueError(
                f"fill returned shape {estimate.shape}, but its traces have shape {recorded[place].shape}"
            )
        total[place] += taper[..., None] * estimate
        weight[place] += taper
        pieces.append(piece)
        corners.append(corner)
        if stopped:
            break
    estimate = total / np.where(weight > 0.0, weight, 1.0)[..., None]
    estimate[live] = data[live]
    answer = WindowedInterpolation(estimate, tuple(pieces), tuple(corners), not stopped)
    return answered(answer, stopped)


def _starts(count: int, size: int, overlap: float) -> list[int]:
    """Return first traces of windows, evenly spread from end to end."""
    step = max((1.0 - overlap) * size, 1.0)
    number = math.ceil((count - size) / step - 1e-9) + 1
    return [round((count - size) * k / max(number - 1, 1)) for k in range(number)]
