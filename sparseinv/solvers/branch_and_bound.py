"""Branch and bound: the global minimum over all supports, or a proven bound on how far it can be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Kind
from sparseinv.penalties.balls import Ball
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.solvers.base import Outcome, Solver, State, called, refuse, refuse_convex, start_point
from sparseinv.solvers.branch_record import undivided
from sparseinv.solvers.branch_tree import BranchTree, refitted
from sparseinv.stopping import Budget
from sparseinv.support_proof import SupportProof, conjugate

Array = np.ndarray[Any, Any]

_WORK = 1e8  # multiplications after which a step returns
_EARLY = 3e7  # multiplications in the tree after which the longer search begins
_ROUNDING = 1e-14  # of 1/2 ||b||^2: what nodes that rounding cannot tell from the incumbent may lack
_INSIDE = 1.0 - 1e-6  # of the tolerance is spent on closing nodes


@dataclass(slots=True, eq=False, kw_only=True)
class BranchAndBoundState(State):
    """Carry the search for a first incumbent, then the tree."""

    finder: Solver | None = None  # the inner solver that runs; None while nodes are treated
    search: Any = None  # its state
    later: Solver | None = None  # what searches longer, if the tree does not close soon
    tree: BranchTree | None = None
    value: float = np.inf  # objective of x
    proving: bool = False  # whether a proof was asked for

    @property
    def proof(self) -> SupportProof | None:
        """What was recorded of the tree."""
        if self.tree is None:
            return undivided() if self.proving else None
        return self.tree.proof()


@dataclass(frozen=True, repr=False)
class BranchAndBound(Solver):
    """Minimise with an L0 penalty, or with at most k non-zeros, and prove how good the answer is.

    Minimises ``1/2 ||A x - b||^2 + sum_j lam_j [x_j != 0] + l2_j x_j^2 / 2``, or the first term with at most
    k non-zeros among the coefficients that count, over all supports. The certificate is GLOBAL_BOUND: the
    objective less the lowest bound of the nodes that are still open or were closed. A run that a limit ends
    returns the best point with its gap.

    Parameters
    ----------
    big_m : float or array_like, optional
        Largest modulus of a coefficient, one or one per coefficient (n,), in the units of x. The proof then
        holds for points within these sizes, and the certificate says so. None: nothing is assumed.
    max_nodes : int
        Nodes after which the run ends with status MAX_NODES.
    proof_bytes : int
        Memory that a proof of the whole tree may take in ``result.proof``, for `verify_proof`; 0: none is
        kept. 1 to 5 KB a node; where it does not suffice the proof ends early and establishes less.
    first, incumbent : Solver or None
        What finds the first point, and what searches for a better one where 3e7 multiplications leave the
        tree open; None: `LocalSearch` without starts, and `LocalSearch`. ``incumbent`` alone comes first.

    Notes
    -----
    A node has coefficients that must be zero, others that must not, and free ones. With H = A^T A + diag(l2)
    and any d >= 0 for which H - diag(d) is positive semidefinite on what is not zero, each free coefficient
    pays ``lam_j [x_j != 0] + d_j x_j^2 / 2``; its convex envelope (the reverse Huber function) makes the node
    convex. For every x, with v = A^T b - (H - diag(d)) x and h_j the conjugate of d_j x^2 / 2 on |x| <= M_j,

        1/2 ||b||^2 - 1/2 x^T (H - diag(d)) x - sum_free max(h_j(v_j) - lam_j, 0) - sum_in (h_j(v_j) - lam_j)

    is a lower bound, whatever the accuracy of x; with d = l2 it is the dual value of b - A x, see
    `support_bound`. The same numbers fix coefficients that no better point can have otherwise. d is l2 at the
    root; a node with few coefficients left shares out the curvature of H itself, as much as H - diag(d) >= 0
    allows, and takes M_j from the distance that least squares leaves to the incumbent. With d_j = 0 and no
    M_j a relaxation proves nothing: with l2 = 0 and more columns than rows a proof takes either big_m or a
    tree that excludes columns until few enough are left. A support with a column of which others leave less
    than 1e-8 of the squared norm is fitted by QR. Coefficients without a penalty (lam_j = 0, a weight of 0 of
    L0Ball) are eliminated before the tree, those that are excluded left out. Nodes are taken by lowest bound,
    every 16th begins a dive.

    Cost of a node: the Gram rows of its support times n. Storage: Gram rows as they are asked for, all n^2
    numbers for n <= 3000 when half of them were; about 1 KB a node.

    References
    ----------
    .. [1] H. Hazimeh, R. Mazumder, A. Saab, Sparse regression at scale: branch-and-bound rooted in
       first-order optimization, Math. Program. 196 (2022) 347-388, doi:10.1007/s10107-021-01712-4.
    .. [2] T. Guyard, C. Herzet, C. Elvira, A.-E. Arslan, A new branch-and-bound pruning framework for
       L0-regularized problems, ICML 2024, arXiv:2406.03504 (fixing coefficients).
    .. [3] H. Dong, K. Chen, J. Linderoth, Regularization vs. relaxation: a conic optimization perspective of
       statistical variable selection, arXiv:1510.06083 (sharing out the curvature).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 12))
    >>> result = si.solve(A, A[:, 3] - 2 * A[:, 7], si.L0(0.1), solver=si.BranchAndBound())
    >>> result.support, result.certificate.kind.name, result.success
    (array([3, 7]), 'GLOBAL_BOUND', True)
    """

    big_m: Any = None
    max_nodes: int = 1_000_000
    proof_bytes: int = dataclasses.field(default=0, kw_only=True)
    incumbent: Solver | None = dataclasses.field(default=None, kw_only=True)
    first: Solver | None = dataclasses.field(default=None, kw_only=True)

    local_kind: ClassVar[Kind] = Kind.COORDINATE_MINIMUM
    default_max_iter: ClassVar[int] = 1 << 60

    def __post_init__(self) -> None:
        """Check the hyper-parameters."""
        size = validation.lambdas(self.big_m, "big_m")
        object.__setattr__(self, "big_m", size)
        if size is not None and not np.all(size > 0):
            raise ValueError("big_m holds a value that is not positive; exclude a coefficient by lam = inf")
        object.__setattr__(self, "max_nodes", validation.count(self.max_nodes, "max_nodes"))
        object.__setattr__(self, "proof_bytes", validation.count(self.proof_bytes, "proof_bytes"))
        for name in ("incumbent", "first"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Solver):
                raise TypeError(f"{name} is {value!r}, but a solver such as LocalSearch() is needed")

    def check(self, problem: Problem) -> None:
        """Refuse what has no charge per non-zero coefficient, operators and complex data."""
        penalty = problem.penalty
        others = "LocalSearch, IRL1, CoordinateDescent"
        if not isinstance(penalty, (Separable, Ball)):
            raise refuse(self, f"does not treat {called(penalty)}", "FISTA, ISTA")
        if isinstance(penalty, Separable) and penalty.convex:
            raise refuse_convex(self, penalty)
        if isinstance(penalty, Separable) and (penalty.l1[~penalty.excluded] > 0).any():
            raise refuse(self, "does not treat levels of |x|", "IRL1, IRLS, CoordinateDescent")
        if penalty.nonnegative:
            raise refuse(self, "does not treat nonnegative=True", "IRL1, CoordinateDescent")
        if not problem.explicit:
            raise refuse(self, "needs the columns of A in memory", "LocalSearch, IRL1")
        if "c" in (problem.operator.dtype.kind, problem.b.dtype.kind):
            raise refuse(self, "needs real data", others)
        if self.big_m is not None and np.size(self.big_m) not in (1, problem.n):
            raise ValueError(f"big_m has {np.size(self.big_m)} values, but 1 or {problem.n} are needed")
        for name in ("incumbent", "first"):
            solver = getattr(self, name)
            try:
                if solver is not None:
                    solver.check(problem)
            except ValueError as error:
                raise ValueError(f"{name} of BranchAndBound does not fit this problem: {error}") from None

    def start(self, problem: Problem, x0: Array | None) -> BranchAndBoundState:
        """Return the state with x0, by default zero, as the first point."""
        problem.operator.phase = "setup"
        x = start_point(problem, x0)
        if not np.isfinite(problem.penalty.value(x)):
            x = np.asarray(problem.penalty.prox(x, 1.0))
        assert self.incumbent is not None, "filled in by solvers.auto"
        finder, later = (self.incumbent, None) if self.first is None else (self.first, self.incumbent)
        search = finder.start(problem, None if x0 is None else x.copy())
        state = BranchAndBoundState(
            x, finder=finder, search=search, later=later, value=self._value(problem, x),
            proving=self.proof_bytes > 0,
        )  # fmt: skip
        state.settled = False
        return state

    def step(self, problem: Problem, state: BranchAndBoundState, budget: Budget) -> Outcome:
        """Search for an incumbent, then treat nodes, for about a tenth of a second."""
        if state.finder is not None:
            outcome = state.finder.step(problem, state.search, budget)
            self._offer(problem, state, state.search.x)
            if outcome is not Outcome.MOVED:
                state.finder = state.search = None
            return Outcome.MOVED
        slack = max(_INSIDE * budget.tol, _ROUNDING) * problem.scale
        tree = state.tree
        if tree is None:
            tree = state.tree = BranchTree(
                problem, state.value, self._sizes(problem), slack, self.proof_bytes
            )
            state.settled = True
        empty = tree.explore(state.value, slack, _EARLY if state.later else _WORK, self.max_nodes)
        support = tree.incumbent()
        if support is not None:
            self._offer(problem, state, refitted(problem, support)[0])
            empty = False
        state.n_iter = tree.done
        state.lower_bound = tree.lower
        state.provided = "" if self.big_m is None else "|x| <= big_m"
        if empty:
            return Outcome.EXHAUSTED
        if state.later is not None and (tree.work >= _EARLY or tree.done >= self.max_nodes):
            state.finder, state.later = state.later, None
            state.search = state.finder.start(problem, state.x.copy())
            return Outcome.MOVED
        return Outcome.LIMIT if tree.done >= self.max_nodes else Outcome.MOVED

    def _sizes(self, problem: Problem) -> Array | None:
        if self.big_m is None:
            return None
        size = np.broadcast_to(np.asarray(self.big_m, dtype=np.float64), (problem.n,))
        return np.asarray(problem.units.working(size.copy()))

    def _offer(self, problem: Problem, state: BranchAndBoundState, x: Array) -> None:
        value = self._value(problem, x)
        if value < state.value:
            state.x, state.value = x.copy(), value

    @staticmethod
    def _value(problem: Problem, x: Array) -> float:
        return problem.objective(x, problem.residual(x))


def support_bound(
    A: Array, b: Array, lam: Any, l2: Any, u: Array, *, inside: Sequence[int] | Array = (),
    outside: Sequence[int] | Array = (), big_m: Any = np.inf, most: int | None = None,
) -> float:  # fmt: skip
    """Return the lower bound that a dual vector u proves for the points of a node, in O(m n).

    With v = A^T u and h_j(v) = sup of v x - l2_j x^2 / 2 over |x| <= big_m_j, the objective
    ``1/2 ||A x - b||^2 + sum_j lam_j [x_j != 0] + l2_j x_j^2 / 2`` of every x with |x_j| <= big_m_j that is
    zero on ``outside`` is at least::

        u^T b - 1/2 ||u||^2 - sum_free max(h_j(v_j) - lam_j, 0) - sum_inside (h_j(v_j) - lam_j)

    where x is not zero on ``inside``. Any u will do; b - A x for the x of a relaxation is a good one.

    Parameters
    ----------
    A, b : ndarray, shapes (m, n) and (m,)
        Dense and real.
    lam, l2 : float or ndarray, shape (n,)
        Levels, as in `L0`; lam is not used with ``most``.
    u : ndarray, shape (m,)
        Any vector.
    inside, outside : sequences of int
        Coefficients that are not zero, and coefficients that are, in the node.
    big_m : float or ndarray, shape (n,)
        Sizes that are assumed; infinite by default.
    most : int, optional
        At most so many non-zeros in place of levels.

    Returns
    -------
    float
        The bound; -inf where a coefficient has neither l2 nor a size.

    Examples
    --------
    >>> A, b = np.eye(2), np.array([2.0, 0.5])
    >>> round(support_bound(A, b, 0.5, 0.1, np.array([0.3, 0.3])), 6)  # the minimum is 0.807
    0.66
    """
    v = np.asarray(A).T @ u
    n = v.size
    lam, l2 = np.broadcast_to(lam, (n,)), np.broadcast_to(l2, (n,))
    top = np.broadcast_to(np.asarray(big_m, dtype=float), (n,))
    h = conjugate(v, l2, top)
    value = float(u @ b) - 0.5 * float(u @ u)
    held, shut = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    held[np.asarray(inside, dtype=int)], shut[np.asarray(outside, dtype=int)] = True, True
    if most is not None:
        free = np.sort(h[~held & ~shut])[::-1][: max(most - int(held.sum()), 0)]
        return value - float(h[held].sum()) - float(free.sum())
    shut |= np.isinf(lam)
    return value - float((h - lam)[held].sum()) - float(np.maximum(h - lam, 0.0)[~held & ~shut].sum())
