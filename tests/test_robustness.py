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


# --- ridges that hardly bend ---------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-30, -55, -60, -100, -300])
@pytest.mark.parametrize("factor", [1.0, 1.0 - 2.0j])
def test_elastic_net_of_small_data_is_certified(rng, exponent, factor):
    # l2 is lam / 2 in the units of A, whatever b is: the ridge vanishes beside the level of L1
    A = factor * rng.standard_normal((20, 10))
    b = np.ldexp(1.0, exponent) * (A[:, 0] + 0.1 * rng.standard_normal(20))
    lam = np.ldexp(2.0, exponent)
    result = si.solve(A, b, si.ElasticNet(lam, l1_ratio=0.5))
    assert result.success, result
    plain = si.solve(A, b, si.L1(lam / 2), tol=1e-12).x
    assert np.abs(result.x - plain).max() <= 1e-4 * np.abs(plain).max()


@pytest.mark.parametrize("free", [0, 3])
@pytest.mark.parametrize("exponent", [0, -6, -12, -15, -16, -18, -24, -100])
def test_best_scale_is_the_best_of_a_grid(exponent, free):
    from sparseinv.penalties.separable import Separable

    n = 30
    for seed in range(20):
        rng = np.random.default_rng(seed)
        size, l1 = 10.0 * np.abs(rng.standard_normal(n)), rng.uniform(0.25, 0.75, n)
        l2 = 10.0**exponent * rng.uniform(0.5, 1.5, n)
        l1[:free] = 0.0
        if seed % 2:
            l2[5:15] = rng.uniform(0.1, 1.0, 10)  # ordinary ones beside them
        slope, curvature = 10.0 * rng.uniform(0.5, 2.0, 2)

        def dual(s, l1=l1, l2=l2, size=size, slope=slope, curvature=curvature):
            bent = float((np.maximum(s * size - l1, 0.0) ** 2 / (2.0 * l2)).sum())
            return slope * s - 0.5 * curvature * s**2 - bent

        s = Separable(np.zeros(n), l1, l2).best_scale(size, slope, curvature)
        kinks = l1[l1 > 0.0] / size[l1 > 0.0]
        grid = np.concatenate([np.linspace(0.0, 2.0, 2001), (1.0 - 1e-14) * kinks])
        assert dual(s) >= max(dual(t) for t in grid) - 1e-12


# --- answers that the user's units cannot hold ----------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(600, -600), (540, -520), (300, -300), (150, -150)])
def test_certificate_is_that_of_the_x_returned(a, b):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 10))
    data = np.ldexp(2.0 * A[:, 0] + 0.1 * rng.standard_normal(20), b)
    A = np.ldexp(A, a)
    penalty = si.L1(si.lam_max(A, data, si.L1()) / 10)
    result = si.solve(A, data, penalty)
    judged = si.certify(A, data, penalty, result.x).relative
    assert result.certificate.relative == pytest.approx(judged, rel=1e-6, abs=1e-15)
    assert result.success == (judged <= 1e-6) == (a < 600)
    assert ("underflows" in result.message) == (a == 600)


@pytest.mark.parametrize("scales", [(1e-160, 1e150), (1e-20, 1e300), (1e-100, 1e250)])
@pytest.mark.parametrize("factor", [1.0, 1.0 - 2.0j])
def test_x_beyond_the_range_is_cut_and_judged(scales, factor):
    rng = np.random.default_rng(0)
    A, b = scales[0] * rng.standard_normal((80, 20)), scales[1] * rng.standard_normal(80) * factor
    penalty = si.L1(0.1 * si.lam_max(A, b, si.L1()))
    result = si.solve(A, b, penalty)
    assert result.status.name == "NUMERICAL_FAILURE"
    assert "x overflows" in result.message
    assert np.isfinite(result.x).all()
    judged = si.certify(A, b, penalty, result.x).relative
    assert result.certificate.relative == pytest.approx(judged, rel=1e-6)
    path = si.solve_path(A, b, si.L1(), n_lams=10)
    assert np.isfinite(path.X).all()
    assert path.results[0].success  # x = 0


# --- starts far out ------------------------------------------------------------------------------------


class Plain:
    def __init__(self, A):
        self.A, self.shape, self.dtype = A, A.shape, A.dtype

    def matvec(self, x):
        return self.A @ x

    def rmatvec(self, r):
        return self.A.conj().T @ r


@pytest.mark.parametrize("size", [1e12, 1e29, 1e31, 1e100, 1e200, 1e307])
@pytest.mark.parametrize("make", [np.asarray, Plain])
@pytest.mark.parametrize("solver", ["auto", si.BarzilaiBorwein(), si.FISTA(), si.ISTA(), si.IRL1()], ids=repr)
def test_start_far_out(rng, size, make, solver):
    A = rng.standard_normal((30, 50))
    b = A[:, 0] + 0.1 * rng.standard_normal(30)
    penalty = si.L1(0.1 * si.lam_max(A, b, si.L1()))
    x0 = size * rng.uniform(-1.0, 1.0, 50)
    result = si.solve(make(A), b, penalty, solver=solver, x0=x0)
    assert result.success, result
    assert "began at zero" in result.detail
    plain = si.solve(make(A), b, penalty, solver=solver)
    assert (result.x == plain.x).all()


