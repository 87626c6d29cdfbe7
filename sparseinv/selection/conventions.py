"""What other packages and textbooks call lambda, in the unit of this one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.driver import run
from sparseinv.intercept import Intercept
from sparseinv.penalties.separable import L1
from sparseinv.problem import Problem, squared
from sparseinv.selection.defaults import at_level
from sparseinv.selection.theory import build, level_of_zero
from sparseinv.solvers.auto import resolve
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]

_OWN = "sparseinv"
_LEAST = 1e-10  # of lam_max: how small a lam is looked for
_SOLVED, _ITERATIONS = 1e-15, 20_000  # gap and iterations of a solve whose residual is converted
_FOUND = 1e-13  # change of log lam at which it counts as found


@dataclass(frozen=True)
class _Facts:
    """What a convention may divide by."""

    m: int | None
    b: Array | None
    sigma: float | None
    weights: Array | None

    def rows(self) -> float:
        if self.m is None:
            raise ValueError("m is missing: this conversion multiplies by the number of rows; pass m or b")
        return float(self.m)

    def data(self) -> Array:
        if self.b is None:
            raise ValueError("b is missing: this conversion divides by the size of the data; pass b")
        if not self.b.any():
            raise ValueError("b is zero (or constant, with an intercept), so its size is no unit")
        return self.b

    def variance(self) -> float:
        if self.sigma is None:
            raise ValueError("sigma is missing: a prior becomes a lam through the noise's standard deviation")
        return self.sigma**2

    def share(self) -> float:
        """Return what glmnet multiplies penalty factors by: they are made to have the mean 1."""
        if self.weights is None:
            return 1.0
        factors = np.where(np.isinf(self.weights), 1.0, self.weights)
        if not factors.any():
            raise ValueError("weights are all zero, so glmnet cannot scale them to the mean 1")
        return 1.0 / float(factors.mean())


@dataclass(frozen=True)
class _Convention:
    """lam = factor * value^power, for these penalties."""

    penalties: frozenset[str]
    factor: Callable[[_Facts], float]
    power: int = 1


def _named(penalties: str, factor: Callable[[_Facts], float], power: int = 1) -> _Convention:
    return _Convention(frozenset(penalties.split()), factor, power)


def _one(facts: _Facts) -> float:
    return 1.0


_ALL = "L0 L1 L2 ElasticNet GroupL1"
_CONVENTIONS = {
    _OWN: _named(_ALL, _one),
    "mean": _named(_ALL, _Facts.rows),
    "C": _named(_ALL, _one, -1),
    "sklearn.Lasso": _named("L1", _Facts.rows),
    "sklearn.ElasticNet": _named("ElasticNet", _Facts.rows),
    "sklearn.Ridge": _named("L2", _one),
    "celer": _named("L1 ElasticNet GroupL1", _Facts.rows),
    "skglm": _named("L1 L2 ElasticNet GroupL1", _Facts.rows),
    "glmnet": _named("L1", lambda facts: facts.rows() * facts.share()),
    "glmnet.ridge": _named(
        "L2",
        lambda facts: facts.rows() * facts.share() * math.sqrt(facts.rows() / squared(facts.data())),
    ),
    "adelie": _named("L1 L2 ElasticNet GroupL1", _Facts.rows),
    "pylops": _named("L0 L1", lambda facts: 0.5),
    "damp": _named("L2", _one, 2),
    "pyproximal": _named("L0 L1 L2 GroupL1", _one),
    "l0learn": _named("L0", lambda facts: squared(facts.data())),
    "weight_decay": _named("L2", _Facts.rows),
    "weight_decay.mse": _named("L2", lambda facts: 0.5 * facts.rows()),
    "course": _named("L2", _one),
    "bayes.gaussian": _named("L2", _Facts.variance, -2),
    "bayes.laplace": _named("L1", _Facts.variance, -1),
}
_CONSTRAINED = ("spgl1.sigma", "spgl1.tau")


def convert_lam(
    value: Any,
    from_: str,
    to: str,
    *,
    m: int | None = None,
    A: Any = None,
    b: Any = None,
    sigma: float | None = None,
    weights: Any = None,
    intercept: bool = False,
) -> Any:
    """Convert a regularisation parameter from one convention to another.

    Every convention's objective, for the same minimiser; r = A x - b, R as in the class of its name:

    ==================  ==========================================================  =================
    name                minimises, with the value v                                 lam here
    ==================  ==========================================================  =================
    sparseinv           1/2 ||r||^2 + v R(x)                                        v
    mean                1/(2 m) ||r||^2 + v R(x)                                    m v
    C                   v/2 ||r||^2 + R(x)                                          1 / v
    sklearn.Lasso       1/(2 m) ||r||^2 + v ||x||_1                                 m v
    sklearn.ElasticNet  1/(2 m) ||r||^2 + v (elastic net)                           m v
    sklearn.Ridge       ||r||^2 + v ||x||^2                                         v
    celer, skglm        1/(2 m) ||r||^2 + v R(x)                                    m v
    adelie              the same; GroupL1: weights = its penalty, sqrt(size) unset  m v
    glmnet              1/(2 m) ||r||^2 + v sum w_j / mean(w) |x_j|                 m v / mean(w)
    glmnet.ridge        alpha=0: the same with x_j^2 / 2, in units of sd(b)         m v / sd(b) / mean(w)
    pylops              FISTA, ISTA: ||r||^2 + v R(x); L0 by threshkind="hard"      v / 2
    damp                ||r||^2 + v^2 ||x||^2 (SciPy's lsqr and lsmr)               v^2
    pyproximal          L1(v), L2(v), ... beside L2(Op, b)                          v
    spgl1.sigma         min ||x||_1 with ||r|| <= v (a norm, not a deviation)       where ||r|| = v
    spgl1.tau           min ||r|| with ||x||_1 <= v                                 where ||x||_1 = v
    l0learn             L0, in units where ||b|| = 1                                ||b||^2 v
    weight_decay        1/(2 m) ||r||^2 + v/2 ||x||^2                               m v
    weight_decay.mse    1/m ||r||^2 + v/2 ||x||^2 (torch: MSELoss)                  m v / 2
    course              1/(2 m) ||r||^2 + v/(2 m) ||x||^2                           v
    bayes.gaussian      noise N(0, sigma^2), x_j ~ N(0, v^2)                        sigma^2 / v^2
    bayes.laplace       noise N(0, sigma^2), x_j ~ exp(-|x_j| / v)                  sigma^2 / v
    ==================  ==========================================================  =================

    Parameters
    ----------
    value : float or array_like
        The parameter in the convention ``from_``, >= 0.
    from_, to : str
        Names of the table.
    m : int, optional
        Number of rows, where b is not passed.
    A, b : optional
        Matrix or operator (m, n) and data (m,): for spgl1 both, for glmnet.ridge and l0learn b.
    sigma : float, optional
        Standard deviation of the noise, for bayes.
    weights : array_like, optional
        glmnet's penalty.factor, or the weights of spgl1; lam then belongs to ``L1(lam, weights=weights)``.
    intercept : bool
        Whether glmnet.ridge or l0learn fit an intercept, which centres b first.

    Returns
    -------
    float or ndarray
        The parameter in the convention ``to``.

    Raises
    ------
    ValueError
        An unknown name, two conventions without a common penalty (a lam of L1 is none of L2), a fact that is
        missing, or an spgl1 constraint that no lam meets.

    Notes
    -----
    Exact up to rounding, but for spgl1: there the problem is solved, up to a few dozen times. Where
    ||b|| <= sigma, so that x = 0, lam_max is returned. Columns: glmnet standardises them unless
    standardize=FALSE, and L0Learn normalises them; see `scale_penalty`. An elastic net converts as a whole
    where the table says so, else part by part. Complex x: the density exp(-|x_j| / v) of a modulus, against
    noise of E|e|^2 = sigma^2, gives half the lam of bayes.laplace.

    References
    ----------
    .. [1] E. van den Berg, M. P. Friedlander, Probing the Pareto frontier for basis pursuit solutions, SIAM
       J. Sci. Comput. 31 (2008) 890-912, doi:10.1137/080714488.

    Examples
    --------
    >>> import sparseinv as si
    >>> si.convert_lam(0.1, "sklearn.Lasso", "sparseinv", m=50)
    5.0
    >>> si.convert_lam(5.0, "sparseinv", "pylops")
    10.0
    """
    for name, asked in (("from_", from_), ("to", to)):
        if not isinstance(asked, str) or (asked not in _CONVENTIONS and asked not in _CONSTRAINED):
            known = ", ".join([*_CONVENTIONS, *_CONSTRAINED])
            raise ValueError(f"{name} is {asked!r}, but one of these is needed: {known}")
    if not _penalties(from_) & _penalties(to):
        raise ValueError(
            f"to is {to!r}, which is a lam of {_listed(to)}, but {from_!r} is one of {_listed(from_)}: they "
            "minimise different objectives, and no number converts one into the other"
        )
    level = validation.lambdas(value, "value")
    if level is None:
        raise TypeError("value is None, but a number is needed")
    facts = _facts(m, b, sigma, weights, intercept)
    if from_ in _CONSTRAINED:
        lam: Any = _root(_constrained(A, b, weights), float(_single(level)), from_)
    else:
        lam = _to_lam(_CONVENTIONS[from_], facts, level)
    if to not in _CONSTRAINED:
        return _from_lam(_CONVENTIONS[to], facts, lam)
    problem = _constrained(A, b, weights)
    return _measure(problem, to)(float(_single(lam)))


def _penalties(name: str) -> frozenset[str]:
    return frozenset(["L1"]) if name in _CONSTRAINED else _CONVENTIONS[name].penalties


def _listed(name: str) -> str:
    return ", ".join(sorted(_penalties(name)))


def _facts(m: Any, b: Any, sigma: Any, weights: Any, intercept: bool) -> _Facts:
    rows = None if m is None else validation.count(m, "m", least=1)
    data = None
    if b is not None:
        size = int(np.size(b))
        if rows is not None and rows != size:
            raise ValueError(f"m is {rows}, but b has {size} entries")
        rows, data = size, validation.right_hand_side(b, size)
        data = Intercept.of(intercept, L1(), data, 1).data(data)
    deviation = None if sigma is None else validation.positive(sigma, "sigma")
    factors = validation.lambdas(weights, "weights")
    return _Facts(rows, data, deviation, None if factors is None else np.atleast_1d(factors))


def _to_lam(convention: _Convention, facts: _Facts, value: Any) -> Any:
    with np.errstate(divide="ignore"):
        powered = value if convention.power == 1 else np.power(np.float64(1.0) * value, convention.power)
    return _plain(convention.factor(facts) * powered)


def _from_lam(convention: _Convention, facts: _Facts, lam: Any) -> Any:
    with np.errstate(divide="ignore"):
        powered = np.float64(1.0) * lam / convention.factor(facts)
        if convention.power == -1:
            powered = 1.0 / powered
        elif convention.power == 2:
            powered = np.sqrt(powered)
        elif convention.power == -2:
            powered = 1.0 / np.sqrt(powered)
    return _plain(powered)


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


def _single(value: Any) -> Any:
    if np.ndim(value) != 0:
        raise ValueError(f"value has shape {np.shape(value)}, but spgl1 has one constraint: pass one number")
    return value


# --- constraints: the residual and the norm along the path --------------------------------------------


def _constrained(A: Any, b: Any, weights: Any) -> Problem:
    if A is None or b is None:
        raise ValueError("A and b are missing: a lam belongs to a constraint of spgl1 only for these data")
    return build(A, b, L1(1.0, weights=weights))


def _measure(problem: Problem, name: str) -> Callable[[float], float]:
    """Return the function of lam that the constraint bounds: ||A x - b|| or sum w_j |x_j|, user's units."""
    penalty = L1(weights=_weights(problem))
    warm: list[Any] = [None]

    def measure(lam: float) -> float:
        at = at_level(problem, penalty, lam)
        stopping = Stopping(tol=_SOLVED, max_iter=_ITERATIONS)
        warm[0] = result = run(at, resolve(at, "auto")[0], x0=warm[0], stopping=stopping)
        warm[0] = result.x
        x = at.units.working(result.x)
        if name == "spgl1.sigma":
            return math.ldexp(math.sqrt(squared(at.residual(x))), at.units.b_exponent)
        return float(penalty.value(result.x))

    return measure


def _weights(problem: Problem) -> Array:
    """Return the weights that the problem was built with."""
    level = np.asarray(problem.penalty.l1)
    units = problem.units
    return np.where(np.isinf(level), np.inf, np.ldexp(level, units.b_exponent + units.a_exponent))


def _root(problem: Problem, target: float, name: str) -> float:
    """Return the lam at which the constraint is met with equality, at most lam_max."""
    from scipy.optimize import brentq

    top = level_of_zero(problem)
    measure = _measure(problem, name)
    falling = name == "spgl1.tau"
    if top == 0.0 or (target == 0.0 if falling else measure(top) <= target):
        return top
    low, high = top, top
    while low > _LEAST * top:
        low, high = 0.1 * low, low
        if (measure(low) > target) == falling:
            break
    else:
        side = "reaches so large a norm" if falling else "fits b so closely"
        raise ValueError(f"value is {target:g}, but no lam down to {_LEAST:g} lam_max {side}")

    @functools.cache  # a second solve at the same lam, from another start, would differ by rounding
    def excess(t: float) -> float:
        return measure(math.exp(t)) - target

    ends = {t: excess(t) for t in (math.log(low), math.log(high))}
    t = min(ends, key=lambda end: abs(ends[end]))
    if max(ends.values()) > 0.0 > min(ends.values()):  # else an end is the root, up to rounding
        t = brentq(excess, *ends, xtol=_FOUND, rtol=_FOUND)
    return math.exp(t)
