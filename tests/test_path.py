"""Paths: every level against a solve of its own, against plain certificates, and under interruption."""

from __future__ import annotations

import pickle
from typing import ClassVar

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from cases import Products, generator
from reference import judged_gap, plain, truth
from sparseinv.operators import Restriction


def data(key=0, m=20, n=40, number="real", rank=None):
    rng = generator(77, key)

    def normal(*shape):
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if number == "complex" else v

    A = normal(m, n) if rank is None else normal(m, rank) @ normal(rank, n)
    x = np.where(rng.random(n) < 0.2, rng.standard_normal(n), 0.0)
    return A, A @ x + 0.3 * normal(m)


def weights(n, zero=(), inf=(), key=0):
    w = generator(78, key).uniform(0.5, 2.0, n)
    w[list(zero)], w[list(inf)] = 0.0, np.inf
    return w


LABELS = np.arange(40) // 5
W = weights(40, zero=(1, 17), inf=(2, 30))
GROUP_W = weights(8, zero=(3,), inf=(5,))

# name: (data, container, penalty without lam, per-coefficient levels (l0, l1, l2) at level 1)
ZOO = {
    "wide": (dict(), "dense", si.L1(), dict(l1=1.0)),
    "tall": (dict(m=90, n=12), "dense", si.L1(), dict(l1=1.0)),
    "rank-deficient": (dict(rank=7), "dense", si.L1(), dict(l1=1.0)),
    "weights": (dict(), "dense", si.L1(weights=W), dict(l1=W)),
    "csc": (dict(), "csc", si.L1(weights=W), dict(l1=W)),
    "operator": (dict(m=60), "operator", si.L1(weights=W), dict(l1=W)),
    "elastic net": (dict(), "dense", si.ElasticNet(l1_ratio=0.7), dict(l1=0.7, l2=0.3)),
    "elastic net, operator": (dict(), "operator", si.ElasticNet(l1_ratio=0.7), dict(l1=0.7, l2=0.3)),
    "groups": (dict(), "dense", si.GroupL1(groups=LABELS, weights=GROUP_W), dict(l1=GROUP_W, groups=LABELS)),
    "groups, operator": (dict(), "operator", si.GroupL1(groups=LABELS), dict(l1=1.0, groups=LABELS)),
    "nonnegative": (dict(), "dense", si.L1(weights=W, nonnegative=True), dict(l1=W)),
    "complex": (dict(number="complex"), "dense", si.L1(), dict(l1=1.0)),
    "complex, csc": (dict(number="complex"), "csc", si.L1(weights=W), dict(l1=W)),
    "own factors": (dict(), "dense", si.L1(W, weights=0.5), dict(l1=0.5 * W)),
    "tied factors": (dict(), "dense", si.L1(GROUP_W, groups=LABELS), dict(l1=GROUP_W[LABELS])),
    "ridge": (dict(m=60), "dense", si.L2(weights=W), dict(l2=W)),
    "wide ridge": (dict(), "dense", si.L2(weights=W), dict(l2=W)),
    "ridge, operator": (dict(m=60), "operator", si.L2(), dict(l2=1.0)),
}


def objective(A, b, t, x):
    return 0.5 * np.sum(np.abs(A @ x - b) ** 2) + t * np.abs(x).sum()


def contained(A, container):
    return {"dense": lambda A: A, "csc": sparse.csc_array, "operator": Products}[container](A)


def at(problem, penalty, t):
    """Return (penalty, plain problem) at the level t, by plain multiplication."""
    A, b, levels = problem
    groups = levels.get("groups")
    scaled = {name: t * np.asarray(level) for name, level in levels.items() if name != "groups"}
    if groups is not None:
        scaled["l1"] = np.broadcast_to(scaled["l1"], np.unique(groups).shape)
    own = 1.0 if penalty.lam is None else np.asarray(penalty.lam)
    nonnegative = bool(getattr(penalty, "nonnegative", False))
    extra = {} if groups is None else {"groups": groups}
    extra |= {"nonnegative": True} if nonnegative else {}
    return penalty.replace(lam=t * own), plain(A, b, **scaled, **extra)


