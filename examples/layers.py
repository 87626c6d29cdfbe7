"""Two layers of a network, 100 x 20 and 20 x 4: one lambda for both loses, lambdas learned per layer do not.

A network y = W2^T tanh(W1^T z) is fitted to data of another one, which differs in a few weights of the large
layer and in all of the small one. Linearised at the known weights, its Jacobian is A, and the changes are x.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sparseinv as si

LAYERS = ("W1, 100 x 20", "W2, 20 x 4")


def jacobian(Z: np.ndarray, W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    """Return the derivatives of all outputs, sample by sample, with respect to W1 and W2."""
    hidden = np.tanh(Z @ W1)
    slope = 1.0 - hidden**2
    first = np.einsum("si,sh,ho->soih", Z, slope, W2).reshape(len(Z) * W2.shape[1], -1)
    second = np.einsum("sh,op->soph", hidden, np.eye(W2.shape[1]))
    return np.hstack([first, second.transpose(0, 1, 3, 2).reshape(len(first), -1)])


def figure(truth: np.ndarray, answers: dict[str, np.ndarray], labels: np.ndarray, path: str) -> None:
    """Draw the estimated changes over the true ones, a panel per layer."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for k, panel in enumerate(axes):
        part = labels == k
        for (name, x), mark in zip(answers.items(), "xo", strict=True):
            panel.plot(truth[part], x[part], mark, fillstyle="none", label=name)
        panel.axline((0, 0), slope=1, color="0.7", lw=1)
        panel.set(title=LAYERS[k], xlabel="true change of the weight", ylabel="estimated")
    axes[0].legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=120)
    plt.close(fig)
    print(f"figure: {path}")


def main(samples: int = 90, save: str | None = None) -> dict[str, float]:
    """Return the error of prediction on fresh data over that of doing nothing, for both choices."""
    rng = np.random.default_rng(0)
    W1, W2 = rng.standard_normal((100, 20)) / 10.0, rng.standard_normal((20, 4)) / np.sqrt(20)
    labels = np.repeat([0, 1], [W1.size, W2.size])
    truth = np.zeros(labels.size)
    truth[rng.choice(W1.size, 12, replace=False)] = rng.choice([-0.6, 0.6], 12)
    truth[W1.size :] = 0.3 * rng.standard_normal(W2.size)

    A = jacobian(rng.standard_normal((samples, 100)), W1, W2)
    b = A @ truth + 0.3 * rng.standard_normal(len(A))
    sample = np.arange(len(A)) // 4  # the four outputs of a sample stay in one fold
    folds = si.CrossValidation(5, groups=sample)
    tuning = si.tune_lams(A, b, si.L1(groups=labels), criterion=folds)
    single = si.solve(A, b, si.L1(tuning.single_lam))

    fresh = jacobian(rng.standard_normal((500, 100)), W1, W2)
    answers = {"one lambda": single.x, "one per layer": tuning.result.x}
    scores = {}
    for name, x in answers.items():
        scores[name] = float(np.sum((fresh @ (x - truth)) ** 2) / np.sum((fresh @ truth) ** 2))
        found = [int(np.count_nonzero(x[labels == k])) for k in (0, 1)]
        print(f"{name}: error of prediction {scores[name]:.1%}, weights changed per layer {found}")
    for k, name in enumerate(LAYERS):
        print(f"{name}: lam = {tuning.lams[k]:.3g}, {tuning.lams[k] / tuning.single_lam:.2f} of one for both")
    print(f"expected gain {tuning.gain:.0%} +- {tuning.gain_error:.0%} of the error on rows left out")
    print(f"{tuning.result.status.name}, {tuning.result.certificate}")
    if save:
        figure(truth, answers, labels, save)
    return scores


if __name__ == "__main__":
    main(save="demo-output/layers.png")
