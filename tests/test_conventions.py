"""convert_lam against the objective that each convention documents; scale_penalty against scaled columns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import cvxpy
import numpy as np
import pytest
from scipy.sparse import csc_array

import sparseinv as si
from cases import Products, generator
from sparseinv.selection.conventions import _CONSTRAINED, _CONVENTIONS

Array = np.ndarray[Any, Any]

M, N = 24, 10
RNG = generator(81)
A = RNG.standard_normal((M, N)) * np.linspace(0.5, 2.0, N)
B = 3.0 + A[:, 2] - 2.0 * A[:, 7] + 0.4 * RNG.standard_normal(M)
SIGMA, V = 0.4, 0.137
W = np.linspace(0.5, 2.5, N)
LABELS = np.arange(N) // 2
FACTS: dict[str, Any] = {"b": B, "sigma": SIGMA}


def misfit(x: Array) -> float:
    r = A @ x - B
    return float(r @ r)


def norm(x: Array, power: int) -> float:
    return float((np.abs(x) ** power).sum())


def net(x: Array) -> float:
    return 0.3 * norm(x, 1) + 0.35 * norm(x, 2)


def groups(x: Array) -> float:
    return float(np.sqrt(np.bincount(LABELS, weights=x**2)).sum())


def glmnet(x: Array) -> float:
    return misfit(x) / (2 * M) + V * float((W * N / W.sum() * np.abs(x)).sum())


def glmnet_ridge(x: Array) -> float:
    """alpha = 0: b is divided by its standard deviation inside, and lambda with it."""
    s = np.sqrt(B @ B / M)
    y = x / s
    r = A @ y - B / s
    return float(r @ r) / (2 * M) + V / s * 0.5 * norm(y, 2)


def l0learn(x: Array) -> float:
    """Columns and data of length one."""
    d, size = np.linalg.norm(A, axis=0), np.linalg.norm(B)
    y = x * d / size
    r = (A / d) @ y - B / size
    return 0.5 * float(r @ r) + V * np.count_nonzero(y)


MEAN, MSE = lambda x: misfit(x) / (2 * M), lambda x: misfit(x) / M
L1, L2, L0 = (lambda lam: si.L1(lam)), (lambda lam: si.L2(lam)), (lambda lam: si.L0(lam))
NET = partial(si.ElasticNet, l1_ratio=0.3)
GROUP = partial(si.GroupL1, groups=LABELS)

# what is minimised, as its documentation writes it, and the penalty it is here
OBJECTIVES: list[tuple[str, Callable[[Array], float], Callable[[float], Any]]] = [
    ("sparseinv", lambda x: 0.5 * misfit(x) + V * norm(x, 1), L1),
    ("mean", lambda x: MEAN(x) + V * np.count_nonzero(x), L0),
    ("mean", lambda x: MEAN(x) + V * 0.5 * norm(x, 2), L2),
    ("C", lambda x: V * 0.5 * misfit(x) + norm(x, 1), L1),
    ("C", lambda x: V * 0.5 * misfit(x) + 0.5 * norm(x, 2), L2),
    ("sklearn.Lasso", lambda x: MEAN(x) + V * norm(x, 1), L1),
    ("sklearn.ElasticNet", lambda x: MEAN(x) + V * 0.3 * norm(x, 1) + 0.5 * V * 0.7 * norm(x, 2), NET),
    ("sklearn.Ridge", lambda x: misfit(x) + V * norm(x, 2), L2),
    ("celer", lambda x: MEAN(x) + V * norm(x, 1), L1),
    ("celer", lambda x: MEAN(x) + V * groups(x), GROUP),
    ("skglm", lambda x: MEAN(x) + V * net(x), NET),
    ("skglm", lambda x: MEAN(x) + V * 0.5 * norm(x, 2), L2),
    ("adelie", lambda x: MEAN(x) + V * (0.3 * norm(x, 1) + 0.7 / 2 * norm(x, 2)), NET),
    ("adelie", lambda x: MEAN(x) + V * groups(x), GROUP),
    ("glmnet", glmnet, lambda lam: si.L1(lam, weights=W)),
    ("glmnet.ridge", glmnet_ridge, L2),
    ("pylops", lambda x: misfit(x) + V * norm(x, 1), L1),
    ("pylops", lambda x: misfit(x) + V * np.count_nonzero(x), L0),
    ("damp", lambda x: misfit(x) + V**2 * norm(x, 2), L2),
    ("pyproximal", lambda x: 0.5 * misfit(x) + V / 2 * norm(x, 2), L2),
    ("l0learn", l0learn, L0),
    ("weight_decay", lambda x: MEAN(x) + V / 2 * norm(x, 2), L2),
    ("weight_decay.mse", lambda x: MSE(x) + V / 2 * norm(x, 2), L2),
    ("course", lambda x: MEAN(x) + V / (2 * M) * norm(x, 2), L2),
    ("bayes.gaussian", lambda x: misfit(x) / (2 * SIGMA**2) + norm(x, 2) / (2 * V**2), L2),
    ("bayes.laplace", lambda x: misfit(x) / (2 * SIGMA**2) + norm(x, 1) / V, L1),
]


@pytest.mark.parametrize(("name", "objective", "penalty"), OBJECTIVES)
def test_same_objective_up_to_a_factor(name: str, objective: Any, penalty: Any) -> None:
    """Differences of the one are a fixed multiple of those of the other: they have the same minimisers."""
    fields: dict[str, Any] = {"weights": W} if name == "glmnet" else {}
    R = penalty(si.convert_lam(V, name, "sparseinv", **FACTS, **fields))
    rng = generator(82)
    points = [np.zeros(N), *(rng.standard_normal(N) * (rng.random(N) < 0.6) for _ in range(6))]
    ours = np.array([0.5 * misfit(x) + R.value(x) for x in points])
    theirs = np.array([objective(x) for x in points])
    factor = (theirs[1:] - theirs[0]) / (ours[1:] - ours[0])
    assert factor[0] > 0
    np.testing.assert_allclose(factor, factor[0], rtol=1e-11)


def test_every_convention_is_written_out() -> None:
    assert {name for name, _, _ in OBJECTIVES} == set(_CONVENTIONS)
    doc = si.convert_lam.__doc__ or ""
    assert all(name in doc for name in [*_CONVENTIONS, *_CONSTRAINED])


@pytest.mark.parametrize(
    "name", ["sklearn.Ridge", "glmnet.ridge", "damp", "weight_decay.mse", "bayes.gaussian"]
)
def test_ridges_have_the_same_minimiser(name: str) -> None:
    """The gradient of the documented objective, by differences that are exact for a quadratic, vanishes."""
    objective = next(f for k, f, _ in OBJECTIVES if k == name)
    x = si.solve(A, B, si.L2(si.convert_lam(V, name, "sparseinv", **FACTS)), tol=1e-15).x
    for e in np.eye(N):
        slope, bend = objective(x + e) - objective(x - e), objective(x + e) + objective(x - e)
        assert abs(slope) <= 1e-10 * bend


def test_round_trips() -> None:
    """All pairs that share a penalty, there and back; and by way of a third."""
    pairs = 0
    for first, second in itertools.product(_CONVENTIONS, repeat=2):
        if not _CONVENTIONS[first].penalties & _CONVENTIONS[second].penalties:
            continue
        pairs += 1
        for value in (1e-9, 0.137, 3.0, 1e7):
            there = si.convert_lam(value, first, second, **FACTS, weights=W, intercept=True)
            back = si.convert_lam(there, second, first, **FACTS, weights=W, intercept=True)
            assert back == pytest.approx(value, rel=1e-14)
            own = si.convert_lam(value, first, "sparseinv", **FACTS, weights=W, intercept=True)
            straight = si.convert_lam(own, "sparseinv", second, **FACTS, weights=W, intercept=True)
            assert straight == pytest.approx(there, rel=1e-14)
    assert pairs > 200


def test_values_may_be_arrays_and_ends() -> None:
    lams = si.convert_lam([0.0, 0.1, np.inf], "sklearn.Lasso", "pylops", m=10)
    np.testing.assert_array_equal(lams, [0.0, 2.0, np.inf])
    assert si.convert_lam(0.0, "bayes.laplace", "sparseinv", sigma=1.0) == np.inf
    assert si.convert_lam(np.inf, "bayes.gaussian", "sparseinv", sigma=1.0) == 0.0
    assert isinstance(si.convert_lam(1, "damp", "sparseinv"), float)


def test_glmnet_factors_have_the_mean_one() -> None:
    """All factors 100 are all factors 1, and an infinite one counts as 1."""
    hundred = si.convert_lam(0.1, "glmnet", "sparseinv", m=M, weights=np.full(N, 100.0))
    assert hundred * 100.0 == pytest.approx(si.convert_lam(0.1, "glmnet", "sparseinv", m=M), rel=1e-14)
    lam = si.convert_lam(0.1, "glmnet", "sparseinv", m=M, weights=[3.0, np.inf, 2.0])
    assert lam == pytest.approx(0.1 * M / 2.0)


def test_intercept_centres_the_data() -> None:
    centred = B - B.mean()
    lam = si.convert_lam(V, "l0learn", "sparseinv", b=B, intercept=True)
    assert lam == pytest.approx(V * float(centred @ centred), rel=1e-13)
    ridge = si.convert_lam(V, "glmnet.ridge", "sparseinv", b=B, intercept=True)
    assert ridge == pytest.approx(M * V / B.std(), rel=1e-13)


# --- constraints --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["spgl1.sigma", "spgl1.tau"])
def test_constraints_agree_with_cvxpy(name: str, weighted: bool, is_complex: bool) -> None:
    rng = generator(83)
    C, b = A, B
    if is_complex:
        C, b = A + 1j * rng.standard_normal((M, N)), B + 1j * rng.standard_normal(M)
    w = W if weighted else np.ones(N)
    x = cvxpy.Variable(N, complex=is_complex)
    length, r = cvxpy.sum(cvxpy.multiply(w, cvxpy.abs(x))), cvxpy.norm(C @ x - b)
    value = 0.6 * np.linalg.norm(b) if name == "spgl1.sigma" else 1.3
    problem = (cvxpy.Minimize(length), [r <= value]) if name == "spgl1.sigma" else (
        cvxpy.Minimize(r), [length <= value]
    )  # fmt: skip
    cvxpy.Problem(*problem).solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    lam = si.convert_lam(value, name, "sparseinv", A=C, b=b, weights=w)
    found = si.solve(C, b, si.L1(lam, weights=w), tol=1e-14).x
    np.testing.assert_allclose(found, x.value, atol=1e-4 * np.abs(found).max())
    reached = np.linalg.norm(C @ found - b) if name == "spgl1.sigma" else float((w * np.abs(found)).sum())
    assert reached == pytest.approx(value, rel=1e-10)
    back = si.convert_lam(lam, "sparseinv", name, A=C, b=b, weights=w)
    assert back == pytest.approx(value, rel=1e-10)
    assert si.convert_lam(value, name, "sklearn.Lasso", A=C, b=b, weights=w) == pytest.approx(
        lam / M, rel=1e-9
    )


def test_constraints_at_their_ends() -> None:
    top = si.lam_max(A, B, si.L1())
    assert si.convert_lam(np.linalg.norm(B), "spgl1.sigma", "sparseinv", A=A, b=B) == top
    assert si.convert_lam(0.0, "spgl1.tau", "sparseinv", A=A, b=B) == top
    assert si.convert_lam(2 * top, "sparseinv", "spgl1.tau", A=A, b=B) == 0.0
    least = np.linalg.norm(B - A @ np.linalg.lstsq(A, B, rcond=None)[0])
    with pytest.raises(ValueError, match="no lam down to 1e-10 lam_max fits b so closely"):
        si.convert_lam(0.99 * least, "spgl1.sigma", "sparseinv", A=A, b=B)
    with pytest.raises(ValueError, match="reaches so large a norm"):
        si.convert_lam(1e6, "spgl1.tau", "sparseinv", A=A, b=B)


@pytest.mark.parametrize(
    ("arguments", "fields", "words"),
    [
        ((1.0, "lasso", "mean"), {}, "from_ is 'lasso', but one of these is needed: sparseinv, mean, C"),
        ((1.0, "mean", None), {}, "to is None"),
        ((1.0, "sklearn.Lasso", "sklearn.Ridge"), {}, "a lam of L2, but 'sklearn.Lasso' is one of L1"),
        ((1.0, "celer", "sparseinv"), {}, "m is missing: this conversion multiplies by the number of rows"),
        ((1.0, "l0learn", "sparseinv"), {"m": 3}, "b is missing"),
        ((1.0, "l0learn", "sparseinv"), {"b": [2.0, 2.0], "intercept": True}, "b is zero \\(or constant"),
        ((1.0, "bayes.laplace", "sparseinv"), {}, "sigma is missing"),
        ((1.0, "spgl1.sigma", "sparseinv"), {}, "A and b are missing"),
        (([1.0, 2.0], "spgl1.sigma", "sparseinv"), {"A": A, "b": B}, "spgl1 has one constraint"),
        ((-1.0, "mean", "C"), {"m": 3}, "value is -1.0, but it must be >= 0"),
        ((None, "mean", "C"), {"m": 3}, "value is None"),
        ((1.0, "mean", "C"), {"m": 3, "b": B}, "m is 3, but b has 24 entries"),
        ((1.0, "glmnet", "sparseinv"), {"m": 3, "weights": [0.0, 0.0]}, "weights are all zero"),
    ],
)
def test_convert_refuses(arguments: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        si.convert_lam(*arguments, **fields)


# --- normalised columns and mean losses as weights ----------------------------------------------------


def divided(kind: str, matrix: Array) -> Array:
    d = np.linalg.norm(matrix, axis=0) if kind == "columns" else np.sqrt(np.var(matrix, axis=0))
    return np.where(d > 0, d, 1.0)


@pytest.mark.parametrize("kind", ["columns", "std"])
@pytest.mark.parametrize("name", ["L1", "L2", "L0", "ElasticNet", "L0L1", "L0L2"])
@pytest.mark.parametrize("is_complex", [False, True])
def test_normalised_columns_are_weights(name: str, kind: str, is_complex: bool) -> None:
    """Divided columns and the plain penalty are A and scale_penalty, with lengths a thousand times apart."""
    rng = generator(84)
    C = (A + 1j * rng.standard_normal((M, N)) if is_complex else A) * 10.0 ** rng.uniform(-1.5, 1.5, N)
    d, w = divided(kind, C), np.linspace(1.0, 2.0, N)
    w[3] = 0.0
    penalty: Any = {
        "L1": si.L1(0.3, weights=w),
        "L2": si.L2(0.3, weights=w),
        "L0": si.L0(0.1, weights=w),
        "ElasticNet": si.ElasticNet(0.4, l1_ratio=0.6, weights=w),
        "L0L1": si.L0(0.1, weights=w, l1=0.2),
        "L0L2": si.L0(0.1, weights=w, l2=0.2),
    }[name]
    scaled = si.scale_penalty(C, penalty, normalize=kind)
    assert scaled.lam == penalty.lam
    x = rng.standard_normal(N)
    assert scaled.value(x) == pytest.approx(penalty.value(x * d), rel=1e-13)
    if name in ("L1", "L2", "ElasticNet"):
        y = si.solve(C / d, B, penalty, tol=1e-15).x
        found = si.solve(C, B, scaled, tol=1e-15).x
        np.testing.assert_allclose(found * d, y, atol=1e-7 * np.abs(y).max())
        assert si.lam_max(C, B, scaled) == pytest.approx(si.lam_max(C / d, B, penalty), rel=1e-9)


@pytest.mark.parametrize("form", ["csc", "operator", "huge"])
@pytest.mark.parametrize("kind", ["columns", "std"])
def test_lengths_of_any_container(kind: str, form: str) -> None:
    rng = generator(85)
    C = A * (rng.random(A.shape) < 0.7) + 100.0 * (np.arange(N) == 3)
    C[:, 5], C[:, 6] = 0.0, 1e3
    C[:, 8] = 1e6 + 1e-3 * rng.standard_normal(M)
    passed: Any = {"csc": csc_array(C), "operator": Products(C), "huge": np.ldexp(C, 500)}[form]
    expected = np.linalg.norm(C, axis=0) if kind == "columns" else np.sqrt(np.var(C, axis=0))
    expected[5] = 1.0
    if form == "huge":
        expected = np.ldexp(expected, 500)
        expected[5] = 1.0
    if kind == "std":
        expected[6] = 1.0
    weights = si.scale_penalty(passed, si.L1(1.0), normalize=kind).weights
    np.testing.assert_allclose(weights, expected, rtol=1e-9)


def test_std_and_an_intercept_are_standardised_columns() -> None:
    """With a free column of ones means do not matter: lam of standardised, coefficients of raw columns."""
    C = A + np.linspace(-5, 5, N)
    ones = np.column_stack([C, np.ones(M)])
    w = np.append(np.ones(N), 0.0)
    raw = si.solve(ones, B, si.scale_penalty(ones, si.L1(0.05, weights=w), scaling="mean", normalize="std"),
                   tol=1e-15).x  # fmt: skip
    z = (C - C.mean(axis=0)) / C.std(axis=0)
    y = si.solve(z, B - B.mean(), si.L1(0.05 * M), tol=1e-15).x
    np.testing.assert_allclose(raw[:N] * C.std(axis=0), y, atol=1e-7)


def test_scaled_penalties_follow_paths_and_groups() -> None:
    mean = si.scale_penalty(A, si.L1(), scaling="mean")
    assert mean.lam is None
    path = si.solve_path(A, B, mean, lams=[0.3, 0.1])
    np.testing.assert_array_equal(path.lams, [0.3, 0.1])
    np.testing.assert_allclose(path.X[:, 1], si.solve(A, B, si.L1(0.1 * M)).x, atol=1e-6)
    tied = si.L2([0.5, 2.0], groups=np.arange(N) % 2, weights=[1.0, 3.0])
    scaled = si.scale_penalty(A, tied, normalize="columns")
    x = RNG.standard_normal(N)
    assert scaled.value(x) == pytest.approx(tied.value(x * np.linalg.norm(A, axis=0)), rel=1e-13)
    same = A / np.linalg.norm(A, axis=0) * np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 2)
    grouped = si.scale_penalty(same, si.GroupL1(0.5, groups=LABELS), normalize="columns", scaling="mean")
    np.testing.assert_allclose(grouped.weights, M * np.arange(1.0, 6.0), rtol=1e-13)
    assert si.scale_penalty(A, si.L0(0.1), normalize="columns").weights is None
    assert si.scale_penalty(A, si.L0Ball(3), scaling="mean", normalize="std").k == 3
    excluded = si.scale_penalty(
        A, si.ElasticNet(1.0, weights=np.where(W > 2, np.inf, 1.0)), normalize="columns"
    )
    assert not si.solve(A, B, excluded).x[W > 2].any()
    assert not si.solve_path(A, B, excluded, lams=[1.0, 0.0]).X[W > 2].any()


@pytest.mark.parametrize(
    ("penalty", "fields", "words"),
    [
        (si.L1(1.0), {"scaling": "half"}, "scaling is 'half', but one of 'sum', 'mean' is needed"),
        (si.L1(1.0), {"normalize": True}, "normalize is True, but one of 'none', 'columns', 'std' is needed"),
        (si.GroupL1(1.0, groups=LABELS), {"normalize": "columns"}, "group 0 holds columns of lengths"),
        ("L1", {}, "penalty is 'L1', but L0, L1, L2"),
        (si.L1, {}, "penalty is the class L1"),
        (si.L1([1.0, 2.0]), {}, "lam has 2 entries"),
    ],
)
def test_scaling_refuses(penalty: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        si.scale_penalty(A, penalty, **fields)


@pytest.mark.parametrize("m", [3, 10, 49])
@pytest.mark.parametrize("name", ["l0learn", "glmnet.ridge"])
def test_constant_data_have_no_size_with_an_intercept_whatever_rounding_leaves_of_them(name, m):
    with pytest.raises(ValueError, match="constant, with an intercept"):
        si.convert_lam(1.0, name, "sparseinv", b=np.full(m, 0.1), intercept=True)
    with pytest.raises(TypeError, match="True or False"):
        si.convert_lam(1.0, name, "sparseinv", b=np.arange(m) * 1.0, intercept="yes")