@pytest.mark.parametrize("name", ZOO)
def test_every_level_is_what_solve_gives(name):
    settings, container, penalty, levels = ZOO[name]
    A, b = data(**settings)
    held = contained(A, container)
    lams = None if not isinstance(penalty, si.L2) else [300.0, 30.0, 3.0, 0.3]
    path = si.solve_path(held, b, penalty, lams=lams, n_lams=6, ratio=0.02, tol=1e-9)
    assert path.success
    assert len(path) == (6 if lams is None else 4)
    assert path.X.shape == (A.shape[1], len(path))
    for k, (t, result) in enumerate(zip(path.lams, path, strict=True)):
        single, alone = at((A, b, levels), penalty, t)
        scale = 0.5 * np.vdot(b, b).real
        known, value = truth(alone), alone.objective(result.x)
        assert value - known.lower <= 2e-9 * scale
        # honest: never below what is known to be missing
        assert value - known.upper <= result.certificate.value + 1e-13 * scale
        reference = si.solve(held, b, single, tol=1e-10)
        assert abs(result.objective - reference.objective) <= 1e-8 * scale
        assert abs(result.objective - float(value)) <= 1e-12 * scale
        assert np.array_equal(np.asarray(result.lam), np.asarray(single.lam))
        assert np.array_equal(path.X[:, k], result.x)
        assert path.n_nonzero[k] == np.count_nonzero(result.x)


@pytest.mark.parametrize(
    "solver", [si.ISTA(), si.FISTA(), si.CoordinateDescent(), si.WorkingSet(), si.IRLS(), si.IRL1()], ids=repr
)
def test_every_solver_follows_a_path(solver):
    A, b = data(3, m=50, n=20)
    path = si.solve_path(A, b, si.L1(), n_lams=5, ratio=0.05, solver=solver, tol=1e-7)
    assert path.success
    for t, result in zip(path.lams, path, strict=True):
        # points that stop on their way to the optimum may have a better dual point than their residual
        best, scale = si.solve(A, b, si.L1(t), tol=1e-12).x, 0.5 * (b @ b)
        lowest = objective(A, b, t, best) - judged_gap(plain(A, b, l1=t), best)
        assert objective(A, b, t, result.x) - lowest <= 1.1e-7 * scale
        # what a level returned is not overwritten by the levels after it
        assert np.isclose(result.objective, objective(A, b, t, result.x))


def test_groups_with_coordinate_descent_keep_their_curvatures():
    A, b = data(4)
    penalty = si.GroupL1(groups=LABELS)
    path = si.solve_path(A, b, penalty, n_lams=5, solver=si.CoordinateDescent(), tol=1e-9)
    assert path.success
    assert max(path[k].products.setup for k in range(1, 5)) <= 2


def test_levels_are_sorted_and_repeated_ones_kept():
    A, b = data(5)
    path = si.solve_path(A, b, si.L1(), lams=[1.0, 4.0, 2.0, 4.0])
    assert path.lams.tolist() == [4.0, 4.0, 2.0, 1.0]
    assert path[1].n_iter == 0
    assert path[1].success
    assert path[1].objective == pytest.approx(path[0].objective, rel=1e-12)


def test_levels_beyond_lam_max_cost_nothing():
    A, b = data(6)
    top = si.lam_max(A, b, si.L1())
    for solver in ("auto", si.FISTA(), si.CoordinateDescent()):
        path = si.solve_path(A, b, si.L1(), lams=[9 * top, 3 * top, top, 0.5 * top], solver=solver)
        assert not path.X[:, :3].any()
        assert path.X[:, 3].any()
        assert [r.n_iter for r in path][:3] == [0, 0, 0]


def test_the_default_grid():
    A, b = data(7)
    path = si.solve_path(A, b, si.L1(weights=W), n_lams=7, ratio=1e-3)
    top = si.lam_max(A, b, si.L1(weights=W))
    assert np.allclose(path.lams, top * np.geomspace(1, 1e-3, 7), rtol=1e-14)
    assert len(si.solve_path(A, b, si.L1())) == 100
    only = si.solve_path(A, b, si.L1(), n_lams=1)
    assert only.lams.tolist() == [si.lam_max(A, b, si.L1())]
    assert not only.X.any()


def test_one_level():
    A, b = data(8)
    path = si.solve_path(A, b, si.L1(), lams=[2.0])
    assert np.array_equal(path[0].x, si.solve(A, b, si.L1(2.0)).x)


