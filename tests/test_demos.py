"""The demos at a small size: sparsity wins where it should, files appear, what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseinv.cli import CERTIFIED, main
from sparseinv.operators import adjoint_test
from sparseinv.problems import DEMOS, ecg, run_demo, shots, solve_demo, spikes
from sparseinv.problems.report import Missing, Table, best_level, save
from sparseinv.seismic import Gather, linear_events, mobil_gather, ricker, write_su

DATA = Path(__file__).resolve().parent.parent / "../shared/data"
field_data = pytest.mark.skipif(not DATA.is_dir(), reason="no field data at ../shared/data")


@pytest.fixture(autouse=True)
def _no_data_by_accident(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the environment and a filled cache of the developer out of the tests."""
    monkeypatch.delenv("SPARSEINV_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 10_000


# ------------------------------------------------------------------------------------------------------ ecg


def test_ecg(tmp_path: Path) -> None:
    """Every sparse answer beats zero-fill, linear interpolation and L2, and carries its certificate."""
    demo = solve_demo("ecg", size="s")
    bounded, free = demo.tables
    best = max(bounded.score(name) for name in ("zero-fill", "linear", "L2"))
    assert bounded.score("L1") > best + 1.0
    assert bounded.score("reweighted L1") > best + 0.5
    assert bounded.score("L0") > bounded.score("linear")
    assert demo.certified
    l1 = next(row for row in bounded.rows if row.method == "L1")
    assert "global within" in l1.certificate
    assert l1.products > 0
    assert any("no method can know" in note for note in free.notes)
    assert {path.name for path in save(demo, tmp_path)} == {"ecg.json", "ecg.png"}
    assert png(tmp_path / "ecg.png")


@pytest.mark.parametrize("jittered", [True, False])
def test_sample_positions(jittered: bool) -> None:
    at = ecg.sample_positions(1000, 0.3, np.random.default_rng(0), jittered=jittered)
    assert at.size == 300
    assert (np.diff(at) > 0).all()
    assert 0 <= at[0] <= at[-1] < 1000
    if jittered:
        assert np.diff(at).max() <= 7


def test_dictionary_is_a_tight_frame() -> None:
    """All samples of all shifts: the synthesis times its adjoint is the identity."""
    D = ecg.Dictionary(128).sampled_at(np.arange(128))
    assert adjoint_test(D) < 1e-12
    v = np.random.default_rng(0).standard_normal(128)
    np.testing.assert_allclose(D.matvec(D.rmatvec(v)), v, atol=1e-12)


# --------------------------------------------------------------------------------------------------- ricker


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ricker(tmp_path: Path, seed: int) -> None:
    """Greedy choices miss most of the spikes, and say that an exchange helps; LocalSearch has them all."""
    demo = solve_demo("ricker", size="s", seed=seed)
    (table,) = demo.tables
    rows = {row.method: row for row in table.rows}
    assert rows["LocalSearch"].status == "CONVERGED"
    assert table.score("LocalSearch", "in place") == 1.0
    assert table.score("LocalSearch", "misfit/noise") < 1.3
    for name in ("OMP", "OLS", "OLS with removals"):
        assert rows[name].status == "EXHAUSTED"
        assert table.score(name, "in place") <= 0.5
        assert table.score(name, "misfit/noise") > 5
    assert "OMP: exchanging one of its columns would lower the objective" in table.notes[1]
    assert "LocalSearch: no addition, removal or exchange of a column lowers" in table.notes[1]
    assert demo.certified
    if seed == 0:
        assert {path.name for path in save(demo, tmp_path)} == {"ricker.json", "ricker.png"}
        assert png(tmp_path / "ricker.png")


# --------------------------------------------------------------------------------------------------- spikes


def test_spikes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without field data the synthetic half runs and the other half says what it misses."""
    demo = solve_demo("spikes", size="s", echo=True)
    assert "SKIPPED" in capsys.readouterr().out
    (table,) = demo.tables
    assert table.score("L1") > table.score("L2") + 2.0
    for name in ("L1", "reweighted L1", "reweighted L2"):
        assert table.score(name) > table.score("data as they are")
        assert table.score(name, "spike F1") > table.score("L2", "spike F1") + 0.2
    assert demo.certified
    save(demo, tmp_path)
    assert png(tmp_path / "spikes.png")


def test_section_from_a_folder(tmp_path: Path) -> None:
    """A section made here in place of the real one: all methods fit alike, sparse ones with less."""
    rng = np.random.default_rng(0)
    wavelet, _, center = ricker(25.0, 0.004, duration=0.16)
    reflectivity = np.where(rng.random((3, 80)) < 0.06, rng.standard_normal((3, 80)), 0.0)
    data = np.array([np.convolve(r, wavelet)[center : center + 80] for r in reflectivity])
    data += 0.03 * rng.standard_normal(data.shape)
    write_su(tmp_path / "small_stack.su", Gather(data, 0.004))
    write_su(tmp_path / "wavelet_for_small_stack.su", Gather(wavelet[None], 0.004))
    demo = solve_demo("spikes", size="s", data=tmp_path)
    table = demo.tables[1]
    count = {row.method: row.nonzeros for row in table.rows}
    assert count["reweighted L1"] < count["L1"] < count["L2"]
    for name in ("L2", "L0", "reweighted L1"):
        assert abs(table.score(name) - table.score("L1")) < 2.0
    assert "SNR" not in table.scores
    save(demo, tmp_path)
    assert png(tmp_path / "section.png")


@field_data
def test_real_section() -> None:
    """L1 at lam = 0.55 reaches an objective below that of iteratively reweighted least squares (31.54)."""
    table = solve_demo("spikes", size="s", data=DATA).tables[1]
    assert table.score("L1", "objective") <= 31.54
    assert table.certified


def test_block_diagonal() -> None:
    from sparseinv.operators import Convolution

    x = np.random.default_rng(0).standard_normal((3, 20))
    wavelet = np.array([0.5, 2.0, -1.0])
    A = spikes.block_diagonal(Convolution(20, wavelet), 3)
    np.testing.assert_allclose(A @ x.ravel(), Convolution((3, 20), wavelet) @ x.ravel(), atol=1e-12)


# ---------------------------------------------------------------------------------------------------- shots


def test_linear_interpolation_is_exact_on_lines() -> None:
    window = np.outer(np.arange(7.0), [1.0, -2.0]) + 3.0
    kept = np.array([True, False, True, False, False, True, True])
    holes = np.where(kept[:, None], window, np.nan)
    np.testing.assert_allclose(shots.linear_interpolation(holes, kept), window)


def test_drop_shots_keeps_the_ends() -> None:
    kept = shots.drop_shots(60, 0.4, np.random.default_rng(0))
    assert kept.sum() == 36
    assert kept[[0, -1]].all()


def gather(slopes: list[float]) -> np.ndarray:
    return linear_events(
        96, 0.004, np.arange(24.0), times=[0.08, 0.2], slopes=slopes, amplitudes=[1.0, -0.7], f0=25.0
    )  # fmt: skip


def test_sloping_events_without_field_data() -> None:
    """Sparsity follows slopes that smoothness cannot; kept shots are left as they are."""
    kept = shots.drop_shots(24, 0.4, np.random.default_rng(1))
    experiment = shots.Experiment(gather([0.008, 0.005]), kept)
    table = Table("synthetic", ("missing [dB]", "all [dB]"))
    estimates = shots._steep(table, experiment)
    others = max(table.score(name) for name in ("zero-fill", "linear", "L2"))
    for name in ("L1", "L0", "reweighted L1"):
        assert table.score(name) > others + 5.0
        np.testing.assert_array_equal(estimates[name][kept], experiment.window[kept])
    assert table.certified


def test_flat_events_without_field_data() -> None:
    """With weights that rise with wavenumber L1 keeps up with linear interpolation of flat events."""
    kept = shots.drop_shots(24, 0.4, np.random.default_rng(1))
    window = gather([0.0, 0.0]) + 0.03 * np.random.default_rng(0).standard_normal((24, 96))
    table = Table("synthetic", ("missing [dB]", "all [dB]"))
    shots._flat(table, shots.Experiment(window, kept))
    assert table.score("L1, lam_j") > table.score("linear")
    assert table.score("L1, lam_j") > table.score("L2") + 3.0


@field_data
def test_shots(tmp_path: Path) -> None:
    demo = solve_demo("shots", size="s", data=DATA)
    flat, steep = demo.tables
    assert flat.score("L1, lam_j") > flat.score("linear") - 0.2
    assert steep.score("L1") > max(steep.score(name) for name in ("zero-fill", "linear", "L2")) + 5.0
    assert demo.certified
    save(demo, tmp_path)
    assert png(tmp_path / "shots.png")


def test_missing_field_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a wrong folder nor a machine without network is an error: the demo says what it skipped."""
    with pytest.raises(Missing, match="was not found"):
        solve_demo("shots", data=tmp_path)

    (tmp_path / "broken.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="is not the expected file"):
        solve_demo("shots", data=tmp_path / "broken.npy")

    def offline(path: Any = None, download: bool = False) -> Gather:
        if download:
            raise ConnectionError("the download of mobil.npy failed: no route")
        return mobil_gather(path)

    monkeypatch.setattr(shots, "mobil_gather", offline)
    assert run_demo("shots", out=tmp_path / "out")
    out = capsys.readouterr().out
    assert "fetching" in out
    assert "SKIPPED: the download of mobil.npy failed" in out
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------- the frame


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints what the tables hold and writes the same numbers as JSON."""
    folder = tmp_path / "new" / "out"
    assert main(["demo", "spikes", "--size", "s", "--seed", "3", "--out", str(folder)]) == CERTIFIED
    out = capsys.readouterr().out
    (table,) = json.loads((folder / "spikes.json").read_text())
    methods = [row["method"] for row in table["rows"]]
    assert methods[1:] == ["L2", "L1", "L0", "reweighted L2", "reweighted L1"]
    for row in table["rows"]:
        assert row["method"] in out
        assert row["certificate"] in out
    assert "lambda without the truth" in out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == CERTIFIED
    out = capsys.readouterr().out
    assert all(name in out for name in DEMOS)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="choose from ecg, ricker, spikes, shots"):
        solve_demo("nothing")


def test_seeds_repeat() -> None:
    """The same seed gives the same problem, another one another."""
    first, again, other = (spikes.synthetic_gather(2, 50, np.random.default_rng(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()


def test_table() -> None:
    table = Table("title", ("SNR [dB]", "F1"))
    table.baseline("zero-fill", 0.0, None)
    assert table.certified
    assert np.isnan(table.score("zero-fill", "F1"))
    table.note("word " * 40)
    assert max(map(len, str(table).splitlines())) <= 110
    assert best_level([4.0, 2.0, 1.0], lambda level: (level - 2.0) ** 2) == 2.0
    assert best_level([4.0, 2.0, 1.0], lambda level: 0.0) == 4.0
