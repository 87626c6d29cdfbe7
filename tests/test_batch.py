"""Many right-hand sides: every column is what `solve` finds for it, and its certificate is true."""

from __future__ import annotations

import _thread
import threading
import time
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparseinv as si
from cases import ZOO, Products, generator
from reference import plain, truth
from sparseinv import batch as batch_module
from sparseinv import gram_batch, threads
from sparseinv.operators.matrix import DenseMatrix

Array = np.ndarray[Any, Any]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Gram matrix serve a handful of columns, so that small tests reach it."""
    monkeypatch.setattr(gram_batch, "_FEW", 1)
    monkeypatch.setattr(gram_batch, "_PAYS", 10**6)


def methods(batch: Any) -> set[str]:
    return {type(result.solver).__name__ for result in batch}


def data(m: int, n: int, k: int, *key: int) -> tuple[Array, Array]:
    rng = generator(70, m, n, k, *key)
    A = rng.standard_normal((m, n))
    X = np.where(rng.random((n, k)) < 0.2, rng.standard_normal((n, k)), 0.0)
    return A, A @ X + 0.3 * rng.standard_normal((m, k))


def levels(A: Any, B: Array, penalty: Any, share: float) -> Array:
    return np.array([share * si.lam_max(A, b, penalty) for b in B.T])


def compare(batch: Any, A: Any, B: Array, penalties: list[Any], tol: float = 1e-10) -> None:
    """Compare each column with `solve` at the same tolerance."""
    for j, penalty in enumerate(penalties):
        b = np.ascontiguousarray(B[:, j])
        alone = si.solve(A, b, penalty, tol=tol)
        result = batch[j]
        assert result.success == alone.success, (j, result)
        scale = alone.certificate.scale
        assert abs(result.objective - alone.objective) <= 1e-8 * scale, j
        assert np.shares_memory(result.x, batch.x)
        again = si.certify(A, b, penalty, result.x)
        assert result.objective == pytest.approx(again.objective, rel=1e-12, abs=1e-14 * scale)
        if result.certificate.kind is si.Kind.DUALITY_GAP:
            # two proofs bound one minimum, so each bound lies below the other's objective
            rounding = 1e-13 * max(scale, abs(alone.objective))
            assert result.certificate.bound <= alone.objective + rounding
            assert alone.certificate.bound <= result.objective + rounding


WEIGHTS = {
    "plain": lambda rng, n: np.ones(n),
    "weights": lambda rng, n: rng.uniform(0.3, 3.0, n),
    "zero": lambda rng, n: np.where(np.arange(n) % 9 == 4, 0.0, rng.uniform(0.5, 2.0, n)),
    "inf": lambda rng, n: np.where(np.arange(n) % 4 == 1, np.inf, rng.uniform(0.5, 2.0, n)),
    "both": lambda rng, n: np.where(
        np.arange(n) % 11 == 4, 0.0, np.where(np.arange(n) % 4 == 1, np.inf, 1.0)
    ),
}
FAMILIES = {
    "l1": lambda w: si.L1(weights=w),
    "l1 nonneg": lambda w: si.L1(weights=w, nonnegative=True),
    "enet": lambda w: si.ElasticNet(weights=w, l1_ratio=0.7),
    "enet nonneg": lambda w: si.ElasticNet(weights=w, l1_ratio=0.7, nonnegative=True),
}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("share", [0.3, 0.02])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gram_regime_equals_solve(family, weights, share):
    for m, n in ((40, 25), (25, 40)):
        A, B = data(m, n, 5, len(weights), len(family))
        w = WEIGHTS[weights](generator(71, n), n)
        penalty = FAMILIES[family](w)
        lams = levels(A, B, penalty, share)
        lams[lams == 0] = 1.0
        batch = si.solve_many(A, B, penalty, lams=lams, tol=1e-10)
        assert methods(batch) <= {"GramNewton", "WorkingSet"}
        if weights != "zero" and "nonneg" not in family:
            assert methods(batch) == {"GramNewton"}
        compare(batch, A, B, [penalty.replace(lam=lam) for lam in lams])
        np.testing.assert_array_equal(batch.lams, lams)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_certificates_against_the_truth(share, nonnegative):
    A, B = data(20, 30, 4, nonnegative)
    penalty = si.L1(nonnegative=nonnegative)
    lams = levels(A, B, penalty, share)
    for tol in (1e-2, 1e-6, 1e-12):
        batch = si.solve_many(A, B, penalty, lams=lams, tol=tol)
        for j, lam in enumerate(lams):
            problem = plain(A, B[:, j], l1=lam, nonnegative=nonnegative)
            known = truth(problem)
            true = float(problem.objective(batch.x[:, j]) - known.upper)
            assert batch.certificates[j].value >= true - 1e-14 * problem.scale
            assert true <= tol * problem.scale
            assert batch.objective[j] == pytest.approx(float(problem.objective(batch.x[:, j])), rel=1e-12)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ZOO)
def test_zoo(name):
    """Three columns of every case: its b, half of it, and its mirror image with another level."""
    case = ZOO[name]()
    if isinstance(case.A, Products):
        case.A.forward = case.A.adjoint = 0
    b = np.asarray(case.b)
    B = np.stack([b, 0.5 * b, -b], axis=1)
    factors = np.array([1.0, 0.5, 1.5])
    own = case.penalty.lam if case.penalty.lam is not None else 1.0
    batch = si.solve_many(case.A, B, case.penalty, lams=factors, tol=1e-8)
    assert batch.x.shape == (case.plain.n, 3)
    compare(batch, case.A, B, [case.penalty.replace(lam=own * t) for t in factors], tol=1e-8)


@pytest.mark.parametrize("container", ["dense", "csc", "operator"])
@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize(
    "penalty",
    [si.L1(0.5), si.L2(0.3), si.L0(0.05), si.ElasticNet(0.5), si.GroupL1(0.5, groups=np.arange(24) // 3),
     si.L1(), si.L2()],
    ids=lambda p: repr(p)[:12],
)  # fmt: skip
def test_other_regimes_equal_solve(penalty, number, container):
    A, B = data(16, 24, 3, 5)
    if number == "complex":
        A = A + 1j * data(16, 24, 3, 6)[0]
    wrapped = {"dense": A, "csc": sp.csc_array(A), "operator": Products(A)}[container]
    batch = si.solve_many(wrapped, B, penalty, tol=1e-9)
    for j in range(3):
        b = np.ascontiguousarray(B[:, j])
        alone = si.solve(wrapped, b, penalty, tol=1e-9)
        assert abs(batch[j].objective - alone.objective) <= 1e-8 * alone.certificate.scale
        assert batch[j].success == alone.success
        if penalty.lam is None:
            assert batch[j].selection.lam == pytest.approx(alone.selection.lam, rel=1e-9)
            assert batch.lams[j] == batch[j].selection.lam


@pytest.mark.usefixtures("few")
def test_levels_chosen_from_the_data_in_the_gram_regime():
    A, B = data(30, 20, 3, 8)
    batch = si.solve_many(A, B, si.L1())
    assert methods(batch) == {"GramNewton"}
    for j in range(3):
        alone = si.solve(A, np.ascontiguousarray(B[:, j]), si.L1())
        assert batch.lams[j] == alone.selection.lam
        assert abs(batch[j].objective - alone.objective) <= 1e-6 * alone.certificate.scale


@pytest.mark.usefixtures("few")
def test_scales_side_by_side():
    A, B = data(30, 40, 1, 9)
    scales = np.array([1.0, 0.0, 1e-150, 1e150, 2.0**-400, 2.0**400, 1e-300])
    lam = 0.1 * si.lam_max(A, B[:, 0], si.L1())
    batch = si.solve_many(A, B * scales, si.L1(), lams=np.where(scales > 0, lam * scales, 1.0), tol=1e-9)
    assert batch.success
    assert not batch.x[:, 1].any()
    first = batch.x[:, 0]
    np.testing.assert_array_equal(batch.x[:, 4], first * 2.0**-400)
    np.testing.assert_array_equal(batch.x[:, 5], first * 2.0**400)
    for j in (2, 3):
        here = batch.x[:, j] / scales[j]
        np.testing.assert_allclose(here, first, rtol=1e-6, atol=1e-9 * np.abs(first).max())


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_extreme_matrix(scale):
    A, B = data(20, 30, 3, 10)
    lams = levels(A, B, si.L1(), 0.1)
    batch = si.solve_many(A * scale, B, si.L1(), lams=lams * scale, tol=1e-9)
    reference = si.solve_many(A, B, si.L1(), lams=lams, tol=1e-9)
    assert batch.success
    np.testing.assert_allclose(batch.objective, reference.objective, rtol=1e-8)


@pytest.mark.usefixtures("few")
def test_awkward_matrices():
    A, B = data(20, 12, 4, 11)
    duplicated = np.concatenate([A, A[:, :5], -A[:, 3:6], np.zeros((20, 2))], axis=1)
    scaled = A * np.geomspace(1e-6, 1e6, 12)
    for matrix in (duplicated, scaled, sp.csc_array(duplicated), duplicated[:1], duplicated[:, :1]):
        rows = matrix.shape[0]
        data_here = B[:rows]
        lams = levels(matrix, data_here, si.L1(), 0.05)
        lams[lams == 0] = 1.0
        batch = si.solve_many(matrix, data_here, si.L1(), lams=lams, tol=1e-9)
        compare(batch, matrix, data_here, [si.L1(lam) for lam in lams], tol=1e-9)


def deconvolution(n: int, k: int, *key: int) -> tuple[Array, Array]:
    """Ricker wavelets every sample: a matrix without a numerical inverse."""
    t = 0.004 * (np.arange(n) - n // 2)
    wavelet = (1 - 2 * (np.pi * 25 * t) ** 2) * np.exp(-((np.pi * 25 * t) ** 2))
    A = np.stack([np.roll(wavelet, j - n // 2) for j in range(n)], axis=1)
    rng = generator(72, n, k, *key)
    X = np.where(rng.random((n, k)) < 0.08, rng.standard_normal((n, k)), 0.0)
    return A, A @ X + 0.02 * rng.standard_normal((n, k))


@pytest.mark.parametrize("share", [0.1, 0.01])
def test_deconvolution(share):
    A, B = deconvolution(150, 70)
    lams = share * np.abs(A.T @ B).max(axis=0)
    batch = si.solve_many(A, B, si.L1(), lams=lams)
    assert batch.success
    assert "GramNewton" in methods(batch)
    for j in range(0, 70, 10):
        alone = si.solve(A, np.ascontiguousarray(B[:, j]), si.L1(lams[j]), tol=1e-9)
        assert batch.objective[j] - alone.objective <= 1e-6 * alone.certificate.scale


@pytest.mark.parametrize("penalty", [si.L1(0.3), si.L1(), si.L0(0.1), si.L2(0.1)], ids=repr)
def test_same_bits_for_any_number_of_threads(penalty):
    A, B = deconvolution(60, 75, 1)
    if penalty.lam is None or isinstance(penalty, si.L0):
        B = B[:, :33]
    one, two, three = (si.solve_many(A, B, penalty, n_threads=t) for t in (1, 2, 3))
    for other in (two, three):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.relative, other.relative)
        np.testing.assert_array_equal(one.lams, other.lams)
    assert one.success


@pytest.fixture(scope="module")
def dense() -> tuple[Array, Array, Array]:
    """Problems whose supports are larger than the kernel treats."""
    A, B = generator(75).standard_normal((420, 500)), generator(76).standard_normal((420, 32))
    return A, B, 0.01 * np.abs(A.T @ B).max(axis=0)


def test_supports_too_large_for_the_kernel(dense):
    A, B, lams = dense
    began = time.perf_counter()
    batch = si.solve_many(A, B, si.L1(), lams=lams, n_threads=1)
    assert time.perf_counter() - began < 25.0  # about 1.5; a refit per column would take 70
    assert batch.success
    assert np.count_nonzero(batch.x, axis=0).min() > gram_batch._MOST
    alone = si.solve(A, np.ascontiguousarray(B[:, 7]), si.L1(lams[7]), tol=1e-9)
    assert batch.objective[7] - alone.objective <= 1e-6 * alone.certificate.scale


def test_time_limit_holds_where_supports_are_large(dense, monkeypatch):
    A, B, lams = dense
    si.solve_many(A, B[:, :1], si.L1(), lams=lams[:1])
    monkeypatch.setattr(gram_batch, "_PROBED", 32)
    began = time.perf_counter()
    batch = si.solve_many(A, B, si.L1(), lams=lams, n_threads=1, max_time=0.2)
    assert time.perf_counter() - began < 5.0
    assert "MAX_TIME" in {status.name for status in batch.status}
    # what the kernel got to is better than nothing
    reached = batch.n_iter > 0
    assert reached.any()
    for j in np.flatnonzero(reached):
        problem = plain(A, B[:, j], l1=lams[j])
        assert batch.objective[j] == pytest.approx(float(problem.objective(batch.x[:, j])), rel=1e-12)
        assert batch.objective[j] < problem.scale


def test_kernel_is_spared_what_it_gives_up(monkeypatch):
    from sparseinv.kernels import batch as kernels

    A, B = deconvolution(60, 64, 5)
    tried = []
    original = kernels.solve_traces

    def counting(*arguments: Any) -> int:
        last = original(*arguments)
        tried.append(last - arguments[11])
        return last

    monkeypatch.setattr(kernels, "solve_traces", counting)
    lams = 0.01 * np.abs(A.T @ B).max(axis=0)
    one = si.solve_many(A, B, si.L1(), lams=lams)
    assert sum(tried) == 64
    tried.clear()
    monkeypatch.setattr(gram_batch, "_MOST", 5)
    other = si.solve_many(A, B, si.L1(), lams=lams)
    assert sum(tried) == 2 * gram_batch._PROBED
    assert methods(other) == {"WorkingSet"}
    assert other.success
    np.testing.assert_allclose(other.objective, one.objective, rtol=1e-5)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("l1_ratio", [0.2, 0.9])
def test_elastic_net_takes_few_rounds(l1_ratio):
    A, B = data(40, 60, 8, 24)
    penalty = si.ElasticNet(l1_ratio=l1_ratio)
    batch = si.solve_many(A, B, penalty, lams=levels(A, B, penalty, 0.3), tol=1e-10)
    assert methods(batch) == {"GramNewton"}
    assert batch.n_iter.max() <= 10


@pytest.mark.usefixtures("few")
def test_what_the_kernel_missed_starts_where_it_got(monkeypatch):
    A, B = data(60, 80, 6, 25)
    lams = levels(A, B, si.L1(), 0.05)
    gains: list[float] = []
    run = batch_module.run

    def watched(problem: Any, *arguments: Any, **options: Any) -> Any:
        x = problem.units.working(options["x0"])
        gains.append(problem.relative(problem.scale - problem.objective(x, problem.residual(x))))
        return run(problem, *arguments, **options)

    monkeypatch.setattr(batch_module, "run", watched)
    monkeypatch.setattr(gram_batch, "_MOST", 15)
    monkeypatch.setattr(gram_batch, "_PROBED", 6)
    batch = si.solve_many(A, B, si.L1(), lams=lams, tol=1e-9)
    assert batch.success
    assert len(gains) >= 3
    assert min(gains) > 0.1


def test_absurd_starts_are_left_aside():
    A, B = data(20, 30, 40, 26)
    batch = si.solve_many(A, B, si.L1(0.5), X0=np.full((30, 40), 1e200))
    assert batch.success
    assert methods(batch) == {"GramNewton"}


def test_a_column_does_not_depend_on_its_neighbours():
    A, B = deconvolution(60, 64, 2)
    batch = si.solve_many(A, B, si.L1(0.3), tol=1e-9)
    swapped = si.solve_many(A, B[:, ::-1], si.L1(0.3), tol=1e-9)
    np.testing.assert_allclose(swapped.x[:, ::-1], batch.x, atol=1e-7)


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("shape", [(30, 20), (20, 30)])
@pytest.mark.parametrize("weights", ["plain", "zero", "inf", "both"])
def test_one_ridge_for_all(weights, shape, number):
    A, B = data(*shape, 5, 22)
    if number == "complex":
        A = A + 1j * data(*shape, 5, 23)[0]
    B = B * np.array([1.0, 1e-150, 1e150, 0.0, 1.0])
    penalty = si.L2(0.3, weights=WEIGHTS[weights](generator(74), shape[1]))
    batch = si.solve_many(A, B, penalty, tol=1e-12)
    assert batch.success
    assert {result.reason for result in batch} == {"auto: one factorisation for all columns"}
    for j in range(5):
        alone = si.solve(A, np.ascontiguousarray(B[:, j]), penalty, tol=1e-12)
        size = np.abs(alone.x).max()
        np.testing.assert_allclose(batch.x[:, j], alone.x, rtol=1e-7, atol=1e-9 * size)


# --- limits, interruption, results ---------------------------------------------------------------------


@pytest.mark.parametrize("container", ["dense", "operator"])
@pytest.mark.parametrize("start", [False, True])
def test_no_time_at_all(container, start):
    A, B = data(20, 30, 40, 12)
    X0 = generator(73).standard_normal((30, 40)) if start else None
    batch = si.solve_many(Products(A) if container == "operator" else A, B, si.L1(1.0), X0=X0, max_time=0)
    assert {status.name for status in batch.status} == {"MAX_TIME"}
    assert not batch.success
    np.testing.assert_allclose(batch.x, 0.0 if X0 is None else X0)
    for j in (0, 39):
        certificate = si.certify(A, B[:, j], si.L1(1.0), batch.x[:, j])
        assert batch.objective[j] == pytest.approx(certificate.objective, rel=1e-12)
        assert batch.certificates[j].value >= certificate.value * (1 - 1e-9)


@pytest.mark.parametrize("weights", ["plain", "zero", "inf"])
@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("family", [*FAMILIES, "l2", "single", "chosen"])
def test_columns_not_begun_are_judged_together_as_alone(family, start, weights, monkeypatch):
    A, B = data(20, 30, 40, 27)
    B[:, 3], B[:, 4:7] = 0.0, B[:, 4:7] * [1e-160, 1e160, 1e-300]
    lams = None if family == "chosen" else generator(77).uniform(0.5, 2.0, 40)
    if lams is not None:
        lams[5], lams[8] = 1e300, 1e-300
    w = WEIGHTS[weights](generator(78), 30)
    make = {**FAMILIES, "l2": lambda w: si.L2(weights=w)}.get(family, FAMILIES["l1"])
    X0 = generator(79).standard_normal((30, 40)) * np.abs(B).max(axis=0) if start else None
    if family == "single":
        A, B = A.astype(np.float32), B[:, 10:].astype(np.float32)
        lams, X0 = lams[10:], None if X0 is None else X0[:, 10:].astype(np.float32)
    together = si.solve_many(A, B, make(w), lams=lams, X0=X0, max_time=0)
    monkeypatch.setattr(batch_module, "_SEVERAL", 10**9)
    alone = si.solve_many(A, B, make(w), lams=lams, X0=X0, max_time=0)
    np.testing.assert_array_equal(together.x, alone.x)
    assert together.x.dtype == alone.x.dtype
    np.testing.assert_array_equal(together.lams, alone.lams)
    assert together.status == alone.status
    for one, other in zip(together, alone, strict=True):
        assert one.certificate.kind is other.certificate.kind
        np.testing.assert_allclose(one.objective, other.objective, rtol=1e-12)
        np.testing.assert_allclose(one.certificate.value, other.certificate.value, rtol=1e-9)
        np.testing.assert_allclose(one.certificate.scale, other.certificate.scale, rtol=1e-12)
        np.testing.assert_array_equal(one.lam, other.lam)
        assert one.message == other.message
        assert repr(one.solver) == repr(other.solver)


def test_end_takes_no_product_per_column(monkeypatch):
    A, B = data(20, 30, 600, 28)
    calls = []
    original = DenseMatrix.rmatvec

    def counted(self: DenseMatrix, y: Array) -> Array:
        calls.append(1)
        return original(self, y)

    monkeypatch.setattr(DenseMatrix, "rmatvec", counted)
    batch = si.solve_many(A, B, si.L1(0.5), max_time=0)
    assert {status.name for status in batch.status} == {"MAX_TIME"}
    assert len(calls) < 10


def test_time_limit_holds():
    A, B = deconvolution(300, 2000, 3)
    began = time.perf_counter()
    si.solve_many(A, B[:, :40], si.L1(0.01), tol=1e-9)
    began = time.perf_counter()
    batch = si.solve_many(A, B, si.L1(0.001), tol=1e-14, max_time=0.2)
    assert time.perf_counter() - began < 10.0
    assert len(batch) == 2000
    assert not batch.success


def test_iteration_limit():
    A, B = data(20, 30, 40, 13)
    batch = si.solve_many(A, B, si.L1(0.01), max_iter=1, tol=1e-12)
    assert not batch.success
    assert {s.name for s in batch.status} <= {"MAX_ITER", "CONVERGED"}
    assert batch.n_iter.max() <= 1
    assert (batch.relative[~batch.converged] > 1e-12).all()


def test_starts_from_the_answer():
    A, B = data(20, 30, 40, 14)
    first = si.solve_many(A, B, si.L1(0.5), tol=1e-9)
    again = si.solve_many(A, B, si.L1(0.5), tol=1e-9, X0=first.x)
    assert again.success
    assert again.n_iter.sum() < first.n_iter.sum()


class Interrupting(Products):
    """Raises KeyboardInterrupt in the product of a given number."""

    def __init__(self, A: Array, after: int) -> None:
        super().__init__(A)
        self.after = after

    def matvec(self, x: Array) -> Array:
        if self.forward == self.after:
            self.forward += 1
            raise KeyboardInterrupt
        return super().matvec(x)


def test_interrupted_in_a_product():
    A, B = data(20, 30, 6, 15)
    full = si.solve_many(Products(A), B, si.L1(0.5))
    counted = Products(A)
    si.solve_many(counted, B, si.L1(0.5))
    with pytest.raises(si.Interrupted) as caught:
        si.solve_many(Interrupting(A, counted.forward // 2), B, si.L1(0.5))
    batch = caught.value.result
    names = [status.name for status in batch.status]
    done = names.index("INTERRUPTED")
    assert 0 < done < 5
    np.testing.assert_array_equal(batch.x[:, :done], full.x[:, :done])
    assert not batch.x[:, done + 1 :].any()
    for j in range(6):
        honest = si.certify(A, B[:, j], si.L1(0.5), batch.x[:, j])
        assert batch[j].objective == pytest.approx(honest.objective, rel=1e-12)
        assert batch.converged[j] == (names[j] == "CONVERGED")


def test_interrupted_by_ctrl_c_among_threads():
    A, B = deconvolution(300, 4000, 4)
    si.solve_many(A, B[:, :40], si.L1(0.01), tol=1e-9)
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(si.Interrupted) as caught:
        si.solve_many(A, B, si.L1(0.001), tol=1e-14, n_threads=2)
    timer.join()
    batch = caught.value.result
    assert len(batch) == 4000
    assert any(status is si.Status.INTERRUPTED for status in batch.status)
    assert np.isfinite(batch.relative).all()


def test_ctrl_c_again_while_the_rest_is_judged():
    A, B = data(20, 30, 6, 29)

    class Impatient(Interrupting):
        def rmatvec(self, y: Array) -> Array:
            if self.forward > self.after and self.adjoint_calls == 2:
                self.adjoint_calls += 1
                raise KeyboardInterrupt
            self.adjoint_calls += self.forward > self.after
            return super().rmatvec(y)

        adjoint_calls = 0

    counted = Products(A)
    full = si.solve_many(counted, B, si.L1(0.5))
    with pytest.raises(si.Interrupted) as caught:
        si.solve_many(Impatient(A, counted.forward // 2), B, si.L1(0.5))
    batch = caught.value.result
    assert len(batch) == 6
    done = [status.name for status in batch.status].index("INTERRUPTED")
    assert done > 0
    np.testing.assert_array_equal(batch.x[:, :done], full.x[:, :done])
    assert not batch.x[:, done + 1 :].any()
    assert np.isinf(batch.relative[-1])
    assert batch[5].certificate.kind is not si.Kind.DUALITY_GAP
    assert batch[5].objective == pytest.approx(0.5 * float(B[:, 5] @ B[:, 5]))
    assert "not judged" in batch[5].message


def test_ctrl_c_again_while_threads_finish(monkeypatch):
    A, B = data(20, 30, 40, 30)
    spread = threads.spread

    def impatient(tasks: Any, work: Any, n_threads: int, stop: Any) -> bool:
        spread(iter(list(tasks)[:1]), work, n_threads, stop)
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "spread", impatient)
    with pytest.raises(si.Interrupted) as caught:
        si.solve_many(A, B, si.L1(0.5))
    assert [status.name for status in caught.value.result.status] == ["CONVERGED"] * 32 + ["INTERRUPTED"] * 8


def test_failing_operator_spoils_no_other_column():
    A, B = data(10, 15, 3, 16)

    class Failing(Products):
        def rmatvec(self, y: Array) -> Array:
            if abs(float(y @ B[:, 1]) / (np.linalg.norm(y) * np.linalg.norm(B[:, 1]))) > 0.999:
                raise RuntimeError("no")
            return super().rmatvec(y)

    batch = si.solve_many(Failing(A), B, si.L1(0.5))
    assert [s.name for s in batch.status] == ["CONVERGED", "NUMERICAL_FAILURE", "CONVERGED"]
    assert "no" in batch[1].message


def test_single_precision():
    A, B = data(20, 30, 40, 17)
    batch = si.solve_many(A.astype(np.float32), B.astype(np.float32), si.L1(0.5), tol=1e-5)
    assert batch.x.dtype == np.float32
    assert batch[3].x.dtype == np.float32
    assert batch.success
    honest = si.certify(A.astype(np.float32), B[:, 3].astype(np.float32), si.L1(0.5), batch.x[:, 3])
    assert batch.objective[3] == pytest.approx(honest.objective, rel=1e-12)


def test_results_and_report():
    A, B = data(20, 30, 4, 18)
    batch = si.solve_many(A, B, si.L1(0.5), progress=False)
    assert len(batch) == len(list(batch)) == 4
    assert batch[1].lam == 0.5
    assert batch[-1] is batch.results[3]
    np.testing.assert_array_equal(batch.lams, np.full(4, 0.5))
    np.testing.assert_array_equal(batch.objective, [r.objective for r in batch])
    assert repr(batch).startswith("4 of 4 right-hand sides converged in ")
    unfinished = si.solve_many(A, B, si.L1(0.5), max_iter=0)
    assert repr(unfinished).startswith("0 of 4")
    assert "iteration limit" in repr(unfinished)
    nothing = si.solve_many(A, B[:, :0], si.L1(0.5))
    assert nothing.x.shape == (30, 0)
    assert nothing.success


def test_solver_of_ones_own_choice():
    A, B = data(20, 30, 40, 19)
    batch = si.solve_many(A, B, si.L1(0.5), solver=si.FISTA())
    assert methods(batch) == {"FISTA"}
    assert batch.success
    with pytest.raises(ValueError, match="Ridge needs a pure L2 penalty"):
        si.solve_many(A, B, si.L1(0.5), solver=si.Ridge())


def test_method_of_a_batch_is_refused_elsewhere():
    A, B = data(20, 30, 40, 31)
    method = si.solve_many(A, B, si.L1(0.5))[0].solver
    with pytest.raises(ValueError, match=r"GramNewton .*use WorkingSet or solver='auto'"):
        si.solve(A, B[:, 0], si.L1(0.5), solver=method)
    with pytest.raises(ValueError, match=r"GramNewton .*use WorkingSet or solver='auto'"):
        si.solve_many(A, B, si.L1(0.5), solver=method)


def test_levels_multiply_those_of_the_penalty():
    A, B = data(20, 30, 2, 20)
    relative = np.linspace(0.5, 2.0, 30)
    batch = si.solve_many(A, B, si.L1(relative), lams=[0.3, 0.6])
    np.testing.assert_array_equal(batch[1].lam, relative * 0.6)
    np.testing.assert_array_equal(batch.lams, [0.3, 0.6])
    np.testing.assert_array_equal(si.solve_many(A, B, si.L1(2.0), lams=[0.3, 0.6]).lams, [0.6, 1.2])


def test_progress_bar(capsys):
    A, B = data(20, 30, 40, 21)
    si.solve_many(A, B, si.L1(0.5), progress=True)
    assert "40" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"B": np.ones(3)}, ValueError, r"B has shape \(3,\), but A has 3 rows.*pass B\[:, None\]"),
        ({"B": np.ones((4, 2))}, ValueError, r"B has shape \(4, 2\), but A has 3 rows"),
        ({"B": np.ones((2, 3))}, ValueError, r"pass B\.T"),
        ({"B": [[1.0, np.nan], [1, 1], [1, 1]]}, ValueError, r"B contains nan at B\[0, 1\]"),
        ({"lams": [1.0]}, ValueError, r"lams has shape \(1,\), but B has 2 columns"),
        ({"lams": 1.0}, ValueError, "lams has shape"),
        ({"lams": "relative"}, TypeError, "lams is 'relative'"),
        ({"lams": [1.0, -1.0]}, ValueError, r"lams\[1\] is -1.0"),
        ({"lams": [1.0, 0.0], "penalty": si.L1([1.0, np.inf, 1, 1])}, ValueError, r"0 \* inf"),
        ({"lams": [1.0, np.inf], "penalty": si.L1(weights=[1.0, 0, 1, 1])}, ValueError, r"0 \* inf"),
        ({"X0": np.ones((4, 3))}, ValueError, r"X0 has shape \(4, 3\), but x has shape \(4, 2\)"),
        ({"X0": 1j * np.ones((4, 2))}, ValueError, "X0 is complex"),
        ({"n_threads": 0}, ValueError, "n_threads is 0"),
        ({"n_threads": 1.5}, TypeError, "n_threads is 1.5"),
        ({"tol": -1}, ValueError, "tol is -1"),
        ({"penalty": si.L1}, TypeError, "penalty is the class L1"),
        ({"solver": si.FISTA}, TypeError, "solver is the class FISTA"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"A": np.ones((3, 4)), "B": np.ones((3, 2)), "penalty": si.L1(), **change}
    with pytest.raises(error, match=message):
        si.solve_many(arguments.pop("A"), arguments.pop("B"), arguments.pop("penalty"), **arguments)
