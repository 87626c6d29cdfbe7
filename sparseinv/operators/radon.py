"""Radon transforms in time: data made of events along lines, parabolas or hyperbolas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.grid import GridOperator, column_index, grid_dims

Array = np.ndarray[Any, Any]

#: what the parameters of each curve are called, with their unit
PARAMETERS = {"linear": "slopes [s/m]", "parabolic": "moveouts [s]", "hyperbolic": "velocities [m/s]"}


class Radon(GridOperator):
    """Build data d(h, t) from a panel m(q, tau): each entry of the panel is an event along a curve.

    ``d(h, t) = sum_q sum_tau m(q, tau) hat((t - T(tau, h, q)) / dt)``, hat(u) = max(0, 1 - abs(u)), with

    * linear: ``T = tau + q h``, q a slope [s/m];
    * parabolic: ``T = tau + q (h / h_ref)^2``, q the moveout [s] at the reference offset h_ref;
    * hyperbolic: ``T = sqrt(tau^2 + h^2 / q^2)``, q a velocity [m/s].

    An event that arrives between two samples is shared out to them linearly. What arrives before the
    first or after the last sample is lost: nothing wraps around. The adjoint stacks along the same
    curves (a slant stack, or a velocity panel).

    Parameters
    ----------
    dims : (int, int)
        Shape of the data, (offsets, samples).
    offsets : array_like, shape (dims[0],)
        Offset h [m] of each trace, in any order and at any distances; for a local window, measure
        them from the middle of the window.
    dt : float
        Sampling interval of t and of tau [s].
    parameters : array_like, shape (k,)
        The values of q, in any order: slopes, moveouts or velocities, in the unit of the curve.
    curve : {"linear", "parabolic", "hyperbolic"}
        The family of curves.
    t0 : float
        Time of the first sample of data and panel [s], >= 0; matters to hyperbolas only.
    reference : float, optional
        h_ref [m], for parabolas only; by default the largest abs(h).

    Raises
    ------
    ValueError, TypeError
        dims, offsets and parameters do not fit each other or the curve; an argument is not finite.

    Notes
    -----
    ``dims`` of the operator is (k, samples), ``dimsd`` is (offsets, samples). Cost of a product:
    2 offsets k samples multiplications, without storage for hyperbolas, with three tables of
    offsets x k otherwise. Columns hold two entries a trace and are in closed form; the norms of
    columns and rows cost about one product, once.

    All entries are >= 0, so that the norm has the bound of Collatz and Wielandt,
    ``||A||^2 <= max_j (A^T A x)_j / x_j`` for any x > 0; after twelve power steps it is usually within one
    percent of the norm. (sqrt(||A||_1 ||A||_inf), from two products, is a third too large where much leaves
    short traces.) It is found when it is asked for, once.

    A line at a slope steeper than dt over the distance of two traces is sampled too sparsely in
    offset: panels of such slopes carry aliases of the events. For events with a wavelet compose with a
    convolution of the traces, so that the panel holds spikes: ``Convolution(A.dimsd, wavelet) @ A``.

    References
    ----------
    Thorson and Claerbout 1985, Velocity-stack and slant-stack stochastic inversion, Geophysics 50,
    2727-2741, doi:10.1190/1.1441893. Hampson 1986, Inverse velocity stacking for multiple elimination,
    Canadian Journal of Exploration Geophysics 22, 44-55.

    Examples
    --------
    One event of slope 0.004 s a trace, on traces 10 m apart:

    >>> import numpy as np
    >>> A = Radon((3, 5), [0.0, 10.0, 20.0], 0.004, [0.0, 4e-4])
    >>> panel = np.zeros(A.dims)
    >>> panel[1, 1] = 1.0
    >>> (A @ panel.ravel()).reshape(A.dimsd)
    array([[0., 1., 0., 0., 0.],
           [0., 0., 1., 0., 0.],
           [0., 0., 0., 1., 0.]])
    """

    closed_columns = True

    def __init__(
        self,
        dims: Sequence[int],
        offsets: Any,
        dt: float,
        parameters: Any,
        curve: str = "linear",
        *,
        t0: float = 0.0,
        reference: float | None = None,
    ) -> None:
        grid, h, q, step = checked_geometry(dims, offsets, dt, parameters, curve)
        super().__init__((q.size, grid[1]), grid)
        #: the family of curves, the offsets [m] and the parameters
        self.curve, self.offsets, self.parameters = curve, h, q
        #: sampling interval and time of the first sample [s]
        self.dt, self.t0 = step, validation.real_number(t0, "t0")
        if not 0 <= self.t0 < math.inf:
            raise ValueError(f"t0 is {t0}, but the time of the first sample [s] must be finite and >= 0")
        if curve == "hyperbolic":
            if reference is not None:
                raise ValueError("reference is for parabolas; a hyperbola is given by its velocity alone")
            with np.errstate(over="ignore"):
                self._squares = (h[:, None] / (q * step)) ** 2
        else:
            shifts = moveout_times(h, q, curve, reference) / step
            # beyond the ends of the trace all shifts are alike, and no integer overflows
            shifts = np.clip(shifts, -grid[1] - 2.0, grid[1] + 2.0)
            self._whole = np.floor(shifts).astype(np.int64)
            self._far = shifts - self._whole
        self._norm: float | None = None

    def _forward(self, x: Array) -> Array:
        return self._along(x, self.dimsd, False)

    def _backward(self, y: Array) -> Array:
        return self._along(y, self.dims, True)

    def _along(self, v: Array, shape: tuple[int, ...], back: bool, squared: bool = False) -> Array:
        """Spread a panel, or stack data; with the squares of all entries of A if asked."""
        v = np.asarray(v)
        if v.dtype.kind == "c":
            parts = self._along(np.concatenate((v.real, v.imag)), shape, back, squared)
            return np.asarray(parts[: len(v)] + 1j * parts[len(v) :])
        single = v.dtype == np.float32 or v.dtype == np.float16
        v = np.ascontiguousarray(v, dtype=np.float32 if single else np.float64)
        if self.curve == "hyperbolic":
            return self._along_hyperbolas(v, back, squared)
        out = np.zeros((v.shape[0], *shape), dtype=v.dtype)
        from sparseinv.kernels.radon import add_shifted

        whole, near, far = self._whole, 1.0 - self._far, self._far
        if back:
            # a delay by k + f read backwards is one by -(k + 1) with the weights exchanged
            whole, near, far = -whole.T - 1, far.T, near.T
        if squared:
            near, far = near**2, far**2
        near, far = (np.ascontiguousarray(w, dtype=v.dtype) for w in (near, far))
        add_shifted(v, np.ascontiguousarray(whole), near, far, out)
        return out

    def _along_hyperbolas(self, v: Array, back: bool, squared: bool) -> Array:
        from sparseinv.kernels.radon import spread_hyperbolas, stack_hyperbolas

        length = self.dims[1]
        longer = np.zeros((v.shape[0], self.dimsd[0], length + 1), dtype=v.dtype)
        if back:
            longer[..., :length] = v
            out = np.zeros((v.shape[0], *self.dims), dtype=v.dtype)
            stack_hyperbolas(longer, self.t0 / self.dt, self._squares, squared, out)
            return out
        spread_hyperbolas(v, self.t0 / self.dt, self._squares, squared, longer)
        return np.ascontiguousarray(longer[..., :length])

    def columns(self, index: Array) -> Array:
        """Return two entries a trace for each entry of the panel; no products."""
        j = column_index(index, self.shape[1])
        q, s = np.divmod(j, self.dims[1])
        length = self.dims[1]
        if self.curve == "hyperbolic":
            start = self.t0 / self.dt
            place = np.sqrt((start + s) * (start + s) + self._squares[:, q]) - start
            place = np.minimum(place, float(length))
            whole = place.astype(np.int64)
            far = place - whole
        else:
            whole, far = self._whole[:, q] + s, self._far[:, q]
        out = np.zeros((self.shape[0], j.size), order="F")
        trace = np.arange(self.dimsd[0])[:, None] * length
        which = np.broadcast_to(np.arange(j.size), whole.shape)
        for time, weight in ((whole, 1.0 - far), (whole + 1, far)):
            inside = (time >= 0) & (time < length)
            out[(trace + time)[inside], which[inside]] = weight[inside]
        return out

    def norm_bound(self) -> float:
        """Return the bound of Collatz and Wielandt."""
        if self._norm is None:
            self._norm = nonnegative_norm_bound(self, steps=12)
        return self._norm

    def column_norms(self) -> Array:
        """Return the norms of the columns, from one pass over the squares of all entries."""
        return np.sqrt(self._along(np.ones((1, *self.dimsd)), self.dims, True, squared=True)).reshape(-1)

    def row_norms(self) -> Array:
        """Return the norms of the rows, from one pass over the squares of all entries."""
        return np.sqrt(self._along(np.ones((1, *self.dims)), self.dimsd, False, squared=True)).reshape(-1)


def nonnegative_norm_bound(A: GridOperator, steps: int) -> float:
    """Return an upper bound of the norm of a map without negative entries.

    ``sqrt(||A||_1 ||A||_inf)`` from one product with ones each way; then, for ``steps`` power steps,
    the least ``sqrt(max_j (A^T A x)_j / x_j)`` over x > 0, which falls towards the norm.
    """
    sums = A.rmatvec(np.ones(A.shape[0]))
    bound = float(np.sqrt(sums.max() * A.matvec(np.ones(A.shape[1])).max()))
    x = np.where(sums > 0, 1.0, 0.0)
    used = x > 0
    for _ in range(steps if used.any() else 0):
        image = A.rmatvec(A.matvec(x))
        bound = min(bound, float(np.sqrt((image[used] / x[used]).max())))
        # entries that fall behind would rule the maximum: kept up, x stays a valid trial vector
        x = np.where(used, np.maximum(image / image.max(), 1e-3), 0.0)
    # rounding of the sums
    return bound * (1 + 1e-12)


def checked_geometry(
    dims: Sequence[int], offsets: Any, dt: float, parameters: Any, curve: str
) -> tuple[tuple[int, int], Array, Array, float]:
    """Return the shape of the data, offsets, parameters and dt, all checked."""
    if curve not in PARAMETERS:
        raise ValueError(f"curve is {curve!r}, but it must be one of {', '.join(map(repr, PARAMETERS))}")
    grid = grid_dims(dims)
    if len(grid) != 2:
        raise ValueError(f"dims is {grid}, but data of shape (offsets, samples) are needed")
    h = _real_vector(offsets, "offsets")
    if h.size != grid[0]:
        raise ValueError(f"offsets has {h.size} entries, but dims {grid} has {grid[0]} traces")
    q = _real_vector(parameters, "parameters")
    if curve == "hyperbolic" and not (q > 0).all():
        raise ValueError(f"parameters contains {q.min()}, but velocities [m/s] must be positive")
    return (grid[0], grid[1]), h, q, validation.positive(dt, "dt")


def moveout_times(h: Array, q: Array, curve: str, reference: float | None) -> Array:
    """Return the delay [s] of each curve at each offset, shape (offsets, curves)."""
    if curve == "linear":
        if reference is not None:
            raise ValueError("reference is for parabolas; the slope of a line needs none")
        return np.outer(h, q)
    largest = float(np.abs(h).max())
    far = validation.positive(reference, "reference") if reference is not None else largest or 1.0
    return np.outer((h / far) ** 2, q)


def _real_vector(values: Any, name: str) -> Array:
    v = validation.numeric(values, name)
    if v.dtype.kind == "c":
        raise TypeError(f"{name} is complex, but real numbers are needed")
    if v.ndim != 1 or v.size == 0:
        raise ValueError(f"{name} has shape {v.shape}, but a vector with at least one entry is needed")
    validation.finite(v, name)
    return v.copy()
