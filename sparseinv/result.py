"""What comes back: statuses, the result of a run and its report."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from sparseinv.certificate import Certificate
from sparseinv.counted_operator import Products
from sparseinv.posterior import Posterior
from sparseinv.stopping import History
from sparseinv.support_proof import SupportProof

Array = np.ndarray[Any, Any]


class Status(enum.Enum):
    """Say how a run ended; each value is a sentence with the remedy.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> result = si.solve(np.eye(2), np.array([2.0, 1.0]), si.L1(0.5), max_iter=0)
    >>> result.status.name, result.success
    ('MAX_ITER', False)
    """

    CONVERGED = "The certificate meets the tolerance."
    MAX_ITER = "The iteration limit came first; raise max_iter, loosen tol, or start from this x with x0."
    MAX_TIME = "The time limit came first; raise max_time, loosen tol, or start from this x with x0."
    MAX_NODES = "The node limit came first; raise it, or accept the bound reported."
    UNREACHABLE = "No x meets the residual or sparsity target; loosen it."
    PRECISION_FLOOR = (
        "No further progress is possible in this arithmetic; the certificate tells what was reached. "
        "Loosen tol, rescale badly scaled columns, or pass double precision."
    )
    EXHAUSTED = (
        "The method has come to its end, and its certificate does not meet the tolerance; "
        "pass this x as x0 to a solver that goes on, such as LocalSearch, or loosen tol."
    )
    STOPPED_BY_CALLBACK = "The callback raised StopIteration."
    INTERRUPTED = "The run was interrupted; x is the best point so far, pass it as x0 to go on."
    NUMERICAL_FAILURE = "A product with A or A^H failed; x is the last finite point."


@dataclass(frozen=True, eq=False)
class Selection:
    """Say how lam was chosen from the data.

    Attributes
    ----------
    lam : float
        The level chosen (it multiplies ``weights``).
    rule : str
        The rule in words.
    sigma : float or None
        Noise standard deviation estimated on the way.
    lams, criterion : ndarray
        Levels tried and what the rule computed for each.
    n_products : int
        Products with A and A^H spent on the choice.
    standard_error : ndarray or None
        Standard error of ``criterion``, where the rule knows one.
    at_edge : bool
        Whether the best or the chosen level is the smallest or the largest of those tried, so that a
        wider range could do better.
    path : Path or None
        The solutions for all ``lams`` on all rows (`select_lam`).
    result : Result or None
        The solution for ``lam`` on all rows (`select_lam`).
    probabilities : ndarray or None
        Share of the half-samples that select each coefficient or group (`Stability`).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> si.solve(np.eye(3), np.array([9.0, 0.2, -0.1]), si.L2()).selection.rule
    'exact leave-one-out cross-validation'
    """

    lam: float
    rule: str
    sigma: float | None
    lams: Array
    criterion: Array
    n_products: int = 0
    standard_error: Array | None = None
    at_edge: bool = False
    path: Path | None = None
    result: Result | None = None
    probabilities: Array | None = None

    def __repr__(self) -> str:
        lines = [f"lam = {self.lam:.6g}: {self.rule}"]
        if self.lams.size:
            lines.append(
                f"  levels      {self.lams.size} from {self.lams.max():.6g} to {self.lams.min():.6g}, "
                f"{self.n_products} products"
            )
        at = np.flatnonzero(self.lams == self.lam)
        if at.size and self.criterion.size == self.lams.size:
            error = "" if self.standard_error is None else f" +- {self.standard_error[at[0]]:.2g}"
            least = f", least {self.criterion.min():.6g}"
            lines.append(f"  criterion   {self.criterion[at[0]]:.6g}{error}{least}")
        if self.sigma is not None:
            lines.append(f"  sigma       {self.sigma:.4g}")
        if self.result is not None:
            lines.append(f"  result      {self.result.status.name}: {self.result.certificate}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Result:
    """Hold a solution with the proof of how good it is.

    Attributes
    ----------
    x : ndarray, shape (n,)
        The solution, in the precision of the input.
    status : Status
        How the run ended; ``success`` is True only for CONVERGED.
    certificate : Certificate
        How good x is and in what sense, evaluated from a fresh residual.
    objective : float
        1/2 ||A x - b||^2 + R(x).
    lam : float or ndarray
        The level(s) used.
    n_iter, n_matvec, n_rmatvec : int
        Iterations, products with A, products with A^H (set-up and certificates included).
    products : Products
        The same products split into set-up, iterations and certificates; ``columns`` counts, apart from
        them, the columns of a matrix-free A that were written down in closed form.
    seconds : float
        Wall time of the run.
    history : History
        Columns n_iter, seconds, objective, relative, products: one row per certificate.
    solver, reason : object, str
        What was run, and why it was chosen.
    selection : Selection or None
        How lam was chosen, where it was left to the data.
    detail : str
        Particulars of the status, for example which call failed.
    intercept : float, complex or None
        The constant that was fitted, with ``intercept=True``.
    posterior : Posterior or None
        What a Bayesian solver learned beside x: mean, variance, lam per coefficient, sigma.
    proof : SupportProof or None
        The tree of a branch and bound that was told to keep it; `verify_proof` checks it.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> result = si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1(0.5))
    >>> result.x, result.support, result.status.name
    (array([1.5, 0. ]), array([0]), 'CONVERGED')
    """

    x: Array
    status: Status
    certificate: Certificate
    objective: float
    lam: Any
    n_iter: int
    products: Products
    seconds: float
    history: History
    solver: Any
    reason: str = ""
    selection: Selection | None = None
    detail: str = ""
    tol: float = field(default=0.0, repr=False)
    intercept: Any = None
    posterior: Posterior | None = None
    proof: SupportProof | None = field(default=None, repr=False)

    @property
    def success(self) -> bool:
        """Whether the certificate meets the tolerance."""
        return self.status is Status.CONVERGED

    @property
    def n_matvec(self) -> int:
        """Products with A."""
        return self.products.forward

    @property
    def n_rmatvec(self) -> int:
        """Products with A^H."""
        return self.products.adjoint

    @property
    def support(self) -> Array:
        """Indices of the non-zero coefficients."""
        return np.flatnonzero(self.x)

    @property
    def message(self) -> str:
        """The status in a sentence, with its particulars."""
        return f"{self.status.value} {self.detail}".strip()

    def __repr__(self) -> str:
        p = self.products
        columns = f", {p.columns} columns in closed form" if p.columns else ""
        lines = [
            f"{self.status.name}: {self.certificate}",
            f"  objective   {self.objective:.9g}, {self.support.size} of {self.x.size} coefficients not zero",
            f"  solver      {self.solver!r}" + (f" ({self.reason})" if self.reason else ""),
            f"  cost        {self.n_iter} iterations, {self.n_matvec} products with A and {self.n_rmatvec} "
            f"with A^H (set-up {p.setup}, certificates {p.certificate}){columns}, {self.seconds:.3g} s",
        ]
        if self.intercept is not None:
            lines.append(f"  intercept   {self.intercept:.6g}")
        if self.selection is not None:
            lines.append(f"  lam         {self.selection.lam:.6g}: {self.selection.rule}")
        if self.posterior is not None:
            lines.append(f"  posterior   {self.posterior}")
        if not self.success:
            lines.append(f"  {self.message} (tol = {self.tol:.1e})")
        return "\n".join(lines)


_ROWS = 5  # rows that the report of a path shows at either end


@dataclass(frozen=True, eq=False)
class Path:
    """Hold the solutions for a falling sequence of levels.

    ``path[k]`` and iteration give the results, ``len(path)`` their number.

    Attributes
    ----------
    results : list of Result
        One per level, in the order of ``lams``, each with its own status, certificate and cost.
    lams : ndarray, shape (K,)
        The levels, decreasing; factors on the penalty's own lam where it has one.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> path = si.solve_path(np.eye(2), np.array([2.0, 1.0]), si.L1(), lams=[1.5, 0.5])
    >>> path.X
    array([[0.5, 1.5],
           [0. , 0.5]])
    """

    results: list[Result]
    lams: Array

    @cached_property
    def X(self) -> Array:
        """The solutions side by side, shape (n, K)."""
        return np.array([result.x for result in self.results]).T

    @cached_property
    def n_nonzero(self) -> Array:
        """Number of non-zero coefficients at each level, shape (K,)."""
        return np.array([np.count_nonzero(result.x) for result in self.results])

    @property
    def success(self) -> bool:
        """Whether every certificate meets the tolerance."""
        return all(result.success for result in self.results)

    @property
    def n_matvec(self) -> int:
        """Products with A, all levels together."""
        return sum(result.n_matvec for result in self.results)

    @property
    def n_rmatvec(self) -> int:
        """Products with A^H, all levels together."""
        return sum(result.n_rmatvec for result in self.results)

    @property
    def seconds(self) -> float:
        """Wall time, all levels together."""
        return sum(result.seconds for result in self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, k: int) -> Result:
        return self.results[k]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __repr__(self) -> str:
        total, met = len(self), sum(result.success for result in self.results)
        lines = [
            f"{met} of {total} levels meet the tolerance; {self.n_matvec} products with A and "
            f"{self.n_rmatvec} with A^H, {self.seconds:.3g} s",
            f"  {'lam':>12} {'not zero':>9} {'objective':>14} {'gap':>8}  status",
        ]
        for k, (lam, result) in enumerate(zip(self.lams, self.results, strict=True)):
            if _ROWS <= k < total - _ROWS:
                if k == _ROWS:
                    lines.append(f"  {'...':>12}")
                continue
            lines.append(
                f"  {lam:12.6g} {self.n_nonzero[k]:9d} {result.objective:14.8g} "
                f"{result.certificate.relative:8.1e}  {result.status.name}"
            )
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Batch:
    """Hold the solutions for many right-hand sides, each with its proof.

    ``batch[j]`` is the `Result` of column j, ``len(batch)`` the number of columns; iterating yields the
    results.

    Attributes
    ----------
    x : ndarray, shape (n, k)
        The solutions, in the precision of the input.
    results : sequence of Result
        One per column; their ``x`` are views of the columns above.
    lams : ndarray, shape (k,)
        Level of every column: lam itself, or the factor on it where the penalty carries a vector.
    seconds : float
        Wall time of all columns together.
    tol : float
        What the certificates were compared with.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> batch = si.solve_many(np.eye(2), np.array([[2.0, 0.1], [1.0, 3.0]]), si.L1(0.5))
    >>> batch.x
    array([[1.5, 0. ],
           [0.5, 2.5]])
    >>> batch.success, batch[1].support
    (True, array([1]))
    """

    x: Array
    results: Sequence[Result]
    lams: Array
    seconds: float
    tol: float = field(default=0.0, repr=False)

    @property
    def status(self) -> tuple[Status, ...]:
        """How the run of every column ended."""
        return tuple(result.status for result in self.results)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificate of every column: kind, value, relative."""
        return tuple(result.certificate for result in self.results)

    @property
    def relative(self) -> Array:
        """certificate.relative of every column, shape (k,)."""
        return np.array([result.certificate.relative for result in self.results])

    @property
    def intercept(self) -> Array | None:
        """The constant of every column, shape (k,); None without ``intercept=True``."""
        values = [result.intercept for result in self.results]
        return None if not values or values[0] is None else np.array(values)

    @property
    def objective(self) -> Array:
        """The objective of every column, shape (k,)."""
        return np.array([result.objective for result in self.results])

    @property
    def n_iter(self) -> Array:
        """Iterations of every column, shape (k,)."""
        return np.array([result.n_iter for result in self.results], dtype=np.int64)

    @property
    def converged(self) -> Array:
        """Whether every column's certificate meets the tolerance, shape (k,)."""
        return np.array([result.success for result in self.results], dtype=bool)

    @property
    def success(self) -> bool:
        """Whether all certificates meet the tolerance."""
        return bool(self.converged.all())

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, j: int) -> Result:
        return self.results[j]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __repr__(self) -> str:
        total, done = len(self.results), int(self.converged.sum())
        if total == 0:
            return "Batch: no right-hand side"
        worst = int(np.argmax(np.nan_to_num(self.relative, nan=np.inf)))
        lines = [
            f"{done} of {total} right-hand sides converged in {self.seconds:.3g} s",
            f"  worst       column {worst}: {self.results[worst].certificate}",
        ]
        if done < total:
            first = int(np.argmin(self.converged))
            lines.append(f"  column {first}    {self.results[first].message} (tol = {self.tol:.1e})")
        return "\n".join(lines)


class Interrupted(KeyboardInterrupt):
    """Carry the best result so far out of a run that was interrupted with Ctrl-C.

    It is a KeyboardInterrupt, so that a loop of your own around `solve` ends as well. From `solve_path`
    it carries ``.path`` too: what was computed, completed by the last x for the levels that were left.
    From methods of `sparseinv.seismic` that say so, ``.result`` is what they return, as far as it came.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> try:
    ...     result = si.solve(np.eye(2), np.array([2.0, 0.1]), si.L1(0.5))
    ... except si.Interrupted as interrupted:
    ...     result = interrupted.result
    >>> result.x
    array([1.5, 0. ])
    """

    def __init__(self, result: Any, path: Path | None = None) -> None:
        super().__init__("interrupted; the best point so far and its certificate are in .result")
        self.result = result
        self.path = path
