"""Gram matrices of plane waves, whose entries depend on differences of wavenumbers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class WaveGram:
    """Look up the inner products of waves ``exp(2 pi i k . t)`` under weights w by k_j - k_i.

    ``G_ij = sum_t w_t exp(2 pi i (k_j - k_i) . t)``; with differences taken modulo the periods, it is an
    entry of a table. Along the axes that are not transformed two waves must agree, or G_ij = 0.

    Parameters
    ----------
    table : callable
        Returns the sums, by difference along the transformed axes, by position along the others; called when
        the first entries are asked for.
    periods : tuple of int
        Shape of the table: the periods of the differences, and the sizes of the other axes.
    sizes : tuple of int
        Number of wavenumbers along each axis: column j has the wavenumbers ``unravel_index(j, sizes)``, those
        of the upper half being negative.
    axes : tuple of int
        The transformed axes, counted from the end.
    """

    def __init__(
        self,
        table: Callable[[], Array],
        periods: tuple[int, ...],
        sizes: tuple[int, ...],
        axes: tuple[int, ...],
    ) -> None:
        self._make, self._periods, self._sizes = table, periods, sizes
        self._table: Array | None = None
        self._moved = [axis - len(sizes) in axes for axis in range(len(sizes))]

    def __call__(self, i: Array, j: Array) -> Array:
        """Return the entries G[i][:, j], shape (len(i), len(j))."""
        if self._table is None:
            self._table = np.ravel(self._make())
        place = np.zeros((len(i), len(j)), dtype=np.intp)
        alike: Array | None = None
        first, second = np.unravel_index(i, self._sizes), np.unravel_index(j, self._sizes)
        for a, b, size, period, moved in zip(
            first, second, self._sizes, self._periods, self._moved, strict=True
        ):
            place *= period
            if moved:
                # a difference of two entries of 0 ... period - 1 leaves that range by one period at most
                step = _signed(b, size) % period - (_signed(a, size) % period)[:, None]
                step += period * (step < 0)
                place += step
            else:
                place += b
                same = a[:, None] == b
                alike = same if alike is None else alike & same
        entries = self._table.take(place)
        return entries if alike is None else np.where(alike, entries, 0.0)


def _signed(k: Array, size: int) -> Array:
    return np.where(k < (size + 1) // 2, k, k - size)
