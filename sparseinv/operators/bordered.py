"""A matrix with columns of ones behind it: what an intercept needs, without a copy of the matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.operators.matrix import DenseMatrix, ExplicitMatrix, SparseMatrix, ldexp

Array = np.ndarray[Any, Any]


class BorderedMatrix(ExplicitMatrix):
    """Represent [A 1], or [A 1 -1], for an explicit A that stays where it is.

    Kernels receive the layout of A and know the columns behind its last one: ones, then minus ones.

    Parameters
    ----------
    inner : ExplicitMatrix, shape (m, n)
        A.
    count : int
        1, or 2 where the coefficient of the ones must not be negative and the intercept may be.
    """

    def __init__(self, inner: ExplicitMatrix, count: int = 1) -> None:
        super().__init__((inner.shape[0], inner.shape[1] + count), inner.dtype)
        self.inner, self.sparse, self.layout = inner, inner.sparse, inner.layout
        self.width = inner.shape[1]
        self.signs = np.array([1.0, -1.0])[:count]
        if inner.known is not None:
            b, product = inner.known
            self.known = (b, self._completed(product, b))

    def _completed(self, product: Array, y: Array) -> Array:
        sums = np.multiply.outer(self.signs, y.sum(axis=0))
        return np.concatenate([product, sums.astype(product.dtype, copy=False)])

    def _matvec(self, x: Array) -> Array:
        return self.inner.matvec(x[: self.width]) + self.signs @ x[self.width :]

    def _rmatvec(self, y: Array) -> Array:
        return self._completed(self.inner.rmatvec(y), y)

    def matmat(self, X: Array) -> Array:
        """Return [A 1] X."""
        return self.inner.matmat(X[: self.width]) + self.signs @ X[self.width :]

    def rmatmat(self, Y: Array) -> Array:
        """Return [A 1]^H Y."""
        return self._completed(self.inner.rmatmat(Y), Y)

    def survey(self, b: Array) -> bool:
        """Do as the matrix does."""
        if not self.inner.survey(b):
            return False
        assert self.inner.known is not None
        self.known = (b, self._completed(self.inner.known[1], b))
        return True

    def max_abs(self) -> float:
        """Return the largest modulus in A, whose scale decides on that of the columns of ones."""
        return self.inner.max_abs()

    def column_norms(self) -> Array:
        """Return the Euclidean column norms."""
        norms = self.inner.column_norms()
        assert norms is not None
        return np.append(norms, np.full(self.signs.size, np.sqrt(float(self.shape[0]))))

    def columns(self, index: Array) -> Array:
        """Return the columns as a dense F-ordered copy."""
        return np.asfortranarray(self.take(np.asarray(index)).T)

    def take(self, index: Array, out: Array | None = None) -> Array:
        """Return the columns as rows."""
        within = index < self.width
        if within.all():
            return self.inner.take(index, out)
        rows = np.empty((index.size, self.shape[0]), dtype=self.dtype) if out is None else out
        rows[within] = self.inner.take(index[within])
        rows[~within] = self.signs[index[~within] - self.width, None]
        return rows

    def picked(self, index: Array) -> Any:
        """Return the columns, copied: a dense array or, of a sparse matrix, CSC."""
        index = np.asarray(index)
        within = index < self.width
        if within.all():
            return self.inner.picked(index)
        if not self.sparse:
            return self.columns(index)
        from scipy.sparse import csc_array, hstack

        filled = csc_array(np.outer(np.ones(self.shape[0]), self.signs).astype(self.dtype))
        parts = hstack([self.inner.picked(index[within]), filled], format="csc")
        place = np.cumsum(within) - 1
        place[~within] = int(within.sum()) + index[~within] - self.width
        return parts[:, place]

    def entries(self, index: Array) -> int:
        """Return how many numbers the columns hold."""
        within = index[index < self.width]
        return self.inner.entries(within) + (index.size - within.size) * self.shape[0]

    def gram(self, index: Array | None = None) -> Array:
        """Return the Gram matrix of the columns."""
        if index is None:
            corner = self.shape[0] * np.multiply.outer(self.signs, self.signs)
            edge = np.multiply.outer(self.inner.rmatvec(np.ones(self.shape[0])), self.signs)
            return np.block([[self.inner.gram(), edge], [edge.conj().T, corner]])
        part = self.picked(index)
        gram = part.conj().T @ part
        return np.asarray(gram.toarray() if self.sparse else gram)

    def rows(self, index: Array) -> ExplicitMatrix:
        """Return the rows, copied."""
        return BorderedMatrix(self.inner.rows(index), self.signs.size)

    def scaled(self, exponent: int) -> ExplicitMatrix:
        """Return a copy times 2**exponent, columns of ones included."""
        every = self.picked(np.arange(self.shape[1]))
        if not self.sparse:
            return DenseMatrix(ldexp(every, exponent))
        every.data = ldexp(every.data, exponent)
        return SparseMatrix(every)
