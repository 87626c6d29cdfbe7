"""Sparse time-frequency analysis: a trace as the sum of few Morlet wavelets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.entry import solve
from sparseinv.operators.morlet import MorletBank
from sparseinv.penalties import L1, GroupL1
from sparseinv.result import Result
from sparseinv.seismic.interruption import answered, as_interrupted
from sparseinv.seismic.time_limit import TimeLimit
from sparseinv.selection.discrepancy import Discrepancy

Array = np.ndarray[Any, Any]

_ROUNDS = 60
_STUCK = 0.99  # a residual longer than this times the last one: more wavelets do not help
_WITHIN = 0.98  # of the target: what wavelets must reach by least squares before lambda is looked for
_LEAST = 1e-3  # of the level at which x = 0, where the target is out of reach
_SEARCH = 0.9  # of the time that the few wavelets may take; the whole bank has the rest
_SLACK = 0.1  # of tol: a wavelet left out may surpass lambda by this share


@dataclass(frozen=True, eq=False)
class TimeFrequency:
    """Hold the few wavelets that make up a trace.

    Attributes
    ----------
    coefficients : ndarray of complex, shape (number of frequencies, n_samples)
        Amplitude and phase of the wavelet of each frequency and time; most are 0.
    frequencies : ndarray, shape (number of frequencies,)
        Centres of the wavelets [Hz].
    fit : ndarray, shape (n_samples,)
        The sum of the wavelets.
    misfit : float
        norm2(fit - trace) / norm2(trace).
    lam : float
        Lambda, in the units of the trace.
    rule : str
        How lambda was chosen.
    result : Result
        What the solver reports, with its certificate.
    """

    coefficients: Array
    frequencies: Array
    fit: Array
    misfit: float
    lam: float
    rule: str
    result: Result

    @property
    def success(self) -> bool:
        """Whether the certificate meets the tolerance."""
        return self.result.success


def time_frequency(
    trace: Any,
    dt: float,
    frequencies: Any,
    *,
    w0: Any = 6.0,
    misfit: float = 0.05,
    lam: float | None = None,
    tol: float = 1e-4,
    max_time: float | None = None,
) -> TimeFrequency:
    """Explain a trace by as few complex Morlet wavelets as L1 finds.

    Minimises ``1/2 ||Re sum x_fu g_f(. - u) - trace||^2 + lam sum abs(x_fu)``; the modulus of a complex
    coefficient is penalised, so the phase of every wavelet is free.

    Parameters
    ----------
    trace : array_like, shape (n_samples,)
        Real data.
    dt : float
        Sampling interval [s].
    frequencies, w0
        As for `sparseinv.operators.MorletBank`.
    misfit : float
        norm2(residual) / norm2(trace) that lambda is chosen for, 0 < misfit < 1.
    lam : float, optional
        Lambda itself, > 0; misfit is then not used.
    tol : float
        Relative duality gap asked for.
    max_time : float, optional
        Most seconds, roughly, for everything. The answer is then the best so far, and its status says so;
        where the search for lambda was cut off, the rule does.

    Returns
    -------
    TimeFrequency
        Coefficients, fit (in single precision if the trace has it), lambda, rule and the certified `Result`.

    Raises
    ------
    ValueError, TypeError
        The trace is zero, not finite, not real or not one-dimensional, or a number is out of range.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    There are far more wavelets than samples, and neighbours resemble one another, so that steps with the
    whole bank converge slowly. Instead the problem is solved for a few wavelets, as groups of real and
    imaginary part, those where the correlation with the residual has a local maximum above lambda join
    them, and so on until there is none (ten to twenty rounds, one product each; storage: those wavelets).
    The answer is then certified, and finished where needed, on the whole bank.

    References
    ----------
    .. [1] S. Mallat, Z. Zhang, Matching pursuits with time-frequency dictionaries, IEEE Trans. Signal
       Process. 41 (1993) 3397-3415, doi:10.1109/78.258082.
    .. [2] J. B. Tary, R. H. Herrera, J. Han, M. van der Baan, Spectral estimation - what is new? What is
       next?, Rev. Geophys. 52 (2014) 723-749, doi:10.1002/2014RG000461.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.arange(100) * 0.004
    >>> burst = np.exp(-0.5 * ((t - 0.2) / 0.0382) ** 2) * np.cos(2 * np.pi * 25 * t)
    >>> found = time_frequency(burst, 0.004, np.arange(10.0, 60.0, 5.0))
    >>> f, u = np.unravel_index(np.abs(found.coefficients).argmax(), found.coefficients.shape)
    >>> float(found.frequencies[f]), int(u), round(found.misfit, 3)
    (25.0, 50, 0.05)
    """
    d = validation.numeric(trace, "trace")
    if d.ndim != 1 or d.size == 0 or d.dtype.kind == "c":
        raise ValueError(f"trace has shape {d.shape} and dtype {d.dtype}, but a real vector is needed")
    validation.finite(d, "trace")
    d = d.astype(np.float64)
    if not d.any():
        raise ValueError("trace is zero, so there is nothing to explain")
    share = validation.real_number(misfit, "misfit")
    if lam is None and not 0.0 < share < 1.0:
        raise ValueError(f"misfit is {share}, but it must lie between 0 and 1")
    level = None if lam is None else validation.positive(lam, "lam")
    tol = validation.positive(tol, "tol")
    limit = TimeLimit(max_time)
    bank = MorletBank(d.size, dt, frequencies, w0)
    rule = "given" if lam is not None else f"residual of {share:g} times the norm of the trace"
    search = limit.first(_SEARCH)
    x, found, cut = _few_wavelets(bank, d, level, share * float(np.linalg.norm(d)), tol, search)
    if found == 0.0:
        found = _LEAST * float(np.abs(bank.rmatvec(d)).max())
        ended = "Ctrl-C came" if limit.stopped else "time ended"
        why = f"{ended} before that for a {rule}" if cut else f"no sum of these wavelets has a {rule}"
        rule = f"{_LEAST:g} of the level at which x = 0; {why}"
    elif cut and lam is None:
        rule += f"; {'Ctrl-C' if limit.stopped else 'time'} ended the search for it"
    result = limit.run(solve, bank, d, L1(found), x0=x, tol=tol)
    result = as_interrupted(result) if limit.stopped else result
    fit = bank.matvec(result.x)
    misfit = float(np.linalg.norm(fit - d) / np.linalg.norm(d))
    answer = TimeFrequency(
        result.x.reshape(bank.dims), bank.frequencies,
        fit.astype(np.float32) if validation.is_single(trace) else fit, misfit,
        float(np.max(result.lam)), rule, result,
    )  # fmt: skip
    return answered(answer, limit.stopped)


def _few_wavelets(
    bank: MorletBank, d: Array, lam: float | None, target: float, tol: float, limit: TimeLimit
) -> tuple[Array, float, bool]:
    """Return coefficients and lambda of a problem in which no wavelet left out surpasses lambda by much.

    Lambda is 0 where more wavelets do not bring the residual to its target. Whether time ended the search,
    with the coefficients of the last complete round, comes third.
    """
    x, r, level = np.zeros(bank.shape[1], dtype=np.complex128), -d, lam or 0.0
    for _ in range(_ROUNDS):
        if limit.ended():
            return x, level, True
        correlation = np.abs(bank.rmatvec(r)).reshape(bank.dims)
        at = np.flatnonzero(_peaks(correlation) & (correlation > (1.0 + _SLACK * tol) * level))
        new = at[x[at] == 0]
        if new.size == 0:
            break
        used = np.concatenate((np.flatnonzero(x), new))
        atoms = bank.atoms(used)
        # an amplitude c = p + i q contributes Re(c g) = p Re g - q Im g
        columns = np.stack((atoms.real, -atoms.imag), axis=2).reshape(d.size, -1)
        before = float(np.linalg.norm(r))
        amplitudes, fitted = _fitted(columns, d, lam, target, tol, limit)
        if limit.ended() and x.any():
            return x, level, True
        level = fitted
        x[:] = 0.0
        x[used] = amplitudes[::2] + 1j * amplitudes[1::2]
        r = columns @ amplitudes - d
        if level == 0.0 and float(np.linalg.norm(r)) > _STUCK * before:
            break
    return x, level, False


def _fitted(
    columns: Array, d: Array, lam: float | None, target: float, tol: float, limit: TimeLimit
) -> tuple[Array, float]:
    """Return the amplitudes of some wavelets and lambda; least squares and 0 where the target is too low."""
    groups = np.repeat(np.arange(columns.shape[1] // 2), 2)
    if lam is not None:
        return limit.run(solve, columns, d, GroupL1(lam, groups=groups), tol=0.1 * tol).x, lam
    nearest = np.linalg.lstsq(columns, d)[0]
    if np.linalg.norm(columns @ nearest - d) >= _WITHIN * target:
        return nearest, 0.0
    rule = Discrepancy(residual_norm=target)
    part = limit.run(solve, columns, d, GroupL1(groups=groups), select=rule, tol=0.1 * tol)
    return part.x, float(np.max(part.lam))


def _peaks(values: Array) -> Array:
    """Tell which entries are no smaller than their eight neighbours; far fewer than all that are large."""
    from scipy.ndimage import maximum_filter

    return np.asarray(values >= maximum_filter(values, size=3, mode="constant"))
