"""Every example runs at a small size and shows what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_short_and_documented(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) < 100
    assert load(name).__doc__


def test_spikes() -> None:
    """L1 beats L2 by far, and L0, which does not shrink amplitudes, beats L1."""
    scores = load("spikes").main(size=201)
    assert scores["L1"] > scores["L2"] + 10
    assert scores["L0"] > scores["L1"]


def test_thin_beds() -> None:
    """The greedy answer says that it can be bettered, and exchanges better it."""
    found = load("thin_beds").main(size=200)
    assert found["LocalSearch"] == 1.0
    assert found["OMP"] < 0.6


def test_weights_matter() -> None:
    """Weights that follow the column norms keep the deep spikes."""
    scores = load("weights_matter").main(size=240)
    assert scores["lam_j ~ ||a_j||"] > scores["one lambda"]


def test_depth_weights(tmp_path) -> None:
    """Through a lossy medium one lambda finds nothing deep, one per coefficient everything."""
    pytest.importorskip("matplotlib").use("Agg")
    scores = load("depth_weights").main(size=240, save=str(tmp_path / "figures" / "depth.png"))
    assert scores["one lambda"] < 0.5
    assert min(scores["lam_j ~ ||a_j||"], scores["lam_j ~ 1/depth"]) > 0.9
    assert (tmp_path / "figures" / "depth.png").stat().st_size > 10_000


def test_own_penalty() -> None:
    assert load("own_penalty").main(size=120) > 0.97


def test_same_in_cvxpy() -> None:
    assert load("same_in_cvxpy").main(size=80) < 1e-7


def test_rescaling() -> None:
    """Equivalent to rounding where it holds, off by percents and other supports where it does not."""
    seen = load("rescaling").main(size=12)
    assert max(seen[name] for name in seen if name.startswith(("L1, columns / lam", "L2", "GroupL1"))) < 1e-11
    assert seen["L1, columns / sqrt(lam) (median)"] > 1e-2
    assert seen["changed by lambda"] >= 3
    assert seen["changed by length"] == 0
    assert seen["normalised"] < 1e-9


def test_layers(tmp_path, capsys) -> None:
    """A lambda per layer halves the error of one lambda."""
    pytest.importorskip("matplotlib").use("Agg")
    scores = load("layers").main(samples=60, save=str(tmp_path / "figures" / "layers.png"))
    assert scores["one per layer"] < 0.8 * scores["one lambda"]
    assert (tmp_path / "figures" / "layers.png").stat().st_size > 10_000
    assert "CONVERGED" in capsys.readouterr().out


def test_off_grid() -> None:
    """Four tones, no more and no less, from samples that linear interpolation makes nothing of."""
    scores = load("off_grid").main(size=40)
    assert scores["tones"] == 4
    assert scores["worst frequency error [cells]"] < 0.25
    assert scores["SNR between the samples [dB]"] > scores["linear interpolation [dB]"] + 10
    assert scores["within two standard errors"] > 0.7


def test_bursts() -> None:
    """Samples that are wrong altogether ruin least squares, not the fit that allows for them."""
    scores = load("bursts").main(size=200)
    assert scores["outliers allowed"] > scores["least squares"] + 5


def test_gaps() -> None:
    """Across half years without data a sparse spectrum beats linear interpolation by far."""
    pytest.importorskip("statsmodels")
    scores = load("gaps").main(weeks=600)
    assert scores["L1"] < 0.5 * scores["linear"]


def test_every_example_is_tested() -> None:
    assert set(NAMES) == {
        "depth_weights",
        "bursts",
        "gaps",
        "layers",
        "off_grid",
        "own_penalty",
        "rescaling",
        "same_in_cvxpy",
        "spikes",
        "thin_beds",
        "weights_matter",
    }
