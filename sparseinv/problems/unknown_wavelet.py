"""D6: blind deconvolution, the wavelet known to nobody, at falling signal-to-noise ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.operators.convolution import Convolution
from sparseinv.penalties import L1
from sparseinv.problems.catalogue import Case
from sparseinv.problems.report import Demo, Goal, Table, together
from sparseinv.seismic.blind import BlindDeconvolution, blind_deconvolve
from sparseinv.seismic.deconvolution import Deconvolution, deconvolve
from sparseinv.seismic.estimated_wavelets import WaveletMatch, match_wavelets, statistical_wavelet
from sparseinv.seismic.metrics import snr_db
from sparseinv.seismic.reflectivity import sparse_spikes
from sparseinv.seismic.wavelets import ricker

Array = np.ndarray[Any, Any]

_DT, _F0, _PHASE = 0.004, 30.0, 60.0
_DURATION = 0.16  # [s] of the wavelet that is looked for; the true one lasts 0.14 s
_SIZES = {"s": (5, 64), "m": (20, 300)}
_DENSITY = 0.04
_HIGH, _LOW = 20.0, 2.0  # [dB]
_BETWEEN = 8.0


@dataclass(frozen=True, eq=False)
class Traces:
    """Hold true wavelet and reflectivity, shape (n_traces, n_samples), and traces with noise."""

    wavelet: Array
    center: int
    truth: Array
    data: Array
    sigma: float


def build(size: str, seed: int, snr: float) -> Traces:
    """Return traces of a size at an SNR [dB]; spikes and wavelet are the same at every SNR."""
    traces, samples = _SIZES[size]
    rng = np.random.default_rng(seed)
    wavelet, _, center = ricker(_F0, _DT, 0.14)
    wavelet = _rotated(wavelet, _PHASE)
    truth = sparse_spikes(samples, max(2, round(_DENSITY * samples)), traces, rng=rng)
    clean = Convolution(samples, wavelet, offset=center).matmat(truth.T).T
    sigma = float(np.linalg.norm(clean)) / math.sqrt(clean.size) * 10.0 ** (-snr / 20.0)
    return Traces(wavelet, center, truth, clean + sigma * rng.standard_normal(clean.shape), sigma)


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build the problem with the true wavelet in A; see `sparseinv.problems.load_problem`."""
    case = build(size, seed, _HIGH)
    answer = deconvolve(case.data, case.wavelet, _DT, offset=case.center, common=True, refit=False)
    A = Convolution(case.data.shape, case.wavelet, offset=case.center)
    truth = case.truth.ravel()
    return Case(
        id, size, seed, A, case.data.ravel(), L1(float(answer.lam[0])), answer.rule, case.sigma,
        lambda x: {"SNR [dB]": snr_db(truth, x)}, truth, case.data.shape,
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Run the problem; see `sparseinv.problems.run_problem`."""
    easy = build(size, seed, _HIGH)
    traces, samples = easy.data.shape
    table = Table(
        f"{traces} traces of {samples} samples, {_DT * 1e3:g} ms, Ricker {_F0:g} Hz turned by {_PHASE:g} "
        f"degrees, white noise at {_HIGH:g} dB",
        ("SNR [dB]", "refit [dB]", "wavelet |corr|"),
        echo,
    )
    known = deconvolve(easy.data, easy.wavelet, _DT, offset=easy.center)
    _add(table, "wavelet known", easy, known, easy.wavelet)
    guess, middle = statistical_wavelet(easy.data, _DT, _DURATION)
    assumed = deconvolve(easy.data, guess, _DT, offset=middle)
    _add(table, "zero phase", easy, assumed, guess)
    blind = blind_deconvolve(easy.data, _DT, _DURATION)
    match = _add(table, "blind", easy, blind.deconvolution, blind.wavelet)
    table.note(
        "Time, sign and size of a wavelet cannot be known from the traces; they are taken from the best "
        "match with the truth before anything is scored. lambda: pivotal, trace by trace. zero phase: the "
        "usual estimate from the spectrum, its phase assumed, which is where blind begins. Each "
        "reflectivity is certified for its wavelet; nothing certifies the pair, whose objective has many "
        f"minima: four starts end at {_ends(blind)}."
    )
    trust, verdicts = _at_falling_snr(size, seed, blind, match, echo)
    low = verdicts[_LOW]
    goals = (
        Goal(f"wavelet |corr| at {_HIGH:g} dB", match.correlation, 0.95),
        Goal(f"answer at {_HIGH:g} dB trusted (1 yes, 0 no)", float(blind.trusted), 1.0),
        Goal(f"answer at {_LOW:g} dB trusted (1 yes, 0 no)", float(low.trusted), 0.0, at_least=False),
    )
    draw = partial(
        _draw, easy, {"zero phase": (guess, assumed), "blind": (blind.wavelet, blind.deconvolution)}
    )
    return Demo(id, (table, trust), {id: draw}, goals)


def _at_falling_snr(
    size: str, seed: int, high: BlindDeconvolution, first: WaveletMatch, echo: bool
) -> tuple[Table, dict[float, BlindDeconvolution]]:
    """Return what the answer says of itself at each SNR, beside the truth."""
    table = Table(
        "what the answer says of itself, and the truth",
        ("wavelet |corr|", "SNR [dB]", "implied [dB]", "halves |corr|", "trusted"),
        echo,
    )
    answers, matches = {_HIGH: high}, {_HIGH: first}
    for snr in (_HIGH, _BETWEEN, _LOW):
        case = build(size, seed, snr)
        if snr not in answers:
            answers[snr] = blind_deconvolve(case.data, _DT, _DURATION)
            matches[snr] = match_wavelets(_padded(case.wavelet), answers[snr].wavelet)
        answer, match = answers[snr], matches[snr]
        estimate = match.aligned(answer.deconvolution.reflectivity)
        reached = snr_db(case.truth, estimate)
        scores = match.correlation, reached, answer.snr, answer.stability, float(answer.trusted)
        spikes = int(np.count_nonzero(estimate))
        table.solved(f"blind at {snr:g} dB", together(answer.deconvolution.results), *scores, nonzeros=spikes)
    table.note(
        "Implied: the SNR of the traces that the residual implies; halves: correlation of the wavelets that "
        "odd and even traces give. Trusted means that the implied SNR is at least 4 dB, halves correlate by "
        "0.8 and starts that end equally low by 0.95: nothing of it looks at the truth. It is a cautious "
        f"rule, which also turns down good answers. At {_LOW:g} dB: {answers[_LOW].verdict}."
    )
    return table, answers


def _add(table: Table, method: str, case: Traces, answer: Deconvolution, wavelet: Array) -> WaveletMatch:
    match = match_wavelets(_padded(case.wavelet), _padded(wavelet))
    table.solved(
        method, together(answer.results), snr_db(case.truth, match.aligned(answer.reflectivity)),
        snr_db(case.truth, match.aligned(answer.refitted)), match.correlation,
        nonzeros=int(np.count_nonzero(answer.reflectivity)),
    )  # fmt: skip
    return match


def _padded(wavelet: Array) -> Array:
    """Return a wavelet with zeros at both ends, of the length that blind deconvolution looks for."""
    width = 2 * math.ceil(_DURATION / (2.0 * _DT) - 1e-9) + 1
    return np.pad(wavelet, (width - wavelet.size) // 2)


def _rotated(wavelet: Array, degrees: float) -> Array:
    """Return a wavelet with its phase turned by a constant angle, within its length."""
    padded = np.fft.fft(np.pad(wavelet, 4 * wavelet.size))
    half = padded.size // 2
    padded[1 : half + 1] *= np.exp(1j * math.radians(degrees))
    padded[half + 1 :] *= np.exp(-1j * math.radians(degrees))
    turned = np.fft.ifft(padded).real[4 * wavelet.size : 5 * wavelet.size]
    return np.asarray(turned * np.hanning(wavelet.size + 2)[1:-1] ** 0.25)


def _ends(answer: BlindDeconvolution) -> str:
    lowest = float(answer.objectives.min())
    return ", ".join(f"{value / lowest:.3f}" for value in answer.objectives) + " of the lowest"


def _draw(case: Traces, found: dict[str, tuple[Array, Deconvolution]]) -> Any:
    from sparseinv.plotting import figure

    drawing, axes = figure(2, 2, size=(11.0, 6.0), width_ratios=(1.0, 2.2))
    true = _padded(case.wavelet)
    t = (np.arange(true.size) - true.size // 2) * _DT
    where = np.flatnonzero(case.truth[0])
    time = np.arange(case.truth.shape[1]) * _DT
    for (left, right), (name, (wavelet, answer)) in zip(axes, found.items(), strict=True):
        match = match_wavelets(true, _padded(wavelet))
        left.plot(t, true, color="black", linewidth=2.0, label="truth")
        aligned = match.factor * np.roll(_padded(wavelet), match.shift)
        left.plot(t, aligned, color="tab:blue", linewidth=1.2, label=name)
        left.set_title(f"wavelet, {name}: |corr| {match.correlation:.3f}", fontsize=9, loc="left")
        left.legend(fontsize=7)
        left.set_ylabel("amplitude")
        estimate = match.aligned(answer.reflectivity)
        right.vlines(time, 0, estimate[0], color="tab:blue", linewidth=1.2)
        right.plot(
            time[where], case.truth[0][where], "o", color="tab:red", markersize=4, fillstyle="none",
            label="truth",
        )  # fmt: skip
        right.axhline(0, color="black", linewidth=0.5)
        title = f"trace 0, {name}: all traces {snr_db(case.truth, estimate):.1f} dB"
        right.set_title(title, fontsize=9, loc="left")
        right.set_ylabel("reflectivity")
    axes[0, 1].legend(fontsize=7, loc="upper right")
    axes[1, 0].set_xlabel("time [s]")
    axes[1, 1].set_xlabel("time [s]")
    return drawing, axes
