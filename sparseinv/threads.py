"""How many threads the linear algebra below us takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def _lapack_of_scipy() -> list[Any]:
    """Return the controllers of BLAS libraries that SciPy brings along, apart from NumPy's."""
    import scipy.linalg  # noqa: F401  (loads the library that is looked for)
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [c for c in found if "scipy.libs" in c.filepath]
    return own if len(found) > len(own) else []


@contextmanager
def single_threaded_lapack() -> Iterator[None]:
    """Hold SciPy's LAPACK to one thread while small systems are factorised.

    Wheels of NumPy and SciPy bring one thread pool each. The pools wait actively, so that alternating
    between them on few cores slows both, and two threads on a system of a few hundred unknowns lose to
    one by a factor of ten when another process holds a core. Passes over A use NumPy's pool and keep
    their threads.
    """
    controllers = _lapack_of_scipy()
    before = [c.num_threads for c in controllers]
    for c in controllers:
        c.set_num_threads(1)
    try:
        yield
    finally:
        for c, count in zip(controllers, before, strict=True):
            c.set_num_threads(count)


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold every BLAS to one thread while threads of our own share the cores.

    One thread also fixes the order of additions, so that results do not depend on how many cores there are.
    """
    import scipy.linalg  # noqa: F401  (loads the library that is to be held)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def available_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)
