"""Proofs of whole trees against enumeration, tampered with and not."""

import dataclasses
import itertools

import numpy as np
import pytest

import sparseinv as si


def lowest(A, b, lam, k):
    """Return the least objective of all supports."""
    n, found = A.shape[1], np.inf
    for size in range(min(k, n) + 1):
        for S in itertools.combinations(range(n), size):
            j = list(S)
            fit = A[:, j] @ np.linalg.lstsq(A[:, j], b, rcond=None)[0] if j else 0.0 * b
            found = min(found, 0.5 * np.sum((b - fit) ** 2) + lam[j].sum())
    return found


def draw(seed):
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 10)), int(rng.integers(3, 7))
    A = rng.standard_normal((m, n))
    b = rng.standard_normal(m) + A @ (rng.standard_normal(n) * (rng.random(n) < 0.4))
    if seed % 3 == 0:
        A[:, 0] = A[:, 1]
    if seed % 5 == 0:
        A[:, -1] = 0.0
    lam = rng.uniform(0.01, 0.5, n)
    if seed % 4 == 0:
        lam[1] = np.inf
    if seed % 2:
        k = int(rng.integers(1, n + 1))
        return A, b, si.L0Ball(k), np.zeros(n), k
    return A, b, si.L0(lam), lam, n


def prove(A, b, penalty):
    return si.solve(A, b, penalty, solver=si.BranchAndBound(proof_bytes=10**6), tol=1e-8)


@pytest.mark.parametrize("seed", range(40))
def test_a_proof_establishes_what_the_certificate_claims(seed):
    A, b, penalty, lam, k = draw(seed)
    result, scale = prove(A, b, penalty), 0.5 * b @ b
    bound = si.verify_proof(A, b, penalty, result.proof, result.x)
    assert result.success
    assert bound <= lowest(A, b, lam, k) + 1e-12 * scale
    assert result.objective - bound <= 1e-7 * scale


@pytest.mark.parametrize("seed", range(40))
def test_a_proof_that_was_tampered_with_proves_less_or_nothing(seed):
    A, b, penalty, lam, k = draw(seed)
    proof, rng = prove(A, b, penalty).proof, np.random.default_rng(seed)
    truth = lowest(A, b, lam, k) + 1e-12 * b @ b
    turned = proof.decision.copy()
    turned[1:] *= rng.choice([-1, 1], turned.size - 1)
    for changed in (
        {"values": 10.0 * proof.values * rng.standard_normal(proof.values.size)},
        {"fixed": -proof.fixed},
        {"curvatures": tuple((j, 50.0 * d) for j, d in proof.curvatures)},
        {"decision": turned},
    ):
        for x in (np.zeros(A.shape[1]), None):
            point = prove(A, b, penalty).x if x is None else x
            try:
                bound = si.verify_proof(A, b, penalty, dataclasses.replace(proof, **changed), point)
            except ValueError:
                continue
            assert bound <= truth


def test_a_fit_without_a_tree_has_a_proof_too():
    A = np.array([[1.0, 2.0, -1.0]])
    result = prove(A, np.array([3.0]), si.L0Ball(2))
    assert result.objective < 1e-20
    assert abs(si.verify_proof(A, np.array([3.0]), si.L0Ball(2), result.proof, result.x)) < 1e-11


@pytest.mark.parametrize(("a", "s"), [(1e-150, 1.0), (1e150, 1.0), (1.0, 1e-150), (1.0, 1e150)])
def test_extreme_scales_are_proven_as_well(a, s):
    A, b, _, _, _ = draw(4)
    for penalty in (si.L0(0.3 * s**2), si.L0Ball(2)):
        result = prove(a * A, s * b, penalty)
        bound = si.verify_proof(a * A, s * b, penalty, result.proof, result.x)
        assert abs(result.objective / s**2 - bound / s**2) <= 1e-7 * (b @ b)
