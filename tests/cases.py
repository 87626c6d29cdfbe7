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

import sparseinv as si
from reference import Plain, plain

Array = np.ndarray[Any, Any]

SEED = int(os.environ.get("SPARSEINV_TEST_SEED", "20250118"))

#: solvers by name; every one constructs without arguments
SOLVERS: dict[str, Callable[[], Any]] = {
    "auto": lambda: "auto",
    "FISTA": si.FISTA,
    "BarzilaiBorwein": si.BarzilaiBorwein,
    "ISTA": si.ISTA,
    "CoordinateDescent": si.CoordinateDescent,
    "WorkingSet": si.WorkingSet,
    "Ridge": si.Ridge,
    "IRLS": si.IRLS,
    "IRL1": si.IRL1,
    "LocalSearch": si.LocalSearch,
    "MessagePassing": si.MessagePassing,
    "Portfolio": si.Portfolio,
    "OLS": si.OLS,
    "OMP": si.OMP,
    "CoSaMP": si.CoSaMP,
    "HTP": si.HTP,
    "IterativeHardThresholding": si.IterativeHardThresholding,
    "SubspacePursuit": si.SubspacePursuit,
    "SL0": si.SL0,
    "SparseBayesian": si.SparseBayesian,
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
        separable = self.plain.groups is None
        level = self.plain.level[~self.plain.excluded]
        quadratic = convex and not (level > 0).any() and not self.plain.nonnegative
        return [
            name
            for name, fits in {
                "auto": True,
                "FISTA": convex,
                "BarzilaiBorwein": convex,
                "ISTA": True,
                "CoordinateDescent": self.explicit,
                "WorkingSet": convex and (self.explicit or (separable and not self.plain.is_complex)),
                "Ridge": quadratic and separable,
                "IRLS": not self.plain.nonnegative,
                "IRL1": separable,
                "LocalSearch": not convex
                and separable
                and not (self.plain.is_complex and (self.plain.l1[~self.plain.excluded] > 0).any()),
                "MessagePassing": not convex and separable and not self.plain.nonnegative and self.explicit,
                "Portfolio": not convex and separable,
                "OLS": not convex
                and separable
                and not self.plain.nonnegative
                and not (self.plain.l1[~self.plain.excluded] > 0).any(),
                "OMP": not convex and separable and not (self.plain.l1[~self.plain.excluded] > 0).any(),
                "SL0": not convex and separable and not self.plain.nonnegative,
                "SparseBayesian": not convex and separable and not self.plain.nonnegative,
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


def plan(k: int) -> tuple[str, str, str, str, str]:
    """Return (kind, shape, container, design, number field) of random problem k."""
    kind, v = KINDS[k % len(KINDS)], k // len(KINDS)
    number = "real" if "nonneg" in kind else FIELDS[(v + k // 3) % 4]
    return kind, SHAPES[(v // 3 + k) % 3], CONTAINERS[v % 3], DESIGNS[(v // 2 + k) % 4], number


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


#: the most iterations and products (with A and A^H, certificates included) a solver may take on a case
#: of the zoo that does not say otherwise
BUDGETS = {
    "auto": (200, 1000),
    "FISTA": (1000, 2500),
    "BarzilaiBorwein": (500, 1200),
    "ISTA": (20000, 41000),
    "CoordinateDescent": (200, 1000),
    "WorkingSet": (60, 400),
    "Ridge": (60, 300),
    "IRLS": (1000, 6000),
    "IRL1": (200, 1000),
    "LocalSearch": (1000, 2000),
    "MessagePassing": (1000, 2000),
    "Portfolio": (5000, 12000),
    "OLS": (200, 1000),
    "OMP": (200, 1000),
    "CoSaMP": (200, 1000),
    "HTP": (200, 1000),
    "IterativeHardThresholding": (1000, 5000),
    "SubspacePursuit": (200, 1000),
    "SL0": (1000, 8000),
    "SparseBayesian": (2000, 6000),
}
#: the same for a matrix-free A, where auto, IRL1 and WorkingSet run BarzilaiBorwein, and IRLS conjugate
#: gradients
MATRIX_FREE = (
    dict.fromkeys(("auto", "IRL1", "WorkingSet"), 1000),
    {"auto": 2500, "IRL1": 2500, "WorkingSet": 2500, "IRLS": 15000, "Portfolio": 60000},
)


def budget(case: Case, solver: str) -> tuple[int, int]:
    """Return (iterations, products) that the solver may take on the case."""
    iterations, products = BUDGETS[solver]
    return case.iterations.get(solver, iterations), case.products.get(solver, products)


def _normal(*shape: int, key: int, number: str = "real") -> Array:
    rng = generator(0, key)
    v = rng.standard_normal(shape)
    return v + 1j * rng.standard_normal(shape) if number == "complex" else v


def _spiky(A: Array, key: int, noise: float = 0.05) -> Array:
    """Return data of a sparse x with a little noise."""
    rng = generator(0, key, 1)
    x = np.zeros(A.shape[1])
    spikes = max(1, x.size // 6)
    seen = np.flatnonzero(np.abs(A).sum(axis=0))
    x[rng.permutation(seen)[:spikes]] = rng.choice([-2.0, -1.0, 1.0, 2.0], spikes)
    return A @ x + noise * np.linalg.norm(A @ x) / np.sqrt(A.shape[0]) * rng.standard_normal(A.shape[0])


def _share(A: Array, b: Array, fraction: float) -> float:
    """Return a fraction of the level from which on L1 gives x = 0."""
    return fraction * float(np.abs(np.asarray(A).conj().T @ b).max())


@_zoo
def _by_hand() -> Case:
    """Orthogonal columns of norms 2 and 1: soft thresholds at 1/4 of 4 and at 1."""
    A = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    b = np.array([3.0, 5.0, -0.5])
    return Case(
        "by hand", A, b, si.L1(1.0), plain(A, b, l1=1.0), exact=np.array([1.25, 0.0]),
        iterations={"CoordinateDescent": 3, "auto": 3},
    )  # fmt: skip


@_zoo
def _wide() -> Case:
    A = _normal(20, 50, key=1)
    b = _spiky(A, 1)
    lam = _share(A, b, 0.05)
    return Case("wide", A, b, si.L1(lam), plain(A, b, l1=lam), slow=frozenset({"ISTA"}))


@_zoo
def _tall() -> Case:
    A = _normal(60, 15, key=2)
    b = _spiky(A, 2, noise=0.5)
    lam = _share(A, b, 0.1) * generator(0, 2, 2).uniform(0.5, 2.0, 15)
    return Case("tall", A, b, si.L1(lam), plain(A, b, l1=lam), products={"auto": 1000})


def _orthogonal(name: str, key: int, number: str = "real") -> tuple[Array, Array]:
    q, _ = np.linalg.qr(_normal(12, 12, key=key, number=number))
    return q, _normal(12, key=key + 500, number=number)


@_zoo
def _orthogonal_l1() -> Case:
    q, b = _orthogonal("l1", 3)
    lam = np.linspace(0.0, 1.5, 12)
    v = q.T @ b
    exact = np.sign(v) * np.maximum(np.abs(v) - lam, 0.0)
    return Case("orthogonal, L1", q, b, si.L1(lam), plain(q, b, l1=lam), exact=exact)


@_zoo
def _orthogonal_complex_l1() -> Case:
    q, b = _orthogonal("complex l1", 4, "complex")
    lam = np.linspace(0.0, 1.5, 12)
    v = q.conj().T @ b
    exact = v / np.abs(v) * np.maximum(np.abs(v) - lam, 0.0)
    return Case("orthogonal, complex L1", q, b, si.L1(lam), plain(q, b, l1=lam), exact=exact)


@_zoo
def _orthogonal_l2() -> Case:
    q, b = _orthogonal("l2", 5)
    lam = np.geomspace(1e-3, 1e3, 12)
    exact = (q.T @ b) / (1.0 + lam)
    return Case(
        "orthogonal, L2", q, b, si.L2(lam), plain(q, b, l2=lam), exact=exact, slow=frozenset({"ISTA"})
    )


@_zoo
def _orthogonal_l0() -> Case:
    q, b = _orthogonal("l0", 6)
    lam = np.linspace(0.0, 1.0, 12)
    v = q.T @ b
    exact = np.where(v**2 > 2.0 * lam, v, 0.0)
    return Case("orthogonal, L0", q, b, si.L0(lam), plain(q, b, l0=lam), exact=exact)


@_zoo
def _orthogonal_elastic_net() -> Case:
    q, b = _orthogonal("enet", 7)
    v = q.T @ b
    exact = np.sign(v) * np.maximum(np.abs(v) - 0.3, 0.0) / 1.2
    return Case(
        "orthogonal, elastic net", q, b, si.ElasticNet(0.5, l1_ratio=0.6), plain(q, b, l1=0.3, l2=0.2),
        exact=exact,
    )  # fmt: skip


@_zoo
def _orthogonal_groups() -> Case:
    q, b = _orthogonal("groups", 8)
    labels = np.repeat([2, 0, 1], 4)
    lam = np.array([0.5, 5.0, 1.0])
    v = q.T @ b
    exact = np.zeros(12)
    for k in range(3):
        size = np.linalg.norm(v[labels == k])
        exact[labels == k] = v[labels == k] * max(1.0 - lam[k] / size, 0.0)
    return Case(
        "orthogonal, groups", q, b, si.GroupL1(lam, groups=labels), plain(q, b, l1=lam, groups=labels),
        exact=exact,
    )  # fmt: skip


@_zoo
def _duplicated_columns() -> Case:
    A = _normal(15, 10, key=9)
    A = np.hstack([A, A, A[:, :3]])
    b = _spiky(A, 9, noise=0.3)
    lam = _share(A, b, 0.1)
    return Case("duplicated columns", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _opposite_columns() -> Case:
    A = _normal(15, 8, key=10)
    A = np.hstack([A, -A])
    b = _spiky(A, 10, noise=0.3)
    lam = _share(A, b, 0.1)
    return Case("opposite columns", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _zero_column() -> Case:
    A = _normal(14, 9, key=11)
    A[:, [0, 5]] = 0.0
    b = _spiky(A, 11, noise=0.3)
    lam = np.full(9, _share(A, b, 0.1))
    lam[5] = 0.0  # neither penalised nor seen
    return Case("zero column", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _zero_column_l0() -> Case:
    A = _normal(14, 9, key=12)
    A[:, [0, 5]] = 0.0
    b = _spiky(A, 12, noise=0.3)
    return Case("zero column, L0", A, b, si.L0(0.3), plain(A, b, l0=0.3))


@_zoo
def _zero_column_l2() -> Case:
    A = _normal(14, 9, key=13)
    A[:, [0, 5]] = 0.0
    lam = np.ones(9)
    lam[5] = 0.0
    b = _spiky(A, 13, noise=0.3)
    return Case("zero column, L2", A, b, si.L2(lam), plain(A, b, l2=lam))


@_zoo
def _zero_data() -> Case:
    A, b = _normal(8, 12, key=14), np.zeros(8)
    return Case(
        "b = 0", A, b, si.L1(0.1), plain(A, b, l1=0.1), exact=np.zeros(12),
        iterations=dict.fromkeys(SOLVERS, 1),
    )  # fmt: skip


@_zoo
def _at_lam_max() -> Case:
    A, b = _normal(12, 20, key=15), _normal(12, key=515)
    lam = _share(A, b, 1.0 + 1e-14)
    return Case(
        "lam at lam_max", A, b, si.L1(lam), plain(A, b, l1=lam), exact=np.zeros(20),
        iterations={name: 1 for name in SOLVERS if name != "IRLS"} | {"IRLS": 2000}, products={"IRLS": 10000},
    )  # fmt: skip


@_zoo
def _above_lam_max() -> Case:
    A, b = _normal(12, 20, key=16), _normal(12, key=516)
    lam = _share(A, b, 3.0)
    return Case(
        "lam above lam_max", A, b, si.ElasticNet(lam, l1_ratio=0.5), plain(A, b, l1=0.5 * lam, l2=0.5 * lam),
        exact=np.zeros(20), iterations={name: 1 for name in SOLVERS if name != "IRLS"},
    )  # fmt: skip


def _zero_and_inf(n: int, level: float, key: int) -> Array:
    lam = level * generator(0, key, 3).uniform(0.5, 2.0, n)
    lam[1], lam[n // 2], lam[n - 1] = 0.0, np.inf, 0.0
    return lam


@_zoo
def _zero_and_infinite_l1() -> Case:
    A = _normal(16, 24, key=17)
    b = _spiky(A, 17, noise=0.3)
    lam = _zero_and_inf(24, _share(A, b, 0.1), 17)
    return Case("lam 0 and inf, L1", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _zero_and_infinite_l2() -> Case:
    A = _normal(16, 24, key=18)
    b = _spiky(A, 18, noise=0.3)
    lam = _zero_and_inf(24, 2.0, 18)
    return Case("lam 0 and inf, L2", A, b, si.L2(lam), plain(A, b, l2=lam))


@_zoo
def _zero_and_infinite_l0() -> Case:
    A = _normal(16, 10, key=19)
    b = _spiky(A, 19, noise=0.3)
    lam = _zero_and_inf(10, 0.5, 19)
    return Case("lam 0 and inf, L0", A, b, si.L0(lam), plain(A, b, l0=lam))


@_zoo
def _zero_and_infinite_elastic_net() -> Case:
    A = _normal(16, 24, key=20)
    b = _spiky(A, 20, noise=0.3)
    lam = _zero_and_inf(24, _share(A, b, 0.1), 20)
    ridge = np.where(np.isinf(lam), 0.0, 0.3 * lam)
    problem = plain(A, b, l1=0.7 * lam, l2=ridge)
    return Case("lam 0 and inf, elastic net", A, b, si.ElasticNet(lam, l1_ratio=0.7), problem)


@_zoo
def _zero_and_infinite_groups() -> Case:
    A = _normal(16, 20, key=21)
    b = _spiky(A, 21, noise=0.3)
    labels = np.arange(20) % 5
    lam = _share(A, b, 0.2) * np.array([1.0, 0.0, np.inf, 0.5, 2.0])
    return Case(
        "lam 0 and inf, groups", A, b, si.GroupL1(lam, groups=labels), plain(A, b, l1=lam, groups=labels)
    )


@_zoo
def _dependent_unpenalised() -> Case:
    """Unpenalised columns of rank 2 out of 4; one is zero."""
    A = _normal(18, 12, key=22)
    A[:, 2], A[:, 3] = A[:, 0] - 2.0 * A[:, 1], 0.0
    b = _normal(18, key=522)
    lam = np.full(12, _share(A, b, 0.2))
    lam[:4] = 0.0
    return Case("dependent unpenalised columns", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _dependent_unpenalised_operator() -> Case:
    case = _dependent_unpenalised()
    return Case(
        "dependent unpenalised columns, operator", Products(case.A), case.b, case.penalty, case.plain,
        explicit=False, iterations=MATRIX_FREE[0], products=MATRIX_FREE[1],
    )  # fmt: skip


@_zoo
def _scaled_columns() -> Case:
    """Column norms from 1e-6 to 1e6, levels that follow them: coordinates are alike, gradients are not."""
    sizes = np.geomspace(1e-6, 1e6, 16)[generator(0, 23).permutation(16)]
    A = _normal(24, 16, key=23) * sizes
    b = _spiky(A / sizes, 23, noise=0.3)
    lam = _share(A / sizes, b, 0.1) * sizes
    return Case(
        "columns of 1e-6 to 1e6", A, b, si.L1(lam), plain(A, b, l1=lam),
        slow=frozenset({"FISTA", "BarzilaiBorwein", "ISTA", "IRLS"}),
    )  # fmt: skip


@_zoo
def _scaled_columns_l2() -> Case:
    sizes = np.geomspace(1e-6, 1e6, 16)[generator(0, 24).permutation(16)]
    A = _normal(24, 16, key=24) * sizes
    b = _spiky(A / sizes, 24, noise=0.3)
    lam = 0.5 * sizes**2
    return Case(
        "columns of 1e-6 to 1e6, L2", A, b, si.L2(lam), plain(A, b, l2=lam),
        slow=frozenset({"FISTA", "BarzilaiBorwein", "ISTA"}),
    )  # fmt: skip


@_zoo
def _scaled_inside_groups() -> Case:
    """Columns of one group differ by 1e3, which slows block steps down."""
    sizes = np.tile([1.0, 1e-1, 1e-3], 5)
    A = _normal(24, 15, key=25) * sizes
    b = _spiky(A / sizes, 25, noise=0.3)
    labels = np.arange(15) // 3
    lam = 0.1 * max(np.linalg.norm((A.T @ b)[labels == k]) for k in range(5))
    return Case(
        "scales inside groups", A, b, si.GroupL1(lam, groups=labels), plain(A, b, l1=lam, groups=labels),
        slow=frozenset({"ISTA", "IRLS", "CoordinateDescent", "auto"}),
    )  # fmt: skip


@_zoo
def _single_precision() -> Case:
    A = _normal(20, 30, key=26).astype(np.float32)
    b = _spiky(A.astype(float), 26).astype(np.float32)
    lam = _share(A.astype(float), b, 0.1)
    double = plain(A.astype(float), b.astype(float), l1=lam)
    return Case("float32", A, b, si.L1(lam), double, tol=1e-5)


@_zoo
def _sparse() -> Case:
    from scipy.sparse import csc_array

    A = _normal(30, 40, key=27) * (generator(0, 27).random((30, 40)) < 0.15)
    b = _spiky(A, 27)
    lam = _share(A, b, 0.1)
    return Case("CSC", csc_array(A), b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _row_major() -> Case:
    A = np.ascontiguousarray(_normal(20, 30, key=28))
    b = _spiky(A, 28)
    lam = _share(A, b, 0.1)
    return Case("C order", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _column_major_read_only() -> Case:
    A = np.asfortranarray(_normal(20, 30, key=28))
    b = _spiky(A, 28)
    lam = _share(A, b, 0.1)
    A.flags.writeable = b.flags.writeable = False
    return Case("F order, read-only", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _integers_with_strides() -> Case:
    A = generator(0, 29).integers(-3, 4, (40, 30))[::2, ::-1]
    b = generator(0, 30).integers(-5, 6, 20)
    return Case(
        "integers, strided", A, b, si.L1(12), plain(A.astype(float), b.astype(float), l1=12.0),
        slow=frozenset({"ISTA"}),
    )  # fmt: skip


@_zoo
def _linear_operator() -> Case:
    from scipy.sparse.linalg import aslinearoperator

    A = _normal(20, 30, key=31)
    b = _spiky(A, 31)
    lam = _share(A, b, 0.1)
    return Case(
        "LinearOperator", aslinearoperator(A), b, si.L1(lam), plain(A, b, l1=lam), explicit=False,
        iterations=MATRIX_FREE[0], products=MATRIX_FREE[1],
    )  # fmt: skip


@_zoo
def _pylops() -> Case:
    import pylops

    t = np.arange(-8, 9) / 4.0
    wavelet = (1.0 - 2.0 * t**2) * np.exp(-(t**2))
    operator = pylops.signalprocessing.Convolve1D(60, h=wavelet, offset=8)
    A = np.array([operator.matvec(column) for column in np.eye(60)]).T
    b = _spiky(A, 32)
    lam = _share(A, b, 0.1)
    return Case(
        "PyLops", operator, b, si.L1(lam), plain(A, b, l1=lam), explicit=False,
        slow=frozenset({"ISTA", "IRLS"}),
        iterations=dict.fromkeys(("auto", "FISTA", "IRL1", "WorkingSet"), 2000),
        products=dict.fromkeys(("auto", "FISTA", "IRL1", "WorkingSet"), 4500),
    )  # fmt: skip


@_zoo
def _complex_both() -> Case:
    A, b = _normal(16, 24, key=33, number="complex"), _normal(16, key=533, number="complex")
    lam = _share(A, b, 0.1) * generator(0, 33, 3).uniform(0.5, 2.0, 24)
    return Case("complex A and b", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _complex_matrix() -> Case:
    A, b = _normal(16, 24, key=34, number="complex"), _normal(16, key=534)
    lam = _share(A, b, 0.1)
    return Case("complex A, real b", A, b, si.L1(lam), plain(A, b, l1=lam), slow=frozenset({"ISTA"}))


@_zoo
def _complex_data() -> Case:
    A, b = _normal(16, 24, key=35), _normal(16, key=535, number="complex")
    lam = _share(A, b, 0.1)
    return Case("real A, complex b", A, b, si.L1(lam), plain(A, b, l1=lam))


@_zoo
def _complex_operator() -> Case:
    A, b = _normal(16, 24, key=36, number="complex"), _normal(16, key=536)
    lam = _share(A, b, 0.2)
    return Case(
        "complex operator", Products(A), b, si.L1(lam), plain(A, b, l1=lam), explicit=False,
        iterations=MATRIX_FREE[0], products=MATRIX_FREE[1],
    )  # fmt: skip


@_zoo
def _complex_l0() -> Case:
    A = _normal(14, 9, key=37, number="complex")
    b = _spiky(A, 37, noise=0.3)
    lam = np.linspace(0.1, 1.0, 9)
    return Case("complex L0", A, b, si.L0(lam), plain(A, b, l0=lam))


@_zoo
def _nonnegative() -> Case:
    A = _normal(16, 24, key=38)
    b = _normal(16, key=538)
    lam = _share(A, b, 0.1)
    return Case("nonnegative", A, b, si.L1(lam, nonnegative=True), plain(A, b, l1=lam, nonnegative=True))


@_zoo
def _nonnegative_with_zeros() -> Case:
    """Nonnegative least squares in some coefficients: the dual condition is one-sided."""
    A = _normal(16, 20, key=39)
    b = _normal(16, key=539)
    lam = np.full(20, _share(A, b, 0.2))
    lam[:5] = 0.0
    return Case(
        "nonnegative, lam 0", A, b, si.L1(lam, nonnegative=True), plain(A, b, l1=lam, nonnegative=True)
    )


@_zoo
def _nonnegative_l0() -> Case:
    A = _normal(14, 10, key=40)
    b = np.abs(_normal(14, key=540))
    lam = np.linspace(0.0, 0.5, 10)
    return Case("nonnegative L0", A, b, si.L0(lam, nonnegative=True), plain(A, b, l0=lam, nonnegative=True))


@_zoo
def _l0_above_lam_max() -> Case:
    """No coefficient is worth its charge, and no column ever becomes active."""
    A, b = _normal(12, 20, key=43)[:, :9], _normal(12, key=543)
    charge = 1.2 * float(((A.T @ b) ** 2 / (2.0 * (A**2).sum(axis=0))).max())
    return Case("L0 above lam_max", A, b, si.L0(charge), plain(A, b, l0=charge))


@_zoo
def _nonnegative_l0_with_nothing_to_fit() -> Case:
    """Every column points away from b, the unpenalised one too."""
    A = np.abs(_normal(12, 6, key=44))
    b = -np.abs(_normal(12, key=544))
    lam = np.array([0.0, 0.1, 0.2, 0.0, 0.5, np.inf])
    problem = plain(A, b, l0=lam, nonnegative=True)
    return Case("nonnegative L0, x = 0", A, b, si.L0(lam, nonnegative=True), problem)


@_zoo
def _one_row() -> Case:
    A, b = np.array([[3.0, -1.0, 0.0, 2.0]]), np.array([2.0])
    return Case("one row", A, b, si.L1(0.3), plain(A, b, l1=0.3), exact=np.array([1.9 / 3.0, 0.0, 0.0, 0.0]))


@_zoo
def _one_column() -> Case:
    A, b = np.array([[1.0], [2.0], [2.0]]), np.array([1.0, 0.0, 4.0])
    return Case("one column", A, b, si.L1(3.0), plain(A, b, l1=3.0), exact=np.array([6.0 / 9.0]))


@_zoo
def _least_squares() -> Case:
    """lam = 0 everywhere: any penalty is least squares."""
    A, b = _normal(20, 8, key=41), _normal(20, key=541)
    exact = np.linalg.lstsq(A, b, rcond=None)[0]
    return Case("lam = 0", A, b, si.L1(0.0), plain(A, b), exact=exact)


@_zoo
def _underdetermined_least_squares() -> Case:
    A, b = _normal(8, 20, key=42), _normal(8, key=542)
    return Case("lam = 0, m < n", A, b, si.L2(0.0), plain(A, b), tol=1e-12)
