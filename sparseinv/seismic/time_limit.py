"""The seconds that a method may take, shared by all the solves it makes, and their end by Ctrl-C."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Event
from typing import Any

from sparseinv import validation
from sparseinv.result import Interrupted


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
        self._stop = Event()  # of all parts

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C came, after which no time is left."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Leave no time, here and in all parts."""
        self._stop.set()

    @property
    def left(self) -> float | None:
        """Seconds left for the next solve, at least 0; None without a limit."""
        if self.stopped:
            return 0.0
        return None if math.isinf(self.end) else max(self.end - time.perf_counter(), 0.0)

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def ended(self) -> bool:
        """Tell whether no time is left."""
        return self.stopped or time.perf_counter() >= self.end

    def first(self, share: float) -> TimeLimit:
        """Return the limit for a first part of the work, after which the rest is left for the answer."""
        part = TimeLimit(None)
        part.began, part.end = self.began, self.began + share * (self.end - self.began)
        part._stop = self._stop
        return part

    def run(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a method finds with the ``max_time`` that is left, or had when Ctrl-C ended it.

        Where that was before it had anything, it is called once more, without time, to judge its start.
        """
        try:
            return method(*arguments, max_time=self.left, **options)
        except Interrupted as stop:
            self.stop()
            return stop.result
        except KeyboardInterrupt:
            self.stop()
        return method(*arguments, max_time=0.0, **options)
