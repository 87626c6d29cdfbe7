"""The fit of b by a few columns, held as a QR factorisation that grows and shrinks by one column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparseinv.kept_columns import KeptColumns
from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

DEPENDENT = 1e-10  # share of its squared norm below which a column counts as explained by the support
_ROUNDING = 4e-15  # of ||b||, times the root of the number of columns: what is left of an exact fit
_FRESH = 1e-3  # the residual's fall after which A^H r is formed anew
_LARGE = 1 << 20  # entries of A from which products are formed for several promising columns at once
_TOGETHER = 32  # as many: a pass over A costs little more for a few columns than for one
_PAID = 5  # columns that must have come out of such a pass, which costs as much as so many single ones
_PAUSE = 8  # columns that are then formed singly if they have not; doubled every time
_BYTES = 1 << 29  # of A^H Q that is kept for that
_TRUSTED = 1e-6  # share of its squared norm down to which a new direction follows from products at hand


class SupportQR:
    """Hold A_S = Q R with the residual of the fit and what the span of A_S leaves of every column.

    Minimises ``1/2 ||A_S x_S - b||^2 + sum ridge_j |x_j|^2 / 2`` over the columns of a support S; real or
    complex. r = b - A x, c = A^H r and d_j, the squared norm of what the span leaves of column j (ridge
    included), follow by recursion: a new column costs one product with A^H. Where A is large, real and in
    memory, products are formed for several promising columns in one pass, and most columns cost none.

    Parameters
    ----------
    problem : Problem
        A and b in working units.
    ridge : ndarray or None, shape (n,)
        Levels of |x_j|^2 / 2. A column then has one more row, in which all others are zero.
    most : int
        Largest support.
    ahead : bool
        Whether products may be formed ahead; they take n numbers per column of the support.
    """

    def __init__(self, problem: Problem, ridge: Array | None, most: int, *, ahead: bool) -> None:
        m, n = problem.m, problem.n
        self.problem, self.most = problem, min(most, n)
        self.root = None if ridge is None or not ridge.any() else np.sqrt(ridge)
        self.squares = problem.column_norms**2
        if self.root is not None:
            assert ridge is not None
            self.squares = self.squares + ridge
        else:
            self.most = min(self.most, m)
        self.support: list[int] = []
        self.inside = ~(self.squares > 0.0)  # chosen, or of no use
        self.c, self.d = problem.gradient(problem.b), self.squares.copy()
        capacity = max(1, min(16, self.most))
        self._owner = np.full(0 if self.root is None else capacity, -1)  # the column of every ridge row
        self._Q = np.zeros((m + (0 if self.root is None else capacity), capacity), problem.dtype, order="F")
        self._R = np.zeros((capacity, capacity), problem.dtype, order="F")
        self._y = np.zeros(capacity, problem.dtype)
        self.r = np.zeros(self._Q.shape[0], problem.dtype)
        self.r[:m] = problem.b
        self._size = self._base = math.sqrt(2.0 * problem.scale)  # ||r||, and where c was formed last
        real = problem.explicit and problem.dtype.kind != "c"
        ahead = ahead and real and m * n >= _LARGE and 8 * n * self.most <= _BYTES
        self._U = np.zeros((capacity, n)) if ahead else None
        self._formed: set[int] = set()
        self._used, self._single, self._pause = _PAID, 0, _PAUSE  # since the last pass; left; next

    @property
    def k(self) -> int:
        """Number of columns in the support."""
        return len(self.support)

    @property
    def size(self) -> float:
        """Euclidean norm of the residual, ridge rows included."""
        return self._size

    @property
    def value(self) -> float:
        """1/2 ||A x - b||^2 + sum ridge_j |x_j|^2 / 2."""
        return 0.5 * self._size * self._size

    @property
    def exact(self) -> bool:
        """Whether nothing but rounding is left of b."""
        return self._size <= _ROUNDING * math.sqrt((self.k + 1) * 2.0 * self.problem.scale)

    @property
    def x(self) -> Array:
        """The coefficients (n,) of the fit."""
        from scipy.linalg import solve_triangular

        out = np.zeros(self.problem.n, self.problem.dtype)
        k = self.k
        if k:
            out[self.support] = solve_triangular(self._R[:k, :k], self._y[:k], check_finite=False)
        return out

    @property
    def pull(self) -> Array:
        """|a_j^H r|^2 of every column."""
        c = self.c
        return np.asarray(c.real**2 + c.imag**2 if c.dtype.kind == "c" else c * c)

    def usable(self) -> Array:
        """Return the mask of the columns outside that the support does not explain."""
        return ~self.inside & (self.d > DEPENDENT * self.squares)

    def add(self, j: int, promise: Array | None = None) -> bool:
        """Let column j in; return False where it depends on the support, and do not look at it again.

        promise (n,): by which columns are expected to come next, largest first.
        """
        k, m = self.k, self.problem.m
        self._reserve(k + 1)
        a = np.zeros(self._Q.shape[0], self.problem.dtype)
        a[:m] = self.problem.operator.columns(np.array([j]))[:, 0]
        row = 0
        if self.root is not None:
            row = int(np.flatnonzero(self._owner < 0)[0])
            a[m + row] = self.root[j]
        Q = self._Q[:, :k]
        h = Q.conj().T @ a
        a -= Q @ h
        again = Q.conj().T @ a  # twice is enough
        a -= Q @ again
        h += again
        rho = math.sqrt(squared(a))
        self.inside[j] = True
        if not rho * rho > DEPENDENT * self.squares[j]:
            return False
        a /= rho
        u = self._image(j, a[:m], h, rho, promise)
        self._Q[:, k], self._R[:k, k], self._R[k, k] = a, h, rho
        gamma = np.vdot(a, self.r)
        self._y[k] = gamma
        self.support.append(j)
        if self.root is not None:
            self._owner[row] = j
        self._shift(a, u, gamma, -1.0)
        if self._size <= _FRESH * self._base:
            self._refresh()
        return True

    def allow(self, problem: Problem, most: int) -> None:
        """Go on with another penalty on the same data, and at most so many columns."""
        self.problem = problem
        self.most = min(most, problem.n, problem.n if self.root is not None else problem.m)
        if 8 * problem.n * self.most > _BYTES:
            self._U = None

    def remove(self, place: int) -> None:
        """Let the column at a place of the support out; one product with A^H."""
        row, k, m = 0, self.k, self.problem.m
        gone = self.support.pop(place)
        Q, R, y = self._Q, self._R, self._y
        R[:, place : k - 1] = R[:, place + 1 : k].copy()
        for i in range(place, k - 1):
            size = math.hypot(abs(R[i, i]), abs(R[i + 1, i]))
            G = np.array([[R[i, i], -np.conj(R[i + 1, i])], [R[i + 1, i], np.conj(R[i, i])]]) / size
            R[i : i + 2, i : k - 1] = G.conj().T @ R[i : i + 2, i : k - 1]
            R[i + 1, i] = 0.0
            y[i : i + 2] = G.conj().T @ y[i : i + 2]
            Q[:, i : i + 2] = Q[:, i : i + 2] @ G
        last = Q[:, k - 1].copy()
        if self.root is not None:
            row = int(np.flatnonzero(self._owner == gone)[0])
            self._owner[row] = -1
        u = self.problem.gradient(last[:m])
        self._shift(last, u, y[k - 1], 1.0)
        Q[:, k - 1], R[:, k - 1], y[k - 1] = 0.0, 0.0, 0.0
        if self.root is not None:
            Q[m + row], self.r[m + row] = 0.0, 0.0
        self.inside = ~(self.squares > 0.0)  # columns that were explained may no longer be
        self.inside[self.support] = True
        self._U = None  # rotations would cost as much as products

    def losses(self) -> Array:
        """Return by how much the value rises where one column leaves, per place of the support."""
        from scipy.linalg import solve_triangular

        k = self.k
        inverse = solve_triangular(self._R[:k, :k], np.eye(k), check_finite=False)
        beta = inverse @ self._y[:k]
        return np.asarray(np.abs(beta) ** 2 / (2.0 * (np.abs(inverse) ** 2).sum(axis=1)))

    def copy(self) -> SupportQR:
        """Return an independent copy, which forms no products ahead."""
        other = object.__new__(SupportQR)
        other.__dict__.update(self.__dict__)
        for name in ("inside", "c", "d", "_Q", "_R", "_y", "r"):
            setattr(other, name, getattr(self, name).copy(order="F"))
        other._owner = self._owner.copy()
        other.support, other._U = list(self.support), None
        return other

    def _shift(self, q: Array, u: Array, gamma: Any, sign: float) -> None:
        """Take the direction q, with u = A^H q, out of the residual and the columns, or put it back."""
        self.r += sign * gamma * q
        self.c += (sign * gamma) * u
        self.d += sign * (u.real**2 + u.imag**2 if u.dtype.kind == "c" else u * u)
        self._size = math.sqrt(squared(self.r))
        self._base = max(self._base, self._size)

    def _refresh(self) -> None:
        """Form the residual and its product anew: recursions keep the rounding of what they began with."""
        Q = self._Q[:, : self.k]
        self.r -= Q @ (Q.conj().T @ self.r)
        self._size = self._base = math.sqrt(squared(self.r))
        if not self.exact:
            self.c = self.problem.gradient(self.r[: self.problem.m])

    def _image(self, j: int, q: Array, h: Array, rho: float, promise: Array | None) -> Array:
        """Return A^H q for q = (a_j - Q h) / rho."""
        k = self.k
        u: Array
        if self._U is None or not self._is_formed(j, promise) or rho * rho < _TRUSTED * self.squares[j]:
            u = self.problem.gradient(np.ascontiguousarray(q))
        else:
            self._used += 1
            column = KeptColumns.of(self.problem).take(self.problem, np.array([j]))[0]
            u = (column - h @ self._U[:k]) / rho
        if self._U is not None:
            self._U[k] = u
        return u

    def _is_formed(self, j: int, promise: Array | None) -> bool:
        """Tell whether A^T a_j is at hand; form it along with others if that has paid lately."""
        room = self.most - self.k
        if j in self._formed or promise is None or room < _PAID:
            return j in self._formed
        if self._single > 0:
            self._single -= 1
            return False
        if self._used < _PAID:
            self._single, self._pause, self._used = self._pause, 2 * self._pause, _PAID
            return False
        width = min(_TOGETHER, 2 * room)
        count = min(3 * width, promise.size)
        first = np.argpartition(promise, -count)[-count:]
        order = first[np.argsort(-promise[first])]
        fresh = [int(i) for i in order if promise[i] > -np.inf and int(i) not in self._formed and i != j]
        block = [j, *fresh[: width - 1]]
        KeptColumns.of(self.problem).take(self.problem, np.array(block))
        self._formed.update(block)
        self._used = 0
        return True

    def _reserve(self, capacity: int) -> None:
        old = self._Q.shape[1]
        if capacity <= old:
            return
        new, k = min(2 * old, self.most), self.k
        rows = self._Q.shape[0] + (0 if self.root is None else new - old)
        Q, R = np.zeros((rows, new), self._Q.dtype, order="F"), np.zeros((new, new), self._R.dtype, order="F")
        Q[: self._Q.shape[0], :old], R[:old, :old] = self._Q, self._R
        self._Q, self._R = Q, R
        self._y = np.concatenate([self._y, np.zeros(new - old, self._y.dtype)])
        self.r = np.concatenate([self.r, np.zeros(rows - self.r.size, self.r.dtype)])
        if self.root is not None:
            self._owner = np.concatenate([self._owner, np.full(new - old, -1)])
        if self._U is not None:
            U = np.zeros((new, self.problem.n))
            U[:k] = self._U[:k]
            self._U = U
