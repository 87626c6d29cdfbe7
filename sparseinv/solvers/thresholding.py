"""Methods that keep the k largest: iterative hard thresholding, HTP, CoSaMP, subspace pursuit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from sparseinv.certificate import Kind
from sparseinv.problem import Problem, squared
from sparseinv.solvers.base import Outcome, Solver, State, chunk, refuse, start_point
from sparseinv.solvers.support_fit import fit_support
from sparseinv.stopping import Budget

Array = np.ndarray[Any, Any]

_CHUNK = 10  # iterations of a step
_STAYED = 5  # iterations with one support after which it is fitted exactly
_MARGIN, _SHRINK = 0.01, 1.1  # c and kappa of normalised iterative hard thresholding
_BETTER = 1e-12  # what counts as lower, relative to 1/2 ||b||^2
_CUTS = 200  # of one step, at most
_PATIENCE = 100  # rounds of CoSaMP without a better fit: far from recovery supports hardly ever repeat


@dataclass(slots=True, eq=False, kw_only=True)
class ThresholdingState(State):
    """Carry the point at equal column norms, the best fit so far and where it has been.

    z = x ||a_j|| and r = A x - b; x is the best fit on a support that has been made, or z's own point
    before the first.
    """

    z: Array  # coefficients of the columns at norm 1
    inverse: Array  # 1 / ||a_j||, 0 for columns of zeros; ones where norms would cost products
    left: Array  # residual of z
    support: Array  # places of the non-zeros of z
    length: float  # of a gradient step from an exact fit: 1 / (mean squared norm of the columns at hand)
    best: float  # 1/2 ||A x - b||^2 at x
    seen: set[bytes]  # supports that were fitted
    d: Array | None = None  # last direction, for conjugate steps
    image: Array | None = None  # A times its part on the support
    stayed: int = 0  # iterations since the support changed
    vain: int = 0  # rounds of a pursuit since the last better fit


class _Thresholding(Solver):
    """Share the normalisation, the exact fits and the end of the methods of this module."""

    local_kind: ClassVar[Kind] = Kind.SWAP_MINIMUM
    finite: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuse all but at most k non-zeros."""
        if not hasattr(problem.penalty, "k"):
            raise refuse(self, "needs L0Ball(k)", "ISTA, OLS, LocalSearch")
        if problem.penalty.nonnegative:
            raise refuse(self, "does not treat nonnegative=True", "OMP")
        if problem.unpenalised.size or problem.penalty.excluded.any():
            raise refuse(
                self,
                "lets all coefficients count: it treats neither intercept=True (a free column) nor weights "
                "of 0 or inf",
                "OMP, OLS, LocalSearch",
            )

    def proves(self, problem: Problem) -> Kind:
        """Return exchanges where column norms cost no products, else first-order stationarity."""
        known = problem.explicit or problem.operator.inner.closed_columns
        return Kind.SWAP_MINIMUM if known else Kind.PROX_STATIONARITY

    def start(self, problem: Problem, x0: Array | None) -> ThresholdingState:
        """Return the state at the k largest of x0, zero by default."""
        problem.operator.phase = "setup"
        known = problem.explicit or problem.operator.inner.closed_columns
        norms = problem.column_norms if known else problem.operator.column_norms()
        inverse = np.ones(problem.n) if norms is None else np.where(norms > 0, 1.0 / _positive(norms), 0.0)
        length = 1.0
        if norms is None:
            v = np.random.default_rng(0).choice([-1.0, 1.0], problem.n).astype(problem.dtype)
            length = problem.n / _positive(squared(problem.operator.matvec(v)))
        x = start_point(problem, x0)
        z = problem.penalty.prox(np.divide(x, inverse, out=np.zeros_like(x), where=inverse > 0), 1.0)
        left = problem.residual(z * inverse)
        state = ThresholdingState(
            z * inverse, z=z, inverse=inverse, left=left, support=np.flatnonzero(z), length=float(length),
            best=0.5 * squared(left), seen=set(),
        )  # fmt: skip
        state.r, state.settled = left, False
        if not problem.scale > 0.0:
            state.x, state.best = np.zeros_like(x), 0.0
        return state

    def resume(self, problem: Problem, state: ThresholdingState) -> ThresholdingState:
        """Begin at the last point, cut to k coefficients."""
        return self.start(problem, state.x.copy())

    def step(self, problem: Problem, state: ThresholdingState, budget: Budget) -> Outcome:
        """Iterate for about a tenth of a second; end where the support repeats itself."""
        count = chunk(problem, 4.0, _CHUNK) if problem.explicit else _CHUNK
        for _ in range(min(count, budget.iterations)):
            if time.perf_counter() > problem.operator.deadline:  # fits on many columns take long
                break
            state.n_iter += 1
            if problem.penalty.k == 0 or not problem.scale > 0.0 or not self._advance(problem, state):
                if state.seen:
                    self._moved(problem, state, self._fit(problem, state, np.flatnonzero(state.x)))
                state.settled, state.r = True, None  # judged by a fresh residual
                return Outcome.EXHAUSTED
        return Outcome.MOVED

    def _advance(self, problem: Problem, state: ThresholdingState) -> bool:
        """Iterate once; return False at the end."""
        raise TypeError(f"{type(self).__name__} must define _advance(problem, state)")

    def _gradient(self, problem: Problem, state: ThresholdingState) -> Array:
        return np.asarray(-problem.gradient(state.left) * state.inverse)

    @staticmethod
    def _image(problem: Problem, state: ThresholdingState, z: Array) -> Array:
        image = problem.operator.matvec(z * state.inverse)
        return np.asarray(image if problem.dtype.kind == "c" else image.real)

    def _largest(self, v: Array, count: int) -> Array:
        """Return the places of the largest moduli, of equal ones the first, zeros left out."""
        order = np.argsort(-np.abs(v), kind="stable")[:count]
        return np.sort(order[v[order] != 0])

    def _fit(self, problem: Problem, state: ThresholdingState, support: Array) -> Array:
        """Return z fitted on a support."""
        z = np.zeros_like(state.z)
        scale = _positive(state.inverse[support])
        z[support] = fit_support(problem, support, state.z * state.inverse) / scale
        return z

    def _moved(self, problem: Problem, state: ThresholdingState, z: Array, left: Array | None = None) -> None:
        """Go to z; keep its point if it is the best so far."""
        state.z, state.support = z, np.flatnonzero(z)
        state.left = problem.residual(z * state.inverse) if left is None else left
        value = 0.5 * squared(state.left)
        if value < state.best - (_BETTER * problem.scale if state.seen else 0.0):
            state.best, state.x, state.r = value, z * state.inverse, state.left

    def _refitted(self, problem: Problem, state: ThresholdingState, support: Array) -> bool:
        """Go to the exact fit on a support; return False if it was made before."""
        name = support.tobytes()
        if name in state.seen:
            return False
        state.seen.add(name)
        self._moved(problem, state, self._fit(problem, state, support))
        return True

    def _aimed(self, problem: Problem, state: ThresholdingState) -> Array:
        """Return the k largest places of a gradient step of length 1 / (mean squared column norm)."""
        step = state.length * self._gradient(problem, state)
        return self._largest(state.z + step, problem.penalty.k)


