"""New operators from old ones: adjoints, products, sums and blocks, none of them formed."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sparseinv.operators.base import Entries, Operator
from sparseinv.operators.grid import column_index, matrix_argument

Array = np.ndarray[Any, Any]

_TINY = float(np.finfo(np.float64).tiny)


class Adjoint(Operator):
    """Represent A^H, the conjugate transpose of A; usually written ``A.H``.

    Parameters
    ----------
    operator : Operator, shape (m, n)
        A.

    Notes
    -----
    A product costs one product with the adjoint of A, and the other way round. ``A.H.H`` is A.

    Examples
    --------
    >>> from sparseinv.operators import FFT
    >>> FFT(4, sizes=8).H
    Adjoint(4 x 8, complex128)
    """

    def __init__(self, operator: Operator) -> None:
        m, n = operator.shape
        super().__init__((n, m), operator.dtype, dims=operator.dimsd, dimsd=operator.dims)
        self.operator = operator
        self.clinear = operator.clinear
        # a product with an entrywise map costs no more than writing the column down
        self.closed_columns = self.entrywise = operator.entrywise

    def _matvec(self, x: Array) -> Array:
        return self.operator.rmatvec(x)

    def _rmatvec(self, y: Array) -> Array:
        return self.operator.matvec(y)

    def matmat(self, X: Array) -> Array:
        """Return A^H X."""
        return self.operator.rmatmat(X)

    def rmatmat(self, Y: Array) -> Array:
        """Return A Y."""
        return self.operator.matmat(Y)

    def norm_bound(self) -> float | None:
        """Return the bound of A."""
        return self.operator.norm_bound()

    def column_norms(self) -> Array | None:
        """Return the row norms of A where A offers them."""
        return self.operator.row_norms()

    def gram_entries(self, weights: Array | None = None) -> Entries | None:
        """Return entries of A diag(weights) A^H where A offers them."""
        return self.operator.row_gram_entries(weights)

    @property
    def H(self) -> Operator:
        """The operator itself: (A^H)^H = A."""
        return self.operator


class Composition(Operator):
    """Represent the product A B: x -> A (B x); usually written ``A @ B``.

    Parameters
    ----------
    left : Operator, shape (m, p)
        A.
    right : Operator, shape (p, n)
        B; ValueError if the inner sizes differ.

    Notes
    -----
    ``||A B|| <= ||A|| ||B||``. A product costs one product with each.

    Examples
    --------
    >>> from sparseinv.operators import FFT, Restriction
    >>> A = Restriction((3, 4), [0, 2], axis=0) @ FFT((3, 4)).H
    >>> A.shape, A.norm_bound()
    ((8, 12), 1.0)
    """

    def __init__(self, left: Operator, right: Operator) -> None:
        left, right = _operators([left, right], "a product")
        if left.shape[1] != right.shape[0]:
            raise ValueError(
                f"{left!r} cannot follow {right!r}: it takes {left.shape[1]} entries, not {right.shape[0]}"
            )
        shape, dtype = (left.shape[0], right.shape[1]), np.result_type(left.dtype, right.dtype)
        super().__init__(shape, dtype, dims=right.dims, dimsd=left.dimsd)
        self.left, self.right = left, right
        self.clinear = left.clinear and right.clinear
        self.entrywise = left.entrywise and right.entrywise
        self.closed_columns = (left.entrywise and right.closed_columns) or (
            left.closed_columns and right.entrywise
        )

    def _matvec(self, x: Array) -> Array:
        return self.left.matvec(self.right.matvec(x))

    def _rmatvec(self, y: Array) -> Array:
        return self.right.rmatvec(self.left.rmatvec(y))

    def matmat(self, X: Array) -> Array:
        """Return A B X."""
        return self.left.matmat(self.right.matmat(X))

    def rmatmat(self, Y: Array) -> Array:
        """Return (A B)^H Y."""
        return self.right.rmatmat(self.left.rmatmat(Y))

    def columns(self, index: Array) -> Array:
        """Return A times columns of B, or multiples of columns of A where B only selects and weights."""
        if self.right.entrywise and self.left.closed_columns and not self.left.entrywise:
            entries = self.right.columns(index)
            row = np.abs(entries).argmax(axis=0)
            return np.asfortranarray(self.left.columns(row) * entries[row, np.arange(row.size)])
        return np.asfortranarray(self.left.matmat(self.right.columns(index)))

    def gram_entries(self, weights: Array | None = None) -> Entries | None:
        """Return entries of B^H D B where A only selects and weights: D = A^H diag(weights) A is diagonal."""
        if not self.left.entrywise:
            return None
        ones = np.ones(self.left.shape[1])
        image = self.left.matvec(ones)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            diagonal = self.left.rmatvec(image if weights is None else weights * image)
        return self.right.gram_entries(diagonal.real) if np.isfinite(diagonal).all() else None

    def norm_bound(self) -> float | None:
        """Return the product of the bounds."""
        bounds = _known(p.norm_bound() for p in (self.left, self.right))
        return None if bounds is None else math.prod(bounds)


class Scaled(Operator):
    """Represent c A, with adjoint conj(c) A^H; usually written ``c * A``.

    Parameters
    ----------
    operator : Operator, shape (m, n)
        A.
    factor : complex
        c, one real or complex number; TypeError or ValueError if it is none, or not finite.

    Examples
    --------
    >>> from sparseinv.operators import DCT
    >>> (-2.0 * DCT(4)).norm_bound()
    2.0
    """

    def __init__(self, operator: Operator, factor: complex) -> None:
        if np.ndim(factor) != 0 or np.asarray(factor).dtype.kind not in "biufc":
            kind = type(factor).__name__
            raise TypeError(f"an operator is multiplied by one number, not by {kind}; A @ x is a product")
        number = complex(factor)
        if not cmath.isfinite(number):
            raise ValueError(f"factor is {factor}, but a finite number is needed")
        #: c as a Python number, which leaves single precision alone
        self.factor: complex = number if np.iscomplexobj(factor) else number.real
        dtype = np.result_type(operator.dtype, self.factor)
        super().__init__(operator.shape, dtype, dims=operator.dims, dimsd=operator.dimsd)
        self.operator = operator
        self.clinear = operator.clinear
        self.closed_columns, self.entrywise = operator.closed_columns, operator.entrywise

    def _matvec(self, x: Array) -> Array:
        return self.factor * self.operator.matvec(x)

    # the factor comes first: for maps that are linear over the reals only, conj(c) A^H y is not the adjoint
    def _rmatvec(self, y: Array) -> Array:
        return self.operator.rmatvec(self.factor.conjugate() * y)

    def matmat(self, X: Array) -> Array:
        """Return c A X."""
        return self.factor * self.operator.matmat(X)

    def rmatmat(self, Y: Array) -> Array:
        """Return conj(c) A^H Y."""
        return self.operator.rmatmat(self.factor.conjugate() * np.asarray(Y))

    def columns(self, index: Array) -> Array:
        """Return c times columns of A."""
        return self.factor * self.operator.columns(index)

    def gram_entries(self, weights: Array | None = None) -> Entries | None:
        """Return abs(c)^2 times the entries."""
        entries, square = self.operator.gram_entries(weights), abs(self.factor) * abs(self.factor)
        if entries is None or (self.factor != 0 and not _TINY <= square < math.inf):
            return None
        return lambda i, j: square * entries(i, j)

    def norm_bound(self) -> float | None:
        """Return abs(c) times the bound."""
        bound = self.operator.norm_bound()
        return None if bound is None else abs(self.factor) * bound

    def column_norms(self) -> Array | None:
        """Return abs(c) times the column norms."""
        norms = self.operator.column_norms()
        return None if norms is None else abs(self.factor) * norms


class _Blocks(Operator):
    """Add up parts, each of which reads a slice of x and writes a slice of y.

    ``down`` gives every part rows of its own, ``across`` columns of its own; otherwise all share them.
    """

    def __init__(self, operators: Sequence[Operator], name: str, *, down: bool, across: bool) -> None:
        #: the operators of which this one is made
        self.parts = parts = _operators(operators, name)
        rows = _places([p.shape[0] for p in parts], down, f"{name} have different numbers of rows")
        columns = _places([p.shape[1] for p in parts], across, f"{name} have different numbers of columns")
        super().__init__(
            (rows[-1].stop, columns[-1].stop),
            np.result_type(*(p.dtype for p in parts)),
            dims=_joint_dims([p.dims for p in parts], across),
            dimsd=_joint_dims([p.dimsd for p in parts], down),
        )
        self.clinear = all(p.clinear for p in parts)
        self.closed_columns = all(p.closed_columns for p in parts)
        self._blocks = tuple(zip(parts, rows, columns, strict=True))
        self._down, self._across = down, across

    def _matvec(self, x: Array) -> Array:
        return _added(((r, p.matvec(x[c])) for p, r, c in self._blocks), self.shape[0])

    def _rmatvec(self, y: Array) -> Array:
        return _added(((c, p.rmatvec(y[r])) for p, r, c in self._blocks), self.shape[1])

    def matmat(self, X: Array) -> Array:
        """Return A X, one ``matmat`` a part."""
        X = matrix_argument(X, self.shape[1], "X", self)
        return _added(((r, p.matmat(X[c])) for p, r, c in self._blocks), self.shape[0])

    def rmatmat(self, Y: Array) -> Array:
        """Return A^H Y, one ``rmatmat`` a part."""
        Y = matrix_argument(Y, self.shape[0], "Y", self)
        return _added(((c, p.rmatmat(Y[r])) for p, r, c in self._blocks), self.shape[1])

    def columns(self, index: Array) -> Array:
        """Return columns, put together from those of the parts."""
        j = column_index(index, self.shape[1])
        out = np.zeros((self.shape[0], j.size), dtype=np.result_type(self.dtype, float), order="F")
        for part, rows, columns in self._blocks:
            at = np.flatnonzero((j >= columns.start) & (j < columns.stop))
            if at.size:
                out[rows, at] += part.columns(j[at] - columns.start)
        return out

    def norm_bound(self) -> float | None:
        """Return the largest bound (block diagonal), the root of their squares (stacks) or their sum."""
        bounds = _known(p.norm_bound() for p in self.parts)
        if bounds is None:
            return None
        if self._down and self._across:
            return max(bounds)
        return math.hypot(*bounds) if self._down or self._across else math.fsum(bounds)

    def column_norms(self) -> Array | None:
        """Return the norms of the parts, in a row or combined by Pythagoras; None for sums."""
        norms = _known(p.column_norms() for p in self.parts)
        if norms is None or not (self._down or self._across):
            return None
        return np.concatenate(norms) if self._across else np.asarray(np.hypot.reduce(norms))


class Sum(_Blocks):
    """Represent A + B + ...; usually written ``A + B``.

    Parameters
    ----------
    *operators : Operator, shape (m, n)
        At least one, all of the same shape; anything else is refused.

    Notes
    -----
    ``||A + B|| <= ||A|| + ||B||``. A product costs one product with each.

    Examples
    --------
    >>> from sparseinv.operators import DCT
    >>> (DCT(4) - 0.5 * DCT(4)).norm_bound()
    1.5
    """

    def __init__(self, *operators: Operator) -> None:
        super().__init__(operators, "a sum", down=False, across=False)


class HStack(_Blocks):
    """Represent [A B ...]: x = (x_A, x_B, ...) -> A x_A + B x_B + ..., a union of dictionaries.

    Parameters
    ----------
    operators : sequence of Operator
        At least one, all with the same number of rows; anything else is refused.

    Notes
    -----
    ``||[A B]||^2 <= ||A||^2 + ||B||^2``. A product costs one product with each. ``dims`` is
    (number of parts, *dims of a part) if the parts agree. Column norms are those of the parts.

    Examples
    --------
    Cosines and spikes, 16 coefficients for 8 samples:

    >>> import numpy as np
    >>> from sparseinv.operators import DCT, Restriction
    >>> A = HStack([DCT(8).H, Restriction(8, np.arange(8))])
    >>> A.shape, A.dims
    ((8, 16), (2, 8))
    """

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__(operators, "HStack", down=False, across=True)


class VStack(_Blocks):
    """Represent A above B above ...: x -> (A x, B x, ...), several measurements of one x.

    Parameters
    ----------
    operators : sequence of Operator
        At least one, all with the same number of columns; anything else is refused.

    Notes
    -----
    The norm obeys the same bound as that of `HStack`. A product costs one product with each.
    ``dimsd`` is (number of parts, *dimsd of a part) if the parts agree.

    Examples
    --------
    >>> from sparseinv.operators import DCT
    >>> VStack([3.0 * DCT(4), 4.0 * DCT(4)]).norm_bound()
    5.0
    """

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__(operators, "VStack", down=True, across=False)


class BlockDiagonal(_Blocks):
    """Represent diag(A, B, ...): (x_A, x_B, ...) -> (A x_A, B x_B, ...), problems side by side.

    Parameters
    ----------
    operators : sequence of Operator
        At least one, of any shapes.

    Notes
    -----
    The norm is the largest norm of a part. A product costs one product with each. ``dims`` and
    ``dimsd`` gain a first axis of the number of parts if the parts agree.

    Examples
    --------
    >>> from sparseinv.operators import DCT
    >>> BlockDiagonal([DCT(4), 2.0 * DCT(6)]).shape
    (10, 10)
    """

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__(operators, "BlockDiagonal", down=True, across=True)


def _operators(operators: Any, name: str) -> tuple[Operator, ...]:
    if isinstance(operators, Operator):
        raise TypeError(f"{name} takes a sequence of operators, for example {name}([A, B])")
    parts = tuple(operators)
    if not parts:
        raise ValueError(f"{name} needs at least one operator")
    for k, part in enumerate(parts):
        if not isinstance(part, Operator):
            kind = type(part).__name__
            raise TypeError(f"part {k} of {name} is a {kind}, but an Operator is needed; use as_operator")
    return parts


def _places(sizes: Sequence[int], apart: bool, difference: str) -> tuple[slice, ...]:
    """Return one slice a part: one after the other, or the same for all of them."""
    if apart:
        ends = np.cumsum(sizes).tolist()
        return tuple(slice(end - size, end) for end, size in zip(ends, sizes, strict=True))
    for k, size in enumerate(sizes):
        if size != sizes[0]:
            raise ValueError(f"the parts of {difference}: {sizes[0]} in part 0, {size} in part {k}")
    return (slice(0, sizes[0]),) * len(sizes)


def _joint_dims(dims: Sequence[tuple[int, ...]], apart: bool) -> tuple[int, ...] | None:
    if any(d != dims[0] for d in dims):
        return None
    return (len(dims), *dims[0]) if apart else dims[0]


def _known(values: Iterable[Any]) -> list[Any] | None:
    found = list(values)
    return None if any(v is None for v in found) else found


def _added(products: Iterable[tuple[slice, Array]], size: int) -> Array:
    """Add each product to its slice of the result, in the precision that all of them need."""
    out: Array | None = None
    # each product is consumed before the next: a part that appears twice may return one buffer twice
    for place, y in products:
        if out is None:
            out = np.zeros((size, *y.shape[1:]), dtype=y.dtype, order="F")
        elif np.result_type(out, y) != out.dtype:
            out = out.astype(np.result_type(out, y))
        out[place] += y
    assert out is not None  # there is at least one part
    return out
