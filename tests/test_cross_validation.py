"""Cross-validation against a loop of solves, its folds, its rules, its limits."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from cases import Products, generator
from sparseinv.solvers.base import Outcome, State

TIGHT = 1e-12  # tolerance at which errors of prediction can be compared digit by digit


def data(key=0, m=40, n=25, number="real", noise=0.5):
    rng = generator(88, key)

    def normal(*shape):
        v = rng.standard_normal(shape)
        return v + 1j * rng.standard_normal(shape) if number == "complex" else v

    A = normal(m, n)
    x = np.zeros(n)
    x[rng.permutation(n)[:4]] = 2.0
    return A, A @ x + noise * normal(m)


def brute(A, b, penalty, selector, lams):
    """Return mean squared errors and their standard errors by a plain loop over folds and levels."""
    parts = selector.split(b.size)
    own = 1.0 if penalty.lam is None else penalty.lam
    squares = np.empty((len(parts), len(lams)))
    for f, out in enumerate(parts):
        kept = np.setdiff1d(np.arange(b.size), out)
        for k, t in enumerate(lams):
            x = si.solve(A[kept], b[kept], penalty.replace(lam=t * own), tol=1e-13).x
            squares[f, k] = np.mean(np.abs(A[out] @ x - b[out]) ** 2)
    share = np.array([out.size for out in parts]) / b.size
    mean = share @ squares
    return mean, np.sqrt(share @ (squares - mean) ** 2 / (len(parts) - 1))


WEIGHTS = np.r_[0.0, np.inf, generator(89).uniform(0.5, 2.0, 23)]
KINDS = {
    "dense": (dict(), np.asarray, si.L1()),
    "csc": (dict(), sparse.csc_array, si.L1(weights=WEIGHTS)),
    "csr": (dict(), sparse.csr_array, si.L1(nonnegative=True)),
    "operator": (dict(), Products, si.L1(weights=WEIGHTS)),
    "complex": (dict(number="complex"), np.asarray, si.L1()),
    "complex operator": (dict(number="complex"), Products, si.ElasticNet()),
    "ridge": (dict(m=90), np.asarray, si.L2()),
    "groups": (dict(), np.asarray, si.GroupL1(groups=np.arange(25) // 5)),
    "own factors": (dict(), np.asarray, si.L1(np.linspace(0.5, 2.0, 25))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_against_a_loop_of_solves(kind):
    settings, contained, penalty = KINDS[kind]
    A, b = data(**settings)
    lams = np.geomspace(30, 0.3, 7)
    # first-order methods end at a gap of tol, the others far below it
    selector = si.CrossValidation(4, tol=1e-14 if "operator" in kind else TIGHT, seed=3)
    choice = si.select_lam(contained(A), b, penalty, selector, lams=lams)
    mean, error = brute(A, b, penalty, selector, lams)
    assert np.allclose(choice.criterion, mean, rtol=1e-6)
    assert np.allclose(choice.standard_error, error, rtol=1e-5)
    best = int(np.argmin(mean))
    assert choice.lam == choice.lams[best] == lams[best]
    assert choice.at_edge == (best in (0, 6))
    own = 1.0 if penalty.lam is None else np.asarray(penalty.lam)
    scale = 0.5 * np.vdot(b, b).real
    single = si.solve(A, b, penalty.replace(lam=choice.lam * own), tol=1e-9)
    assert choice.result.success
    assert choice.result is choice.path[best]
    assert abs(choice.result.objective - single.objective) <= 2e-6 * scale


def test_the_looser_tolerance_chooses_the_same():
    for key in range(6):
        A, b = data(key, m=60, n=100, noise=1.0)
        tight, loose = (si.CrossValidation(5, tol=tol, seed=key) for tol in (1e-8, 1e-4))
        one, other = (si.select_lam(A, b, si.L1(), s, n_lams=20) for s in (tight, loose))
        assert np.allclose(one.criterion, other.criterion, rtol=2e-2)
        assert abs(np.log(one.lam / other.lam)) <= 1.01 * np.log(100) / 19  # one step of the grid


def test_small_noise_is_still_resolved():
    """A tolerance relative to ||b||^2 would be blind to errors a million times smaller."""
    A, b = data(7, m=60, n=30, noise=1e-4)
    selector = si.CrossValidation(5)
    lams = np.geomspace(1.0, 1e-5, 11)
    choice = si.select_lam(A, b, si.L1(), selector, lams=lams)
    mean, _ = brute(A, b, si.L1(), selector, lams)
    assert np.allclose(choice.criterion, mean, rtol=2e-2)


@pytest.mark.parametrize("container", [np.asarray, sparse.csc_array])
@pytest.mark.parametrize("penalty", [si.L1(), si.L0(), si.GroupL1(groups=np.arange(25) % 6)], ids=repr)
def test_threads_change_no_bit(container, penalty):
    A, b = data(8)
    choices = [
        si.select_lam(container(A), b, penalty, si.CrossValidation(5), n_lams=8, n_threads=k)
        for k in (1, 2, 5)
    ]
    for other in choices[1:]:
        assert np.array_equal(choices[0].criterion, other.criterion)
        assert np.array_equal(choices[0].standard_error, other.standard_error)
        assert np.array_equal(choices[0].path.X, other.path.X)
        assert choices[0].n_products == other.n_products > 0


def test_matrix_free_folds_run_in_the_callers_thread():
    A, b = data(9)
    seen = set()

    class Watched(Products):
        def matvec(self, x):
            seen.add(threading.get_ident())
            return super().matvec(x)

    si.select_lam(Watched(A), b, si.L1(), si.CrossValidation(3), n_lams=4, n_threads=3)
    assert seen == {threading.get_ident()}


def test_products_are_counted():
    A, b = data(10)
    held = Products(A)
    choice = si.select_lam(held, b, si.L1(), si.CrossValidation(3), n_lams=5)
    path = choice.path
    assert held.forward + held.adjoint == path.n_matvec + path.n_rmatvec + choice.n_products
    assert choice.n_products > path.n_matvec + path.n_rmatvec > 0


# --- folds --------------------------------------------------------------------------------------------


def test_every_row_is_left_out_once():
    for m, folds in [(10, 2), (10, 3), (10, 10), (41, 5)]:
        parts = si.CrossValidation(folds).split(m)
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(m))
        sizes = [part.size for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert all((np.diff(part) > 0).all() for part in parts)


def test_the_seed_decides():
    def rows(seed):
        return np.concatenate(si.CrossValidation(5, seed=seed).split(40)).tolist()

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)
    A, b = data(11)
    one, two = (si.select_lam(A, b, si.L1(), si.CrossValidation(5, seed=4), n_lams=6) for _ in range(2))
    assert np.array_equal(one.criterion, two.criterion)


@pytest.mark.parametrize(
    "labels", [np.arange(42) // 3, np.array(list("abcdefg") * 6), generator(90).integers(0, 9, 42)]
)
def test_row_groups_stay_together(labels):
    parts = si.CrossValidation(4, groups=labels, seed=1).split(42)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(42))
    for one in range(4):
        for other in range(one):
            assert not np.intersect1d(labels[parts[one]], labels[parts[other]]).size


def test_repeated_rows_leave_the_choice_alone_when_grouped():
    """The known trap: a row's twin in the training set makes overfitting look good."""
    A, b = data(12, m=40, n=60, noise=2.0)
    lams = si.lam_max(A, b, si.L1()) * np.geomspace(1, 1e-3, 12)
    labels = np.arange(40) % 5
    once = si.select_lam(A, b, si.L1(), si.CrossValidation(labels, tol=1e-9), lams=lams)
    twice = np.r_[A, A], np.r_[b, b]
    kept = si.CrossValidation(np.r_[labels, labels], tol=1e-9)
    grouped = si.select_lam(*twice, si.L1(), kept, lams=2 * lams)
    assert np.isclose(grouped.lam, 2 * once.lam)
    assert np.allclose(grouped.criterion, once.criterion, rtol=1e-6)
    naive = si.select_lam(*twice, si.L1(), si.CrossValidation(5), lams=2 * lams)
    assert naive.criterion.min() < 0.5 * grouped.criterion.min()


