"""Penalties by themselves: value, prox, conjugate, levels, traits, and the words of their refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import sparseinv as si
from cases import generator
from sparseinv.kernels import descent

Array = np.ndarray[Any, Any]

N = 6
LABELS = np.array([2, 0, 2, 1, 0, 0])


# --- what hypothesis draws ----------------------------------------------------------------------------

NUMBER = st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda v: 0.0 if abs(v) < 1e-6 else v)
LEVEL = st.one_of(st.just(0.0), st.floats(1e-4, 1e2), st.just(np.inf))
STEP = st.floats(1e-3, 1e3)


def vectors(n: int = N, *, is_complex: bool = False) -> st.SearchStrategy[Array]:
    real = arrays(np.float64, n, elements=NUMBER)
    return st.builds(lambda a, b: a + 1j * b, real, real) if is_complex else real


ANY = st.booleans().flatmap(lambda c: vectors(is_complex=c))
LEVELS = st.one_of(LEVEL, arrays(np.float64, N, elements=LEVEL))
GROUP_LEVELS = st.one_of(LEVEL, arrays(np.float64, 3, elements=LEVEL))


@st.composite
def penalties(draw: Any, *, signed: bool = True) -> Any:
    """Draw a built-in penalty of N coefficients, by number, vector, groups, weights."""
    make = draw(st.sampled_from([si.L1, si.L2, si.L0, si.ElasticNet, si.GroupL1]))
    if make is si.GroupL1:
        return make(draw(GROUP_LEVELS), groups=LABELS)
    options: dict[str, Any] = {}
    if make is si.ElasticNet:
        options["l1_ratio"] = draw(st.floats(0.05, 1.0))
    if signed and draw(st.booleans()):
        options["nonnegative"] = True
    if draw(st.booleans()):
        return make(draw(GROUP_LEVELS), groups=LABELS, **options)
    if draw(st.booleans()):
        options["weights"] = draw(arrays(np.float64, N, elements=st.floats(0.1, 10.0)))
    return make(draw(LEVELS), **options)


def suited(penalty: Any, x: Array) -> Array:
    """Return x where R is finite: real and >= 0 under a sign constraint, zero where excluded."""
    bound = penalty.bind(N)
    x = np.abs(x) if bound.nonnegative else x
    return np.where(bound.excluded, 0.0, x)


def inner(u: Array, v: Array) -> float:
    return float(np.vdot(u, v).real)


# --- value and prox -----------------------------------------------------------------------------------


def plain_value(penalty: Any, x: Array) -> float:
    """Return R(x) from the definitions, one coefficient at a time."""
    lam = np.broadcast_to(np.asarray(penalty.lam, dtype=float), (N,) if penalty.groups is None else (3,))
    weights = 1.0 if penalty.weights is None else np.asarray(penalty.weights)
    if isinstance(penalty, si.GroupL1):
        total = 0.0
        for k, level in enumerate(lam * weights):
            size = np.linalg.norm(x[k == LABELS])
            total += level * size if size > 0 else 0.0
        return total
    lam = (lam if penalty.groups is None else lam[LABELS]) * weights
    total = 0.0
    for level, v in zip(lam, x, strict=True):
        if v == 0:
            continue
        if penalty.nonnegative and v.real < 0:
            return np.inf
        if isinstance(penalty, si.L1):
            total += level * abs(v)
        elif isinstance(penalty, si.L2):
            total += level * abs(v) ** 2 / 2
        elif isinstance(penalty, si.L0):
            total += level
        else:
            total += level * (penalty.l1_ratio * abs(v) + (1 - penalty.l1_ratio) * abs(v) ** 2 / 2)
    return float(total)


@given(penalties(), ANY)
def test_value(penalty: Any, x: Array) -> None:
    if getattr(penalty, "nonnegative", False):
        x = x.real
    assert penalty.value(x) == pytest.approx(plain_value(penalty, x), rel=1e-12)
    assert penalty.value(np.zeros(N)) == 0.0


@given(penalties(), ANY, STEP, st.integers(0, 2**32 - 1))
def test_prox_minimises(penalty: Any, v: Array, step: float, seed: int) -> None:
    """No other point does better: neither a grid along v, nor zero, nor random neighbours."""
    if getattr(penalty, "nonnegative", False):
        v = v.real
    y = penalty.prox(v, step)
    bound = penalty.bind(N)

    def cost(x: Array) -> float:
        return 0.5 * float((np.abs(x - v) ** 2).sum()) + step * bound.value(x)

    best = cost(y)
    assert np.isfinite(best)
    slack = 1e-9 * (float((np.abs(v) ** 2).sum()) + best) + 1e-12
    rng = np.random.default_rng(seed)
    for t in np.linspace(0.0, 1.1, 12):
        assert best <= cost(suited(penalty, t * v)) + slack
    blocks = [np.arange(N) == j for j in range(N)]
    if isinstance(penalty, si.GroupL1):
        blocks = [k == LABELS for k in range(3)]
    for block in blocks:
        for t in (0.0, 0.3, 0.9, 0.999, 1.001, 1.5):
            assert best <= cost(np.where(block, t * y, y)) + slack
            assert best <= cost(suited(penalty, np.where(block, t * v, y))) + slack
    for size in (1e-4, 1e-2, 1.0):
        e = size * rng.standard_normal(N)
        e = e + 1j * size * rng.standard_normal(N) if np.iscomplexobj(v) else e
        assert best <= cost(suited(penalty, y + e)) + slack


@given(penalties(), ANY, STEP)
def test_prox_keeps_the_phase(penalty: Any, v: Array, step: float) -> None:
    """A complex coefficient shrinks along its own direction, a sign never turns."""
    if getattr(penalty, "nonnegative", False):
        v = v.real
    y = penalty.prox(v, step)
    assert y.dtype == v.dtype
    along = (np.conj(v) * y).real
    np.testing.assert_allclose(along, np.abs(v) * np.abs(y), rtol=1e-12, atol=1e-300)
    assert (np.abs(y) <= np.abs(v) * (1 + 1e-15)).all()


@given(penalties(), ANY, STEP)
def test_zero_level_is_the_identity_and_infinite_level_is_zero(penalty: Any, v: Array, step: float) -> None:
    bound = penalty.bind(N)
    if bound.nonnegative:
        v = v.real
    y = bound.prox(v, step)
    free = bound.unpenalised
    kept = np.maximum(v.real, 0.0) if bound.nonnegative else v
    np.testing.assert_allclose(y[free], kept[free], rtol=1e-15)
    assert (y[bound.excluded] == 0).all()


@given(penalties(signed=False), ANY, ANY, STEP)
def test_convex_prox_is_firmly_nonexpansive(penalty: Any, u: Array, v: Array, step: float) -> None:
    bound = penalty.bind(N)
    if not bound.convex:
        return
    p, q = bound.prox(u, step), bound.prox(v, step)
    moved = float((np.abs(p - q) ** 2).sum())
    assert moved <= inner(p - q, u - v) + 1e-9 * (1.0 + float((np.abs(u - v) ** 2).sum()))


@given(penalties(), ANY, STEP)
def test_kernels_agree(penalty: Any, v: Array, step: float) -> None:
    """The compiled prox and value are those of the class."""
    bound = penalty.bind(N)
    if bound.nonnegative:
        v = v.real
    g = np.linspace(-1.0, 1.0, N).astype(v.dtype)
    out = np.empty_like(v)
    descent.forward_backward(bound.terms, np.ascontiguousarray(v), g, step, out)
    expected = bound.prox(v - step * g, step)
    np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-14 * np.abs(v - step * g).max(initial=0.0))
    x = suited(penalty, np.ascontiguousarray(v))
    assert descent.penalty_value(bound.terms, x) == pytest.approx(bound.value(x), rel=1e-13)


# --- conjugate and Fenchel-Young ----------------------------------------------------------------------


def convex_only(penalty: Any) -> bool:
    return bool(penalty.bind(N).convex)


@given(penalties(), ANY, ANY)
def test_fenchel_young(penalty: Any, x: Array, u: Array) -> None:
    """R(x) + R*(u) >= Re <x, u>."""
    if not convex_only(penalty):
        return
    bound = penalty.bind(N)
    if bound.nonnegative:
        x, u = x.real, u.real
    x = suited(penalty, x)
    conjugate = bound.conjugate(u)
    assert conjugate >= 0.0
    total = bound.value(x) + conjugate - inner(x, u)
    assert total >= -1e-12 * (1.0 + float(np.abs(x) @ np.abs(u)))


@given(penalties(), ANY, STEP)
def test_fenchel_young_is_tight_at_the_prox(penalty: Any, v: Array, step: float) -> None:
    """(v - prox(v)) / step is a subgradient at prox(v), where the inequality is an equality."""
    bound = penalty.bind(N)
    if not bound.convex:
        return
    if bound.nonnegative:
        v = v.real
    x = bound.prox(v, step)
    u = (v - x) / step
    live = ~bound.excluded
    coupling = float((np.conj(x[live]) * u[live]).real.sum())
    size = 1.0 + float(np.abs(x) @ np.abs(u)) + bound.value(x)
    # rounding may carry u a hair over the edge of the dual set
    conjugate = bound.conjugate(np.where(live & ~bound.unpenalised, u * (1 - 1e-5), 0.0))
    assert bound.value(x) + conjugate == pytest.approx(coupling, rel=1e-4, abs=1e-4 * size)
    assert bound.fenchel_young(x, u) <= 1e-9 * size * max(1.0, float(np.abs(v).max(initial=0.0)))


@given(penalties(), ANY, ANY)
def test_fenchel_young_terms(penalty: Any, x: Array, c: Array) -> None:
    """The sum that certificates use is R(x) + R*(c) - Re <x, c> for feasible c, and never negative."""
    bound = penalty.bind(N)
    if not bound.convex:
        return
    if bound.nonnegative:
        x, c = x.real, c.real
    x = suited(penalty, x)
    c = np.where(bound.unpenalised, 0.0, c)
    s = bound.best_scale(c, 1.0, 1e-6)
    c = (1.0 - 1e-12) * s * c
    value = bound.fenchel_young(x, c)
    assert value >= 0.0
    expected = bound.value(x) + bound.conjugate(c) - float((np.conj(x) * c).real[~bound.excluded].sum())
    size = 1.0 + float(np.abs(x) @ np.abs(c)) + bound.value(x)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9 * size)


@given(penalties(signed=False), vectors())
def test_conjugate_is_a_supremum(penalty: Any, u: Array) -> None:
    bound = penalty.bind(N)
    if not bound.convex:
        return
    conjugate = bound.conjugate(u)
    live = ~bound.excluded
    best = 0.0
    for scale in np.geomspace(1e-3, 1e9, 60):
        x = np.where(live, scale * u, 0.0)
        best = max(best, inner(x, u) - bound.value(x))
    assert best <= conjugate * (1 + 1e-12) + 1e-9
    if isinstance(penalty, si.L2) and np.isfinite(conjugate) and not bound.unpenalised.any():
        exact = sum(u[j] ** 2 / (2 * bound.l2[j]) for j in np.flatnonzero(live))
        assert conjugate == pytest.approx(exact, rel=1e-12)


@given(penalties(signed=False), vectors(), st.floats(0.01, 1e3), st.floats(0.01, 1e3))
def test_best_scale_is_best(penalty: Any, c: Array, correlation: float, square: float) -> None:
    """No other multiple of the vector has a larger dual value."""
    bound = penalty.bind(N)
    if not bound.convex:
        return
    c = np.where(bound.unpenalised, 0.0, c)
    s = bound.best_scale(c, correlation, square)

    def dual(t: float) -> float:
        # at the edge of the dual set rounding decides, so look from just inside
        return t * correlation - 0.5 * t * t * square - bound.conjugate(t * c * (1.0 - 1e-12))

    assert s >= 0.0
    best = dual(s)
    for t in [0.0, *(s * np.array([0.5, 0.9, 0.99, 1.01, 1.1, 2.0]))]:
        assert dual(t) <= best + 1e-9 * (1.0 + abs(best))
    assert bound.best_scale(c, -1.0, square) == 0.0


def test_conjugate_of_l0_is_refused() -> None:
    with pytest.raises(ValueError, match="conjugate of a nonconvex penalty certifies nothing"):
        si.L0(1.0).conjugate(np.ones(3))


# --- levels: numbers, vectors, groups, weights --------------------------------------------------------


@given(st.sampled_from([si.L1, si.L2, si.L0, si.ElasticNet]), LEVEL, ANY, STEP)
def test_scalar_is_constant_vector(make: Any, lam: float, v: Array, step: float) -> None:
    """Bit for bit, as do one group and unit weights."""
    one = make(lam)
    others = [
        make(np.full(N, lam)),
        make([lam], groups=["all"] * N),
        make(lam, weights=np.ones(N)),
        make(lam, weights=1.0),
        make(np.full(3, lam), groups=LABELS),
        make(np.full(N, lam)).replace(weights=1.0),
    ]
    for other in others:
        assert (other.prox(v, step) == one.prox(v, step)).all()
        assert other.value(v) == one.value(v)


def test_group_levels_follow_sorted_labels() -> None:
    """lam[k] belongs to numpy.unique(groups)[k], whatever the labels are."""
    expected = np.array([30.0, 10.0, 30.0, 20.0, 10.0, 10.0])
    for labels in (LABELS, LABELS - 7, LABELS * 0.5, np.array(["c", "a", "c", "b", "a", "a"]), list(LABELS)):
        assert (si.L1([10.0, 20.0, 30.0], groups=labels).bind(N).l1 == expected).all()
        assert (si.L2([10.0, 20.0, 30.0], groups=labels).bind(N).l2 == expected).all()
        assert (si.L0([10.0, 20.0, 30.0], groups=labels).bind(N).l0 == expected).all()
        assert (si.GroupL1([10.0, 20.0, 30.0], groups=labels).bind(N).level == expected).all()
    booleans = LABELS > 0
    assert (si.L1([1.0, 2.0], groups=booleans).bind(N).l1 == 1.0 + booleans).all()


def test_weights_multiply_and_are_never_rescaled() -> None:
    weights = np.array([1.0, 2.0, 0.0, 4.0, np.inf, 0.5])
    assert (si.L1(3.0, weights=weights).bind(N).l1 == 3.0 * weights).all()
    tied = si.L1([10.0, 20.0, 30.0], groups=LABELS, weights=np.arange(1.0, 7.0)).bind(N)
    assert (tied.l1 == np.array([30.0, 20.0, 90.0, 80.0, 50.0, 60.0])).all()
    per_group = si.L1([10.0, 20.0, 30.0], groups=LABELS, weights=[1.0, 2.0, 3.0]).bind(N)
    assert (per_group.l1 == np.array([90.0, 10.0, 90.0, 40.0, 10.0, 10.0])).all()
    blocks = si.GroupL1(2.0, groups=LABELS, weights=[1.0, 2.0, 3.0]).bind(N)
    assert (blocks.lam == np.array([2.0, 4.0, 6.0])).all()
    assert (si.L1(weights=weights).bind(N).l1 == weights).all(), "lam = None counts as 1"


def test_group_norms_have_no_hidden_factor() -> None:
    x = np.array([3.0, 0.0, 4.0, 1.0, 0.0, 0.0])
    assert si.GroupL1(1.0, groups=LABELS).value(x) == 6.0
    assert si.GroupL1([1.0, 2.0, 10.0], groups=LABELS).value(x) == 52.0
    single = si.GroupL1(np.arange(1.0, 7.0), groups=np.arange(N))
    assert single.value(x) == si.L1(np.arange(1.0, 7.0)).value(x)


def test_elastic_net_splits_its_level() -> None:
    bound = si.ElasticNet([2.0, np.inf, 0.0], l1_ratio=0.25).bind(3)
    assert bound.l1.tolist() == [0.5, np.inf, 0.0]
    assert bound.l2.tolist() == [1.5, 0.0, 0.0]
    assert bound.excluded.tolist() == [False, True, False]
    assert bound.unpenalised.tolist() == [False, False, True]


def test_what_the_user_passed_is_not_kept_by_reference() -> None:
    lam, groups = np.ones(N), LABELS.copy()
    penalty = si.GroupL1([1.0, 2.0, 3.0], groups=groups)
    separable = si.L1(lam)
    lam[:], groups[:] = 7.0, 0
    assert (separable.bind(N).l1 == 1.0).all()
    assert (penalty.bind(N).level == np.array([3.0, 1.0, 3.0, 2.0, 1.0, 1.0])).all()
    for array in (separable.lam, penalty.groups):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5
    with pytest.raises(AttributeError):
        separable.lam = 2.0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: si.L1(-1.0),
            ValueError,
            r"lam is -1.0, but it must be >= 0 \(0 leaves a coefficient unpenal",
        ),
        (lambda: si.L1([1.0, -2.0]), ValueError, r"lam\[1\] is -2.0"),
        (lambda: si.L2(np.nan), ValueError, "lam is nan"),
        (lambda: si.L0([np.nan, 1.0]), ValueError, r"lam\[0\] is nan"),
        (lambda: si.L1(1j), TypeError, "lam is complex"),
        (lambda: si.L1("big"), TypeError, "lam has dtype"),
        (lambda: si.L1(np.ones((2, 2))), ValueError, r"lam has shape \(2, 2\)"),
        (lambda: si.L1(1.0, weights=[-1.0, 1.0]), ValueError, r"weights\[0\] is -1.0"),
        (lambda: si.L1([1.0, 2.0]).bind(3), ValueError, "lam has 2 entries, but there are 3 coefficients"),
        (
            lambda: si.L1(1.0, weights=[1.0, 2.0]).bind(3),
            ValueError,
            "weights has 2 entries, but there are 3",
        ),
        (
            lambda: si.L1([1.0, 2.0], groups=[0, 1, 2]).bind(3),
            ValueError,
            "lam has 2 entries, but groups has 3 distinct labels",
        ),
        (lambda: si.L1(1.0, groups=[0, 1]).bind(3), ValueError, "groups has 2 labels, but there are 3 coeff"),
        (lambda: si.L1(1.0, groups=[[0, 1]]), ValueError, r"groups has shape \(1, 2\)"),
        (lambda: si.L1(1.0, groups=[0.0, np.nan]), ValueError, r"groups\[1\] is NaN"),
        (lambda: si.L1(1.0, groups=np.array([0, "a"], dtype=object)), TypeError, "groups has dtype object"),
        (lambda: si.L1(0.0, weights=[np.inf]).bind(1), ValueError, r"0 \* inf at coefficient 0"),
        (lambda: si.L1(np.inf, weights=[1.0, 0.0]).bind(2), ValueError, r"0 \* inf at coefficient 1"),
        (lambda: si.GroupL1(1.0), ValueError, "groups is missing"),
        (lambda: si.GroupL1([1.0, 2.0], groups=[0, 0]).bind(2), ValueError, "groups has 1 distinct labels"),
        (
            lambda: si.GroupL1(1.0, groups=[0, 1], weights=[1.0, 2.0, 3.0]).bind(2),
            ValueError,
            "weights has 3 entries, but groups has 2 distinct",
        ),
        (lambda: si.GroupL1([0.0, 1.0], groups=[0, 1], weights=[np.inf, 1]).bind(2), ValueError, r"0 \* inf"),
        (lambda: si.ElasticNet(1.0, l1_ratio=0.0), ValueError, "l1_ratio is 0.0, but it must lie in"),
        (lambda: si.ElasticNet(1.0, l1_ratio=1.5), ValueError, "l1_ratio is 1.5"),
        (lambda: si.ElasticNet(1.0, l1_ratio="half"), TypeError, "l1_ratio is 'half'"),
        (lambda: si.L1(1.0, nonnegative="yes"), TypeError, "nonnegative is 'yes'"),
        (lambda: si.L1(1.0, nonnegative=1), TypeError, "nonnegative is 1, but True or False is needed"),
    ],
)
def test_refusals(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


# --- traits -------------------------------------------------------------------------------------------


@given(penalties(), ANY, ANY, st.floats(0.0, 1.0))
def test_convex_means_convex(penalty: Any, x: Array, y: Array, t: float) -> None:
    bound = penalty.bind(N)
    if not bound.convex:
        return
    if bound.nonnegative:
        x, y = x.real, y.real
    x, y = suited(penalty, x), suited(penalty, y)
    middle = bound.value(t * x + (1 - t) * y)
    ends = t * bound.value(x) + (1 - t) * bound.value(y)
    assert middle <= ends * (1 + 1e-12) + 1e-9


@given(penalties())
def test_masks_and_traits(penalty: Any) -> None:
    """unpenalised: R does not see the coefficient; excluded: R allows nothing but zero."""
    bound = penalty.bind(N)
    assert bound.n == N
    assert bound.nonnegative == getattr(penalty, "nonnegative", False)
    nothing = (bound.excluded & bound.unpenalised).any()
    assert not nothing
    for j in range(N):
        unit = np.zeros(N)
        unit[j] = 2.0
        assert np.isinf(bound.value(unit)) == bound.excluded[j]
        assert (bound.value(unit) == 0.0) == bound.unpenalised[j]
    if isinstance(penalty, si.L0):
        assert bound.convex == (not ((bound.l0 > 0) & np.isfinite(bound.l0)).any())
    else:
        assert bound.convex
    plain_ridge = isinstance(penalty, si.L2) and not bound.nonnegative
    if plain_ridge:
        assert bound.quadratic
    if bound.quadratic:
        x = np.where(bound.excluded, 0.0, 1.0)
        assert bound.value(3.0 * x) == pytest.approx(9.0 * bound.value(x), rel=1e-12)


@given(penalties(signed=False), ANY, ANY, st.floats(1e-6, 1.0), st.floats(0.1, 1.0))
def test_quadratic_weights_majorise(penalty: Any, x: Array, y: Array, eps: float, p: float) -> None:
    """w |y|^2 / 2 touches the smoothed penalty at x and lies above it elsewhere."""
    bound = penalty.bind(N)
    size = 2.5
    w = bound.quadratic_weights(x, eps, p, size)
    live = ~bound.excluded
    assert (w[live] >= 0).all()
    assert np.isinf(w[bound.excluded]).all()

    def smoothed(z: Array) -> float:
        if isinstance(penalty, si.GroupL1):
            kept = np.isfinite(bound.lam)
            return float((bound.lam * size * np.sqrt((bound.norms(z) / size) ** 2 + eps))[kept].sum())
        u = (np.abs(z) / size) ** 2 + eps
        l0, l1, l2 = (np.where(live, level, 0.0) for level in (bound.l0, bound.l1, bound.l2))
        return float((l0 * u ** (p / 2) + l1 * size * np.sqrt(u) + 0.5 * l2 * np.abs(z) ** 2).sum())

    x, y = np.where(live, x, 0.0), np.where(live, y, 0.0)
    above = smoothed(x) + 0.5 * float((w[live] * (np.abs(y) ** 2 - np.abs(x) ** 2)[live]).sum())
    assert smoothed(y) <= above + 1e-9 * (1.0 + abs(above))


@given(penalties(), ANY, st.integers(-30, 30), st.integers(-30, 30))
def test_units_are_powers_of_two(penalty: Any, x: Array, b_exponent: int, a_exponent: int) -> None:
    """R(x) in working units is R(x) over 2^(2 b_exponent), bit for bit."""
    bound = penalty.bind(N)
    if bound.nonnegative:
        x = x.real
    x = suited(penalty, x)
    inside = bound.in_units(b_exponent, a_exponent).value(x * 2.0 ** (a_exponent - b_exponent))
    assert inside == bound.value(x) * 2.0 ** (-2 * b_exponent)


def test_underflow_does_not_unpenalise() -> None:
    for penalty in (si.L1(1e-300), si.L0(1e-300), si.L2(1e-300), si.GroupL1(1e-300, groups=[0])):
        bound = penalty.bind(1).in_units(1000, 100)
        assert not bound.unpenalised.any()
        assert not bound.excluded.any()


@given(penalties(), ANY, st.floats(0.1, 10.0))
def test_tilted_scales_every_level(penalty: Any, x: Array, factor: float) -> None:
    bound = penalty.bind(N)
    if bound.nonnegative:
        x = x.real
    x = suited(penalty, x)
    assert bound.tilted(factor).value(x) == pytest.approx(factor * bound.value(x), rel=1e-12)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("name", ["L1", "ElasticNet", "GroupL1"])
@pytest.mark.parametrize("k", range(4))
def test_lam_max_is_where_zero_starts(name: str, nonnegative: bool, k: int) -> None:
    """Just above lam_max every penalised coefficient is zero, just below one is not."""
    if name == "GroupL1" and nonnegative:
        return
    rng = generator(30, k)
    A = rng.standard_normal((12, N))
    b = A @ rng.uniform(0.5, 2.0, N) + 0.1 * rng.standard_normal(12)
    weights = rng.uniform(0.5, 2.0, N)
    weights[2] = 0.0 if k % 2 else 1.0
    weights[4] = np.inf if k == 3 else 1.0
    options: dict[str, Any] = {"weights": weights, "nonnegative": nonnegative}
    if name == "GroupL1":
        options = {"groups": LABELS, "weights": [0.0, 1.0, 2.0] if k % 2 else [1.0, 1.0, 2.0]}
    make = getattr(si, name)
    top = si.lam_max(A, b, make(**options))
    penalised = ~make(1.0, **options).bind(N).unpenalised
    above = si.solve(A, b, make(1.0001 * top, **options), tol=1e-14)
    below = si.solve(A, b, make(0.99 * top, **options), tol=1e-14)
    assert (above.x[penalised] == 0).all()
    assert (below.x[penalised] != 0).any()
    # with lam set the answer is the factor on it
    assert si.lam_max(A, b, make(0.25, **options)) == pytest.approx(4.0 * top, rel=1e-12)


def test_lam_max_of_l0_is_coordinate_wise() -> None:
    rng = generator(31)
    A, b = rng.standard_normal((12, N)), rng.standard_normal(12)
    gains = (A.T @ b) ** 2 / (2.0 * (A**2).sum(axis=0))
    assert si.lam_max(A, b, si.L0()) == pytest.approx(gains.max(), rel=1e-12)
    assert si.lam_max(A, b, si.L0(2.0)) == pytest.approx(gains.max() / 2.0, rel=1e-12)
    assert si.lam_max(A, b, si.L2()) == np.inf
    assert si.lam_max(A, np.zeros(12), si.L1()) == 0.0


def test_repr_is_short_and_says_what_it_is() -> None:
    assert repr(si.L1(0.5)) == "L1(0.5)"
    assert repr(si.L1(np.ones(1000))) == "L1(<1000 values>)"
    assert repr(si.L0(1.0, nonnegative=True)) == "L0(1, nonnegative=True)"
    assert repr(si.ElasticNet(0.25, l1_ratio=0.9)) == "ElasticNet(0.25, l1_ratio=0.9)"
    assert repr(si.L2()) == "L2(None)"


def test_replace() -> None:
    first = si.L1(1.0, weights=[1.0, 2.0], nonnegative=True)
    second = first.replace(lam=3.0)
    assert second.lam == 3.0
    assert second.nonnegative
    assert first.lam == 1.0
    assert (second.bind(2).l1 == np.array([3.0, 6.0])).all()


def test_own_penalty_says_what_it_lacks() -> None:
    class Empty(si.Penalty):
        pass

    with pytest.raises(TypeError, match=r"Empty must define value\(x\)"):
        Empty().value(np.ones(2))
    with pytest.raises(TypeError, match=r"Empty must define prox\(v, step\)"):
        Empty().prox(np.ones(2), 1.0)
    assert Empty().bind(3).convex is False
