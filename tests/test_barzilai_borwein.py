"""The matrix-free solver: right answers, counted products, honest ends."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.sparse as sp

import sparseinv as si
from cases import Products
from sparseinv.kernels import plane
from sparseinv.problem import Problem
from sparseinv.solvers.barzilai_borwein import PlainState, PlaneState
from sparseinv.stopping import Budget

SOLVER = si.BarzilaiBorwein()


class Own(si.Penalty):
    """lam sum |x_j|, as a user would write it."""

    convex = True

    def __init__(self, lam: float) -> None:
        self.lam = lam

    def value(self, x):
        return self.lam * float(np.abs(x).sum())

    def prox(self, v, step):
        size = np.abs(v)
        return v * np.divide(
            np.maximum(size - step * self.lam, 0), size, out=np.zeros(v.size), where=size > 0
        )

    def conjugate(self, u):
        return 0.0 if np.abs(u).max() <= self.lam * (1 + 1e-12) else np.inf


class Box(si.Penalty):
    """Keep all coefficients within [-1, 1]."""

    convex = True

    def value(self, x):
        return 0.0 if np.all(np.abs(x) <= 1.0) else np.inf

    def prox(self, v, step):
        return np.clip(v, -1.0, 1.0)


class Rows(si.Operator):
    """m rows of the orthonormal cosine or Fourier transform, with sums over n kept in one library."""

    def __init__(self, m: int, n: int, dtype: Any = float, seed: int = 0) -> None:
        super().__init__((m, n), dtype)
        self.rows = np.sort(np.random.default_rng(seed).choice(n, m, replace=False))
        kind = "c" if np.dtype(dtype).kind == "c" else "r"
        self.pair = {"c": (scipy.fft.fft, scipy.fft.ifft), "r": (scipy.fft.dct, scipy.fft.idct)}[kind]

    def _matvec(self, x):
        return self.pair[0](x, norm="ortho")[self.rows]

    def _rmatvec(self, y):
        full = np.zeros(self.shape[1], dtype=np.result_type(y, self.dtype))
        full[self.rows] = y
        return self.pair[1](full, norm="ortho")


def noisy(operator: Any, spikes: int, seed: int = 1) -> np.ndarray:
    """Return data of a sparse x with 5 % noise."""
    rng = np.random.default_rng(seed)
    m, n = operator.shape
    x = np.zeros(n, dtype=operator.dtype)
    x[rng.choice(n, spikes, replace=False)] = rng.standard_normal(spikes)
    clean = operator.matvec(x)
    noise = rng.standard_normal(m)
    return clean + 0.05 * np.linalg.norm(clean) / np.linalg.norm(noise) * noise


def dense(number: str = "real", m: int = 40, n: int = 80) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a Gaussian problem and its lam_max."""
    rng = np.random.default_rng(5)
    A = rng.standard_normal((m, n))
    if number == "complex":
        A = A + 1j * rng.standard_normal((m, n))
    b = A[:, :6] @ (1.0 + np.arange(6)) + 0.3 * rng.standard_normal(m)
    return A, b, float(np.abs(A.conj().T @ b).max())


# --- right answers ------------------------------------------------------------------------------------

LEVELS = np.r_[np.zeros(3), np.full(2, np.inf), np.linspace(0.05, 0.2, 75)]
GROUPS = np.arange(80) // 4
PENALTIES = {
    "L1": lambda lam: si.L1(0.1 * lam),
    "L1, small": lambda lam: si.L1(0.003 * lam),
    "weights": lambda lam: si.L1(LEVELS * lam),
    "elastic net": lambda lam: si.ElasticNet(0.1 * lam, 0.7),
    "elastic net, mixed": lambda lam: si.ElasticNet(LEVELS * lam, 0.5),
    "ridge": lambda lam: si.L2(1.0),
    "groups": lambda lam: si.GroupL1(0.2 * lam, groups=GROUPS),
    "groups, mixed": lambda lam: si.GroupL1(np.r_[0.0, np.inf, np.full(18, 0.2 * lam)], groups=GROUPS),
    "nonnegative": lambda lam: si.L1(0.05 * lam, nonnegative=True),
    "nonnegative, mixed": lambda lam: si.L1(LEVELS * lam, nonnegative=True),
    "own": lambda lam: Own(0.1 * lam),
}


