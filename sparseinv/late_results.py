"""Results that are made when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from sparseinv.result import Result


class Results(Sequence[Result]):
    """Hold the results of many right-hand sides, some of which are made when they are first asked for."""

    def __init__(self, made: list[Result | Callable[[], Result]]) -> None:
        self._made = made

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, j: int) -> Result: ...
    @overload
    def __getitem__(self, j: slice) -> tuple[Result, ...]: ...
    def __getitem__(self, j: int | slice) -> Result | tuple[Result, ...]:
        if isinstance(j, slice):
            return tuple(self[i] for i in range(*j.indices(len(self))))
        result = self._made[j]
        if not isinstance(result, Result):
            result = self._made[j] = result()
        return result
