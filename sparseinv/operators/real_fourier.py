"""The Fourier transform of real data, with half of the coefficients and the same norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv.operators.fourier import FFT
from sparseinv.operators.grid import GridOperator

Array = np.ndarray[Any, Any]


class RealFFT(GridOperator):
    """Analyse real x by the Fourier transform along axes, frequencies >= 0 of the last of them only.

    ``c = s F P x`` with the unitary F of `FFT`, of which the negative frequencies of the last axis are
    left out: they are complex conjugates of the others. s = sqrt(2) for the frequencies that lost their
    mirror image, 1 for zero and the highest one of an even size, so that ||c|| = ||x||. The synthesis is
    ``RealFFT(dims, ...).H``: c -> x = P^T Re(F^H s c), which is real for every complex c.

    Parameters
    ----------
    dims : int or tuple of int
        Shape of x.
    axes : int or tuple of int, optional
        Axes to transform, that of the halved frequencies last; all by default.
    sizes : int or tuple of int, optional
        Padded size of each transformed axis, as for `FFT`.

    Raises
    ------
    ValueError, TypeError
        As for `FFT`.

    Notes
    -----
    ``F.H @ F`` is the identity on real arrays and the norm is 1. The map is linear over the reals only
    (``clinear = False``): <c, F x> and <F^H c, x> agree in their real parts, and of complex x the real
    part is taken. A penalty of moduli such as L1 treats c as pairs of real numbers. Against `FFT` there are
    half as many coefficients and data are real by construction; a level lam of L1 there corresponds to
    sqrt(2) lam here, and to lam at zero and at the highest frequency of an even size. Cost: one FFT of real
    numbers, and of padded axes only what is not zero.

    Examples
    --------
    >>> import numpy as np
    >>> F = RealFFT((4, 6), sizes=(8, 12))
    >>> F.dimsd, F.norm_bound()
    ((8, 7), 1.0)
    >>> x = np.arange(24.0)
    >>> c = F @ x
    >>> bool(np.allclose(F.H @ c, x)), bool(np.isclose(np.linalg.norm(c), np.linalg.norm(x)))
    (True, True)
    """

    def __init__(
        self,
        dims: int | Sequence[int],
        axes: int | Sequence[int] | None = None,
        sizes: int | Sequence[int] | None = None,
    ) -> None:
        full = FFT(dims, axes, sizes)
        #: transformed axes, counted from the end
        self.axes = full.axes
        #: padded sizes of the transformed axes
        self.sizes = full.sizes
        last, size = self.axes[-1], self.sizes[-1]
        shape = list(full.dimsd)
        shape[last] = size // 2 + 1
        super().__init__(full.dims, tuple(shape), np.complex128)
        self.clinear = False
        scale = np.full(size // 2 + 1, math.sqrt(2.0))
        scale[0] = 1.0
        if size % 2 == 0:
            scale[-1] = 1.0
        self._scale = scale.reshape(-1, *(1,) * (-1 - last))

    def _forward(self, x: Array) -> Array:
        from scipy.fft import fft, rfft

        c = rfft(x.real, self.sizes[-1], axis=self.axes[-1], norm="ortho")
        c *= self._scale.astype(c.real.dtype)
        for axis, size in zip(self.axes[:-1], self.sizes[:-1], strict=True):
            c = fft(c, size, axis=axis, norm="ortho", overwrite_x=True)
        return np.asarray(c)

    def _backward(self, y: Array) -> Array:
        from scipy.fft import ifft, irfft

        c = y if y.dtype.kind == "c" else y.astype(np.complex64 if y.dtype == np.float32 else np.complex128)
        for axis in self.axes[:-1]:
            c = ifft(c, axis=axis, norm="ortho")[_kept(axis, self.dims[axis])]
        last = self.axes[-1]
        # irfft counts mirror images twice
        c = c * (1.0 / self._scale).astype(c.real.dtype)
        return np.asarray(irfft(c, self.sizes[-1], axis=last, norm="ortho")[_kept(last, self.dims[last])])

    def norm_bound(self) -> float:
        """Return 1, the norm itself."""
        return 1.0


def _kept(axis: int, size: int) -> tuple[Any, ...]:
    return (..., slice(0, size), *(slice(None),) * (-1 - axis))
