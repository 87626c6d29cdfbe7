"""Nonnegative least squares on few columns, checked: certificates stand on it."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def nonnegative_fit(columns: Array, v: Array) -> Array:
    """Return the w >= 0 that minimises ||columns w - v||; columns have unit norm and may be dependent.

    SciPy's answer is checked, because its nnls (1.17) returns wrong weights where v is orthogonal to a
    column up to rounding, and corrupts memory where there is no column; a certificate stands on this.
    """
    from scipy.optimize import nnls

    if columns.shape[1] == 0:
        return np.zeros(0)
    rounding = 1e-14 * float(np.linalg.norm(v))
    try:
        w = nnls(columns, v, maxiter=10 * columns.shape[1] + 100)[0]
    except RuntimeError:
        w = np.zeros(columns.shape[1])
    slack = columns.T @ (v - columns @ w)
    if slack.max() <= rounding and np.abs(slack[w > 0]).max(initial=0.0) <= rounding:
        return np.asarray(w)
    return _active_fit(columns, v, w > 0, rounding)


def _active_fit(columns: Array, v: Array, passive: Array, rounding: float) -> Array:
    """Do the same by the active-set method of Lawson and Hanson, from a guess of the support."""
    from scipy.linalg import lstsq

    w = np.zeros(columns.shape[1])
    refused = np.zeros(w.size, dtype=bool)
    entering = -1
    for _ in range(10 * w.size + 100):
        while passive.any():
            index = np.flatnonzero(passive)
            fit = lstsq(columns[:, index], v, check_finite=False)[0]
            falling = fit <= 0.0
            if not falling.any():
                w[index] = fit
                refused[:] = False
                break
            if entering >= 0 and passive[entering] and fit[index == entering][0] <= 0.0:
                passive[entering], refused[entering] = False, True
                continue
            before = w[index]
            reach = np.divide(before, before - fit, out=np.zeros(index.size), where=falling & (before > 0))
            t = float(reach[falling].min())
            w[index] = before + t * (fit - before)
            leaving = index[falling & (reach <= t)]
            passive[leaving], w[leaving] = False, 0.0
        pull = np.where(passive | refused, -np.inf, columns.T @ (v - columns @ w))
        entering = int(np.argmax(pull))
        if not pull[entering] > rounding:
            break
        passive[entering] = True
    return w
