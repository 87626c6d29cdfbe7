"""Turn whatever the user calls A into an Operator, check its adjoint, estimate its norm."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.base import Operator
from sparseinv.operators.matrix import DenseMatrix, ExplicitMatrix, SparseMatrix, inner, squared

Array = np.ndarray[Any, Any]

_SAFETY = 1.02  # Ritz values approach the norm from below


class External(Operator):
    """Wrap any object with shape, matvec and rmatvec (SciPy LinearOperator, PyLops, your own).

    Only 1-D vectors are passed; they and the results are copied (an object may write into its argument
    and return its own buffer). The declared dtype is not believed: the first product decides whether
    the map is complex. A real map is applied to the real and imaginary parts of a complex vector,
    because many would drop the latter.
    """

    def __init__(self, A: Any) -> None:
        self.object = A
        shape = A.shape
        pair = isinstance(shape, (tuple, list)) and len(shape) == 2
        if not pair or any(np.ndim(s) > 0 for s in shape):
            raise ValueError(f"A.shape is {shape!r}, but an operator needs shape (m, n)")
        if not callable(getattr(A, "rmatvec", None)):
            raise _without_adjoint("rmatvec is missing")
        declared = np.dtype(getattr(A, "dtype", None) or np.float64)
        self.declared = np.dtype(np.complex128 if declared.kind == "c" else np.float64)
        self._observed: np.dtype[Any] | None = None
        super().__init__((int(shape[0]), int(shape[1])), self.declared)
        self.clinear = bool(getattr(A, "clinear", True))
        dims, dimsd = getattr(A, "dims", None), getattr(A, "dimsd", None)
        self.dims = tuple(dims) if dims is not None else self.dims
        self.dimsd = tuple(dimsd) if dimsd is not None else self.dimsd
        # a single-precision map is judged by single-precision standards
        self.single = validation.is_single(np.empty(0, dtype=declared))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Complex if declared so, or if a product came out complex; tried with one if none was made."""
        if self._observed is None:
            if self.declared.kind != "c":
                self._matvec(np.random.default_rng(0).standard_normal(self.shape[1]))
            else:
                self._observed = self.declared
        assert self._observed is not None
        return self._observed

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self.declared = np.dtype(value)

    def _matvec(self, x: Array) -> Array:
        if x.dtype.kind == "c" and self.dtype.kind != "c":
            return self._matvec(x.real) + 1j * self._matvec(x.imag)
        image = _received(self.object.matvec(x.copy()), self.shape[0], "matvec")
        if self._observed is None:
            self._observed = np.result_type(self.declared, image.dtype)
        return image

    def _rmatvec(self, y: Array) -> Array:
        if y.dtype.kind == "c" and self.dtype.kind != "c":
            return self._rmatvec(y.real) + 1j * self._rmatvec(y.imag)
        return self._adjoint(y.copy())

    def lent(self, call: str, v: Array) -> Array:
        """Return a product without the two copies."""
        if self._observed is None or (v.dtype.kind == "c" and self.dtype.kind != "c"):
            return super().lent(call, v)
        if call == "rmatvec":
            return self._adjoint(v, copy=False)
        return _received(self.object.matvec(v), self.shape[0], call, copy=False)

    def _adjoint(self, y: Array, *, copy: bool = True) -> Array:
        try:
            return _received(self.object.rmatvec(y), self.shape[1], "rmatvec", copy=copy)
        # the ways in which SciPy and others say that an adjoint was not given; the cause goes along
        except (AttributeError, NotImplementedError, TypeError) as error:
            raise _without_adjoint(error or "not implemented") from error


def _without_adjoint(reason: Any) -> TypeError:
    return TypeError(
        f"A is an operator without a usable rmatvec ({reason}); "
        "define rmatvec(y) = A^H y, every solver needs it"
    )


def _received(values: Any, size: int, name: str, *, copy: bool = True) -> Array:
    array = np.asarray(values)
    if array.shape != (size,):
        raise ValueError(f"A.{name} returned shape {array.shape}, but ({size},) is needed")
    if array.dtype.kind not in "biufc":
        raise TypeError(f"A.{name} returned dtype {array.dtype}, but numbers are needed")
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=copy)


