"""Message passing: the prior against integrals, what it recovers, what it must not depend on."""

import dataclasses

import numpy as np
import pytest

import cases
import sparseinv as si
from reference import plain
from sparseinv.solvers.message_passing import Prior


def instance(seed, m, n, k, coef="gauss", noise=0.0, is_complex=False):
    """Return (A, b, truth) with a Gaussian A and k non-zeros."""
    rng = cases.generator(71, seed)
    A, x = rng.standard_normal((m, n)), np.zeros(n)
    at = rng.permutation(n)[:k]
    x[at] = rng.standard_normal(k) if coef == "gauss" else rng.choice([-1.0, 1.0], k)
    if is_complex:
        A, x = A + 1j * rng.standard_normal((m, n)), x * np.exp(2j * np.pi * rng.random(n))
    b = A @ x
    b = b + noise * np.linalg.norm(b) / np.sqrt(m) * rng.standard_normal(m)
    return A, b, x


def nmse(x, truth):
    return float(np.linalg.norm(x - truth) ** 2 / np.linalg.norm(truth) ** 2)


def tiny(b):
    return si.L0(1e-8 * 0.5 * float(np.linalg.norm(b)) ** 2 / b.size)


def integrated(r, v, share, centre, spread, is_complex):
    """Return (probability of a non-zero, mean, E|x|^2) of one coefficient by sums over a grid of x."""
    t = np.linspace(-9.0, 9.0, 721)
    if not is_complex:
        x, cell = t, t[1] - t[0]
        both = np.exp(-((x - centre) ** 2) / (2 * spread)) + np.exp(-((x + centre) ** 2) / (2 * spread))
        density = both / np.sqrt(8 * np.pi * spread)

        def noise(d):
            return np.exp(-(np.abs(d) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
    else:
        x, cell = (t[:, None] + 1j * t[None, :]).ravel(), (t[1] - t[0]) ** 2
        turns = centre * np.exp(2j * np.pi * np.arange(60) / 60)
        density = sum(np.exp(-(np.abs(x - c) ** 2) / spread) for c in turns) / (60 * np.pi * spread)

        def noise(d):
            return np.exp(-(np.abs(d) ** 2) / v) / (np.pi * v)

    joint = share * density * noise(r - x) * cell
    zero = (1 - share) * noise(r)
    total = joint.sum() + zero
    return joint.sum() / total, (joint * x).sum() / total, (joint * np.abs(x) ** 2).sum() / total


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("equal", [False, True])
def test_the_posterior_is_that_of_integrals(equal, is_complex):
    prior = Prior(0.3, 1.5, equal=equal, is_complex=is_complex, most=0.9)
    if equal:
        prior.centre, prior.spread = 1.1, 0.3
    before = (prior.share, prior.centre, prior.spread)
    r = np.array([0.0, 0.2, -0.9, 1.3, -2.5])
    if is_complex:
        r = r * np.exp(1j * np.arange(5))
    v = 0.4
    mean, variance, inside = prior.posterior(r, v)
    truth = [integrated(each, v, *before, is_complex) for each in r]
    np.testing.assert_allclose(inside, [t[0] for t in truth], rtol=1e-6)
    np.testing.assert_allclose(mean, [t[1] for t in truth], rtol=1e-6, atol=1e-9)
    spread = np.mean([t[2] - abs(t[1]) ** 2 for t in truth])
    assert variance == pytest.approx(spread, rel=1e-6)
    # expectation-maximisation never lowers the likelihood of r under prior and noise
    again = Prior(0.3, 1.5, equal=equal, is_complex=is_complex, most=0.9)
    again.share, again.centre, again.spread = before

    def likelihood(p):
        weight = 1.0 if is_complex else 0.5
        zero = [(1 - p.share) * np.exp(-weight * abs(each) ** 2 / v) / v ** (2 * weight / 2) for each in r]
        odds = np.array([integrated(each, v, p.share, p.centre, p.spread, is_complex)[0] for each in r])
        return float(np.log(np.array(zero) / (1 - odds)).sum())

    assert likelihood(prior) >= likelihood(again) - 1e-9


@pytest.mark.parametrize(
    ("coef", "rho", "is_complex"),
    [("gauss", 0.5, False), ("signs", 0.36, False), ("gauss", 0.55, True), ("signs", 0.45, True)],
)
def test_recovers_what_was_planted(coef, rho, is_complex):
    wins = 0
    for seed in range(6):
        A, b, truth = instance(seed, 100, 200, round(100 * rho), coef, is_complex=is_complex)
        wins += nmse(si.solve(A, b, tiny(b), solver=si.MessagePassing()).x, truth) < 1e-4
    assert wins >= 4


def test_priors_are_for_different_coefficients():
    wins = {"spread": 0, "equal": 0}
    for seed in range(6):
        A, b, truth = instance(seed, 100, 200, 40, "signs")
        for moduli in wins:
            result = si.solve(A, b, tiny(b), solver=si.MessagePassing(moduli=moduli))
            wins[moduli] += nmse(result.x, truth) < 1e-4
    assert wins["equal"] >= wins["spread"] + 2


def test_noise_is_told_from_coefficients():
    A, b, truth = instance(3, 80, 160, 8, "signs", noise=0.1)
    sigma2 = 0.01 * np.linalg.norm(A @ truth) ** 2 / 80
    result = si.solve(A, b, si.L0(sigma2 * np.log(160)), solver=si.MessagePassing())
    np.testing.assert_array_equal(result.support, np.flatnonzero(truth))
    assert result.success


@pytest.mark.parametrize("shape", [(60, 30), (30, 60), (40, 40)])
def test_shapes_weights_and_scales_of_columns(shape):
    m, n = shape
    rng = cases.generator(72, m)
    A = rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-2, 2, n)
    A[:, 5] = A[:, 4]  # dependent columns
    truth = np.zeros(n)
    truth[[1, 7, 20]] = np.array([1.0, -2.0, 1.5]) / np.linalg.norm(A[:, [1, 7, 20]], axis=0)
    truth[9] = 3.0
    b = A @ truth
    level = np.full(n, 1e-9 * np.linalg.norm(b) ** 2)
    level[9], level[11] = 0.0, np.inf
    result = si.solve(A, b, si.L0(level), solver=si.MessagePassing())
    np.testing.assert_array_equal(result.support, [1, 7, 9, 20])
    assert plain(A, b, l0=level).objective(result.x) == pytest.approx(result.objective, rel=1e-9)


def test_nothing_to_explain():
    A = cases.generator(73).standard_normal((10, 20))
    for b, level in ((np.zeros(10), 1.0), (A[:, 0], 1e9), (np.zeros(10), np.r_[0.0, np.ones(19)])):
        result = si.solve(A, b, si.L0(level), solver=si.MessagePassing())
        assert not result.x.any()
        assert result.success


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: si.MessagePassing(moduli="some"), ValueError, ["moduli", "spread, equal"]),
        (lambda: si.MessagePassing(damping=0.0), ValueError, ["damping", "(0, 1]"]),
        (lambda: si.MessagePassing(damping="x"), TypeError, ["damping"]),
        (lambda: si.MessagePassing(polish="cd"), TypeError, ["polish"]),
    ],
)
def test_refused_settings(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("penalty", "wrap", "words"),
    [
        (si.L1(1.0), np.asarray, "needs an L0 penalty"),
        (si.L0(1.0, nonnegative=True), np.asarray, "nonnegative=True"),
        (si.L0(1.0), cases.Products, "columns of A in memory"),
    ],
)
def test_refused_problems(penalty, wrap, words):
    A, b, _ = instance(9, 10, 20, 2)
    with pytest.raises(ValueError, match=words):
        si.solve(wrap(A), b, penalty, solver=si.MessagePassing())


def test_bits_are_the_same_twice_and_fields_can_be_replaced():
    A, b, _ = instance(4, 40, 80, 25)
    first, second = (si.solve(A, b, tiny(b), solver=si.MessagePassing()).x for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert repr(dataclasses.replace(si.MessagePassing(), moduli="equal")) == "MessagePassing(moduli='equal')"