@pytest.mark.parametrize("wrap", [Products, np.asarray, sp.csc_array], ids=["free", "dense", "csc"])
@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("name", PENALTIES)
def test_objective_equals_that_of_another_method(name: str, number: str, wrap: Any) -> None:
    if number == "complex" and "nonnegative" in name:
        return
    A, b, lam = dense(number)
    penalty = PENALTIES[name](lam)
    result = si.solve(wrap(A), b, penalty, solver=SOLVER, tol=1e-10)
    assert result.success
    # coordinate descent and Newton steps for what they know, the equal built-in penalty for one's own
    other = si.solve(A, b, si.L1(0.1 * lam) if name == "own" else penalty, tol=1e-13)
    assert other.certificate.relative <= 1e-12
    assert result.objective == pytest.approx(other.objective, rel=1e-8)


def test_signs_and_boxes_against_cvxpy() -> None:
    cvxpy = pytest.importorskip("cvxpy")
    A, b, _ = dense()
    for penalty, constraint in (
        (si.L1(0.0, nonnegative=True), lambda x: [x >= 0]),
        (Box(), lambda x: [cvxpy.abs(x) <= 1]),
    ):
        x = cvxpy.Variable(20)
        loss = cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.sum_squares(A[:, :20] @ x - b)), constraint(x))
        best = loss.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
        result = si.solve(Products(A[:, :20]), b, penalty, solver=SOLVER, tol=1e-12)
        assert result.objective == pytest.approx(best, rel=1e-8)
        assert penalty.value(result.x) == 0.0


def test_zeros_are_exact() -> None:
    A, b, lam = dense()
    result = si.solve(Products(A), b, si.L1(0.2 * lam), solver=SOLVER, tol=1e-10)
    exact = si.solve(A, b, si.L1(0.2 * lam), tol=1e-13)
    assert np.array_equal(result.x != 0, exact.x != 0)


# --- counted products -----------------------------------------------------------------------------------

BUDGETS = {  # (operator, lam / lam_max): most products to 1e-6, set-up and both certificates included
    ("cosine", 0.1): 40, ("cosine", 0.01): 98, ("cosine", 0.001): 600,
    ("fourier", 0.1): 40, ("fourier", 0.01): 98, ("fourier", 0.001): 540,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "fraction"), BUDGETS)
def test_budget(kind: str, fraction: float) -> None:
    operator = Rows(1024, 4096, complex if kind == "fourier" else float)
    b = noisy(operator, 122)
    lam = fraction * si.lam_max(operator, b, si.L1())
    result = si.solve(operator, b, si.L1(lam), solver=SOLVER, tol=1e-6)
    assert result.success
    assert result.products.total <= BUDGETS[kind, fraction]
    if fraction > 0.001:
        plain = si.solve(operator, b, si.L1(lam), solver=si.FISTA(norm=1.0), tol=1e-6)
        assert result.products.total <= 0.55 * plain.products.total


def test_fewer_products_than_fista_on_a_deconvolution() -> None:
    t = np.arange(-40, 41) * 0.002
    a = (math.pi * 25.0 * t) ** 2
    wavelet = (1 - 2 * a) * np.exp(-a)
    A = np.array([np.convolve(row, wavelet, mode="same") for row in np.eye(400)])
    rng = np.random.default_rng(0)
    x = np.zeros(400)
    x[rng.choice(400, 12, replace=False)] = rng.standard_normal(12)
    b = A @ x + 0.02 * rng.standard_normal(400)
    lam = 0.05 * np.abs(A.T @ b).max()
    ours, fista = (
        si.solve(Products(A), b, si.L1(lam), solver=s, tol=1e-6, check_operator=False)
        for s in (SOLVER, si.FISTA())
    )
    assert ours.success
    assert fista.success
    assert ours.products.total <= 0.6 * fista.products.total


@pytest.mark.parametrize("name", ["L1", "groups", "own"])
def test_two_products_an_iteration(name: str) -> None:
    A, b, lam = dense()
    operator = Products(A)
    result = si.solve(
        operator, b, PENALTIES[name](lam), solver=SOLVER, tol=0.0, max_iter=40, check_operator=False
    )
    assert result.n_iter == 40 or result.status is si.Status.PRECISION_FLOOR
    spent = result.products
    assert spent.forward == operator.forward
    assert spent.adjoint == operator.adjoint
    if name != "own":  # a nonmonotone step may be rejected
        assert spent.iterations <= 2 * result.n_iter
    else:
        assert spent.iterations <= 2.5 * result.n_iter
    assert spent.setup <= 2


