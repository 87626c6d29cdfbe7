"""Figures: axes, units, clips; nothing is shown and no state is left behind."""

from __future__ import annotations

import numpy as np
import pytest

import sparseinv as si
from sparseinv import plotting


@pytest.fixture
def gather() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 40))


@pytest.mark.parametrize("kind", ["density", "wiggle"])
def test_section(gather: np.ndarray, kind: str) -> None:
    """Time runs downwards in seconds."""
    _, axes = plotting.section(gather, 0.004, kind=kind, title="gather")
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert bottom == pytest.approx(40 * 0.004, rel=0.05)
    assert axes.get_ylabel() == "time [s]"


def test_same_clip(gather: np.ndarray) -> None:
    level = plotting.clip_level(gather)
    _, axes = plotting.section(gather, 0.004, clip=level)
    assert axes.images[0].get_clim() == (-level, level)
    assert plotting.clip_level(np.zeros((2, 2))) == 1.0


@pytest.mark.parametrize("bad", [{"kind": "rainbow"}, {"data": np.zeros(5)}])
def test_bad_input(gather: np.ndarray, bad: dict) -> None:
    with pytest.raises(ValueError, match="but"):
        plotting.section(bad.pop("data", gather), 0.004, **bad)


def test_convergence() -> None:
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((20, 30)), rng.standard_normal(20)
    runs = {
        name: si.solve(A, b, si.L1(1.0), solver=s).history
        for name, s in (("a", si.ISTA()), ("b", si.FISTA()))
    }
    for against in ("products", "n_iter", "seconds"):
        _, axes = plotting.convergence(runs, against=against)
        assert axes.get_yscale() == "log"
        assert len(axes.lines) == 2
    with pytest.raises(ValueError, match="against is 'miles'"):
        plotting.convergence(runs, against="miles")


def test_spikes() -> None:
    truth = np.zeros(50)
    truth[[5, 20]] = 1.0, -1.0
    _, axes = plotting.spikes(truth, {"L1": truth * 0.9, "L2": truth * 0.3}, 0.004)
    assert len(axes) == 2
    assert axes[-1].get_xlabel() == "time [s]"
