"""Curvelets of real 2-D sections: a tight frame of oriented, band-limited waves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, grid_dims, whole_numbers

Array = np.ndarray[Any, Any]

_OVERLAP = 0.05  # of neighbouring narrow wedges: wider ones overlap after decimation, and tightness ends
_TIGHT = 1e-9  # relative error of the round trip of a random section that is still rounding


class Wedge(NamedTuple):
    """Name a part of the curvelet coefficients: one scale, one orientation.

    Attributes
    ----------
    scale : int
        0 is the low-pass part, the last one the finest.
    direction : int
        Axis along which the wave vectors of the wedge mostly point: 0 from trace to trace, 1 in time.
    number : int
        Position of the wedge among those of its scale and direction.
    coefficients : slice
        Its place in the vector of coefficients.
    shape : tuple of int
        Shape of its coefficients, a coarse grid over the section.
    """

    scale: int
    direction: int
    number: int
    coefficients: slice
    shape: tuple[int, ...]


class Curvelet(GridOperator):
    """Analyse a real section by the uniform discrete curvelet transform, c = C x, with C^T C = I.

    Each coefficient is complex and belongs to a wave packet of one scale, one of several orientations and
    one place; its argument is the phase of the packet. ``Curvelet(dims).H`` is the synthesis
    x = Re(sum_j c_j curvelet_j), a tight frame of norm 1 that reproduces every section: synthesis after
    analysis is the identity.

    Parameters
    ----------
    dims : tuple of int
        Shape of the section, (n_traces, n_samples).
    scales : int
        Number of scales with the low-pass one, >= 2.
    wedges : int
        Orientations per axis and half plane on the second scale, a multiple of 3; they double at each
        finer scale.
    sizes : tuple of int, optional
        Sizes to which the section is padded with zeros before the transform, which takes it as periodic;
        rounded up to what the scales need. By default the smallest that hold the section.

    Raises
    ------
    ImportError
        The package curvelets is not installed.
    ValueError, TypeError
        dims has not two axes, or the section is too small for so many scales and wedges.

    Attributes
    ----------
    layout : tuple of Wedge
        Which coefficients belong to which scale and orientation.
    scales, labels : ndarray of int, shape (n,)
        Scale and number in ``layout`` of every coefficient: groups of ``L1(lams, groups=C.scales)``, one
        lambda for each scale, or ``groups=C.labels``, one for each wedge.
    sizes : tuple of int
        The padded sizes.

    Notes
    -----
    The coefficients are complex, the section is real, and both maps are linear over the reals only
    (``clinear`` is False): the synthesis takes a real part, so that i c does not give i x. Hence
    ``Re <y, C x> = <C^T y, x>``, norms and duality gaps are those of the real problem, and the modulus is
    penalised, as for complex data. An imaginary part of x does not enter. Redundancy about 2, counted in
    complex coefficients. Norm 1 exactly. Cost: one FFT of the section and one of each wedge; single
    precision is kept.

    References
    ----------
    .. [1] T. Nguyen, H. Chauris, Uniform discrete curvelet transform, IEEE Trans. Signal Process. 58 (2010)
       3618-3634, doi:10.1109/TSP.2010.2047666.
    .. [2] E. Candes, L. Demanet, D. Donoho, L. Ying, Fast discrete curvelet transforms, Multiscale Model.
       Simul. 5 (2006) 861-899, doi:10.1137/05064182X.

    Examples
    --------
    >>> import numpy as np
    >>> C = Curvelet((32, 40))
    >>> x = np.random.default_rng(0).standard_normal(C.shape[1])
    >>> bool(np.allclose(C.H @ (C @ x), x))
    True
    """

    clinear = False

    def __init__(
        self, dims: Sequence[int], scales: int = 3, wedges: int = 3, sizes: Sequence[int] | None = None
    ) -> None:
        grid = grid_dims(dims)
        if len(grid) != 2:
            raise ValueError(f"dims is {grid}, but a section (n_traces, n_samples) is needed")
        count = validation.count(scales, "scales", least=2)
        directions = validation.count(wedges, "wedges", least=3)
        if directions % 3:
            raise ValueError(f"wedges is {directions}, but a multiple of 3 is needed")
        #: sizes to which the section is padded
        self.sizes = _padded(grid, count, directions, sizes)
        windows = _windows(self.sizes, count, directions)
        self._crop = tuple(slice(0, size) for size in grid)
        #: which coefficients belong to which scale and orientation
        self.layout = _layout(windows)
        self._blocks = _blocks(self.layout)
        # where the folded spectrum of a wedge is read in that of the section, and what multiplies it:
        # orthonormal FFTs leave the window alone, times sqrt(2) where only half of the plane is covered
        count_all = self.layout[-1].coefficients.stop
        self._source, self._factor = np.zeros(count_all, dtype=np.intp), np.zeros(count_all)
        parts = [window for scale in windows for direction in scale for window in direction]
        for wedge, part in zip(self.layout, parts, strict=True):
            at = wedge.coefficients.start + part.folded_indices
            self._source[at] = part.indices
            self._factor[at] = part.values * (math.sqrt(2.0) if wedge.scale else 1.0)
        #: number in ``layout`` of every coefficient
        self.labels = np.repeat(
            np.arange(len(self.layout)), [w.coefficients.stop - w.coefficients.start for w in self.layout]
        )
        #: scale of every coefficient
        self.scales = np.array([wedge.scale for wedge in self.layout])[self.labels]
        super().__init__(grid, (self.labels.size,), np.complex128)
        self._refuse_loose(grid)

    def _forward(self, x: Array) -> Array:
        from scipy.fft import fft2, ifft2

        sections = np.zeros((x.shape[0], *self.sizes), dtype=_real(x.dtype))
        sections[:, *self._crop] = x.real
        factor = self._factor.astype(sections.dtype, copy=False)
        out = np.empty((x.shape[0], self.labels.size), np.result_type(sections.dtype, np.complex64))
        for section, row in zip(sections, out, strict=True):
            folded = fft2(section, norm="ortho").ravel().take(self._source)
            folded *= factor
            for part, shape in self._blocks:
                row[part] = ifft2(folded[part].reshape(shape), norm="ortho", overwrite_x=True).ravel()
        return out

    def _backward(self, y: Array) -> Array:
        from scipy.fft import fft2, ifft2

        real, size = _real(y.dtype), self.sizes[0] * self.sizes[1]
        out = np.empty((y.shape[0], *self.dims), dtype=real)
        terms = np.empty(self.labels.size, np.result_type(real, np.complex64))
        for row, section in zip(y, out, strict=True):
            for part, shape in self._blocks:
                terms[part] = fft2(row[part].reshape(shape), norm="ortho").ravel()
            terms *= self._factor
            # wedges overlap in the frequency plane, so that several terms meet
            spectrum = np.empty(size, dtype=terms.dtype)
            spectrum.real = np.bincount(self._source, terms.real, size)
            spectrum.imag = np.bincount(self._source, terms.imag, size)
            section[:] = ifft2(spectrum.reshape(self.sizes), norm="ortho").real[self._crop]
        return out

    def norm_bound(self) -> float:
        """Return 1, the norm itself."""
        return 1.0

    def _refuse_loose(self, grid: tuple[int, ...]) -> None:
        """Refuse sizes on which the windows of the transform overlap after decimation."""
        x = np.random.default_rng(0).standard_normal((1, *grid))
        error = float(np.linalg.norm(self._backward(self._forward(x)) - x) / np.linalg.norm(x))
        if not error <= _TIGHT:
            raise ValueError(
                f"dims {grid}, padded to {self.sizes}, is too small for {self.scales.max() + 1} scales with "
                "these wedges: the curvelets are no tight frame there; use fewer scales or wedges, or pad "
                "with sizes"
            )


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the real type of a precision; whole numbers count as double."""
    return np.dtype(np.float32 if dtype in (np.float32, np.complex64) else np.float64)


