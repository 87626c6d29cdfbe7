"""The only place that checks and casts what users pass in; it must not know what the numbers are for.

Every refusal is a ValueError or TypeError whose sentence names the argument, says what is wrong and
what would be right.
"""

from __future__ import annotations

import math
import operator as _operator
import sys
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BLOCK = 1 << 16  # entries looked at together when searching for NaN: they stay in the cache
_HUGE = np.finfo(np.float64).max


def issparse(A: Any) -> bool:
    """Tell whether A is a scipy.sparse container, without importing SciPy."""
    module = sys.modules.get("scipy.sparse")
    return module is not None and bool(module.issparse(A))


def numeric(values: Any, name: str) -> Array:
    """Return values as a native float64 or complex128 array (no copy where it already is one)."""
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            raise ValueError(f"{name} is a masked array with masked entries; fill them, or drop those rows")
        values = values.data
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"{name} has dtype {array.dtype}, but real or complex numbers are needed; "
            f"convert it, for example with {name}.astype(float)"
        )
    wanted = np.complex128 if array.dtype.kind == "c" else np.float64
    with np.errstate(over="ignore"):  # what extended precision alone can hold becomes inf, and is refused
        return array.astype(wanted, copy=False)


def is_single(values: Any) -> bool:
    """Tell whether values are stored in single (or half) precision."""
    dtype = getattr(values, "dtype", None)
    return dtype is not None and np.dtype(dtype).kind in "fc" and np.finfo(dtype).eps > 1e-9


def finite(array: Array, name: str) -> float:
    """Refuse NaN and infinity, with the position of the first one; return the largest modulus (of a part)."""
    flat = array.reshape(-1, order="A") if array.flags.forc else array.ravel()
    largest, at = scan(flat)
    if at is not None:
        shape = array.shape
        column_major = array.flags.f_contiguous and not array.flags.c_contiguous
        where = np.unravel_index(at, shape[::-1])[::-1] if column_major else np.unravel_index(at, shape)
        position = ", ".join(str(int(i)) for i in where)
        raise ValueError(
            f"{name} contains {flat[at]} at {name}[{position}]; remove or replace it before solving"
        )
    return largest


def scan(flat: Array) -> tuple[float, int | None]:
    """Return the largest modulus (of a part) and the place of the first NaN or infinity, block by block."""
    parts = 2 if flat.dtype.kind == "c" else 1
    numbers = flat.view(flat.real.dtype) if parts == 2 else flat
    largest = 0.0
    for start in range(0, numbers.size, _BLOCK):
        block = numbers[start : start + _BLOCK]
        # one pass tells both: a NaN makes the maximum a NaN
        size = max(float(block.max()), -float(block.min()))
        if not size <= _HUGE:
            return size, (start + int(np.argmin(np.isfinite(block)))) // parts
        largest = max(largest, size)
    return largest, None


def dense_matrix(A: Any) -> Array:
    """Return A as a two-dimensional float64 or complex128 array, not yet known to be finite."""
    array = numeric(A, "A")
    if array.ndim != 2:
        raise ValueError(f"A has {array.ndim} dimensions, but a matrix of shape (m, n) is needed")
    return array


def right_hand_side(b: Any, m: int) -> Array:
    """Return b as a finite contiguous vector of m entries."""
    array = numeric(b, "b")
    if array.ndim == 2 and 1 in array.shape and m != 1:
        raise ValueError(f"b has shape {array.shape}, but a vector of shape ({m},) is needed; pass b.ravel()")
    if array.ndim != 1:
        raise ValueError(f"b has shape {array.shape}, but a vector of shape ({m},) is needed")
    if array.size != m:
        raise ValueError(f"b has {array.size} entries, but A has {m} rows")
    finite(array, "b")
    return np.ascontiguousarray(array)


def right_hand_sides(B: Any, m: int) -> Array:
    """Return B as a finite matrix with m rows, one right-hand side a column."""
    array = numeric(B, "B")
    if array.ndim != 2 or array.shape[0] != m:
        hint = "; pass B.T" if array.ndim == 2 and array.shape[1] == m else ""
        if array.ndim == 1 and array.size == m:
            hint = "; pass B[:, None], or use solve"
        raise ValueError(f"B has shape {array.shape}, but A has {m} rows: ({m}, k) is needed{hint}")
    finite(array, "B")
    return array


def start_matrix(X0: Any, n: int, k: int, *, complex_allowed: bool) -> Array:
    """Return X0 as a finite matrix with n rows and k columns."""
    array = numeric(X0, "X0")
    if array.shape != (n, k):
        raise ValueError(f"X0 has shape {array.shape}, but x has shape ({n}, {k}), like B a column each")
    if np.iscomplexobj(array) and not complex_allowed:
        raise ValueError("X0 is complex, but A and B are real; pass X0.real")
    finite(array, "X0")
    return array


def column_levels(lams: Any, k: int) -> Array:
    """Return lams as a vector of k levels >= 0, one per right-hand side."""
    if isinstance(lams, (str, bytes)):
        raise TypeError(f"lams is {lams!r}, but one number per column of B is needed")
    levels = lambdas(lams, "lams")
    if not isinstance(levels, np.ndarray) or levels.size != k:
        shape = np.shape(lams)
        raise ValueError(f"lams has shape {shape}, but B has {k} columns: one level each, ({k},), is needed")
    return levels