def _positive(values: Any) -> Any:
    return np.where(values > 0, values, 1.0)


@dataclass(frozen=True, repr=False)
class IterativeHardThresholding(_Thresholding):
    """Take gradient or conjugate gradient steps and keep the k largest coefficients.

    Minimises ``1/2 ||A x - b||^2`` with at most k non-zeros: ``x <- H_k(x + mu d)``, H_k keeping the k
    largest ``|x_j| ||a_j||``, mu the best length on the support. A support that stays for five iterations
    is fitted exactly; where a step from there leads back to a support that was fitted before, the method
    ends, and the best fit is the answer.

    Parameters
    ----------
    conjugate : bool
        d is conjugate to the last direction while the support stays (CGIHT); False: d = -A^H r, with
        shorter steps where the support changes (NIHT).

    Notes
    -----
    Three products with A or A^H an iteration, one more per step that is shortened. Fast where columns
    are nearly orthogonal and k is far below m; made for matrix-free A. Norms of columns are divided out
    where they cost no products. Real or complex. Certified by exchanges where columns are in memory or in
    closed form, else to first order; the status is EXHAUSTED where the point is no minimum in that sense.

    References
    ----------
    T. Blumensath, M. Davies, IEEE J. Sel. Top. Signal Process. 4 (2010) 298-309,
    doi:10.1109/JSTSP.2010.2042411 (NIHT). J. Blanchard, J. Tanner, K. Wei, Inf. Inference 4 (2015) 289-327,
    doi:10.1093/imaiai/iav011 (CGIHT).

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> b = A[:, 3] - 2 * A[:, 40]
    >>> si.solve(A, b, si.L0Ball(2), solver=si.IterativeHardThresholding()).support
    array([ 3, 40])
    """

    conjugate: bool = True

    def __post_init__(self) -> None:
        """Check the hyper-parameter."""
        if not isinstance(self.conjugate, (bool, np.bool_)):
            raise TypeError(f"conjugate is {self.conjugate!r}, but True or False is needed")

    def _advance(self, problem: Problem, state: ThresholdingState) -> bool:
        g, k = self._gradient(problem, state), problem.penalty.k
        support = state.support if state.support.size else self._largest(g, k)
        part = np.zeros_like(g)
        part[support] = g[support]
        plain = self._image(problem, state, part)
        length = squared(part) / squared(plain) if squared(plain) > 0.0 else 0.0
        d, image, mu = g, plain, length
        if self.conjugate and state.stayed and state.d is not None and state.image is not None:
            old = squared(state.image)
            beta = -float(np.vdot(state.image, plain).real) / old if old > 0.0 else 0.0
            along, bent = g + beta * state.d, plain + beta * state.image
            slope, bend = float(np.vdot(part[support], along[support]).real), squared(bent)
            if slope > 0.0 and bend > 0.0:
                d, image, mu = along, bent, slope / bend
        z = problem.penalty.prox(state.z + mu * d, 1.0)
        left = problem.residual(z * state.inverse)
        if not np.array_equal(np.flatnonzero(z), state.support):
            if d is not g and not squared(left) < squared(state.left):
                d, image, mu = g, plain, length
                z = problem.penalty.prox(state.z + mu * d, 1.0)
                left = problem.residual(z * state.inverse)
            if d is g:
                z, left = self._shortened(problem, state, z, left, mu, g)
        same = np.array_equal(np.flatnonzero(z), state.support)
        state.d, state.image, state.stayed = d, image, state.stayed + 1 if same else 0
        self._moved(problem, state, z, left)
        if state.stayed < _STAYED and mu > 0.0:
            return True
        state.d, state.stayed = None, 0
        if not self._refitted(problem, state, state.support):
            return False
        aim = self._aimed(problem, state)
        return not np.array_equal(aim, state.support) and self._refitted(problem, state, aim)

    def _shortened(
        self, problem: Problem, state: ThresholdingState, z: Array, left: Array, mu: float, g: Array
    ) -> tuple[Array, Array]:
        """Return a point of a gradient step short enough to lower the misfit, with its residual."""
        for _ in range(_CUTS):
            moved, bent = squared(z - state.z), squared(left - state.left)
            if np.array_equal(np.flatnonzero(z), state.support) or mu * bent <= (1.0 - _MARGIN) * moved:
                break
            mu /= _SHRINK * (1.0 - _MARGIN)
            z = problem.penalty.prox(state.z + mu * g, 1.0)
            left = problem.residual(z * state.inverse)
        return z, left


