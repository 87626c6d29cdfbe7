"""The optimisation problem in working units: the only owner of the objective.

b is divided by a power of two so that its largest entry is about 1, and lam with it; A is copied and
scaled only if its entries lie outside 2^+-100. Powers of two change no bit of the answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.counted_operator import CountedOperator
from sparseinv.nonnegative import nonnegative_fit
from sparseinv.operators.adapt import check_adjoint, golub_kahan
from sparseinv.operators.base import Operator
from sparseinv.operators.matrix import ExplicitMatrix, ldexp
from sparseinv.operators.matrix import squared as squared
from sparseinv.penalties.base import Penalty
from sparseinv.product_span import ProductSpan

Array = np.ndarray[Any, Any]

_FAR = 400  # exponents of b beyond +-400 can take products with entries below 2^+-100 out of range
_WIDE = 100  # exponents of A beyond +-100 are taken out, because squares must not over- or underflow
_READ = 0.5  # share of the columns from which on one product is cheaper than reading them singly
_FEW = 4  # unpenalised columns up to which products with their basis are kept
_DEPENDENT = 1e-12  # a column this much longer than its part outside of a span lies in it, up to rounding
_CANCELLED = 1e-4  # share of a squared length from which on a difference of squares is too inexact
_BASIS_BYTES = 1 << 30  # columns of unpenalised coefficients are laid out densely up to this size


@dataclass(frozen=True)
class Units:
    """Powers of two between the user's numbers and the working ones."""

    b_exponent: int = 0
    a_exponent: int = 0

    def solution(self, x: Array) -> Array:
        """Return x in the user's units."""
        return ldexp(x, self.b_exponent - self.a_exponent)

    def working(self, x: Array) -> Array:
        """Return the user's x in working units."""
        return ldexp(x, self.a_exponent - self.b_exponent)

    def objective(self, value: float) -> float:
        """Return an objective value in the user's units (inf where it overflows)."""
        try:
            return math.ldexp(value, 2 * self.b_exponent)
        except OverflowError:
            return math.inf