def test_start_that_is_of_use_is_kept(rng):
    A, b = rng.standard_normal((30, 50)), rng.standard_normal(30)
    penalty = si.L1(0.1 * si.lam_max(A, b, si.L1()))
    x0 = 1e3 * rng.standard_normal(50)
    first = next(iter(si.iterate(A, b, penalty, x0=x0)))
    assert (first.x == x0).all()
    small = np.full(50, 1e-40)  # a column of this size asks for coefficients that look far out
    result = si.solve(A * small, b, si.L1(penalty.lam * 1e-40), x0=x0 / 1e-40)
    assert result.success
    assert not result.detail


def test_start_outside_a_box_is_kept():
    class Box(si.Penalty):
        convex = True

        def value(self, x):
            return 0.0 if np.all(np.abs(x) <= 1.0) else np.inf

        def prox(self, v, step):
            return np.clip(v, -1.0, 1.0)

    first = next(iter(si.iterate(np.eye(2), np.ones(2), Box(), solver=si.FISTA(), x0=[1e3, -2.0])))
    assert first.x.tolist() == [1e3, -2.0]


# --- a stall --------------------------------------------------------------------------------------------


def test_a_stall_says_that_it_may_be_no_floor(rng):
    from sparseinv.solvers.base import Outcome, State

    class Idle(si.Solver):
        outcome = Outcome.MOVED

        def start(self, problem, x0):
            return State(np.zeros(problem.n))

        def step(self, problem, state, budget):
            state.n_iter += 1
            return self.outcome

    A, b = rng.standard_normal((5, 3)), rng.standard_normal(5)
    result = si.solve(A, b, si.L1(0.01), solver=Idle())
    assert result.status.name == "PRECISION_FLOOR"
    assert "Nothing has improved in 200 certificates" in result.message
    assert "weights" in result.message
    Idle.outcome = Outcome.FLOOR
    assert not si.solve(A, b, si.L1(0.01), solver=Idle()).detail


# --- sentences and levels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda A, b: si.solve(A, b, si.L1),
        lambda A, b: si.solve_path(A, b, si.L1),
        lambda A, b: si.solve_many(A, b[:, None], si.L1),
        lambda A, b: si.select_lam(A, b, si.L1, si.CrossValidation(2)),
        lambda A, b: si.lam_max(A, b, si.L1),
        lambda A, b: si.certify(A, b, si.L1, b),
        lambda A, b: next(si.iterate(A, b, si.L1)),
    ],
)
def test_a_class_in_place_of_a_penalty(call):
    with pytest.raises(TypeError, match=r"^penalty is the class L1; pass an object, L1\(\.\.\.\)$"):
        call(np.eye(4), np.ones(4))


def test_a_class_in_place_of_a_solver():
    with pytest.raises(TypeError, match=r"^solver is the class FISTA; pass an object, FISTA\(\)$"):
        si.select_lam(np.eye(4), np.ones(4), si.L1(), si.CrossValidation(2), solver=si.FISTA)


def test_solve_says_that_it_takes_no_levels():
    with pytest.raises(
        ValueError, match="solve has no argument for them: use select_lam with lams, for example"
    ):
        si.solve(np.eye(4), np.ones(4), si.L2(), select=si.CrossValidation(2))
    with pytest.raises(ValueError, match="pass lams to solve_path or select_lam, for example"):
        si.solve_path(np.eye(4), np.ones(4), si.L2())


@pytest.mark.parametrize("door", ["path", "select"])
def test_an_infinite_weight_excludes_at_the_level_zero(rng, door):
    A, b = rng.standard_normal((30, 10)), rng.standard_normal(30)
    w = np.r_[np.inf, np.ones(9)]
    lams = [1.0, 0.1, 0.0]
    groups = np.arange(10) // 2
    pairs = [
        (si.L1(weights=w), si.L1(w)),
        (si.L2(weights=w), si.L2(w)),
        (si.L1(groups=groups, weights=w), si.L1(w)),  # weights by coefficient
        (si.ElasticNet(weights=w), si.ElasticNet(w)),
        (si.GroupL1(groups=groups, weights=w[:5]), si.GroupL1(w[:5], groups=groups)),
    ]
    for weighted, leveled in pairs:
        if door == "path":
            one, other = (si.solve_path(A, b, p, lams=lams, tol=1e-12) for p in (weighted, leveled))
        else:
            one, other = (
                si.select_lam(A, b, p, si.CrossValidation(3), lams=lams, tol=1e-12).path
                for p in (weighted, leveled)
            )
        assert one.success
        assert (one.X == other.X).all()
        assert (one.X[0] == 0.0).all()
        assert one.results[-1].lam == 0.0
        assert np.linalg.norm(A[:, 2:].T @ (A @ one.X[:, -1] - b)) <= 1e-5