def start_vector(x0: Any, n: int, *, complex_allowed: bool) -> Array:
    """Return a writable copy of x0 as a finite vector of n entries."""
    array = numeric(x0, "x0")
    if array.shape != (n,):
        raise ValueError(f"x0 has shape {array.shape}, but x has shape ({n},)")
    if np.iscomplexobj(array) and not complex_allowed:
        raise ValueError("x0 is complex, but A and b are real; pass x0.real")
    finite(array, "x0")
    return array.copy()


def candidate(x: Any, n: int) -> Array:
    """Return x, a point to be judged, as a finite vector of n entries."""
    array = numeric(x, "x")
    if array.shape != (n,):
        raise ValueError(f"x has shape {array.shape}, but A has {n} columns; ({n},) is needed")
    finite(array, "x")
    return np.ascontiguousarray(array)


def lambdas(lam: Any, name: str = "lam") -> Array | float | None:
    """Return lam as a float, a vector, or None; refuse negative, NaN and complex values."""
    if lam is None:
        return None
    array = numeric(lam, name)
    if np.iscomplexobj(array):
        raise TypeError(f"{name} is complex, but a penalty level is a real number >= 0")
    if array.ndim > 1:
        raise ValueError(f"{name} has shape {array.shape}; pass one number or a vector")
    bad = ~(array >= 0)
    if bad.any():
        where = "" if array.ndim == 0 else f"[{int(np.argmax(bad))}]"
        value = float(array.ravel()[int(np.argmax(bad.ravel()))])
        raise ValueError(
            f"{name}{where} is {value}, but it must be >= 0 (0 leaves a coefficient unpenalised, "
            "inf excludes it)"
        )
    if array.ndim == 0:
        return float(array)
    vector = np.array(array, dtype=np.float64)
    vector.flags.writeable = False
    return vector


def path_levels(lams: Any) -> Array:
    """Return the levels of a path, decreasing; refuse what is not a finite number >= 0."""
    array = numeric(lams, "lams")
    if np.iscomplexobj(array):
        raise TypeError("lams is complex, but a penalty level is a real number >= 0")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"lams has shape {array.shape}, but a vector of at least one level is needed")
    bad = ~((array >= 0) & np.isfinite(array))
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(f"lams[{at}] is {array[at]}, but every level must be a finite number >= 0")
    return np.ascontiguousarray(np.sort(array)[::-1])


def fraction(value: Any, name: str) -> float:
    """Return value as a float strictly between 0 and 1."""
    number = real_number(value, name)
    if not 0 < number < 1:
        raise ValueError(f"{name} is {number}, but it must lie between 0 and 1")
    return number


def group_labels(groups: Any, n: int | None = None) -> Array:
    """Return one label per coefficient as a vector of n entries."""
    labels = np.asarray(groups)
    if labels.ndim != 1:
        raise ValueError(f"groups has shape {labels.shape}; pass one label per coefficient, shape (n,)")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"groups[{int(np.argmax(np.isnan(labels)))}] is NaN, which is no group label")
    if labels.dtype.kind == "O":
        raise TypeError("groups has dtype object; use integer or string labels of one type")
    if n is not None and labels.size != n:
        raise ValueError(f"groups has {labels.size} labels, but there are {n} coefficients")
    return labels


def broadcast(values: Array | float, n: int, index: Array | None, count: int, name: str) -> Array:
    """Spread one number, one per coefficient, or one per group over the n coefficients."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0:
        return np.full(n, float(values))
    if index is not None:
        if values.size != count:
            raise ValueError(
                f"{name} has {values.size} entries, but groups has {count} distinct labels; pass one number "
                "or one per label, in the order of numpy.unique(groups)"
            )
        return values[index]
    if values.size != n:
        raise ValueError(f"{name} has {values.size} entries, but there are {n} coefficients")
    return values.astype(np.float64)


def tolerance(tol: Any) -> float:
    """Return tol as a float >= 0."""
    value = real_number(tol, "tol")
    if not value >= 0 or math.isinf(value):
        raise ValueError(
            f"tol is {value}, but it must be a finite number >= 0 (it is compared with gap / (||b||^2 / 2))"
        )
    return value


def real_number(value: Any, name: str) -> float:
    """Return value as a float; refuse anything that is not one real number."""
    if isinstance(value, (str, bytes, bool)) or np.ndim(value) != 0:
        raise TypeError(f"{name} is {value!r}, but one real number is needed")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}, but one real number is needed") from None


def refuse_class(value: Any, base: type, name: str, arguments: str = "") -> None:
    """Raise TypeError where a class was passed in place of an object of it."""
    if isinstance(value, type) and issubclass(value, base):
        raise TypeError(
            f"{name} is the class {value.__name__}; pass an object, {value.__name__}({arguments})"
        )


def positive(value: Any, name: str) -> float:
    """Return value as a finite float > 0."""
    number = real_number(value, name)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {number}, but it must be a finite number > 0")
    return number


def count(value: Any, name: str, least: int = 0) -> int:
    """Return value as an int >= least."""
    try:
        number = _operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, but a whole number is needed") from None
    if isinstance(value, bool):
        raise ValueError(f"{name} is {value}, no number, but a whole number >= {least} is needed")
    if number < least:
        raise ValueError(f"{name} is {value!r}, but it must be a whole number >= {least}")
    return number


def generator(rng: Any) -> np.random.Generator:
    """Return a random generator; None means the fixed seed 0, so that runs repeat."""
    if isinstance(rng, np.random.Generator):
        return rng
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise TypeError(f"rng is {rng!r}, but None, a seed or a numpy.random.Generator is needed") from None
