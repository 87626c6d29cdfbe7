"""What comes back: statuses, the result of a run and its report."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv.certificate import Certificate
from sparseinv.problem import Products
from sparseinv.stopping import History

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
        The same products split into set-up, iterations and certificates.
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
        lines = [
            f"{self.status.name}: {self.certificate}",
            f"  objective   {self.objective:.9g}, {self.support.size} of {self.x.size} coefficients not zero",
            f"  solver      {self.solver!r}" + (f" ({self.reason})" if self.reason else ""),
            f"  cost        {self.n_iter} iterations, {self.n_matvec} products with A and {self.n_rmatvec} "
            f"with A^H (set-up {p.setup}, certificates {p.certificate}), {self.seconds:.3g} s",
        ]
        if self.selection is not None:
            lines.append(f"  lam         {self.selection.lam:.6g}: {self.selection.rule}")
        if not self.success:
            lines.append(f"  {self.message} (tol = {self.tol:.1e})")
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
    results : tuple of Result
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
    results: tuple[Result, ...]
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

    It is a KeyboardInterrupt, so that a loop of your own around `solve` ends as well.

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

    def __init__(self, result: Any) -> None:
        super().__init__("interrupted; the best point so far and its certificate are in .result")
        self.result = result
