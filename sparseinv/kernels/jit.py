"""The one decorator of all kernels: cached on disk where a cache folder is writable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile lazily with nogil; cache on disk, or in memory only where no folder is writable."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            logging.getLogger("sparseinv").warning(
                "no writable folder for compiled code (%s); set NUMBA_CACHE_DIR to compile only once", error
            )
            return njit(nogil=True, error_model="numpy", **options)(function)

    return decorate
