"""Scores of an estimate against the truth, and of sparsity alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation

Array = np.ndarray[Any, Any]


def snr_db(truth: Any, estimate: Any) -> float:
    """Return the signal-to-error ratio, 10 log10(||truth||^2 / ||truth - estimate||^2) [dB].

    Parameters
    ----------
    truth, estimate : array_like of the same shape
        Real or complex.

    Returns
    -------
    float
        Decibels of energy; inf for a perfect estimate, 0 for the estimate 0.

    Raises
    ------
    ValueError, TypeError
        Different shapes, values that are not finite numbers, or a zero truth.

    Examples
    --------
    >>> snr_db([3.0, 4.0], [3.0, 4.5])
    20.0
    """
    m, x = _pair(truth, estimate)
    peak = float(np.abs(m).max(initial=0.0))
    if peak == 0.0:
        raise ValueError("truth is zero, so no signal-to-error ratio exists")
    # the squares of tiny or huge data must neither vanish nor overflow
    signal, error = float(np.linalg.norm(m / peak)), float(np.linalg.norm((m - x) / peak))
    return math.inf if error == 0.0 else 20.0 * math.log10(signal / error)


@dataclass(frozen=True)
class SpikeScore:
    """Hold how the spikes of an estimate match those of the truth.

    Attributes
    ----------
    n_truth, n_estimate, n_matched : int
        Numbers of spikes and of matched pairs.
    precision, recall, f1 : float
        n_matched / n_estimate, n_matched / n_truth and 2 n_matched / (n_truth + n_estimate); 1 where
        nothing was to be found and nothing was.
    amplitude_error : float
        norm2(estimate - truth) / norm2(truth) over the matched pairs; nan without a pair.
    """

    n_truth: int
    n_estimate: int
    n_matched: int
    precision: float
    recall: float
    f1: float
    amplitude_error: float


def score_spikes(truth: Any, estimate: Any, *, tolerance: int = 1, threshold: float = 0.0) -> SpikeScore:
    """Match spikes within a few samples and score them.

    Parameters
    ----------
    truth, estimate : array_like, shape (n_samples,) or (..., n_samples)
        Traces along the last axis; spikes are matched within a trace.
    tolerance : int
        Largest distance of a pair in samples.
    threshold : float
        Entries of the estimate with a modulus up to this are no spikes; those of the truth are
        spikes if they are not 0.

    Returns
    -------
    SpikeScore
        Counts, precision, recall, F1 and the amplitude error of the matched spikes.

    Raises
    ------
    ValueError, TypeError
        Different shapes, values that are not finite numbers, or numbers out of range.

    Notes
    -----
    Each spike enters at most one pair and pairs do not cross. The match has the largest number of
    pairs; among those the smallest total distance; among those the largest amplitudes.

    Examples
    --------
    >>> score = score_spikes([0.0, 2, 0, 0, 0, 1], [0.0, 0, 2.2, 0, 0, 0])
    >>> score.n_matched, round(score.f1, 3), round(score.amplitude_error, 3)
    (1, 0.667, 0.1)
    """
    m, x = _pair(truth, estimate)
    if m.ndim == 0:
        raise ValueError("truth is a number, but a trace, or traces along the last axis, are needed")
    tolerance = validation.count(tolerance, "tolerance")
    threshold = validation.real_number(threshold, "threshold")
    if not threshold >= 0.0:
        raise ValueError(f"threshold is {threshold}, but it must be >= 0")
    m, x = m.reshape(-1, m.shape[-1]), x.reshape(-1, m.shape[-1])
    true_amplitude, found_amplitude = [], []
    n_truth = n_estimate = 0
    for true_trace, found_trace in zip(m, x, strict=True):
        wanted, found = np.flatnonzero(true_trace), np.flatnonzero(np.abs(found_trace) > threshold)
        n_truth, n_estimate = n_truth + wanted.size, n_estimate + found.size
        for i, j in _match(wanted, found, np.abs(found_trace), tolerance):
            true_amplitude.append(true_trace[i])
            found_amplitude.append(found_trace[j])
    n = len(true_amplitude)
    a, b = np.array(true_amplitude), np.array(found_amplitude)
    return SpikeScore(
        n_truth,
        n_estimate,
        n,
        n / n_estimate if n_estimate else float(n_truth == 0),
        n / n_truth if n_truth else float(n_estimate == 0),
        2.0 * n / (n_truth + n_estimate) if n_truth + n_estimate else 1.0,
        float(np.linalg.norm(b - a) / np.linalg.norm(a)) if n else math.nan,
    )


def gini(x: Any) -> float:
    """Return the Gini index of the moduli: 0 if all are equal, 1 - 1/n for a single non-zero.

    ``G = 1 - 2 sum_k (c_k / ||c||_1) (n - k + 1/2) / n`` for the moduli c_1 <= ... <= c_n.

    Parameters
    ----------
    x : array_like
        Real or complex, of any shape.

    Returns
    -------
    float
        Sparsity that depends neither on the scale nor on the order of x.

    Raises
    ------
    ValueError, TypeError
        x is empty, zero, or not made of finite numbers.

    References
    ----------
    .. [1] N. Hurley, S. Rickard, Comparing measures of sparsity, IEEE Trans. Inf. Theory 55 (2009)
       4723-4741, doi:10.1109/TIT.2009.2027527.

    Examples
    --------
    >>> gini([0.0, 0.0, 0.0, 5.0]), gini([1.0, -1.0])
    (0.75, 0.0)
    """
    values = validation.numeric(x, "x")
    validation.finite(values, "x")
    c = np.sort(np.abs(values), axis=None)
    if c.size == 0 or c[-1] == 0.0:
        raise ValueError("x is empty or zero, so its sparsity is not defined")
    c = c / c[-1]
    k = np.arange(1, c.size + 1)
    return float(1.0 - 2.0 * np.sum(c / c.sum() * (c.size - k + 0.5)) / c.size)


def _pair(truth: Any, estimate: Any) -> tuple[Array, Array]:
    m, x = validation.numeric(truth, "truth"), validation.numeric(estimate, "estimate")
    if m.shape != x.shape:
        raise ValueError(f"truth has shape {m.shape}, but estimate has shape {x.shape}")
    validation.finite(m, "truth")
    validation.finite(x, "estimate")
    return m, x


def _match(wanted: Array, found: Array, modulus: Array, tolerance: int) -> list[tuple[int, int]]:
    """Pair positions of one trace; both lists are sorted."""
    pairs: list[tuple[int, int]] = []
    # spikes more than twice the tolerance apart cannot compete for a partner
    for cluster in np.split(wanted, np.flatnonzero(np.diff(wanted) > 2 * tolerance) + 1):
        if cluster.size:
            first, last = np.searchsorted(found, (cluster[0] - tolerance, cluster[-1] + tolerance + 1))
            pairs += _match_cluster(cluster.tolist(), found[first:last].tolist(), modulus, tolerance)
    return pairs


def _match_cluster(
    wanted: list[int], found: list[int], modulus: Array, tolerance: int
) -> list[tuple[int, int]]:
    """Align two sorted lists by dynamic programming on (pairs, -distance, amplitude)."""
    best: list[list[tuple[int, int, float]]] = [[(0, 0, 0.0)] * (len(found) + 1)]
    for i in wanted:
        above, row = best[-1], [(0, 0, 0.0)]
        for k, j in enumerate(found):
            choice = max(above[k + 1], row[k])
            if abs(i - j) <= tolerance:
                pairs, distance, amplitude = above[k]
                choice = max(choice, (pairs + 1, distance - abs(i - j), amplitude + float(modulus[j])))
            row.append(choice)
        best.append(row)
    pairs_found, r, k = [], len(wanted), len(found)
    while r and k:
        if best[r][k] == best[r - 1][k]:
            r -= 1
        elif best[r][k] == best[r][k - 1]:
            k -= 1
        else:
            r, k = r - 1, k - 1
            pairs_found.append((wanted[r], found[k]))
    return pairs_found
