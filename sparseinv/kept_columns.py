"""Products A^H a_j that searches on the same A share."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np

from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]

_CACHE = 1 << 29  # bytes of products A^H a_j that are kept
TOGETHER = 8  # columns whose products are formed at once where one alone costs a pass over A
_BLOCK = 64  # columns formed at once, at most
_SMALL = 2_000_000  # entries of A up to which what free columns leave of it is kept


class KeptColumns:
    """Products A^H a_j, kept for as long as they fit; searches on the same A share them.

    Where searches run side by side every product is formed by itself, so that its bits do not depend on who
    asked first.
    """

    def __init__(self, problem: Problem, *, alone: bool = True) -> None:
        self._alone = alone
        self._lock = Lock()
        self._rows: OrderedDict[int, Array] = OrderedDict()
        self._most = max(2 * TOGETHER, _CACHE // (problem.dtype.itemsize * max(problem.n, 1)))
        self._projected: dict[bytes, KeptColumns] = {}
        self._square: Array | None = None

    @classmethod
    def of(cls, problem: Problem) -> KeptColumns:
        """Return those of the problem: one for all that share its A, the certificate of a run included."""
        kept: KeptColumns = problem.__dict__.setdefault("columns_kept", cls(problem))
        return kept

    @classmethod
    def share(cls, problem: Problem) -> None:
        """Let all problems that come from this one by other data share their columns, in any thread."""
        problem.__dict__["columns_kept"] = cls(problem, alone=False)
        _ = problem.column_norms  # kept by the problem once asked for, and so by those that come from it

    def square(self, problem: Problem) -> Array:
        """Return all products, row j being A^H a_j; kept."""
        if self._square is None:
            self._square = np.array(self.take(problem, np.arange(problem.n)))
        return self._square

    def beside(self, problem: Problem, free: Array) -> KeptColumns:
        """Return those of what the free columns leave of A: their products, too, are shared."""
        if not free.size:
            return self
        return self._projected.setdefault(free.tobytes(), ProjectedColumns(problem, alone=self._alone))

    def take(self, problem: Problem, index: Array, likely: Array | None = None) -> list[Array]:
        """Return A^H a_j for the columns ``index``; form those of ``likely`` along with them."""
        with self._lock:
            found = {int(j): self._rows[int(j)] for j in index if int(j) in self._rows}
            known = set(self._rows) if likely is not None else set()
        missing = [int(j) for j in index if int(j) not in found]
        if missing and likely is not None and self._alone:
            more = [int(j) for j in likely if int(j) not in known and int(j) not in missing]
            missing += more[: max(0, TOGETHER - len(missing))]
        block = _BLOCK if self._alone else 1
        for start in range(0, len(missing), block):
            found |= self._formed(problem, missing[start : start + block])
        with self._lock:
            for j, row in found.items():
                self._rows[j] = row
                self._rows.move_to_end(j)
            while len(self._rows) > self._most:
                self._rows.popitem(last=False)
        return [found[int(j)] for j in index]

    def _formed(self, problem: Problem, index: list[int]) -> dict[int, Array]:
        products = self._products(problem, np.array(index))
        if problem.dtype.kind != "c":
            products = products.real
        return {j: np.ascontiguousarray(products[:, k], dtype=problem.dtype) for k, j in enumerate(index)}

    def _products(self, problem: Problem, index: Array) -> Array:
        operator = problem.operator
        return np.asarray(operator.rmatmat(np.asfortranarray(operator.columns(index))))


class ProjectedColumns(KeptColumns):
    """The same of P A, P the projection onto what the columns without a penalty do not span.

    Columns that lie far from the origin, but beside an intercept, lose their digits in products of A itself.
    """

    _whole: Array | None = None  # P A

    def whole(self, problem: Problem) -> Array | None:
        """Return P A, None where that is large."""
        if self._whole is None and problem.explicit and problem.m * problem.n <= _SMALL:
            whole = problem.reduced_columns(np.arange(problem.n))
            whole[:, problem.reduced_norms == 0.0] = 0.0
            self._whole = np.asfortranarray(whole)
        return self._whole

    def against(self, problem: Problem, v: Array) -> Array:
        """Return A^H P v for v = P v."""
        whole = self.whole(problem)
        if whole is not None:
            problem.operator.charge(adjoint=1 if v.ndim == 1 else v.shape[1])
            return np.asarray(whole.conj().T @ v)
        g = np.asarray(problem.operator.rmatmat(v.reshape(problem.m, -1))).reshape(-1, *v.shape[1:])
        g[problem.reduced_norms == 0.0] = 0.0
        return g

    def _products(self, problem: Problem, index: Array) -> Array:
        whole = self.whole(problem)
        columns = problem.reduced_columns(index) if whole is None else whole[:, index]
        return self.against(problem, np.asfortranarray(columns))
