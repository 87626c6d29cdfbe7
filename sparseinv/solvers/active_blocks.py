"""The problem restricted to the blocks that were ever active: groups, or coefficients over C.

Minimises ``1/2 y^H G y - Re q^H y + sum_g lam_g ||y_g|| + ridge_g ||y_g||^2 / 2`` by exact block sweeps and
Newton steps on the blocks that are not zero, where the objective is smooth. The block counterpart of
`active_columns`, with the same methods.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sparseinv.operators.matrix import ExplicitMatrix
from sparseinv.problem import Problem
from sparseinv.solvers import block_newton
from sparseinv.solvers.block_columns import BlockColumns, Blocks, block_norms, take_columns

Array = np.ndarray[Any, Any]

# thresholds tuned on groups of 1 to 10 columns, real and complex, in one place
_SWEEPS = 10  # Gram sweeps before the Newton steps
_SWEEP_RATIO = 0.1
_NEWTON_STEPS = 4  # in a row, while they are full steps
FILTER_SWEEPS = 3
_ENOUGH = 0.3  # share of the model's decrease below which the minimiser along the step is looked for
_WIDE = 0.4  # beyond one over this many live columns per row Newton systems have the size of a row
_TALL = 2.0  # beyond this many columns per row of A a Gram matrix costs more than it saves
_LARGEST = 6000  # beyond this many active columns there is no room for one
_SHORT, _CAUTION, _RELIEF = 0.3, 8.0, 3.0  # below this step the damping grows, by this; else it falls by that
_BOLD = 0.01  # where it begins
_VANISHED = 1e-12  # a block shrunk by this factor on the way along a step is zero there
_CROWDED = 0.3  # steps between levels stay wide where there are many non-zeros
_GROWTH = 1.5  # arrays grow by this factor
_ROUNDING = 1e-15  # of ||b||^2: a squared residual below it is rounding


class ActiveBlocks:
    """Hold the active blocks, their Gram matrix and the coordinates on them.

    Attributes
    ----------
    blocks : Blocks
        All blocks of the problem.
    columns : BlockColumns
        Those that are active, in the order in which they came, in uncorrelated coordinates.
    x, g : ndarray, shape (k,)
        Coordinates, and the gradient of the smooth part in them.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.lazy: Any = None  # all columns are at hand
        self.blocks = Blocks.of(problem.penalty)
        self.b2 = 2.0 * problem.scale
        rows = np.empty((0, problem.m), dtype=problem.dtype)
        weight = np.empty(0, dtype=problem.dtype)
        self.columns: Any = self._no_columns(rows, weight)
        self.gram: Array | None = np.empty((0, 0), dtype=problem.dtype, order="F")
        self._rows = rows
        self._x = self._g = self.q = weight
        self._squares = np.empty(0)  # squared norms of the active columns
        self._caution = _BOLD
        self._prepared: BlockColumns | None = None
        self._lay_out()

    def _no_columns(self, rows: Array, weight: Array) -> Any:
        """Return the columns to begin with: none."""
        none = np.empty(0, dtype=np.int64)
        inner = self.problem.operator.inner
        assert isinstance(inner, ExplicitMatrix)
        sparse = inner.picked(none).astype(self.problem.dtype) if inner.sparse else None
        return BlockColumns(none, none, rows, sparse, none, none, weight)

    def _lay_out(self) -> None:
        """Derive where the blocks begin and what they cost."""
        index, sizes = self.columns.index, self.columns.sizes
        self._starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])
        self._block = np.repeat(np.arange(index.size), sizes)
        self._level, self._ridge = self.blocks.level[index], self.blocks.ridge[index]
        largest = int(sizes.max(initial=1))
        self._scratch = (np.empty(largest), *np.empty((2, largest), dtype=self.problem.dtype))

    @property
    def k(self) -> int:
        """Number of active coordinates."""
        return int(self._block.size)

    @property
    def x(self) -> Array:
        """Coordinates on the active blocks."""
        return self._x[: self.k]

    @property
    def g(self) -> Array:
        """Gradient of the smooth part in these coordinates."""
        return self._g[: self.k]

    @property
    def levels(self) -> Array:
        """Levels of all blocks of the problem."""
        return self.blocks.level

    @property
    def crowded(self) -> float:
        """Largest factor between two levels on account of many non-zeros."""
        return _CROWDED

    def limit(self, columns: int) -> int:
        """Return how many newcomers so many columns are, in blocks of average size."""
        return int(columns / (self.blocks.order.size / max(self.blocks.count, 1))) + 1

    def excluded(self) -> Array:
        """Return the mask of the blocks that never join."""
        return self.blocks.excluded

    def first(self, x: Array) -> Array:
        """Return the mask of the blocks to begin with: unpenalised, or not zero in x."""
        return (self.blocks.unpenalised | (self.blocks.norms(x) > 0)) & ~self.blocks.excluded

    def size(self, g: Array) -> Array:
        """Return the size of the gradient on every block, for g = A^H r (n,)."""
        return self.blocks.norms(g)

    def size_at(self, index: Array, r: Array) -> Array:
        """Return the same on the blocks ``index`` only, for the residual r."""
        columns, sizes = self.blocks.columns(index)
        inner = self.problem.operator.inner
        assert isinstance(inner, ExplicitMatrix)
        part = inner.picked(columns)
        c = np.conj(np.asarray(part.T @ np.conj(r)))
        return block_norms(c, np.concatenate([[0], np.cumsum(sizes)]))

    def follow(self, problem: Problem) -> bool:
        """Go over to other levels of the same penalty; tell whether zeros and infinities stay in place."""
        before, blocks = self.blocks, Blocks.of(problem.penalty)
        same = np.array_equal(before.excluded, blocks.excluded) and np.array_equal(
            before.unpenalised, blocks.unpenalised
        )
        if same:
            self.problem, self.blocks = problem, blocks
            self._lay_out()
        return same

    # --- blocks that come in ---------------------------------------------------------------------------

    def survivors(self, index: Array, level: float, r: Array) -> Array:
        """Sweep over newcomers alone; return those that become non-zero."""
        from sparseinv.kernels.descent import gram_group_descent

        fresh = take_columns(self.problem, self.blocks, index)
        fresh = fresh.taken(fresh.sizes > 0)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(fresh.sizes, dtype=np.int64)])
        gram = np.asfortranarray(fresh.gram(fresh))
        g = np.ascontiguousarray(fresh.correlate(r))
        y = np.zeros_like(g)
        largest = int(fresh.sizes.max(initial=1))
        scratch = (np.empty(largest), *np.empty((2, largest), dtype=g.dtype))
        lam, ridge = level * self.blocks.level[fresh.index], self.blocks.ridge[fresh.index]
        gram_group_descent(gram, starts, lam, ridge, y, g, FILTER_SWEEPS, 0.0, scratch)
        self._prepared = fresh.taken(block_norms(y, starts) > 0)
        return self._prepared.index

    def extend(self, index: Array, correlations: Array | None = None) -> None:
        """Add blocks."""
        fresh = self._prepared
        if fresh is None or not np.array_equal(fresh.index, index):
            fresh = take_columns(self.problem, self.blocks, index)
            fresh = fresh.taken(fresh.sizes > 0)
        self._prepared = None
        old, new = self.k, self.k + fresh.k
        if new > min(_TALL * self.problem.m, _LARGEST):
            self.gram = None
        if new > self._x.size:
            self._grow(max(new, int(_GROWTH * old), 128))
        r = self.residual()
        self.columns = self.columns.joined(fresh, self._rows)
        if self.gram is not None:
            block = self.columns.gram(fresh)
            self.gram[:new, old:new] = block
            self.gram[old:new, :old] = block[:old].conj().T
        self.q[old:new] = fresh.correlate(self.problem.b)
        self._squares = np.concatenate([self._squares, fresh.squares()])
        self._x[old:new] = 0.0
        self._g[old:new] = fresh.correlate(r)
        self._lay_out()

    def _grow(self, capacity: int) -> None:
        k, dtype = self.k, self.problem.dtype
        if self.gram is not None:
            gram = np.empty((capacity, capacity), dtype=dtype, order="F")
            gram[:k, :k] = self.gram[:k, :k]
            self.gram = gram
        vectors = np.zeros((3, capacity), dtype=dtype)
        for new, old in zip(vectors, (self._x, self._g, self.q), strict=True):
            new[:k] = old[:k]
        self._x, self._g, self.q = vectors
        self._room_for_rows(capacity)

    def _room_for_rows(self, capacity: int) -> None:
        if self.columns.sparse is None:
            rows = np.empty((capacity, self.problem.m), dtype=self.problem.dtype)
            rows[: self.k] = self._rows[: self.k]
            self._rows = rows

    # --- between the coordinates and x -------------------------------------------------------------------

    def start(self, index: Array, correlations: Array, x: Array) -> None:
        """Add the first blocks, with their coefficients in x (n,)."""
        self.extend(index, correlations)
        self.place(x)

    def place(self, x: Array) -> None:
        """Go on from x (n,)."""
        self.x[:] = self.columns.gather(x)
        self.g[:] = self.columns.correlate(self.residual())

    def solution(self) -> Array:
        """Return x (n,)."""
        return self.columns.spread(self.x, self.problem.n)

    def residual(self) -> Array:
        """Return A x - b."""
        return self.columns.combine(self.x) - self.problem.b

    def refresh(self, g: Array) -> None:
        """Take over the gradient A^H r (n,), which carries no rounding errors of the Gram matrix."""
        self.g[:] = self.columns.gather(g)

    # --- minimisation ------------------------------------------------------------------------------------

    def minimise(self, level: float, target: float, rounds: int) -> tuple[float, float]:
        """Sweep and take Newton steps until the gap is below target; return (gap, last share of flips)."""
        gap, flips = np.inf, 0.0
        if self.k == 0:
            return self.gap(level), flips
        for _ in range(rounds):
            self._sweep(level)
            gap = np.inf if level == 1.0 else self.gap(level)
            for _ in range(_NEWTON_STEPS if gap > target else 0):
                if time.perf_counter() > self.problem.operator.deadline:
                    return gap, flips
                flips = self.newton(level)
                before, gap = gap, self.gap(level)
                if gap <= target:
                    return gap, flips
                if flips > 0.0 or gap > 0.5 * before:
                    break
            if gap <= target:
                break
        return gap, flips

    def _sweep(self, level: float) -> None:
        """Minimise over one block after the other, a few times."""
        from sparseinv.kernels.descent import gram_group_descent, row_group_descent

        costs = (self._starts, level * self._level, self._ridge, self._x)
        if self.gram is not None:
            gram_group_descent(self.gram, *costs, self._g, _SWEEPS, _SWEEP_RATIO, self._scratch)
            return
        r = self.residual()
        layout, squares = self.columns.layout(), self._squares
        row_group_descent(layout, squares, *costs, r, _SWEEPS, _SWEEP_RATIO, self._scratch)
        self.g[:] = self.columns.correlate(r)

    def gap(self, level: float) -> float:
        """Return the duality gap of the problem on the active blocks, from the scaled residual."""
        if self.k == 0:
            return 0.0
        x, g, q = self.x, self.g, self.q[: self.k]
        lam, ridge = level * self._level, self._ridge
        size, slope = block_norms(x, self._starts), block_norms(g, self._starts)
        xq, xg = float(np.vdot(x, q).real), float(np.vdot(x, g).real)
        r2 = max(self.b2 - xq + xg, 0.0)
        hard = (ridge == 0.0) & (lam > 0.0) & (slope > 0.0)
        soft = ridge > 0.0
        # the best multiple of a residual that is rounding means nothing; at the optimum it is 1
        s = (self.b2 - xq) / r2 if r2 > _ROUNDING * self.b2 else 1.0
        with np.errstate(over="ignore"):
            s = max(min(s, float((lam[hard] / slope[hard]).min(initial=np.inf))), 0.0)
            inner = np.bincount(self._block, weights=(np.conj(x) * g).real, minlength=size.size)
            terms = size * (lam + 0.5 * ridge * size) + s * inner
            terms[soft] += np.maximum(s * slope[soft] - lam[soft], 0.0) ** 2 / (2.0 * ridge[soft])
        return float(0.5 * (1.0 - s) ** 2 * r2 + np.maximum(terms, 0.0).sum())

    def newton(self, level: float) -> float:
        """Take one Newton step on the blocks that are not zero; return the share of those that vanished.

        A block that the step turns around is set to zero. Where that does not keep a fair share of the
        decrease of the model, the minimiser along the step is taken, so the objective never rises.
        """
        size = block_norms(self.x, self._starts)
        alive = (size > 0.0) | ((self._level == 0.0) & (self._ridge == 0.0))
        live = np.flatnonzero(alive[self._block])
        if live.size == 0:
            return 0.0
        size, lam, ridge = size[alive], level * self._level[alive], self._ridge[alive]
        sizes = self.columns.sizes[alive]
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)])
        block = np.repeat(np.arange(sizes.size), sizes)
        y = self.x[live]
        weight = np.divide(lam, size, out=np.zeros(size.size), where=size > 0)
        smooth = self.g[live] + ridge[block] * y
        slope = smooth + weight[block] * y
        # the damping vanishes with the slope; where steps come out too long it grows from one to the next
        d = np.sqrt(self._squares[live] + weight[block] + ridge[block])
        d = np.where(d > 0.0, d, 1.0)
        damping = self._caution * float(np.abs(slope / d).max()) / max(float(np.abs(y * d).max()), 1e-300)
        step = self._newton_step(live, starts, slope, y, size, weight, ridge[block], min(damping, 1.0))
        if step is None:
            return 1.0
        along = np.add.reduceat((np.conj(y) * step).real, starts[:-1])
        turned = (along <= -(size**2)) & (lam > 0.0)
        change = step.copy()
        change[turned[block]] = -y[turned[block]]
        model = -0.5 * float(np.vdot(slope, step).real)
        share = float(turned.sum()) / turned.size
        image = self._image(live, change)
        fall = self._change(live, starts, change, image, smooth, ridge[block], lam, size)
        if not fall <= -_ENOUGH * model:
            rate = float(np.vdot(smooth, step).real)
            t = _along(size, along, block_norms(step, starts), lam, rate, 2.0 * model)
            shorter = t * step
            gone = (block_norms(y + shorter, starts) <= _VANISHED * size) & (lam > 0.0)
            shorter[gone[block]] = -y[gone[block]]
            other = self._image(live, shorter)
            further = self._change(live, starts, shorter, other, smooth, ridge[block], lam, size)
            if t < _SHORT:
                self._caution *= _CAUTION
            share = max(share, 1.0 - t)
            if further < fall:
                fall, change, image = further, shorter, other
        else:
            self._caution = max(self._caution / _RELIEF, _BOLD)
        if fall < 0.0:
            moved = y + change
            moved[change == -y] = 0.0
            self._x[live] = moved
            self.g[:] += image
        return share

    def _newton_step(
        self, live: Array, starts: Array, slope: Array, y: Array, size: Array, weight: Array, ridge: Array,
        damping: float,
    ) -> Array | None:  # fmt: skip
        """Return -H^{-1} slope for the Hessian G + ridge + weight (I - u u^T), u = y_g / ||y_g||, over R."""
        unit = y / np.where(size > 0.0, size, 1.0)[np.repeat(np.arange(size.size), np.diff(starts))]
        wide = self._is_wide(live.size) and bool((weight > 0.0).all())
        if wide:
            step = block_newton.by_rows(self.columns.dense(live), starts, unit, weight, ridge, slope, damping)
        if not wide or step is None:
            if 2 * live.size > _LARGEST:
                return None  # sweeps alone
            part = self.columns.gram_of(live) if self.gram is None else self.gram[np.ix_(live, live)]
            step = block_newton.by_gram(part, starts, unit, weight, ridge, slope, damping)
        return None if step is None else -step

    def _is_wide(self, live: int) -> bool:
        """Tell whether so many live columns are better treated by rows."""
        return _WIDE * live > self.problem.m

    def _image(self, live: Array, change: Array) -> Array:
        """Return G times a change of the coordinates live."""
        moved = change != 0
        if not moved.all():
            live, change = live[moved], change[moved]
        k = self.k
        if self.gram is None:
            padded = np.zeros(k, dtype=change.dtype)
            padded[live] = change
            return self.columns.correlate(self.columns.combine(padded))
        if 4 * live.size < k:
            return self.gram[:k, live] @ change
        padded = np.zeros(k, dtype=change.dtype)
        padded[live] = change
        return self.gram[:k, :k] @ padded

    def _change(
        self, live: Array, starts: Array, change: Array, image: Array, smooth: Array, ridge: Array,
        lam: Array, size: Array,
    ) -> float:  # fmt: skip
        """Return by how much the objective changes, without cancellation."""
        y = self.x[live]
        quadratic = np.vdot(change, image[live]).real + float(ridge @ (change.real**2 + change.imag**2))
        after = block_norms(y + change, starts)
        across = np.add.reduceat((np.conj(change) * (2.0 * y + change)).real, starts[:-1])
        total = after + size
        growth = np.divide(across, total, out=np.zeros_like(total), where=total > 0.0)
        return float(np.vdot(smooth, change).real + 0.5 * quadratic + lam @ growth)

    def semismooth(self, level: float, target: float) -> None:
        """Go on with sweeps and Newton steps."""
        self.minimise(level, target, 20)


def _along(size: Array, along: Array, length: Array, lam: Array, slope: float, model: float) -> float:
    """Return the t in [0, 1] that minimises the objective along the step, by bisection.

    Block g has the norm (size^2 + 2 t along + t^2 length^2)^(1/2) there; the smooth part has the slope
    ``slope`` at t = 0, and ``model`` is the curvature of the whole model along the step.
    """
    a, c = size**2, length**2
    bound = (lam > 0.0) & (size > 0.0)
    a, along, c, lam = a[bound], along[bound], c[bound], lam[bound]
    curved = float((lam * np.maximum(c - along**2 / a, 0.0) / np.sqrt(a)).sum())
    curvature = max(model - curved, 0.0)

    def derivative(t: float) -> float:
        norm = np.sqrt(np.maximum(a + t * (2.0 * along + t * c), 0.0))
        rate = np.divide(along + t * c, norm, out=np.zeros_like(norm), where=norm > 0.0)
        return slope + t * curvature + float(lam @ rate)

    low, high = 0.0, 1.0
    if derivative(1.0) <= 0.0:
        return 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        if derivative(middle) > 0.0:
            high = middle
        else:
            low = middle
        if high - low <= 1e-14 * high:
            break
    return low
