"""Orthogonal wavelet transforms with periodic boundaries; synthesis is the adjoint ``.H``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, grid_axes, grid_dims

Array = np.ndarray[Any, Any]


class Wavelet(GridOperator):
    """Analyse x by an orthogonal wavelet transform along axes: c = W x, with W^T W = W W^T = I.

    The coefficients fill an array of shape dims in nested blocks: along each transformed axis the
    first N / 2**level entries belong to the coarsest approximation, the second half of each block to
    the details of its level. ``Wavelet(dims).H`` is the inverse and the synthesis x = W^T c.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x and of the coefficients.
    wavelet : str or pywt.Wavelet
        An orthogonal wavelet: "haar", "db2" ... "db38", "sym2" ... "sym20", "coif1" ... "coif17".
    level : int, optional
        Number of levels. By default the largest that the sizes allow: 2**level divides the size of
        each transformed axis, and the coarsest approximation is no shorter than the filter less one.
    axes : int or tuple of int, optional
        Axes to transform; all by default.

    Raises
    ------
    ImportError
        PyWavelets is not installed.
    ValueError
        The wavelet is unknown or not orthogonal, or the sizes do not allow the level.

    Notes
    -----
    Periodic boundaries ("periodization") are the ones for which the transform of a finite signal is
    orthogonal, so adjoint and inverse are the same map, the norm is 1 and all columns have norm 1. This
    holds to rounding, and for "sym" to the 1e-10 or so of the tabulated filters. Cost: O(n times the
    filter length) a product.

    References
    ----------
    .. [1] S. Mallat, A theory for multiresolution signal decomposition: the wavelet representation,
       IEEE Trans. Pattern Anal. Mach. Intell. 11 (1989) 674-693, doi:10.1109/34.192463.

    Examples
    --------
    >>> import numpy as np
    >>> W = Wavelet(8, "haar", level=1)
    >>> np.round(W @ np.array([1.0, 1, 2, 2, 3, 3, 4, 5]), 2)
    array([ 1.41,  2.83,  4.24,  6.36,  0.  ,  0.  ,  0.  , -0.71])
    >>> W.levels()
    array([0, 0, 0, 0, 1, 1, 1, 1])
    """

    def __init__(
        self,
        dims: int | Sequence[int],
        wavelet: Any = "db4",
        level: int | None = None,
        axes: int | Sequence[int] | None = None,
    ) -> None:
        grid = grid_dims(dims)
        #: transformed axes, counted from the end
        self.axes = grid_axes(axes, grid)
        self.wavelet = wavelet
        #: number of levels
        self.level = _allowed_level(_filter_length(wavelet), [grid[a] for a in self.axes], level)
        super().__init__(grid, grid)

    def _corner(self, level: int) -> tuple[Any, ...]:
        """Select the approximation block that remains after so many levels."""
        block: list[Any] = [slice(0, size) for size in self.dims]
        for axis in self.axes:
            block[axis] = slice(0, self.dims[axis] >> level)
        return (Ellipsis, *block)

    def _forward(self, x: Array) -> Array:
        from pywt import dwt

        out = _floating_copy(x)
        for level in range(self.level):
            corner = out[self._corner(level)]
            for axis in self.axes:
                corner = np.concatenate(dwt(corner, self.wavelet, "periodization", axis=axis), axis=axis)
            out[self._corner(level)] = corner
        return out

    def _backward(self, y: Array) -> Array:
        from pywt import idwt

        out = _floating_copy(y)
        for level in reversed(range(self.level)):
            corner = out[self._corner(level)]
            for axis in self.axes:
                halves = np.split(corner, 2, axis=axis)
                corner = idwt(*halves, self.wavelet, "periodization", axis=axis)
            out[self._corner(level)] = corner
        return out

    def levels(self) -> Array:
        """Return one label a coefficient, shape (n,): 0 coarsest approximation, 1 ... level details.

        Detail 1 is the coarsest, detail ``level`` the finest; as ``groups=`` of a penalty they give
        one lambda a scale.
        """
        labels = np.zeros(self.dims, dtype=np.intp)
        for level in range(self.level):
            block = labels[self._corner(level)]
            block[...] = self.level - level
        labels[self._corner(self.level)] = 0
        return labels.reshape(-1)

    def norm_bound(self) -> float:
        """Return 1, the norm itself."""
        return 1.0

    def column_norms(self) -> Array:
        """Return ones."""
        return np.ones(self.shape[1])

    def row_norms(self) -> Array:
        """Return ones."""
        return np.ones(self.shape[0])


def _floating_copy(x: Array) -> Array:
    return np.array(x, dtype=x.dtype if x.dtype.kind in "fc" else np.float64)


def _filter_length(wavelet: Any) -> int:
    """Return the filter length of an orthogonal wavelet; refuse the others."""
    try:
        import pywt
    except ImportError:
        raise ImportError(
            'Wavelet needs PyWavelets; install it with: python -m pip install "sparseinv[demo]"'
        ) from None
    try:
        known = pywt.Wavelet(wavelet) if isinstance(wavelet, str) else wavelet
        lowpass = np.asarray(known.rec_lo)
    except (ValueError, AttributeError):
        raise ValueError(
            f'wavelet is {wavelet!r}, but the name of an orthogonal wavelet such as "db4" is needed'
        ) from None
    # judged by the numbers: "dmey" is listed as orthogonal, but its filter is only close to it
    shifts = np.correlate(lowpass, lowpass, "full")[lowpass.size - 1 :: 2]
    shifts[0] -= 1.0
    if not known.orthogonal or float(np.abs(shifts).max()) > 1e-9:
        raise ValueError(
            f'wavelet {known.name!r} is not orthogonal, so its adjoint is not its inverse; use "haar", '
            '"db2" to "db38", "sym2" to "sym20" or "coif1" to "coif17"'
        )
    return int(known.dec_len)


def _allowed_level(filter_length: int, sizes: list[int], level: int | None) -> int:
    """Return level, or the largest allowed one; refuse sizes that do not fit."""
    deepest, shortest = 0, filter_length - 1
    while all(s % 2 ** (deepest + 1) == 0 and s >> (deepest + 1) >= shortest for s in sizes):
        deepest += 1
    if level is None:
        if deepest == 0:
            raise ValueError(
                f"dims has transformed axes of {sizes} samples, but each must be even and at least "
                f"{2 * shortest} for a filter of {filter_length}; pad x, or choose other axes or a shorter "
                "wavelet"
            )
        return deepest
    level = validation.count(level, "level", least=1)
    if level > deepest:
        raise ValueError(
            f"level is {level}, but transformed axes of {sizes} samples and a filter of {filter_length} "
            f"allow at most {deepest}: 2**level must divide each size and leave at least {shortest} samples; "
            "pad x, or choose fewer levels or a shorter wavelet"
        )
    return level
