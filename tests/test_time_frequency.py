"""The bank of Morlet wavelets against its formula, sparse time-frequency analysis, and the problem T1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import MorletBank, adjoint_test
from sparseinv.problems import load_problem, run_problem
from sparseinv.problems.report import save
from sparseinv.seismic import time_frequency

Array = np.ndarray[Any, Any]

DT = 0.004
FREQUENCIES = np.arange(15.0, 80.0, 10.0)


def draw(*shape: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def real_matrix(bank: MorletBank) -> Array:
    """Return the map from real and imaginary parts to the trace, a product a column."""
    units = np.eye(bank.shape[1], dtype=complex)
    return np.hstack([bank.matmat(units), bank.matmat(1j * units)])


@pytest.mark.parametrize("n", [1, 40, 41])
@pytest.mark.parametrize("w0", [6.0, np.linspace(5.0, 12.0, 7)])
def test_bank_is_its_formula(n: int, w0: Any) -> None:
    bank = MorletBank(n, DT, FREQUENCIES, w0)
    t = np.arange(n) * DT
    s = np.broadcast_to(w0, FREQUENCIES.shape) / (2 * np.pi * FREQUENCIES)
    fine = np.arange(-4000, 4001) * DT  # as long as any wavelet, for its norm
    for k, f in enumerate(FREQUENCIES):
        norm = np.linalg.norm(np.exp(-0.5 * (fine / s[k]) ** 2) * np.cos(2 * np.pi * f * fine))
        for u in (0, n // 2, n - 1):
            x = np.zeros(bank.dims, dtype=complex)
            x[k, u] = np.exp(0.7j)
            lag = t - u * DT
            expected = np.exp(-0.5 * (lag / s[k]) ** 2) * np.cos(2 * np.pi * f * lag + 0.7) / norm
            np.testing.assert_allclose(
                bank.matvec(x.ravel()), expected, rtol=0, atol=2e-3 * abs(expected).max()
            )


def test_products_bound_and_columns() -> None:
    bank = MorletBank(30, DT, FREQUENCIES)
    assert adjoint_test(bank) < 1e-14
    matrix = real_matrix(bank)
    back = bank.rmatmat(np.eye(30))
    n = bank.shape[1]
    np.testing.assert_allclose(back, (matrix[:, :n] + 1j * matrix[:, n:]).T, atol=1e-13)
    norm = np.linalg.norm(matrix, 2)
    assert norm <= bank.norm_bound() * (1 + 1e-13)
    np.testing.assert_allclose(bank.columns(np.array([3, 50])), matrix[:, [3, 50]], atol=1e-14)
    atoms = bank.atoms(np.arange(n))
    np.testing.assert_allclose(np.hstack([atoms.real, -atoms.imag]), matrix, atol=1e-13)
    x, y = draw(n), draw(30, seed=1).real
    single = bank.matvec(x.astype(np.complex64))
    assert single.dtype == np.float32
    assert bank.rmatvec(y.astype(np.float32)).dtype == np.complex64
    np.testing.assert_allclose(single, bank.matvec(x), atol=1e-4)
    forward, backward = np.vdot(y.astype(np.float32), single), np.vdot(bank.rmatvec(y.astype(np.float32)), x)
    assert abs(forward - backward.real) < 1e-5 * norm * np.linalg.norm(x) * np.linalg.norm(y)


def test_bound_is_close_for_a_long_trace() -> None:
    bank = MorletBank(300, DT, FREQUENCIES)
    v = bank.rmatvec(draw(300).real)
    for _ in range(200):
        v = bank.rmatvec(bank.matvec(v))
        size = np.linalg.norm(v)
        v /= size
    assert np.sqrt(size) <= bank.norm_bound() <= 1.05 * np.sqrt(size)


def three_bursts(n: int) -> tuple[Array, Array]:
    bank = MorletBank(n, DT, FREQUENCIES)
    x = np.zeros(bank.dims, dtype=complex)
    x[1, n // 5], x[4, n // 2], x[2, 3 * n // 4] = 3.0, 2.0j, 4.0 * np.exp(2j)
    return bank.matvec(x.ravel()), x


def test_few_wavelets_are_found_with_their_phases() -> None:
    d, truth = three_bursts(100)
    found = time_frequency(d, DT, FREQUENCIES, misfit=0.02, tol=1e-6)
    assert found.result.success
    assert found.misfit == pytest.approx(0.02, rel=1e-3)
    strong = np.abs(found.coefficients) > 0.5
    np.testing.assert_array_equal(strong, truth != 0)
    error = np.abs(np.angle(found.coefficients[strong] / truth[strong]))
    assert error.max() < 0.05


@pytest.mark.parametrize("lam", [None, 0.3])
def test_the_answer_is_that_of_group_lasso(lam: float | None) -> None:
    """Complex L1 is group L1 of real and imaginary parts: solved here with all columns in memory."""
    d = three_bursts(40)[0] + 0.02 * draw(40).real
    found = time_frequency(d, DT, FREQUENCIES, misfit=0.1, lam=lam, tol=1e-9)
    matrix = real_matrix(MorletBank(40, DT, FREQUENCIES))
    groups = np.tile(np.arange(matrix.shape[1] // 2), 2)
    reference = si.solve(matrix, d, si.GroupL1(found.lam, groups=groups), tol=1e-11)
    assert found.result.success
    assert found.result.objective == pytest.approx(reference.objective, rel=1e-7)
    np.testing.assert_allclose(found.fit, matrix @ reference.x, atol=1e-3)
    assert found.rule == ("given" if lam else "residual of 0.1 times the norm of the trace")


def test_frequencies_that_cannot_explain_the_trace_are_said_so() -> None:
    t = np.arange(60) * DT
    found = time_frequency(np.cos(2 * np.pi * 10.0 * t), DT, [100.0, 110.0], misfit=0.01)
    assert found.misfit > 0.5
    assert "no sum of these wavelets has a residual of 0.01 times" in found.rule


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_t1(seed: int, tmp_path: Path) -> None:
    """The trace is explained to less than 5 % by wavelets on the chirps; all is certified."""
    demo = run_problem("T1", size="s", seed=seed)
    assert demo.certified
    assert [str(goal) for goal in demo.goals if not goal.met] == []
    if seed == 0:
        assert all(path.stat().st_size > 1000 for path in save(demo, tmp_path))
    case = load_problem("T1", size="s", seed=seed)
    assert set(case.score(np.ones(case.A.shape[1], dtype=complex))) == set(demo.tables[0].scores)


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: MorletBank(9, DT, [0.0]), ValueError, "frequencies reach from 0 to 0 Hz"),
    (
        lambda: MorletBank(9, DT, [20.0, 125.0]),
        ValueError,
        "to 125 Hz, but must lie between 0 and the Nyquist",
    ),
    (lambda: MorletBank(9, DT, []), ValueError, r"frequencies has shape \(0,\)"),
    (lambda: MorletBank(9, DT, [20.0], w0=3.0), ValueError, "w0 is 3, but it must be a finite number >= 4"),
    (lambda: MorletBank(9, DT, [20.0], w0=[6.0, 7.0]), ValueError, r"w0 has shape \(2,\)"),
    (lambda: MorletBank(0, DT, [20.0]), ValueError, "n_samples is 0"),
    (lambda: time_frequency(np.zeros(9), DT, [20.0]), ValueError, "trace is zero"),
    (lambda: time_frequency(np.ones((2, 9)), DT, [20.0]), ValueError, r"trace has shape \(2, 9\)"),
    (lambda: time_frequency(np.ones(9) * 1j, DT, [20.0]), ValueError, "but a real vector is needed"),
    (lambda: time_frequency([np.nan], DT, [20.0]), ValueError, "trace contains nan"),
    (
        lambda: time_frequency(np.ones(9), DT, [20.0], misfit=1.0),
        ValueError,
        "misfit is 1.0, but it must lie",
    ),
    (lambda: time_frequency(np.ones(9), DT, [20.0], lam=0.0), ValueError, "lam is 0"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSALS)
def test_bad_input_is_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()