def test_labels_of_folds_are_taken_as_they_are():
    labels = np.array([2, 0, 0, 2, 1, 1, 0, 2])
    parts = si.CrossValidation(labels).split(8)
    assert [part.tolist() for part in parts] == [[1, 2, 6], [4, 5], [0, 3, 7]]


# --- rules --------------------------------------------------------------------------------------------


def test_one_standard_error_is_never_smaller():
    for key in range(8):
        A, b = data(20 + key, m=30, n=20 + 5 * key, noise=1.5)
        least, sparser = (
            si.select_lam(A, b, si.L1(), si.CrossValidation(5, rule=rule, seed=key), n_lams=15)
            for rule in ("min", "1se")
        )
        assert sparser.lam >= least.lam
        best = int(np.argmin(least.criterion))
        k = int(np.argmax(sparser.lams == sparser.lam))
        bound = least.criterion[best] + least.standard_error[best]
        assert least.criterion[k] <= bound
        assert (least.criterion[:k] > bound).all()
        assert np.array_equal(least.criterion, sparser.criterion)


def test_the_edge_is_flagged():
    A, b = data(30, m=80, n=10, noise=0.01)
    coarse = si.select_lam(A, b, si.L1(), si.CrossValidation(5), lams=[100.0, 50.0, 25.0])
    assert coarse.at_edge
    assert coarse.lam == 25.0
    assert "at the edge of the 3 levels tried" in coarse.rule
    wide = si.select_lam(A, b, si.L1(), si.CrossValidation(5), lams=np.geomspace(100, 1e-6, 20))
    assert not wide.at_edge
    assert "edge" not in wide.rule