def as_operator(A: Any) -> Operator:
    """Return A as an Operator.

    Parameters
    ----------
    A : array_like, scipy.sparse container, Operator, or object with shape, matvec and rmatvec
        Dense input of any order, dtype (integer and boolean included), read-only or strided;
        sparse input of any format and index type, duplicates summed.

    Returns
    -------
    Operator
        DenseMatrix or SparseMatrix (columns in memory), or a matrix-free Operator.

    Raises
    ------
    ValueError, TypeError
        A is not two-dimensional, not numeric, not finite, or has no adjoint.

    Notes
    -----
    A dense float64 matrix is copied once unless it is column-major (Fortran order).

    Examples
    --------
    >>> as_operator([[1, 2], [3, 4]])
    DenseMatrix(2 x 2, float64)
    """
    if _is_dense(A):
        array = validation.dense_matrix(A)
        return DenseMatrix(array, validation.finite(array, "A"))
    if isinstance(A, Operator):
        return A
    return _sparse(A) if validation.issparse(A) else External(A)


def system(A: Any, b: Any) -> tuple[Operator, Array]:
    """Return (A as an Operator, b as a vector), both checked; a large A is read once, for A^T b as well."""
    dense = _is_dense(A)
    matrix: ExplicitMatrix | None = None
    if dense:
        matrix = DenseMatrix(validation.dense_matrix(A))
    elif validation.issparse(A) and A.format == "csc" and A.ndim == 2 and A.dtype == np.float64:
        matrix = SparseMatrix(A if type(A).__name__ == "csc_array" else _csc(A))
    if matrix is not None:
        vector = validation.right_hand_side(b, matrix.shape[0])
        if matrix.survey(vector) and matrix.max_abs() <= np.finfo(np.float64).max:
            return matrix, vector
    operator = as_operator(A)
    return operator, validation.right_hand_side(b, operator.shape[0])


def _is_dense(A: Any) -> bool:
    """Tell whether A is, or is to become, a dense matrix; refuse what is neither that nor an operator."""
    if isinstance(A, Operator) or validation.issparse(A):
        return False
    if not isinstance(A, np.ndarray) and hasattr(A, "matvec") and hasattr(A, "shape"):
        return False
    if isinstance(A, (str, bytes)) or (not isinstance(A, np.ndarray) and callable(A)):
        raise TypeError(f"A is a {type(A).__name__}, but a matrix or a linear operator is needed")
    return True


def _csc(A: Any) -> Any:
    wanted = np.complex128 if A.dtype.kind == "c" else np.float64
    return sys.modules["scipy.sparse"].csc_array(A, dtype=wanted, copy=False)


def _sparse(A: Any) -> SparseMatrix:
    if A.ndim != 2:
        raise ValueError(f"A has {A.ndim} dimensions, but a matrix of shape (m, n) is needed")
    if A.dtype.kind not in "biufc":
        raise TypeError(f"A has dtype {A.dtype}, but real or complex numbers are needed")
    csc = _csc(A)
    canonical = A.format == "csc" and A.has_canonical_format and A.dtype == csc.dtype
    if canonical and csc.data is getattr(A, "data", None):
        csc.has_canonical_format = True  # of the same arrays, which are not looked at again
    if not canonical or not csc.has_canonical_format:
        csc = csc.copy() if csc.data is getattr(A, "data", None) or A.format == "csc" else csc
        csc.sum_duplicates()
    largest, at = validation.scan(csc.data)
    if at is not None:
        column = int(np.searchsorted(csc.indptr, at, side="right")) - 1
        raise ValueError(
            f"A contains {csc.data[at]} at A[{int(csc.indices[at])}, {column}]; "
            "remove or replace it before solving"
        )
    return SparseMatrix(csc, largest)


def adjoint_test(A: Any, *, rng: Any = None, tol: float | None = None) -> float:
    """Compare <y, A x> with <A^H y, x> for one seeded pair of random vectors.

    Parameters
    ----------
    A : operator
        Anything that `as_operator` accepts.
    rng : None, int or Generator
        Source of x and y; None is seed 0.
    tol : float, optional
        Largest accepted relative difference; 1e-9, or 1e-3 if A declares single precision.

    Returns
    -------
    float
        |<y, A x> - <A^H y, x>| / (||y|| ||A x|| + ||A^H y|| ||x||).

    Raises
    ------
    ValueError
        The difference exceeds tol; the message shows both inner products.

    Notes
    -----
    Cost: one product with A and one with A^H. Real-linear maps (``clinear = False``) are compared by
    real parts.

    Examples
    --------
    >>> adjoint_test([[1.0, 2.0], [3.0, 4.0]]) < 1e-15
    True
    """
    op = as_operator(A)
    rng = validation.generator(rng)
    x, y = _probe(op.shape[1], op.dtype, rng), _probe(op.shape[0], op.dtype, rng)
    return check_adjoint(op, x, op.matvec(x), y, op.rmatvec(y), tol)


def _shown(number: complex) -> str:
    return f"{number:.9g}" if number.imag else f"{number.real:.9g}"


