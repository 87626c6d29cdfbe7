"""Deconvolve a trace with bursts: outliers are unknowns with a lambda of their own.

``1/2 ||W r + e - d||^2 + lam ||r||_1 + mu ||e||_1`` is an ordinary L1 problem, convex and certified;
minimised over e it is Huber's misfit, which grows linearly where samples are wrong altogether.
"""

from __future__ import annotations

import numpy as np

from sparseinv.operators import Convolution
from sparseinv.seismic import deconvolve, ricker, robust_deconvolve, score_spikes, snr_db, sparse_spikes


def main(size: int = 400, seed: int = 0) -> dict[str, float]:
    """Blur a few spikes, spoil one sample in twenty, and deconvolve with and without outliers."""
    rng = np.random.default_rng(seed)
    dt = 0.004
    wavelet, _, center = ricker(20.0, dt)
    truth = sparse_spikes(size, size // 40, min_gap=6, min_amplitude=0.3, rng=rng)
    noise = 0.03 * rng.standard_normal(size)
    noise += np.where(rng.random(size) < 0.05, rng.standard_normal(size), 0.0)
    d = Convolution(size, wavelet, offset=center) @ truth + noise

    scores = {}
    for name, method in (("least squares", deconvolve), ("outliers allowed", robust_deconvolve)):
        found = method(d, wavelet, dt, offset=center)
        print(found.results[0])
        scores[name] = snr_db(truth, found.reflectivity)
        f1 = score_spikes(truth, found.reflectivity, threshold=0.1).f1
        print(f"{name}: {scores[name]:.1f} dB, F1 {f1:.2f}; lambda {found.lam[0]:.3g}, {found.rule}")
    return scores


if __name__ == "__main__":
    main()
