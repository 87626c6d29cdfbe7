"""An intercept: one more coefficient, without a penalty, for a column of ones that takes no memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.algebra import HStack
from sparseinv.operators.base import Operator
from sparseinv.operators.bordered import BorderedMatrix
from sparseinv.operators.matrix import DenseMatrix, ExplicitMatrix
from sparseinv.penalties.balls import L0Ball
from sparseinv.penalties.base import Leveled, Penalty
from sparseinv.penalties.group import ByGroup
from sparseinv.result import Batch, Interrupted, Path, Result, Selection
from sparseinv.stopping import Progress

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Intercept:
    """Say how the columns of ones lie behind the n columns of A.

    Attributes
    ----------
    n : int
        Number of coefficients that the user knows.
    signs : tuple of float
        What the columns hold: (1,), or (1, -1) where coefficients must not be negative. None at all where no
        intercept was asked for.
    mean : float, complex or ndarray, shape (k,)
        What is taken off b, or off k right-hand sides, and added to the constant: tolerances are relative to
        ||b||, in which an offset must not count.
    """

    n: int
    signs: tuple[float, ...] = ()
    mean: Any = 0.0

    @classmethod
    def of(cls, wanted: bool, penalty: Penalty, b: Array, n: int) -> Intercept:
        """Check the argument ``intercept`` and the penalty; b are the data, several as columns."""
        if not isinstance(wanted, (bool, np.bool_)):
            raise TypeError(f"intercept is {wanted!r}, but True or False is needed")
        if not wanted:
            return cls(n)
        if not isinstance(penalty, (Leveled, L0Ball)):
            raise TypeError(
                f"intercept=True needs a penalty with one level per coefficient or L0Ball, not {penalty!r}; "
                "take the means off b and off the columns of A instead"
            )
        penalty.bind(n)
        signs = (1.0, -1.0) if getattr(penalty, "nonnegative", False) else (1.0,)
        return cls(n, signs, _mean(b))

    def data(self, b: Array) -> Array:
        """Return b without its mean; exactly zero where b is constant but for rounding."""
        if not self.signs:
            return b
        centred = np.asarray(b - self.mean)
        rounding = 4.0 * np.finfo(np.float64).eps * np.abs(self.mean)
        return np.where(np.abs(centred).max(axis=0, initial=0.0) <= rounding, 0.0, centred)

    def operator(self, A: Operator) -> Operator:
        """Return [A 1]."""
        if not self.signs:
            return A
        if isinstance(A, ExplicitMatrix):
            return BorderedMatrix(A, len(self.signs))
        ones = DenseMatrix(np.asfortranarray(np.outer(np.ones(A.shape[0]), self.signs)))
        whole = HStack([A, ones])
        whole.single = A.single  # judged by the standards of the map that it contains
        return whole

    def penalty(self, penalty: Any) -> Any:
        """Return the penalty with levels of zero for the columns of ones."""
        if not self.signs:
            return penalty
        zeros = np.zeros(len(self.signs))
        if isinstance(penalty, L0Ball):
            counted = 1.0 if penalty.weights is None else penalty.weights
            return dataclasses.replace(penalty, weights=np.append(np.broadcast_to(counted, self.n), zeros))
        index, labels = penalty.grouping(self.n)
        changes: dict[str, Any] = {}
        if index is not None:
            changes["groups"] = np.append(index, labels.size + np.arange(zeros.size))
        size = self.n if index is None else labels.size
        if np.ndim(penalty.lam) == 1:
            changes["lam"] = np.append(penalty.lam, zeros)
        weights = 1.0 if penalty.weights is None else penalty.weights
        if np.ndim(weights) == 0:
            weights = np.full(size if isinstance(penalty, ByGroup) or index is None else self.n, weights)
        changes["weights"] = np.append(weights, zeros)
        for name in ("l1", "l2"):
            level = getattr(penalty, name, None)
            if level is not None:
                changes[name] = np.append(np.broadcast_to(level, self.n), zeros)
        return penalty.replace(**changes)

    def start(self, x0: Array | None) -> Array | None:
        """Return a start, or several as columns, whose constant is the mean of b."""
        if x0 is None or not self.signs:
            return x0
        return np.concatenate([x0, np.zeros((len(self.signs), *x0.shape[1:]), dtype=x0.dtype)])

    def point(self, x: Array, value: complex) -> Array:
        """Return x followed by the coefficients that make the intercept ``value``."""
        if not self.signs:
            return x
        value = value - self.mean
        parts = [value] if len(self.signs) == 1 else [max(value.real, 0.0), max(-value.real, 0.0)]
        return np.append(x, parts)

    def result(self, result: Result) -> Result:
        """Return the result with x of the user's length, and the intercept by itself."""
        if not self.signs:
            return result
        x, lam, posterior = result.x, result.lam, result.posterior
        if posterior is not None:
            cut = {name: getattr(posterior, name)[: self.n] for name in ("mean", "variance", "lam")}
            posterior = dataclasses.replace(posterior, **cut)
        return dataclasses.replace(
            result,
            x=np.ascontiguousarray(x[: self.n]),
            posterior=posterior,
            intercept=(x[self.n :] @ np.array(self.signs) + self.mean).item(),
            lam=lam[: -len(self.signs)] if isinstance(lam, np.ndarray) and lam.ndim == 1 else lam,
        )

    def path(self, path: Path) -> Path:
        """Return the path with results for the user."""
        return Path([self.result(result) for result in path], path.lams) if self.signs else path

    def selection(self, selection: Selection) -> Selection:
        """Return the choice with results for the user."""
        if not self.signs:
            return selection
        path = None if selection.path is None else self.path(selection.path)
        result = None if selection.result is None else self.result(selection.result)
        return dataclasses.replace(selection, path=path, result=result)

    def batch(self, batch: Batch) -> Batch:
        """Return the batch with results for the user."""
        if not self.signs:
            return batch
        x = batch.x[: self.n]
        each = [dataclasses.replace(self, mean=mean) for mean in np.atleast_1d(self.mean)]
        results = tuple(
            dataclasses.replace(added.result(result), x=x[:, j])
            for j, (added, result) in enumerate(zip(each, batch.results, strict=True))
        )
        return dataclasses.replace(batch, x=x, results=results)

    @contextmanager
    def unwrapping(self) -> Iterator[None]:
        """Let Ctrl-C carry out what the user knows."""
        try:
            yield
        except Interrupted as stop:
            result = self.batch(stop.result) if isinstance(stop.result, Batch) else self.result(stop.result)
            raise Interrupted(result, None if stop.path is None else self.path(stop.path)) from None

    def callback(self, callback: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        """Return the callback, shown x of the user's length."""
        if callback is None or not self.signs:
            return callback
        return lambda progress: callback(self.progress(progress))

    def progress(self, progress: Progress) -> Progress:
        """Return what a callback sees, with x of the user's length."""
        if not self.signs:
            return progress
        x = progress.x
        value = (x[self.n :] @ np.array(self.signs) + self.mean).item()
        return dataclasses.replace(progress, x=x[: self.n], intercept=value)


def _mean(b: Array) -> Any:
    """Return the mean over the rows, whose sum may be outside the range of floating point."""
    size = np.abs(b).max(axis=0, initial=0.0)
    size = np.where(size > 0.0, size, 1.0)
    return (size * (b / size).sum(axis=0) / max(b.shape[0], 1))[()]


def intercept_value(value: Any) -> complex | None:
    """Return the intercept of a point that is to be judged: a finite number, or None."""
    if value is None:
        return None
    number = validation.numeric(value, "intercept")
    if number.ndim != 0 or not np.isfinite(number):
        raise ValueError(f"intercept is {value!r}, but one finite number is needed")
    return complex(number) if np.iscomplexobj(number) else float(number)
