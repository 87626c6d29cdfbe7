"""Several rules side by side on one stored path; `compare_selectors`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.penalties.base import Penalty
from sparseinv.penalties.group import Grouped
from sparseinv.penalties.separable import Separable
from sparseinv.result import Path, Selection
from sparseinv.selection.selector import Selector, check_selector, prepare
from sparseinv.selection.trail import Trail
from sparseinv.solvers.base import Solver

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Hold what several rules chose from the same data; printing it gives a table.

    ``comparison[k]`` is the `Selection` of rule k, ``len(comparison)`` the number of rules.

    Attributes
    ----------
    selectors : tuple of Selector
        The rules.
    selections : tuple of Selection
        Their choices, each with the solution in ``result``.
    df : ndarray
        Degrees of freedom of every solution; NaN where they are not known.
    seconds : ndarray
        Wall time of every rule without the path that they share.
    lam_max : float
        Smallest level with x = 0 (inf for L2).
    path : Path
        The path as far as the rules read it.
    path_seconds : float
        Wall time of that path.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> found = si.compare_selectors(A, b, si.L1(), [si.SURE(), si.GCV()], n_lams=20)
    >>> len(found), found[0].lam > 0
    (2, True)
    """

    selectors: tuple[Selector, ...]
    selections: tuple[Selection, ...]
    df: Array
    seconds: Array
    lam_max: float
    path: Path
    path_seconds: float

    @property
    def lams(self) -> Array:
        """The level of every rule."""
        return np.array([selection.lam for selection in self.selections])

    def __len__(self) -> int:
        return len(self.selections)

    def __getitem__(self, k: int) -> Selection:
        return self.selections[k]

    def __repr__(self) -> str:
        names = [repr(selector) for selector in self.selectors]
        width = max(len(name) for name in [*names, "selector"])
        lines = [
            f"{len(self.path)} levels solved in {self.path_seconds:.3g} s, lam_max = {self.lam_max:.6g}",
            f"  {'selector':<{width}} {'lam':>11} {'/lam_max':>9} {'not zero':>8} {'df':>8} "
            f"{'criterion':>11} {'seconds':>8}",
        ]
        for k, (name, selection) in enumerate(zip(names, self.selections, strict=True)):
            at = np.flatnonzero(selection.lams == selection.lam)
            known = at.size and at[0] < selection.criterion.size and selection.criterion.size > 1
            value = f"{selection.criterion[at[0]]:11.5g}" if known else f"{'-':>11}"
            assert selection.result is not None
            share = f"{selection.lam / self.lam_max:9.4f}" if self.lam_max > 0.0 else f"{'-':>9}"
            lines.append(
                f"  {name:<{width}} {selection.lam:11.5g} {share} "
                f"{np.count_nonzero(selection.result.x):8d} {self.df[k]:8.2f} {value} {self.seconds[k]:8.3f}"
                + ("  at the edge" if selection.at_edge else "")
            )
        return "\n".join(lines)


def compare_selectors(
    A: Any,
    b: Any,
    penalty: Penalty,
    selectors: Iterable[Selector],
    *,
    lams: Any = None,
    n_lams: int = 100,
    ratio: float = 1e-2,
    solver: Solver | str = "auto",
    tol: float = 1e-6,
    max_iter: int | None = None,
    max_time: float | None = None,
    n_threads: int | None = None,
    intercept: bool = False,
    check_operator: bool = True,
    rng: Any = None,
) -> Comparison:
    """Choose lambda by several rules; those that read a path share one.

    Parameters
    ----------
    A, b, penalty, lams, n_lams, ratio, solver, tol, max_iter, max_time, n_threads, intercept
        As for `select_lam`.
    check_operator, rng
        As for `select_lam`.
    selectors : iterable of Selector
        The rules, such as [SURE(), GCV(), CrossValidation(5)].

    Returns
    -------
    Comparison
        Printing it gives a table: lam, lam / lam_max, non-zeros, degrees of freedom, criterion, seconds, and
        whether the choice lies at the edge of the levels.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work; a rule that has no meaning for the penalty.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((60, 30))
    >>> b = 2 * A[:, 4] + rng.standard_normal(60)
    >>> found = si.compare_selectors(A, b, si.L1(), [si.SURE(sigma=1.0), si.Pivotal()])
    >>> bool((found.lams > 0).all()), [s.at_edge for s in found.selections]
    (True, [False, False])
    """
    if isinstance(selectors, Selector) or not isinstance(selectors, Iterable):
        raise TypeError(
            f"selectors is {selectors!r}, but a list of selectors is needed, such as [SURE(), GCV()]"
        )
    rules = tuple(check_selector(rule, f"selectors[{k}]") for k, rule in enumerate(selectors))
    if not rules:
        raise ValueError("selectors is empty, so there is nothing to compare")
    task, _, added = prepare(
        A, b, penalty, rules, lams=lams, n_lams=n_lams, ratio=ratio, solver=solver, tol=tol,
        max_iter=max_iter, max_time=max_time, n_threads=n_threads, intercept=intercept,
        check_operator=check_operator, rng=rng,
    )  # fmt: skip
    trail = Trail(task)
    task = dataclasses.replace(task, trail=trail)
    known = isinstance(task.problem.penalty, (Separable, Grouped))
    selections, seconds, dfs = [], [], []
    for rule in rules:
        start, shared = time.perf_counter(), trail.seconds
        selection = rule.choose(task)
        seconds.append(time.perf_counter() - start - (trail.seconds - shared))
        level = trail.at(selection.lam)
        selections.append(added.selection(dataclasses.replace(selection, result=level.result)))
        dfs.append(trail.df(level) if known else np.nan)
    solved = trail.n_solved
    path = added.path(Path([level.result for level in trail.solved], trail.lams[:solved]))
    return Comparison(
        rules, tuple(selections), np.array(dfs), np.array(seconds), trail.top, path, trail.seconds
    )
