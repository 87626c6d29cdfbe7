"""The level from which on x = 0, and what theory says of the level in between."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.group_moves import GroupMoves, fits
from sparseinv.hidden_groups import gains_alone
from sparseinv.intercept import Intercept
from sparseinv.operators.adapt import system
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.group import GroupL1
from sparseinv.penalties.group_l0 import CountedGroups
from sparseinv.penalties.group_nonconvex import ConcaveNorms
from sparseinv.penalties.nonconvex import Concave
from sparseinv.penalties.separable import L0, L1, L2, ElasticNet, Separable
from sparseinv.problem import Problem, squared

Array = np.ndarray[Any, Any]

_COHERENCE = (4000, 50_000_000)  # columns, and entries, up to which all pairs of columns are looked at


def lam_max(A: Any, b: Any, penalty: Penalty, *, intercept: bool = False, certified: bool = False) -> float:
    """Return the smallest lam from which on all penalised coefficients are zero.

    Parameters
    ----------
    A : array_like, sparse container or operator, shape (m, n)
        The matrix or linear operator.
    b : array_like, shape (m,)
        The data.
    penalty : Penalty
        With ``lam=None`` the level itself is returned; with lam set, the factor t for which t * lam is
        the threshold. Weights, groups, zero and infinite levels and signs are respected.
    intercept : bool
        Whether a constant is fitted as well, as by ``solve(..., intercept=True)``: b counts without its mean.
    certified : bool
        Of L0: return a level from which on x = 0 is proved to be the global minimum. For convex penalties
        both levels are one.

    Returns
    -------
    float
        L1: max |a_j^H b| / w_j with b projected off the unpenalised columns; ElasticNet: the same over
        l1_ratio; GroupL1: by group norms; nonnegative: max(0, a_j^T b) / w_j; L2: inf; L0: the
        coordinate-wise max (|a_j^H b| - l1_j)_+^2 / (2 (||a_j||^2 + l2_j) w_j), from which on no *single*
        coefficient improves on x = 0 (a pair of them still can), a_j without what unpenalised columns explain
        unless signs are restricted; Lp, LogSum, MCP, SCAD: the same, by their own rules.

    Raises
    ------
    TypeError
        The penalty has no level (your own penalties, balls).

    Notes
    -----
    Cost: one product with A^H; for nonconvex penalties also the column norms, n products where a
    matrix-free A does not know them, and one product with A^H per unpenalised coefficient.
    Certified: k coefficients gain at most the smaller of ||b||^2 / 2 and, with columns of length one and
    coherence mu, sum |a_j^H b|^2 / (2 (1 - (k - 1) mu)) [1]_; the level returned pays for either at every k.
    Orthogonal columns make it the coordinate-wise one. Coherence takes m n^2 multiplications and a copy of
    A; beyond 4000 columns or 5e7 entries, and for matrix-free A, mu = 1 is taken.

    References
    ----------
    .. [1] D. L. Donoho, M. Elad, Optimally sparse representation in general (nonorthogonal) dictionaries
       via l1 minimization, PNAS 100 (2003) 2197-2202, doi:10.1073/pnas.0437847100.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.lam_max(np.eye(2), np.array([3.0, -4.0]), si.L1())
    4.0
    >>> A = np.array([[1.0, 1.0], [0.0, 0.1]])  # two nearly equal columns, of which b needs both
    >>> si.lam_max(A, [0.0, 1.0], si.L0()), si.lam_max(A, [0.0, 1.0], si.L0(), certified=True)
    (0.0049..., 0.25)
    """
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    if not isinstance(penalty, Leveled):
        raise TypeError(
            f"penalty is {penalty!r}, which has no level; L1, L2, L0, ElasticNet, GroupL0, GroupL1, Lp, "
            "LogSum, MCP, SCAD and GroupConcave have one"
        )
    operator, vector = system(A, b)
    added = Intercept.of(intercept, penalty, vector, operator.shape[1])
    problem = Problem(added.operator(operator), added.data(vector), added.penalty(penalty))
    if problem.scale == 0.0:
        return 0.0
    return proven_level_of_zero(problem) if certified else level_of_zero(problem)


def level_of_zero(problem: Problem) -> float:
    """Return the factor on the problem's penalty from which on x = 0, in the user's units."""
    bound = problem.penalty
    if fits(problem):
        moves = GroupMoves(problem)
        priced = (moves.cost > 0) & np.isfinite(moves.cost)
        return float((gains_alone(moves, np.flatnonzero(priced)) / moves.cost[priced]).max(initial=0.0))
    c = problem.gradient(problem.project(problem.b))
    norms = None
    local = isinstance(bound, (Concave, ConcaveNorms, CountedGroups))
    if local or (isinstance(bound, Separable) and not bound.convex):
        # with signs restricted the unpenalised coefficients keep their values: a refit has no closed form
        norms = problem.column_norms if bound.nonnegative else problem.reduced_norms
    return float(bound.lam_max(c, norms))


def proven_level_of_zero(problem: Problem) -> float:
    """Return a factor from which on x = 0 is the global minimum whatever the penalty, in the user's units."""
    bound = problem.penalty
    if bound.convex:
        return level_of_zero(problem)
    if not isinstance(bound, Separable):
        raise TypeError("certified=True is for L0 and for convex penalties: no bound is known for this one")
    r = problem.project(problem.b)
    c, half = problem.gradient(r), 0.5 * squared(r)
    free = ~bound.excluded & ~bound.unpenalised
    prices = np.sort(bound.l0[free])
    totals = np.cumsum(prices)
    norms = problem.reduced_norms
    single = float(bound.lam_max(c, norms))
    if prices.size < 2 or half == 0.0 or not math.isfinite(single):
        return single
    if prices[0] == 0.0 or not problem.reducible:  # some coefficients are not counted, or nothing is known
        return half / float(prices[prices > 0][0])
    plain = dataclasses.replace(bound, l1=np.where(bound.excluded, bound.l1, 0.0), l2=np.zeros(bound.n))
    k = np.arange(2, prices.size + 1)
    slack = 1.0 - (k - 1) * _coherence(problem, np.flatnonzero(free & (norms > 0)))
    with np.errstate(divide="ignore"):
        spread = np.where(slack > 0, float(plain.lam_max(c, norms)) / slack, np.inf)
    return max(single, float(np.minimum(spread, half / totals[1:]).max()))