@pytest.mark.parametrize("penalty", [si.L1(), si.L0(), si.ElasticNet()], ids=repr)
@pytest.mark.parametrize("nothing", ["b", "A", "excluded"])
def test_where_x_is_zero_for_every_level(penalty, nothing):
    A, b = data(9)
    A, b = (0 * A if nothing == "A" else A), (0 * b if nothing == "b" else b)
    if nothing == "excluded":
        penalty = penalty.replace(weights=np.full(40, np.inf))
    path = si.solve_path(A, b, penalty, n_lams=4)
    assert len(path) == 4
    assert path.success
    assert not path.X.any()
    assert (path.lams > 0).all()


def test_level_zero_is_least_squares():
    A, b = data(10, m=60, n=10)
    path = si.solve_path(A, b, si.L1(), lams=[5.0, 0.0])
    assert path.success
    assert np.allclose(path[1].x, np.linalg.lstsq(A, b, rcond=None)[0], atol=1e-6)
    # an excluded coefficient stays excluded where the penalty's own lam says so
    path = si.solve_path(A, b, si.L1(np.r_[np.inf, np.ones(9)]), lams=[5.0, 0.0])
    assert path.success
    assert path[1].x[0] == 0.0
    assert np.allclose(path[1].x[1:], np.linalg.lstsq(A[:, 1:], b, rcond=None)[0], atol=1e-6)


@pytest.mark.parametrize("exponent", [-300, 300])
def test_scaled_data_give_the_same_bits(exponent):
    A, b = data(11)
    path = si.solve_path(A, b, si.L1(), n_lams=5)
    scaled = si.solve_path(A, np.ldexp(b, exponent), si.L1(), n_lams=5)
    assert np.array_equal(np.ldexp(path.X, exponent), scaled.X)
    assert np.array_equal(np.ldexp(path.lams, exponent), scaled.lams)


def test_single_precision_comes_back():
    A, b = data(12)
    path = si.solve_path(A.astype(np.float32), b.astype(np.float32), si.L1(), n_lams=4, tol=1e-4)
    assert path.success
    assert path.X.dtype == np.float32


def test_l0_paths_are_local_minima():
    A, b = data(13, m=40, n=20)
    for held in (A, Products(A)):
        path = si.solve_path(held, b, si.L0(), n_lams=8, tol=1e-8)
        assert path.success
        assert path.n_nonzero[-1] > path.n_nonzero[0]
        for t, result in zip(path.lams, path, strict=True):
            value = 0.5 * np.sum((A @ result.x - b) ** 2) + t * np.count_nonzero(result.x)
            assert np.isclose(result.objective, value)
            assert si.certify(A, b, si.L0(t), result.x).kind is si.Kind.COORDINATE_MINIMUM


@pytest.mark.parametrize("key", range(4))
def test_l0_paths_are_not_above_single_solves(key):
    """Weights taken over from the last level keep its support: that ends higher on correlated columns."""
    rng = generator(79, key)
    A = rng.standard_normal((50, 100))
    A = A + 0.3 * np.cumsum(A, axis=1)
    x = np.zeros(100)
    x[rng.permutation(100)[:8]] = 3 * rng.standard_normal(8)
    b = A @ x + rng.standard_normal(50)
    path = si.solve_path(A, b, si.L0(), n_lams=8, ratio=1e-3)
    single = [si.solve(A, b, si.L0(t)).objective for t in path.lams]
    assert all(r.objective <= value + 1e-9 * (b @ b) for r, value in zip(path, single, strict=True))


# --- cost ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [si.FISTA(), si.BarzilaiBorwein()], ids=str)
def test_a_path_costs_less_than_its_levels(solver):
    A, b = data(14, m=60, n=120)
    path_of, alone = Products(A), Products(A)
    path = si.solve_path(path_of, b, si.L1(), n_lams=10, ratio=0.05, solver=solver)
    for t in path.lams:
        si.solve(alone, b, si.L1(t), solver=solver)
    assert path_of.forward + path_of.adjoint < 0.8 * (alone.forward + alone.adjoint)
    # counted products are those made; set-up is paid by the first level, a start from a state by none
    assert (path.n_matvec, path.n_rmatvec) == (path_of.forward, path_of.adjoint)
    assert path[0].products.setup >= 4
    assert max(r.products.setup for r in path.results[2:]) <= (0 if solver == si.FISTA() else 2)


def test_the_gram_matrix_is_formed_once():
    A, b = data(15, m=100, n=40)
    path = si.solve_path(A, b, si.L2(), lams=[100.0, 10.0, 1.0])
    assert path[0].products.total >= 40 > max(path[1].products.total, path[2].products.total)


