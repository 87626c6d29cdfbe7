"""What a Bayesian solver knows beside x: the posterior of the coefficients under the prior it learned."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv.problem import Units

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Describe x given b, with x_j ~ N(0, gamma_j) and noise of standard deviation sigma.

    Attributes
    ----------
    mean : ndarray, shape (n,)
        Posterior mean: the solution of ``L2(lam)``, by probing to about 1e-5 of its size. The x of the
        `Result` is the sparse answer to the L0 problem, another point.
    variance : ndarray, shape (n,)
        Posterior variances, E|x_j - mean_j|^2; 0 for coefficients that the prior excludes, inf for
        unpenalised ones that the data leave undetermined.
    lam : ndarray, shape (n,)
        Learned levels, lam_j = sigma^2 / gamma_j; inf excludes a coefficient, 0 leaves it unpenalised.
        Usable as ``L2(lam)``, and as relative weights anywhere.
    sigma : float
        Standard deviation of the noise, given or learned; E|e|^2 = sigma^2 for complex data.
    log_evidence : float
        Logarithm of p(b | gamma, sigma), by which priors compare; nan where a covariance-free method does
        not know it.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 40))
    >>> learned = si.solve(A, A[:, 3] - 2 * A[:, 11], si.L0(1e-6), solver=si.SparseBayesian()).posterior
    >>> ridge = si.solve(A, A[:, 3] - 2 * A[:, 11], si.L2(learned.lam), tol=1e-12)
    >>> bool(np.allclose(ridge.x, learned.mean))
    True
    """

    mean: Array
    variance: Array
    lam: Array
    sigma: float
    log_evidence: float

    def __str__(self) -> str:
        kept = int(np.isfinite(self.lam).sum())
        evidence = "unknown" if math.isnan(self.log_evidence) else f"{self.log_evidence:.6g}"
        return f"{kept} coefficients kept by the prior, sigma {self.sigma:.4g}, log evidence {evidence}"

    def outward(self, units: Units) -> Posterior:
        """Return the same in the user's units; log_evidence is in them already."""
        scale = units.b_exponent - units.a_exponent
        with np.errstate(over="ignore", under="ignore"):
            return dataclasses.replace(
                self, mean=np.array(units.solution(self.mean)), variance=np.ldexp(self.variance, 2 * scale),
                lam=np.ldexp(self.lam, 2 * units.a_exponent),
                sigma=float(np.ldexp(self.sigma, units.b_exponent)),
            )  # fmt: skip
