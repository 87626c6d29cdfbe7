"""Ctrl-C in a method that makes several solves: what it has found so far becomes its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from sparseinv.result import Interrupted, Result, Status

Answer = TypeVar("Answer")


def kept(
    method: Callable[..., Answer],
    *arguments: Any,
    instead: Callable[[], Answer] | None = None,
    **options: Any,
) -> tuple[Answer, bool]:
    """Return what a method returns, or had when Ctrl-C came, and whether it came.

    Parameters
    ----------
    method : callable
        Called with the other arguments; what it raises as `Interrupted` holds an answer of the kind that it
        returns.
    instead : callable, optional
        Makes an answer of what was known before, where a plain KeyboardInterrupt holds nothing; without it
        such a one is passed on.
    """
    try:
        return method(*arguments, **options), False
    except Interrupted as stop:
        found: Answer = stop.result
        return found, True
    except KeyboardInterrupt:
        if instead is None:
            raise
    return instead(), True


def answered(answer: Answer, stopped: bool) -> Answer:
    """Return an answer, or raise it as `Interrupted` where Ctrl-C came."""
    if stopped:
        raise Interrupted(answer)
    return answer


def as_interrupted(result: Result) -> Result:
    """Return a result that was judged where it stood, without time, as one that Ctrl-C cut off."""
    if result.status is not Status.MAX_TIME:
        return result
    return dataclasses.replace(result, status=Status.INTERRUPTED)
