"""The seconds that a method may take, shared by all the solves it makes."""

from __future__ import annotations

import math
import time

from sparseinv import validation


class TimeLimit:
    """Tell how much of the time that a method may take is left.

    Parameters
    ----------
    max_time : float or None
        Seconds from now on, > 0; no limit if None.

    Examples
    --------
    >>> TimeLimit(None).left, TimeLimit(None).ended(), TimeLimit(1e-9).ended()
    (None, False, True)
    """

    def __init__(self, max_time: float | None) -> None:
        seconds = math.inf if max_time is None else validation.positive(max_time, "max_time")
        self.began = time.perf_counter()
        self.end = self.began + seconds

    @property
    def left(self) -> float | None:
        """Seconds left for the next solve, at least 0; None without a limit."""
        return None if math.isinf(self.end) else max(self.end - time.perf_counter(), 0.0)

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def ended(self) -> bool:
        """Tell whether no time is left."""
        return time.perf_counter() >= self.end

    def first(self, share: float) -> TimeLimit:
        """Return the limit for a first part of the work, after which the rest is left for the answer."""
        part = TimeLimit(None)
        part.began, part.end = self.began, self.began + share * (self.end - self.began)
        return part
