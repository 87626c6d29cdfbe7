"""What a certificate says is true: never too little, and near the optimum not much too much."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sparseinv as si
from cases import Case, Products, generator, plan, random_case
from reference import (
    CLONG,
    LONG,
    Plain,
    Truth,
    best_coordinate_decrease,
    enumerate_l0,
    judged_gap,
    long,
    plain,
    truth,
)
from sparseinv import Kind
from sparseinv.certificate import certify_problem
from sparseinv.nonnegative import nonnegative_fit
from sparseinv.operators.adapt import as_operator
from sparseinv.problem import Problem

Array = np.ndarray[Any, Any]

CONVEX = 126  # problems; every kind nine times, in every container and design
SHARPNESS = 100.0  # certificate over suboptimality, near the optimum


def certified(case: Case, x: Array) -> Any:
    return si.certify(case.A, case.b, case.penalty, x)


def check(case: Case, x: Array, known: Truth, *, sharp: bool) -> None:
    """Compare the certificate of x with its true suboptimality."""
    value = case.plain.objective(x)
    size = max(case.plain.scale, float(value))
    rounding = 1e-14 * size + case.plain.rounding(x)
    certificate = certified(case, x)
    assert certificate.kind is Kind.DUALITY_GAP
    assert certificate.objective == pytest.approx(float(value), rel=1e-12, abs=1e-15 * size)
    assert certificate.value >= float(value - known.upper) - rounding, "below the truth"
    assert certificate.bound <= float(known.upper) + rounding
    if sharp:
        true = float(value - known.lower)
        assert certificate.value <= SHARPNESS * true + 1e-13 * size, "far above the truth"


def noise(rng: np.random.Generator, case: Case, delta: float, where: Array) -> Array:
    """Return a perturbation that changes A x by about delta ||b|| per coefficient."""
    norms = np.linalg.norm(case.plain.A, axis=0)
    unit = delta * np.linalg.norm(case.b) / np.where(norms > 0, norms, 1.0)
    e = rng.standard_normal(case.plain.n)
    if case.plain.is_complex:
        e = e + 1j * rng.standard_normal(case.plain.n)
    return np.where(where & ~case.plain.excluded, e * unit, 0.0)


def feasible(case: Case, x: Array) -> Array:
    return np.maximum(x, 0.0) if case.plain.nonnegative else x


@pytest.mark.parametrize("k", range(CONVEX))
def test_perturbed_optimum(k: int) -> None:
    rng = generator(2, k)
    case = random_case(rng, *plan(k))
    known = truth(case.plain)
    for delta in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        everywhere = np.ones(case.plain.n, dtype=bool)
        for where in (everywhere, known.x != 0, known.x == 0):
            x = feasible(case, known.x + noise(rng, case, delta, where))
            check(case, x, known, sharp=True)
    check(case, known.x, known, sharp=True)


@pytest.mark.parametrize("k", range(CONVEX))
def test_far_from_the_optimum(k: int) -> None:
    """The bound holds for any x, and x = 0 is never worse than 1/2 ||b||^2."""
    rng = generator(3, k)
    case = random_case(rng, *plan(k))
    known = truth(case.plain)
    everywhere = np.ones(case.plain.n, dtype=bool)
    for x in (0.5 * known.x, -known.x, noise(rng, case, 1.0, everywhere), noise(rng, case, 1e3, everywhere)):
        check(case, feasible(case, x), known, sharp=False)
    check(case, np.zeros(case.plain.n), known, sharp=False)
    assert certified(case, np.zeros(case.plain.n)).relative <= 1.0


@pytest.mark.parametrize("k", range(0, CONVEX, 2))
def test_half_converged(k: int) -> None:
    case = random_case(generator(4, k), *plan(k))
    known = truth(case.plain)
    for tol in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
        solver = si.ISTA() if (k // 2) % 2 else si.FISTA()
        result = si.solve(case.A, case.b, case.penalty, solver=solver, tol=tol, max_iter=400)
        value = case.plain.objective(result.x)
        true = float(value - known.upper)
        assert result.certificate.value >= true - 1e-14 * case.plain.scale
        near = true <= 1e-2 * case.plain.scale
        check(case, result.x, known, sharp=near)


def internal(case: Case) -> Problem:
    return Problem(as_operator(case.A), np.asarray(case.b), case.penalty)


@pytest.mark.parametrize("k", range(CONVEX))
def test_gap_is_primal_minus_dual(k: int) -> None:
    """The sum of Fenchel-Young terms is P - D of the scaled residual, formed without cancellation."""
    rng = generator(5, k)
    case = random_case(rng, *plan(k))
    x = noise(rng, case, 0.1, rng.random(case.plain.n) < 0.5)
    x = feasible(case, x)
    problem = internal(case)
    certificate = certify_problem(problem, problem.units.working(x.astype(problem.dtype)))
    difference = judged_gap(case.plain, x)
    size = max(case.plain.scale, certificate.objective)
    if case.plain.nonnegative and (case.plain.level == 0).any():
        # unpenalised coefficients are fitted anew here, and the residual projected there
        assert certificate.value <= difference + 1e-12 * size or certificate.value <= certificate.objective
        return
    assert certificate.value == pytest.approx(difference, rel=1e-10, abs=1e-13 * size)


def test_dependent_unpenalised_columns() -> None:
    """Unpenalised columns of any rank, their span met exactly or not, in memory or not."""
    for k in range(30):
        rng = generator(6, k)
        m, n, loose = 16, 14, 6
        A = rng.standard_normal((m, n))
        A[:, 1:loose] = A[:, :2] @ rng.standard_normal((2, loose - 1))
        A[:, 4] = 0.0
        b = rng.standard_normal(m)
        lam = np.full(n, 0.2 * float(np.abs(A.T @ b).max()))
        lam[:loose] = 0.0
        nonnegative = k % 3 == 2
        problem = plain(A, b, l1=lam, nonnegative=nonnegative)
        known = truth(problem)
        passed = Products(A) if k % 2 else A
        case = Case("dependent", passed, b, si.L1(lam, nonnegative=nonnegative), problem, explicit=not k % 2)
        for delta in (1e-3, 1e-5, 1e-8):
            for where in (np.ones(n, dtype=bool), known.x != 0):
                check(case, feasible(case, known.x + noise(rng, case, delta, where)), known, sharp=True)


def test_unpenalised_columns_too_many_to_lay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a size the projection is iterative; the bound holds, and is as sharp where it converges."""
    import sparseinv.problem

    monkeypatch.setattr(sparseinv.problem, "_BASIS_BYTES", 0)
    for k in range(12):
        rng = generator(13, k)
        A, b = rng.standard_normal((20, 14)), rng.standard_normal(20)
        lam = np.full(14, 0.2 * float(np.abs(A.T @ b).max()))
        lam[:5] = 0.0
        nonnegative = k % 3 == 2
        problem = plain(A, b, l1=lam, nonnegative=nonnegative)
        known = truth(problem)
        passed = Products(A) if k % 2 else A
        case = Case("iterative", passed, b, si.L1(lam, nonnegative=nonnegative), problem, explicit=not k % 2)
        for delta in (1e-2, 1e-5, 1e-8):
            x = feasible(case, known.x + noise(rng, case, delta, np.ones(14, dtype=bool)))
            check(case, x, known, sharp=not nonnegative)