@dataclass(frozen=True, repr=False)
class HTP(_Thresholding):
    """Threshold a gradient step to k places and fit those exactly, until the places repeat.

    Minimises ``1/2 ||A x - b||^2`` with at most k non-zeros (hard thresholding pursuit): S <- places of the k
    largest ``|x_j - mu g_j|`` at equal column norms, x <- fit on S; mu is 1 over their mean squared norm.

    Notes
    -----
    Two products and a fit on k columns an iteration; few iterations. Where columns are neither in memory
    nor in closed form a fit takes conjugate gradients, two products a round, and one product estimates the
    mean. The best fit is the answer; certificate and status as for `IterativeHardThresholding`. Real or
    complex.

    References
    ----------
    S. Foucart, SIAM J. Numer. Anal. 49 (2011) 2543-2563, doi:10.1137/100806278.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> si.solve(A, A[:, 3] - 2 * A[:, 40], si.L0Ball(2), solver=si.HTP()).support
    array([ 3, 40])
    """

    def _advance(self, problem: Problem, state: ThresholdingState) -> bool:
        return self._refitted(problem, state, self._aimed(problem, state))


class _Pursuit(_Thresholding):
    """Share what merges and prunes supports."""

    factor: ClassVar[int]  # columns that are merged, over k
    patience: ClassVar[int]  # rounds in a row without a better fit at which it ends

    def _advance(self, problem: Problem, state: ThresholdingState) -> bool:
        g, k = self._gradient(problem, state), problem.penalty.k
        g[state.support] = 0.0
        # more columns than rows say nothing about which of them to keep
        more = min(self.factor * k, max(problem.m - state.support.size, 0))
        merged = np.union1d(state.support, self._largest(g, more)).astype(np.int64)
        before = state.best
        support = merged if merged.size <= k else self._largest(self._fit(problem, state, merged), k)
        if not self._refitted(problem, state, support):
            return False
        state.vain = 0 if state.best < before else state.vain + 1
        return state.vain < self.patience