def check_adjoint(op: Operator, x: Array, Ax: Array, y: Array, Ahy: Array, tol: float | None = None) -> float:
    """Return the relative mismatch of the two inner products, or raise ValueError."""
    if tol is None:
        tol = 1e-3 if getattr(op, "single", False) else 1e-9
    size = max(_largest(Ax), _largest(Ahy))
    if not np.isfinite(size):
        call = "rmatvec" if np.isfinite(Ax).all() else "matvec"
        raise ValueError(f"A.{call} returned a non-finite value for a random vector of unit scale")
    if size == 0.0:
        return 0.0
    if 1e-50 < size < 1e50:
        size = 1.0
    else:  # squares of a tiny or huge A must neither vanish nor overflow
        Ax, Ahy = Ax / size, Ahy / size
    forward, backward = inner(y, Ax), inner(Ahy, x)
    scale = np.sqrt(squared(y) * squared(Ax)) + np.sqrt(squared(Ahy) * squared(x))
    difference = forward - backward
    if not op.clinear:
        difference = complex(difference.real)
    mismatch = float(abs(difference) / scale)
    if mismatch > tol:
        raise ValueError(
            f"A.rmatvec is not the adjoint of A.matvec: <y, A x> = {_shown(forward * size)} but <A^H y, x> = "
            f"{_shown(backward * size)} for random x, y; rmatvec must apply the conjugate transpose "
            "(check_operator=False skips this test)"
        )
    return mismatch


def _largest(v: Array) -> float:
    """Return max |v_j|, NaN if there is one."""
    if v.dtype.kind == "c":
        return float(np.abs(v).max(initial=0.0))
    return float(np.maximum(v.max(initial=0.0), -v.min(initial=0.0)))


def _probe(size: int, dtype: Any, rng: np.random.Generator) -> Array:
    v = rng.standard_normal(size)
    return v + 1j * rng.standard_normal(size) if np.dtype(dtype).kind == "c" else v


def norm_bound(A: Any, *, rng: Any = None, max_steps: int = 20, tol: float = 1e-2) -> tuple[float, bool]:
    """Estimate the spectral norm of A.

    Parameters
    ----------
    A : operator
        Anything that `as_operator` accepts.
    rng : None, int or Generator
        Seed of the start vector; None is seed 0, so the estimate repeats.
    max_steps : int
        Most Golub-Kahan steps (one product with A and one with A^H each).
    tol : float
        Stop when a step raises the estimate by less than this fraction.

    Returns
    -------
    bound : float
        The closed form where the operator knows it; otherwise the largest Ritz value times 1.02.
    proven : bool
        True for the closed form (an upper bound), False for the estimate, which solvers guard by a
        descent check.

    Notes
    -----
    Golub-Kahan bidiagonalisation with full reorthogonalisation of the right vectors [1]_. A zero
    operator gives 0.

    References
    ----------
    .. [1] G. Golub, W. Kahan, Calculating the singular values and pseudo-inverse of a matrix, J. SIAM
       Numer. Anal. B 2 (1965) 205-224, doi:10.1137/0702016.

    Examples
    --------
    >>> norm_bound([[3.0, 0.0], [0.0, 1.0]])[0] >= 3.0
    True
    """
    op = as_operator(A)
    closed = op.norm_bound()
    if closed is not None:
        return float(closed), True
    return golub_kahan(op, validation.generator(rng), max_steps, tol), False


def golub_kahan(op: Any, rng: np.random.Generator, max_steps: int = 20, tol: float = 1e-2) -> float:
    """Return 1.02 times the largest Ritz value of A after at most max_steps steps."""
    v = _probe(op.shape[1], op.dtype, rng)
    v /= np.linalg.norm(v) or 1.0
    basis, alphas, betas = [v], [], []
    u = np.zeros(op.shape[0], dtype=np.result_type(op.dtype, float))
    estimate = beta = 0.0
    for _ in range(min(max_steps, *op.shape)):
        u = op.matvec(v) - beta * u
        alpha = float(np.linalg.norm(u))
        if alpha == 0.0:
            break
        u = u / alpha
        w = op.rmatvec(u)
        for q in basis:  # full reorthogonalisation: Ritz values stay below the norm and distinct
            w = w - np.vdot(q, w) * q
        beta = float(np.linalg.norm(w))
        alphas.append(alpha)
        betas.append(beta)
        k = len(alphas)
        upper = np.zeros((k, k + 1))
        upper[np.arange(k), np.arange(k)] = alphas
        upper[np.arange(k), np.arange(1, k + 1)] = betas
        previous, estimate = estimate, float(np.linalg.norm(upper, 2))
        if beta <= 1e-14 * alpha or estimate - previous <= 0.1 * tol * estimate:
            break
        v = w / beta
        basis.append(v)
    return _SAFETY * estimate
