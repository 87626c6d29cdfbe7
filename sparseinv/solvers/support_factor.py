"""Linear systems on supports that change by a few columns at a time, through one Cholesky factor."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# thresholds tuned on the benchmark grid, in one place
_SMALL = 96  # a support up to this size is factorised anew whenever it changes
_GONE = 0.15  # the same beyond this share of columns that went
_RIDGES = (1e-14, 1e-10, 1e-7)  # relative ridges of the factor, tried in turn


class SupportFactor:
    """Solve (G_SS + diag(ridge_S)) y = c for supports S close to the one that was factorised.

    Columns that come are appended to the factor L of H = G_BB + diag(ridge_B). Columns D that went stay in
    it, with y_D held at zero by multipliers u::

        [ H      E_D ] [ y ]   [ c ]
        [ E_D^T   0  ] [ u ] = [ 0 ]

    so that (Z^T Z) u = Z^T L^{-1} c and y = L^{-T} (L^{-1} c - Z u) for Z = L^{-1} E_D, which is kept.

    Attributes
    ----------
    base : ndarray
        The columns B that are in the factor, in the order in which they came.
    """

    def __init__(self) -> None:
        self.base = np.empty(0, dtype=np.int64)
        self._factor: Array | None = None
        self._shift = 0.0
        self._gone = np.empty(0, dtype=np.int64)  # places in base of the columns of Z
        self._images = np.empty((0, 0), order="F")  # Z

    def forget(self) -> None:
        """Factorise anew next time."""
        self._factor = None

    def solve(self, gram: Array, ridge: Array, live: Array, c: Array) -> Array | None:
        """Return y on the ascending support live; None where the matrix is not positive definite."""
        from scipy.linalg.lapack import dpotrs, dtrtrs

        if not self._follow(gram, ridge, live):
            return None
        place = self._places(live, gram.shape[0])
        right = np.zeros(self.base.size)
        right[place] = c
        if live.size == self.base.size:
            return np.asarray(dpotrs(self._factor, right, lower=1)[0][place])
        gone = np.ones(self.base.size, dtype=bool)
        gone[place] = False
        Z = self._constraints(np.flatnonzero(gone))
        t = dtrtrs(self._factor, right, lower=1)[0]
        t -= Z @ np.linalg.solve(Z.T @ Z, Z.T @ t)
        return np.asarray(dtrtrs(self._factor, t, lower=1, trans=1)[0][place])

    def _follow(self, gram: Array, ridge: Array, live: Array) -> bool:
        """Take the columns of live into the factor; tell whether that went well."""
        if self._factor is None:
            return self._factorise(gram, ridge, live)
        place = self._places(live, gram.shape[0])
        came = live[place < 0]
        went = self.base.size - (live.size - came.size)
        changed = went + came.size > 0
        if (changed and live.size <= _SMALL) or went > _GONE * self.base.size:
            return self._factorise(gram, ridge, live)
        return came.size == 0 or self._append(gram, ridge, came) or self._factorise(gram, ridge, live)

    def _places(self, live: Array, size: int) -> Array:
        place = np.full(size, -1, dtype=np.int64)
        place[self.base] = np.arange(self.base.size)
        return np.asarray(place[live])

    def _constraints(self, gone: Array) -> Array:
        """Return L^{-1} e_j for the places ``gone`` in base, computing those that are new."""
        from scipy.linalg.lapack import dtrtrs

        fresh = np.setdiff1d(gone, self._gone)
        if fresh.size:
            border = np.zeros((self.base.size, fresh.size), order="F")
            border[fresh, np.arange(fresh.size)] = 1.0
            image = dtrtrs(self._factor, border, lower=1, overwrite_b=1)[0]
            self._images = np.concatenate([self._images, image], axis=1)
            self._gone = np.concatenate([self._gone, fresh])
        order = np.argsort(self._gone)
        return np.asarray(self._images[:, order[np.searchsorted(self._gone, gone, sorter=order)]])

    def _append(self, gram: Array, ridge: Array, came: Array) -> bool:
        """Add columns to the factor; return False where that leaves it indefinite."""
        from scipy.linalg.lapack import dpotrf, dtrtrs

        old, new = self.base.size, self.base.size + came.size
        across = dtrtrs(self._factor, np.asfortranarray(gram[np.ix_(self.base, came)]), lower=1)[0]
        corner = gram[np.ix_(came, came)] - across.T @ across
        diagonal = np.arange(came.size)
        corner[diagonal, diagonal] += ridge[came] + self._shift
        lower, info = dpotrf(np.asfortranarray(corner), lower=1, overwrite_a=1)
        if info != 0:
            return False
        factor = np.empty((new, new), order="F")
        factor[:old, :old] = self._factor
        factor[old:, :old] = across.T
        factor[old:, old:] = lower
        below = -dtrtrs(lower, np.asfortranarray(across.T @ self._images), lower=1)[0]
        images = np.empty((new, self._gone.size), order="F")
        images[:old], images[old:] = self._images, below
        self._factor, self._images = factor, images
        self.base = np.concatenate([self.base, came])
        return True

    def _factorise(self, gram: Array, ridge: Array, live: Array) -> bool:
        from scipy.linalg.lapack import dpotrf

        diagonal = np.arange(live.size)
        self._factor = None
        for relative in _RIDGES:
            H = np.asfortranarray(gram[np.ix_(live, live)])
            self._shift = relative * float(np.trace(H)) / max(live.size, 1)
            H[diagonal, diagonal] += ridge[live] + self._shift
            factor, info = dpotrf(H, lower=1, overwrite_a=1, clean=0)
            if info == 0:
                self.base, self._factor = live, factor
                self._gone = np.empty(0, dtype=np.int64)
                self._images = np.empty((live.size, 0), order="F")
                return True
        return False