def test_no_norm_is_estimated() -> None:
    A, b, lam = dense()
    problem = Problem(si.as_operator(Products(A)), b, si.L1(0.1 * lam), check_operator=False)
    before = problem.operator.products.total
    state = SOLVER.start(problem, None)
    assert problem.operator.products.total == before + 1
    assert "lipschitz" not in problem.__dict__
    assert isinstance(state, PlaneState)


def pieces(penalty: Any) -> tuple[Any, Any]:
    """Return (levels, blocks) as the kernels take them."""
    _, l1, l2, nonnegative, order, starts = penalty.terms
    return (l1, l2, bool(nonnegative)), (order, starts) if starts.size else None


# --- the iteration ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PENALTIES)
def test_state_is_consistent_and_never_rises(name: str) -> None:
    A, b, lam = dense()
    problem = Problem(si.as_operator(Products(A)), b, PENALTIES[name](lam))
    solver = si.BarzilaiBorwein(continuation=False)
    state = solver.start(problem, None)
    lowest = math.inf
    for _ in range(30):
        solver.step(problem, state, Budget(tol=0.0, iterations=1, seconds=1.0))
        state.check(problem)
        if isinstance(state, PlainState) or problem.penalty.nonnegative:
            continue
        value = problem.objective(state.z, state.rz)
        assert value <= lowest * (1 + 1e-12)
        lowest = value


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("name", ["L1", "elastic net", "groups"])
def test_search_finds_the_minimum_in_the_plane(name: str, number: str) -> None:
    """Against a fine grid of (a, c), refined: the search is a few Newton steps, near but not exact."""
    A, b, lam = dense(number)
    penalty = PENALTIES[name](lam).bind(80)
    rng = np.random.default_rng(2)
    z, d, p = (rng.standard_normal(80).astype(A.dtype) for _ in range(3))
    z[40:], d[60:], p[40:70] = 0.0, 0.0, 0.0
    rz, Ap = A @ z - b, A @ p
    levels, blocks = pieces(penalty)
    held, live = np.ones(levels[0].size, dtype=np.uint8), np.empty(81, dtype=np.int64)
    marks = np.empty(64, dtype=np.uint8)
    gradient = np.zeros_like(z)
    count, change, size = plane.renew(
        levels, blocks, 1.0, gradient + 2.0, gradient, held, live, marks, marks.view(np.uint64)
    )
    assert count == held.size
    assert (gradient == 2.0).all()
    assert change == size == 4.0 * 80
    # the proximal step of length one to any point: d is what it gives
    vectors, numbers = np.empty((4, 80), dtype=z.dtype), np.empty((3, 80))
    length, square, largest = plane.proximal(
        levels, blocks, 1.0, 0.0, 1.0, z, -d, p, d, live, count, vectors, numbers
    )
    assert length == pytest.approx(float(np.vdot(d, d).real))
    assert square == pytest.approx(float(np.vdot(z, z).real))
    assert largest == np.abs(z).max()
    Ad = np.empty_like(rz)
    products = plane.image(rz, A @ d, Ap, b, Ad)
    assert np.array_equal(Ad, A @ d)

    def value(a, c):
        r = rz + a * Ad + c * Ap
        return 0.5 * float(np.vdot(r, r).real) + penalty.value(z + a * d + c * p)

    moved_z, moved_p = z.copy(), p.copy()
    a, c, square = plane.search(
        levels, blocks, 1.0, 0.0, live, count, largest, moved_z, d,
        moved_p, held, vectors, numbers, products, 0.0, 1e-12, 30,
    )  # fmt: skip
    assert np.allclose(moved_p, a * d + c * p, rtol=1e-14, atol=1e-14)
    assert np.array_equal(moved_z, z + moved_p)
    assert square == pytest.approx(float(np.vdot(moved_p, moved_p).real))
    found = value(a, c)
    for width in (1.0, 0.1, 0.01):
        around = [value(a + width * u, c + width * v) for u in np.linspace(-1, 1, 9) for v in (-1, 0, 1)]
        assert found <= min(around) * (1 + 1e-4)
    assert found < value(0.0, 0.0)


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("name", ["L1", "groups"])
def test_free_gap_is_that_of_the_certificate(name: str, number: str) -> None:
    from sparseinv.certificate import DualPair, certify_problem

    A, b, lam = dense(number)
    problem = Problem(si.as_operator(Products(A)), b, PENALTIES[name](lam))
    x = np.zeros(80, dtype=problem.dtype)
    x[:10] = 0.7
    r = problem.residual(x)
    v = problem.residual(0.9 * x)
    g = problem.gradient(v)
    levels, blocks = pieces(problem.penalty)
    z, marks = 0.9 * x, np.empty(1024, dtype=np.uint8)
    held = np.ones(levels[0].size, dtype=np.uint8)
    live = np.empty(81, dtype=np.int64)
    count, _, _ = plane.renew(levels, blocks, 1.0, g, g.copy(), held, live, marks, marks.view(np.uint64))
    products = plane.image(v, r - v, v, problem.b, np.empty_like(v))
    vectors = np.array([z, x - z, z, g])
    numbers = np.array([*levels[:2], z.real]) if blocks is None else np.empty((3, 0))
    gap, objective = plane.free_gap(
        levels, blocks, 1.0, False, live, count, z, x - z, g, vectors, numbers, products, 1.0
    )
    assert objective == pytest.approx(problem.objective(x, r), rel=1e-12)
    certificate = certify_problem(problem, x, r=r, dual=DualPair(v, g))
    assert problem.units.objective(gap) == pytest.approx(certificate.value, rel=1e-12)