def _coherence(problem: Problem, index: Array) -> float:
    """Return the largest cosine between two columns, without what unpenalised columns explain."""
    most, entries = _COHERENCE
    if not problem.explicit or index.size > most or index.size * problem.m > entries:
        return 1.0
    columns = problem.reduced_columns(index)
    columns = columns / np.linalg.norm(columns, axis=0)
    largest = 0.0
    for start in range(0, index.size, 512):
        cosines = np.abs(columns[:, start : start + 512].conj().T @ columns)
        rows = np.arange(cosines.shape[0])
        cosines[rows, start + rows] = 0.0
        largest = max(largest, float(cosines.max()))
    return min(largest, 1.0)


def build(A: Any, b: Any, penalty: Penalty, *, rng: Any = None, check_operator: bool = True) -> Problem:
    """Validate the data and return the problem."""
    operator, b = system(A, b)
    return Problem(operator, b, penalty, rng=rng, check_operator=check_operator)


def theory_lam(
    penalty: Penalty,
    *,
    sigma: float,
    m: int,
    n: int,
    column_norm: float | None = None,
    n_nonzero: int | None = None,
    prior_std: float | None = None,
    prior_norm: float | None = None,
    is_complex: bool = False,
) -> float:
    """Return the lam that theory gives for white noise, and so how lam follows sigma, m, n and the scales.

    With d the length of a column and k the expected number of non-zeros (1 if not given):

    ==========  ==============================  =============================================
    penalty     nothing known of x              what x is like is known
    ==========  ==============================  =============================================
    L1          sigma d sqrt(2 log(n / k))      sqrt(2) sigma^2 / prior_std (Laplace prior)
    ElasticNet  that of L1 / l1_ratio           that of L1 / l1_ratio
    GroupL1     sigma d (sqrt(s) +              none
                sqrt(2 log(n_groups / k)))
    L0          sigma^2 log(n / k)              sigma^2 (log(n / k - 1) +
                                                log(1 + d^2 prior_std^2 / sigma^2) / 2)
    L2          none                            sigma^2 / prior_std^2, n sigma^2 / prior_norm^2
    ==========  ==============================  =============================================

    Parameters
    ----------
    penalty : L0, L1, L2, ElasticNet or GroupL1
        Only its kind, l1_ratio and groups are looked at. Of groups the mean size s counts.
    sigma : float
        Standard deviation of the noise, sigma^2 = E|e|^2.
    m, n : int
        Rows and columns of A.
    column_norm : float, optional
        Length d of a column; sqrt(m) (entries of variance 1) if None. Columns of different lengths:
        ``column_norm=1`` and weights ||a_j|| (`scale_penalty`).
    n_nonzero : int, optional
        Expected number of non-zeros (GroupL1: of non-zero groups), below n.
    prior_std : float, optional
        Standard deviation of a coefficient (L0: of a non-zero one).
    prior_norm : float, optional
        Expected ||x||, for L2.
    is_complex : bool
        Whether noise and x are complex: 2 log becomes log, and the priors (in the table: real) are those of
        circular numbers.

    Returns
    -------
    float
        lam, in the sum convention of this package.

    Raises
    ------
    ValueError
        L2 without a prior: no level is right for every x.

    Notes
    -----
    In the convention 1/2 ||A x - b||^2 + R(x): with more rows of the same kind L1 grows like sqrt(m), L0 and
    L2 stay; with more columns L1 grows like sqrt(log n), L0 like log n, L2 stays for a fixed size of the
    coefficients and grows like n for a fixed ||x||; b times s takes L1 times s and L0 times s^2; A times c
    takes L1 times c and L2 times c^2. The universal level of L1 [1]_ keeps noise out of the support; for the
    least error of prediction about half of it is right. Of complex noise the largest of n correlations is
    about as often above its level as below. L0: the risk inflation criterion [2]_.

    References
    ----------
    .. [1] D. L. Donoho, I. M. Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81 (1994)
       425-455, doi:10.1093/biomet/81.3.425.
    .. [2] D. P. Foster, E. I. George, The risk inflation criterion for multiple regression, Ann. Stat. 22
       (1994) 1947-1975, doi:10.1214/aos/1176325766.

    Examples
    --------
    >>> import sparseinv as si
    >>> si.theory_lam(si.L1(), sigma=0.5, m=400, n=1000) / si.theory_lam(si.L1(), sigma=0.5, m=100, n=1000)
    2.0
    >>> si.theory_lam(si.L2(), sigma=0.5, m=100, n=1000, prior_std=2.0)
    0.0625
    """
    validation.refuse_class(penalty, Penalty, "penalty", "...")
    sigma = validation.positive(sigma, "sigma")
    m, n = validation.count(m, "m", least=1), validation.count(n, "n", least=1)
    d = math.sqrt(m) if column_norm is None else validation.positive(column_norm, "column_norm")
    std = None if prior_std is None else validation.positive(prior_std, "prior_std")
    if prior_norm is not None:
        std = validation.positive(prior_norm, "prior_norm") / math.sqrt(n)
        if prior_std is not None or not isinstance(penalty, L2):
            raise ValueError("prior_norm is for L2 alone, in place of prior_std")
    candidates = n
    if isinstance(penalty, GroupL1):
        candidates = int(np.unique(validation.group_labels(penalty.groups, n)).size)
    k = 1 if n_nonzero is None else validation.count(n_nonzero, "n_nonzero", least=1)
    if k >= max(candidates, 2) or (k == n and std is not None):
        raise ValueError(f"n_nonzero is {k}, but it must be below the {candidates} there are")
    # two tails of a real number, or the exponential tail of |e|^2
    tail = (1.0 if is_complex else 2.0) * math.log(max(candidates, 2) / k)
    if isinstance(penalty, L2):
        if std is None:
            raise ValueError(
                "L2 has no level that is right for every x: pass prior_std, the size of a coefficient, or "
                "prior_norm, that of x; or let solve choose lam by leave-one-out"
            )
        return (sigma / std) ** 2
    if isinstance(penalty, L0):
        if std is None:
            return 0.5 * sigma**2 * tail
        gain = math.log1p((d * std / sigma) ** 2)
        share = 0.5 if is_complex else 1.0
        return sigma**2 * max(share * math.log(n / k - 1.0) + 0.5 * gain, 0.0)
    if isinstance(penalty, (L1, ElasticNet)):
        laplace = math.sqrt(1.5 if is_complex else 2.0)  # standard deviation of exp(-|x| / b), over 2 b or b
        level = sigma * d * math.sqrt(tail) if std is None else laplace * sigma**2 / std
        return level / (penalty.l1_ratio if isinstance(penalty, ElasticNet) else 1.0)
    if isinstance(penalty, GroupL1) and std is None:
        return sigma * d * (math.sqrt(n / candidates) + math.sqrt(tail))
    raise TypeError(f"penalty is {penalty!r}; L0, L1, L2, ElasticNet, GroupL1 (without prior) have a theory")