def _padded(grid: tuple[int, ...], scales: int, wedges: int, sizes: Sequence[int] | None) -> tuple[int, ...]:
    """Return the smallest sizes that the finest decimation divides, at least those asked for."""
    wanted = grid if sizes is None else whole_numbers(sizes, "sizes", least=1)
    if len(wanted) != len(grid):
        raise ValueError(f"sizes has {len(wanted)} entries, but dims has {len(grid)}")
    for size, asked in zip(grid, wanted, strict=True):
        if asked < size:
            raise ValueError(f"sizes asks for {asked} samples along an axis of {size}; padding cannot cut it")
    # the coarsest grid of coefficients has one sample in this many; windows are symmetric on multiples of 4
    decimation = math.lcm(2 ** (scales - 1) * (wedges // 3), 4)
    return tuple(-(-asked // decimation) * decimation for asked in wanted)


def _windows(sizes: tuple[int, ...], scales: int, wedges: int) -> Any:
    """Return the windows in the frequency plane: scale, direction, wedge."""
    try:
        from curvelets.numpy import UDCT
    except ImportError:
        raise ImportError(
            "Curvelet needs the package curvelets; install it with: "
            'python -m pip install "sparseinv[curvelets]"'
        ) from None
    overlap = None if wedges == 3 else _OVERLAP
    transform = UDCT(sizes, num_scales=scales, wedges_per_direction=wedges, window_overlap=overlap)
    return transform.windows


def _layout(windows: Any) -> tuple[Wedge, ...]:
    found, start = [], 0
    for scale, directions in enumerate(windows):
        for direction, parts in enumerate(directions):
            for number, window in enumerate(parts):
                shape = tuple(int(size) for size in window.out_shape)
                stop = start + math.prod(shape)
                found.append(Wedge(scale, direction, number, slice(start, stop), shape))
                start = stop
    return tuple(found)


def _blocks(layout: tuple[Wedge, ...]) -> list[tuple[slice, tuple[int, ...]]]:
    """Return runs of wedges of one shape, which one call transforms: (coefficients, (wedges, *shape))."""
    runs: list[tuple[slice, tuple[int, ...]]] = []
    for wedge in layout:
        if runs and runs[-1][1][1:] == wedge.shape:
            part, shape = runs.pop()
            runs.append((slice(part.start, wedge.coefficients.stop), (shape[0] + 1, *wedge.shape)))
        else:
            runs.append((wedge.coefficients, (1, *wedge.shape)))
    return runs