def test_infeasible_points() -> None:
    A, b = np.eye(3), np.array([1.0, 2.0, 3.0])
    excluded = si.certify(A, b, si.L1([1.0, np.inf, 0.0]), [0.0, 1e-9, 3.0])
    assert excluded.value == np.inf
    assert excluded.bound == -np.inf
    negative = si.certify(A, b, si.L1(1.0, nonnegative=True), [0.0, -1e-9, 2.0])
    assert negative.value == np.inf
    assert si.certify(A, b, si.L1([1.0, np.inf, 0.0]), [0.0, 0.0, 3.0]).relative <= 1e-15


# --- the dual cone of unpenalised coefficients under a sign constraint --------------------------------


def test_zero_unpenalised_column_with_sign_constraint() -> None:
    """Nothing is left of the unpenalised columns, which crashes SciPy's nnls."""
    A = np.array([[1.0, 0.0], [2.0, 0.0]])
    certificate = si.certify(A, np.array([1.0, 1.0]), si.L1([0.5, 0.0], nonnegative=True), [0.5, 0.0])
    assert certificate.value <= 1e-15


@pytest.mark.parametrize("k", range(40))
def test_nonnegative_fit(k: int) -> None:
    """Right where the residual is orthogonal to columns up to rounding, and with dependent columns."""
    rng = generator(7, k)
    for _ in range(25):
        m, n = int(rng.integers(1, 15)), int(rng.integers(0, 7))
        columns = rng.standard_normal((m, n))
        if n > 3:
            columns[:, 1], columns[:, 2] = columns[:, 0], -columns[:, 3]
        columns /= np.linalg.norm(columns, axis=0)
        v = rng.standard_normal(m)
        if n:
            for _ in range(2):
                q = np.linalg.qr(columns[:, : max(1, n - 1)])[0]
                v = v - q @ (q.T @ v)
        w = nonnegative_fit(columns, v)
        pull = columns.T @ (v - columns @ w)
        rounding = 2e-14 * max(float(np.linalg.norm(v)), 1e-20)  # where v itself is rounding, so is the rest
        assert (w >= 0).all()
        assert pull.max(initial=0.0) <= rounding
        assert np.abs(pull[w > 0]).max(initial=0.0) <= rounding


