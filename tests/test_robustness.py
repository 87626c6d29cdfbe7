"""Data at the edges of what can be represented, and maps and starts that nobody should have to fear."""

from __future__ import annotations

import numpy as np
import pytest

import sparseinv as si

# --- gaps of the problem on the active set ------------------------------------------------------------


def free_group(rng):
    return rng.standard_normal((2, 4)), rng.standard_normal(2), si.GroupL1([0, 0.5], groups=[0, 0, 1, 1])


def complex_data(rng):
    A = rng.standard_normal((2, 4)) + 1j * rng.standard_normal((2, 4))
    return A, rng.standard_normal(2) + 1j * rng.standard_normal(2)


def free_moduli(rng):
    return *complex_data(rng), si.L1([0, 0, 0.5, 0.5])


def soft_moduli(rng):
    return *complex_data(rng), si.ElasticNet([0, 0, 0.5, 0.5], l1_ratio=0.5)


def soft(rng):
    return rng.standard_normal((2, 4)), rng.standard_normal(2), si.ElasticNet([0, 0, 0.5, 0.5], l1_ratio=0.5)


@pytest.mark.parametrize("make", [free_group, free_moduli, soft_moduli, soft])
def test_free_coefficients_that_explain_everything(make):
    for seed in range(100):
        A, b, penalty = make(np.random.default_rng(seed))
        result = si.solve(A, b, penalty, solver=si.WorkingSet())
        assert result.success, (seed, result)
        assert si.certify(A, b, penalty, result.x).relative <= 1e-6


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_gap_of_an_exact_fit_is_zero(l2):
    from sparseinv.kernels.descent import gram_gap

    # one unpenalised column, b in its direction: r = 0, g = 0, and no level bounds the dual point
    x, g, q = np.array([2.0, 0.0]), np.zeros(2), np.array([2.0, 0.0])
    gap = gram_gap(2, x, g, q, 4.0, np.zeros(2), np.array([0.0, l2]), False)
    assert gap == 0.0


# --- maps that write into their argument ---------------------------------------------------------------


class Spoil:
    """Do what the contract of lent products allows: spoil the argument, return a buffer of its own."""

    def __init__(self, A):
        self.A, self.shape, self.dtype = A, A.shape, A.dtype
        self.f, self.g = np.empty(A.shape[0], A.dtype), np.empty(A.shape[1], A.dtype)

    def matvec(self, x):
        np.matmul(self.A, x, out=self.f)
        x[...] = 7.0
        return self.f

    def rmatvec(self, r):
        np.matmul(self.A.conj().T, r, out=self.g)
        r[...] = 7.0
        return self.g


@pytest.mark.parametrize("factor", [1.0, 1.0 + 0.5j])
@pytest.mark.parametrize("solver", [si.BarzilaiBorwein(), si.FISTA()], ids=repr)
def test_groups_with_a_map_that_spoils_its_argument(rng, solver, factor):
    m, n = 40, 100
    A = rng.standard_normal((m, n)) + (0.0 if factor == 1.0 else 1j * rng.standard_normal((m, n)))
    x = np.zeros(n, dtype=A.dtype)
    x[:5] = 3.0 * factor
    b = A @ x + 0.3 * rng.standard_normal(m)
    groups = np.arange(n) // 4
    penalty = si.GroupL1(0.1 * si.lam_max(A, b, si.GroupL1(groups=groups)), groups=groups)
    result = si.solve(Spoil(A), b, penalty, solver=solver)
    assert result.success, result
    assert si.certify(A, b, penalty, result.x).relative <= 1e-6
