"""Where recovery of a sparse x from b = A x must fail or succeed, in the limit of large Gaussian matrices.

delta = m / n is the undersampling, rho = k / m the sparsity. Below a curve its method recovers nearly every
x, above nearly none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: (delta, L1, Bayes for Gaussian coefficients): values computed elsewhere, to three digits
KNOWN = (
    (0.05, 0.154, 0.353), (0.1, 0.189, 0.404), (0.2, 0.243, 0.476), (0.25, 0.267, 0.505),
    (0.3, 0.291, 0.533), (0.4, 0.337, 0.584), (0.5, 0.386, 0.634), (0.6, 0.438, 0.683),
    (0.7, 0.499, 0.737), (0.8, 0.573, 0.795), (0.9, 0.678, 0.867),
)  # fmt: skip

_errors = np.vectorize(math.erfc, otypes=[float])


def l1_transition(delta: float) -> float:
    """Return rho of the weak transition of L1, signs free (Donoho and Tanner; the same for every law of x).

    rho = max_z (1 - (2/delta) t(z)) / (1 + z^2 - 2 t(z)), t(z) = (1 + z^2) Phi(-z) - z phi(z): the sparsity
    up to which the best soft threshold z lets the noise of message passing die (Donoho, Maleki, Montanari,
    doi:10.1073/pnas.0909892106).
    """
    _in_unit_interval(delta)
    z = np.linspace(0.01, 12.0, 24_001)  # at z = 0 both parts vanish
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    t = (1 + z**2) * _errors(z / math.sqrt(2)) / 2 - z * density
    return float(np.max((1 - 2 * t / delta) / (1 + z**2 - 2 * t)))


@cache
def bayes_transition(delta: float, coef: str = "gauss") -> float:
    """Return rho up to which message passing that knows the law of x recovers it.

    The noise tau of the estimate obeys tau <- mmse(tau) / delta; x is found if the map has no fixed point
    but zero, that is mmse(tau) < delta tau for every tau. `coef` is the law of the non-zeros: "gauss"
    (variance 1) or "signs" (+-1). Krzakala et al., doi:10.1103/PhysRevX.2.021005; no fast method is known
    that does better, while enough time would do up to rho = 1.
    """
    _in_unit_interval(delta)
    low, high = 0.0, 1.0
    while high - low > 3e-4:
        rho = (low + high) / 2
        if _worst_ratio(rho * delta, _MMSE[coef]) < delta:
            low = rho
        else:
            high = rho
    return (low + high) / 2


def _worst_ratio(density: float, mmse: Callable[[float, Array], Array]) -> float:
    """Return the largest mmse(tau) / tau over the noise levels that iterations pass through."""
    tau = np.geomspace(1e-5, 1e2, 57)
    ratio = mmse(density, tau) / tau
    best = int(np.argmax(ratio))
    fine = np.geomspace(tau[max(best - 1, 0)], tau[min(best + 1, tau.size - 1)], 15)
    return float(np.max(mmse(density, fine) / fine))


def _mmse_gauss(density: float, tau: Array) -> Array:
    """Return E Var(x | x + sqrt(tau) w), x = N(0, 1) with probability `density`, else 0."""
    total = tau[:, None] + 1.0
    y = np.linspace(0.0, 8.0, 401)  # of the standardised observation, as symmetric as its law
    error = np.zeros(tau.size)
    # the observation has one variance where x is non-zero and another where it is not
    for share, variance in ((density, total), (1.0 - density, tau[:, None])):
        r = y * np.sqrt(variance)
        log_odds = (
            math.log(density / (1 - density))
            + 0.5 * np.log(tau[:, None] / total)
            + 0.5 * r**2 / (tau[:, None] * total)
        )
        p = 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))
        mean, spread = r / total, tau[:, None] / total
        error += share * _expectation(p * (spread + mean**2) - (p * mean) ** 2, y)
    return error


def _mmse_signs(density: float, tau: Array) -> Array:
    """Return E Var(x | x + sqrt(tau) w), x = +-1 with probability `density`, else 0."""
    noise = np.sqrt(tau)[:, None]
    y = np.linspace(-8.0, 8.0, 401)
    error = np.zeros(tau.size)
    for share, centre in ((density, 1.0), (1.0 - density, 0.0)):
        r = centre + y * noise
        # p(+1) : p(-1) : p(0) up to a common factor, in logarithms
        logs = np.stack([
            math.log(density / 2) - 0.5 * ((r - 1) / noise) ** 2,
            math.log(density / 2) - 0.5 * ((r + 1) / noise) ** 2,
            math.log(1 - density) - 0.5 * (r / noise) ** 2,
        ])  # fmt: skip
        weights = np.exp(logs - logs.max(axis=0))
        plus, minus, _ = weights / weights.sum(axis=0)
        error += share * _expectation(plus + minus - (plus - minus) ** 2, y) * 0.5
    return error


def _expectation(values: Array, y: Array) -> Array:
    """Integrate over a standard normal y; half an axis counts twice."""
    density = np.exp(-(y**2) / 2) / math.sqrt(2 * math.pi)
    return 2.0 * np.trapezoid(values * density, y, axis=1)


def _in_unit_interval(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, but it must lie in (0, 1)")


_MMSE: dict[str, Callable[[float, Array], Array]] = {"gauss": _mmse_gauss, "signs": _mmse_signs}
