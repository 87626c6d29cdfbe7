"""The linear map A, known by its products; it must not know penalties, problems or solvers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: (i, j) -> the entries G[i][:, j] of a Gram matrix G
Entries = Callable[[Array, Array], Array]


class Operator:
    """Represent a linear map A of shape (m, n) by its products with vectors.

    A subclass calls ``super().__init__(shape, dtype)`` and defines ``_matvec`` (x of shape (n,) to
    A x of shape (m,)) and ``_rmatvec`` (y of shape (m,) to A^H y of shape (n,)). Neither may write
    into its argument; both may return a buffer they own. Everything else has a default.

    Parameters
    ----------
    shape : tuple of int
        (m, n).
    dtype : dtype
        Complex if the map turns real vectors into complex ones, real otherwise.
    dims, dimsd : tuple of int, optional
        Natural shapes of x and of A x, for reshaping; (n,) and (m,) if not given.

    Notes
    -----
    ``<u, v> = u^H v`` throughout, so ``rmatvec`` is the conjugate transpose.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> class Shift(si.Operator):
    ...     def _matvec(self, x):
    ...         return np.roll(x, 1)
    ...     def _rmatvec(self, y):
    ...         return np.roll(y, -1)
    >>> si.solve(Shift((3, 3)), np.array([0.0, 2.0, 0.0]), si.L1(0.5)).x
    array([1.5, 0. , 0. ])
    """

    #: whether columns lie in memory (dense or CSC), so that coordinate methods can use them
    explicit = False
    #: whether `columns` writes columns down without products with A, each for the price of its length
    closed_columns = False
    #: whether products have single precision and are judged by its standards
    single = False
    #: whether no row and no column holds more than one entry (selections, diagonals)
    entrywise = False
    #: False for maps that are linear over the reals only (their adjoint holds for real parts)
    clinear = True
    # NumPy must hand `array @ operator` and `scalar * operator` over to this class
    __array_ufunc__ = None

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: Any = np.float64,
        *,
        dims: tuple[int, ...] | None = None,
        dimsd: tuple[int, ...] | None = None,
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.dims = (self.shape[1],) if dims is None else tuple(int(d) for d in dims)
        self.dimsd = (self.shape[0],) if dimsd is None else tuple(int(d) for d in dimsd)

    def _matvec(self, x: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define _matvec(x)")

    def _rmatvec(self, y: Array) -> Array:
        raise TypeError(f"{type(self).__name__} must define _rmatvec(y)")

    def matvec(self, x: Array) -> Array:
        """Return A x for x of shape (n,)."""
        return self._matvec(_vector(x, self.shape[1], "x", self))

    def rmatvec(self, y: Array) -> Array:
        """Return A^H y for y of shape (m,)."""
        return self._rmatvec(_vector(y, self.shape[0], "y", self))

    def lent(self, call: str, v: Array) -> Array:
        """Return matvec(v) or rmatvec(v); v may be overwritten, and the answer by the next product."""
        return np.asarray(getattr(self, call)(v))

    def matmat(self, X: Array) -> Array:
        """Return A X for X of shape (n, k): one product a column unless overridden."""
        return _by_columns(self._matvec, X, self.shape[0], np.result_type(X, self.dtype))

    def rmatmat(self, Y: Array) -> Array:
        """Return A^H Y for Y of shape (m, k): one product a column unless overridden."""
        return _by_columns(self._rmatvec, Y, self.shape[1], np.result_type(Y, self.dtype))

    def columns(self, index: Array) -> Array:
        """Return the columns ``index`` of A as an F-ordered (m, k) array; k products by default.

        Set ``closed_columns = True`` where an override makes none: solvers then count them apart.
        """
        index = np.asarray(index)
        out = np.empty((self.shape[0], index.size), dtype=np.result_type(self.dtype, float), order="F")
        unit = np.zeros(self.shape[1], dtype=out.dtype)
        for k, j in enumerate(index):
            unit[j] = 1.0
            out[:, k] = self._matvec(unit)
            unit[j] = 0.0
        return out

    def norm_bound(self) -> float | None:
        """Return an upper bound of the spectral norm of A in closed form, None where unknown."""
        return None

    def column_norms(self) -> Array | None:
        """Return the exact column norms, shape (n,), where they cost O(m + n); otherwise None."""
        return None

    def row_norms(self) -> Array | None:
        """Return the exact row norms, shape (m,), where they cost O(m + n); otherwise None."""
        return None

    def gram_entries(self, weights: Array | None = None) -> Entries | None:
        """Return (i, j) -> entries i, j of A^H diag(weights) A in closed form, None where there is none.

        Entries must cost no product with A and O(1) each; ``weights`` (m,) are real, ones by default.
        """
        return None

    def row_gram_entries(self, weights: Array | None = None) -> Entries | None:
        """Return the same for A diag(weights) A^H, weights (n,): the Gram matrix of the adjoint map."""
        return None

    @property
    def H(self) -> Operator:
        """The adjoint map A^H, shape (n, m)."""
        from sparseinv.operators.algebra import Adjoint

        return Adjoint(self)

    def __matmul__(self, other: Any) -> Any:
        from sparseinv.operators.algebra import Composition

        if isinstance(other, Operator):
            return Composition(self, other)
        other = np.asarray(other)
        return self.matvec(other) if other.ndim == 1 else self.matmat(other)

    def __mul__(self, factor: complex) -> Operator:
        from sparseinv.operators.algebra import Scaled

        return Scaled(self, factor)

    __rmul__ = __mul__

    def __neg__(self) -> Operator:
        return self * -1.0

    def __add__(self, other: Operator) -> Operator:
        from sparseinv.operators.algebra import Sum

        return Sum(self, other)

    def __sub__(self, other: Operator) -> Operator:
        return self + other * -1.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape[0]} x {self.shape[1]}, {self.dtype})"


def _vector(v: Array, size: int, name: str, operator: Operator) -> Array:
    v = np.asarray(v)
    if v.shape != (size,):
        raise ValueError(f"{name} has shape {v.shape}, but {operator!r} needs ({size},)")
    return native(v)


def native(v: Array) -> Array:
    """Return v in the byte order of this machine; what is read from seismic files often has the other one."""
    return v if v.dtype.isnative else v.astype(v.dtype.newbyteorder("="))


def _by_columns(product: Any, X: Array, rows: int, dtype: Any) -> Array:
    X = native(np.asarray(X))
    if X.ndim != 2:
        raise ValueError(f"a matrix of shape (rows, k) is needed, but the argument has shape {X.shape}")
    out = np.empty((rows, X.shape[1]), dtype=dtype, order="F")
    for k in range(X.shape[1]):
        out[:, k] = product(X[:, k])
    return out
