"""Random problems and the zoo against CLARABEL, enumeration and weak duality."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from cases import (
    CONTAINERS,
    DESIGNS,
    FIELDS,
    KINDS,
    SHAPES,
    SOLVERS,
    ZOO,
    Case,
    budget,
    generator,
    plan,
    random_case,
)
from reference import Truth, best_coordinate_decrease, enumerate_l0, judged_gap, truth
from sparseinv import Kind, Status

PROBLEMS = 336
ROUNDING = 3e-15  # of 1/2 ||b||^2: what the arithmetic of a solve and of a truth may lose
STOPPED_SHORT = (Status.MAX_ITER, Status.PRECISION_FLOOR, Status.EXHAUSTED)

LIMITS = {"ISTA": 1500, "IRLS": 400}  # iterations; 3000 for the others


def judge(case: Case, result: Any, tol: float, known: Truth) -> None:
    """Hold a result of a convex problem against bounds of the minimum that owe nothing to the package."""
    scale = case.plain.scale
    value = case.plain.objective(np.asarray(result.x, dtype=complex if np.iscomplexobj(result.x) else float))
    assert float(value - known.lower) >= -ROUNDING * scale, "the reference is wrong"
    assert result.objective == pytest.approx(float(value), rel=1e-12, abs=ROUNDING * scale)
    certificate = result.certificate
    assert certificate.kind is Kind.DUALITY_GAP
    assert certificate.scale == pytest.approx(scale, rel=1e-12, abs=1e-300)
    # what is proved is true, whatever the status
    assert float(value - known.upper) <= certificate.value + ROUNDING * scale
    assert certificate.bound <= float(known.upper) + ROUNDING * scale
    assert result.success == (result.status is Status.CONVERGED)
    if result.success:
        assert certificate.relative <= tol
        assert float(value - known.lower) <= tol * scale + ROUNDING * scale


# --- random problems ----------------------------------------------------------------------------------


def draw(k: int) -> Case:
    return random_case(generator(1, k), *plan(k))


@cache
def schedule() -> list[tuple[str, str]]:
    """Return the two solvers for each problem: those that its kind and container have met least."""
    counts: Counter[tuple[str, str, str]] = Counter()
    chosen = []
    for k in range(PROBLEMS):
        kind, _, container, _, _ = plan(k)
        names = draw(k).accepted
        names = names[k % len(names) :] + names[: k % len(names)]
        first, second = sorted(names, key=lambda name: counts[kind, container, name])[:2]
        counts.update([(kind, container, first), (kind, container, second)])
        chosen.append((first, second))
    return chosen


def may_run_short(case: Case, design: str, solver: str) -> bool:
    """Tell whether first-order steps may need more than the limit of this test."""
    wide = case.plain.A.shape[0] <= case.plain.n
    if solver in ("Ridge", "WorkingSet"):
        return False
    if solver == "IRLS":
        return True
    if solver == "ISTA":
        return design != "gaussian" or wide
    if solver in ("FISTA", "BarzilaiBorwein") or not case.explicit:
        return design in ("scaled", "rank-deficient") or (design == "correlated" and wide)
    if case.plain.groups is not None:
        return design != "gaussian"  # a block step sees one curvature for the whole group
    # what is left of auto and IRL1 is second order on real data
    return design == "rank-deficient" and (solver == "CoordinateDescent" or case.plain.is_complex)


@pytest.mark.parametrize("k", range(PROBLEMS))
def test_random_problem(k: int) -> None:
    case = draw(k)
    known = truth(case.plain)
    scale, best = case.plain.scale, float(known.upper)
    assert float(known.upper - known.lower) <= 1e-12 * scale, "the reference must be sharper than the test"
    tol = max(1e-9 * best / scale, 1e-13)
    for name in schedule()[k]:
        result = si.solve(
            case.A, case.b, case.penalty, solver=SOLVERS[name](), tol=tol, max_iter=LIMITS.get(name, 3000)
        )
        judge(case, result, tol, known)
        if result.success:
            assert abs(result.objective - best) <= 1e-8 * max(best, 1e-4 * scale)
        else:
            assert result.status in STOPPED_SHORT
            assert may_run_short(case, plan(k)[3], name), f"{name} must solve: {case.name}\n{result}"


def test_the_plan_covers_every_combination() -> None:
    """Every kind meets every container, design and field, and every solver that accepts it."""
    plans = [plan(k) for k in range(PROBLEMS)]
    met: set[tuple[str, str, str]] = set()
    possible: set[tuple[str, str, str]] = set()
    for k in range(PROBLEMS):
        kind, _, container, _, _ = plan(k)
        met |= {(kind, container, name) for name in schedule()[k]}
        possible |= {(kind, container, name) for name in draw(k).accepted}
    assert met == possible
    for axis, values in ((1, SHAPES), (2, CONTAINERS), (3, DESIGNS)):
        assert {(p[0], p[axis]) for p in plans} == {(kind, value) for kind in KINDS for value in values}
    fields = {(p[0], p[4]) for p in plans}
    assert fields >= {(kind, field) for kind in KINDS if "nonneg" not in kind for field in FIELDS}


# --- the zoo ------------------------------------------------------------------------------------------


def accepted_runs() -> list[tuple[str, str]]:
    return [(name, solver) for name, make in ZOO.items() for solver in make().accepted]


def refused_runs() -> list[tuple[str, str]]:
    return [(name, s) for name, make in ZOO.items() for s in SOLVERS if s not in make().accepted]


@pytest.mark.parametrize(("name", "solver"), accepted_runs())
def test_zoo(name: str, solver: str) -> None:
    case = ZOO[name]()
    iterations, products = budget(case, solver)
    result = si.solve(
        case.A, case.b, case.penalty, solver=SOLVERS[solver](), tol=case.tol, max_iter=iterations
    )
    assert result.x.shape == (case.plain.n,)
    assert result.n_iter <= iterations
    assert (np.asarray(result.x)[case.plain.excluded] == 0).all()
    if solver in case.slow:
        assert result.success or result.status in STOPPED_SHORT
    else:
        assert result.success, result
        assert result.n_matvec + result.n_rmatvec <= products
    if (case.plain.l0[~case.plain.excluded] > 0).any():
        judge_l0(case, result)
        return
    judge(case, result, case.tol, truth(case.plain))
    if result.success and case.exact is not None:
        reach = 5.0 * np.sqrt(2.0 * case.tol * case.plain.scale)
        np.testing.assert_allclose(result.x, case.exact, atol=reach + 1e-12, rtol=0.0)


def judge_l0(case: Case, result: Any) -> None:
    """Hold a result of an L0 problem against enumeration: the statement is local, and true."""
    scale = case.plain.scale
    best, _ = enumerate_l0(case.plain)
    value = float(case.plain.objective(result.x))
    assert result.objective == pytest.approx(value, rel=1e-12)
    assert value >= best - ROUNDING * scale
    certificate = result.certificate
    assert not certificate.kind.is_global
    assert certificate.bound == -np.inf
    if certificate.kind is Kind.COORDINATE_MINIMUM:
        decrease = best_coordinate_decrease(case.plain, result.x)
        assert certificate.value == pytest.approx(decrease, abs=1e-12 * scale)
        if case.exact is not None:  # orthogonal columns, where a coordinate-wise minimum is the minimum
            assert value <= best + 10.0 * case.tol * scale


@pytest.mark.parametrize(("name", "solver"), refused_runs())
def test_zoo_refusals(name: str, solver: str) -> None:
    """A solver that does not accept a case says so and names some that do."""
    case = ZOO[name]()
    with pytest.raises(ValueError, match=r"use .* or solver='auto'") as error:
        si.solve(case.A, case.b, case.penalty, solver=SOLVERS[solver]())
    offered = str(error.value).split("; use ")[1]
    named = {s for s in SOLVERS if s != "auto" and s in offered}
    assert solver not in named
    assert named & set(case.accepted), f"none of {offered} accepts {name}"


@pytest.mark.parametrize("name", [name for name, make in ZOO.items() if not make().plain.l0.any()])
def test_the_judges_agree(name: str) -> None:
    """The gap from the residual and the gap from the reference's bounds hold for the same point."""
    case = ZOO[name]()
    known = truth(case.plain)
    scale = case.plain.scale
    assert float(known.upper - known.lower) <= 1e-13 * scale
    assert judged_gap(case.plain, known.x) >= -ROUNDING * scale
    x = known.x * 0.9
    assert judged_gap(case.plain, x) >= float(case.plain.objective(x) - known.upper) - ROUNDING * scale
