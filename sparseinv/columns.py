"""The right-hand sides of `solve_many`, what they share, and the answers so far."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

import numpy as np

from sparseinv.gram_batch import SharedGram
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Problem
from sparseinv.result import Result, Selection
from sparseinv.solvers.base import Solver
from sparseinv.stopping import Stopping

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class Columns:
    """The right-hand sides, what they share, and the answers so far.

    Attributes
    ----------
    problem : Problem
        A with everything that depends on A alone; its own b and level belong to no column.
    B : ndarray, shape (m, k)
        The right-hand sides, user's units.
    penalty : Penalty
        As the user passed it.
    lams : ndarray or None, shape (k,)
        One level per column.
    solver : Solver or "auto"
        As for `solve`.
    stopping : Stopping
        tol and limits; max_time is that of all columns together.
    X0 : ndarray or None, shape (n, k)
        Where to start, user's units.
    single : bool
        Whether x comes back in single precision.
    X : ndarray, shape (n, k)
        The answers, user's units, column-major.
    results : list
        The result of every column or what makes it when it is asked for, None until there is one.
    """

    problem: Problem
    B: Array
    penalty: Penalty
    lams: Array | None
    solver: Solver | str
    stopping: Stopping
    X0: Array | None
    single: bool
    max_iter: int | None  # None: the solver's own default
    began: float
    X: Array = field(init=False)
    results: list[Result | Callable[[], Result] | None] = field(init=False)
    stop: Event = field(default_factory=Event)
    wide: bool = False  # whether a column came back in double precision
    _gram: SharedGram | None = None
    _lock: Any = field(default_factory=Lock)
    _keeping: Any = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.X = np.zeros((self.problem.n, self.B.shape[1]), dtype=self.problem.dtype, order="F")
        self.results = [None] * self.B.shape[1]

    @property
    def deadline(self) -> float:
        """Reading of ``time.perf_counter()`` from which on no column is begun."""
        return self.began + self.stopping.max_time

    @property
    def ended(self) -> bool:
        """Whether no further column is to be begun."""
        return self.stop.is_set() or time.perf_counter() >= self.deadline

    @property
    def chooses(self) -> bool:
        """Whether the levels are left to the data."""
        return self.lams is None and isinstance(self.penalty, Leveled) and self.penalty.lam is None

    def leveled(self, j: int, selection: Selection | None = None) -> Penalty:
        """Return the penalty of column j at its level (1 where that is still to be chosen)."""
        if selection is not None:
            return leveled(self.penalty, selection.lam)
        return self.penalty if self.lams is None else leveled(self.penalty, float(self.lams[j]))

    def lam(self, j: int, selection: Selection | None = None) -> Any:
        """Return the level(s) in the penalty of column j; None where there are none or not yet."""
        own = getattr(self.penalty, "lam", None)
        if selection is not None:
            level = selection.lam
        elif self.lams is not None:
            level = float(self.lams[j])
        else:
            return own
        return level if own is None else own * level

    def start(self, j: int) -> Array | None:
        """Return where column j starts, user's units."""
        return None if self.X0 is None else np.ascontiguousarray(self.X0[:, j])

    def column(
        self, j: int, selection: Selection | None = None, *, random: bool = True
    ) -> tuple[Problem, Penalty]:
        """Return the problem of column j and its penalty in the user's units; random: with a generator."""
        penalty = self.leveled(j, selection)
        bound = penalty.bind(self.problem.n)
        problem = self.problem.with_data(np.ascontiguousarray(self.B[:, j]), bound)
        if random:  # its numbers do not depend on who came before
            problem.rng = copy.deepcopy(self.problem.rng)
        return problem, penalty

    def shared_gram(self) -> SharedGram:
        """Return A^T A with its companions, formed once."""
        with self._lock:
            if self._gram is None:
                unit = self.penalty.bind(self.problem.n)
                assert isinstance(unit, Separable)
                self._gram = SharedGram(self.problem, unit)
            return self._gram

    def keep(self, j: int, result: Result) -> None:
        """Store the result of column j, unless there is one: a thread may end after Ctrl-C was answered."""
        with self._keeping:
            if self.results[j] is None:
                self.X[:, j] = result.x
                self.wide |= result.x.dtype.itemsize == self.X.dtype.itemsize
                self.results[j] = dataclasses.replace(result, x=self.X[:, j])


def leveled(penalty: Penalty, level: float) -> Penalty:
    """Return the penalty with lam times level (lam = None counts as 1)."""
    assert isinstance(penalty, Leveled)
    lam = level if penalty.lam is None else penalty.lam * level
    return penalty.replace(lam=lam)
