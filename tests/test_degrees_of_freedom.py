"""Degrees of freedom against finite differences, on every penalty, number type and layout."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from cases import Products, generator

GROUPS = np.arange(16) // 4


def data(number, m, n, key=0):
    rng = generator(410, key, m, n)

    def normal(*shape):
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if number == "complex" else v

    A = normal(m, n)
    return A, 2.0 * A[:, 0] - A[:, 5] + 0.5 * normal(m)


def divergence(A, b, penalty, h=1e-5):
    """Return the trace of d(A x)/db by central differences; half of it over real and imaginary parts."""
    directions = (1.0, 1j) if np.iscomplexobj(A) or np.iscomplexobj(b) else (1.0,)
    total = 0.0
    for i in range(b.size):
        for unit in directions:
            e = np.zeros(b.size, dtype=complex if len(directions) == 2 else float)
            e[i] = unit * h
            ahead, behind = (
                A @ si.solve(A, v, penalty, tol=1e-15, max_iter=20_000).x for v in (b + e, b - e)
            )
            total += np.vdot(e / h, (ahead - behind) / (2.0 * h)).real
    return total / len(directions)


def weights(n):
    w = np.ones(n)
    w[2], w[3], w[4] = 0.0, np.inf, 2.0
    return w


def per_group(n):
    w = np.ones(n // 4)
    w[1] = 0.0
    return w


PENALTIES = {
    "L1": lambda n: si.L1(1.5),
    "L1, weights": lambda n: si.L1(1.0, weights=weights(n)),
    "L2": lambda n: si.L2(2.0, weights=weights(n)),
    "elastic net": lambda n: si.ElasticNet(1.0, weights=weights(n)),
    "groups": lambda n: si.GroupL1(2.5, groups=np.arange(n) // 4),
    "groups, weights": lambda n: si.GroupL1(2.0, groups=np.arange(n) // 4, weights=per_group(n)),
}


@pytest.mark.parametrize("shape", [(12, 8), (10, 16)])
@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("kind", PENALTIES)
def test_against_finite_differences(kind, number, shape):
    A, b = data(number, *shape)
    penalty = PENALTIES[kind](shape[1])
    x = si.solve(A, b, penalty, tol=1e-15, max_iter=20_000).x
    assert si.degrees_of_freedom(A, b, penalty, x) == pytest.approx(divergence(A, b, penalty), abs=1e-5)


def test_real_matrix_with_complex_data():
    A, _ = data("real", 10, 16)
    b = A[:, 0] * (1 + 2j) + 0.3 * data("complex", 10, 16)[0][:, 1]
    penalty = si.L1(0.7)
    x = si.solve(A, b, penalty, tol=1e-15).x
    assert si.degrees_of_freedom(A, b, penalty, x) == pytest.approx(divergence(A, b, penalty), abs=1e-5)


def test_complex_orthonormal_closed_form():
    b = np.array([3.0 + 4.0j, 1.0 - 1.0j, 0.1j])
    x = si.solve(np.eye(3), b, si.L1(0.5), tol=1e-14).x
    # sum over |b_j| > lam of (2 - lam / |b_j|), halved
    expected = 0.5 * sum(2.0 - 0.5 / abs(v) for v in b if abs(v) > 0.5)
    assert si.degrees_of_freedom(np.eye(3), b, si.L1(0.5), x) == pytest.approx(expected, abs=1e-12)


def test_duplicated_columns_count_once():
    A, b = data("real", 12, 8)
    A = A[:, :4]
    twice = np.hstack([A, A])
    x = np.full(8, 0.5)
    assert si.degrees_of_freedom(twice, b, si.L1(1.0), x) == 4.0
    assert si.degrees_of_freedom(twice, b, si.L0(1.0), x) == 4.0


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("wrap", [sparse.csc_array, Products])
@pytest.mark.parametrize("kind", PENALTIES)
def test_layouts_agree(kind, wrap, number):
    A, b = data(number, 10, 16)
    penalty = PENALTIES[kind](16)
    x = si.solve(A, b, penalty, tol=1e-14).x
    dense = si.degrees_of_freedom(A, b, penalty, x)
    assert si.degrees_of_freedom(wrap(A), b, penalty, x) == pytest.approx(dense, rel=1e-9)


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.parametrize("kind", PENALTIES)
def test_probes_estimate_it(kind, number):
    A, b = data(number, 10, 16)
    penalty = PENALTIES[kind](16)
    x = si.solve(A, b, penalty, tol=1e-14).x
    exact = si.degrees_of_freedom(A, b, penalty, x)
    # the standard deviation of the mean of 800 probes is below sqrt(2 * 10 / 800) = 0.16
    assert si.degrees_of_freedom(Products(A), b, penalty, x, probes=800) == pytest.approx(exact, abs=0.5)


def test_extreme_units_change_nothing():
    A, b = data("real", 12, 8)
    penalty = si.ElasticNet(1.0)
    x = si.solve(A, b, penalty, tol=1e-14).x
    plain = si.degrees_of_freedom(A, b, penalty, x)
    scaled = si.degrees_of_freedom(A * 1e60, b, si.L2(2e120), x)
    assert scaled == pytest.approx(si.degrees_of_freedom(A, b, si.L2(2.0), x), rel=1e-9)
    assert si.degrees_of_freedom(A, b * 1e150, penalty, x * 1e150) == pytest.approx(plain, rel=1e-9)


def test_bad_input():
    A, b = data("real", 12, 8)
    with pytest.raises(ValueError, match="penalty is"):
        si.degrees_of_freedom(A, b, si.L1(), np.zeros(8))
    with pytest.raises(ValueError, match="probes is -1"):
        si.degrees_of_freedom(A, b, si.L1(1.0), np.zeros(8), probes=-1)
    with pytest.raises(ValueError, match="shape"):
        si.degrees_of_freedom(A, b, si.L1(1.0), np.zeros(7))
    assert si.degrees_of_freedom(A, b, si.L1(1.0), np.zeros(8)) == 0.0


@pytest.mark.parametrize("kind", [si.L1, si.L2, si.ElasticNet, si.L0])
def test_excluded_columns_have_no_freedom_where_the_others_are_free(kind):
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((20, 8)), rng.standard_normal(20)
    penalty = kind(1.0, weights=np.r_[0.0, 0.0, np.full(6, np.inf)])
    assert si.degrees_of_freedom(A, b, penalty, si.solve(A, b, penalty).x) == pytest.approx(2.0)
