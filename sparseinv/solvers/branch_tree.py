"""The tree of a branch and bound: data in Gram form, flat arrays of nodes, what the kernel asks for."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.penalties.balls import Ball
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.branch_record import BranchRecord
from sparseinv.solvers.branch_shapes import shape
from sparseinv.support_proof import SupportProof

Array = np.ndarray[Any, Any]

_AT_ONCE = 300  # columns up to which the Gram matrix is formed at once
_WHOLE = 3000  # columns up to which it is formed as a whole
_OFTEN = 2  # ... when more than an n-th of its rows was asked for
_BYTES = 1 << 30  # of Gram rows that are kept
_WIDTH = 128  # working set that scratch is laid out for at first
_FIRST = 1 << 27  # ... that memory is laid out for at first; what is not filled is not touched
_TOGETHER = 24  # rows formed at once, at least: one costs a pass over A, and so do several
_ASK = 64  # rows asked for at once
_BLOCK = 256  # columns that unpenalised ones are taken out of at once
_WITHIN = 1e-12  # a column this much longer than what unpenalised ones leave of it lies in their span
_ROUNDING = 16.0 * float(np.finfo(float).eps)  # of a column, what taking another out of it may be off by
_FEW = 400  # coefficients of a node up to which it may have a shape of its own
_RANK = 0.5  # the same in relation to the rows of A
_SHRUNK = 0.7  # share of the coefficients of the last shape from which on it gets one


class BranchTree:
    """Hold the open nodes of one problem and treat them, in working units.

    Unpenalised coefficients are eliminated: what is left is a problem in what their span leaves of the
    columns, whose rounding errors the bound allows for. Excluded and empty columns are left out.
    """

    def __init__(
        self, problem: Problem, upper: float, big_m: Array | None, slack: float, proof_bytes: int = 0
    ) -> None:
        penalty, n = problem.penalty, problem.n
        ball = isinstance(penalty, Ball)
        lam = np.zeros(n) if ball else penalty.l0
        l2 = np.zeros(n) if ball else penalty.l2
        there = ~penalty.excluded & (problem.column_norms > 0.0)
        self.most = penalty.k if ball else -1
        self.problem = problem
        free = np.asarray(penalty.unpenalised) if ball else lam == 0.0
        self.index, self.always = np.flatnonzero(there & ~free), np.flatnonzero(there & free)
        self.lam, self.l2 = lam[self.index].copy(), l2[self.index].copy()
        self.scale, self.rounding = problem.scale, 0.0
        self._basis: tuple[Array, Array] | None = None
        b = problem.b
        if self.always.size:
            b = self._eliminate(l2[self.always])
            self.lam, self.l2 = lam[self.index].copy(), l2[self.index].copy()
        self.n = self.index.size
        self.c = problem.gradient(b)[self.index]
        self.record = BranchRecord(proof_bytes)
        self._rows()
        self._allocate(upper, big_m, slack)

    def _eliminate(self, l2: Array) -> Array:
        """Take the unpenalised columns out; return what they leave of b. l2_j > 0 is one more row of A."""
        from scipy.linalg import qr

        problem, ridged = self.problem, np.flatnonzero(l2 > 0.0)
        below = np.zeros((ridged.size, self.always.size))
        below[np.arange(ridged.size), ridged] = np.sqrt(l2[ridged])
        Z = np.vstack([problem.operator.columns(self.always), below])
        q, upper, _ = qr(Z / np.linalg.norm(Z, axis=0), mode="economic", pivoting=True)
        diagonal = np.abs(np.diag(upper))
        q = q[:, diagonal > 1e-13 * max(Z.shape) * diagonal[0]]
        self._basis = (q[: problem.m], q[problem.m :])
        squares = [
            (top**2).sum(axis=0) + (bottom**2).sum(axis=0)
            for low in range(0, self.index.size, _BLOCK)
            for top, bottom in [self._reduced(problem.operator.columns(self.index[low : low + _BLOCK]))]
        ]
        left = np.sqrt(np.concatenate([np.empty(0), *squares]))
        norms = problem.column_norms[self.index]
        there = left > _WITHIN * norms
        self.index, self._left = self.index[there], left[there]
        top, bottom = self._reduced(problem.b[:, None])
        self.scale = 0.5 * (float((top**2).sum()) + float((bottom**2).sum()))
        longer = float((norms[there] / self._left).max(initial=1.0))
        self.rounding = _ROUNDING * (longer * self.scale + np.sqrt(problem.scale * self.scale))
        return np.ascontiguousarray(top[:, 0])

    def _reduced(self, columns: Array) -> tuple[Array, Array]:
        """Return what the span of the unpenalised columns leaves: in the rows of A, and in those for l2."""
        assert self._basis is not None
        q, below = self._basis
        top, bottom = np.array(columns), np.zeros((below.shape[0], columns.shape[1]))
        for _ in range(2):
            at = q.T @ top + below.T @ bottom
            top -= q @ at
            bottom -= below @ at
        return top, bottom

    def _gram_rows(self, j: Array) -> Array:
        """Return the rows j of the Gram matrix of what unpenalised coefficients leave of the columns."""
        operator = self.problem.operator
        columns = operator.columns(self.index[j])
        if self._basis is not None:
            columns = self._reduced(columns)[0]
        products = np.asarray(operator.rmatmat(np.asfortranarray(columns)))
        return (products if self.n == products.shape[0] else products[self.index]).T

    def _gram(self, index: Array) -> Array:
        matrix = self.problem.operator.inner
        assert isinstance(matrix, ExplicitMatrix)
        return np.asarray(matrix.gram(index))

    def _rows(self) -> None:
        n = self.n
        self.slot = np.full(n, -1, dtype=np.int64)
        self.whole, self._filled = False, 0
        norms = self.problem.column_norms[self.index] if self._basis is None else self._left
        self.squares = norms**2
        self.rows = np.empty((min(_FIRST // (8 * max(n, 1)) + 1, n), n))
        if n <= _AT_ONCE:
            self._form_all()

    def _form_all(self) -> None:
        """Form the Gram matrix of all columns."""
        n = self.n
        if self._basis is None:
            self.rows = np.ascontiguousarray(self._gram(self.index))
            self.problem.operator.charge(adjoint=n)
        else:
            self.rows = np.empty((n, n))
            for low in range(0, n, _BLOCK):
                j = np.arange(low, min(low + _BLOCK, n))
                self.rows[j] = self._gram_rows(j)
            self.rows = 0.5 * (self.rows + self.rows.T)
        self.slot[:] = np.arange(n)
        self.whole, self._filled = True, n

    def _allocate(self, upper: float, big_m: Array | None, slack: float) -> None:
        from sparseinv.kernels import branch

        n = self.n
        top = np.full(n, np.inf) if big_m is None else big_m[self.index].copy()
        self.forms, self.tops = self.l2[None, :].copy(), top[None, :]
        m = self.problem.m
        self._few = n if n <= m else min(_FEW, int(_RANK * m))
        self._rank = n if n <= m else min(_FEW, m)
        self.usable = np.array([bool(((self.l2 > 0.0) | (top < np.inf)).all())])
        cap = 4096
        self.nodes = np.zeros((cap, 7), dtype=np.int64)
        self.keys, self.charges = np.zeros(cap), np.zeros(cap)
        self.heap = np.zeros(cap, dtype=np.int64)
        self.fixes = np.zeros(8 * n + 64 + cap, dtype=np.int64)
        self.kept, self.values = np.zeros(64 * cap, dtype=np.int32), np.zeros(64 * cap)
        self._scratch(min(n, _WIDTH))
        self.counts = np.zeros(15, dtype=np.int64)
        self.counts[branch.DIVING] = -1
        self.counts[branch.SEEN] = -1
        self.numbers = np.array([upper, slack, np.inf, 0.0, 0.0, 0.0])
        self.nodes[0, branch.PARENT] = -1
        self.counts[branch.NODES] = self.counts[branch.OPEN] = 1
        self.fixed_always = np.zeros(n, dtype=np.int8)
        self.weight = np.maximum(self.squares + self.l2, 1e-300)
        if self.most > 0 and n:
            promise = np.sort(self.c**2 / (2.0 * self.weight))[::-1]
            self.charges[0] = max(float(promise[min(self.most, n) - 1]), 1e-9 * self.scale)

    def _scratch(self, width: int) -> None:
        n = self.n
        fixed = np.zeros(n, dtype=np.int8)
        free, W, place = (np.zeros(n, dtype=np.int64) for _ in range(3))
        v, h, spare, level, slope, limit = (np.zeros(n) for _ in range(6))
        self._v = v
        self.best = np.zeros(width, dtype=np.int64)
        self.wanted = np.zeros(_ASK, dtype=np.int64)
        self.arrays: tuple[Array, ...] = (
            fixed, free, W, place, np.zeros(width), np.zeros(width), v, h, spare, level, slope, limit,
            np.zeros(n + 1, dtype=np.int64), *(np.zeros((width, width)) for _ in range(3)),
            *(np.zeros(width) for _ in range(3)), np.zeros(width, dtype=np.int64), self.best, self.wanted,
        )  # fmt: skip

    @property
    def lower(self) -> float:
        """The lowest bound of what is open or was closed, at most the incumbent's objective."""
        from sparseinv.kernels import branch

        counts, numbers = self.counts, self.numbers
        lowest = min(float(numbers[branch.UPPER]), float(numbers[branch.CLOSED]))
        if counts[branch.OPEN]:
            lowest = min(lowest, float(self.keys[self.heap[0]]))
        if counts[branch.DIVING] >= 0:
            lowest = min(lowest, float(self.keys[counts[branch.DIVING]]))
        return lowest - self.rounding

    @property
    def done(self) -> int:
        """Nodes treated."""
        from sparseinv.kernels import branch

        return int(self.counts[branch.DONE])

    @property
    def work(self) -> float:
        """Multiplications so far, about."""
        from sparseinv.kernels import branch

        return float(self.numbers[branch.TOTAL])

    def explore(self, upper: float, slack: float, work: float, limit: int) -> bool:
        """Treat nodes for about ``work`` multiplications; tell whether none is left.

        ``upper`` is the objective of the incumbent, ``slack`` how far below it a bound closes a node,
        ``limit`` the number of nodes from which on no more are treated.
        """
        from sparseinv.kernels import branch

        numbers, counts = self.numbers, self.counts
        slack = max(slack - self.rounding, 0.5 * slack)
        numbers[branch.UPPER], numbers[branch.SLACK], numbers[branch.WORK] = upper, slack, 0.0
        counts[branch.LIMIT] = limit
        while True:
            data = (
                self.c, self.lam, self.l2, self.weight, self.rows, self.slot, self.scale, self.most,
                self.fixed_always,
            )  # fmt: skip
            shapes = (self.forms, self.tops, self.usable, self._few, self._rank, _SHRUNK)
            store = (self.nodes, self.keys, self.charges, self.heap, self.fixes, self.kept, self.values)
            left = work - numbers[branch.WORK]
            proof = self.record.arrays
            why = branch.explore(data, shapes, store, proof, self.arrays, counts, numbers, left)
            # a node that is neither open nor the next to be treated must not be left behind
            if why == branch.LEAF:
                self._leaf(int(counts[branch.NODE]))
            elif why == branch.SHAPE:
                self._shape(int(counts[branch.NODE]))
                size = float(self.nodes[counts[branch.NODE], branch.ASKED])
                price = branch.PRICE * size**3
                numbers[branch.WORK] += price
                numbers[branch.SHAPED] += price
            if why in (branch.EMPTY, branch.SPENT) or counts[branch.BEST]:
                return bool(why == branch.EMPTY)
            if why == branch.ROWS:
                self._fetch(self.wanted[: counts[branch.WANTED]])
            elif why == branch.ROOM:
                self._grow()
            elif why == branch.WIDE:
                self._widen()

    def _widen(self) -> None:
        best = self.best
        self._scratch(min(self.n, 2 * best.size))
        self.best[: best.size] = best

    def _grow(self) -> None:
        from sparseinv.kernels import branch

        if self.nodes.shape[0] - self.counts[branch.NODES] < 8:
            self.nodes = np.concatenate([self.nodes, np.zeros_like(self.nodes)])
            for name in ("keys", "charges", "heap"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        if self.fixes.size - self.counts[branch.FIXES] < 2 * self.n + 8:
            self.fixes = np.concatenate([self.fixes, np.zeros(self.fixes.size, dtype=np.int64)])
        if self.kept.size - self.counts[branch.KEPT] < 2 * self.best.size + 8:
            self.kept = np.concatenate([self.kept, np.zeros(self.kept.size, dtype=np.int32)])
            self.values = np.concatenate([self.values, np.zeros(self.values.size)])
        if self.record.recording:
            self.record.make_room(
                int(self.counts[branch.NODES]), self.counts, branch.ROUNDS + 8, self.best.size, self.n
            )

    def _fetch(self, j: Array) -> None:
        """Form the Gram rows j, and those of other columns that may be asked for next."""
        if self.n <= _WHOLE and _OFTEN * self._filled > self.n:
            self._form_all()
            return
        j = np.unique(j[self.slot[j] < 0])
        if j.size < _TOGETHER:
            # no other than those that the node leaves free will be asked for below it
            open_ = (self.slot < 0) & (self.arrays[0] == 0)
            promise = np.where(open_, np.abs(self._v) / np.sqrt(self.weight), 0.0)
            promise[j] = np.inf
            likely = np.argpartition(-promise, min(_TOGETHER, self.n - 1))[:_TOGETHER]
            j = np.sort(likely[promise[likely] > 0.0])
        while self._filled + j.size > self.rows.shape[0]:
            if 16 * self.rows.size <= _BYTES or j.size > self.rows.shape[0]:
                self.rows = np.concatenate([self.rows, np.empty_like(self.rows)])
            else:
                self.slot[:] = -1
                self._filled = 0
        at = np.arange(self._filled, self._filled + j.size)
        self.rows[at] = self._gram_rows(j)
        self.slot[j] = at
        self._filled += j.size

    def members(self, node: int) -> tuple[Array, Array]:
        """Return (coefficients that a node does not exclude, mask of those it holds in)."""
        from sparseinv.kernels import branch

        fixed = self.fixed_always.copy()
        while node >= 0:
            first, count = self.nodes[node, branch.FIRST], self.nodes[node, branch.FIXED]
            signed = self.fixes[first : first + count]
            fixed[signed[signed > 0] - 1] = 1
            fixed[-signed[signed < 0] - 1] = -1
            node = int(self.nodes[node, branch.PARENT])
        members = np.flatnonzero(fixed >= 0)
        return members, fixed[members] == 1

    def _shape(self, node: int) -> None:
        """Give a node curvatures and sizes of its own, and put it back."""
        from sparseinv.kernels import branch

        K, inside = self.members(node)
        if self.whole:
            H = self.rows[np.ix_(K, K)]
        elif self._basis is not None:
            top, bottom = self._reduced(self.problem.operator.columns(self.index[K]))
            H = top.T @ top + bottom.T @ bottom
        else:
            H = self._gram(self.index[K])
        H[np.arange(K.size), np.arange(K.size)] += self.l2[K]
        found = shape(H, self.c[K], self.scale, self.lam[K], inside, float(self.numbers[branch.UPPER]))
        if found is not None:
            old = int(self.nodes[node, branch.FORM])
            d, top = np.zeros(self.n), np.zeros(self.n)
            d[K], top[K] = found.d, np.minimum(found.top, self.tops[old][K])
            self.keys[node] = max(float(self.keys[node]), found.floor)
            self.nodes[node, branch.FORM] = self.usable.size
            self.forms = np.concatenate([self.forms, d[None, :]])
            self.tops = np.concatenate([self.tops, top[None, :]])
            if self.record.recording:
                self.record.bend(node, self.counts, K, found.d)
            self.usable = np.append(self.usable, bool(((d[K] > 0.0) | (top[K] < np.inf)).all()))
        self.counts[branch.DIVING] = node

    def _leaf(self, node: int) -> None:
        """Close a node that leaves one support, by a fit where products are too inexact."""
        from sparseinv.kernels import branch

        K, inside = self.members(node)
        own = K[inside]
        support = np.sort(np.concatenate([self.index[own], self.always]))
        _, value = refitted(self.problem, support)
        value += float(self.lam[own].sum())
        numbers = self.numbers
        numbers[branch.WORK] += 4.0 * self.problem.m * support.size**2
        numbers[branch.CLOSED] = min(numbers[branch.CLOSED], max(value, float(self.keys[node])))
        if value < numbers[branch.UPPER]:
            while self.best.size < own.size:
                self._widen()
            numbers[branch.UPPER] = value
            self.best[: own.size] = own
            self.counts[branch.BEST] = own.size

    def proof(self) -> SupportProof | None:
        """Return what was recorded, in working units; None where nothing was to be."""
        return self.record.proof(self.nodes, self.fixes, self.counts, self.index)

    def incumbent(self) -> Array | None:
        """Return the support of a better incumbent that was found since the last call, columns of A."""
        from sparseinv.kernels import branch

        size = int(self.counts[branch.BEST])
        if size == 0:
            return None
        self.counts[branch.BEST] = 0
        return np.sort(np.concatenate([self.index[self.best[:size]], self.always]))


def refitted(problem: Problem, support: Array) -> tuple[Array, float]:
    """Return the minimiser on a support, refined once with its own residual, and its value without lam."""
    ridge = problem.penalty.l2[support] if isinstance(problem.penalty, Separable) else np.zeros(support.size)
    columns = np.vstack([problem.operator.columns(support), np.diag(np.sqrt(ridge))])
    target = np.concatenate([problem.b, np.zeros(support.size)])
    # at equal norms, so that only what depends on others counts as dependent
    norms = np.linalg.norm(columns, axis=0)
    norms[norms == 0.0] = 1.0
    columns = columns / norms
    q, upper = np.linalg.qr(columns)
    fitted = np.linalg.lstsq(upper, q.T @ target, rcond=None)[0]
    fitted = fitted + np.linalg.lstsq(upper, q.T @ (target - columns @ fitted), rcond=None)[0]
    left = target - columns @ fitted
    x = np.zeros(problem.n)
    x[support] = fitted / norms
    return x, 0.5 * float(left @ left)
