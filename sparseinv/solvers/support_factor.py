"""Linear systems on supports that change by a few columns at a time, through one Cholesky factor."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# thresholds tuned on the benchmark grid, in one place
_SMALL = 96  # a support up to this size is factorised anew whenever it changes
_CHANGED = 0.12  # the same beyond this share of columns that came or went
_RIDGES = (1e-14, 1e-10, 1e-7)  # relative ridges of the factor, tried in turn


class SupportFactor:
    """Solve (G_SS + diag(ridge_S)) y = c for supports S close to the one that was factorised.

    With the factor of H_BB at hand, columns P that came and rows D that must vanish make the bordered
    system::

        [ H_BB    H_BP   E_D ] [ y_B ]   [ c_B ]
        [ H_PB    H_PP    0  ] [ y_P ] = [ c_P ]
        [ E_D^T    0      0  ] [  u  ]   [  0  ]

    which is reduced to its last |P| + |D| unknowns. What a column costs, two triangular solves, is kept
    for as long as the factor lives.

    Attributes
    ----------
    base : ndarray
        The support B that was factorised, ascending.
    """

    def __init__(self) -> None:
        self.base = np.empty(0, dtype=np.int64)
        self._factor: Array | None = None
        self._shift = 0.0
        self._names = np.empty(0, dtype=np.int64)  # columns that came or went since, one a border
        self._border = np.empty((0, 0), order="F")  # their columns in the bordered system
        self._image = np.empty((0, 0), order="F")  # H_BB^{-1} times the border

    def forget(self) -> None:
        """Factorise anew next time."""
        self._factor = None

    def solve(self, gram: Array, ridge: Array, live: Array, c: Array) -> Array | None:
        """Return y on the ascending support live; None where the matrix is not positive definite."""
        from scipy.linalg.lapack import dpotrs

        place = np.searchsorted(self.base, live)
        place[place == self.base.size] = 0
        kept = self.base[place] == live if self.base.size else np.zeros(live.size, dtype=bool)
        came, stayed = live[~kept], place[kept]
        changed = came.size + self.base.size - stayed.size
        if self._factor is None or (changed and live.size <= _SMALL) or changed > _CHANGED * self.base.size:
            if not self._factorise(gram, ridge, live):
                return None
            return np.asarray(dpotrs(self._factor, c, lower=1)[0])
        if changed == 0:
            return np.asarray(dpotrs(self._factor, c, lower=1)[0])
        gone = np.ones(self.base.size, dtype=bool)
        gone[stayed] = False
        border, image = self._bordered(gram, np.concatenate([came, self.base[gone]]))
        right = np.zeros(self.base.size)
        right[stayed] = c[kept]
        y = dpotrs(self._factor, right, lower=1)[0]
        corner = -(border.T @ image)
        corner[: came.size, : came.size] += gram[np.ix_(came, came)]
        diagonal = np.arange(came.size)
        corner[diagonal, diagonal] += ridge[came] + self._shift
        last = -(border.T @ y)
        last[: came.size] += c[~kept]
        try:
            u = np.linalg.solve(corner, last)
        except np.linalg.LinAlgError:
            self.forget()
            return self.solve(gram, ridge, live, c)
        out = np.empty(live.size)
        out[kept] = (y - image @ u)[stayed]
        out[~kept] = u[: came.size]
        return out

    def _bordered(self, gram: Array, names: Array) -> tuple[Array, Array]:
        """Return the borders of the named columns and their images, computing those that are new."""
        from scipy.linalg.lapack import dpotrs

        fresh = np.setdiff1d(names, self._names)
        if fresh.size:
            place = np.searchsorted(self.base, fresh)
            place[place == self.base.size] = 0
            went = self.base[place] == fresh
            border = np.zeros((self.base.size, fresh.size), order="F")
            border[:, ~went] = gram[np.ix_(self.base, fresh[~went])]
            border[place[went], np.flatnonzero(went)] = 1.0
            self._border = np.concatenate([self._border, border], axis=1)
            self._image = np.concatenate([self._image, dpotrs(self._factor, border, lower=1)[0]], axis=1)
            self._names = np.concatenate([self._names, fresh])
        order = np.argsort(self._names)
        chosen = order[np.searchsorted(self._names, names, sorter=order)]
        return self._border[:, chosen], self._image[:, chosen]

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
                self._names = np.empty(0, dtype=np.int64)
                self._border = self._image = np.empty((live.size, 0), order="F")
                return True
        return False
