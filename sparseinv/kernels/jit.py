"""The one decorator of all kernels: cached on disk where a cache folder is writable."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile lazily with nogil; cache on disk, or in memory only where no folder is writable."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            compiled = njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            _say_once()
            return njit(nogil=True, error_model="numpy", **options)(function)
        cache = getattr(compiled, "_cache", None)
        for name in ("load_overload", "save_overload"):
            if hasattr(cache, name):
                setattr(cache, name, _forgiving(getattr(cache, name)))
        return compiled

    return decorate


def _forgiving(action: Callable[..., Any]) -> Callable[..., Any]:
    """Return None where action fails: a damaged file or a full disk costs a compilation, not the run."""

    @functools.wraps(action)
    def attempt(*args: Any) -> Any:
        try:
            return action(*args)
        except Exception:
            _say_once()
            return None

    return attempt


@functools.cache
def _say_once() -> None:
    logging.getLogger("sparseinv").warning(
        "compiled code cannot be kept on disk and is compiled again in every process; "
        "set NUMBA_CACHE_DIR to a writable folder to compile only once"
    )
