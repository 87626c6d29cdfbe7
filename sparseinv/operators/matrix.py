"""Explicit matrices, dense or CSC: operators whose columns kernels can read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sparseinv.operators.base import Operator
from sparseinv.operators.grid import column_index, matrix_argument

Array = np.ndarray[Any, Any]

_SHORT = 10_000  # entries up to which BLAS takes one thread for an inner product


_SPARSE = 0.25  # share of non-zeros in x up to which a product reads only their columns
_BLOCK = 256  # columns copied at a time for that
_ENTRIES = 1 << 20  # entries of a sparse matrix squared at a time
_QUICK = 50_000  # entries of a sparse matrix that are multiplied faster than a few columns are picked
_LARGE = 1 << 15  # entries of a matrix from which a kernel of our own is worth its loading
_CACHED = 1 << 19  # entries of a dense matrix up to which BLAS, with nothing to wait for, is as fast
_ROWS = 2048  # rows up to which one column after the other is faster than BLAS, which takes them in blocks


class Layout(NamedTuple):
    """The arrays that kernels receive: a dense F-ordered matrix or the three CSC arrays.

    The unused half is empty, so that one compiled kernel serves both.
    """

    dense: Array
    data: Array
    indices: Array
    indptr: Array


class ExplicitMatrix(Operator):
    """Share what dense and CSC matrices have in common."""

    explicit = True
    closed_columns = True
    sparse = False
    layout: Layout
    array: Any  # (m, n): F-ordered ndarray, or CSC
    known: tuple[Array, Array] | None = None  # b and A^T b, where A was read for both
    _largest: float | None = None

    def survey(self, b: Array) -> bool:
        """Form A^T b and the largest modulus in one pass over A; return False where that does not pay.

        Of a sparse matrix also False where it is not canonical. After True `known` holds b and A^T b,
        and `max_abs` tells whether all entries are finite: it is no number, or infinite, if not.
        """
        if self.dtype.kind != "f" or b.dtype != self.dtype or not self._large:
            return False
        product = np.empty(self.shape[1])
        bits = self._survey(np.ascontiguousarray(b), product)
        if bits < 0:
            return False
        self._largest = float(np.int64(bits).view(np.float64))
        self.known = (b, product)
        return True

    @property
    def _large(self) -> bool:
        return False

    def _survey(self, b: Array, product: Array) -> int:
        raise TypeError(f"{type(self).__name__} must define _survey(b, product)")

    def gram(self, index: Array | None = None) -> Array:
        """Return A_S^H A_S as a dense array, S = index (all columns if None)."""
        raise TypeError(f"{type(self).__name__} must define gram(index)")

    def picked(self, index: Array) -> Any:
        """Return the columns, copied: a dense array or, of a sparse matrix, CSC."""
        return self.array[:, np.asarray(index)]

    def take(self, index: Array, out: Array | None = None) -> Array:
        """Return the columns as the rows of a dense array, written into ``out`` if there is one."""
        raise TypeError(f"{type(self).__name__} must define take(index, out)")

    def entries(self, index: Array) -> int:
        """Return how many numbers the columns hold."""
        return int(np.size(index)) * self.shape[0]

    def scaled(self, exponent: int) -> ExplicitMatrix:
        """Return the matrix times 2**exponent, copied."""
        raise TypeError(f"{type(self).__name__} must define scaled(exponent)")

    def rows(self, index: Array) -> ExplicitMatrix:
        """Return the rows ``index`` (increasing), copied."""
        raise TypeError(f"{type(self).__name__} must define rows(index)")

    def max_abs(self) -> float:
        """Return the largest modulus (of real and imaginary parts) of an entry."""
        raise TypeError(f"{type(self).__name__} must define max_abs()")


class DenseMatrix(ExplicitMatrix):
    """Hold a dense matrix in column-major order.

    Parameters
    ----------
    A : ndarray, shape (m, n)
        Finite float64 or complex128; copied only if it is not F-contiguous.
    largest : float, optional
        The largest modulus of a real or imaginary part, where it is known.
    """

    def __init__(self, A: Array, largest: float | None = None) -> None:
        super().__init__(A.shape, A.dtype)
        self._largest = largest
        self.array = _for_kernels(np.require(A, requirements=["F", "A"]))
        m, n = A.shape
        if min(m, n) > 1:
            empty = np.empty(0, dtype=np.int32)
            self.layout = Layout(self.array, np.empty(0, dtype=A.dtype), empty, empty)
        else:
            # one row or column is both C- and F-contiguous, which kernels would compile for anew
            rows = np.tile(np.arange(m, dtype=np.int32), n)
            pointers = m * np.arange(n + 1, dtype=np.int32)
            self.layout = Layout(_no_dense(A.dtype), self.array.ravel(order="F"), rows, pointers)

    def _matvec(self, x: Array) -> Array:
        live = _few(x)
        if live is None:
            return self.array @ x
        out = np.zeros(self.shape[0], dtype=np.result_type(self.array, x))
        for start in range(0, live.size, _BLOCK):
            index = live[start : start + _BLOCK]
            out += self.array[:, index] @ x[index]
        return out

    def _rmatvec(self, y: Array) -> Array:
        if self.array.dtype.kind == "c":
            return np.conj(np.conj(y) @ self.array)  # no conjugated copy of the matrix
        if y.dtype == self.dtype and self.array.size > _CACHED and 1 < self.shape[0] <= _ROWS:
            from sparseinv.kernels.products import adjoint_product

            out = np.empty(self.shape[1])
            adjoint_product(self.array, np.ascontiguousarray(y), out)
            return out
        return y @ self.array

    @property
    def _large(self) -> bool:
        return self.array.size >= _LARGE and min(self.shape) > 1

    def _survey(self, b: Array, product: Array) -> int:
        from sparseinv.kernels.products import surveying_product

        return int(surveying_product(self.array, self.array.view(np.int64), b, product))

    # BLAS is a quarter faster where the long side comes last, and nothing of A is conjugated

    def matmat(self, X: Array) -> Array:
        """Return A X."""
        return (X.T @ self.array.T).T

    def rmatmat(self, Y: Array) -> Array:
        """Return A^H Y."""
        if "c" in (self.array.dtype.kind, Y.dtype.kind):
            return (Y.conj().T @ self.array).conj().T
        return (Y.T @ self.array).T

    def columns(self, index: Array) -> Array:
        """Return the columns as an F-ordered copy."""
        return np.asfortranarray(self.array[:, index])

    def take(self, index: Array, out: Array | None = None) -> Array:
        """Return the columns as rows."""
        return np.take(self.array.T, index, axis=0, out=out, mode="clip")

    def column_norms(self) -> Array:
        """Return the Euclidean column norms."""
        return np.sqrt(_column_squares(self.array))

    def gram(self, index: Array | None = None) -> Array:
        """Return the Gram matrix of the columns."""
        part = self.array if index is None else self.array[:, index]
        return part.conj().T @ part

    def scaled(self, exponent: int) -> DenseMatrix:
        """Return a copy times 2**exponent."""
        return DenseMatrix(ldexp(self.array, exponent))

    def rows(self, index: Array) -> DenseMatrix:
        """Return the rows, copied."""
        return DenseMatrix(np.take(self.array.T, index, axis=1).T)  # column-major with one copy

    def max_abs(self) -> float:
        """Return the largest modulus of a real or imaginary part."""
        if self._largest is None:
            self._largest = _max_abs(self.array)
        return self._largest


class SparseMatrix(ExplicitMatrix):
    """Hold a sparse matrix in canonical CSC form: sorted, no duplicates, no explicit zeros.

    Parameters
    ----------
    A : scipy.sparse array or matrix, shape (m, n)
        Any format; float64 or complex128, finite.
    largest : float, optional
        The largest modulus of a real or imaginary part, where it is known.
    """

    sparse = True

    def __init__(self, A: Any, largest: float | None = None) -> None:
        super().__init__(A.shape, A.dtype)
        self._largest = largest
        wide = max(A.shape[0], A.nnz) > np.iinfo(np.int32).max
        kind = np.int64 if wide else np.int32
        self.array = A
        self.layout = Layout(
            _no_dense(A.dtype),
            _for_kernels(A.data),
            _for_kernels(A.indices.astype(kind, copy=False)),
            _for_kernels(A.indptr.astype(kind, copy=False)),
        )
        self._transpose = A.T  # a CSR view: A^H y runs over the same arrays

    @property
    def _large(self) -> bool:
        return self.layout.data.size >= _LARGE

    def _survey(self, b: Array, product: Array) -> int:
        from sparseinv.kernels.products import surveying_sparse_product

        _, data, indices, indptr = self.layout
        return int(surveying_sparse_product(data, data.view(np.int64), indices, indptr, b, product))

    def _matvec(self, x: Array) -> Array:
        live = _few(x) if self.array.nnz > _QUICK else None
        return np.asarray(self.array @ x if live is None else self.array[:, live] @ x[live])

    def _rmatvec(self, y: Array) -> Array:
        if self.array.dtype.kind == "c":
            return np.asarray(np.conj(self._transpose @ np.conj(y)))
        return np.asarray(self._transpose @ y)

    def matmat(self, X: Array) -> Array:
        """Return A X."""
        return np.asarray(self.array @ X)

    def rmatmat(self, Y: Array) -> Array:
        """Return A^H Y."""
        return np.asarray(np.conj(self._transpose @ np.conj(Y)))

    def columns(self, index: Array) -> Array:
        """Return the columns as a dense F-ordered copy."""
        return np.asfortranarray(self.picked(index).toarray())

    def take(self, index: Array, out: Array | None = None) -> Array:
        """Return the columns as rows."""
        return self.picked(index).T.toarray(out=out)

    def entries(self, index: Array) -> int:
        """Return how many numbers the columns hold."""
        pointers = self.layout.indptr
        return int((pointers[index + 1] - pointers[index]).sum())

    def column_norms(self) -> Array:
        """Return the Euclidean column norms."""
        squares, data, pointers = np.zeros(self.shape[1]), self.array.data, self.array.indptr
        first, n = 0, self.shape[1]
        while first < n:  # by blocks of columns, so that no array of all entries is made
            last = int(np.searchsorted(pointers, int(pointers[first]) + _ENTRIES, side="right")) - 1
            last = min(max(last, first + 1), n)
            part = data[pointers[first] : pointers[last]]
            moduli = part.real**2 + part.imag**2 if part.dtype.kind == "c" else part**2
            filled = first + np.flatnonzero(np.diff(pointers[first : last + 1]))
            if filled.size:
                squares[filled] = np.add.reduceat(moduli, pointers[filled] - pointers[first])
            first = last
        return np.sqrt(squares)

    def gram(self, index: Array | None = None) -> Array:
        """Return the Gram matrix of the columns as a dense array."""
        part = self.array if index is None else self.array[:, np.asarray(index)]
        return np.asarray((part.conj().T @ part).toarray())

    def scaled(self, exponent: int) -> SparseMatrix:
        """Return a copy times 2**exponent."""
        copy = self.array.copy()
        copy.data = ldexp(copy.data, exponent)
        return SparseMatrix(copy)

    def rows(self, index: Array) -> SparseMatrix:
        """Return the rows, copied, by way of a row-wise copy of the matrix."""
        return SparseMatrix(self.array.tocsr()[index].tocsc())

    def max_abs(self) -> float:
        """Return the largest modulus of a real or imaginary part."""
        if self._largest is None:
            self._largest = _max_abs(self.array.data)
        return self._largest


def _few(x: Array) -> Array | None:
    """Return the places of the non-zeros where they are so few that reading only their columns is faster."""
    few = x.size > _BLOCK and np.count_nonzero(x) < _SPARSE * x.size
    return np.flatnonzero(x) if few else None


class _Alias:
    """Present the memory of a read-only array as writable."""

    def __init__(self, array: Array) -> None:
        self.array = array  # kept alive
        described = array.__array_interface__
        self.__array_interface__ = {**described, "data": (described["data"][0], False)}


def _for_kernels(array: Array) -> Array:
    """Return the array itself, or an alias of a read-only one.

    No kernel writes into a matrix, but each would be compiled anew for read-only arguments.
    """
    return array if array.flags.writeable else np.asarray(_Alias(array))


def _no_dense(dtype: Any) -> Array:
    """Return a placeholder that is F- but not C-contiguous, like every dense matrix."""
    return np.zeros((2, 2), dtype=dtype, order="F")


def _column_squares(A: Array) -> Array:
    if A.dtype.kind == "c":
        return _column_squares(A.real) + _column_squares(A.imag)
    return np.asarray(np.einsum("ij,ij->j", A, A))


def inner(u: Array, v: Array) -> complex:
    """Return <u, v>; of long vectors in one thread, because a thread pool costs more than it saves."""
    if u.size <= _SHORT:
        return complex(np.vdot(u, v))
    return complex(np.einsum("i,i->", u.conj() if u.dtype.kind == "c" else u, v))


def squared(v: Array) -> float:
    """Return ||v||^2 as a float."""
    if v.size <= _SHORT:
        return float(np.vdot(v, v).real)
    if v.dtype.kind == "c":
        return squared(v.real) + squared(v.imag)
    return float(np.einsum("i,i->", v, v))


def ldexp(values: Array, exponent: int) -> Array:
    """Return values times 2**exponent, real or complex; the same array where exponent is 0."""
    if exponent == 0:
        return values
    with np.errstate(over="ignore", under="ignore"):
        if values.dtype.kind == "c":
            out = np.empty_like(values)
            out.real = np.ldexp(values.real, exponent)
            out.imag = np.ldexp(values.imag, exponent)
            return out
        return np.asarray(np.ldexp(values, exponent))


def _max_abs(values: Array) -> float:
    if values.size == 0:
        return 0.0
    if values.dtype.kind == "c":
        return max(_max_abs(values.real), _max_abs(values.imag))
    return max(float(values.max()), -float(values.min()))


class Diagonal(Operator):
    """Multiply by a vector: (A x)_i = d_i x_i.

    Parameters
    ----------
    diagonal : array_like, shape (n,)
        Real or complex.

    Notes
    -----
    Single precision is kept: what is multiplied by x in single precision is d rounded to it.
    """

    closed_columns = True
    entrywise = True

    def __init__(self, diagonal: Array) -> None:
        self.diagonal = np.asarray(diagonal)
        if self.diagonal.ndim != 1:
            raise ValueError(f"diagonal has shape {self.diagonal.shape}, but a vector is needed")
        super().__init__((self.diagonal.size, self.diagonal.size), self.diagonal.dtype)
        self._rounded: Array | None = None

    def _factors(self, x: Array) -> Array:
        if x.dtype.char not in "fF" or self.dtype.kind not in "fc":
            return self.diagonal
        if self._rounded is None:
            self._rounded = self.diagonal.astype(np.complex64 if self.dtype.kind == "c" else np.float32)
        return self._rounded

    def _matvec(self, x: Array) -> Array:
        return np.asarray(self._factors(x) * x)

    def _rmatvec(self, y: Array) -> Array:
        return np.asarray(self._factors(y).conj() * y)

    def matmat(self, X: Array) -> Array:
        """Return A X."""
        X = matrix_argument(X, self.shape[1], "X", self)
        return np.asarray(self._factors(X)[:, None] * X)

    def rmatmat(self, Y: Array) -> Array:
        """Return A^H Y."""
        Y = matrix_argument(Y, self.shape[0], "Y", self)
        return np.asarray(self._factors(Y).conj()[:, None] * Y)

    def columns(self, index: Array) -> Array:
        """Return multiples of unit vectors."""
        j = column_index(index, self.shape[1])
        out = np.zeros((self.shape[0], j.size), dtype=np.result_type(self.dtype, float), order="F")
        out[j, np.arange(j.size)] = self.diagonal[j]
        return out

    def norm_bound(self) -> float:
        """Return the largest modulus."""
        return float(np.abs(self.diagonal).max(initial=0.0))

    def column_norms(self) -> Array:
        """Return the moduli."""
        return np.abs(self.diagonal)

    def row_norms(self) -> Array:
        """Return the moduli."""
        return np.abs(self.diagonal)
