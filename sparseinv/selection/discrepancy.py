"""The level at which the residual has a given norm: basis pursuit denoising by root-finding in lambda."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.certificate import Certificate, DualPair, Kind, certify_problem
from sparseinv.driver import Run
from sparseinv.operators.matrix import inner
from sparseinv.penalties.group import GroupL1
from sparseinv.penalties.separable import L0, L1, L2, ElasticNet
from sparseinv.problem import Problem, squared
from sparseinv.result import Interrupted, Result, Selection, Status
from sparseinv.selection.defaults import at_level
from sparseinv.selection.fewest import fewest_nonzeros
from sparseinv.selection.path import factored, goes_on
from sparseinv.selection.selector import Selector, Task
from sparseinv.selection.theory import level_of_zero
from sparseinv.solvers.auto import choose
from sparseinv.solvers.base import Solver
from sparseinv.solvers.level_search import Bracket
from sparseinv.solvers.local_search import LocalSearch
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]

_SOLVES = 60
_EXTRA = 2  # solves past the tolerance while the residual still comes nearer to its target
_FINEST = 1e-14  # relative gap asked of a level, at least
_DEEPER = 0.01  # least factor between the squares of two levels while the target lies below all of them
_DEEP = 0.03  # of the level that gives x = 0: below,
_STUCK = 0.5  # a residual longer than this times the last one makes sure that the target can be met at all
_SMALLEST = 1e-13  # and below this no level is tried
_DEPENDENT = 1e-12  # smallest over largest pivot of columns that are fitted
_EXACT = 1e-11  # relative residual of a fit on the support that counts as zero
_ENDED = (Status.MAX_TIME, Status.MAX_ITER, Status.STOPPED_BY_CALLBACK, Status.NUMERICAL_FAILURE)


@dataclass(frozen=True)
class Discrepancy(Selector):
    """Choose lambda so that the residual has a given norm (Morozov's principle).

    For L1 the answer is that of basis pursuit denoising, minimise sum w_i |x_i| subject to
    ||A x - b|| <= residual_norm, and for ``residual_norm=0`` that of basis pursuit [1]_.

    Parameters
    ----------
    residual_norm : float, optional
        The norm wanted, >= 0, in the units of b.
    sigma : float, optional
        Standard deviation of the noise, >= 0; stands for residual_norm = sigma * sqrt(m). For complex data
        sigma^2 = E|e|^2. Give one of the two.

    Notes
    -----
    For `L0` the answer is the fewest non-zeros within the target that `LocalSearch` finds; all that count
    count alike. For L1, L2, ElasticNet and GroupL1 a lam that is set holds relative factors. ||A x(t) - b||
    rises with the level t, and its square is linear in t^2 while the support stays (L1), so secants in t^2,
    kept inside a bracket, end at the level; each problem starts from the solution of the one before. For
    residual_norm = 0 t goes to 0 and the fit on the support takes the place of x(t) once it is exact and
    the dual of basis pursuit agrees.

    The certificate is that of the penalised problem at the level found plus ||b|| times the distance of
    the residual's norm from its target; ``selection.rule`` says by how much R(x) can exceed the least R
    within the target. Status UNREACHABLE if a dual bound proves that no x meets the target; x is then the
    least-squares solution. If b itself is within the target, x = 0.

    References
    ----------
    .. [1] E. van den Berg, M. P. Friedlander, Probing the Pareto frontier for basis pursuit solutions, SIAM
       J. Sci. Comput. 31 (2008) 890-912, doi:10.1137/080714488.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> result = si.solve(A, np.array([3.0, 3.0]), si.L1(), select=si.Discrepancy(residual_norm=0.0))
    >>> result.status.name, result.x.round(6) + 0.0
    ('CONVERGED', array([0., 0., 3.]))
    """

    residual_norm: float | None = None
    sigma: float | None = field(default=None, kw_only=True)

    on_grid = False
    ridge_levels = True

    def __post_init__(self) -> None:
        """Check the target."""
        if (self.residual_norm is None) == (self.sigma is None):
            raise ValueError("Discrepancy needs residual_norm or sigma, and not both")
        for name in ("residual_norm", "sigma"):
            value = getattr(self, name)
            if value is not None:
                number = validation.real_number(value, name)
                if not 0 <= number < math.inf:
                    raise ValueError(f"{name} is {number}, but it must be a finite number >= 0")
                object.__setattr__(self, name, number)

    def accept(self, penalty: Any, solver: Any = "auto") -> None:
        """Refuse penalties whose residual does not rise with the level, and what cannot count non-zeros."""
        if isinstance(penalty, L0):
            if isinstance(solver, Solver) and not isinstance(solver, LocalSearch):
                raise ValueError(
                    f"solver is {solver!r}, but the fewest non-zeros within a residual are found by "
                    "LocalSearch only; use it or solver='auto'"
                )
            return
        if not isinstance(penalty, (L1, L2, ElasticNet, GroupL1)):
            name = type(penalty).__name__
            raise ValueError(
                f"select is Discrepancy, which needs L0, L1, L2, ElasticNet or GroupL1, not {name}: the "
                "residual of other problems does not rise steadily with lam"
            )

    def choose(self, task: Task) -> Selection:
        """Return the level whose residual meets the target, with the solution there."""
        result = self.solve(task)
        assert result.selection is not None
        return dataclasses.replace(result.selection, result=result)

    def solve(self, task: Task) -> Result:
        """Return the solution at the level whose residual meets the target."""
        target = self.residual_norm
        if target is None:
            assert self.sigma is not None
            target = self.sigma * math.sqrt(task.problem.m)
        if isinstance(task.penalty, L0):
            return self._fewest(task, target)
        return _Search(task, target, self.sigma).solve()

    def _fewest(self, task: Task, target: float) -> Result:
        """Return the fewest non-zeros within the target."""
        search = task.method(task.problem)[0]
        default = LocalSearch.default_max_iter if task.max_iter is None else task.max_iter
        left = max(task.deadline - time.perf_counter(), 0.0)
        return fewest_nonzeros(
            task.problem, target, solver=search if isinstance(search, LocalSearch) else None,
            stopping=Stopping(task.tol, default, left), single=task.single, began=task.began,
        )  # fmt: skip


@dataclass(eq=False)
class _Search:
    """Look for the level; all norms in working units, levels as factors on the penalty."""

    task: Task
    target: float  # in the user's units
    sigma: float | None
    levels: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    n_iter: int = 0
    state: Any = None
    solver: Any = None
    best: tuple[float, float, Result] | None = None  # (merit, level, result)
    ended: Status | None = None  # why a run at some level was cut off
    excess: float = math.inf  # of R over the least, relatively, at most; of the last level
    share: float = 1.0  # R over ||b||^2 / 2 at the last level

    def __post_init__(self) -> None:
        problem = self.task.problem
        self.began = time.perf_counter() if self.task.began is None else self.task.began
        self.products = problem.operator.products.total
        self.wanted = math.ldexp(self.target, -problem.units.b_exponent)
        self.size = math.sqrt(squared(problem.b))
        self.at = problem

    def solve(self) -> Result:
        """Return the solution at the level found."""
        problem = self.task.problem
        top = level_of_zero(problem) if problem.scale > 0.0 and problem.n else 0.0
        far = math.sqrt(squared(problem.project(problem.b))) if problem.n else self.size
        if far <= self.wanted:
            return self._inactive(top)
        if top == 0.0 or not self._reaches(problem):
            return self._unreachable() or self._descend(top or 1.0, far)
        return self._descend(top, far)

    def _reaches(self, problem: Problem) -> bool:
        """Tell whether some coefficient is free to fit the data."""
        return not bool(np.all(problem.penalty.excluded))

    def _descend(self, top: float, far: float) -> Result:
        """Follow secants in the square of the level to the target."""
        bracket = Bracket(deeper=_DEEPER)
        if math.isfinite(top):
            bracket.high = top * top
            bracket.add(top * top, far**2 - self.wanted**2)
            level = top * min(0.5, max(self.wanted / far, 0.1))
        else:
            level = self._scale() * min(10.0, max(self.wanted / far, 1e-3))
            top = level
        checked, extra, distance, reached = False, 0, 1.0, math.inf
        for _ in range(_SOLVES):
            norm = self._at(level, distance)
            before, distance = distance, abs(norm - self.wanted) / self.size
            if self.ended is not None:
                break
            if self.best is not None and self.best[0] <= self.task.tol:
                extra += 1
                if distance <= 1e-3 * self.task.tol or distance >= 0.3 * before or extra > _EXTRA:
                    break
            bracket.add(level * level, (norm - self.wanted) * (norm + self.wanted))
            following = math.sqrt(bracket.following())
            # the residual falls with the level where it can fall to nothing
            stuck = level < _DEEP * top and norm > _STUCK * reached
            reached = norm
            if bracket.low == 0.0 and stuck and not checked:
                checked = True
                ended = self._unreachable()
                if ended is not None:
                    return ended
            if bracket.closed or following == level or following < _SMALLEST * top:
                break
            level = following
        return self._finish()

    def _scale(self) -> float:
        """Return a level of the order of the largest curvature over the levels, for L2."""
        level = self.task.problem.penalty.l2
        level = level[(level > 0) & np.isfinite(level)]
        return float(self.task.problem.lipschitz[0] / np.median(level)) or 1.0

    def _at(self, level: float, distance: float) -> float:
        """Solve at a level and return the norm of the residual."""
        task = self.task
        lam = factored(task.penalty.lam, level)
        self.at = at_level(self.at, task.penalty, lam)
        method, reason = task.method(self.at)
        # a relative gap g leaves the residual uncertain by sqrt(g) ||b||
        tol = min(0.1 * task.tol, max((0.1 * distance) ** 2, _FINEST, (0.3 * task.tol) ** 2))
        tol = min(tol, max(0.1 * task.tol * self.share, _FINEST))  # R itself is to be near the least
        limit = method.default_max_iter if task.max_iter is None else max(task.max_iter - self.n_iter, 0)
        stopping = Stopping(tol, limit, max(task.deadline - time.perf_counter(), 0.0))
        last = None if self.best is None else self.best[2].x.astype(self.at.dtype)
        x0 = task.start if last is None else last
        state = self.state if method == self.solver else None
        drive = Run(self.at, method, x0, stopping, self.began, state=state)
        self.solver = method
        try:
            result = drive.finish(
                callback=task.callback, progress=task.progress, lam=lam, reason=reason, single=task.single
            )
        except Interrupted as stop:
            stop.result = self._close(self._judged(stop.result)[0], level)
            raise
        self.state = drive.state if goes_on(drive, result) else None
        self.n_iter += result.n_iter
        if result.status in _ENDED:
            self.ended = result.status
        self.levels.append(level)
        judged, norm, merit = self._judged(result)
        self.norms.append(math.ldexp(norm, self.at.units.b_exponent))
        fitted = self._fitted(judged, norm)
        if fitted is not None and fitted[1] <= merit:
            judged, merit = fitted
        if self.best is None or merit <= self.best[0]:
            self.best = (merit, level, judged)
        return norm

    def _judged(self, result: Result) -> tuple[Result, float, float]:
        """Return the result with its distance to the target in the certificate, its norm and its merit."""
        problem, certificate = self.at, result.certificate
        x = problem.units.working(result.x.astype(problem.dtype))
        norm = math.sqrt(squared(problem.residual(x)))
        relative = certificate.relative + self._distance(norm)
        merit = max(relative, self._excess(x, norm, certificate))
        return self._with(result, certificate, relative), norm, merit

    def _excess(self, x: Array, norm: float, certificate: Certificate) -> float:
        """Return the most that R exceeds the least R within the target by, relatively.

        For every y within the target, target^2 / 2 + R(y) >= F(x) - gap.
        """
        problem = self.at
        size = float(problem.penalty.value(x))
        self.share = problem.relative(size) or 1.0
        gap = certificate.relative * problem.scale + 0.5 * max(self.wanted - norm, 0.0) * (self.wanted + norm)
        return gap / size if size > 0.0 else 0.0

    def _distance(self, norm: float) -> float:
        """Return ||b|| times the distance of the norm to its target, over ||b||^2 / 2."""
        return 2.0 * abs(norm - self.wanted) / self.size if self.size > 0.0 else 0.0

    @staticmethod
    def _with(result: Result, certificate: Certificate, relative: float) -> Result:
        value = relative * certificate.scale if math.isfinite(certificate.scale) else math.inf
        certificate = dataclasses.replace(
            certificate, relative=relative, value=value, bound=certificate.objective - value
        )
        return dataclasses.replace(result, certificate=certificate)

    def _fitted(self, result: Result, norm: float) -> tuple[Result, float] | None:
        """Return the exact fit on the support of x and its merit, for basis pursuit."""
        problem, task = self.at, self.task
        x = problem.units.working(result.x.astype(problem.dtype))
        index = np.flatnonzero(x)
        sparse = isinstance(task.penalty, (L1, GroupL1)) and problem.explicit and not task.single
        near = norm <= 1e-2 * self.size and 0 < index.size <= problem.m
        if not (sparse and near) or self.wanted > _EXACT * self.size:
            return None
        from scipy.linalg import qr, solve_triangular

        q, upper = qr(problem.operator.columns(index), mode="economic")
        diagonal = np.abs(np.diag(upper))
        if not diagonal.min() > _DEPENDENT * diagonal.max():
            return None
        y = np.zeros_like(x)
        y[index] = solve_triangular(upper, q.conj().T @ problem.b)
        r = problem.operator.matvec(y) - problem.b
        allowed = math.isfinite(float(problem.penalty.value(y)))
        if not (allowed and math.sqrt(squared(r)) <= _EXACT * self.size):
            return None
        v = problem.residual(x)
        certificate = certify_problem(problem, y, r=r, dual=DualPair(v, problem.gradient(v)))
        relative = certificate.relative + self._distance(math.sqrt(squared(r)))
        exact = dataclasses.replace(result, x=problem.units.solution(y), objective=certificate.objective)
        return self._with(exact, certificate, relative), max(relative, self._dual_excess(y, v))

    def _dual_excess(self, y: Array, v: Array) -> float:
        """Return what `_excess` does from the dual of basis pursuit, for a penalty that is a norm.

        R(x) >= Re<b, nu> for every x with A x = b and every nu that no coefficient can gain from.
        """
        problem = self.at
        nu = problem.project(-v)
        steepest = float(problem.penalty.lam_max(problem.gradient(nu), None))
        size = float(problem.penalty.value(y))
        if not 0.0 < steepest < math.inf or not size > 0.0:
            return 0.0 if size == 0.0 else math.inf
        return max(1.0 - inner(problem.b, nu).real / steepest / size, 0.0)

    def _inactive(self, top: float) -> Result:
        """Return the solution at a level that leaves nothing: b is within the target."""
        level = top * (1.0 + 1e-9) if math.isfinite(top) and top > 0.0 else 1.0
        if math.isinf(top):
            level = self._scale() * 2.0**50
        self.wanted = max(self.wanted, self.size)  # met by any residual that is not longer
        self._at(level, 1e-3)
        assert self.best is not None
        result = self.best[2]
        within = certify_problem(self.at, self.at.units.working(result.x.astype(self.at.dtype)))
        self.best = (within.relative, level, dataclasses.replace(result, certificate=within))
        return self._finish(", which b without the penalised coefficients meets already")

    def _unreachable(self) -> Result | None:
        """Return the least-squares solution if its dual bound shows that no x meets the target."""
        task, before = self.task, self.at
        lam = factored(task.penalty.lam, 0.0)
        at = at_level(before, task.penalty, lam)
        method, reason = choose(at)
        left = max(task.deadline - time.perf_counter(), 0.0)
        x0 = None if self.best is None else self.best[2].x.astype(at.dtype)
        result = Run(at, method, x0, Stopping(1e-12, method.default_max_iter, left), self.began).finish(
            lam=lam, reason=reason, single=task.single
        )
        x = at.units.working(result.x.astype(at.dtype))
        least = 0.5 * squared(at.residual(x)) - result.certificate.relative * at.scale
        # of an exact fit rounding leaves something, which proves nothing for the target 0
        wanted = max(self.wanted, _EXACT * self.size)
        if result.certificate.kind is not Kind.DUALITY_GAP or not least > 0.5 * wanted**2 * (1 + 1e-9):
            self.at = before
            return None
        norm = math.ldexp(math.sqrt(2.0 * least), at.units.b_exponent)
        detail = f"The least residual norm is {norm:.6g}, the target {self.target:.6g}."
        self.n_iter += result.n_iter
        self.at = at
        result = dataclasses.replace(result, status=Status.UNREACHABLE, detail=detail)
        return self._close(result, 0.0)

    def _finish(self, note: str = "") -> Result:
        assert self.best is not None
        _, level, result = self.best
        met = result.certificate.relative <= self.task.tol
        status = Status.CONVERGED if met else self.ended or Status.PRECISION_FLOOR
        return self._close(dataclasses.replace(result, status=status), level, note)

    def _close(self, result: Result, level: float, note: str = "") -> Result:
        """Return the result with what the whole search cost and how the level was found."""
        problem = self.at
        products = problem.operator.products
        x = problem.units.working(result.x.astype(problem.dtype))
        norm = math.ldexp(math.sqrt(squared(problem.residual(x))), problem.units.b_exponent)
        rule = f"residual norm {norm:.9g} for the target {self.target:.9g}{note}"
        if not note and level > 0.0 and self.best is not None and math.isfinite(self.best[0]):
            rule += f"; R(x) at most {self.best[0]:.1e} of itself above the least"
        selection = Selection(
            level, rule, self.sigma, np.array(self.levels), np.array(self.norms),
            products.total - self.products,
        )  # fmt: skip
        return dataclasses.replace(
            result, selection=selection, n_iter=self.n_iter, products=products, tol=self.task.tol,
            seconds=time.perf_counter() - self.began,
        )  # fmt: skip
