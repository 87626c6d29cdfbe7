"""Radon panels of gathers, sparse or by least squares, and the removal of multiples with them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.operators.algebra import Composition
from sparseinv.operators.base import Operator
from sparseinv.operators.convolution import Convolution
from sparseinv.operators.frequency_radon import FrequencyRadon
from sparseinv.operators.radon import Radon
from sparseinv.penalties.base import Penalty
from sparseinv.penalties.separable import L0, L1, L2
from sparseinv.result import Result
from sparseinv.seismic.interruption import answered, kept
from sparseinv.seismic.moveout import checked_gather
from sparseinv.seismic.radon_fit import PanelFit, convex_relative, largest_column, level_by_traces

Array = np.ndarray[Any, Any]

_CORNER = 0.03  # of the largest coefficient: from this size on reweighting makes a coefficient cheaper


@dataclass(frozen=True, eq=False)
class RadonPanel:
    """Hold a Radon panel and how it was found.

    Attributes
    ----------
    panel : ndarray, shape (k, samples)
        The coefficients m(q, tau); refitted if that was asked for.
    parameters : ndarray, shape (k,)
        Slopes [s/m], moveouts [s] or velocities [m/s].
    operator : Operator
        The map from the panel to the whole gather, muted samples included.
    live : ndarray of bool, shape (offsets, samples)
        Samples that were fitted.
    result : Result
        The last solve before a refit, with its certificate.
    lam : float
        The level, from which rounds of reweighting start; NaN where L0 met a residual without one.
    rule : str
        How that level was chosen.
    refit : Result or None
        The least-squares fit on the support, if asked for.
    single : bool
        Whether the traces are in single precision, as what `gather` returns is then.
    """

    panel: Array
    parameters: Array
    operator: Operator
    live: Array
    result: Result
    lam: float
    rule: str
    refit: Result | None = None
    single: bool = False

    def gather(self, curves: Any = None) -> Array:
        """Return the data that the panel stands for, shape (offsets, samples), with the mutes applied.

        Parameters
        ----------
        curves : array_like of bool, shape (k,), optional
            Curves to use; all by default.
        """
        data = self._modelled(curves)
        return data.astype(np.float32) if self.single else data

    def _modelled(self, curves: Any) -> Array:
        m = self.panel
        if curves is not None:
            chosen = np.asarray(curves)
            if chosen.dtype != bool or chosen.shape != self.parameters.shape:
                raise ValueError(
                    f"curves has dtype {chosen.dtype} and shape {chosen.shape}, but one bool for each of "
                    f"{self.parameters.size} parameters is needed"
                )
            m = m * chosen[:, None]
        image = np.asarray(self.operator @ m.ravel()).reshape(self.live.shape)
        return np.where(self.live, image, 0.0)

    @property
    def success(self) -> bool:
        """Whether the certificates meet the tolerance, that of the refit included."""
        return self.result.success and (self.refit is None or self.refit.success)


@dataclass(frozen=True, eq=False)
class Demultiple:
    """Hold a gather split at a moveout.

    Attributes
    ----------
    primaries : ndarray, shape (offsets, samples)
        The gather minus the multiples; 0 where it was muted.
    multiples : ndarray, shape (offsets, samples)
        The model of the multiples: what the panel holds beyond the cut.
    radon : RadonPanel
        The panel, with lambda, rule and certificate.
    cut : float
        Moveout [s] (slope [s/m]) beyond which events count as multiples.
    """

    primaries: Array
    multiples: Array
    radon: RadonPanel
    cut: float

    @property
    def success(self) -> bool:
        """Whether the certificates of the panel meet the tolerance."""
        return self.radon.success


def radon_panel(
    traces: Any,
    offsets: Any,
    dt: float,
    parameters: Any,
    curve: str = "parabolic",
    *,
    penalty: Any = None,
    select: Any = None,
    reweight: int = 0,
    refit: bool = False,
    domain: str | None = None,
    band: tuple[float, float] | None = None,
    wavelet: Any = None,
    t0: float = 0.0,
    reference: float | None = None,
    live: Any = None,
    tol: float = 1e-3,
    max_time: float | None = None,
) -> RadonPanel:
    """Return the Radon panel of a gather: the fewest, or smallest, events along curves that explain it.

    ``minimise 1/2 ||S (A m - d)||^2 + R(m)`` over the panel m(q, tau), with A a `FrequencyRadon` or `Radon`,
    S the samples that are not muted and R sparse in q and tau alike (L1, L0) or a damping (L2).

    Parameters
    ----------
    traces : array_like, shape (offsets, samples)
        The gather d. Zeros at the beginning of a trace count as muted, as do dead traces.
    offsets : array_like, shape (offsets,)
        Offset of each trace [m].
    dt : float
        Sampling interval [s].
    parameters : array_like, shape (k,)
        Slopes [s/m], moveouts at the reference offset [s] or velocities [m/s].
    curve : {"linear", "parabolic", "hyperbolic"}
        The family of curves, see `Radon`.
    penalty : L1, L0 or L2, optional
        R; ``L1()`` by default. Without a lambda one is chosen, see Notes.
    select : selector, optional
        A rule to choose lambda by, for example ``Discrepancy(sigma=...)`` where the noise is known.
    reweight : int
        Rounds of reweighting after L1, 0 by default; 1 makes amplitudes and support sharper, see Notes.
    refit : bool
        Whether to fit the amplitudes on the support anew by least squares, which undoes the shrinkage.
    domain : {"frequency", "time"}, optional
        Which operator; frequency by default where the curve allows it.
    band : (float, float), optional
        Frequencies [Hz] of the panel, in the frequency domain only. Take the band of the data.
    wavelet : array_like, shape (nw,), optional
        Wavelet of odd length with its zero time in the middle; the panel then holds spikes.
    t0, reference : float, optional
        Time of the first sample [s], for hyperbolas; offset [m] at which moveouts are measured, for
        parabolas.
    live : array_like of bool, shape (offsets, samples), optional
        Samples to fit, instead of those found.
    tol : float
        Duality gap over 1/2 ||d||^2 at which the solver stops.
    max_time : float, optional
        Limit for each solve [s].

    Returns
    -------
    RadonPanel
        Panel, data it stands for, `Result`, lambda and rule.

    Raises
    ------
    ValueError, TypeError
        Bad input, before any work.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    Without lambda and rule the level is the one at which the panel of four fifths of the traces predicts the
    other ones best (every fifth by offset, never the first or last); levels fall from lam_max by a third of a
    decade (from 0.1 ||A||^2 by a half for L2) until two of them bring nothing. A trace is left out as a
    whole, since its samples depend on each other through the wavelet. L0 takes the level lam of L1 so found
    and charges lam^2 / (2 max_j ||a_j||^2) a coefficient; proximal steps (hard thresholding) start at the
    panel of that L1, and end where none of them lowers the objective.

    A round of reweighting solves L1 with the levels 2 lam_j e / (abs(m_j) + e), e = 3 % of the
    largest modulus: large coefficients become cheap, those below e dearer. Each round is a convex
    problem with a certificate of its own.

    Cost: two products with A an iteration; some 50 to 300 of them for each level.

    References
    ----------
    Sacchi and Ulrych 1995, High-resolution velocity gathers and offset space reconstruction, Geophysics 60,
    1169-1177, doi:10.1190/1.1443845. Trad, Ulrych and Sacchi 2003, Latest views of the sparse Radon
    transform, Geophysics 68, 386-399, doi:10.1190/1.1543224. Candes, Wakin and Boyd 2008, Enhancing
    sparsity by reweighted l1 minimization, J. Fourier Anal. Appl. 14, 877-905, doi:10.1007/s00041-008-9045-x.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import parabolic_events
    >>> h, q = np.linspace(0, 1000, 12), np.linspace(-0.05, 0.15, 9)
    >>> d = parabolic_events(60, 0.004, h, times=[0.1], moveouts=[0.075], amplitudes=[1], f0=25)
    >>> found = radon_panel(d, h, 0.004, q, band=(1, 80))
    >>> strongest = np.abs(found.panel).max(axis=1).argmax()
    >>> float(q[strongest].round(3)), found.result.success
    (0.075, True)
    """
    d, h, step = checked_gather(traces, offsets, dt)
    kind = _checked_penalty(penalty, select, reweight)
    A = _operator(d.shape, h, step, parameters, curve, domain, band, wavelet, t0, reference)
    alive = _live(d, live)
    fit = PanelFit(A, d, alive, tol, max_time)
    stopped = False
    if select is None and kind.lam is None:
        (lam, rule, x0), stopped = kept(level_by_traces, fit, convex_relative(kind), h)
        panel = x0
        if isinstance(kind, L0):
            rule = f"charge lam^2 / (2 max ||a||^2) of L1 at lam = {lam:.3g}, that by {rule}"
            lam = (lam / largest_column(A)) ** 2 / 2.0
            x0 = None
        kind = dataclasses.replace(kind, lam=lam)
    else:
        rule, x0, panel = "given" if select is None else "not chosen yet", None, None
    if stopped:
        result = fit.judged(kind, panel)
    else:
        known = None if panel is None else partial(fit.judged, kind, panel)
        result, stopped = kept(fit.solve, kind, select=select, x0=x0, instead=known)
    if result.selection is not None:
        rule = result.selection.rule
    lam = math.nan if result.lam is None else float(np.max(result.lam))
    rounds = 0 if stopped else reweight
    given = kind if kind.lam is not None or not rounds else kind.at(lam)
    for _ in range(rounds):
        size = np.abs(result.x)
        if stopped or not size.any():
            break
        corner = _CORNER * float(size.max())
        levels = 2.0 * given.levels(size.size) * (corner / (size + corner))
        dearer = L1(levels, nonnegative=kind.nonnegative)
        known = partial(fit.judged, dearer, result.x)
        result, stopped = kept(fit.solve, dearer, x0=result.x, instead=known)
    again = None
    if refit and not stopped:
        again, stopped = kept(fit.refit, result, instead=lambda: result)
        again = None if stopped else again  # half a refit is worse than none
    x = result.x if again is None else again.x
    values = np.asarray(parameters, dtype=float).ravel()
    single = validation.is_single(traces)
    return answered(
        RadonPanel(x.reshape(A.dims), values, A, alive, result, lam, rule, again, single), stopped
    )


def demultiple(
    traces: Any, offsets: Any, dt: float, moveouts: Any, cut: float, curve: str = "parabolic", **options: Any
) -> Demultiple:
    """Return a gather without multiples: panel, cut at a moveout, model of the multiples, subtraction.

    Parameters
    ----------
    traces, offsets, dt
        A gather after normal moveout correction with the velocities of the primaries, see `radon_panel`.
    moveouts : array_like, shape (k,)
        Moveouts [s] at the reference offset (slopes [s/m] for lines) of the panel, on both sides of the cut;
        from one to the next no more than a period of the highest frequency of note.
    cut : float
        Events with a larger moveout are multiples.
    curve : {"parabolic", "linear"}
        The family of curves.
    **options
        Those of `radon_panel`: penalty, select, reweight, refit, domain, band, live, tol and so on.

    Returns
    -------
    Demultiple
        Primaries and multiples, in single precision where the traces are, and the panel.

    Raises
    ------
    ValueError, TypeError
        Bad input; no moveout, or all of them, beyond the cut.
    Interrupted
        On Ctrl-C; ``.result`` holds the answer as far as it came, every certificate included.

    Notes
    -----
    The multiples are subtracted from the data, not the primaries modelled, so noise and what the
    curves do not describe stay as they were. Shrinkage of L1 leaves a part of the multiples behind;
    reweight=1 or refit=True restore their amplitudes. Samples muted in the gather stay muted.

    Examples
    --------
    >>> import numpy as np
    >>> from sparseinv.seismic import parabolic_events, snr_db
    >>> h, q = np.linspace(0, 1000, 16), np.linspace(-0.05, 0.2, 15)
    >>> flat, bent = (
    ...     parabolic_events(80, 0.004, h, times=[t], moveouts=[m], amplitudes=[1], f0=25)
    ...     for t, m in ((0.12, 0.0), (0.08, 0.12))
    ... )
    >>> split = demultiple(flat + bent, h, 0.004, q, cut=0.05, band=(1, 80), reweight=1)
    >>> snr_db(flat, split.primaries) > 15
    True
    """
    if curve not in ("parabolic", "linear"):
        raise ValueError(f"curve is {curve!r}, but multiples are told by the moveout of parabolas or lines")
    q = validation.numeric(moveouts, "moveouts")
    edge = validation.real_number(cut, "cut")
    beyond = q > edge
    if not (beyond.any() and not beyond.all()):
        raise ValueError(
            f"cut is {edge}, but moveouts, from {q.min(initial=np.inf)} to {q.max(initial=-np.inf)}, must "
            "lie on both sides of it"
        )
    found, stopped = kept(radon_panel, traces, offsets, dt, q, curve, **options)
    model = found._modelled(beyond)
    primaries = np.where(found.live, np.asarray(traces) - model, 0.0)
    kind = np.float32 if found.single else np.float64
    return answered(Demultiple(primaries.astype(kind), model.astype(kind), found, edge), stopped)


def _operator(
    dims: tuple[int, ...], h: Array, dt: float, parameters: Any, curve: str, domain: str | None,
    band: tuple[float, float] | None, wavelet: Any, t0: float, reference: float | None,
) -> Operator:  # fmt: skip
    """Return the map from panels to gathers."""
    if domain not in (None, "frequency", "time"):
        raise ValueError(f"domain is {domain!r}, but it must be 'frequency' or 'time'")
    by_frequency = domain == "frequency" or (domain is None and curve != "hyperbolic")
    if band is not None and not by_frequency:
        raise ValueError("band needs domain='frequency'; filter the traces instead")
    A: Operator
    if by_frequency:
        A = FrequencyRadon(dims, h, dt, parameters, curve, band=band, reference=reference)
    else:
        A = Radon(dims, h, dt, parameters, curve, t0=t0, reference=reference)
    if wavelet is None:
        return A
    w = validation.numeric(wavelet, "wavelet")
    if w.ndim != 1 or w.size % 2 == 0:
        raise ValueError(f"wavelet has shape {w.shape}, but an odd number of samples around time 0 is needed")
    return Composition(Convolution(dims, w), A)


def _live(d: Array, live: Any) -> Array:
    """Return the samples to fit: those behind the first non-zero one of each trace, unless told."""
    if live is None:
        alive = np.logical_or.accumulate(d != 0, axis=1)
    else:
        alive = np.asarray(live)
        if alive.dtype != bool or alive.shape != d.shape:
            raise ValueError(
                f"live has dtype {alive.dtype} and shape {alive.shape}, but one bool for each sample, shape "
                f"{d.shape}, is needed"
            )
    if not alive.any():
        raise ValueError("traces is zero, or live selects nothing: there is no sample to fit")
    return alive


def _checked_penalty(penalty: Any, select: Any, reweight: int) -> Any:
    """Return the penalty, L1 by default; refuse others."""
    validation.refuse_class(penalty, Penalty, "penalty")
    kind = L1() if penalty is None else penalty
    if not isinstance(kind, (L0, L1, L2)):
        raise TypeError(f"penalty is {penalty!r}, but L1, L0 or L2 is needed")
    validation.count(reweight, "reweight")
    if reweight and not isinstance(kind, L1):
        raise ValueError(f"reweight is {reweight}, but only L1 can be reweighted, not {type(kind).__name__}")
    if select is not None and kind.lam is not None:
        raise ValueError("select and a penalty with a lambda exclude each other; give one of them")
    return kind
