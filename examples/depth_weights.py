"""Deep reflections through a lossy medium: one lambda loses them, one per coefficient finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sparseinv as si
from sparseinv.seismic import attenuating_convolution, score_spikes

DT = 0.002  # [s]


def reflectivity(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return spikes of modulus 0.4 to 1, one in every 25 samples."""
    x = np.zeros(n)
    at = np.arange(15, n - 15, 25)
    x[at + rng.integers(-5, 6, at.size)] = rng.choice([-1.0, 1.0], at.size) * rng.uniform(0.4, 1.0, at.size)
    return x


def figure(b: np.ndarray, truth: np.ndarray, answers: dict, losses: dict, path: str) -> None:
    """Draw data, what lambdas take from a spike, and answers, time downwards."""
    import matplotlib.pyplot as plt

    t = np.arange(b.size) * DT
    fig, axes = plt.subplots(1, 2 + len(answers), figsize=(11, 6), sharey=True, layout="constrained")
    axes[0].plot(b, t, "k", lw=0.8)
    axes[0].set(title="data", xlabel="amplitude", ylabel="time [s]", ylim=(t[-1], t[0]))
    for panel, (name, result) in zip(axes[2:], answers.items(), strict=True):
        axes[1].plot(losses[name], t, label=name)
        panel.hlines(t, 0, result.x, lw=1.5)
        panel.plot(truth[truth != 0], t[truth != 0], "ro", ms=4, fillstyle="none")
        panel.set(title=name, xlabel="reflectivity (circles: truth)", xlim=(-1.1, 1.1))
    axes[1].set(title="what a lone spike loses", xlabel="lam_j / ||a_j||²", xlim=(0, 1))
    axes[1].legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=120)
    plt.close(fig)
    print(f"figure: {path}")


def main(size: int = 501, save: str | None = None) -> dict[str, float]:
    """Return F1 of the deepest third with one lambda, with column norms and with 1 / depth."""
    rng = np.random.default_rng(0)
    A = attenuating_convolution(size, 40.0, DT, Q=45.0 * size / 501)
    norms, truth = A.column_norms(), reflectivity(size, rng)
    clean = A @ truth
    sigma = 0.02 * float(np.abs(clean).max())
    b = clean + sigma * rng.standard_normal(size)

    depth = np.arange(1, size + 1) / size
    weights = {"one lambda": None, "lam_j ~ ||a_j||": norms, "lam_j ~ 1/depth": 1.0 / depth.clip(0.1)}
    rule = si.Universal(sigma=sigma)  # the same for all: the level that noise hardly ever reaches
    answers, losses, scores = {}, {}, {}
    for name, factors in weights.items():
        result = si.solve(A, b, si.L1(weights=factors), select=rule)
        answers[name], third = result, slice(2 * size // 3, size)
        losses[name] = result.lam * (1.0 if factors is None else factors) / norms**2
        scores[name] = score_spikes(truth[third], result.x[third], tolerance=2, threshold=0.1).f1
        print(
            f"{name}: {result.status.name}, {result.certificate}, F1 of the deepest third {scores[name]:.2f}"
        )
    if save:
        figure(b, truth, answers, losses, save)
    return scores


if __name__ == "__main__":
    main(save="demo-output/depth_weights.png")
