"""Blocks of coefficients with one level each, and their columns in coordinates without correlation.

A block is a group, or one complex coefficient. With A_g^H A_g = V diag(s) V^H the coefficients become
x_g = V y_g, which changes no norm: the columns A_g V are orthogonal, those within rounding of zero are
left out, and the minimiser over one block is found by one scalar equation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.penalties.group import Grouped
from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]

_BATCH = 1 << 22  # entries of A laid out at a time


@dataclass(frozen=True, eq=False)
class Blocks:
    """Say which coefficients form a block and what it costs: level ||x_g|| + ridge ||x_g||^2 / 2."""

    order: Array  # block g is order[starts[g]:starts[g + 1]]
    starts: Array
    level: Array
    ridge: Array
    single: bool  # block g is coefficient g

    @classmethod
    def of(cls, penalty: Any) -> Blocks:
        """Read the blocks off a bound penalty: its groups, or one coefficient each."""
        if isinstance(penalty, Grouped):
            return cls(penalty.order, penalty.starts, penalty.lam, np.zeros(penalty.lam.size), False)
        level = np.where(penalty.excluded, np.inf, penalty.l1)  # l0 may be what excludes
        return cls(np.arange(penalty.n), np.arange(penalty.n + 1), level, penalty.l2, True)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.level.size)

    @property
    def excluded(self) -> Array:
        """Mask of the blocks held at zero."""
        return np.isinf(self.level) | np.isinf(self.ridge)

    @property
    def unpenalised(self) -> Array:
        """Mask of the blocks without a level."""
        return (self.level == 0) & (self.ridge == 0)

    def norms(self, v: Array) -> Array:
        """Return the Euclidean norm of every block of v (n,)."""
        return np.abs(v) if self.single else block_norms(v[self.order], self.starts)

    def columns(self, index: Array) -> tuple[Array, Array]:
        """Return (columns of the blocks ``index`` one after another, columns of each)."""
        first, sizes = self.starts[index], np.diff(self.starts)[index]
        return self.order[np.repeat(first, sizes) + ranges(sizes)], sizes


def ranges(sizes: Array) -> Array:
    """Return 0, 1, ..., sizes[0] - 1, 0, 1, ..., sizes[1] - 1, and so on."""
    ends = np.cumsum(sizes)
    return np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - sizes, sizes)


def block_norms(v: Array, starts: Array) -> Array:
    """Return the Euclidean norms of v[starts[g]:starts[g + 1]]; the blocks are not empty."""
    if starts.size == v.size + 1:
        return np.abs(v)
    return np.sqrt(np.add.reduceat(v.real**2 + v.imag**2, starts[:-1])) if v.size else np.zeros(0)


@dataclass(frozen=True, eq=False)
class BlockColumns:
    """Hold the columns A_g V of some blocks, and V as triplets: x[where] += weight * y[whence]."""

    index: Array  # blocks
    sizes: Array  # columns kept of each, its rank
    rows: Array  # the columns of a dense A, one a row, shape (k, m)
    sparse: Any  # the same for a sparse A, CSC (m, k); None for a dense one
    where: Array
    whence: Array
    weight: Array

    @property
    def k(self) -> int:
        """Number of columns."""
        return int(self.sizes.sum())

    def gram(self, other: BlockColumns) -> Array:
        """Return the products of all columns of this with all of the other, shape (k, other.k)."""
        if self.sparse is not None:
            return np.asarray((self.sparse.conj().T @ other.sparse).toarray())
        # conjugates of what is short: those of the columns at hand would be copied anew every time
        return np.conj(self.rows @ other.rows.conj().T)

    def gram_of(self, index: Array) -> Array:
        """Return the products of the columns ``index`` with one another."""
        if self.sparse is not None:
            part = self.sparse[:, index]
            return np.asarray((part.conj().T @ part).toarray())
        rows = self.rows[index]
        return np.conj(rows @ rows.conj().T)

    def dense(self, index: Array) -> Array:
        """Return the columns ``index``, one a row."""
        return self.rows[index] if self.sparse is None else np.asarray(self.sparse[:, index].toarray().T)

    def squares(self) -> Array:
        """Return the squared norms of the columns."""
        if self.sparse is not None:
            moduli = self.sparse.data.real**2 + self.sparse.data.imag**2
            owner = np.repeat(np.arange(self.k), np.diff(self.sparse.indptr))
            return np.bincount(owner, weights=moduli, minlength=self.k)
        real, imag = self.rows.real, self.rows.imag
        squares = np.einsum("ij,ij->i", real, real)
        return squares + np.einsum("ij,ij->i", imag, imag) if self.rows.dtype.kind == "c" else squares

    def layout(self) -> tuple[Array, Array, Array, Array]:
        """Return (rows, data, indices, indptr) for kernels; one half is empty."""
        if self.sparse is None:
            none = np.empty(0, dtype=np.int32)
            return self.rows, np.empty(0, dtype=self.rows.dtype), none, none
        kind = np.int32 if self.sparse.nnz <= np.iinfo(np.int32).max else np.int64
        indices, indptr = (v.astype(kind, copy=False) for v in (self.sparse.indices, self.sparse.indptr))
        return self.rows, self.sparse.data, indices, indptr

    def correlate(self, r: Array) -> Array:
        """Return the products of all columns with r."""
        if self.sparse is not None:
            return np.conj(np.asarray(self.sparse.T @ np.conj(r)))
        return np.conj(self.rows @ np.conj(r))

    def combine(self, y: Array) -> Array:
        """Return sum_i y_i a_i."""
        live = np.flatnonzero(y)
        if self.sparse is not None:
            return np.asarray(self.sparse[:, live] @ y[live])
        return y @ self.rows if 3 * live.size > y.size else y[live] @ self.rows[live]

    def spread(self, y: Array, n: int) -> Array:
        """Return x (n,) from the coordinates y."""
        return _sum(self.weight * y[self.whence], self.where, n)

    def gather(self, v: Array) -> Array:
        """Return V^H v for v (n,)."""
        return _sum(np.conj(self.weight) * v[self.where], self.whence, self.k)

    def taken(self, kept: Array) -> BlockColumns:
        """Return the blocks of the mask ``kept``."""
        if kept.all():
            return self
        columns = np.repeat(kept, self.sizes)
        place = np.cumsum(columns) - 1
        mine = columns[self.whence]
        return BlockColumns(
            self.index[kept], self.sizes[kept], self.rows[columns] if self.sparse is None else self.rows,
            None if self.sparse is None else self.sparse[:, np.flatnonzero(columns)],
            self.where[mine], place[self.whence[mine]], self.weight[mine],
        )  # fmt: skip

    def joined(self, other: BlockColumns, buffer: Array) -> BlockColumns:
        """Return both, one after the other; rows of a dense A are written into ``buffer``."""
        rows, sparse = self.rows, self.sparse
        if sparse is not None:
            from scipy.sparse import hstack

            sparse = hstack([sparse, other.sparse], format="csc")
        else:
            rows = buffer[: self.k + other.k]
            rows[self.k :] = other.rows
        return BlockColumns(
            np.concatenate([self.index, other.index]), np.concatenate([self.sizes, other.sizes]),
            rows, sparse,
            np.concatenate([self.where, other.where]), np.concatenate([self.whence, other.whence + self.k]),
            np.concatenate([self.weight, other.weight]),
        )  # fmt: skip


def _sum(values: Array, place: Array, size: int) -> Array:
    out = np.bincount(place, weights=values.real, minlength=size)
    if values.dtype.kind != "c":
        return out
    return out + 1j * np.bincount(place, weights=values.imag, minlength=size)


def take_columns(problem: Problem, blocks: Blocks, index: Array) -> BlockColumns:
    """Copy the columns of the blocks ``index`` and turn each block into uncorrelated coordinates."""
    columns, sizes = blocks.columns(index)
    inner = problem.operator.inner
    assert isinstance(inner, ExplicitMatrix)
    is_sparse = inner.sparse
    if is_sparse:
        part: Any = inner.picked(columns)
        alive = np.diff(part.indptr) > 0
    else:
        part = inner.take(columns).astype(problem.dtype, copy=False)
        alive = part.any(axis=1)
    single = np.repeat(sizes == 1, sizes)
    if single.all():
        kept = sizes if alive.all() else alive.astype(sizes.dtype)
        found = BlockColumns(
            index, kept, np.empty((0, problem.m), dtype=problem.dtype) if is_sparse else part[alive],
            part[:, np.flatnonzero(alive)].astype(problem.dtype) if is_sparse else None,
            columns[alive], np.arange(int(alive.sum())), np.ones(int(alive.sum()), dtype=problem.dtype),
        )  # fmt: skip
        return found
    ends = np.cumsum(sizes)
    bases: list[Array] = [np.ones((1, 1))] * index.size
    for k in np.unique(sizes):
        same = np.flatnonzero(sizes == k)
        at_once = 1 if is_sparse else max(1, _BATCH // max(problem.m * int(k), 1))
        for start in range(0, same.size, at_once):
            some = same[start : start + at_once]
            members = (ends[some] - k)[:, None] + np.arange(k)
            if is_sparse:
                dense = _filled_rows(part[:, members[0]])[None]
            else:
                dense = part[members.ravel()].reshape(some.size, int(k), problem.m).transpose(0, 2, 1)
            s, vectors = (np.ones((some.size, 1)), None) if k == 1 else eigen(dense)
            for i, g in enumerate(some):
                if vectors is None:
                    bases[g] = np.ones((int(alive[ends[g] - 1]), 1))
                else:
                    bases[g] = vectors[i][s[i] > 0.0]
    ranks = np.array([basis.shape[0] for basis in bases])
    whence = np.repeat(np.cumsum(ranks) - ranks, ranks) + ranges(ranks)
    whence = np.repeat(whence, np.repeat(sizes, ranks))
    spans = zip(ends, sizes, ranks, strict=True)
    inside = np.concatenate([np.tile(np.arange(end - k, end), rank) for end, k, rank in spans])
    weight = np.concatenate([basis.ravel() for basis in bases]).astype(problem.dtype, copy=False)
    if is_sparse:
        from scipy.sparse import csc_array

        turn = csc_array((weight, (inside, whence)), shape=(columns.size, int(ranks.sum())))
        sparse: Any = csc_array(part @ turn)
        sparse.sort_indices()
        rows = np.empty((0, problem.m), dtype=problem.dtype)
    else:
        sparse = None
        rows = np.empty((int(ranks.sum()), problem.m), dtype=problem.dtype)
        first = 0
        for e, k, r, basis in zip(ends, sizes, ranks, bases, strict=True):
            rows[first : first + r] = basis @ part[e - k : e]
            first += r
    return BlockColumns(index, ranks, rows, sparse, columns[inside], whence, weight)


def _filled_rows(part: Any) -> Array:
    """Return the rows of a CSC matrix that are not empty, dense."""
    rows, place = np.unique(part.indices, return_inverse=True)
    out = np.zeros((rows.size, part.shape[1]), dtype=part.dtype)
    out[place, np.repeat(np.arange(part.shape[1]), np.diff(part.indptr))] = part.data
    return out


def eigen(columns: Array) -> tuple[Array, Array]:
    """Return eigenvalues (G, k) and eigenvectors (G, k, k), one a row, of the Gram matrices of (G, m, k).

    From singular values, because Gram matrices would lose what lies below 1e-8 of the norm. They are raised
    by their rounding errors, so that no step is too long; values within rounding of zero become zero.
    """
    count, m, k = columns.shape
    if m == 0:
        return np.zeros((count, k)), np.broadcast_to(np.eye(k), (count, k, k))
    # powers of two, so that the scale of A changes no bit
    exponent = np.frexp(np.abs(columns).max(axis=(1, 2)))[1]
    triangle = np.linalg.qr(columns * np.ldexp(1.0, -exponent)[:, None, None], mode="r")
    _, sigma, adjoint = np.linalg.svd(triangle)
    padded = np.zeros((count, k))
    padded[:, : sigma.shape[1]] = sigma
    rounding = 4e-16 * max(k, 8) * sigma[:, :1]
    s = np.where(padded > 2.0 * rounding, padded + rounding, 0.0) ** 2
    return np.ldexp(s, 2 * exponent[:, None]), adjoint.conj()
