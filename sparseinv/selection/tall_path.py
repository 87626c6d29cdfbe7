"""Paths on a tall matrix through its Gram matrix; every answer is judged on the matrix itself."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from sparseinv.certificate import DualPair, certify_problem
from sparseinv.counted_operator import Products
from sparseinv.operators.matrix import DenseMatrix, ldexp
from sparseinv.penalties.base import Leveled
from sparseinv.problem import Problem
from sparseinv.result import Interrupted, Path, Result, Status
from sparseinv.selection.defaults import at_level
from sparseinv.selection.fold_gram import TALL, WIDEST, triangular
from sparseinv.selection.path import Follower, unit_penalty
from sparseinv.solvers.working_set import WorkingSet

Array = np.ndarray[Any, Any]

_LEVELS = 8  # levels from which on the Gram matrix pays
_TOGETHER = 32  # levels judged at once
_SHARE = 0.5  # of the tolerance, asked for on the Gram matrix
_ENDED = (Status.CONVERGED, Status.PRECISION_FLOOR, Status.MAX_ITER, Status.MAX_TIME)


def follow(follower: Follower, problem: Problem, penalty: Leveled, lams: Array, began: float) -> Path:
    """Solve at every level; see `sparseinv.solve_path`.

    A tall dense matrix is replaced by the Cholesky factor of its Gram matrix, n + 1 rows for which the
    objective is the same. The answers of 32 levels at a time are then judged with two products of matrices,
    and solved further on A itself where they miss the tolerance.
    """
    reduced = _reduced(follower, problem, penalty, lams)
    if reduced is None:
        return follower.follow(problem, penalty, lams, began)
    ready = time.perf_counter() - began
    tol = follower.stopping.tol
    stopping = dataclasses.replace(follower.stopping, tol=_SHARE * tol)
    stop = None
    try:
        path = dataclasses.replace(follower, stopping=stopping).follow(reduced, penalty, lams, began)
    except Interrupted as error:
        if error.path is None:
            raise
        path, stop = error.path, error
    results: list[Result] = []
    for first in range(0, len(path), _TOGETHER):
        results += _judged(follower, problem, penalty, path.results[first : first + _TOGETHER], began)
    first_cost = results[0].products
    first_cost.setup += problem.n  # the Gram matrix
    first_cost.adjoint += problem.n
    results[0] = dataclasses.replace(results[0], seconds=results[0].seconds + ready)
    whole = Path(results, lams)
    if stop is not None:
        reached = next((r for r in results if r.status is Status.INTERRUPTED), results[-1])
        raise Interrupted(reached, whole) from None
    return whole


def _reduced(follower: Follower, problem: Problem, penalty: Leveled, lams: Array) -> Problem | None:
    """Return the same problem with n + 1 rows, where that pays and the Gram matrix allows it."""
    inner, bound = problem.operator.inner, problem.penalty
    pays = (
        isinstance(inner, DenseMatrix)
        and problem.dtype.kind != "c"
        and problem.units.a_exponent == 0
        and 0 < problem.n <= WIDEST
        and problem.m >= TALL * problem.n
        and lams.size >= _LEVELS
        and follower.callback is None
        and follower.watch is None
        and not (follower.progress or follower.single or follower.loose)
        and bool(getattr(bound, "convex", False))
        and problem.unpenalised.size == 0
        and isinstance(follower.method(problem)[0], WorkingSet)
    )
    if not pays:
        return None
    assert isinstance(inner, DenseMatrix)
    A = inner.array
    found = triangular(A.T @ A, problem.gradient(problem.b), 2.0 * problem.scale)
    if found is None:
        return None
    b = ldexp(found[1], problem.units.b_exponent)
    return Problem(DenseMatrix(found[0]), b, unit_penalty(penalty)) if np.isfinite(b).all() else None


def _judged(
    follower: Follower, problem: Problem, penalty: Leveled, results: list[Result], began: float
) -> list[Result]:
    """Return the results with certificates on the matrix itself; solve further what misses the tolerance."""
    start = time.perf_counter()
    inner, tol = problem.operator.inner, follower.stopping.tol
    assert isinstance(inner, DenseMatrix)
    X = np.array([problem.units.working(result.x) for result in results])
    live = np.flatnonzero(X.any(axis=0))
    # one solution a row, so that what belongs to a level lies side by side
    R = X[:, live] @ inner.array[:, live].T - problem.b
    G = R @ inner.array
    share = (time.perf_counter() - start) / len(results)
    judged = []
    for k, result in enumerate(results):
        at = at_level(problem, penalty, result.lam)
        certificate = certify_problem(at, X[k], r=R[k], dual=DualPair(R[k], G[k]), target=tol)
        status = result.status
        if status is Status.CONVERGED and certificate.relative > tol:
            method, reason = follower.method(at)
            at.operator.products = Products()
            judged.append(follower.run(at, method, result.x, began).finish(lam=result.lam, reason=reason))
            continue
        if status in _ENDED:
            met = certificate.relative <= tol
            status = Status.CONVERGED if met else status
        products = Products(certificate=2, forward=1, adjoint=1)  # the rest was done on the Gram matrix
        judged.append(
            dataclasses.replace(
                result,
                status=status,
                certificate=certificate,
                objective=certificate.objective,
                products=products,
                seconds=result.seconds + share,
                tol=tol,
                reason=f"{result.reason}, through the Gram matrix of a tall A",
            )
        )
    return judged
