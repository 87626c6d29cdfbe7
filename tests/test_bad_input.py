"""Bad input is refused in a sentence, before any work; trivial input is solved at once.

A sentence names the argument, says what is wrong and what would be right. Where a matrix-free operator is
part of the input, not a single product has been asked of it by then.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spl

import sparseinv as si

M, N = 6, 8
LABELS = ["a", "a", "b", "b", "b", "c", "c", "c"]


class Counting:
    """A matrix-free map that counts its products."""

    def __init__(self, A):
        self.array, self.shape, self.calls = A, A.shape, 0

    def matvec(self, x):
        self.calls += 1
        return self.array @ x

    def rmatvec(self, y):
        self.calls += 1
        return self.array.conj().T @ y


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((M, N)), rng.standard_normal(M)


def with_value(array, position, value):
    array = np.array(array)
    array[position] = value
    return array


def assert_refused(error, fragments, action):
    with pytest.raises((ValueError, TypeError)) as caught:
        action()
    assert isinstance(caught.value, error), repr(caught.value)
    sentence = str(caught.value)
    missing = [fragment for fragment in fragments if fragment not in sentence]
    assert not missing, f"{missing} not in {sentence!r}"


# --- A ------------------------------------------------------------------------------------------------

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "reversed": lambda A: np.ascontiguousarray(A[::-1, ::-1])[::-1, ::-1],
    "strided": lambda A: np.repeat(np.repeat(A, 2, axis=0), 3, axis=1)[::2, ::3],
    "part of a larger one": lambda A: np.asfortranarray(np.pad(A, 2))[2:-2, 2:-2],
    "single": lambda A: A.astype(np.float32),
    "list": lambda A: A.tolist(),
    "csr_array": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc_array": sp.csc_array,
    "coo_array": sp.coo_array,
    "lil_array": sp.lil_array,
    "dok_array": sp.dok_array,
    "bsr_array": sp.bsr_array,
    "dia_array": sp.dia_array,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [(0, 0), (4, 5), (5, 1)])
def test_position_of_what_is_not_finite(layout, value, position):
    A, b = data()
    A = LAYOUTS[layout](with_value(A, position, value))
    where = f"A contains {value} at A[{position[0]}, {position[1]}]"
    assert_refused(ValueError, [where, "remove or replace it"], lambda: si.solve(A, b, si.L1(0.1)))


def test_the_first_of_several_in_a_large_matrix():
    """The search goes block by block; positions count over the whole array."""
    A = np.zeros((3000, 3000), order="F")
    A[2999, 2000] = np.nan
    A[17, 2500] = np.inf
    with pytest.raises(ValueError, match=r"A contains nan at A\[2999, 2000\]"):
        si.solve(A, np.ones(3000), si.L1(0.1))
    with pytest.raises(ValueError, match=r"A contains inf at A\[17, 2500\]"):
        si.solve(A.T.copy(order="F").T, np.ones(3000), si.L1(0.1))


def test_complex_not_finite():
    A, b = data()
    A = with_value(A.astype(complex), (1, 2), complex(0, np.nan))
    assert_refused(ValueError, ["A contains", "nan", "A[1, 2]"], lambda: si.solve(A, b, si.L1(0.1)))


BAD_A = {
    "number": (3.0, ValueError, ["A has 0 dimensions", "a matrix of shape (m, n) is needed"]),
    "vector": (np.ones(M), ValueError, ["A has 1 dimensions", "a matrix of shape (m, n)"]),
    "cube": (np.ones((M, N, 2)), ValueError, ["A has 3 dimensions", "a matrix of shape (m, n)"]),
    "strings": (
        np.full((M, N), "1.0"),
        TypeError,
        ["A has dtype <U3", "numbers are needed", "astype(float)"],
    ),
    "bytes": (np.full((M, N), b"1"), TypeError, ["A has dtype", "numbers are needed"]),
    "objects": (np.full((M, N), None), TypeError, ["A has dtype object", "numbers are needed"]),
    "dates": (np.zeros((M, N), "M8[s]"), TypeError, ["A has dtype datetime64", "numbers are needed"]),
    "records": (np.zeros((M, N), "f8,f8"), TypeError, ["A has dtype", "numbers are needed"]),
    "path": ("A.npy", TypeError, ["A is a str", "a matrix or a linear operator is needed"]),
    "function": (np.dot, TypeError, ["A is a", "a matrix or a linear operator is needed"]),
    "nothing": (None, TypeError, ["A has dtype object", "numbers are needed"]),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, ["A is not a rectangular array of numbers"]),
    "masked": (
        np.ma.masked_less(np.linspace(-1, 1, M * N).reshape(M, N), 0),
        ValueError,
        ["A is a masked array", "fill them, or drop those rows"],
    ),
    "beyond double": (
        np.full((M, N), np.longdouble("1e4000")),
        ValueError,
        ["A contains inf at A[0, 0]"],
    ),
    "sparse vector": (sp.coo_array(np.ones(M)), ValueError, ["A has 1 dimensions", "shape (m, n)"]),
}


@pytest.mark.parametrize("what", BAD_A)
def test_bad_matrix(what):
    A, error, fragments = BAD_A[what]
    assert_refused(error, fragments, lambda: si.solve(A, np.ones(M), si.L1(0.1)))


def test_masked_array_without_masked_entries_is_a_matrix():
    A, b = data()
    assert np.array_equal(si.solve(np.ma.asarray(A), b, si.L1(0.1)).x, si.solve(A, b, si.L1(0.1)).x)


# --- b, x0 and the settings ---------------------------------------------------------------------------

BAD_B = {
    "too short": (np.ones(M - 1), ValueError, [f"b has {M - 1} entries, but A has {M} rows"]),
    "too long": (np.ones(N), ValueError, [f"b has {N} entries, but A has {M} rows"]),
    "column": (
        np.ones((M, 1)),
        ValueError,
        [f"b has shape ({M}, 1)", f"shape ({M},) is needed", "b.ravel()"],
    ),
    "row": (np.ones((1, M)), ValueError, [f"b has shape (1, {M})", f"shape ({M},)", "b.ravel()"]),
    "several": (np.ones((M, 2)), ValueError, [f"b has shape ({M}, 2)", f"a vector of shape ({M},)"]),
    "number": (1.0, ValueError, ["b has shape ()", f"a vector of shape ({M},) is needed"]),
    "nan": (
        with_value(np.ones(M), 4, np.nan),
        ValueError,
        ["b contains nan at b[4]", "remove or replace it"],
    ),
    "inf": (with_value(np.ones(M), 0, -np.inf), ValueError, ["b contains -inf at b[0]"]),
    "strided nan": (
        np.repeat(with_value(np.ones(M), 2, np.nan), 3)[::3],
        ValueError,
        ["b contains nan at b[2]"],
    ),
    "strings": (["1"] * M, TypeError, ["b has dtype <U1", "numbers are needed"]),
    "objects": ([None] * M, TypeError, ["b has dtype object", "numbers are needed"]),
    "nothing": (None, TypeError, ["b has dtype object", "numbers are needed"]),
    "sparse": (sp.csr_array(np.ones((1, M))), TypeError, ["b", "numbers are needed"]),
    "masked": (np.ma.masked_equal(np.arange(M), 3), ValueError, ["b is a masked array"]),
}


@pytest.mark.parametrize("what", BAD_B)
def test_bad_data(what):
    b, error, fragments = BAD_B[what]
    A = Counting(data()[0])
    assert_refused(error, fragments, lambda: si.solve(A, b, si.L1(0.1)))
    assert A.calls == 0


BAD_SETTINGS = {
    "x0 too short": ({"x0": np.ones(N - 1)}, ValueError, [f"x0 has shape ({N - 1},)", f"x has shape ({N},)"]),
    "x0 column": ({"x0": np.ones((N, 1))}, ValueError, [f"x0 has shape ({N}, 1)", f"shape ({N},)"]),
    "x0 nan": ({"x0": with_value(np.ones(N), 3, np.nan)}, ValueError, ["x0 contains nan at x0[3]"]),
    "x0 strings": ({"x0": ["1"] * N}, TypeError, ["x0 has dtype", "numbers are needed"]),
    "tol negative": ({"tol": -1e-3}, ValueError, ["tol is -0.001", "finite number >= 0"]),
    "tol nan": ({"tol": np.nan}, ValueError, ["tol is nan", ">= 0"]),
    "tol inf": ({"tol": np.inf}, ValueError, ["tol is inf", "finite"]),
    "tol text": ({"tol": "1e-3"}, TypeError, ["tol is '1e-3'", "one real number is needed"]),
    "tol vector": ({"tol": [1e-3]}, TypeError, ["tol is [0.001]", "one real number"]),
    "tol none": ({"tol": None}, TypeError, ["tol is None", "one real number"]),
    "tol complex": ({"tol": 1e-3j}, TypeError, ["tol is", "one real number"]),
    "max_iter negative": ({"max_iter": -1}, ValueError, ["max_iter is -1", "whole number >= 0"]),
    "max_iter fraction": ({"max_iter": 2.5}, TypeError, ["max_iter is 2.5", "whole number"]),
    "max_iter truth": ({"max_iter": True}, ValueError, ["max_iter is True", "whole number"]),
    "max_time negative": ({"max_time": -1.0}, ValueError, ["max_time is -1.0", ">= 0 seconds"]),
    "max_time nan": ({"max_time": np.nan}, ValueError, ["max_time is nan", ">= 0 seconds"]),
    "max_time text": ({"max_time": "1 s"}, TypeError, ["max_time is '1 s'", "one real number"]),
    "callback": ({"callback": 3}, TypeError, ["callback is 3", "a function of one argument"]),
    "solver text": (
        {"solver": "fista"},
        TypeError,
        ["solver is 'fista'", "'auto' or a solver object", "FISTA()"],
    ),
    "solver class": ({"solver": si.FISTA}, TypeError, ["solver is the class FISTA", "FISTA()"]),
    "rng": ({"rng": "seed"}, TypeError, ["rng is 'seed'", "None, a seed or a numpy.random.Generator"]),
}


@pytest.mark.parametrize("what", BAD_SETTINGS)
def test_bad_settings(what):
    settings, error, fragments = BAD_SETTINGS[what]
    A, b = Counting(data()[0]), data()[1]
    assert_refused(error, fragments, lambda: si.solve(A, b, si.L1(0.1), **settings))
    assert A.calls == 0


def test_complex_start_of_a_real_problem():
    """Whether a matrix-free A is real takes one product to know."""
    A, b = data()
    fragments = ["x0 is complex, but A and b are real", "x0.real"]
    assert_refused(ValueError, fragments, lambda: si.solve(A, b, si.L1(0.1), x0=1j * np.ones(N)))
    operator = Counting(A)
    assert_refused(ValueError, fragments, lambda: si.solve(operator, b, si.L1(0.1), x0=1j * np.ones(N)))
    assert operator.calls <= 1


def test_zero_is_a_tolerance_and_a_limit():
    A, b = data()
    assert si.solve(A, b, si.L1(0.1), tol=0.0).status in (si.Status.CONVERGED, si.Status.PRECISION_FLOOR)
    assert si.solve(A, b, si.L1(0.1), max_iter=0).status is si.Status.MAX_ITER
    assert si.solve(A, b, si.L1(0.1), max_time=0).status is si.Status.MAX_TIME


# --- penalties ----------------------------------------------------------------------------------------

BAD_PENALTY = {
    "lam negative": (lambda: si.L1(-1.0), ValueError, ["lam is -1.0", ">= 0", "inf excludes"]),
    "lam nan": (lambda: si.L0(np.nan), ValueError, ["lam is nan", ">= 0"]),
    "lam entry": (lambda: si.L2([1.0, 0.0, -2.0]), ValueError, ["lam[2] is -2.0", ">= 0"]),
    "lam nan entry": (lambda: si.ElasticNet([1.0, np.nan]), ValueError, ["lam[1] is nan", ">= 0"]),
    "lam complex": (lambda: si.L1(1j), TypeError, ["lam is complex", "a real number >= 0"]),
    "lam matrix": (
        lambda: si.L1(np.ones((2, 2))),
        ValueError,
        ["lam has shape (2, 2)", "one number or a vector"],
    ),
    "lam text": (lambda: si.L1("0.1max"), TypeError, ["lam has dtype", "numbers are needed"]),
    "weights negative": (lambda: si.L1(1.0, weights=[1, -1]), ValueError, ["weights[1] is -1.0", ">= 0"]),
    "groups matrix": (
        lambda: si.L1(1.0, groups=[[0, 1]]),
        ValueError,
        ["groups has shape (1, 2)", "shape (n,)"],
    ),
    "groups nan": (
        lambda: si.L1(1.0, groups=[0.0, np.nan]),
        ValueError,
        ["groups[1] is NaN", "no group label"],
    ),
    "groups objects": (
        lambda: si.GroupL1(1.0, groups=["a", 1, None]),
        TypeError,
        ["groups has dtype object", "of one type"],
    ),
    "groups missing": (
        lambda: si.GroupL1(1.0),
        ValueError,
        ["groups is missing", "one label per coefficient"],
    ),
    "l1_ratio zero": (
        lambda: si.ElasticNet(1.0, l1_ratio=0.0),
        ValueError,
        ["l1_ratio is 0.0", "(0, 1]", "L2"],
    ),
    "l1_ratio large": (lambda: si.ElasticNet(1.0, l1_ratio=1.5), ValueError, ["l1_ratio is 1.5", "(0, 1]"]),
    "nonnegative": (
        lambda: si.L1(1.0, nonnegative="yes"),
        TypeError,
        ["nonnegative is 'yes'", "True or False"],
    ),
}


@pytest.mark.parametrize("what", BAD_PENALTY)
def test_bad_penalty(what):
    action, error, fragments = BAD_PENALTY[what]
    assert_refused(error, fragments, action)


MISFITS = {
    "lam length": (
        lambda: si.L1(np.ones(3)),
        ValueError,
        ["lam has 3 entries", f"there are {N} coefficients"],
    ),
    "weights length": (
        lambda: si.L1(1.0, weights=np.ones(3)),
        ValueError,
        ["weights has 3 entries", f"{N} coefficients"],
    ),
    "lam per group": (
        lambda: si.L1([1.0, 2.0], groups=LABELS),
        ValueError,
        ["lam has 2 entries", "groups has 3 distinct labels", "numpy.unique(groups)"],
    ),
    "lam per coefficient with groups": (
        lambda: si.L1(np.ones(N), groups=LABELS),
        ValueError,
        [f"lam has {N} entries", "3 distinct labels"],
    ),
    "GroupL1 lam": (
        lambda: si.GroupL1([1.0, 2.0], groups=LABELS),
        ValueError,
        ["lam has 2 entries", "3 distinct labels"],
    ),
    "GroupL1 weights": (
        lambda: si.GroupL1(1.0, groups=LABELS, weights=np.ones(N)),
        ValueError,
        [f"weights has {N} entries", "3 distinct labels"],
    ),
    "groups length": (
        lambda: si.L1(1.0, groups=[0, 1]),
        ValueError,
        ["groups has 2 labels", f"there are {N} coefficients"],
    ),
    "zero times infinity": (
        lambda: si.L1(0.0, weights=with_value(np.ones(N), 5, np.inf)),
        ValueError,
        ["lam * weights is 0 * inf at coefficient 5", "not both"],
    ),
    "text": (lambda: "l1", TypeError, ["penalty is 'l1'", "L1(lam)", "your own subclass of Penalty"]),
    "number": (lambda: 0.3, TypeError, ["penalty is 0.3", "a penalty object is needed"]),
    "class": (lambda: si.L1, TypeError, ["penalty is the class L1", "L1(...)"]),
}


@pytest.mark.parametrize("what", MISFITS)
@pytest.mark.parametrize("door", ["solve", "iterate", "certify"])
def test_penalty_that_does_not_fit(what, door):
    make, error, fragments = MISFITS[what]
    A, b = Counting(data()[0]), data()[1]
    arguments = (A, b, make(), np.zeros(N)) if door == "certify" else (A, b, make())
    assert_refused(error, fragments, lambda: getattr(si, door)(*arguments))
    assert A.calls == 0


@pytest.mark.parametrize("penalty", [si.L1, si.L2, si.L0, si.ElasticNet], ids=lambda p: p.__name__)
@pytest.mark.parametrize("which", ["A", "b"])
def test_real_option_with_complex_data(penalty, which):
    A, b = data()
    A, b = (A * 1j, b) if which == "A" else (A, b * 1j)
    said = ["nonnegative=True needs real data", f"{which} is complex"]
    assert_refused(ValueError, said, lambda: si.solve(A, b, penalty(0.1, nonnegative=True)))


def test_real_option_with_complex_data_and_an_operator():
    A, b = data()
    operator = Counting(A)
    with pytest.raises(ValueError, match="nonnegative=True needs real data, but b is complex"):
        si.solve(operator, b * 1j, si.L1(0.1, nonnegative=True))
    assert operator.calls == 0
    with pytest.raises(ValueError, match="nonnegative=True needs real data, but A is complex"):
        si.solve(Counting(1j * A), b, si.L1(0.1, nonnegative=True))


# --- a solver that cannot treat the problem -----------------------------------------------------------

LABELLED = si.GroupL1(0.1, groups=LABELS)


class Box(si.Penalty):
    """|x_j| <= 1."""

    convex = True

    def value(self, x):
        return 0.0 if (np.abs(x) <= 1).all() else np.inf

    def prox(self, v, step):
        return np.clip(v, -1, 1)


REFUSALS = {
    "FISTA, L0": (si.FISTA(), si.L0(0.1), True, ["FISTA needs a convex penalty", "ISTA", "IRLS", "IRL1"]),
    "BB, L0": (si.BarzilaiBorwein(), si.L0(0.1), True, ["BarzilaiBorwein needs a convex", "ISTA", "IRL1"]),
    "Ridge, L0": (si.Ridge(), si.L0(0.1), True, ["Ridge needs a pure L2 penalty", "ISTA", "IRLS", "IRL1"]),
    "Ridge, L1": (si.Ridge(), si.L1(0.1), True, ["Ridge needs a pure L2 penalty", "FISTA"]),
    "Ridge, signs": (si.Ridge(), si.L2(0.1, nonnegative=True), True, ["Ridge needs", "nonnegative", "FISTA"]),
    "Ridge, direct": (si.Ridge(direct=True), si.L2(0.1), True, ["direct=True needs A in memory", "Ridge()"]),
    "columns": (si.CoordinateDescent(), si.L1(0.1), True, ["needs columns of A in memory", "FISTA", "ISTA"]),
    "set, L0": (si.WorkingSet(), si.L0(0.1), False, ["WorkingSet needs a convex penalty", "IRL1", "ISTA"]),
    "set, own": (si.WorkingSet(), Box(), False, ["WorkingSet does not treat Box", "ISTA"]),
    "own, columns": (si.CoordinateDescent(), Box(), False, ["does not know the penalty Box", "FISTA"]),
    "groups, Gram": (si.CoordinateDescent(gram=True), LABELLED, False, ["gram=True has no groups"]),
    "IRL1, groups": (si.IRL1(), LABELLED, True, ["IRL1 treats L0, L1, L2 and ElasticNet only", "FISTA"]),
    "IRLS, signs": (
        si.IRLS(),
        si.L1(0.1, nonnegative=True),
        True,
        ["IRLS does not handle nonnegative", "FISTA"],
    ),
    "IRLS, own": (si.IRLS(), Box(), True, ["IRLS has no weights for Box", "FISTA"]),
}


@pytest.mark.parametrize(
    ("what", "lam"),
    [(what, "given") for what in REFUSALS]
    + [(what, None) for what, case in REFUSALS.items() if hasattr(case[1], "lam")],
)
def test_solver_that_cannot(what, lam):
    """Named before the first product, also where choosing lambda would come first."""
    solver, penalty, matrix_free, fragments = REFUSALS[what]
    if lam is None:
        penalty = penalty.replace(lam=None)
    A, b = data()
    A = Counting(A) if matrix_free else A
    fragments = [*fragments, "solver='auto'"]
    assert_refused(ValueError, fragments, lambda: si.solve(A, b, penalty, solver=solver))
    if matrix_free:
        assert A.calls == 0


BAD_SOLVER = {
    "norm zero": (lambda: si.FISTA(norm=0.0), ValueError, ["norm is 0.0", "finite number > 0"]),
    "norm negative": (lambda: si.ISTA(norm=-1.0), ValueError, ["norm is -1.0", "> 0"]),
    "norm nan": (lambda: si.FISTA(norm=np.nan), ValueError, ["norm is nan", "> 0"]),
    "norm text": (lambda: si.FISTA(norm="auto"), TypeError, ["norm is 'auto'", "one real number"]),
    "p zero": (lambda: si.IRLS(p=0), ValueError, ["p is 0", "(0, 1]"]),
    "rounds": (lambda: si.IRL1(rounds=0), ValueError, ["rounds is 0", "whole number >= 1"]),
    "inner": (lambda: si.IRL1(inner="FISTA"), TypeError, ["inner is 'FISTA'", "FISTA()"]),
}


@pytest.mark.parametrize("what", BAD_SOLVER)
def test_bad_solver(what):
    action, error, fragments = BAD_SOLVER[what]
    assert_refused(error, fragments, action)


# --- operators ----------------------------------------------------------------------------------------


class Faulty(Counting):
    """A map that is wrong in one respect."""

    def __init__(self, A, matvec=None, rmatvec=None):
        super().__init__(A)
        self.forward, self.backward = matvec, rmatvec

    def matvec(self, x):
        y = super().matvec(x)
        return y if self.forward is None else self.forward(y)

    def rmatvec(self, y):
        x = super().rmatvec(y)
        return x if self.backward is None else self.backward(x)


def boom(_):
    raise ZeroDivisionError("boom")


FAULTS = {
    "adjoint": (
        {"rmatvec": lambda x: 2 * x},
        [
            "A.rmatvec is not the adjoint of A.matvec",
            "<y, A x> =",
            "<A^H y, x> =",
            "conjugate transpose",
            "check_operator=False",
        ],
    ),
    "sign of one entry": ({"rmatvec": lambda x: x * np.r_[np.ones(7), -1]}, ["is not the adjoint"]),
    "nan forward": ({"matvec": lambda y: y * np.nan}, ["A.matvec returned a non-finite value"]),
    "inf backward": ({"rmatvec": lambda x: x / 0.0}, ["A.rmatvec returned a non-finite value"]),
    "raises": ({"matvec": boom}, ["A.matvec raised ZeroDivisionError: boom"]),
    "raises backward": ({"rmatvec": boom}, ["A.rmatvec raised ZeroDivisionError: boom"]),
    "column": ({"matvec": lambda y: y[:, None]}, [f"A.matvec returned shape ({M}, 1), but ({M},) is needed"]),
    "length": ({"rmatvec": lambda x: x[1:]}, [f"A.rmatvec returned shape ({N - 1},), but ({N},) is needed"]),
    "text": ({"matvec": lambda y: y.astype(str)}, ["A.matvec returned dtype", "numbers are needed"]),
    "nothing": ({"matvec": lambda y: None}, ["A.matvec returned shape ()", f"({M},) is needed"]),
}


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_faulty_operator(what):
    faults, fragments = FAULTS[what]
    A, b = data()
    for action in (
        lambda operator: si.solve(operator, b, si.L1(0.1)),
        lambda operator: si.iterate(operator, b, si.L1(0.1)),
        lambda operator: si.certify(operator, b, si.L1(0.1), np.zeros(N)),
        lambda operator: si.lam_max(operator, b, si.L1()),
    ):
        operator = Faulty(A, **faults)
        with pytest.raises((ValueError, TypeError)) as caught:
            action(operator)
        sentence = str(caught.value)
        assert not [fragment for fragment in fragments if fragment not in sentence], sentence
        assert operator.calls <= 2


def test_the_two_inner_products_are_the_ones_that_differ():
    A, b = data()
    with pytest.raises(ValueError, match="is not the adjoint") as caught:
        si.solve(Faulty(A, rmatvec=lambda x: 2 * x), b, si.L1(0.1))
    words = str(caught.value).replace(";", " ").split()
    first, second = (float(words[i + 1]) for i, word in enumerate(words) if word == "=")
    assert second == pytest.approx(2 * first, rel=1e-6)


def test_the_adjoint_test_can_be_switched_off():
    A, b = data()
    result = si.solve(Faulty(A, rmatvec=lambda x: 2 * x), b, si.L1(0.1), check_operator=False, max_iter=5)
    assert isinstance(result, si.Result)


def test_operator_without_an_adjoint():
    A, b = data()

    class Forward:
        shape = A.shape

        def matvec(self, x):
            raise AssertionError("no product before the refusal")

    fragments = ["without a usable rmatvec", "define rmatvec(y) = A^H y"]
    for check in (True, False):
        assert_refused(
            TypeError, fragments, lambda check=check: si.solve(Forward(), b, si.L1(0.1), check_operator=check)
        )
    undefined = spl.LinearOperator(A.shape, matvec=lambda x: A @ x, dtype=float)
    assert_refused(ValueError, fragments, lambda: si.solve(undefined, b, si.L1(0.1)))


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5), ((3, 2), 4), 7])
def test_operator_of_strange_shape(shape):
    class Strange(Counting):
        def __init__(self):
            self.shape, self.calls = shape, 0

    with pytest.raises(ValueError, match=r"A\.shape is .*, but an operator needs shape \(m, n\)"):
        si.solve(Strange(), np.ones(3), si.L1(0.1))


# --- the other doors ----------------------------------------------------------------------------------


def test_doors_that_need_a_level():
    A, b = data()
    fragments = ["lam is missing"]
    assert_refused(ValueError, [*fragments, "lam_max"], lambda: si.iterate(A, b, si.L1()))
    assert_refused(ValueError, fragments, lambda: si.certify(A, b, si.L1(), np.zeros(N)))


@pytest.mark.parametrize("x", [np.ones(3), np.ones((N, 1)), with_value(np.ones(N), 2, np.nan), ["x"] * N])
def test_certify_refuses_what_is_no_point(x):
    A, b = Counting(data()[0]), data()[1]
    with pytest.raises((ValueError, TypeError), match=r"^x (has|contains)"):
        si.certify(A, b, si.L1(0.1), x)
    assert A.calls == 0


def test_doors_that_need_a_penalty_with_a_level():
    A, b = data()
    assert_refused(TypeError, ["penalty is", "has no level"], lambda: si.lam_max(A, b, Box()))
    assert_refused(TypeError, ["penalty is 'x'", "L1, L2, L0"], lambda: si.lam_max(A, b, "x"))


def test_rescaling_refuses_where_the_equivalence_is_false():
    A, _ = data()
    assert_refused(ValueError, ["penalty is L0", "1/sqrt(lam)"], lambda: si.rescale_problem(A, si.L0(1.0)))
    for value in (0.0, np.inf):
        penalty = si.L1(with_value(np.ones(N), 3, value))
        fragments = [f"lam is {value} for coefficient 3", "finite lam > 0"]
        assert_refused(ValueError, fragments, lambda penalty=penalty: si.rescale_problem(A, penalty))


# --- trivial problems ---------------------------------------------------------------------------------

CONVEX = {
    "L1": lambda lam, n: si.L1(lam),
    "L1 nonnegative": lambda lam, n: si.L1(lam, nonnegative=True),
    "L2": lambda lam, n: si.L2(lam),
    "ElasticNet": lambda lam, n: si.ElasticNet(lam),
    "GroupL1": lambda lam, n: si.GroupL1(lam, groups=np.arange(n) // 3),
}
PENALTIES = {**CONVEX, "L0": lambda lam, n: si.L0(lam)}
SOLVERS = [
    "auto", si.ISTA(), si.FISTA(), si.FISTA(monotone=True), si.BarzilaiBorwein(), si.CoordinateDescent(),
    si.CoordinateDescent(gram=True), si.WorkingSet(), si.Ridge(), si.Ridge(direct=False), si.IRLS(),
    si.IRL1(), si.MessagePassing(), si.Portfolio(), si.SL0(), si.SparseBayesian(),
]  # fmt: skip
WRAP = {"dense": np.asarray, "csc": sp.csc_array, "operator": Counting}


def solved(A, b, penalty, wrap):
    """Yield (solver, result) for every solver that takes the problem."""
    for solver in SOLVERS:
        try:
            result = si.solve(wrap(A), b, penalty, solver=solver, tol=1e-10)
        except ValueError as refusal:
            if "solver='auto'" not in str(refusal):
                raise
        else:
            yield solver, result


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("what", ["A = 0", "b = 0", "m = 0", "n = 0", "m = n = 0", "lam = inf"])
@pytest.mark.parametrize("lam", [0.3, None])
def test_nothing_to_find(what, name, kind, lam):
    """x = 0 (or empty) at once, with a proof; also where lambda is left to the data."""
    A, b = data()
    A, b = {"A = 0": (0 * A, b), "b = 0": (A, 0 * b), "m = 0": (A[:0], b[:0]), "n = 0": (A[:, :0], b)}.get(
        what, (A, b)
    )
    if what == "m = n = 0":
        A, b = A[:0, :0], b[:0]
    if what == "lam = inf":
        if lam is None:
            return
        lam = np.inf
    n = A.shape[1]
    count = 0
    for solver, result in solved(A, b, PENALTIES[name](lam, n), WRAP[kind]):
        count += 1
        assert result.status is si.Status.CONVERGED, solver
        assert result.x.shape == (n,), solver
        assert not result.x.any(), solver
        assert result.certificate.value == 0.0, solver
        assert result.objective == pytest.approx(0.5 * b @ b), solver
        # reweighting finds it out in a few rounds where no global proof exists
        assert result.n_iter <= (30 if name == "L0" else 1), solver
    assert count >= 3


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", [name for name in PENALTIES if name != "L2"])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_level_at_which_nothing_enters(name, kind, factor):
    A, b = data()
    lam = factor * si.lam_max(A, b, PENALTIES[name](None, N))
    for solver, result in solved(A, b, PENALTIES[name](lam, N), WRAP[kind]):
        assert result.status is si.Status.CONVERGED, solver
        # the level of L0 is that of single coefficients: two together may still pay
        pair = name == "L0" and result.objective < 0.5 * b @ b * (1 - 1e-6)
        assert pair or not result.x.any(), solver
        assert result.certificate.relative <= 1e-14, solver
        assert result.n_iter <= (2000 if name == "L0" else 0), solver


@pytest.mark.parametrize("name", [name for name in CONVEX if name != "L2"])
def test_just_below_that_level_something_enters(name):
    A, b = data()
    lam = 0.99 * si.lam_max(A, b, CONVEX[name](None, N))
    result = si.solve(A, b, CONVEX[name](lam, N), tol=1e-10)
    assert result.success
    assert result.x.any()


@pytest.mark.parametrize("kind", WRAP)
@pytest.mark.parametrize("name", PENALTIES)
def test_zero_columns(name, kind):
    """All columns zero but two; nothing is divided by zero."""
    A, b = data()
    A[:, 2:] = 0.0
    penalty = PENALTIES[name](0.3, N)
    for solver, result in solved(A, b, penalty, WRAP[kind]):
        assert result.success, solver
        assert not result.x[2:].any(), solver
