"""Count the products with A, notice when one fails, and make none after the deadline."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.operators.base import Entries, Operator
from sparseinv.operators.matrix import ExplicitMatrix, ldexp, squared

Array = np.ndarray[Any, Any]

_SQUARED = 505  # exponents of two up to which squares of entries are numbers of full precision


class OperatorFailure(ValueError):
    """A product with A or A^H raised or returned a non-finite value."""


class OutOfTime(Exception):
    """A product with A or A^H was asked for after the deadline."""


@dataclass
class Products:
    """Count products with A (forward) and A^H (adjoint), split by what they were for."""

    setup: int = 0
    iterations: int = 0
    certificate: int = 0
    forward: int = 0
    adjoint: int = 0
    columns: int = 0  # columns of a matrix-free A in closed form, which are no products

    @property
    def total(self) -> int:
        """All products with A or A^H."""
        return self.forward + self.adjoint


class CountedOperator:
    """Pass products through, count them, and notice when one fails."""

    def __init__(self, operator: Operator, exponent: int = 0) -> None:
        self.inner = operator
        self.shape = operator.shape
        self.explicit = operator.explicit
        self.products = Products()
        self.phase = "setup"
        self.deadline = math.inf  # reading of time.perf_counter() from which on no product is made
        self._entries: Any = "unknown"  # closed-form entries of A^H A, once they were asked for
        self._exponent = exponent  # matrix-free maps of extreme scale are rescaled product by product

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of A."""
        return self.inner.dtype

    def charge(self, forward: int = 0, adjoint: int = 0) -> None:
        """Count products made elsewhere, for example inside a kernel."""
        self.products.forward += forward
        self.products.adjoint += adjoint
        setattr(self.products, self.phase, getattr(self.products, self.phase) + forward + adjoint)

    def matvec(self, x: Array) -> Array:
        """Return A x."""
        self.charge(forward=1)
        return self._guard("matvec", x)

    def rmatvec(self, y: Array) -> Array:
        """Return A^H y."""
        self.charge(adjoint=1)
        return self._guard("rmatvec", y)

    def matmat(self, X: Array) -> Array:
        """Return A X."""
        self.charge(forward=X.shape[1])
        return self._guard("matmat", X)

    def rmatmat(self, Y: Array) -> Array:
        """Return A^H Y."""
        self.charge(adjoint=Y.shape[1])
        return self._guard("rmatmat", Y)

    def columns(self, index: Array) -> Array:
        """Return columns of A; for matrix-free maps one product each, counted apart in closed form."""
        if self.inner.closed_columns and not self.explicit:
            self.products.columns += len(index)
        elif not self.explicit:
            self.charge(forward=len(index))
        return self._guard("columns", index)

    def gram(self) -> Array:
        """Return A^H A of an explicit A, counted as n products."""
        assert isinstance(self.inner, ExplicitMatrix)
        self.charge(forward=self.shape[1])
        return self.inner.gram()

    def column_norms(self) -> Array | None:
        """Return the column norms where the operator knows them."""
        norms = self.inner.column_norms()
        return norms if norms is None or not self._exponent else np.ldexp(norms, -self._exponent)

    def gram_entries(self) -> Entries | None:
        """Return (i, j) -> entries of A^H A where the operator knows them; prepared once."""
        if self._entries == "unknown":
            known = not self.explicit and abs(self._exponent) <= _SQUARED
            self._entries = self.inner.gram_entries() if known else None
        entries, exponent = self._entries, -2 * self._exponent
        if entries is None or exponent == 0:
            return entries
        return lambda i, j: np.asarray(ldexp(entries(i, j), exponent))

    def norm_bound(self) -> float | None:
        """Return the closed-form upper bound of ||A|| where the operator knows one."""
        bound = self.inner.norm_bound()
        return None if bound is None else math.ldexp(bound, -self._exponent)

    def _guard(self, call: str, argument: Array) -> Array:
        if self.explicit:
            return np.asarray(getattr(self.inner, call)(argument))
        out = self._made(call, getattr(self.inner, call), argument)
        self.require_finite(call, out)
        return out

    def lent(self, call: str, argument: Array, dtype: np.dtype[Any]) -> Array:
        """Return a product with a matrix-free A that costs no copy and no look at the numbers.

        The map may write into ``argument``, and its next product into what is returned: use it at once,
        and call `require_finite` where a sum over it is not finite.
        """
        self.charge(**{"forward" if call == "matvec" else "adjoint": 1})
        out = self._made(call, lambda v: self.inner.lent(call, v), argument)
        if out.dtype.kind == "c" and dtype.kind != "c":
            out = out.real
        out = np.ascontiguousarray(out, dtype=dtype)
        return out if out.flags.writeable else out.copy()

    def _made(self, call: str, product: Any, argument: Array) -> Array:
        if time.perf_counter() >= self.deadline:
            raise OutOfTime
        try:
            out = np.asarray(product(argument))
        except (KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:
            said = str(error)
            if not said.startswith((f"A.{call} ", "A is ")):  # the adaptor's own sentences need no preface
                said = f"A.{call} raised {type(error).__name__}: {said}"
            raise OperatorFailure(said) from error
        return ldexp(out, -self._exponent) if self._exponent else out

    def require_finite(self, call: str, product: Array) -> None:
        """Raise OperatorFailure if a product is not finite."""
        # the squares of finite numbers may overflow, those of others always do
        if not math.isfinite(squared(product.ravel(order="K"))) and not np.isfinite(product).all():
            raise OperatorFailure(f"A.{call} returned a non-finite value")
