"""GroupL0: optima by enumeration, certificates by brute force, dependent columns, scales, default prices."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from cases import Products, generator

Array = np.ndarray[Any, Any]


def drawn(
    seed: int, *, is_complex: bool = False, m: int = 20, noise: float = 0.5
) -> tuple[Array, Array, Array]:
    """Return (A, b, labels): nine groups of one to six of 24 columns, two of them live."""
    rng = generator(41, seed)
    labels = np.concatenate([np.arange(9), rng.integers(0, 9, 15)])
    A = rng.standard_normal((m, 24)) + (1j * rng.standard_normal((m, 24)) if is_complex else 0.0)
    live = np.isin(labels, [1, 4])
    b = A[:, live] @ rng.standard_normal(live.sum()) + noise * rng.standard_normal(m)
    return A, b, labels


def value(A: Array, b: Array, lam: Array, labels: Array, groups: Any) -> float:
    """The objective of the refit on some groups."""
    groups = list(groups)
    A_S = A[:, np.isin(labels, groups)]
    r = b - A_S @ np.linalg.lstsq(A_S, b, rcond=None)[0] if A_S.size else b
    return float(0.5 * np.linalg.norm(r) ** 2 + lam[groups].sum())


def lowest(A: Array, b: Array, lam: Array, labels: Array) -> float:
    every = (S for size in range(10) for S in itertools.combinations(range(9), size))
    return min(value(A, b, lam, labels, S) for S in every if np.isfinite(lam[list(S)]).all())


def neighbours(inside: set[int]) -> list[set[int]]:
    out = set(range(9)) - inside
    added, removed = [inside | {g} for g in out], [inside - {i} for i in inside]
    return added + removed + [inside - {i} | {g} for i in inside for g in out]


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_enumerated_optimum_is_found(seed: int, is_complex: bool) -> None:
    A, b, labels = drawn(seed, is_complex=is_complex)
    lam = 0.05 * np.linalg.norm(b) ** 2 * generator(42, seed).uniform(0.3, 1.0, 9)
    if seed % 4 == 3:
        lam[[2, 7]] = 0.0, np.inf
    result = si.solve(A, b, si.GroupL0(lam, groups=labels))
    assert result.success
    assert result.certificate.kind.name == "SWAP_MINIMUM"
    assert result.objective == pytest.approx(lowest(A, b, lam, labels), rel=1e-10)
    whole = {g: set((result.x[np.equal(labels, g)] != 0).tolist()) for g in range(9)}
    assert all(len(seen) == 1 for seen in whole.values())


@pytest.mark.parametrize("seed", range(6))
def test_the_certificate_is_the_best_neighbour(seed: int) -> None:
    """From any point: the largest decrease by a refit on a neighbouring set of groups, this set included."""
    A, b, labels = drawn(10 + seed)
    lam = 0.03 * np.linalg.norm(b) ** 2 * np.ones(9)
    R = si.GroupL0(lam, groups=labels)
    inside = set(generator(43, seed).choice(9, 1 + seed % 3, replace=False).tolist())
    x = np.where(np.isin(labels, list(inside)), generator(44, seed).standard_normal(24), 0.0)
    certificate = si.certify(A, b, R, x)
    best = min(value(A, b, lam, labels, S) for S in [inside, *neighbours(inside)])
    here = 0.5 * np.linalg.norm(A @ x - b) ** 2 + lam[list(inside)].sum()
    assert certificate.kind.name == "SWAP_MINIMUM"
    assert certificate.objective == pytest.approx(here, rel=1e-12)
    assert certificate.value == pytest.approx(here - best, rel=1e-9)


def test_dependent_columns_neither_break_it_nor_count_twice() -> None:
    A, b, labels = drawn(20)
    A[:, 5], A[:, 9] = A[:, 4], 0.0  # across groups, and a column of zeros
    twin = np.flatnonzero(np.equal(labels, labels[12]))[0]
    A[:, 12] = 2.0 * A[:, twin] if twin != 12 else A[:, 12]
    lam = 0.02 * np.linalg.norm(b) ** 2 * np.ones(9)
    result = si.solve(A, b, si.GroupL0(lam, groups=labels))
    assert result.success
    assert result.objective == pytest.approx(lowest(A, b, lam, labels), rel=1e-9)
    wide = si.solve(A[:4], b[:4], si.GroupL0(1e-3, groups=labels))  # groups with more columns than rows
    assert wide.success
    assert wide.objective == pytest.approx(lowest(A[:4], b[:4], np.full(9, 1e-3), labels), rel=1e-6)


@pytest.mark.parametrize("is_complex", [False, True])
def test_groups_wider_than_the_data_and_groups_of_low_rank_come_in(is_complex: bool) -> None:
    """What limits the number of groups is the directions they take up, not how many columns they have."""
    rng = generator(47)
    b = rng.standard_normal(3) + (1j * rng.standard_normal(3) if is_complex else 0.0)
    A = rng.standard_normal((3, 4))
    lam = 0.01 * np.linalg.norm(b) ** 2
    one = si.solve(A, b, si.GroupL0(lam, groups=np.zeros(4, int)))
    assert one.certificate.kind.name == "SWAP_MINIMUM"
    assert one.objective == pytest.approx(lam, rel=1e-9)
    gain = 0.5 * np.linalg.norm(b) ** 2 - lam
    at_zero = si.certify(A, b, si.GroupL0(lam, groups=np.zeros(4, int)), np.zeros(4))
    assert at_zero.value == pytest.approx(gain, rel=1e-6)
    flat = np.kron(np.eye(3), np.ones((1, 3)))  # three groups of three equal columns each, and three rows
    result = si.solve(flat, b, si.GroupL0(0.01 * np.abs(b).min() ** 2, groups=np.arange(9) // 3))
    np.testing.assert_allclose(result.x, np.repeat(b / 3.0, 3), rtol=1e-9)


@pytest.mark.parametrize("size", [1e-4, 1e-6, 1e-8])
def test_directions_that_others_almost_span_count(size: float) -> None:
    """Gram matrices lose them, and with them what a group gains: the certificate must not."""
    A, b, labels = drawn(26)
    pair = np.flatnonzero(np.equal(labels, np.bincount(labels).argmax()))[:2]
    A[:, pair[1]] = A[:, pair[0]] + size * b
    R = si.GroupL0(0.05 * np.linalg.norm(b) ** 2, groups=labels)
    result = si.solve(A, b, R)
    assert result.objective == pytest.approx(R.lam, rel=1e-9)
    at_zero = si.certify(A, b, R, np.zeros(24))
    assert at_zero.value == pytest.approx(0.45 * np.linalg.norm(b) ** 2, rel=1e-3)


def test_columns_far_from_the_origin_beside_an_intercept() -> None:
    A, b, labels = drawn(27)
    R = si.GroupL0(0.03 * np.linalg.norm(b) ** 2, groups=labels)
    near, far = (si.solve(A + offset, b, R, intercept=True) for offset in (0.0, 1e6))
    assert far.success
    np.testing.assert_allclose(far.x, near.x, atol=1e-6)


def test_a_point_in_an_excluded_group_is_not_certified() -> None:
    certificate = si.certify(np.eye(2), np.ones(2), si.GroupL0([np.inf, 0.1], groups=[0, 1]), np.ones(2))
    assert certificate.value == np.inf


@pytest.mark.parametrize(("s", "c"), [(1e9, 1.0), (1e-9, 1.0), (2.0**300, 1.0), (1.0, 1e-150), (1.0, 1e6)])
def test_scales_of_data_and_columns_change_nothing(s: float, c: float) -> None:
    A, b, labels = drawn(21)
    lam = 0.03 * np.linalg.norm(b) ** 2
    x = si.solve(A, b, si.GroupL0(lam, groups=labels)).x
    scaled = si.solve(c * A, s * b, si.GroupL0(lam * s**2, groups=labels)).x
    np.testing.assert_allclose(scaled * (c / s), x, rtol=1e-9)
    lengths = 10.0 ** generator(45).uniform(-4, 4, 24)
    np.testing.assert_allclose(
        si.solve(A * lengths, b, si.GroupL0(lam, groups=labels)).x * lengths, x, rtol=1e-6, atol=1e-9
    )


def test_groups_of_one_are_l0() -> None:
    A, b, _ = drawn(22)
    lam = 0.02 * np.linalg.norm(b) ** 2
    grouped = si.solve(A, b, si.GroupL0(lam, groups=np.arange(24)))
    single = si.solve(A, b, si.L0(lam), solver=si.LocalSearch())
    assert grouped.objective == pytest.approx(single.objective, rel=1e-12)
    top = si.lam_max(A, b, si.GroupL0(groups=np.arange(24)))
    assert top == pytest.approx(si.lam_max(A, b, si.L0()), rel=1e-9)


def test_lam_max_and_paths() -> None:
    A, b, labels = drawn(23)
    R = si.GroupL0(groups=labels)
    top = si.lam_max(A, b, R)
    gains = [value(A, b, np.zeros(9), labels, []) - value(A, b, np.zeros(9), labels, [g]) for g in range(9)]
    assert top == pytest.approx(max(gains), rel=1e-8)
    path = si.solve_path(A, b, R, n_lams=6, ratio=0.05)
    assert path.success
    assert path.lams[0] == pytest.approx(top)
    assert not path[0].x.any()
    for result, lam in zip(path, path.lams, strict=True):
        assert result.objective == pytest.approx(lowest(A, b, np.full(9, lam), labels), rel=1e-8)


def test_intercept_and_batches() -> None:
    A, b, labels = drawn(24)
    R = si.GroupL0(0.03 * np.linalg.norm(b) ** 2, groups=labels)
    result = si.solve(A, b + 50.0, R, intercept=True)
    ones = np.column_stack([A, np.ones(20)])
    lam = np.append(np.full(9, R.lam), 0.0)
    explicit = si.solve(ones, b + 50.0, si.GroupL0(lam, groups=np.append(labels, 9)))
    np.testing.assert_allclose(result.x, explicit.x[:-1], atol=1e-8)
    assert result.intercept == pytest.approx(explicit.x[-1])
    batch = si.solve_many(A, np.stack([b, -b], axis=1), R)
    np.testing.assert_allclose(batch.x[:, 1], -batch.x[:, 0], rtol=1e-9)


def test_operators_and_uneven_groups_go_through_thresholding() -> None:
    from scipy.sparse import csc_array

    A, b, labels = drawn(25)
    R = si.GroupL0(0.03 * np.linalg.norm(b) ** 2, groups=labels)
    exact = si.solve(A, b, R)
    assert si.solve(A, b, R, solver=si.LocalSearch()).objective == pytest.approx(exact.objective, rel=1e-9)
    np.testing.assert_allclose(si.solve(csc_array(A), b, R).x, exact.x, atol=1e-9)
    free = si.solve(Products(A), b, R)
    assert type(free.solver).__name__ == "ISTA"
    assert free.certificate.kind.name == "PROX_STATIONARITY"
    assert free.success
    assert free.objective >= exact.objective * (1 - 1e-9)
    uneven = np.maximum(np.arange(6000) - 40, 0)  # padded to the size of the largest: 240,000 coefficients
    wide = si.solve(np.ones((2, 6000)), np.ones(2), si.GroupL0(0.1, groups=uneven), max_iter=3)
    assert type(wide.solver).__name__ == "ISTA"
    with pytest.raises(ValueError, match="LocalSearch needs groups of about one size and columns"):
        si.solve(Products(A), b, R, solver=si.LocalSearch())


@pytest.mark.parametrize("is_complex", [False, True])
def test_the_default_price_keeps_noise_out(is_complex: bool) -> None:
    found, alone = 0, 0
    for seed in range(12):
        A, b, labels = drawn(30 + seed, is_complex=is_complex, m=60, noise=0.3)
        chosen = si.solve(A, b, si.GroupL0(groups=labels))
        assert "pivotal GroupL1 fit" in chosen.selection.rule
        inside = {g for g in range(9) if chosen.x[np.equal(labels, g)].any()}
        found += {1, 4} <= inside
        alone += inside == {1, 4}
    assert found == 12
    assert alone >= 4  # noise brings in one of seven groups with a probability of about 1 - 1/e at most


def test_a_deadline_ends_with_the_best_so_far() -> None:
    rng = generator(46)
    labels = np.arange(1200) // 4
    A = rng.standard_normal((200, 1200))
    b = A[:, :40] @ rng.standard_normal(40) + 0.1 * rng.standard_normal(200)
    result = si.solve(A, b, si.GroupL0(2.0, groups=labels), max_time=0.5)
    assert result.seconds < 5.0
    assert result.objective < 0.5 * np.linalg.norm(b) ** 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: si.GroupL0(1.0), "groups is missing: GroupL0 needs"),
        (lambda: si.GroupL0(-1.0, groups=[0, 1]), "lam is -1.0"),
        (lambda: si.GroupL0(1.0, groups=[0, 1]).conjugate(np.ones(2)), "certifies nothing"),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.GroupL0(1.0, groups=[0, 1]), solver=si.FISTA()),
            "convex",
        ),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.GroupL0(1.0, groups=[0, 1]), solver=si.Portfolio()),
            "does not treat GroupL0",
        ),
        (
            lambda: si.solve(np.eye(2), np.ones(2), si.GroupL0(1.0, groups=[0, 1]), solver=si.OMP()),
            "does not treat GroupL0",
        ),
    ],
)
def test_bad_input(call: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        call()