# --- units --------------------------------------------------------------------------------------------


def scaled(name: str, s: float, c: float) -> tuple[Any, Any]:
    """Return the penalty and the one for s b and c A, by the exponents of the table of penalties."""
    lam = np.array([0.3, 1.0, 0.0, 2.0, 0.7, np.inf])
    labels = [0, 0, 1, 1, 2, 2]
    return {
        "L1": (si.L1(lam), si.L1(lam * s * c)),
        "L2": (si.L2(lam), si.L2(lam * c**2)),
        "L0": (si.L0(lam), si.L0(lam * s**2)),
        "GroupL1": (si.GroupL1(lam[:3], groups=labels), si.GroupL1(lam[:3] * s * c, groups=labels)),
    }[name]


@pytest.mark.parametrize("name", ["L1", "L2", "L0", "GroupL1"])
@pytest.mark.parametrize(
    ("s", "c"), [(3.0, 1.0), (1.0, 7.0), (1e-9, 1e5), (0.25, 1.0), (8.0, 0.5), (1e150, 1.0)]
)
@pytest.mark.parametrize("container", ["dense", "operator"])
def test_relative_has_no_units(name: str, s: float, c: float, container: str) -> None:
    rng = generator(8)
    A, b = rng.standard_normal((9, 6)), rng.standard_normal(9)
    x = rng.standard_normal(6) * np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    one, other = scaled(name, s, c)

    def wrap(matrix: Array) -> Any:
        return Products(matrix) if container == "operator" else matrix

    first = si.certify(wrap(A), b, one, x)
    second = si.certify(wrap(c * A), s * b, other, x * s / c)
    assert first.kind is second.kind
    powers_of_two = all(np.frexp(v)[0] == 0.5 for v in (s, c))
    if powers_of_two and container == "dense":
        assert second.relative == first.relative
    else:
        assert second.relative == pytest.approx(first.relative, rel=1e-9)


def test_nothing_over_nothing_is_nothing() -> None:
    for penalty in (si.L1(1.0), si.L2(1.0), si.L0(1.0), si.GroupL1(1.0, groups=[0, 0])):
        certificate = si.certify(np.eye(2), np.zeros(2), penalty, np.zeros(2))
        assert certificate.relative == 0.0
        assert certificate.value == 0.0
    assert si.certify(np.eye(2), np.zeros(2), si.L1(1.0), np.ones(2)).relative == np.inf


# --- kinds --------------------------------------------------------------------------------------------


class Cauchy(si.Penalty):
    """Nonconvex, known by value and prox only (the prox by a grid: good enough to be judged)."""

    def value(self, x: Array) -> float:
        return float(np.log1p(np.abs(x) ** 2).sum())

    def prox(self, v: Array, step: float) -> Array:
        grid = np.linspace(0.0, 1.0, 401)[:, None] * v
        cost = 0.5 * np.abs(grid - v) ** 2 + step * np.log1p(np.abs(grid) ** 2)
        return np.take_along_axis(grid, cost.argmin(axis=0)[None], axis=0)[0]


class Box(si.Penalty):
    """Convex, with a conjugate."""

    convex = True

    def value(self, x: Array) -> float:
        return 0.0 if (np.abs(x) <= 1.0).all() else np.inf

    def prox(self, v: Array, step: float) -> Array:
        return np.clip(v, -1.0, 1.0)

    def conjugate(self, u: Array) -> float:
        return float(np.abs(u).sum())


