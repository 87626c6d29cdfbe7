"""Ctrl-C in ``sparseinv seismic``: what was found is written, and nothing half."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv import cli_seismic
from sparseinv.cli import INTERRUPTED, main
from sparseinv.counted_operator import CountedOperator
from sparseinv.operators import Blending
from sparseinv.seismic import (
    Gather,
    deconvolution,
    linear_events,
    load_gather,
    parabolic_events,
    ricker,
    save_gather,
    sparse_spikes,
)

Array = np.ndarray[Any, Any]
DT = 0.004
WAVELET, _, CENTER = ricker(30.0, DT)
TRUTH = sparse_spikes(80, 3, n_traces=5, min_gap=8, rng=0)
TRACES = np.array([np.convolve(r, WAVELET)[CENTER : CENTER + 80] for r in TRUTH])
TRACES += 0.01 * np.random.default_rng(1).standard_normal(TRACES.shape)
OFFSETS = np.linspace(50.0, 800.0, 12)
FLAT = parabolic_events(80, DT, OFFSETS, times=[0.12], moveouts=[0.0], amplitudes=[1], f0=25)
BENT = parabolic_events(80, DT, OFFSETS, times=[0.08], moveouts=[0.12], amplitudes=[1], f0=25)
SECTION = linear_events(64, DT, 10.0 * np.arange(24), times=[0.08], slopes=[3e-4], amplitudes=[1], f0=25)
LIVE = np.random.default_rng(0).random(24) < 0.7
FIRED = 0.08 + 0.2 * np.arange(8) + np.random.default_rng(0).uniform(-0.08, 0.08, 8)
SHOTS = linear_events(100, DT, range(8), times=[0.1], slopes=[0.0], amplitudes=[1], f0=25)
RECORD = Blending((8, 100), FIRED, DT) @ SHOTS.ravel()


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let Ctrl-C come in the product of a given number, once."""
    found = SimpleNamespace(at=math.inf, taken=0)
    product = CountedOperator.matvec

    def matvec(self: CountedOperator, x: Array) -> Array:
        found.taken += 1
        if found.taken == found.at:
            raise KeyboardInterrupt
        return product(self, x)

    monkeypatch.setattr(CountedOperator, "matvec", matvec)
    monkeypatch.setattr(deconvolution, "_LARGEST", 10)  # traces one by one, by products
    return found


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_gather("decon.su", Gather(TRACES.astype(np.float32), DT, 100.0 * np.arange(5)))
    holes = np.where(LIVE[:, None], SECTION, 0.0)
    save_gather("interpolate.su", Gather(holes.astype(np.float32), DT, 10.0 * np.arange(24)))
    save_gather("radon.npz", Gather(FLAT + BENT, DT, OFFSETS))
    save_gather("deblend.npz", Gather(RECORD[None, :], DT))
    np.savetxt("times.txt", FIRED)
    return tmp_path


COMMANDS = {
    "decon": ["decon.su", "out.su", "--ricker", "30"],
    "interpolate": ["interpolate.su", "out.su", "--dictionary", "fk"],
    "radon": ["radon.npz", "out.npz", "--moveouts=-0.05,0.2,11", "--cut", "0.05", "--band", "1,80"],
    "deblend": ["deblend.npz", "out.npz", "--times", "times.txt", "--samples", "100", "--window", "8,50"],
}


@pytest.mark.parametrize("task", COMMANDS)
def test_an_interrupted_command_writes_what_it_has(
    task: str, files: Path, ctrl_c: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["seismic", task, *COMMANDS[task]]
    main(words)
    out = files / words[3]
    shape = load_gather(out).traces.shape
    out.unlink()
    capsys.readouterr()
    ctrl_c.at, ctrl_c.taken = int(0.6 * ctrl_c.taken), 0
    drawn = task == "radon"  # the slow part, which tasks share
    assert main([*words, *(["--report", "page.html"] if drawn else [])]) == INTERRUPTED == 130
    found = load_gather(out)
    assert found.traces.shape == shape
    assert np.linalg.norm(found.traces) > 0.0
    said = capsys.readouterr().out
    assert "INTERRUPTED  by Ctrl-C; what was found until then is written" in said
    assert f"written      {out.name}" in said
    if drawn:
        page = (files / "page.html").read_text(encoding="utf-8")
        assert f"sparseinv {si.__version__} (INTERRUPTED)</h1>" in page
        assert "by Ctrl-C" in page
    assert not list(files.glob(".sparseinv-*"))


def test_nothing_found_is_nothing_written(
    files: Path, ctrl_c: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    ctrl_c.at = 3
    assert main(["seismic", "deblend", *COMMANDS["deblend"], "--report", "page.html"]) == INTERRUPTED
    assert "interrupted before there was anything to write" in capsys.readouterr().err
    assert not (files / "out.npz").exists()
    assert not (files / "page.html").exists()


def test_ctrl_c_while_the_file_is_written(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def impatient(path: Path, gather: Gather) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        save_gather(path, gather)

    monkeypatch.setattr(cli_seismic, "save_gather", impatient)
    assert main(["seismic", "decon", *COMMANDS["decon"]]) == INTERRUPTED
    assert "INTERRUPTED" in capsys.readouterr().out
    assert load_gather(files / "out.su").traces.any()


def test_ctrl_c_while_the_report_is_drawn(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sparseinv.seismic.report.Report.draw", interrupt)
    assert main(["seismic", "decon", *COMMANDS["decon"], "--report", "page.png"]) == INTERRUPTED
    said = capsys.readouterr().out
    assert "5 of 5 solves converged" in said
    assert "report       interrupted, not written" in said
    assert sorted(path.name for path in files.glob("*.su")) == ["decon.su", "interpolate.su", "out.su"]
    assert not (files / "page.png").exists()