def test_hands_over_to_greedy_fista() -> None:
    """A gap that does not halve within 40 iterations ends the steps of Barzilai-Borwein length."""
    A, b, lam = dense()
    problem = Problem(si.as_operator(Products(A)), b, Own(0.01 * lam))
    state = SOLVER.start(problem, None)
    assert isinstance(state, PlainState)
    for k in range(5):
        assert state.z is None, k
        before = problem.operator.products.total
        SOLVER.step(problem, state, Budget(tol=0.0, iterations=10, seconds=1.0, gap=0.6))
    assert state.z is not None
    assert problem.operator.products.total == before + 20
    for _ in range(40):
        SOLVER.step(problem, state, Budget(tol=0.0, iterations=10, seconds=1.0, gap=0.6))
        state.check(problem)
        assert np.allclose(state.rz, problem.residual(state.z), atol=1e-9)
    best = si.solve(A, b, si.L1(0.01 * lam), tol=1e-13).objective
    assert problem.objective(state.x, state.r) == pytest.approx(best, rel=1e-10)


# --- honest ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**7, 2.0**300])
@pytest.mark.parametrize("target", ["A", "b"])
def test_powers_of_two_change_no_bit(factor: float, target: str) -> None:
    A, b, lam = dense()
    if target == "A":
        scaled = si.solve(Products(A * factor), b, si.L1(0.05 * lam * factor), solver=SOLVER)
        back = scaled.x * factor
    else:
        scaled = si.solve(Products(A), b * factor, si.L1(0.05 * lam * factor), solver=SOLVER)
        back = scaled.x / factor
    plain = si.solve(Products(A), b, si.L1(0.05 * lam), solver=SOLVER)
    assert plain.success
    assert plain.products.total == scaled.products.total
    assert np.array_equal(plain.x, back)


@pytest.mark.parametrize("name", ["L1", "own"])
def test_max_iter_is_kept(name: str) -> None:
    A, b, lam = dense()
    penalty = PENALTIES[name](lam)
    for limit in (1, 3, 13):
        result = si.solve(Products(A), b, penalty, solver=SOLVER, tol=1e-14, max_iter=limit)
        assert result.status is si.Status.MAX_ITER
        assert result.n_iter == limit
        assert (
            result.certificate.relative
            == pytest.approx(si.certify(A, b, penalty, result.x).relative, rel=1e-6)
            or result.certificate.relative > si.certify(A, b, penalty, result.x).relative
        )


