"""A continuous signal from 50 irregular samples: how many tones, which, and how sure, at any time."""

from __future__ import annotations

import numpy as np

from sparseinv.seismic import off_grid_tones, snr_db


def main(size: int = 50) -> dict[str, float]:
    """Recover four tones from ``size`` samples of two seconds; return errors and scores."""
    rng = np.random.default_rng(1)
    t = np.sort(rng.uniform(0.0, 2.0, size))  # 25 samples a second: a regular grid would alias above 12.5 Hz
    frequencies = np.array([7.31, 18.64, 43.27, 71.5])
    amplitudes, phases = np.array([1.0, 0.7, 1.4, 0.5]), np.array([0.3, -1.1, 2.0, 0.0])

    def signal(when: np.ndarray) -> np.ndarray:
        return np.cos(2 * np.pi * np.multiply.outer(when, frequencies) + phases) @ amplitudes

    sigma = 0.12
    y = signal(t) + sigma * rng.standard_normal(size)

    # only the band is told: neither the number of tones nor the noise
    tones = off_grid_tones(t, y, band=(0.0, 100.0), false_alarm=0.01)
    print(tones)
    assert tones.grid is not None
    print(f"sparse start on the grid: {tones.grid.status.name}, {tones.grid.certificate}")

    when = np.linspace(t[0], t[-1], 2000)
    truth, estimate, error = signal(when), tones.at(when), tones.error_at(when)
    scores = {
        "tones": float(tones.frequencies.size),
        "worst frequency error [cells]": float(np.abs(tones.frequencies - frequencies).max() * np.ptp(t))
        if tones.frequencies.size == frequencies.size
        else np.inf,
        "SNR between the samples [dB]": snr_db(truth, estimate),
        "linear interpolation [dB]": snr_db(truth, np.interp(when, t, y)),
        "within two standard errors": float(np.mean(np.abs(estimate - truth) < 2 * error)),
    }
    for name, value in scores.items():
        print(f"{name}: {value:.3g}")
    return scores


if __name__ == "__main__":
    main()