def test_equal_errors_give_the_largest_level():
    A, b = data(31)
    choice = si.select_lam(A, 0 * b, si.L1(), si.CrossValidation(4), lams=[3.0, 2.0, 1.0])
    assert choice.lam == 3.0
    assert not choice.criterion.any()


@pytest.mark.parametrize("exponent", [-300, 300])
def test_extreme_scales_choose_the_same(exponent):
    A, b = data(32)
    lams = np.geomspace(30, 0.3, 8)
    selector = si.CrossValidation(4)
    one = si.select_lam(A, b, si.L1(), selector, lams=lams)
    other = si.select_lam(A, np.ldexp(b, exponent), si.L1(), selector, lams=np.ldexp(lams, exponent))
    assert np.ldexp(one.lam, exponent) == other.lam


def test_prediction_beats_the_extremes():
    A, b = data(33, m=60, n=120)
    rng = generator(91)
    truth = np.zeros(120)
    truth[:5] = 2.0
    b = A @ truth + rng.standard_normal(60)
    choice = si.select_lam(A, b, si.L1(), si.CrossValidation(5), n_lams=30, ratio=1e-3)
    error = np.linalg.norm(choice.path.X - truth[:, None], axis=0)
    assert error[np.argmax(choice.lams == choice.lam)] <= 1.5 * error.min()


# --- solve(select=) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("contained", [np.asarray, sparse.csc_array, Products])
def test_solve_takes_a_rule(contained):
    A, b = data(40)
    selector = si.CrossValidation(4, rule="1se")
    result = si.solve(contained(A), b, si.L1(), select=selector, tol=1e-8)
    choice = si.select_lam(contained(A), b, si.L1(), selector, tol=1e-8)
    assert result.success
    assert result.lam == result.selection.lam == choice.lam
    assert np.array_equal(result.selection.criterion, choice.criterion)
    assert np.allclose(result.x, choice.result.x, atol=1e-3)
    assert "4-fold cross-validation" in repr(result)
    assert result.n_matvec + result.n_rmatvec > result.selection.n_products


def test_solve_takes_relative_factors():
    A, b = data(41)
    factors = np.linspace(0.5, 2.0, 25)
    result = si.solve(A, b, si.L1(factors), select=si.CrossValidation(4))
    assert np.array_equal(result.lam, result.selection.lam * factors)
    weighted = si.solve(A, b, si.L1(weights=factors), select=si.CrossValidation(4))
    assert np.allclose(weighted.x, result.x)


def test_interrupt_while_folds_run():
    A, b = data(42)

    class Interrupting(Products):
        def matvec(self, x):
            if self.forward == 40:
                raise KeyboardInterrupt
            return super().matvec(x)

    with pytest.raises(si.Interrupted) as caught:
        si.solve(Interrupting(A), b, si.L1(), select=si.CrossValidation(4))
    assert not caught.value.result.x.any()
    with pytest.raises(KeyboardInterrupt) as caught:
        si.select_lam(Interrupting(A), b, si.L1(), si.CrossValidation(4))
    assert not isinstance(caught.value, si.Interrupted)


class Endless(si.Solver):
    """Move for ever, ten milliseconds at a time, without holding the interpreter."""

    def start(self, problem, x0):
        return State(np.zeros(problem.n))

    def step(self, problem, state, budget):
        time.sleep(0.01)
        state.x = state.x + 1e-9
        state.n_iter += 1
        return Outcome.MOVED


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to a thread are POSIX only")
def test_a_signal_ends_all_folds():
    A, b = data(45)
    before = threading.active_count()
    timer = threading.Timer(0.5, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    began = time.perf_counter()
    timer.start()
    with pytest.raises(si.Interrupted):
        si.solve(A, b, si.L1(), select=si.CrossValidation(4), solver=Endless(), max_iter=10**6)
    assert time.perf_counter() - began < 20.0  # without the signal: hours
    timer.join()
    assert threading.active_count() == before


def test_a_product_that_fails_is_reported():
    A, b = data(43)

    class Failing(Products):
        def matvec(self, x):
            if self.forward >= 40:
                raise RuntimeError("out of order")
            return super().matvec(x)

    result = si.solve(Failing(A), b, si.L1(), select=si.CrossValidation(4))
    assert result.status is si.Status.NUMERICAL_FAILURE
    assert "out of order" in result.message
    with pytest.raises(ValueError, match="out of order"):
        si.select_lam(Failing(A), b, si.L1(), si.CrossValidation(4))


@pytest.mark.parametrize("contained", [np.asarray, Products])
def test_no_time(contained):
    A, b = data(44)
    choice = si.select_lam(contained(A), b, si.L1(), si.CrossValidation(4), n_lams=9, max_time=0.0)
    assert len(choice.path) == 9
    assert choice.at_edge
    assert "of 9 levels only" in choice.rule
    result = si.solve(contained(A), b, si.L1(), select=si.CrossValidation(4), max_time=0.0)
    assert result.lam == si.lam_max(A, b, si.L1())


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(folds=1), ValueError, "folds is 1"),
        (dict(folds=2.5), TypeError, "folds is 2.5"),
        (dict(folds=True), ValueError, "folds is True"),
        (dict(rule="best"), ValueError, "rule is 'best'"),
        (dict(seed=-1), ValueError, "seed is -1"),
        (dict(seed=None), TypeError, "seed is None"),
        (dict(tol=-1.0), ValueError, "tol is -1.0"),
        (dict(folds=[0, 1], groups=[0, 1]), ValueError, "leaves nothing for groups"),
    ],
)
def test_bad_rules_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        si.CrossValidation(**arguments)


