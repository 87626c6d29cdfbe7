"""How many threads the linear algebra below us takes."""

from __future__ import annotations

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