def test_kinds() -> None:
    rng = generator(9)
    A, b, x = rng.standard_normal((6, 4)), rng.standard_normal(6), rng.uniform(-1, 1, 4)
    labels = [0, 1, 1, 0]
    convex = [
        si.L1(0.5),
        si.L1(0.0),
        si.L2([0.0, 1.0, 2.0, np.inf]),
        si.ElasticNet(0.3),
        si.GroupL1(1.0, groups=labels),
        si.L1(0.5, nonnegative=True),
        si.L0([0.0, np.inf, 0.0, 0.0]),
        Box(),
    ]
    point = np.abs(x) * np.array([1.0, 0.0, 1.0, 0.0])
    for penalty in convex:
        for passed in (A, Products(A)):
            assert si.certify(passed, b, penalty, point).kind is Kind.DUALITY_GAP
    assert si.certify(A, b, si.L0(0.5), x).kind is Kind.COORDINATE_MINIMUM
    assert si.certify(A, b, si.L0([0.0, 0.5, np.inf, 0.5]), point).kind is Kind.COORDINATE_MINIMUM
    assert si.certify(Products(A), b, si.L0(0.5), x).kind is Kind.PROX_STATIONARITY
    assert si.certify(A, b, Cauchy(), x).kind is Kind.PROX_STATIONARITY
    for kind in Kind:
        assert kind.is_global == (kind in (Kind.DUALITY_GAP, Kind.GLOBAL_BOUND))
        text = kind.value.format(relative=1e-3)
        assert ("local" in text or "stationary" in text) != kind.is_global


def test_own_convex_penalty() -> None:
    """The gap of a user's penalty is valid, at the solution and far from it."""
    rng = generator(10)
    A, b = rng.standard_normal((20, 8)), 3.0 * rng.standard_normal(20)
    result = si.solve(A, b, Box(), solver=si.FISTA(), tol=1e-10)
    assert result.success
    assert result.certificate.kind is Kind.DUALITY_GAP
    best = result.objective
    for t in (0.0, 0.5, 0.9, 0.999):
        x = t * result.x
        certificate = si.certify(A, b, Box(), x)
        r = A @ x - b
        assert certificate.value >= 0.5 * r @ r - best - 1e-12 * certificate.scale


# --- L0 -----------------------------------------------------------------------------------------------


def l0_problem(k: int) -> tuple[Case, np.random.Generator]:
    """Draw A, b and per-coefficient levels with 0 and inf; at most ten coefficients."""
    rng = generator(11, k)
    m, n = int(rng.integers(4, 14)), int(rng.integers(3, 11))
    is_complex, nonnegative = k % 4 == 1, k % 4 == 2
    A = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-1, 1, n)
    if k % 5 == 4:
        A[:, n - 1] = 0.0
        A[:, 1] = A[:, 0]
    if is_complex:
        A = A + 1j * rng.standard_normal((m, n))
    b = A @ np.where(rng.random(n) < 0.4, rng.standard_normal(n), 0.0) + 0.3 * rng.standard_normal(m)
    b = b if is_complex else b.real
    lam = 0.5 * float(np.abs(b) @ np.abs(b)) * 10.0 ** rng.uniform(-3, -0.5, n)
    lam[rng.random(n) < 0.15] = 0.0
    lam[rng.random(n) < 0.1] = np.inf
    problem = plain(A, b, l0=lam, nonnegative=nonnegative)
    return Case(f"L0 {k}", A, b, si.L0(lam, nonnegative=nonnegative), problem), rng


L0_PROBLEMS = 60


@pytest.mark.parametrize("k", range(L0_PROBLEMS))
def test_l0_coordinate_minimum(k: int) -> None:
    """The value is the best decrease by one coefficient, neither less nor more, and bounds nothing else."""
    case, rng = l0_problem(k)
    best, winner = enumerate_l0(case.plain)
    n = case.plain.n
    points = [np.zeros(n), winner, 0.9 * winner]
    for _ in range(6):
        x = rng.standard_normal(n) * (rng.random(n) < 0.5)
        if case.plain.is_complex:
            x = x * np.exp(1j * rng.uniform(0, 6, n))
        points.append(feasible(case, np.where(case.plain.excluded, 0.0, x)))
    for x in points:
        certificate = certified(case, x)
        value = float(case.plain.objective(x))
        size = max(case.plain.scale, value)
        if certificate.kind.is_global:  # only where no charged coefficient is left
            assert not (case.plain.l0[~case.plain.excluded] > 0).any()
            assert certificate.value >= value - best - 1e-14 * size
            continue
        assert certificate.kind is Kind.COORDINATE_MINIMUM
        assert certificate.bound == -np.inf
        decrease = best_coordinate_decrease(case.plain, x)
        assert certificate.value == pytest.approx(decrease, rel=1e-12, abs=1e-12 * size)
        assert certificate.value <= value - best + 1e-12 * size, "more than there is to gain"


