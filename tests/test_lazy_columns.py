"""Working sets on matrix-free operators: columns written down as they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

import sparseinv as si
from cases import Products
from sparseinv import Status
from sparseinv.driver import Run
from sparseinv.operators import DCT, Convolution, HStack, Restriction
from sparseinv.operators.algebra import BlockDiagonal, VStack
from sparseinv.operators.matrix import DenseMatrix, Diagonal
from sparseinv.problem import Problem
from sparseinv.solvers import lazy_columns
from sparseinv.stopping import Stopping


def ricker(half=40, dt=0.002, f0=25.0):
    a = (np.pi * f0 * np.arange(-half, half + 1) * dt) ** 2
    return (1 - 2 * a) * np.exp(-a)


class Hidden(Products):
    """Count the products of an operator of which only the products are known."""

    def __init__(self, A):
        super().__init__(np.zeros(A.shape))
        self.operator = A

    def matvec(self, x):
        self.forward += 1
        return self.operator.matvec(x)

    def rmatvec(self, y):
        self.adjoint += 1
        return self.operator.rmatvec(y)


def numbers(*shape, key=0):
    return np.random.default_rng([11, key]).standard_normal(shape)


WAVELET = ricker(6, dt=0.008)

CLOSED = {
    "convolution": lambda: Convolution(60, WAVELET),
    "causal": lambda: Convolution(50, numbers(7), offset=0),
    "along the last axis": lambda: Convolution((3, 25), WAVELET),
    "along the first axis": lambda: Convolution((30, 3), WAVELET, axis=0),
    "some samples of it": lambda: Restriction(60, np.arange(0, 60, 2)) @ Convolution(60, WAVELET),
    "of weighted spikes": lambda: Convolution(40, WAVELET) @ Diagonal(numbers(40)),
    "of some spikes": lambda: Convolution(40, WAVELET) @ Restriction(40, [3, 4, 9, 20, 39]).H,
    "scaled": lambda: -2.0 * Convolution(40, WAVELET),
    "spikes and wavelets": lambda: HStack([Convolution(40, WAVELET), Diagonal(np.ones(40))]),
    "measured twice": lambda: VStack([Convolution(40, WAVELET), 0.3 * Convolution(40, numbers(5))]),
    "side by side": lambda: BlockDiagonal([Convolution(20, WAVELET), Diagonal(numbers(10))]),
    "sum": lambda: Convolution(40, WAVELET) + Diagonal(np.full(40, 0.1)),
    "weighted columns": lambda: DenseMatrix(np.asfortranarray(numbers(20, 40))) @ Diagonal(numbers(40)),
}

PENALTIES = {
    "L1": lambda lam, n: si.L1(lam),
    "weights": lambda lam, n: si.L1(mixed(lam, n)),
    "nonnegative": lambda lam, n: si.L1(lam, nonnegative=True),
    "nonnegative weights": lambda lam, n: si.L1(mixed(lam, n), nonnegative=True),
    "elastic net": lambda lam, n: si.ElasticNet(lam, 0.7),
    "elastic net weights": lambda lam, n: si.ElasticNet(mixed(lam, n), 0.6),
}


def mixed(lam, n):
    """Return levels around lam, one of them zero and every seventh infinite."""
    levels = lam * (0.5 + np.random.default_rng(3).random(n))
    levels[1] = 0.0
    levels[5::7] = np.inf
    return levels


def dense(A):
    return np.asfortranarray(np.stack([A.matvec(e) for e in np.eye(A.shape[1])], axis=1))


def data(A, key=1):
    m, n = A.shape
    rng = np.random.default_rng([12, key])
    x = np.zeros(n)
    used = rng.choice(n, max(2, n // 8), replace=False)
    x[used] = rng.standard_normal(used.size)
    b = A.matvec(x)
    return b + 0.05 * b.std() * rng.standard_normal(m)


def trace(n, seed=0):
    """Return (A, b) of a deconvolution of spikes at one sample in twenty with 5 % noise."""
    rng = np.random.default_rng(seed)
    A, x = Convolution(n, ricker()), np.zeros(n)
    used = rng.choice(n, n // 20, replace=False)
    x[used] = rng.standard_normal(used.size)
    b = A.matvec(x)
    return A, b + 0.05 * b.std() * rng.standard_normal(n)


# --- operators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLOSED)
def test_closed_columns_are_the_columns(name):
    A = CLOSED[name]()
    assert A.closed_columns
    index = np.random.default_rng(2).permutation(A.shape[1])[: max(3, A.shape[1] // 2)]
    np.testing.assert_allclose(A.columns(index), dense(A)[:, index], atol=1e-12 * np.abs(dense(A)).max())


def test_what_costs_products_does_not_say_closed():
    C = Convolution(8, WAVELET)
    assert not DCT(8).closed_columns
    assert not (C @ DCT(8)).closed_columns
    assert not (DCT(8) @ C).closed_columns
    assert not (C @ C).closed_columns
    assert not C.H.closed_columns
    assert not HStack([C, DCT(8)]).closed_columns
    assert not si.Operator((3, 3)).closed_columns


def test_columns_are_counted_as_what_they_are():
    closed = Problem(Convolution(20, WAVELET), np.ones(20), si.L1(0.1), check_operator=False)
    before = closed.operator.products.total
    closed.operator.columns(np.arange(4))
    assert (closed.operator.products.total - before, closed.operator.products.columns) == (0, 4)
    free = Problem(DCT(20), np.ones(20), si.L1(0.1), check_operator=False)
    before = free.operator.products.total
    free.operator.columns(np.arange(4))
    assert (free.operator.products.total - before, free.operator.products.columns) == (4, 0)


# --- answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", CLOSED)
def test_answers_equal_those_of_the_matrix(name, penalty):
    A = CLOSED[name]()
    b, M = data(A), dense(A)
    lam = 0.03 * np.abs(M.T @ b).max()
    R = PENALTIES[penalty](lam, A.shape[1])
    free = si.solve(A, b, R, tol=1e-11)
    known = si.solve(M, b, R, tol=1e-11)
    assert isinstance(free.solver, si.WorkingSet)
    assert "closed form" in free.reason
    assert free.success
    assert known.success
    assert abs(free.objective - known.objective) <= 1e-9 * known.certificate.scale
    assert si.certify(M, b, R, free.x).relative <= 2e-11
    assert free.n_matvec + free.n_rmatvec <= 60


@pytest.mark.parametrize("kind", ["closed", "products"])
def test_a_path_keeps_the_columns_it_has(kind):
    A, b = trace(300)
    M = dense(A)
    given = A if kind == "closed" else Products(M)
    lams = si.lam_max(M, b, si.L1()) * np.geomspace(0.5, 0.003, 9)
    free = si.solve_path(given, b, si.L1(), lams=lams, tol=1e-10)
    known = si.solve_path(M, b, si.L1(), lams=lams, tol=1e-10)
    assert free.success
    for mine, theirs in zip(free, known, strict=True):
        assert abs(mine.objective - theirs.objective) <= 1e-9 * theirs.certificate.scale
    if kind == "closed":
        assert sum(result.products.columns for result in free) <= 300
        assert free.n_matvec + free.n_rmatvec <= 90


def test_dense_columns_are_kept_as_well():
    M = np.asfortranarray(numbers(30, 80))
    A, b = DenseMatrix(M) @ Diagonal(np.ones(80)), numbers(30, key=4)
    lam = 0.05 * np.abs(M.T @ b).max()
    free, known = si.solve(A, b, si.L1(lam), tol=1e-12), si.solve(M, b, si.L1(lam), tol=1e-12)
    assert free.success
    assert free.products.columns > 0
    np.testing.assert_allclose(free.x, known.x, atol=1e-8 * np.abs(known.x).max())


def test_it_goes_on_from_x0():
    A, b = trace(300)
    lam = si.lam_max(A, b, si.L1()) / 50
    first = si.solve(A, b, si.L1(lam))
    again = si.solve(A, b, si.L1(0.98 * lam), x0=first.x)
    assert again.success
    assert again.products.columns < first.products.columns


# --- counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "factor", "products", "columns"),
    [(1000, 10, 10, 550), (1000, 100, 20, 650), (1000, 1000, 30, 850), (4096, 100, 20, 2400)],
)
def test_deconvolution_takes_few_products(n, factor, products, columns):
    A, b = trace(n)
    result = si.solve(A, b, si.L1(si.lam_max(A, b, si.L1()) / factor))
    assert result.success
    assert result.n_matvec + result.n_rmatvec <= products
    assert 0 < result.products.columns <= columns
    assert f"{result.products.columns} columns in closed form" in repr(result)


def test_unit_vectors_take_over_where_first_order_steps_stall():
    A, b = trace(1000)
    lam = si.lam_max(A, b, si.L1()) / 1000
    given = Hidden(A)
    result = si.solve(given, b, si.L1(lam))
    assert result.success
    assert (given.forward, given.adjoint) == (result.n_matvec, result.n_rmatvec)  # nothing is hidden
    assert result.products.columns == 0
    assert "closed form" not in repr(result)
    steps = si.solve(Hidden(A), b, si.L1(lam), solver=si.BarzilaiBorwein())
    assert result.n_matvec + result.n_rmatvec <= 0.3 * (steps.n_matvec + steps.n_rmatvec)
    assert result.certificate.relative <= 1e-9


@pytest.mark.parametrize("factor", [10, 100])
def test_well_conditioned_operators_are_left_to_first_order_steps(factor):
    n = 512
    rng = np.random.default_rng(5)
    A = Restriction(n, np.sort(rng.choice(n, n // 4, replace=False))) @ DCT(n)
    x = np.zeros(n)
    x[rng.choice(n, 12, replace=False)] = 1.0
    b = A.matvec(x) + 0.01 * rng.standard_normal(n // 4)
    lam = si.lam_max(A, b, si.L1()) / factor
    mine = si.solve(A, b, si.L1(lam))
    steps = si.solve(A, b, si.L1(lam), solver=si.BarzilaiBorwein())
    assert (mine.n_matvec, mine.n_rmatvec) == (steps.n_matvec, steps.n_rmatvec)
    assert mine.products.columns == 0


def test_long_columns_wait_until_steps_stall(monkeypatch):
    monkeypatch.setattr(lazy_columns, "_LONG", 100)
    A, b = trace(1000)
    result = si.solve(A, b, si.L1(si.lam_max(A, b, si.L1()) / 1000))
    assert result.success
    assert result.n_matvec > 20  # first-order steps went ahead
    assert 0 < result.products.columns < 1000
    assert result.n_matvec + result.n_rmatvec < 900


# --- limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 60_000, 200_000])
def test_beyond_the_memory_first_order_steps_take_over(monkeypatch, room):
    monkeypatch.setattr(lazy_columns, "BYTES", room)
    A, b = trace(300)
    lam = si.lam_max(A, b, si.L1()) / 100
    result = si.solve(A, b, si.L1(lam), tol=1e-7)
    assert result.success
    assert result.products.columns * 81 * 24 <= room + 81 * 24 * 256
    assert result.n_matvec > 30
    known = si.solve(dense(A), b, si.L1(lam), tol=1e-12)
    assert result.objective - known.objective <= 1e-7 * known.certificate.scale


def test_the_memory_is_enough_for_a_start(monkeypatch):
    monkeypatch.setattr(lazy_columns, "BYTES", 60_000)
    A, b = trace(300)
    R = si.L1(si.lam_max(A, b, si.L1()) / 100)
    result = si.solve(A, b, R, x0=np.ones(300))
    assert result.success
    path = si.solve_path(A, b, si.L1(), lams=R.lam * np.array([4.0, 2.0, 1.0]))
    assert path.success


def test_alone_it_ends_honestly_where_memory_ends(monkeypatch):
    monkeypatch.setattr(lazy_columns, "BYTES", 60_000)
    A, b = trace(300)
    problem = Problem(A, b, si.L1(si.lam_max(A, b, si.L1()) / 100))
    result = Run(problem, si.WorkingSet(), None, Stopping()).finish()
    assert result.status is Status.PRECISION_FLOOR
    assert 1e-6 < result.certificate.relative < 1.0


class Moody(Convolution):
    """Do something else when columns are asked for the second time."""

    def __init__(self, n, mood):
        super().__init__(n, ricker())
        self.mood, self.calls = mood, 0

    def columns(self, index):
        self.calls += 1
        return super().columns(index) if self.calls == 1 else self.mood(super().columns(index))


def interrupt(columns):
    raise KeyboardInterrupt


def fail(columns):
    raise OSError("disk")


def test_ctrl_c_while_columns_are_written():
    _, b = trace(300)
    A = Moody(300, interrupt)
    lam = si.lam_max(A, b, si.L1()) / 100
    with pytest.raises(si.Interrupted) as caught:
        si.solve(A, b, si.L1(lam))
    result = caught.value.result
    assert result.status is Status.INTERRUPTED
    assert 0.0 < result.certificate.relative < 1.0
    assert si.certify(dense(Convolution(300, ricker())), b, si.L1(lam), result.x).relative <= 1.0


def test_columns_that_fail():
    _, b = trace(300)
    A = Moody(300, fail)
    result = si.solve(A, b, si.L1(si.lam_max(A, b, si.L1()) / 100))
    assert result.status is Status.NUMERICAL_FAILURE
    assert "disk" in result.message
    assert np.isfinite(result.x).all()


def test_columns_that_lie_are_found_out():
    _, b = trace(300)
    A = Moody(300, lambda columns: 1.01 * columns)
    lam = si.lam_max(A, b, si.L1()) / 100
    result = si.solve(A, b, si.L1(lam), tol=1e-10)
    known = si.solve(dense(Convolution(300, ricker())), b, si.L1(lam), tol=1e-13)
    assert 0.0 <= result.objective - known.objective + 1e-12 <= result.certificate.value + 2e-12
    assert result.success == (result.certificate.relative <= 1e-10)
    assert not result.success


def test_time_limit():
    A, b = trace(1000)
    result = si.solve(A, b, si.L1(si.lam_max(A, b, si.L1()) / 1000), max_time=0.0)
    assert result.status is Status.MAX_TIME
    assert np.isfinite(result.certificate.relative)


def test_refusals():
    wavelet = WAVELET + 1j
    with pytest.raises(ValueError, match="needs real data"):
        si.solve(Convolution(40, wavelet), np.ones(40), si.L1(0.1), solver=si.WorkingSet())
    with pytest.raises(TypeError, match="first_order is 'FISTA'"):
        si.WorkingSet(first_order="FISTA")
    assert isinstance(si.solve(Convolution(40, wavelet), np.ones(40), si.L1(0.1)).solver, si.BarzilaiBorwein)


class Shift(si.Operator):
    """Move every sample by one; the user says that columns cost nothing."""

    closed_columns = True

    def __init__(self, n):
        super().__init__((n, n))

    def _matvec(self, x):
        return np.roll(x, 1)

    def _rmatvec(self, y):
        return np.roll(y, -1)

    def columns(self, index):
        return np.asfortranarray(np.roll(np.eye(self.shape[0]), 1, axis=0)[:, index])


def test_an_operator_of_your_own_can_say_closed():
    result = si.solve(Shift(4), np.array([0.0, 3.0, 0.0, 1.0]), si.L1(0.5))
    np.testing.assert_allclose(result.x, [2.5, 0.0, 0.5, 0.0], atol=1e-14)
    assert result.products.columns == 2
    assert result.n_matvec + result.n_rmatvec <= 8


def test_reweighted_l1_uses_them():
    A, b = trace(300)
    mine = si.solve(A, b, si.L0(0.1))
    steps = si.solve(A, b, si.L0(0.1), solver=si.IRL1(inner=si.BarzilaiBorwein()))
    assert mine.products.columns > 0
    assert mine.objective <= steps.objective * (1 + 1e-9)
    assert mine.n_matvec + mine.n_rmatvec < 0.5 * (steps.n_matvec + steps.n_rmatvec)
