"""Recover a sparse spike train from a blurred, noisy trace: L2, L1 and L0 side by side."""

from __future__ import annotations

import numpy as np

import sparseinv as si
from sparseinv.operators import Convolution
from sparseinv.seismic import ricker, score_spikes, snr_db


def main(size: int = 501) -> dict[str, float]:
    """Solve for a trace of ``size`` samples; return the signal-to-noise ratio [dB] of each answer."""
    rng = np.random.default_rng(0)
    dt = 0.004
    wavelet, _, center = ricker(20.0, dt)
    truth = np.zeros(size)
    spikes = np.arange(10, size - 10, 25) + rng.integers(-4, 5, len(range(10, size - 10, 25)))
    truth[spikes] = rng.choice([-1.0, 1.0], spikes.size) * rng.uniform(0.3, 1.0, spikes.size)
    blur = Convolution(size, wavelet, offset=center)
    clean = blur @ truth
    sigma = 0.03 * np.abs(clean).max()
    b = clean + sigma * rng.standard_normal(size)

    # lam for L1: half the level that white noise of this sigma reaches in A^T e
    lam = 0.5 * sigma * np.linalg.norm(wavelet) * np.sqrt(2 * np.log(size))
    answers = {
        "L2": si.solve(blur, b, si.L2(sigma**2 * np.linalg.norm(wavelet) ** 2 / truth.var() / 10)),
        "L1": si.solve(blur, b, si.L1(lam)),
        "L0": si.solve(blur, b, si.L0(8 * sigma**2)),
    }
    scores = {}
    for name, result in answers.items():
        scores[name] = snr_db(truth, result.x)
        f1 = score_spikes(truth, result.x, threshold=0.1).f1
        print(f"{name}: {result.status.name}, {result.certificate}, {scores[name]:.1f} dB, spike F1 {f1:.2f}")
    return scores


if __name__ == "__main__":
    main()
