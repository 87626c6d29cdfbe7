"""How many threads the linear algebra below us takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from threading import Event, Lock
from typing import Any


@cache
def _lapack_of_scipy() -> list[Any]:
    """Return the controllers of BLAS libraries that SciPy brings along, apart from NumPy's."""
    from threadpoolctl import ThreadpoolController

    import_module("scipy.linalg")  # loads the library that is looked for
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
    """Hold every BLAS to one thread while threads of our own work on independent problems.

    One thread also fixes the order of additions, so that results do not depend on how many cores there are.
    """
    from threadpoolctl import threadpool_limits

    import_module("scipy.linalg")  # loads the library that is to be held
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def available_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def spread(tasks: Iterable[Any], work: Callable[[Any], None], n_threads: int, stop: Event) -> bool:
    """Call ``work(task)`` for all tasks in n_threads threads (0: in this one); return whether Ctrl-C came.

    After Ctrl-C, or once ``stop`` is set, tasks in hand are finished and no more are begun. An exception
    in a task ends the others likewise and is then raised.
    """
    queue, lock = iter(tasks), Lock()

    def take() -> None:
        while not stop.is_set():
            with lock:
                task = next(queue, None)
            if task is None:
                return
            try:
                work(task)
            except BaseException:
                stop.set()
                raise

    if n_threads == 0:
        try:
            take()
        except KeyboardInterrupt:
            return True
        return False
    interrupted = False
    with ThreadPoolExecutor(n_threads, thread_name_prefix="sparseinv") as pool:
        try:
            running = [pool.submit(take) for _ in range(n_threads)]
            while wait(running, timeout=0.1).not_done:  # short, so that Ctrl-C is seen on every platform
                pass
        except KeyboardInterrupt:
            stop.set()
            interrupted = True
    for future in running:
        error = future.exception()
        if isinstance(error, KeyboardInterrupt):
            interrupted = True
        elif error is not None:
            raise error
    return interrupted
