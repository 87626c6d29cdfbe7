"""Figures: axes in seconds, downwards; one clip for panels that are compared; no pyplot, no display."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import sparseinv as si
from sparseinv.plotting import clip_level, convergence, figure, section, spikes

RNG = np.random.default_rng(0)
GATHER = RNG.standard_normal((5, 40))


def drawn(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["density", "wiggle"])
def test_section_has_time_downwards_in_seconds(kind: str) -> None:
    fig, axes = section(GATHER, 0.004, kind=kind, title="a title", xlabel="shot", t0=1.0)
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert top == pytest.approx(1.0, abs=0.003)
    assert bottom == pytest.approx(1.0 + 39 * 0.004, abs=0.003)
    assert (axes.get_ylabel(), axes.get_xlabel(), axes.get_title()) == ("time [s]", "shot", "a title")
    assert drawn(fig).startswith(b"\x89PNG")


def test_section_positions() -> None:
    """The middle of the first and last column lie at the positions given."""
    _, axes = section(GATHER, 0.004, x=np.arange(5) * 25.0 + 100.0)
    assert axes.get_xlim() == pytest.approx((87.5, 212.5))
    _, axes = section(GATHER[:1], 0.004)
    assert axes.get_xlim() == pytest.approx((-0.5, 0.5))


def test_section_colours() -> None:
    """A symmetric map around zero, the same clip where asked for, grey for data."""
    _, panels = figure(1, 2)
    section(GATHER, 0.004, axes=panels[0], clip=2.0)
    section(3 * GATHER, 0.004, axes=panels[1], clip=2.0, signed=False)
    for panel in panels:
        assert panel.images[0].get_clim() == (-2.0, 2.0)
    assert [panel.images[0].get_cmap().name for panel in panels] == ["RdBu_r", "gray"]
    _, axes = section(GATHER, 0.004, perc=50.0)
    assert axes.images[0].get_clim()[1] == pytest.approx(np.median(np.abs(GATHER)))


def test_clip_level_is_never_zero() -> None:
    spike = np.zeros((10, 100))
    assert clip_level(spike) == 1.0
    spike[3, 7] = -4.0
    assert clip_level(spike) == 4.0


@pytest.mark.parametrize("kind", ["density", "wiggle"])
def test_section_of_zeros(kind: str) -> None:
    fig, _ = section(np.zeros((3, 10)), 0.002, kind=kind)
    assert drawn(fig)


def test_section_refusals() -> None:
    with pytest.raises(ValueError, match="kind is 'map'"):
        section(GATHER, 0.004, kind="map")
    with pytest.raises(ValueError, match="data has shape"):
        section(GATHER[0], 0.004)


@pytest.mark.parametrize("against", ["products", "n_iter", "seconds"])
def test_convergence(against: str) -> None:
    A = RNG.standard_normal((20, 40))
    b = A[:, 0] + A[:, 1]
    runs = {
        "FISTA": si.solve(A, b, si.L1(0.1), solver=si.FISTA()).history,
        "ISTA": si.solve(A, b, si.L1(0.1), solver=si.ISTA(), max_iter=200).history,
    }
    fig, axes = convergence(runs, against=against)
    assert [line.get_label() for line in axes.get_lines()] == ["FISTA", "ISTA"]
    assert axes.get_yscale() == "log"
    assert drawn(fig)
    with pytest.raises(ValueError, match="against is 'time'"):
        convergence(runs, against="time")


def test_spikes() -> None:
    truth = np.zeros(50)
    truth[[10, 30]] = 1.0, -2.0
    fig, axes = spikes(truth, {"L1": 0.8 * truth, "L2": 0.3 * truth}, 0.004)
    assert len(axes) == 2
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[-1].get_xlabel() == "time [s]"
    assert drawn(fig)


def test_no_pyplot() -> None:
    """Plotting touches no global state: pyplot is never imported."""
    code = (
        "import sys, numpy as np; from sparseinv.plotting import section;"
        "section(np.ones((2, 9)), 0.004)[0].canvas.draw();"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).resolve().parent.parent
    assert subprocess.run([sys.executable, "-c", code], timeout=120, cwd=root, check=False).returncode == 0
