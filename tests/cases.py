"""The zoo: named small problems, random ones by kind, and which solver accepts what.

A `Case` holds what a user would pass (A, b, penalty) next to the same problem in plain arrays, which
`reference` judges. `ZOO` maps names to functions that make a case; `random_case` draws one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from reference import Plain, plain

import sparseinv as si

Array = np.ndarray[Any, Any]

SEED = int(os.environ.get("SPARSEINV_TEST_SEED", "20250118"))

#: solvers by name; every one constructs without arguments
SOLVERS: dict[str, Callable[[], Any]] = {
    "auto": lambda: "auto",
    "FISTA": si.FISTA,
    "ISTA": si.ISTA,
    "CoordinateDescent": si.CoordinateDescent,
    "Ridge": si.Ridge,
    "IRLS": si.IRLS,
    "IRL1": si.IRL1,
}


def generator(*key: int) -> np.random.Generator:
    """Return random numbers that depend on the seed of the suite and on key."""
    return np.random.default_rng([SEED, *key])


@dataclass(frozen=True, eq=False)
class Case:
    """A problem as a user passes it, and in plain arrays.

    iterations, products: the most that a solver may take; a solver that is not named has the budget of
    "others". A solver in ``slow`` may run out of its budget, and must then say so.
    """

    name: str
    A: Any
    b: Array
    penalty: Any
    plain: Plain
    tol: float = 1e-9
    explicit: bool = True
    exact: Array | None = None
    slow: frozenset[str] = frozenset()
    iterations: dict[str, int] = field(default_factory=dict)
    products: dict[str, int] = field(default_factory=dict)

    @property
    def accepted(self) -> list[str]:
        """The solvers that must accept the case; all others must refuse it."""
        convex = not (self.plain.l0[~self.plain.excluded] > 0).any()
        level = self.plain.level[~self.plain.excluded]
        quadratic = convex and not (level > 0).any() and not self.plain.nonnegative
        return [
            name
            for name, fits in {
                "auto": True,
                "FISTA": convex,
                "ISTA": True,
                "CoordinateDescent": self.explicit,
                "Ridge": quadratic and self.plain.groups is None,
                "IRLS": not self.plain.nonnegative,
                "IRL1": self.plain.groups is None,
            }.items()
            if fits
        ]


class Products:
    """A matrix-free map: shape, matvec, rmatvec and nothing else."""

    def __init__(self, A: Array) -> None:
        self._A = A
        self.shape = A.shape
        self.forward = self.adjoint = 0

    def matvec(self, x: Array) -> Array:
        self.forward += 1
        return self._A @ x

    def rmatvec(self, y: Array) -> Array:
        self.adjoint += 1
        return self._A.conj().T @ y


# --- random problems by kind --------------------------------------------------------------------------

KINDS = (
    "l1", "l1 weights", "l1 zero inf", "l1 tied", "l2", "l2 zero inf", "enet", "enet zero inf",
    "group", "group zero inf", "l1 nonneg", "l1 nonneg zero", "l2 nonneg zero", "enet nonneg zero",
)  # fmt: skip
SHAPES = ("tall", "wide", "square")
CONTAINERS = ("dense", "csc", "operator")
DESIGNS = ("gaussian", "correlated", "rank-deficient", "scaled")
FIELDS = ("real", "complex", "complex A", "complex b")


def random_case(
    rng: np.random.Generator, kind: str, shape: str = "wide", container: str = "dense",
    design: str = "gaussian", number: str = "real",
) -> Case:  # fmt: skip
    """Draw a problem; levels lie between 0.3 % and half of the level that gives x = 0."""
    small, large = int(rng.integers(9, 16)), int(rng.integers(22, 34))
    m, n = {"tall": (large, small), "wide": (small, large), "square": (small + 6, small + 6)}[shape]
    nonnegative = "nonneg" in kind
    assert not (nonnegative and number != "real"), "nonnegative needs real data"
    groups = rng.integers(0, 6, n) if kind.startswith(("group", "l1 tied")) else None
    A = _design(rng, m, n, design, number in ("complex", "complex A"), groups)
    if container == "csc":
        A = A * (rng.random(A.shape) < 0.4)
    truth = np.where(rng.random(n) < 0.25, rng.standard_normal(n), 0.0)
    b = A @ (truth / np.maximum(np.linalg.norm(A, axis=0), 1e-300))
    b = b + 0.3 * rng.standard_normal(m)
    if number in ("complex", "complex b"):
        b = b + (0.5j * rng.standard_normal(m))
    if number == "complex A":
        b = b.real
    level = _levels(rng, A, b, kind, groups)
    penalty, problem = _penalty(rng, A, b, kind, groups, level, nonnegative)
    return Case(
        f"{kind}, {shape}, {container}, {design}, {number}", _contained(A, container), b, penalty, problem,
        explicit=container != "operator",
    )  # fmt: skip


def _design(
    rng: np.random.Generator, m: int, n: int, design: str, is_complex: bool, groups: Array | None
) -> Array:
    def normal(*shape: int) -> Array:
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if is_complex else v

    if design == "rank-deficient":
        rank = max(2, min(m, n) // 2)
        A = normal(m, rank) @ normal(rank, n) / np.sqrt(rank)
        A[:, n // 2] = A[:, 0]  # a duplicate
        A[:, n // 3] = -2.0 * A[:, 1]  # an opposite
        A[:, n - 1] = 0.0
        return A
    A = normal(m, n)
    if design == "correlated":
        A = 0.3 * A + 0.7 * normal(m, 1)
    if design == "scaled":
        # columns of one group keep one scale: block steps see no other
        A = A * (10.0 ** rng.uniform(-3, 3, n if groups is None else 6))[... if groups is None else groups]
    return A


def _levels(rng: np.random.Generator, A: Array, b: Array, kind: str, groups: Array | None) -> Array:
    c = A.conj().T @ b
    if groups is None:
        count, top = A.shape[1], float(np.abs(c).max())
    else:
        count = np.unique(groups).size
        top = float(max(np.linalg.norm(c[groups == k]) for k in np.unique(groups)))
    if kind.startswith("l2"):
        top = float((np.linalg.norm(A, axis=0) ** 2).max())
    level = np.full(count, top * 10.0 ** rng.uniform(-2.5, -0.3))
    if kind not in ("l1", "l2", "enet"):
        level = level * rng.uniform(0.3, 2.0, count)
    if "zero" in kind:
        level[rng.permutation(count)[: max(1, count // 8)]] = 0.0
    if "inf" in kind:
        level[rng.permutation(count)[: max(1, count // 8)]] = np.inf
    return level


def _penalty(
    rng: np.random.Generator, A: Array, b: Array, kind: str, groups: Array | None, level: Array,
    nonnegative: bool,
) -> tuple[Any, Plain]:  # fmt: skip
    family = kind.split()[0]
    common = bool((level == level[0]).all()) and groups is None
    lam = float(level[0]) if common else level
    if family == "group":
        labels = groups * 3 - 7  # any integers will do
        return si.GroupL1(lam, groups=labels), plain(A, b, l1=level, groups=groups)
    if family == "l1" and groups is not None:
        spread = level[np.unique(groups, return_inverse=True)[1]]
        return si.L1(lam, groups=groups), plain(A, b, l1=spread)
    if family == "l1":
        problem = plain(A, b, l1=level, nonnegative=nonnegative)
        if kind == "l1 weights":
            return si.L1(0.5, weights=2.0 * level), problem
        return si.L1(lam, nonnegative=nonnegative), problem
    if family == "l2":
        return si.L2(lam, nonnegative=nonnegative), plain(A, b, l2=level, nonnegative=nonnegative)
    ratio = float(rng.uniform(0.3, 0.95))
    ridge = np.where(np.isinf(level), 0.0, (1.0 - ratio) * level)
    problem = plain(A, b, l1=ratio * level, l2=ridge, nonnegative=nonnegative)
    return si.ElasticNet(lam, l1_ratio=ratio, nonnegative=nonnegative), problem


def _contained(A: Array, container: str) -> Any:
    if container == "csc":
        from scipy.sparse import csc_array

        return csc_array(A)
    return Products(A) if container == "operator" else A


# --- the zoo ------------------------------------------------------------------------------------------

ZOO: dict[str, Callable[[], Case]] = {}


def _zoo(make: Callable[[], Case]) -> Callable[[], Case]:
    ZOO[make.__name__.strip("_").replace("_", " ")] = make
    return make
