"""The process in which one solver works on one cell, driven by compare.py through pipes.

A line of JSON in asks for one run at one tolerance; two lines of JSON come back, the first when the solver
has returned, the second when its x is judged. A crash, a hang or a leak of one solver stays in here.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import peers
import problems

Array = np.ndarray[Any, Any]


class Absent(Exception):
    """The solver is not installed, or does not offer what the suite asks for."""


class Counted:
    """Count the products with a linear map where they are made, and the seconds spent in them."""

    def __init__(
        self, shape: tuple[int, int], forward: Callable[..., Array], adjoint: Callable[..., Array],
        dtype: Any = np.float64,
    ):  # fmt: skip
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._forward, self._adjoint = forward, adjoint
        self.products, self.inside, self.columns = 0, 0.0, 0
        self.wavelet: Array | None = None  # of a convolution

    def matvec(self, x: Array) -> Array:
        return self._timed(self._forward, x)

    def rmatvec(self, r: Array) -> Array:
        return self._timed(self._adjoint, r)

    def _timed(self, function: Callable[..., Array], vector: Array) -> Array:
        start = time.perf_counter()
        product = function(np.ascontiguousarray(vector).ravel())
        self.inside += time.perf_counter() - start
        self.products += 1
        return product


def free_operator(kind: str, n: int) -> tuple[Callable[[], Counted], Array]:
    """Return (function that makes the counted operator, b) of a problem without a matrix."""
    if kind == "dct":
        from scipy.fft import dct, idct

        rows, b = problems.partial_dct(n)

        def adjoint(r: Array) -> Array:
            full = np.zeros(n)
            full[rows] = r
            return idct(full, norm="ortho")

        return lambda: Counted((b.size, n), lambda x: dct(x, norm="ortho")[rows], adjoint), b
    if kind == "fk":
        return _fk(n)
    wavelet = problems.ricker()  # symmetric: its own adjoint

    def blur(x: Array) -> Array:
        return np.convolve(x, wavelet, mode="same")

    rng = np.random.default_rng(0)
    x = np.zeros(n)
    x[rng.choice(n, n // 20, replace=False)] = rng.standard_normal(n // 20)
    b = blur(x)

    def make() -> Counted:
        operator = Counted((n, n), blur, blur)
        operator.wavelet = wavelet
        return operator

    return make, b + 0.05 * b.std() * rng.standard_normal(n)


def _fk(n: int) -> tuple[Callable[[], Counted], Array]:
    """Return the complex problem of n samples and n traces: b = kept traces of the section of spectrum x."""
    from scipy.fft import fft2, ifft2

    kept, b = problems.shot_gather(n, n)

    def forward(x: Array) -> Array:
        return ifft2(x.reshape(n, n), norm="ortho")[:, kept].ravel()

    def adjoint(r: Array) -> Array:
        section = np.zeros((n, n), np.complex128)
        section[:, kept] = r.reshape(n, kept.size)
        return fft2(section, norm="ortho").ravel()

    return lambda: Counted((b.size, n * n), forward, adjoint, np.complex128), b.astype(np.complex128)


# --- what is solved, and how it is judged ---------------------------------------------------------------


class Task:
    """Hold one cell: its data, a run on fresh copies, and the judge."""

    def __init__(self, job: dict[str, Any], peer: peers.Peer) -> None:
        self.peer, self.job = peer, job
        if job["data"] is not None:
            self.A, self.b = load(Path(job["data"]))
        self.lam = job["lam"]

    def run(self, tol: float) -> tuple[float, Any, dict[str, Any]]:
        A, b = fresh(self.A), fresh(self.b)
        lam = self.lam if np.isscalar(self.lam) else np.array(self.lam)
        start = time.perf_counter()
        answer = self.peer.call(A, b, lam, tol)
        return time.perf_counter() - start, answer, {}

    def judge(self, answer: Any, enough: float) -> dict[str, Any]:
        import sparseinv as si

        x = np.asarray(answer, dtype=np.float64)
        gap = si.certify(self.A, self.b, si.L1(self.lam), x).relative
        return {"gap": gap, "nonzeros": int(np.count_nonzero(x))}

    def worst(self, B: Any, X: Array, enough: float) -> dict[str, Any]:
        """Judge the columns of X from the last one, until one is worse than `enough`."""
        import sparseinv as si

        operator, lams = si.as_operator(self.A), np.asarray(self.lam)
        if X.shape != (self.A.shape[1], lams.size):
            raise RuntimeError(f"an answer of shape {X.shape} for {lams.size} lambdas")
        gap = 0.0
        for k in reversed(range(lams.size)):
            b = B if B.ndim == 1 else B[:, k]
            column = np.ascontiguousarray(X[:, k])
            gap = max(gap, si.certify(operator, b, si.L1(float(lams[k])), column).relative)
            if not gap <= enough:
                break
        return {"gap": gap, "nonzeros": int(np.count_nonzero(X[:, -1]))}


class PathTask(Task):
    """100 lambdas: the worst gap counts."""

    def judge(self, answer: Any, enough: float) -> dict[str, Any]:
        return self.worst(self.b, np.asarray(answer), enough)


class BatchTask(PathTask):
    """Many right-hand sides: the worst gap counts. `b` is a matrix."""


class CrossValidationTask(Task):
    """A chosen lambda and the answer on all data, which is what is judged."""

    def judge(self, answer: Any, enough: float) -> dict[str, Any]:
        import sparseinv as si

        lam, x = answer
        gap = si.certify(self.A, self.b, si.L1(float(lam)), np.asarray(x, dtype=np.float64)).relative
        return {
            "gap": gap, "nonzeros": int(np.count_nonzero(x)), "chosen": float(lam) / float(self.lam[0])
        }  # fmt: skip


class FreeTask(Task):
    """No matrix: products and the time outside them count."""

    def __init__(self, job: dict[str, Any], peer: peers.Peer) -> None:
        super().__init__(job, peer)
        kind, sizes = problems.FREE[job["cell"]]
        self.operator, self.b = free_operator(kind, sizes[job["size"]])
        self.lam = float(np.abs(self.operator().rmatvec(self.b)).max()) / job["factor"]
        self.radius = 0.0
        if peer.name.startswith("spgl1"):
            import sparseinv as si

            self.radius = float(np.abs(si.solve(self.operator(), self.b, si.L1(self.lam), tol=1e-12).x).sum())

    def gap(self, x: Array) -> float:
        import sparseinv as si

        return si.certify(self.operator(), self.b, si.L1(self.lam), x, check_operator=False).relative

    def run(self, tol: float) -> tuple[float, Any, dict[str, Any]]:
        operator = self.operator()
        watch = peers.Watch(self.gap, tol, self.job["cap"])
        watch.radius = self.radius
        start = time.perf_counter()
        x = self.peer.call(operator, self.b.copy(), self.lam, tol, watch)
        seconds = time.perf_counter() - start - watch.judging
        outside = max(0.0, 1 - operator.inside / seconds)
        return seconds, x, {"products": operator.products, "outside": outside, "columns": operator.columns}

    def judge(self, answer: Any, enough: float) -> dict[str, Any]:
        return {"gap": self.gap(np.asarray(answer)), "nonzeros": int(np.count_nonzero(answer))}


TASKS = {
    "single": Task, "path": PathTask, "cv": CrossValidationTask, "batch": BatchTask, "free": FreeTask
}  # fmt: skip


def save(folder: Path, A: Any, b: Array) -> None:
    """Write the data of a problem for the workers."""
    folder.mkdir()
    np.save(folder / "b.npy", b)
    if isinstance(A, np.ndarray):
        np.save(folder / "A.npy", A)
    else:
        from scipy import sparse

        sparse.save_npz(folder / "A.npz", A, compressed=False)


def load(folder: Path) -> tuple[Any, Array]:
    """Read what `save` wrote."""
    if (folder / "A.npy").exists():
        return np.load(folder / "A.npy"), np.load(folder / "b.npy")
    from scipy import sparse

    return sparse.csc_array(sparse.load_npz(folder / "A.npz")), np.load(folder / "b.npy")


def fresh(data: Any) -> Any:
    """Copy data, in its own layout."""
    return data.copy(order="K") if isinstance(data, np.ndarray) else data.copy()


def memory() -> float:
    """Return the largest memory of this process so far [MB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def prepare(job: dict[str, Any]) -> tuple[Task, str]:
    """Import the package and load the data; return (task, version)."""
    peer = peers.find(job["suite"], job["solver"])
    if util.find_spec(peer.package) is None:
        raise Absent(f"{peer.package} is not installed")
    module = import_module(peer.package)
    if peer.needs is not None and not hasattr(module, peer.needs):
        raise Absent(f"this {peer.package} has no {peer.needs}")
    version = getattr(module, "__version__", None)
    if version is None:
        version = metadata.version(peer.distribution)
    return TASKS[job["suite"]](job, peer), str(version)


def describe(error: BaseException) -> str:
    """Return type and first line of an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:200]


def main() -> None:
    """Answer requests until the pipe is closed."""
    warnings.simplefilter("ignore")
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what solvers print must not mix with the replies

    def reply(**message: Any) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    job = json.loads(sys.stdin.readline())
    signal.alarm(600)  # the default action ends the process, also inside compiled code
    try:
        task, version = prepare(job)
    except Absent as absent:
        return reply(absent=str(absent))
    except Exception as error:
        return reply(error=describe(error))
    signal.alarm(0)  # waiting ends when the pipe is closed
    reply(ready=True, version=version, memory=memory())
    for line in sys.stdin:
        request = json.loads(line)
        signal.alarm(int(request["limit"]) + 30)
        gc.collect()
        try:
            seconds, answer, extra = task.run(request["tol"])
            reply(seconds=seconds, memory=memory(), **extra)
            signal.alarm(int(request["judging"]) + 30)
            reply(**task.judge(answer, request["enough"]))
        except Exception as error:
            reply(error=describe(error))
        signal.alarm(0)
    return None


if __name__ == "__main__":
    main()