@pytest.mark.parametrize(
    ("selector", "error", "words"),
    [
        (si.CrossValidation(41), ValueError, "folds is 41, but A has 40 rows"),
        (si.CrossValidation(5, groups=np.arange(39)), ValueError, r"groups has shape \(39,\)"),
        (si.CrossValidation(5, groups=np.arange(40) % 3), ValueError, "groups has 3 distinct labels"),
        (si.CrossValidation(5, groups=np.r_[np.nan, np.ones(39)]), TypeError, "holds NaN"),
        (si.CrossValidation(np.zeros(40)), ValueError, "folds has one label only"),
        (si.CrossValidation(np.zeros(3)), ValueError, r"folds has shape \(3,\)"),
        (si.CrossValidation, TypeError, "is the class CrossValidation"),
        ("cv", TypeError, "'cv', but a selector such as"),
    ],
)
def test_bad_folds_are_refused_before_any_product(selector, error, words):
    A, b = data(50)
    held = Products(A)
    with pytest.raises(error, match=words):
        si.select_lam(held, b, si.L1(), selector)
    with pytest.raises(error, match=words):
        si.solve(held, b, si.L1(), select=selector)
    assert held.forward + held.adjoint == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (dict(penalty=si.L2()), ValueError, "lams is missing: an L2 penalty"),
        (dict(lams=[-1.0]), ValueError, r"lams\[0\] is -1.0"),
        (dict(n_threads=0), ValueError, "n_threads is 0"),
        (dict(solver="best"), TypeError, "solver is 'best'"),
        (dict(max_time=-1), ValueError, "max_time is -1"),
        (dict(ratio=2), ValueError, "ratio is 2"),
    ],
)
def test_bad_settings_are_refused(arguments, error, words):
    A, b = data(51)
    arguments = {"penalty": si.L1(), **arguments}
    with pytest.raises(error, match=words):
        si.select_lam(A, b, arguments.pop("penalty"), si.CrossValidation(4), **arguments)


def test_a_fold_that_hides_an_unpenalised_coefficient_is_refused():
    A, b = data(52)
    A[:, 0] = 0.0
    A[5, 0] = 1.0
    with pytest.raises(ValueError, match="unpenalised columns of A have rank 0 instead of 1"):
        si.select_lam(A, b, si.L1(weights=np.r_[0.0, np.ones(24)]), si.CrossValidation(4), n_lams=4)


def test_report():
    labels = np.arange(6)
    assert repr(si.CrossValidation()) == "CrossValidation(5)"
    assert repr(si.CrossValidation(3, rule="1se", groups=labels, seed=2)) == (
        "CrossValidation(3, rule='1se', groups=<6 labels>, seed=2)"
    )
    A, b = data(53)
    choice = si.select_lam(A, b, si.L1(), si.CrossValidation(4), n_lams=9)
    lines = repr(choice).splitlines()
    assert lines[0].startswith(f"lam = {choice.lam:.6g}: 4-fold cross-validation, least squared error")
    assert lines[1].startswith("  levels      9 from ")
    assert lines[2].startswith(f"  criterion   {choice.criterion.min():.6g} +- ")
    assert "CONVERGED" in lines[3]


def test_levels_without_time_cost_no_prediction():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 60))
    b = A[:, 0] + rng.standard_normal(40)
    late = si.select_lam(Products(A), b, si.L1(), si.CrossValidation(4), max_time=0.0, path=False)
    assert late.at_edge
    assert "time for" in late.rule
    assert late.n_products < 60  # 4 folds of 100 levels
