"""Overlapping windows with tapers whose squares add up to one, and a transform of every window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv.operators.base import Operator
from sparseinv.operators.grid import GridOperator, grid_axes, grid_dims, whole_numbers

Array = np.ndarray[Any, Any]

_TAPERS = ("sine", "flat")


class Windows(GridOperator):
    """Cut x into overlapping tapered windows, and transform each of them: c_w = T (g_w x)_w.

    The squared tapers g_w add up to one at every sample, edges included. Analysis E is therefore an
    isometry, E^H E = I, and ``Windows(...).H`` adds windows up to a section whose pieces belong
    together: x = sum_w g_w T^H c_w.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x, for example (traces, samples).
    size : int or tuple of int
        Samples of a window along each of ``axes``, at most those of the axis.
    step : int or tuple of int, optional
        Largest distance of two windows along each of ``axes``, 1 to size; half of the size, rounded up,
        by default. The first window starts at the first sample and the last one ends at the last;
        between them windows are spread evenly, so they may lie a little closer.
    axes : int or tuple of int, optional
        Axes that are cut; along the others a window is as long as x. All by default.
    inner : Operator, optional
        T, the analysis of one window, shape (c, prod(window)): ``FFT(window, sizes=...)`` for patches of
        plane waves, ``SomeSynthesis.H`` where it is the synthesis that has a name. It takes all windows
        at once, as the columns of one matrix. The identity by default.
    taper : {"sine", "flat"}
        "sine": a quarter of a sine over the overlap, or half of one over the window where windows
        overlap by more than half. "flat": equal shares. Both are then divided by the root of the sum of
        their squares.

    Raises
    ------
    ValueError, TypeError
        Sizes or steps do not fit, the taper is unknown, or T does not take windows of this shape.

    Notes
    -----
    ``dimsd`` is (windows along each cut axis, *shape of a window), or (..., *T.dimsd) with T;
    ``window`` is the shape of a window, ``counts`` how many there are along each axis and ``starts``
    where they begin. A norm bound of T is one of this map, and the norm itself where T is an isometry
    (`FFT`, `DCT`, `Wavelet`: 1). One product costs one with T for each window and a multiplication for
    each of their samples. For windows that need a T of their own each:
    ``BlockDiagonal([T_1, T_2, ...]) @ Windows(...)``.

    Examples
    --------
    Patches of 4 traces by 8 samples, synthesised from plane waves on a grid twice as fine:

    >>> import numpy as np
    >>> from sparseinv.operators import FFT
    >>> W = Windows((10, 24), (4, 8), inner=FFT((4, 8), sizes=(8, 16)))
    >>> S = W.H
    >>> S.dims, S.norm_bound()
    ((4, 5, 8, 16), 1.0)
    >>> x = np.arange(240.0)
    >>> bool(np.allclose(S @ (W @ x), x))
    True
    """

    def __init__(
        self,
        dims: int | Sequence[int],
        size: int | Sequence[int],
        step: int | Sequence[int] | None = None,
        axes: int | Sequence[int] | None = None,
        *,
        inner: Operator | None = None,
        taper: str = "sine",
    ) -> None:
        grid = grid_dims(dims)
        #: cut axes, counted from the end
        self.axes = grid_axes(axes, grid)
        sizes = _one_each(size, "size", self.axes)
        steps = tuple(s - s // 2 for s in sizes) if step is None else _one_each(step, "step", self.axes)
        if taper not in _TAPERS:
            raise ValueError(f"taper is {taper!r}, but 'sine' or 'flat' is needed")
        starts, tapers = [], []
        for axis, length, distance in zip(self.axes, sizes, steps, strict=True):
            if length > grid[axis]:
                raise ValueError(
                    f"size asks for windows of {length} samples along an axis of {grid[axis]} (dims {grid})"
                )
            if distance > length:
                raise ValueError(f"step is {distance}, which leaves gaps between windows of {length} samples")
            starts.append(_starts(grid[axis], length, distance))
            tapers.append(_tapers(grid[axis], starts[-1], length, distance, taper))
        #: first sample of each window, one array an axis
        self.starts = tuple(starts)
        #: factors on the samples of each window, one array of shape (windows, size) an axis
        self.tapers = tuple(tapers)
        #: number of windows along each cut axis
        self.counts = tuple(int(first.size) for first in starts)
        shape = list(grid)
        for axis, length in zip(self.axes, sizes, strict=True):
            shape[axis] = length
        #: shape of a window
        self.window = tuple(shape)
        #: T, or None
        self.inner = None if inner is None else _checked(inner, self.window)
        out = self.window if self.inner is None else self.inner.dimsd
        dtype = np.float64 if self.inner is None else self.inner.dtype
        super().__init__(grid, (*self.counts, *out), dtype)
        self.clinear = self.inner is None or self.inner.clinear

    def _forward(self, x: Array) -> Array:
        windows = self._cut(x)
        if self.inner is None:
            return windows
        flat = windows.reshape(-1, math.prod(self.window))
        return np.asarray(self.inner.matmat(flat.T).T).reshape(-1, *self.dimsd)

    def _backward(self, y: Array) -> Array:
        if self.inner is not None:
            flat = y.reshape(-1, self.inner.shape[0])
            y = self.inner.rmatmat(flat.T).T
        return self._add(y.reshape(-1, *self.counts, *self.window))

    def _cut(self, x: Array) -> Array:
        """Return the tapered windows, shape (k, *counts, *window)."""
        for place, (axis, first, taper) in enumerate(zip(self.axes, self.starts, self.tapers, strict=True)):
            count, size = taper.shape
            shape = list(x.shape)
            shape[axis] = size
            shape.insert(1 + place, count)
            factors = _along(taper, axis, x)
            out = np.empty(shape, dtype=np.result_type(x, factors))
            for w, start in enumerate(first):
                part = x[_window(axis, start, size)]
                np.multiply(part, factors[w], out=out[(slice(None),) * (1 + place) + (w,)])
            x = out
        return x

    def _add(self, windows: Array) -> Array:
        """Return the sum of the tapered windows, shape (k, *dims): the axes in reverse order."""
        for place in reversed(range(len(self.axes))):
            axis, first, taper = self.axes[place], self.starts[place], self.tapers[place]
            shape = list(windows.shape)
            shape[axis] = self.dims[axis]
            del shape[1 + place]
            factors = _along(taper, axis, windows)
            out = np.zeros(shape, dtype=np.result_type(windows, factors))
            for w, start in enumerate(first):
                part = windows[(slice(None),) * (1 + place) + (w,)]
                out[_window(axis, start, taper.shape[1])] += part * factors[w]
            windows = out
        return windows

    def norm_bound(self) -> float | None:
        """Return the bound of T, 1 without T: the norm itself where T is an isometry."""
        return 1.0 if self.inner is None else self.inner.norm_bound()

    def column_norms(self) -> Array | None:
        """Return ones without T."""
        return np.ones(self.shape[1]) if self.inner is None else None

    def row_norms(self) -> Array | None:
        """Return the tapers without T: the column norms of the synthesis."""
        if self.inner is not None:
            return None
        return self._cut(np.ones((1, *self.dims))).reshape(-1)


def _one_each(values: int | Sequence[int], name: str, axes: tuple[int, ...]) -> tuple[int, ...]:
    numbers = whole_numbers(values, name, least=1)
    if np.ndim(values) == 0:
        return numbers * len(axes)
    if len(numbers) != len(axes):
        raise ValueError(
            f"{name} has {len(numbers)} entries, but {len(axes)} axes are cut; pass one for each"
        )
    return numbers


def _starts(length: int, size: int, step: int) -> Array:
    """Return the first samples of windows at most step apart that reach from end to end."""
    count = -(-(length - size) // step) + 1
    return np.round(np.linspace(0, length - size, count)).astype(np.intp)


def _tapers(length: int, starts: Array, size: int, step: int, kind: str) -> Array:
    """Return tapers of shape (windows, size) whose squares add up to one at every sample."""
    raw = np.ones(size)
    ramp = min(size - step, size // 2)
    if kind == "sine" and ramp:
        raw[:ramp] = np.sin(0.5 * np.pi * (np.arange(ramp) + 0.5) / ramp)
        raw[size - ramp :] = raw[:ramp][::-1]
    total = np.zeros(length)
    for start in starts:
        total[start : start + size] += raw**2
    return np.stack([raw / np.sqrt(total[start : start + size]) for start in starts])


def _window(axis: int, start: int, size: int) -> tuple[Any, ...]:
    return (..., slice(int(start), int(start) + size), *(slice(None),) * (-1 - axis))


def _along(taper: Array, axis: int, values: Array) -> Array:
    """Return tapers in the precision of values, to be multiplied along an axis."""
    wanted = np.float32 if values.dtype in (np.float32, np.complex64) else np.float64
    return taper.astype(wanted).reshape(*taper.shape, *(1,) * (-1 - axis))


def _checked(inner: Operator, window: tuple[int, ...]) -> Operator:
    if not isinstance(inner, Operator):
        raise TypeError(f"inner is a {type(inner).__name__}, but an Operator is needed; use as_operator")
    fits = inner.shape[1] == math.prod(window) and inner.dims in (window, (math.prod(window),))
    if not fits:
        raise ValueError(
            f"inner takes arrays of shape {inner.dims}, but a window has shape {window}; "
            "pass the analysis (for a synthesis S, its adjoint S.H)"
        )
    return inner
