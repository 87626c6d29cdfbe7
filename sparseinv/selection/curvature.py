"""Which coefficients follow the data, and how the penalty holds them back."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv.penalties.group import Grouped
from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

CG_STEPS = 500


def moving(at: Problem, x: Array) -> Array:
    """Return the coefficients that follow small changes of the data."""
    bound = at.penalty
    if isinstance(bound, Grouped):
        live = (bound.norms(x) > 0) | (bound.lam == 0)
        return np.flatnonzero(bound.spread(live) & ~bound.excluded)
    smooth = (bound.l0 == 0) & (bound.l1 == 0) & ~bound.excluded
    if bound.nonnegative:
        smooth = np.zeros(bound.n, dtype=bool)
    return np.flatnonzero((x != 0) | smooth)


def curvature(bound: Any, x: Array, index: Array) -> tuple[Array, bool]:
    """Return (H, whether H is linear over the reals only) for the coefficients of index.

    Over the reals rows and columns are ordered (real parts, imaginary parts).
    """
    part = x[index]
    if isinstance(bound, Grouped):
        norms, level = bound.spread(bound.norms(x))[index], bound.level[index]
        labels = bound.spread(np.arange(bound.lam.size))[index]
        ridge = np.zeros(index.size)
    else:
        norms, level, ridge = np.abs(part), bound.l1[index], bound.l2[index]
        if x.dtype.kind != "c" or not level.any():
            return np.diag(ridge), False
        labels = np.arange(index.size)
    unit = np.divide(part, norms, out=np.zeros_like(part), where=norms > 0)
    bend = np.divide(level, norms, out=np.zeros_like(norms), where=norms > 0)
    kinked = bool(level.any())
    if x.dtype.kind == "c" and kinked:
        unit = np.concatenate([unit.real, unit.imag])
        bend, labels, ridge = np.tile(bend, 2), np.tile(labels, 2), np.tile(ridge, 2)
    same = labels[:, None] == labels[None, :]
    root = np.sqrt(bend)
    H = np.diag(ridge + bend) - np.where(same, np.outer(root * unit, root * unit.conj()), 0.0)
    return H, x.dtype.kind == "c" and kinked


def probed(at: Problem, x: Array, probes: int, rng: np.random.Generator) -> float:
    """Estimate the degrees of freedom by probes, each solved for by conjugate gradients with A."""
    index = moving(at, x)
    if index.size == 0:
        return 0.0
    bend = _Bend(at.penalty, x, index)
    padded = np.zeros(at.n, dtype=at.dtype)

    def image(v: Array) -> Array:
        padded[:] = 0
        padded[index] = v
        return np.array(at.operator.matvec(padded))

    total = 0.0
    for _ in range(probes):
        d = np.where(rng.random(at.m) < 0.5, -1.0, 1.0).astype(at.dtype)
        if at.dtype.kind == "c":
            d += 1j * np.where(rng.random(at.m) < 0.5, -1.0, 1.0)
        rhs = at.gradient(d)[index]
        v, r = np.zeros_like(rhs), rhs.copy()
        p, gamma = r.copy(), squared(r)
        stop = 1e-12 * gamma
        for _ in range(min(CG_STEPS, 4 * index.size + 10)):
            if gamma <= stop:
                break
            q = at.gradient(image(p))[index] + bend(p)
            along = float(np.vdot(p, q).real)
            if not along > 0.0:
                break
            v += (gamma / along) * p
            r -= (gamma / along) * q
            previous, gamma = gamma, squared(r)
            p = r + (gamma / previous) * p
        total += float(np.vdot(rhs, v).real)
    total /= probes * (2.0 if at.dtype.kind == "c" else 1.0)
    return min(max(total, 0.0), float(min(at.m, index.size)))


class _Bend:
    """Apply the curvature of the penalty to coefficients, without its matrix."""

    def __init__(self, bound: Any, x: Array, index: Array) -> None:
        self.bound, self.index, self.n = bound, index, x.size
        self.x = x

    @cached_property
    def _grouped(self) -> tuple[Array, Array]:
        norms = self.bound.spread(self.bound.norms(self.x))[self.index]
        level = self.bound.level[self.index]
        part = self.x[self.index]
        bend = np.divide(level, norms, out=np.zeros_like(norms), where=norms > 0)
        return bend, np.divide(part, norms, out=np.zeros_like(part), where=norms > 0)

    def __call__(self, v: Array) -> Array:
        if isinstance(self.bound, Grouped):
            bend, unit = self._grouped
            each = np.zeros(self.n)
            each[self.index] = (unit.conj() * v).real
            sums = np.add.reduceat(each[self.bound.order], self.bound.starts[:-1])
            return np.asarray(bend * (v - unit * self.bound.spread(sums)[self.index]))
        out = self.bound.l2[self.index] * v
        if v.dtype.kind == "c":
            part = self.x[self.index]
            size = np.abs(part)
            bend = np.divide(self.bound.l1[self.index], size, out=np.zeros_like(size), where=size > 0)
            unit = np.divide(part, size, out=np.zeros_like(part), where=size > 0)
            out = out + bend * (v - unit * (unit.conj() * v).real)
        return np.asarray(out)


def monte_carlo(forward: Array, base: Array, d: Array, eps: float) -> float:
    """Return Re<d, (fit at b + eps d) - (fit at b)> / eps, halved for complex data."""
    slope = float(np.vdot(d, forward - base).real) / eps
    return slope / (2.0 if np.iscomplexobj(d) else 1.0) if math.isfinite(slope) else math.nan