class Problem:
    """Hold ``1/2 ||A x - b||^2 + R(x)`` in working units, with what solvers ask of it.

    Parameters
    ----------
    operator : Operator
        A, shape (m, n).
    b : ndarray, shape (m,)
        Finite float64 or complex128.
    penalty : Penalty
        R; bound to n coefficients here.
    rng : None, int or Generator
        Seed of the norm estimate and the adjoint test.
    check_operator : bool
        Test the adjoint of a matrix-free A (one product with A, one with A^H).
    probe : bool
        False: make no product with A yet, so that more can be checked first; call `probe` then.
    """

    def __init__(
        self,
        operator: Operator,
        b: Array,
        penalty: Penalty,
        *,
        rng: Any = None,
        check_operator: bool = True,
        probe: bool = True,
    ) -> None:
        self.m, self.n = operator.shape
        self._held: tuple[Array, Array] | None = None  # the last r and A^H r of a matrix in memory
        self._bound: tuple[Array, Array, Array] | None = None  # the last r, bound and mask of exact entries
        self._span: ProductSpan | None = None
        self._image: tuple[Array, Array] | None = None  # the last x and A x - b of a matrix in memory
        self.rng = validation.generator(rng)
        self.b = b
        self.penalty: Any = penalty.bind(self.n)  # in the user's units, like b, until `probe` is called
        self._refuse_complex("b", b.dtype)
        self.operator = CountedOperator(operator)
        if probe:
            self.probe(check_operator)

    def probe(self, check_operator: bool = True) -> None:
        """Make the first products with a matrix-free A: its type, scale and adjoint; choose the units."""
        operator, b, bound = self.operator.inner, self.b, self.penalty
        rescalable = hasattr(bound, "in_units")
        b_exponent = _exponent(b) if rescalable else 0
        a_exponent = 0
        if isinstance(operator, ExplicitMatrix):
            a_exponent = _outside(operator.max_abs()) if rescalable else 0
            if a_exponent:
                self.operator = CountedOperator(operator.scaled(-a_exponent))
        elif self.m and self.n:
            x = _random(self.n, getattr(operator, "declared", None) or operator.dtype, self.rng)
            image = self.operator.matvec(x)
            a_exponent = _outside(float(np.abs(image).max())) if rescalable else 0
            if check_operator:
                y = _random(self.m, operator.dtype, self.rng)
                check_adjoint(operator, x, image, y, self.operator.rmatvec(y))
            self.operator._exponent = a_exponent
        self._refuse_complex("A", operator.dtype)
        self.dtype = np.result_type(np.float64, operator.dtype, b.dtype)
        self.units = Units(b_exponent, a_exponent)
        self.b = np.ascontiguousarray(ldexp(b, -b_exponent).astype(self.dtype))
        self.penalty = bound.in_units(b_exponent, a_exponent) if rescalable else bound
        self.scale = 0.5 * squared(self.b)
        known = getattr(operator, "known", None)
        if known is not None and known[0] is b:
            self._take_over(known[1])

    def _take_over(self, product: Array) -> None:
        """Hold A^T b, which was formed when A was read for NaN; its bits must not depend on the units."""
        inner = self.operator.inner
        assert isinstance(inner, ExplicitMatrix)
        if self.units.a_exponent or abs(self.units.b_exponent) > _FAR:
            inner.survey(self.b)
            assert inner.known is not None
            product = inner.known[1]
        else:
            product = ldexp(product, -self.units.b_exponent)
        inner.known = None
        self.operator.charge(adjoint=1)
        self._held = (self.b.copy(), product)

    def _refuse_complex(self, name: str, dtype: np.dtype[Any]) -> None:
        if dtype.kind == "c" and getattr(self.penalty, "nonnegative", False):
            raise ValueError(f"nonnegative=True needs real data, but {name} is complex")

    def with_penalty(self, penalty: Any) -> Problem:
        """Return the same data with another penalty, already bound and in working units."""
        other = object.__new__(Problem)
        other.__dict__.update(self.__dict__)
        other.penalty = penalty
        if "unpenalised" in self.__dict__:
            del other.__dict__["unpenalised"]
            if not np.array_equal(self.unpenalised, other.unpenalised):
                other.__dict__.pop("_basis", None)
                other.__dict__.pop("reduced_norms", None)
                other.__dict__.pop("_basis_images", None)
        return other

    def with_data(self, b: Array, penalty: Any) -> Problem:
        """Return the same A with another b and a bound penalty, user's units; products are counted anew."""
        scales = hasattr(penalty, "in_units")
        units = Units(_exponent(b) if scales else 0, self.units.a_exponent)
        other = self.with_penalty(penalty.in_units(units.b_exponent, units.a_exponent) if scales else penalty)
        other.units, other.operator = units, CountedOperator(self.operator.inner, self.operator._exponent)
        other.b = np.ascontiguousarray(ldexp(b, -units.b_exponent).astype(self.dtype))
        other._image = other._span = other._bound = None
        other.scale = 0.5 * squared(other.b)
        return other

    @property
    def explicit(self) -> bool:
        """Whether the columns of A lie in memory."""
        return self.operator.explicit

    @property
    def layout(self) -> tuple[Array, Array, Array, Array]:
        """The arrays (dense, data, indices, indptr) of an explicit A for the kernels."""
        assert isinstance(self.operator.inner, ExplicitMatrix)
        dense, data, indices, indptr = self.operator.inner.layout
        return dense, data, indices, indptr

    def residual(self, x: Array) -> Array:
        """Return r = A x - b: one product with A, none if x is the one of the last call (A in memory)."""
        held = self._image
        if held is not None and np.array_equal(held[0], x):
            return held[1].copy()
        if not x.any():
            return -self.b
        r = np.ascontiguousarray(self.operator.matvec(x) - self.b, dtype=self.dtype)
        if self.explicit:
            self._image = (np.array(x), r.copy())
        return r

    def keep_residual(self, x: Array, r: Array) -> None:
        """Remember r = A x - b, formed from x and columns of A alone, as `residual` would have."""
        self.operator.charge(forward=1)
        self._image = (np.array(x), r.copy())

    def gradient(self, r: Array) -> Array:
        """Return g = A^H r: one product with A^H, none if r is the one of the last call (A in memory)."""
        held = self._held
        if held is not None and np.array_equal(held[0], r):
            return held[1].copy()
        g = self.operator.rmatvec(r)
        if self.dtype.kind != "c" and g.dtype.kind == "c":
            g = g.real
        g = np.ascontiguousarray(g, dtype=self.dtype)
        if self.explicit:
            self._held = (np.array(r), g.copy())
        return g

    def gradient_bound(self, r: Array, exact: Array, level: Array) -> tuple[Array, Array]:
        """Return (g, estimate) for r: g as good as A^T r in a dual point, and an estimate of A^T r.

        Both equal A^T r where ``exact`` is True and wherever ``|a_j^T r|`` might reach level_j; elsewhere g_j
        is a bound below that level. Where columns are few, or most must be read, this is `gradient`. Real A.
        """
        if self.layout[3].size or not ProductSpan.pays(self.m, self.n):
            g = self.gradient(r)
            return g, g
        if self._span is None:
            self._span = ProductSpan(self.column_norms, self.m)
        g, estimate, read = self._span.bound(r, exact, level, self.penalty.nonnegative)
        index = np.flatnonzero(read)
        if index.size > _READ * self.n:
            g = self.gradient(r)
            self._span.add(r, g)
            return g, g
        self.operator.charge(adjoint=self._span.read(self.layout, index, r, g, estimate))
        self._bound = (r.copy(), g.copy(), read)
        return g, estimate

    def vouches(self, x: Array, r: Array | None, v: Array, Ahv: Array) -> bool:
        """Tell whether r and A^H v, or bounds that do as well at x, are products of our own, bit by bit."""
        image, held, bound = self._image, self._held, self._bound
        if image is None or r is None or not (np.array_equal(image[1], r) and np.array_equal(image[0], x)):
            return False
        if held is not None and np.array_equal(held[0], v):
            return np.array_equal(held[1], Ahv)
        same = bound is not None and np.array_equal(bound[0], v) and np.array_equal(bound[1], Ahv)
        return bound is not None and same and bool(bound[2][x != 0].all())

    def lent_image(self, d: Array) -> Array:
        """Return A d, to be used at once and checked by the caller; d may be overwritten."""
        return self.operator.matvec(d) if self.explicit else self.operator.lent("matvec", d, self.dtype)

    def lent_gradient(self, r: Array) -> Array:
        """Return A^H r, to be used at once and checked by the caller; r may be overwritten."""
        return self.gradient(r) if self.explicit else self.operator.lent("rmatvec", r, self.dtype)

    def objective(self, x: Array, r: Array) -> float:
        """Return 1/2 ||r||^2 + R(x) for r = A x - b, in working units."""
        return 0.5 * squared(r) + float(self.penalty.value(x))

    def relative(self, value: float) -> float:
        """Return value / (1/2 ||b||^2), with 0/0 = 0."""
        if value == 0.0:
            return 0.0
        return value / self.scale if self.scale > 0 else math.inf

    @cached_property
    def column_norms(self) -> Array:
        """Euclidean column norms; n products where a matrix-free A has no closed form."""
        norms = self.operator.column_norms()
        if norms is None:
            norms = np.empty(self.n)
            for start in range(0, self.n, 64):
                index = np.arange(start, min(start + 64, self.n))
                norms[index] = np.linalg.norm(self.operator.columns(index), axis=0)
        return norms

    @property
    def reducible(self) -> bool:
        """Whether the unpenalised columns are few enough for a basis of their span."""
        return self.unpenalised.size == 0 or self._basis[0] is not None

    @cached_property
    def reduced_norms(self) -> Array:
        """Lengths of what the span of the unpenalised columns leaves of the columns; 0 within rounding."""
        norms = self.column_norms
        if self.unpenalised.size == 0 or self._basis[0] is None:
            return norms
        images = self._basis_images
        if images is None:
            images = self.operator.rmatmat(self._basis[0])
        left = np.maximum(norms**2 - (np.abs(images) ** 2).sum(axis=1), 0.0)
        rest = np.sqrt(left)
        rest[self.unpenalised] = 0.0
        # a difference of squares is too inexact for what lies nearly in the span
        doubtful = np.setdiff1d(np.flatnonzero(left <= _CANCELLED * norms**2), self.unpenalised)
        for start in range(0, doubtful.size, 64):
            index = doubtful[start : start + 64]
            rest[index] = np.linalg.norm(self.reduced_columns(index), axis=0)
        return np.where(rest > _DEPENDENT * norms, rest, 0.0)

    def reduced_columns(self, index: Array) -> Array:
        """Return what the span of the unpenalised columns leaves of columns."""
        columns = self.operator.columns(index)
        if self.unpenalised.size and self._basis[0] is not None:
            q = self._basis[0]
            for _ in range(2):
                columns = columns - q @ (q.conj().T @ columns)
        return np.asarray(columns)

    @cached_property
    def _basis_images(self) -> Array | None:
        """A^H Q for the basis Q of the unpenalised columns, where these are few and of any sign."""
        if not 0 < self.unpenalised.size <= _FEW or getattr(self.penalty, "nonnegative", False):
            return None
        q = self._basis[0]
        return None if q is None else np.asarray(self.operator.rmatmat(q))

    @cached_property
    def lipschitz(self) -> tuple[float, bool]:
        """(estimate of ||A||^2, whether it is a proven upper bound)."""
        closed = self.operator.norm_bound()
        if closed is not None:
            return closed * closed, True
        phase, self.operator.phase = self.operator.phase, "setup"
        try:
            norm = golub_kahan(self.operator, self.rng)
        finally:
            self.operator.phase = phase
        return norm * norm, False

    @cached_property
    def unpenalised(self) -> Array:
        """Indices of the coefficients without a penalty."""
        mask = getattr(self.penalty, "unpenalised", None)
        return np.flatnonzero(mask) if mask is not None else np.empty(0, dtype=np.int64)

    @cached_property
    def _basis(self) -> tuple[Array | None, Array | None, Array]:
        """(orthonormal basis of the unpenalised columns, those columns over their norms, the norms)."""
        from scipy.linalg import qr

        if self.unpenalised.size * self.m * self.dtype.itemsize > _BASIS_BYTES:
            return None, None, np.zeros(0)
        columns = self.operator.columns(self.unpenalised)
        largest = np.abs(columns).max(axis=0, initial=0.0)
        columns = columns / np.where(largest > 0, largest, 1.0)  # first, so that no square underflows
        length = np.linalg.norm(columns, axis=0)
        columns = columns / np.where(length > 0, length, 1.0)
        norms = largest * length
        if not norms.any():
            return columns[:, :0], columns, norms
        q, upper, _ = qr(columns, mode="economic", pivoting=True)
        diagonal = np.abs(np.diag(upper))
        rank = int((diagonal > 1e-13 * max(columns.shape) * diagonal[0]).sum())
        return q[:, :rank], columns, norms

    def project(self, v: Array, x: Array | None = None) -> Array:
        """Return the part of v that unpenalised coefficients cannot explain.

        v minus its projection on the span of the unpenalised columns; with a nonnegative penalty the
        span becomes the cone of their nonnegative combinations, and A_Z^T of the result is <= 0. There,
        if v is b - A x, pass x: its unpenalised coefficients are then fitted anew, without which the
        result would be off by the first order of their error.
        """
        if self.unpenalised.size == 0:
            return v
        q, columns, norms = self._basis
        if q is None or columns is None:
            return self._project_iteratively(v)
        if getattr(self.penalty, "nonnegative", False):
            if x is not None:
                v = v + columns @ (norms * x[self.unpenalised])
            nu = v - columns @ nonnegative_fit(columns, v)
            feasible = float((columns.T @ nu).max(initial=0.0)) <= 1e-11 * math.sqrt(squared(v))
        else:
            nu = v - q @ (q.conj().T @ v)
            nu = nu - q @ (q.conj().T @ nu)
            feasible = True
        # what is rounding must not be scaled up to a dual point; a zero vector is always feasible
        return nu if feasible and squared(nu) > 1e-26 * squared(v) else np.zeros_like(v)

    def projected(self, v: Array, Ahv: Array) -> tuple[Array, Array] | None:
        """Return (P v, A^H P v) for P as in `project` without a product, where that is possible."""
        images = self._basis_images
        if images is None:
            return None
        q = self._basis[0]
        assert q is not None
        nu = self.project(v)
        if not nu.any():
            return nu, np.zeros_like(Ahv)
        c = Ahv - images @ (q.conj().T @ v)
        c[self.unpenalised] = 0.0
        return nu, np.ascontiguousarray(c, dtype=self.dtype)

    def _project_iteratively(self, v: Array) -> Array:
        """Project by CGLS on the unpenalised columns, for sets too large to lay out densely."""
        if getattr(self.penalty, "nonnegative", False):
            return np.zeros_like(v)
        index = self.unpenalised
        padded = np.zeros(self.n, dtype=self.dtype)
        r, p, gamma, size = v.copy(), None, 0.0, 0.0
        for _ in range(10 * index.size + 100):
            s = self.gradient(r)[index]
            previous, gamma = gamma, squared(s)
            if gamma <= 1e-30 * size:
                break
            p = s if p is None else s + (gamma / previous) * p
            padded[index] = p
            q = self.operator.matvec(padded)
            size = max(size, squared(q) / squared(p) * squared(v))  # about ||A_Z||^2 ||v||^2
            r = r - (gamma / squared(q)) * q
        done = gamma <= 1e-26 * size and squared(r) > 1e-26 * squared(v)
        return r if done else np.zeros_like(v)


def _random(size: int, dtype: Any, rng: np.random.Generator) -> Array:
    """Return a vector of unit scale; uniform numbers cost a quarter of normal ones."""
    v = rng.random(size)
    v -= 0.5
    return v + 1j * (rng.random(size) - 0.5) if np.dtype(dtype).kind == "c" else v


def _exponent(values: Array) -> int:
    if values.size == 0:
        return 0
    parts = (values.real, values.imag) if values.dtype.kind == "c" else (values,)
    largest = max(max(float(part.max()), -float(part.min())) for part in parts)
    return math.frexp(largest)[1] if largest > 0 else 0


def _outside(largest: float) -> int:
    exponent = math.frexp(largest)[1] if largest > 0 else 0
    return exponent if abs(exponent) > _WIDE else 0