@pytest.mark.parametrize("k", range(L0_PROBLEMS))
def test_l0_prox_stationarity(k: int) -> None:
    """The value is what one proximal step gains, of a length at which it cannot overshoot."""
    case, rng = l0_problem(k)
    if not (case.plain.l0[~case.plain.excluded] > 0).any():
        return
    n = case.plain.n
    operator = Products(case.plain.A)
    problem = Problem(as_operator(operator), case.b, case.penalty)
    lipschitz = float(np.ldexp(problem.lipschitz[0], 2 * problem.units.a_exponent))
    best, winner = enumerate_l0(case.plain)
    anywhere = feasible(case, np.where(case.plain.excluded, 0.0, rng.standard_normal(n)))
    for x in (winner, 0.7 * winner, anywhere):
        certificate = si.certify(operator, case.b, case.penalty, x)
        assert certificate.kind is Kind.PROX_STATIONARITY
        g = case.plain.A.conj().T @ (case.plain.A @ x - case.b)
        step = lipschitz
        while True:
            y = hard_threshold(x - g / step, case.plain, step)
            bent, moved = np.linalg.norm(case.plain.A @ (y - x)) ** 2, np.linalg.norm(y - x) ** 2
            if bent <= step * moved * (1 + 1e-9):
                break
            step = max(1.02 * bent / moved, 1.05 * step)
        value = case.plain.objective(x)
        gained = float(value - case.plain.objective(y))
        size = max(case.plain.scale, float(value))
        assert certificate.value == pytest.approx(max(gained, 0.0), rel=1e-9, abs=1e-12 * size)
        assert certificate.value <= float(value) - best + 1e-12 * size
        if np.sqrt(moved) > 1e-3 * np.linalg.norm(x):
            assert certificate.value > 0.0


def hard_threshold(v: Array, problem: Plain, lipschitz: float) -> Array:
    size = np.maximum(v.real, 0.0) if problem.nonnegative else np.abs(v)
    keep = (lipschitz * size**2 > 2.0 * problem.l0) & ~problem.excluded
    return np.where(keep, v, 0.0)


@pytest.mark.parametrize("k", range(L0_PROBLEMS))
def test_l0_solvers_claim_what_is_true(k: int) -> None:
    """Whatever a solver returns, its certificate is the brute-force one, and it is no worse than x = 0."""
    case, _ = l0_problem(k)
    best, _ = enumerate_l0(case.plain)
    scale = case.plain.scale
    names = [si.CoordinateDescent(), si.ISTA(), si.IRL1()]
    if not case.plain.nonnegative:
        names.append(si.IRLS())
    for solver in names:
        result = si.solve(case.A, case.b, case.penalty, solver=solver, tol=1e-10)
        value = float(case.plain.objective(result.x))
        assert value >= best - 1e-13 * scale
        assert value <= scale * (1 + 1e-12), "x = 0 is better"
        decrease = best_coordinate_decrease(case.plain, result.x)
        if result.certificate.kind is Kind.COORDINATE_MINIMUM:
            assert result.certificate.value == pytest.approx(decrease, abs=1e-12 * scale)
        elif result.certificate.kind is Kind.PROX_STATIONARITY:
            assert result.certificate.value <= value - best + 1e-12 * scale
        else:
            assert result.certificate.value >= value - best - 1e-13 * scale
        if result.success:
            assert result.certificate.relative <= 1e-10


def test_extended_precision_is_what_it_says() -> None:
    """The judge resolves what the judged cannot."""
    if np.finfo(LONG).eps < 1e-17:
        assert long(np.ones(1)).dtype == LONG
        assert long(np.ones(1, dtype=complex)).dtype == CLONG
    rng = generator(12)
    A, b = rng.standard_normal((8, 5)), rng.standard_normal(8)
    exact = np.linalg.lstsq(A, b, rcond=None)[0]
    known = truth(plain(A, b))
    assert float(known.upper - known.lower) <= 1e-15 * float(known.upper)
    np.testing.assert_allclose(known.x, exact, rtol=1e-9)


@pytest.mark.parametrize("solver", ["auto", si.CoordinateDescent(), si.FISTA(), si.IRL1()])
def test_excluded_coefficients_do_not_bound_the_dual_point(solver):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((6, 8)), rng.standard_normal(6)
    result = si.solve(A, b, si.L0(np.inf, l1=0.3), solver=solver)
    assert result.status is si.Status.CONVERGED
    assert result.certificate.relative == 0.0