@dataclass(frozen=True, repr=False)
class CoSaMP(_Pursuit):
    """Merge the support with the 2k best columns, fit, keep the k largest, while better fits are found.

    Minimises ``1/2 ||A x - b||^2`` with at most k non-zeros (compressive sampling matching pursuit). The k
    coefficients kept are fitted anew, and columns are compared at equal norms where norms cost no products.

    Notes
    -----
    Two products and fits on up to 3k and k columns an iteration; columns beyond the m-th are not merged. It
    ends where a support repeats, or after 100 iterations without a better fit. Made for k well below m / 3:
    with more, subspace pursuit or OLS. The best fit is the answer; certificate and status as for
    `IterativeHardThresholding`. Real or complex.

    References
    ----------
    D. Needell, J. A. Tropp, Appl. Comput. Harmon. Anal. 26 (2009) 301-321, doi:10.1016/j.acha.2008.07.002.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> si.solve(A, A[:, 3] - 2 * A[:, 40], si.L0Ball(2), solver=si.CoSaMP()).support
    array([ 3, 40])
    """

    factor: ClassVar[int] = 2
    patience: ClassVar[int] = _PATIENCE


@dataclass(frozen=True, repr=False)
class SubspacePursuit(_Pursuit):
    """Merge the support with the k best columns, fit, keep the k largest, while the residual falls.

    Minimises ``1/2 ||A x - b||^2`` with at most k non-zeros. Columns are compared at equal norms where norms
    cost no products.

    Notes
    -----
    Two products and fits on up to 2k and k columns an iteration; it ends where the residual no longer
    falls. Certificate and status as for `IterativeHardThresholding`. Real or complex.

    References
    ----------
    W. Dai, O. Milenkovic, IEEE Trans. Inf. Theory 55 (2009) 2230-2249, doi:10.1109/TIT.2009.2016006.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 50))
    >>> si.solve(A, A[:, 3] - 2 * A[:, 40], si.L0Ball(2), solver=si.SubspacePursuit()).support
    array([ 3, 40])
    """

    factor: ClassVar[int] = 1
    patience: ClassVar[int] = 1