def test_columns_of_very_different_size() -> None:
    A, b, _ = dense()
    A = A * np.logspace(-4, 4, 80)
    lam = 0.01 * float(np.abs(A.T @ b).max())
    result = si.solve(Products(A), b, si.L1(lam), solver=SOLVER, max_iter=3000)
    judged = si.certify(A, b, si.L1(lam), result.x)
    assert result.success == (result.certificate.relative <= 1e-6)
    assert judged.value <= result.certificate.value * (1 + 1e-9)


def test_nothing_to_do() -> None:
    A, b, lam = dense()
    for data, penalty in ((np.zeros(40), si.L1(0.1)), (b, si.L1(1.01 * lam))):
        result = si.solve(Products(A), data, penalty, solver=SOLVER)
        assert result.success
        assert not result.x.any()
        assert result.products.total <= 6
    nothing = si.solve(Products(np.zeros((4, 5))), np.ones(4), si.L1(0.1), solver=SOLVER)
    assert nothing.success
    assert not nothing.x.any()


def test_without_a_penalty() -> None:
    A, b, _ = dense(n=15)
    result = si.solve(Products(A), b, si.L1(0.0), solver=SOLVER, tol=1e-12)
    assert result.success
    assert np.allclose(result.x, np.linalg.lstsq(A, b)[0], atol=1e-5)


@pytest.mark.parametrize("name", ["L1", "own"])
def test_warm_start(name: str) -> None:
    A, b, lam = dense()
    penalty = PENALTIES[name](lam)
    cold = si.solve(Products(A), b, penalty, solver=SOLVER, tol=1e-9)
    warm = si.solve(Products(A), b, penalty, solver=SOLVER, tol=1e-9, x0=cold.x)
    assert warm.success
    assert warm.n_iter <= 10
    far = si.solve(Products(A), b, penalty, solver=SOLVER, tol=1e-9, x0=np.full(80, 1e6))
    assert far.success
    assert far.objective == pytest.approx(cold.objective, rel=1e-7)


class Single(Products):
    """Products in single precision."""

    dtype = np.dtype(np.float32)

    def matvec(self, x):
        return super().matvec(x.astype(np.float32)).astype(np.float32)

    def rmatvec(self, y):
        return super().rmatvec(y.astype(np.float32)).astype(np.float32)


@pytest.mark.parametrize("name", ["L1", "groups"])
def test_single_precision_says_what_it_cannot_reach(name: str) -> None:
    A, b, lam = dense()
    operator = Single(A.astype(np.float32))
    good = si.solve(operator, b, PENALTIES[name](lam), solver=SOLVER, tol=1e-4)
    assert good.success
    result = si.solve(operator, b, PENALTIES[name](lam), solver=SOLVER, tol=1e-15)
    assert result.status is si.Status.PRECISION_FLOOR
    assert 1e-15 < result.certificate.relative < 1e-4


def test_tolerance_zero_ends() -> None:
    A, b, lam = dense()
    result = si.solve(Products(A), b, si.L1(0.1 * lam), solver=SOLVER, tol=0.0)
    assert result.status in (si.Status.PRECISION_FLOOR, si.Status.CONVERGED)
    assert result.certificate.relative <= 1e-13


def test_choice() -> None:
    A, b, lam = dense()
    result = si.solve(Products(A), b, si.L1(0.1 * lam))
    assert isinstance(result.solver.first_order, si.BarzilaiBorwein)
    assert "matrix-free" in result.reason
    with pytest.raises(ValueError, match="BarzilaiBorwein needs a convex penalty"):
        si.solve(Products(A), b, si.L0(0.1), solver=SOLVER)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("wrap", [np.asarray, Products])
def test_an_infinite_charge_excludes_beside_levels_of_moduli(is_complex, wrap):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((8, 12)) + (1j * rng.standard_normal((8, 12)) if is_complex else 0.0)
    b = 3.0 * A[:, 2] + A[:, 5]
    charges = np.zeros(12)
    charges[2] = np.inf
    apart = si.solve(np.delete(A, 2, axis=1), b, si.L1(0.1))
    for solver in ("auto", si.BarzilaiBorwein()):
        result = si.solve(wrap(A), b, si.L0(charges, l1=0.1), solver=solver)
        assert result.success
        assert result.x[2] == 0.0
        assert result.objective == pytest.approx(apart.objective, rel=1e-5)
