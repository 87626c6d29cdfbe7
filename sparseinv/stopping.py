"""When to stop, what callbacks see, what is remembered."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Stopping:
    """Hold the limits of a run.

    Attributes
    ----------
    tol : float
        Compared with certificate.relative, by <=.
    max_iter : int
        Iterations of the solver.
    max_time : float
        Seconds, inf for none.
    """

    tol: float = 1e-6
    max_iter: int = 10_000
    max_time: float = np.inf


@dataclass(frozen=True)
class Budget:
    """Tell a solver's step what is left: tolerance (relative), iterations, seconds, and the present gap."""

    tol: float
    iterations: int
    seconds: float
    gap: float = np.inf  # relative value of the last certificate


@dataclass(frozen=True, eq=False)
class Progress:
    """What a callback sees after each certificate; raise StopIteration to stop the run.

    ``x`` is a read-only copy of the iterate, shape (n,), in the user's units.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> def stop_early(progress):
    ...     if progress.relative < 0.5:
    ...         raise StopIteration
    >>> A, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])
    >>> si.solve(A, b, si.L1(0.1), solver=si.ISTA(), tol=0.0, callback=stop_early).status.name
    'STOPPED_BY_CALLBACK'
    """

    n_iter: int
    seconds: float
    objective: float
    relative: float
    n_matvec: int
    n_rmatvec: int
    x: Array = field(repr=False)
    intercept: Any = field(default=None, kw_only=True)


@dataclass(frozen=True, eq=False)
class PathProgress(Progress):
    """What a callback sees after each level of a path; the counts are those of the level."""

    lam: float
    number: int  # levels done, this one included
    total: int  # levels asked for


@dataclass
class History:
    """Remember one row per certificate."""

    rows: list[tuple[int, float, float, float, int]] = field(default_factory=list)

    def add(self, n_iter: int, seconds: float, objective: float, relative: float, products: int) -> None:
        """Append a row."""
        self.rows.append((n_iter, seconds, objective, relative, products))

    def _column(self, k: int) -> Array:
        return np.array([row[k] for row in self.rows])

    @property
    def n_iter(self) -> Array:
        """Iterations done at each certificate."""
        return self._column(0)

    @property
    def seconds(self) -> Array:
        """Seconds since the start at each certificate."""
        return self._column(1)

    @property
    def objective(self) -> Array:
        """Objective at each certificate."""
        return self._column(2)

    @property
    def relative(self) -> Array:
        """certificate.relative at each certificate."""
        return self._column(3)

    @property
    def products(self) -> Array:
        """Products with A and A^H so far at each certificate."""
        return self._column(4)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"History({len(self.rows)} rows)"


class Bar:
    """Show one line of progress: tqdm where it is installed, plain text otherwise."""

    def __init__(self, tol: float) -> None:
        self._tol = max(tol, 1e-16)
        self._first = 0.0
        self._shown = 0.0
        try:
            from tqdm.auto import tqdm

            self._bar: Any = tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}{postfix}")
        except ImportError:
            self._bar = None

    def update(self, progress: Progress) -> None:
        """Show the state of the run; at most ten times a second."""
        now = time.monotonic()
        if now - self._shown < 0.1:
            return
        percent, text = self._state(progress)
        self._show(now, percent, text)

    def _show(self, now: float, percent: float, text: str) -> None:
        self._shown = now
        if self._bar is None:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        else:
            self._bar.n = round(percent)
            self._bar.set_postfix_str(text)

    def _state(self, progress: Any) -> tuple[float, str]:
        relative = max(progress.relative, 1e-300)
        if not self._first and np.isfinite(relative):
            self._first = relative
        percent = 0.0
        if self._first and np.isfinite(relative):
            span, done = np.log(self._first / self._tol), np.log(self._first / relative)
            percent = 100.0 * float(np.clip(done / span, 0, 1)) if span > 0 else 100.0
        return percent, f"iteration {progress.n_iter}, gap {progress.relative:.1e}"

    def close(self) -> None:
        """Leave the line."""
        if self._bar is None:
            print(file=sys.stderr)
        else:
            self._bar.close()


class PathBar(Bar):
    """Show how many levels of a path are done."""

    # a path reports more than a run, and only paths use this bar
    def update(self, progress: PathProgress) -> None:  # type: ignore[override]
        """Show the level; at most ten times a second, and the last one always."""
        now = time.monotonic()
        if now - self._shown >= 0.1 or progress.number == progress.total:
            text = f"level {progress.number} of {progress.total}, lam {progress.lam:.3g}"
            self._show(now, 100.0 * progress.number / progress.total, text)


class ColumnBar:
    """Show how many of the right-hand sides are done: tqdm where it is installed, plain text otherwise."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        try:
            from tqdm.auto import tqdm

            self._bar: Any = tqdm(total=total, unit=" columns")
        except ImportError:
            self._bar = None

    def add(self, count: int) -> None:
        """Count more columns as done."""
        self._done += count
        if self._bar is None:
            text = f"{self._done} of {self._total} columns"
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        else:
            self._bar.update(count)

    def close(self) -> None:
        """Leave the line."""
        if self._bar is None:
            print(file=sys.stderr)
        else:
            self._bar.close()
