"""Ctrl-C in the methods of the seismic package and in ``sparseinv seismic``: nothing found is lost."""

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
    deblend,
    deconvolution,
    deconvolve,
    deconvolve_layers,
    demultiple,
    interpolate_traces,
    linear_events,
    load_gather,
    parabolic_events,
    radon_panel,
    ricker,
    save_gather,
    snr_db,
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
MOVEOUTS = np.linspace(-0.05, 0.2, 11)
SECTION = linear_events(64, DT, 10.0 * np.arange(24), times=[0.08], slopes=[3e-4], amplitudes=[1], f0=25)
LIVE = np.random.default_rng(0).random(24) < 0.7
FIRED = 0.08 + 0.2 * np.arange(8) + np.random.default_rng(0).uniform(-0.08, 0.08, 8)
SHOTS = linear_events(100, DT, range(8), times=[0.1], slopes=[0.0], amplitudes=[1], f0=25)
RECORD = Blending((8, 100), FIRED, DT) @ SHOTS.ravel()

#: name of each method: what it is called with
METHODS: dict[str, Any] = {
    "decon": lambda: deconvolve(TRACES, WAVELET, DT),
    "decon, own rule": lambda: deconvolve(
        TRACES, WAVELET, DT, select=si.Discrepancy(sigma=0.01), common=False
    ),
    "decon, common": lambda: deconvolve(TRACES, WAVELET, DT, common=True),
    "decon, coupled": lambda: deconvolve(TRACES, WAVELET, DT, coupled=True),
    "layers": lambda: deconvolve_layers(TRACES[:2], WAVELET, DT, 0.012),
    "interpolate": lambda: interpolate_traces(SECTION, LIVE, dictionary="fk"),
    "interpolate, L0": lambda: interpolate_traces(SECTION, LIVE, dictionary="fk", penalty=si.L0(0.01)),
    "radon": lambda: demultiple(FLAT + BENT, OFFSETS, DT, MOVEOUTS, 0.05, band=(1, 80), reweight=1),
    "radon, L0": lambda: radon_panel(FLAT + BENT, OFFSETS, DT, MOVEOUTS, penalty=si.L0(), band=(1, 80)),
    "radon, refit": lambda: radon_panel(
        FLAT + BENT, OFFSETS, DT, MOVEOUTS, penalty=si.L1(0.05), refit=True, band=(1, 80)
    ),
    "deblend": lambda: deblend(RECORD, FIRED, DT, 100, window=(8, 50)),
}


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
    monkeypatch.setattr("sparseinv.seismic.thin_beds._LARGEST", 10)
    return found


def results_of(answer: Any) -> list[Any]:
    answer = getattr(answer, "radon", answer)
    return [answer.result] if hasattr(answer, "result") else list(answer.results)


def estimate_of(answer: Any) -> Array:
    names = ("reflectivity", "estimate", "multiples", "panel")
    return np.asarray(next(getattr(answer, name) for name in names if hasattr(answer, name)))


@pytest.mark.parametrize("name", METHODS)
def test_the_answer_so_far_is_in_the_interruption(name: str, ctrl_c: SimpleNamespace) -> None:
    whole = METHODS[name]()
    total = ctrl_c.taken
    sizes, said, nothing = [], set(), 0
    for at in np.unique(np.linspace(2, total - 1, 6).astype(int)):
        ctrl_c.at, ctrl_c.taken = int(at), 0
        try:
            with pytest.raises(KeyboardInterrupt) as caught:
                METHODS[name]()
        finally:
            ctrl_c.at = math.inf
        if not isinstance(caught.value, si.Interrupted):
            nothing += 1
            continue
        answer = caught.value.result
        assert type(answer) is type(whole)
        assert estimate_of(answer).shape == estimate_of(whole).shape
        assert np.isfinite(estimate_of(answer)).all()
        for result in results_of(answer):
            said.add(result.status)
            assert not result.success or result.certificate.relative <= result.tol
            assert result.status is not si.Status.MAX_TIME
        sizes.append(float(np.linalg.norm(estimate_of(answer))))
    assert nothing <= 2, at  # set-up, and levels of which not one had been tried
    assert si.Status.INTERRUPTED in said or "refit" in name
    assert sizes[-1] > 0.3 * np.linalg.norm(estimate_of(whole))


def test_traces_that_were_done_stay_done(ctrl_c: SimpleNamespace) -> None:
    for name in ("decon", "decon, own rule"):
        ctrl_c.taken = 0
        whole = METHODS[name]()
        ctrl_c.at, ctrl_c.taken = ctrl_c.taken // 2, 0
        with pytest.raises(si.Interrupted) as caught:
            METHODS[name]()
        ctrl_c.at = math.inf
        answer = caught.value.result
        statuses = [result.status for result in answer.results]
        done = statuses.index(si.Status.INTERRUPTED)
        assert 0 < done < 4
        np.testing.assert_array_equal(answer.reflectivity[:done], whole.reflectivity[:done])
        np.testing.assert_array_equal(answer.refitted[:done], whole.refitted[:done])
        assert not answer.reflectivity[done + 1 :].any()
        assert len(answer.results) == answer.lam.size == 5


def test_a_level_is_kept_that_hold_out_had_tried(ctrl_c: SimpleNamespace) -> None:
    METHODS["deblend"]()
    ctrl_c.at, ctrl_c.taken = int(0.4 * ctrl_c.taken), 0
    with pytest.raises(si.Interrupted) as caught:
        METHODS["deblend"]()
    answer = caught.value.result
    assert "interrupted after" in answer.rule
    assert 0 < answer.selection.lams.size < 7
    assert answer.result.status is si.Status.INTERRUPTED
    assert snr_db(SHOTS, answer.estimate) > 3.0
    value = 0.5 * np.sum((Blending((8, 100), FIRED, DT) @ answer.estimate.ravel() - RECORD) ** 2)
    value += answer.lam * np.abs(answer.coefficients).sum()
    assert answer.result.objective == pytest.approx(value, rel=1e-9)


def test_ctrl_c_in_the_refit_leaves_the_shrunken_amplitudes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deconvolution, "nonnegative_fit", interrupt)
    with pytest.raises(si.Interrupted) as caught:
        deconvolve(TRACES, WAVELET, DT)
    answer = caught.value.result
    assert answer.success
    np.testing.assert_array_equal(answer.refitted, answer.reflectivity)


# -------------------------------------------------------------------------------------- the command line


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
    assert main([*words, "--report", "page.html"]) == INTERRUPTED == 130
    found = load_gather(out)
    assert found.traces.shape == shape
    assert np.linalg.norm(found.traces) > 0.0
    said = capsys.readouterr().out
    assert "INTERRUPTED  by Ctrl-C; what was found until then is written" in said
    assert f"written      {out.name}" in said
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
