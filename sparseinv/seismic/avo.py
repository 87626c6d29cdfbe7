"""Three-term AVO inversion: P, S and density reflectivity from angle gathers, sparse in time together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve, solve_many
from sparseinv.operators.algebra import HStack, VStack
from sparseinv.operators.convolution import Convolution
from sparseinv.operators.matrix import Diagonal
from sparseinv.penalties import L1, L2, GroupL1, Penalty
from sparseinv.penalties.base import Leveled
from sparseinv.result import Result
from sparseinv.seismic.deconvolution import rule_in_words, strongest
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit
from sparseinv.selection.selector import Selector, check_selector

Array = np.ndarray[Any, Any]

_LARGEST = 20_000_000  # entries of the matrix of one gather up to which it is written down


@dataclass(frozen=True, eq=False)
class AVOInversion:
    """Hold reflectivities found by `invert_avo` with the proof of how good they are.

    Attributes
    ----------
    reflectivity : ndarray, shape (..., 3, n_samples)
        Rp, Rs, Rrho that minimise the objective; ``rp``, ``rs``, ``rrho`` are its parts.
    refitted : ndarray, same shape
        Conditional mean on the support; ``reflectivity`` itself without a covariance or a refit.
    fit : ndarray, shape (..., n_angles, n_samples)
        Gather that ``refitted`` predicts.
    dt : float
        Sampling interval [s].
    lam : ndarray, shape (n_gathers,)
        Level of each gather.
    rule : str
        How the levels were chosen, in words.
    results : tuple of Result
        One per gather, in coordinates in which the covariance is the identity.
    sigma : ndarray, shape (n_gathers,)
        Standard deviation of the noise that the residuals imply, of the refit where there is one.
    """

    reflectivity: Array
    refitted: Array
    fit: Array
    dt: float
    lam: Array
    rule: str
    results: tuple[Result, ...] = field(repr=False)
    sigma: Array = field(repr=False)

    @property
    def rp(self) -> Array:
        """P-impedance reflectivity, 1/2 dIp/Ip."""
        return np.asarray(self.reflectivity[..., 0, :])

    @property
    def rs(self) -> Array:
        """S-impedance reflectivity, 1/2 dIs/Is."""
        return np.asarray(self.reflectivity[..., 1, :])

    @property
    def rrho(self) -> Array:
        """Density reflectivity, 1/2 drho/rho."""
        return np.asarray(self.reflectivity[..., 2, :])

    @property
    def success(self) -> bool:
        """Whether every certificate meets the tolerance."""
        return all(result.success for result in self.results)


def avo_coefficients(angles: Any, vs_vp: Any = 0.5) -> Array:
    """Return what Rp, Rs and Rrho contribute to the reflection coefficient at each angle.

    ``r(theta) = (1 + tan^2 theta) Rp - 8 g^2 sin^2 theta Rs + (4 g^2 sin^2 theta - tan^2 theta) Rrho`` with
    g = Vs/Vp: the linearised Zoeppritz equation of Aki and Richards in the terms of Fatti.

    Parameters
    ----------
    angles : array_like, shape (n_angles,)
        Angles of incidence [degrees], mean of the two sides, 0 <= theta < 90.
    vs_vp : float or array_like, shape (n_samples,)
        Background ratio Vs/Vp, one number or one per sample, in (0, 1).

    Returns
    -------
    ndarray, shape (n_angles, 3) or (n_angles, 3, n_samples)
        The three coefficients.

    Raises
    ------
    ValueError, TypeError
        Numbers out of range.

    References
    ----------
    .. [1] J. L. Fatti, G. C. Smith, P. J. Vail, P. J. Strauss, P. R. Levitt, Detection of gas in sandstone
       reservoirs using AVO analysis, Geophysics 59 (1994) 1362-1376, doi:10.1190/1.1443695.

    Examples
    --------
    >>> avo_coefficients([0.0, 30.0]).round(3) + 0.0
    array([[ 1.   ,  0.   ,  0.   ],
           [ 1.333, -0.5  , -0.083]])
    """
    degrees, g = validation.numeric(angles, "angles"), validation.numeric(vs_vp, "vs_vp")
    if degrees.ndim != 1 or degrees.size == 0 or degrees.dtype.kind == "c":
        raise ValueError(
            f"angles has shape {degrees.shape}, but real degrees of shape (n_angles,) are needed"
        )
    if not ((degrees >= 0.0) & (degrees < 90.0)).all():
        raise ValueError("angles holds a number outside 0 <= theta < 90 degrees")
    if g.ndim > 1 or g.dtype.kind == "c" or not ((g > 0.0) & (g < 1.0)).all():
        raise ValueError("vs_vp must lie between 0 and 1, one number or one per sample")
    theta = np.deg2rad(degrees).reshape(-1, *(1,) * g.ndim)
    sin2, tan2, square = np.sin(theta) ** 2, np.tan(theta) ** 2, g**2
    ones = np.ones_like(square)
    return np.stack([(1.0 + tan2) * ones, -8.0 * square * sin2, 4.0 * square * sin2 - tan2 * ones], axis=1)


def invert_avo(
    traces: Any,
    wavelet: Any,
    dt: float,
    angles: Any,
    penalty: Penalty | None = None,
    *,
    coupled: bool = True,
    covariance: Any = None,
    vs_vp: Any = 0.5,
    offset: int | None = None,
    select: Selector | None = None,
    refit: bool = True,
    tol: float = 1e-6,
    max_time: float | None = None,
    n_threads: int | None = None,
) -> AVOInversion:
    """Find sparse Rp, Rs and Rrho that explain an angle gather, with all three at the same times.

    Minimises ``1/2 sum_theta ||w_theta * r(theta) - d_theta||^2 + lam sum_i (x_i^T C^-1 x_i)^(1/2)`` over the
    triples x_i = (Rp, Rs, Rrho) of every sample i, r(theta) as in `avo_coefficients`.

    Parameters
    ----------
    traces : array_like, shape (n_angles, n_samples) or (n_gathers, n_angles, n_samples)
        Real amplitudes after normal-moveout correction, an angle a trace.
    wavelet : array_like, shape (nw,) or (n_angles, nw)
        Real samples at the interval dt, the same for all angles or one for each.
    dt : float
        Sampling interval [s].
    angles : array_like, shape (n_angles,)
        Angles of incidence [degrees].
    penalty : Penalty, optional
        L1() by default, turned into norms of triples; with ``coupled=False`` L1, L2, L0 or another one with a
        level. lam None, one number or, coupled, one per sample.
    coupled : bool
        Penalise norms of triples; otherwise each of the 3 n_samples coefficients, after the change of
        variables that makes C the identity: L2() is then the Gaussian prior of covariance proportional to C.
    covariance : array_like, shape (3,) or (3, 3), optional
        C: variances, or the covariance matrix of (Rp, Rs, Rrho), for example from well logs; positive
        definite. The identity by default. Its size matters for ``refitted`` only.
    vs_vp : float or array_like, shape (n_samples,)
        Background ratio Vs/Vp.
    offset : int, optional
        Index of the wavelet's zero time; nw // 2 by default.
    select : Selector, optional
        Rule that chooses the level of each gather, such as Pivotal(alpha=0.05).
    refit : bool
        Compute ``refitted``.
    tol, max_time, n_threads
        As for `sparseinv.solve_many`; max_time for all gathers, without the refit.

    Returns
    -------
    AVOInversion
        Reflectivities, refit, predicted gather (all in single precision where the traces are), levels with
        their rule, one certified `Result` per gather.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Up to 40 degrees the third coefficient is nearly a combination of the first two, so that density is hardly
    in the data: norms of triples put it at the right times, and only the correlations in C, such as the
    rule of Gardner between velocity and density, give it a size. Level without lam: the pivotal rule. The
    refit takes the support as given, reflectivities as normal with covariance C and noise as normal with the
    sigma that the residual implies, and returns their conditional mean.
    Cost: the matrix of one gather, n_angles n_samples x 3 n_samples, is written down where it has at most 2e7
    entries; beyond, FFTs.

    References
    ----------
    .. [1] D. O. Perez, D. R. Velis, M. D. Sacchi, Three-term inversion of prestack seismic data using a
       weighted l2,1 mixed norm, Geophysical Prospecting 65 (2017) 1477-1495, doi:10.1111/1365-2478.12500.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import avo_coefficients, invert_avo, ricker
    >>> wavelet, _, center = ricker(30.0, 0.004)
    >>> truth = np.zeros((3, 60)); truth[:, 25] = 0.1, 0.15, 0.04
    >>> angles = np.linspace(0, 40, 8)
    >>> r = avo_coefficients(angles) @ truth
    >>> traces = np.array([np.convolve(trace, wavelet)[center:center + 60] for trace in r])
    >>> answer = invert_avo(traces, wavelet, 0.004, angles)
    >>> answer.success, int(np.abs(answer.rp).argmax())
    (True, 25)
    """
    data, coefficients, wavelets = _checked(traces, wavelet, dt, angles, vs_vp)
    root = _root(covariance)
    samples = data.shape[2]
    chosen = _penalty(penalty, coupled, samples)
    if select is not None:
        check_selector(select, "select")
    mixing = np.einsum("ak...,kl->al...", coefficients, root)
    A = _forward(mixing, wavelets, offset, samples)
    B = data.reshape(data.shape[0], -1).T
    limit = TimeLimit(max_time)
    results = _solved(A, B, chosen, select, tol, limit, n_threads)
    whitened = np.stack([result.x.reshape(3, samples) for result in results])
    sigma = np.array([
        _implied_sigma(A, b, x.ravel()) for b, x in zip(B.T, whitened, strict=True)
    ])  # fmt: skip
    again = whitened
    if refit and covariance is not None and not limit.stopped:
        try:
            pairs = [_conditional_mean(A, b, x, s, tol) for b, x, s in zip(B.T, whitened, sigma, strict=True)]
            again, sigma = np.stack([x for x, _ in pairs]), np.array([s for _, s in pairs])
        except KeyboardInterrupt:
            limit.stop()
    fit = np.stack([A @ x.ravel() for x in again])
    single = np.ndim(traces) == 2
    answer, refitted = (np.einsum("kl,gli->gki", root, x) for x in (whitened, again))
    kind = np.float32 if validation.is_single(traces) else np.float64
    answer, refitted, fit = (
        each.astype(kind, copy=False) for each in (answer, refitted, fit.reshape(data.shape))
    )
    levels = np.array([_level(result) for result in results])
    loudest = strongest(data.reshape(data.shape[0], -1))
    rule = rule_in_words(results[loudest], chosen, select, None, data.shape[0], "gather by gather")
    found = AVOInversion(
        answer[0] if single else answer, refitted[0] if single else refitted, fit[0] if single else fit,
        float(dt), levels, rule, results, sigma,
    )  # fmt: skip
    return answered(found, limit.stopped)


def _checked(traces: Any, wavelet: Any, dt: float, angles: Any, vs_vp: Any) -> tuple[Array, Array, Array]:
    """Return gathers (n_gathers, n_angles, n_samples), coefficients, and one wavelet per angle."""
    data, w = validation.numeric(traces, "traces"), validation.numeric(wavelet, "wavelet")
    for array, name in ((data, "traces"), (w, "wavelet")):
        if array.dtype.kind == "c":
            raise TypeError(f"{name} is complex, but real samples are needed; pass {name}.real")
        validation.finite(array, name)
    if data.ndim not in (2, 3) or data.size == 0:
        raise ValueError(
            f"traces has shape {data.shape}, but (n_angles, n_samples) or (n_gathers, n_angles, n_samples) "
            "is needed"
        )
    data = data.reshape(-1, *data.shape[-2:])
    validation.positive(dt, "dt")
    coefficients = avo_coefficients(angles, vs_vp)
    if coefficients.shape[0] != data.shape[1]:
        raise ValueError(f"angles has {coefficients.shape[0]} entries, but there are {data.shape[1]} traces")
    if coefficients.ndim == 3 and coefficients.shape[2] != data.shape[2]:
        raise ValueError(
            f"vs_vp has {coefficients.shape[2]} entries, but a trace has {data.shape[2]} samples"
        )
    if w.ndim not in (1, 2) or (w.ndim == 2 and w.shape[0] != data.shape[1]):
        raise ValueError(f"wavelet has shape {w.shape}, but (nw,) or ({data.shape[1]}, nw) is needed")
    if not w.any():
        raise ValueError("wavelet is zero; pass one that is not")
    return data, coefficients, np.broadcast_to(w, (data.shape[1], w.shape[-1]))


def _root(covariance: Any) -> Array:
    """Return S with S S^T = C."""
    if covariance is None:
        return np.eye(3)
    C = validation.numeric(covariance, "covariance")
    if C.dtype.kind == "c" or C.shape not in ((3,), (3, 3)):
        raise ValueError(
            f"covariance has shape {C.shape}, but real numbers of shape (3,) or (3, 3) are needed"
        )
    validation.finite(C, "covariance")
    C = np.diag(C) if C.ndim == 1 else C
    size = float(np.abs(C).max())
    if not np.allclose(C, C.T, rtol=1e-10, atol=1e-12 * size):
        raise ValueError("covariance is not symmetric; pass (C + C.T) / 2 if that is what is meant")
    try:
        return np.asarray(np.linalg.cholesky(C))
    except np.linalg.LinAlgError:
        raise ValueError(
            "covariance is not positive definite; add a small multiple of the identity"
        ) from None


def _penalty(penalty: Penalty | None, coupled: bool, samples: int) -> Leveled:
    validation.refuse_class(penalty, Penalty, "penalty")
    penalty = L1() if penalty is None else penalty
    if not isinstance(penalty, Leveled) or isinstance(penalty, GroupL1):
        raise TypeError(f"penalty is {penalty!r}, but L1, L2, L0 or another one with a level is needed")
    if not coupled:
        return penalty
    if not isinstance(penalty, L1) or penalty.groups is not None or penalty.nonnegative:
        raise ValueError(f"penalty is {penalty!r}, but norms of triples need L1; or pass coupled=False")
    return GroupL1(penalty.lam, groups=np.tile(np.arange(samples), 3), weights=penalty.weights)


def _forward(mixing: Array, wavelets: Array, offset: int | None, samples: int) -> Any:
    """Return the map from (3, n_samples) to (n_angles, n_samples): mix the three, then convolve."""
    maps = [Convolution(samples, wavelet, offset=offset) for wavelet in wavelets]
    weights = np.broadcast_to(mixing.reshape(*mixing.shape[:2], -1), (*mixing.shape[:2], samples))
    if mixing.shape[0] * 3 * samples**2 > _LARGEST:
        rows = zip(maps, weights, strict=True)
        return VStack([W @ HStack([Diagonal(weight) for weight in row]) for W, row in rows])
    columns = [W.columns(np.arange(samples)) for W in maps]
    blocks = [[W * weight for weight in row] for W, row in zip(columns, weights, strict=True)]
    return np.asfortranarray(np.block(blocks))


def _solved(
    A: Any, B: Array, penalty: Leveled, select: Selector | None, tol: float, limit: TimeLimit,
    n_threads: int | None,
) -> tuple[Result, ...]:  # fmt: skip
    options: dict[str, Any] = {"tol": tol, "check_operator": False}
    if select is None:
        results = list(limit.run(solve_many, A, B, penalty, n_threads=n_threads, **options))
    else:
        results = [limit.run(solve, A, b, penalty, select=select, **options) for b in B.T]
    return tuple(map(as_interrupted, results) if limit.stopped else results)


def _implied_sigma(A: Any, b: Array, x: Array) -> float:
    """Return the noise of the residual, the coefficients that are not zero counted as fitted."""
    freedom = max(b.size - int(np.count_nonzero(x)), max(b.size // 10, 1))
    return float(np.linalg.norm(A @ x - b)) / math.sqrt(freedom)


def _conditional_mean(A: Any, b: Array, x: Array, sigma: float, tol: float) -> tuple[Array, float]:
    """Return the mean of the triples of the support given b, for unit variances, and the noise assumed."""
    live = np.flatnonzero((x != 0.0).any(axis=0))
    if live.size == 0:
        return x, sigma
    index = (np.arange(3)[:, None] * x.shape[1] + live).ravel()
    columns = A[:, index] if isinstance(A, np.ndarray) else A.columns(index)
    # the residual of a shrunken answer is too large; that of the first mean is not
    first = solve(columns, b, L2(sigma**2), tol=tol).x
    sigma = _implied_sigma(columns, b, first)
    out = np.zeros_like(x)
    out[:, live] = solve(columns, b, L2(sigma**2), tol=tol).x.reshape(3, live.size)
    return out, sigma


def _level(result: Result) -> float:
    """Return lam, or the factor on it where it is a vector; NaN where it was not chosen."""
    if result.lam is None:
        return math.nan
    if np.ndim(result.lam) == 0:
        return float(result.lam)
    return 1.0 if result.selection is None else result.selection.lam