class Recording(si.ISTA):
    """Note what the driver hands over between levels."""

    seen: ClassVar[list] = []

    def start(self, problem, x0):
        self.seen.append(("start", x0 is None))
        return super().start(problem, x0)

    def resume(self, problem, state):
        self.seen.append(("resume", state.n_iter > 0))
        return super().resume(problem, state)


def test_the_state_goes_from_level_to_level():
    A, b = data(25)
    Recording.seen.clear()
    path = si.solve_path(A, b, si.L1(), lams=[20.0, 5.0, 2.0], solver=Recording())
    assert Recording.seen[0] == ("start", True)
    assert [what for what, _ in Recording.seen[1:]] == ["resume", "resume"]
    # iterations are counted per level
    assert [r.n_iter for r in path] == [r.history.n_iter[-1] for r in path]
    assert all(r.history.n_iter[0] == 0 for r in path)


# --- ends ---------------------------------------------------------------------------------------------


def assert_honest(A, b, path, total):
    assert len(path) == path.lams.size == path.X.shape[1] == total
    for t, result in zip(path.lams, path, strict=True):
        value = objective(A, b, t, result.x)
        assert np.isclose(result.objective, value, rtol=1e-9)
        least = float(truth(plain(A, b, l1=t)).lower)
        assert result.certificate.value >= (value - least) * (1 - 1e-9) - 1e-12 * value
        assert result.certificate.bound <= least * (1 + 1e-12)
        assert result.certificate.relative <= result.tol or not result.success


@pytest.mark.parametrize("kind", ["dense", "operator"])
def test_no_time_at_all(kind):
    A, b = data(16)
    path = si.solve_path(contained(A, kind), b, si.L1(), n_lams=6, max_time=0.0)
    assert_honest(A, b, path, 6)
    assert path[0].success  # x = 0 is the answer at lam_max
    assert {r.status for r in list(path)[1:]} == {si.Status.MAX_TIME}
    assert not path.success
    assert all(r.products.total <= 2 for r in list(path)[2:])


class Interrupting(Products):
    """Behave like Ctrl-C at product number k, once or from then on; or fail there."""

    def __init__(self, A, k, once=True, error=KeyboardInterrupt):
        super().__init__(A)
        self.k, self.once, self.error = k, once, error

    def _count(self):
        done = self.forward + self.adjoint
        if done == self.k or (done > self.k and not self.once):
            raise self.error

    def matvec(self, x):
        self._count()
        return super().matvec(x)

    def rmatvec(self, y):
        self._count()
        return super().rmatvec(y)


class Counting(Interrupting):
    """Count calls that fail as well."""

    def _count(self):
        self.calls = getattr(self, "calls", -1) + 1
        if self.calls == self.k or (self.calls > self.k and not self.once):
            raise self.error


@pytest.mark.parametrize("k", [6, 20, 60, 150])
@pytest.mark.parametrize("once", [True, False])
def test_interrupt_keeps_everything(k, once):
    A, b = data(17)
    whole = si.solve_path(Products(A), b, si.L1(), lams=np.geomspace(20, 1, 8), tol=1e-8)
    with pytest.raises(si.Interrupted) as caught:
        si.solve_path(Counting(A, k, once), b, si.L1(), lams=np.geomspace(20, 1, 8), tol=1e-8)
    path = caught.value.path
    assert len(path) == 8
    assert path[-1].status is si.Status.INTERRUPTED
    assert caught.value.result in path.results
    if once:
        assert_honest(A, b, path, 8)
    for done, reference in zip(path, whole, strict=True):
        if done.success:
            assert np.array_equal(done.x, reference.x)
    restored = pickle.loads(pickle.dumps(caught.value))
    assert np.array_equal(restored.path.X, path.X)


def test_a_product_that_fails_once_costs_one_level():
    A, b = data(18)
    held = Counting(A, 60, error=RuntimeError)
    path = si.solve_path(held, b, si.L1(), lams=np.geomspace(20, 1, 8), tol=1e-8)
    failed = [r.status is si.Status.NUMERICAL_FAILURE for r in path]
    assert sum(failed) == 1
    assert [r.success for r in path] == [not f for f in failed]
    held = Counting(A, 60, once=False, error=RuntimeError)
    path = si.solve_path(held, b, si.L1(), lams=np.geomspace(20, 1, 8), tol=1e-8)
    assert len(path) == 8
    assert path[-1].status is si.Status.NUMERICAL_FAILURE
    assert np.isfinite(path.X).all()


