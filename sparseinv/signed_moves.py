"""Moves between supports where coefficients have levels of |x| or must not be negative."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sparseinv.problem import Problem
from sparseinv.support_moves import REFRESH, ROUNDING, Move, SupportMoves, places

Array = np.ndarray[Any, Any]

_NEGLIGIBLE = 1e-13  # a residual norm below this, relative to ||b||, is rounding


class SignedMoves(SupportMoves):
    """Judge moves by the small signed problem on the support; real data.

    Minimises ``1/2 ||A x - b||^2 + sum_j cost_j [x_j != 0] + l1_j |x_j| + ridge_j |x_j|^2 / 2``, x >= 0
    where the penalty says so. Coefficients that a refit puts to zero leave, and are not charged. The closed
    formulas hold as bounds, and exactly where no sign changes: only moves whose bound promises more than the
    best one found are refitted, each in a few times k^2 multiplications.
    """

    price: ClassVar[float] = 20.0

    def __init__(self, problem: Problem) -> None:
        penalty = problem.penalty
        self.nonnegative = bool(penalty.nonnegative)
        self.l1 = np.zeros(problem.n)
        if not hasattr(penalty, "k"):
            self.l1 = np.where(penalty.excluded, 0.0, penalty.l1)
        self._room: tuple[Any, ...] = ()
        super().__init__(problem)
        self.tol = _NEGLIGIBLE * float(np.sqrt(2.0 * self.scale))
        self._stays[:] = False  # a sign may put any coefficient to zero

    def best(self) -> Move:
        """Return the best move, or one without gain if none improves."""
        from sparseinv.kernels.signed_support import best_signed_move, bounds

        room = self.room
        if room < 0:
            return self._cheapest_removal()
        k, least = self.k, ROUNDING * self.scale
        signed = (self.l1, self.nonnegative)
        most = np.empty(self.problem.n)
        grown = room if k < self.largest else 0
        counted = self.counted if k < self.largest else np.ones_like(self.counted)
        bounds(
            self._T, self._H, self._beta, self.g, self.d, self.squares, self.cost, *signed, self._support,
            self.inside, counted, grown, k, self._gains, most,
        )  # fmt: skip
        order = np.flatnonzero(most > least)
        order = order[np.argsort(-most[order], kind="stable")]
        gain, leaves, enters = best_signed_move(
            self._T, self._H, self._beta, self.g, self.d, self.squares, self.cost, *signed,
            self.correlations, self._support, self.inside, counted, grown, k, least, self.tol, order, most,
            self._scratch(k + 1),
        )  # fmt: skip
        return Move(float(gain), int(leaves), int(enters))

    def _scratch(self, size: int) -> tuple[Any, ...]:
        if not self._room or self._room[0].shape[0] < size:
            most = 2 * size
            flags, numbers = (
                (np.zeros(most, dtype=bool) for _ in range(2)),
                (np.zeros(most) for _ in range(6)),
            )
            self._room = (np.zeros((most, most)), *flags, *numbers)
        return self._room

    def make(self, move: Move) -> None:
        """Change the support and refit; what the refit puts to zero leaves as well."""
        from sparseinv.kernels.signed_support import refit

        k = self.k
        scratch = self._scratch(k + 1)
        refit(
            self._T, self._H, self._beta, self.d, self.squares, self.correlations, self.l1, self.nonnegative,
            self._support, k, move.leaves, move.enters, self.tol, *scratch,
        )  # fmt: skip
        x = scratch[7][: k + 1].copy()
        enters = move.enters >= 0 and x[k] != 0.0
        entering = float(np.sign(x[k])) * self.l1[move.enters] if enters else 0.0
        wanted = np.sign(x[:k]) * self.l1[self.support]
        for place in np.flatnonzero(x[:k] == 0.0)[::-1]:
            self._delete(int(place))
            wanted[place] = wanted[self.k]
        self._turn(wanted[: self.k])
        if enters:
            self._insert(move.enters, entering)
        self._age += 1
        if self._age >= REFRESH:
            self.restart(self.support.copy())

    def _turn(self, wanted: Array) -> None:
        """Go over to other signs of the coefficients."""
        k = self.k
        change = wanted - self._shift[:k]
        if not change.any():
            return
        step = -self._H[:k, :k] @ change
        self._beta[:k] += step
        self.g += change @ self._T[:k]
        self._shift[:k] = wanted

    def restart(self, support: Array) -> None:
        """Go over to another support, solving the signed problem on it from nothing."""
        from sparseinv.kernels.signed_support import fit

        self.clear()
        # free coefficients may be dependent, or zero at the minimum: they take no place from others
        support = self._wanted(support)[: min(self.largest + self.forced.size, places(self.problem))]
        support = support[~self.inside[support]]
        size = support.size
        if size:
            rows = self.columns.take(self.problem, support)
            W = np.array([row[support] for row in rows])
            W[np.arange(size), np.arange(size)] += self.ridge[support]
            W = 0.5 * (W + W.T)
            x, z, signs = np.zeros(size), np.zeros(size), np.ones(size)
            fit(
                W, np.zeros(size, dtype=bool), np.zeros(size, dtype=bool), self.squares[support],
                self.correlations[support], self.l1[support], self.nonnegative, signs, x, z, self.tol, size,
            )  # fmt: skip
            kept = x != 0.0
            self._fill(support[kept], np.sign(x[kept]) * self.l1[support[kept]])
        self._mend()
        self.trim()

    def _mend(self) -> None:
        """Refit where rounding between two ways to compute the coefficients has turned a sign."""
        beta, S = self._beta[: self.k], self.support
        wrong = (beta < 0) if self.nonnegative else (beta * self._shift[: self.k] < 0)
        wrong &= (self.l1[S] > 0) | self.nonnegative
        for place in np.flatnonzero(wrong)[::-1]:
            self._delete(int(place))

    def trim(self) -> None:
        """Remove what costs least until no more are inside than may be."""
        while self.room < 0:
            move = self._cheapest_removal()
            if not np.isfinite(move.gain):
                break
            self.make(move)

    def _pull(self, slope: Array) -> Array:
        return np.maximum((slope if self.nonnegative else np.abs(slope)) - self.l1, 0.0)


def moves_of(problem: Problem) -> SupportMoves:
    """Return the moves of a problem with an L0 penalty or an L0Ball; see `treats`."""
    penalty = problem.penalty
    signed = penalty.nonnegative or bool(np.any(_levels(penalty) > 0))
    return SignedMoves(problem) if signed else SupportMoves(problem)


def treats(problem: Problem) -> bool:
    """Tell whether moves can be judged: an L0 penalty or a ball, and no level of |x| of complex data."""
    penalty = problem.penalty
    if not (hasattr(penalty, "k") or hasattr(penalty, "l0")):
        return False
    return not (is_complex(problem) and bool(np.any(_levels(penalty) > 0)))


def is_complex(problem: Problem) -> bool:
    """Tell whether A or b is complex."""
    return "c" in (problem.operator.dtype.kind, problem.b.dtype.kind)


def judges(problem: Problem, x: Array) -> bool:
    """Tell whether all moves from x can be judged within the memory that a support may take."""
    if not treats(problem):
        return False
    # a support that rows alone limit is complete: what more could come in is explained already
    most, usable = places(problem), int(np.count_nonzero(~np.asarray(problem.penalty.excluded)))
    return usable <= most or int(np.count_nonzero(x)) < max(most, 1)


def _levels(penalty: Any) -> Array:
    """Return the levels of |x| of what is not excluded."""
    l1 = getattr(penalty, "l1", None)
    return np.zeros(1) if l1 is None else l1[~penalty.excluded]