def test_callback_sees_every_level_and_can_stop():
    A, b = data(19)
    seen = []
    path = si.solve_path(A, b, si.L1(), n_lams=5, callback=seen.append)
    assert [(p.number, p.total) for p in seen] == [(k, 5) for k in range(1, 6)]
    assert [p.lam for p in seen] == path.lams.tolist()
    assert all(np.array_equal(p.x, r.x) and not p.x.flags.writeable for p, r in zip(seen, path, strict=True))

    def stop(progress):
        if progress.number == 3:
            raise StopIteration

    path = si.solve_path(A, b, si.L1(), n_lams=6, callback=stop)
    assert [r.success for r in path] == [True] * 3 + [False] * 3
    assert {r.status for r in list(path)[3:]} == {si.Status.STOPPED_BY_CALLBACK}
    assert_honest(A, b, path, 6)


def test_progress_bar_counts_levels(capsys):
    A, b = data(20)
    si.solve_path(A, b, si.L1(), n_lams=4, progress=True)
    assert "level 4 of 4" in capsys.readouterr().err


def test_iteration_limit_is_per_level():
    A, b = data(21)
    lams = np.geomspace(20, 0.1, 5)
    path = si.solve_path(A, b, si.L1(), lams=lams, solver=si.FISTA(), max_iter=3, tol=1e-12)
    assert all(r.n_iter <= 3 for r in path)
    assert path[-1].status is si.Status.MAX_ITER


def test_report():
    A, b = data(22)
    text = repr(si.solve_path(A, b, si.L1(), n_lams=30))
    assert text.startswith("30 of 30 levels meet the tolerance")
    assert len(text.splitlines()) == 13
    assert "CONVERGED" in text


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(lams=[1.0, np.nan]), ValueError, r"lams\[1\] is nan"),
        (dict(lams=[-1.0]), ValueError, r"lams\[0\] is -1.0"),
        (dict(lams=[1.0, np.inf]), ValueError, r"lams\[1\] is inf"),
        (dict(lams=[]), ValueError, "at least one level"),
        (dict(lams=2.0), ValueError, r"shape \(\)"),
        (dict(lams=[1j]), TypeError, "complex"),
        (dict(lams="many"), TypeError, "lams has dtype"),
        (dict(n_lams=0), ValueError, "n_lams is 0"),
        (dict(n_lams=2.5), TypeError, "n_lams is 2.5"),
        (dict(ratio=1.0), ValueError, "ratio is 1.0"),
        (dict(ratio=0.0), ValueError, "ratio is 0.0"),
        (dict(penalty=si.L2()), ValueError, "L2 penalty never gives x = 0"),
        (dict(penalty=si.L1), TypeError, "penalty is the class L1"),
        (dict(penalty=si.L1(1e300), lams=[1e300]), ValueError, "overflows"),
        (dict(penalty=si.L1(weights=np.ones(3))), ValueError, "weights has 3 entries"),
        (dict(solver=si.Ridge()), ValueError, "Ridge needs a pure L2 penalty"),
        (dict(callback=3), TypeError, "callback is 3"),
        (dict(tol=-1.0), ValueError, "tol is -1.0"),
    ],
)
def test_bad_input_is_refused_before_any_product(arguments, error, words):
    A, b = data(23)
    held = Products(A)
    arguments = dict(arguments)
    penalty = arguments.pop("penalty", si.L1())
    with pytest.raises(error, match=words):
        si.solve_path(held, b, penalty, **arguments)
    assert held.forward + held.adjoint == 0


def test_a_penalty_without_a_level_is_refused():
    class Own(si.Penalty):
        pass

    with pytest.raises(TypeError, match="which has no level"):
        si.solve_path(np.eye(2), np.ones(2), Own())


def test_operators_compose():
    A, b = data(24, m=30, n=30)
    rows = np.arange(0, 30, 2)
    path = si.solve_path(Restriction(30, rows) @ si.as_operator(A), b[rows], si.L1(), n_lams=4, tol=1e-8)
    assert path.success
    for t, result in zip(path.lams, path, strict=True):
        exact = si.solve(A[rows], b[rows], si.L1(t), tol=1e-13)
        assert result.objective - exact.objective <= 1.1e-8 * 0.5 * (b[rows] @ b[rows])
