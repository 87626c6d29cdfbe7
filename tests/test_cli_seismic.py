"""``sparseinv seismic``: from file to file, with headers, reports, parameter files and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseinv.cli import BAD_INPUT, CERTIFIED, NOT_CERTIFIED, main
from sparseinv.operators import Blending
from sparseinv.seismic import (
    Gather,
    hyperbolic_events,
    linear_events,
    load_gather,
    ricker,
    save_gather,
    snr_db,
    sparse_spikes,
)

Array = np.ndarray[Any, Any]


def blurred(traces: int = 4, samples: int = 120) -> tuple[Array, Array]:
    """Return reflectivity and the traces under a Ricker wavelet of 30 Hz at 4 ms."""
    wavelet, _, center = ricker(30.0, 0.004)
    truth = np.stack([sparse_spikes(samples, 4, min_gap=10, rng=k) for k in range(traces)])
    clean = np.stack([np.convolve(trace, wavelet)[center : center + samples] for trace in truth])
    return truth, clean + 0.01 * np.random.default_rng(9).standard_normal(clean.shape)


@pytest.fixture
def section(tmp_path: Path) -> tuple[Array, Path]:
    truth, traces = blurred()
    path = tmp_path / "in.su"
    save_gather(path, Gather(traces.astype(np.float32), 0.004, np.arange(4) * 100.0))
    return truth, path


def test_decon_finds_the_spikes_and_keeps_headers(
    section: tuple[Array, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, path = section
    out, page = tmp_path / "out.su", tmp_path / "page.html"
    raw = bytearray(path.read_bytes())
    raw[200:204] = b"keep"  # a field of the first header that the library does not know
    path.write_bytes(raw)
    assert (
        main(["seismic", "decon", str(path), str(out), "--ricker", "30", "--report", str(page)]) == CERTIFIED
    )
    found = load_gather(out)
    assert np.linalg.norm(found.traces - truth) < 0.3 * np.linalg.norm(truth)
    written = out.read_bytes()
    for k in range(4):
        at = k * (240 + 4 * 120)
        assert written[at : at + 240] == raw[at : at + 240]
    said = capsys.readouterr().out
    assert "4 of 4 solves converged" in said
    assert "pivotal" in said
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 1
    assert "http" not in text.replace("https://www.w3.org", "")
    assert "pivotal" in text


def test_segy_in_segy_out(tmp_path: Path) -> None:
    pytest.importorskip("segyio", reason="SEG-Y needs segyio")
    _, traces = blurred(2)
    path, out = tmp_path / "in.sgy", tmp_path / "out.sgy"
    save_gather(path, Gather(traces.astype(np.float32), 0.004, np.array([5.0, 10.0])))
    assert main(["seismic", "decon", str(path), str(out), "--ricker", "30"]) == CERTIFIED
    before, after = path.read_bytes(), out.read_bytes()
    assert before != after
    assert before[:3840] == after[:3840]
    np.testing.assert_array_equal(load_gather(out).offsets, [5.0, 10.0])


def test_parameters_come_from_a_file_and_give_way(
    section: tuple[Array, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = section
    settings = tmp_path / "settings.toml"
    settings.write_text("ricker = 30\nlam = 0.5\ncommon = false\nmax_time = 60\n", encoding="utf-8")
    out = tmp_path / "out.npz"
    assert main(["seismic", "decon", str(path), str(out), "--params", str(settings)]) == CERTIFIED
    assert "0.5: given" in capsys.readouterr().out
    arguments = ["seismic", "decon", str(path), str(out), "--params", str(settings), "--lam", "0.25"]
    assert main(arguments) == CERTIFIED
    assert "0.25: given" in capsys.readouterr().out
    settings.write_text("[section]\nlam = 1\n", encoding="utf-8")
    assert main(arguments) == BAD_INPUT
    assert "holds a table [section]" in capsys.readouterr().err
    settings.write_text("lam = = 1\n", encoding="utf-8")
    assert main(arguments) == BAD_INPUT
    assert "is no TOML file" in capsys.readouterr().err
    settings.write_text("lamb = 1\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main(arguments)


@pytest.mark.parametrize("words", ["--ormsby 5,10,40,60", "--ormsby=5,10,40,60", "--wavelet w.npy"])
@pytest.mark.parametrize("line", ["ricker = 30", "ormsby = [5, 10, 40, 50]", "wavelet = 'absent.npy'"])
def test_the_wavelet_of_the_command_line_wins(
    section: tuple[Array, Path], tmp_path: Path, words: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", ricker(20.0, 0.004)[0])
    Path("p.toml").write_text(f"{line}\nzero_time = 3\nlam = 0.5\n", encoding="utf-8")
    arguments, level = ["seismic", "decon", str(section[1])], ["--lam", "0.5"]
    assert main([*arguments, "plain.npy", *words.split(), *level]) == CERTIFIED
    for given in (["--params", "p.toml", *words.split()], [*words.split(), "--params", "p.toml"]):
        assert main([*arguments, "out.npy", *given]) == CERTIFIED
        np.testing.assert_array_equal(np.load("out.npy"), np.load("plain.npy"))
    Path("p.toml").write_text("zero_time = 3\n", encoding="utf-8")  # of the wavelet that is given here
    assert main([*arguments, "late.npy", "--params", "p.toml", *words.split(), *level]) == CERTIFIED
    assert not np.array_equal(np.load("late.npy"), np.load("plain.npy"))


def test_two_wavelets_in_one_place_are_refused(section: tuple[Array, Path], tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("ricker = 30\normsby = [5, 10, 40, 60]\n", encoding="utf-8")
    arguments = ["seismic", "decon", str(section[1]), str(tmp_path / "out.npy")]
    for words in (["--params", str(tmp_path / "p.toml")], ["--ricker", "30", "--ormsby", "5,10,40,60"]):
        with pytest.raises(SystemExit):
            main([*arguments, *words])
    assert not (tmp_path / "out.npy").exists()


def test_what_did_not_converge_is_written_and_says_so(
    section: tuple[Array, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = section
    out = tmp_path / "out.npy"
    arguments = ["seismic", "decon", str(path), str(out), "--ricker", "30", "--lam", "1e-3", "--coupled"]
    assert main([*arguments, "--max-time", "1e-9"]) == NOT_CERTIFIED
    assert "MAX_TIME" in capsys.readouterr().out
    assert np.load(out).shape == (4, 120)


REFUSALS: list[tuple[list[str], str]] = [
    (["IN", "out.txt", "--ricker", "30"], "out.txt ends with '.txt'"),
    (["IN", "absent/out.su", "--ricker", "30"], "the folder of absent/out.su does not exist"),
    (["IN", "in.su", "--ricker", "30"], "OUT is IN"),
    (["IN", "out.su", "--ricker", "30", "--report", "page.pdf"], "must end with .png or .html"),
    (["absent.su", "out.su", "--ricker", "30"], "absent.su does not exist"),
    (["IN", "out.su", "--ricker", "200"], "f0 is 200"),
    (["IN", "out.su", "--wavelet", "IN"], "holds 4 traces, but one wavelet is needed"),
    (["IN", "out.su", "--ricker", "30", "--lam", "-1"], "lam"),
    (
        ["IN", "out.su", "--ricker", "30", "--report", "absent/page.png"],
        "the folder of absent/page.png does not",
    ),
    (["IN", "FOLDER", "--ricker", "30"], "is a folder, but the name of a file is needed"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS)
def test_refusals_come_before_any_output(
    section: tuple[Array, Path], tmp_path: Path, arguments: list[str], sentence: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _, path = section
    monkeypatch.chdir(tmp_path)
    before = path.read_bytes()
    (tmp_path.parent / "folder.su").mkdir(exist_ok=True)
    named = {"IN": str(path), "FOLDER": "../folder.su"}
    assert main(["seismic", "decon", *(named.get(word, word) for word in arguments)]) == BAD_INPUT
    assert sentence in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["in.su"]


@pytest.mark.parametrize(
    ("task", "arguments", "sentence"),
    [
        ("decon", ["third.npz", "--ricker", "30"], "dt is 0.00333333 s, but SU"),
        ("decon", ["odd.npz", "--ricker", "30"], "no multiple of 0.0001 m"),
        ("interpolate", ["in.su", "--grid", "33.3333333"], "no multiple of 0.0001 m"),
        ("radon", ["odd.npz", "--moveouts", "0,1,9", "--cut", "0.5"], "no multiple of 0.0001 m"),
        ("deblend", ["one.npz", "--times", "times.txt", "--samples", "9"], "dt is 0.00333333 s, but SU"),
    ],
)
def test_what_the_output_cannot_hold_is_refused_before_the_work(
    section: tuple[Array, Path], tmp_path: Path, task: str, arguments: list[str], sentence: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sparseinv.solve", None)  # nothing is solved
    traces = load_gather(section[1]).traces
    save_gather("third.npz", Gather(traces, 1 / 300, 10.0 * np.arange(4)))
    save_gather("odd.npz", Gather(traces, 0.004, np.arange(4) / 3))
    save_gather("one.npz", Gather(traces[:1], 1 / 300))
    np.savetxt("times.txt", np.arange(3.0), header="fired at")
    assert main(["seismic", task, arguments[0], "out.su", *arguments[1:]]) == BAD_INPUT
    assert sentence in capsys.readouterr().err
    assert not Path("out.su").exists()


@pytest.mark.parametrize("name", ["empty.npy", "empty.npz", "cut.npz", "text.npy", "other.npz"])
def test_damaged_arrays_are_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    if name == "cut.npz":
        save_gather(path, Gather(np.zeros((2, 9)), 0.004))
        path.write_bytes(path.read_bytes()[:-7])
    elif name == "other.npz":
        save_gather(tmp_path / "a.npy", Gather(np.zeros((2, 9)), 0.004))
        (tmp_path / "a.npy").replace(path)
    else:
        path.write_bytes(b"words" * 9 * name.startswith("text"))
    out = tmp_path / "out.npy"
    assert main(["seismic", "decon", str(path), str(out), "--dt", "0.004", "--ricker", "30"]) == BAD_INPUT
    assert f"{name} is damaged, or no {path.suffix} file" in capsys.readouterr().err
    save_gather(tmp_path / "in.npy", Gather(np.ones((2, 9)), 0.004))
    if path.suffix == ".npy":
        words = [str(tmp_path / "in.npy"), str(out), "--dt", "0.004", "--wavelet", str(path)]
        assert main(["seismic", "decon", *words]) == BAD_INPUT
        assert name in capsys.readouterr().err


def test_numbers_in_text_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, source, out = tmp_path / "wavelet.txt", tmp_path / "in.npy", tmp_path / "out.npy"
    np.save(source, np.eye(2, 20, 5))
    words = ["seismic", "decon", str(source), str(out), "--dt", "0.004", "--wavelet", str(file)]
    file.write_text("# a wavelet\n-0.5, 1\n-0.5  # its end\n", encoding="utf-8")
    assert main([*words, "--lam", "0.1"]) == CERTIFIED
    for text, sentence in (("# nothing\n", "holds no numbers"), ("1 two", "something that is no number")):
        file.write_text(text, encoding="utf-8")
        assert main(words) == BAD_INPUT
        assert "wavelet.txt holds" in (said := capsys.readouterr().err)
        assert sentence in said


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--window=8,b", "'8,b' is no list of numbers"),
        ("--window=8,2.5", "holds fractions"),
        ("--window=8,inf", "not finite"),
        ("--window=8", "holds 1 numbers, but 2 are needed"),
    ],
)
def test_lists_of_numbers_are_checked(
    tmp_path: Path, option: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["seismic", "deblend", "in.npy", str(tmp_path / "out.npy"), option])
    assert sentence in capsys.readouterr().err


def test_an_abbreviation_does_not_lose_the_parameters(section: tuple[Array, Path], tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("lam = 0.5\n", encoding="utf-8")
    words = [str(section[1]), str(tmp_path / "out.su"), "--ricker", "30", "--param", str(tmp_path / "p.toml")]
    with pytest.raises(SystemExit):
        main(["seismic", "decon", *words])


def test_a_damaged_file_leaves_no_output(
    section: tuple[Array, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = section
    path.write_bytes(path.read_bytes()[:-10])
    assert main(["seismic", "decon", str(path), str(tmp_path / "out.su"), "--ricker", "30"]) == BAD_INPUT
    assert "it ends inside trace 3" in capsys.readouterr().err
    assert not (tmp_path / "out.su").exists()


def test_multiples_go_and_primaries_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hyperbolas of two velocities: after moveout correction with the slower one's the other stays flat."""
    offsets = np.arange(50.0, 800.0, 50.0)
    options = {"samples": 200, "dt": 0.004, "offsets": offsets, "f0": 20.0}
    flat = hyperbolic(options, 0.45, 2500.0)
    bent = hyperbolic(options, 0.40, 1500.0)
    path, out, model = (tmp_path / name for name in ("in.su", "out.su", "model.su"))
    save_gather(path, Gather((flat + bent).astype(np.float32), 0.004, offsets))
    arguments = [
        "--moveouts=-0.1,0.3,41", "--cut", "0.08", "--band", "2,60", "--velocities", "0.3,2500,0.6,2500",
    ]  # fmt: skip
    assert main(["seismic", "radon", str(path), str(out), *arguments]) == CERTIFIED
    near = slice(20, 180)  # what leaves the record at its end is not described by whole curves
    primaries = load_gather(out).traces
    assert np.linalg.norm((primaries - flat)[:, near]) < 0.35 * np.linalg.norm(bent[:, near])
    assert main(["seismic", "radon", str(path), str(model), *arguments, "--write", "multiples"]) == CERTIFIED
    known = load_gather(path).traces != 0.0
    total = primaries + load_gather(model).traces
    np.testing.assert_allclose(total[known], (flat + bent)[known], atol=1e-4)
    np.testing.assert_array_equal(load_gather(out).offsets, offsets)
    assert "moveout over 0.08" in capsys.readouterr().out


def hyperbolic(options: dict[str, Any], time: float, velocity: float) -> Array:
    return hyperbolic_events(
        options["samples"], options["dt"], options["offsets"], times=[time], velocities=[velocity],
        amplitudes=[1.0], f0=options["f0"],
    )  # fmt: skip


def test_shots_that_overlap_are_separated(tmp_path: Path) -> None:
    shots = linear_events(100, 0.004, np.arange(8.0), times=[0.1], slopes=[0.0], amplitudes=[1.0], f0=25.0)
    fired = 0.08 + 0.2 * np.arange(8) + np.random.default_rng(0).uniform(-0.08, 0.08, 8)
    record = Blending((8, 100), fired, 0.004) @ shots.ravel()
    source, times, out = tmp_path / "record.npy", tmp_path / "times.txt", tmp_path / "shots.sgy"
    np.save(source, record)
    np.savetxt(times, fired)
    arguments = [
        "seismic", "deblend", str(source), str(out), "--dt", "0.004", "--times", str(times), "--samples",
        "100", "--window", "8,50", "--lam", "0.01", "--report", str(tmp_path / "page.png"),
    ]  # fmt: skip
    assert main(arguments) == CERTIFIED
    assert snr_db(shots, load_gather(out).traces) > 20
    assert (tmp_path / "page.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def crossing(count: int, spacing: float) -> tuple[Array, Array]:
    """Return offsets and a section of two sloping events."""
    offsets = spacing * np.arange(count)
    return offsets, linear_events(
        100, 0.004, offsets, times=[0.1, 0.3], slopes=[4e-4, -3e-4], amplitudes=[1.0, -0.8], f0=20.0
    )


def test_offsets_missing_on_a_grid_are_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offsets, full = crossing(32, 12.5)
    kept = np.ones(32, dtype=bool)
    kept[[3, 8, 9, 14, 20, 27]] = False
    path, out, page = tmp_path / "in.npz", tmp_path / "out.npz", tmp_path / "page.html"
    save_gather(path, Gather(full[kept], 0.004, offsets[kept]))
    arguments = ["seismic", "interpolate", str(path), str(out), "--dictionary", "fk", "--grid", "12.5"]
    assert main([*arguments, "--report", str(page)]) == CERTIFIED
    found = load_gather(out)
    np.testing.assert_allclose(found.offsets, offsets)
    np.testing.assert_array_equal(found.traces[kept], full[kept])
    assert snr_db(full[~kept], found.traces[~kept]) > 10
    assert "6 of 32 traces" in capsys.readouterr().out
    assert "choice of lambda" not in page.read_text(encoding="utf-8")  # drawn, not written


def test_a_grid_of_half_metres_goes_into_files_with_headers(tmp_path: Path) -> None:
    pytest.importorskip("segyio", reason="SEG-Y needs segyio")
    offsets, full = crossing(32, 12.5)
    kept = np.ones(32, dtype=bool)
    kept[[3, 8, 9, 14, 20, 27]] = False
    for name in ("in.su", "in.sgy"):
        path, out = tmp_path / name, tmp_path / name.replace("in", "out")
        save_gather(path, Gather(full[kept].astype(np.float32), 0.004, offsets[kept]))
        words = ["seismic", "interpolate", str(path), str(out), "--dictionary", "fk", "--grid", "12.5"]
        assert main([*words, "--lam", "0.02"]) == CERTIFIED
        source, found = load_gather(path), load_gather(out)
        np.testing.assert_array_equal(found.offsets, offsets)
        np.testing.assert_array_equal(found.headers[kept], source.headers)


def test_dead_traces_are_filled_and_headers_kept(tmp_path: Path) -> None:
    offsets, full = crossing(32, 25.0)
    dead = np.array([5, 6, 17])
    holes = full.copy()
    holes[dead] = 0.0
    path, out = tmp_path / "in.su", tmp_path / "out.su"
    save_gather(path, Gather(holes.astype(np.float32), 0.004, offsets))
    arguments = ["seismic", "interpolate", str(path), str(out), "--dictionary", "fk", "--lam", "0.02"]
    assert main(arguments) == CERTIFIED
    assert snr_db(full[dead], load_gather(out).traces[dead]) > 8
    before, after = path.read_bytes(), out.read_bytes()
    size = 240 + 4 * 100
    for k in range(32):
        assert after[k * size : k * size + 240] == before[k * size : k * size + 240]
        assert (after[k * size : (k + 1) * size] == before[k * size : (k + 1) * size]) == (k not in dead)


TASK_REFUSALS: list[tuple[list[str], str]] = [
    (["radon", "IN", "out.su", "--moveouts", "0,1,2.5", "--cut", "0.1"], "a whole number from 2 on"),
    (["radon", "IN", "out.su", "--moveouts", "0,1,10", "--cut", "2"], "must lie on both sides"),
    (["radon", "IN", "out.su", "--moveouts", "0,1,10", "--cut", "0.1", "--velocities", "1,2,3"], "pairs"),
    (
        ["deblend", "IN", "out.su", "--times", "TIMES", "--samples", "10"],
        "holds 4 traces, but the continuous",
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), TASK_REFUSALS)
def test_tasks_refuse(
    section: tuple[Array, Path], tmp_path: Path, arguments: list[str], sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _, path = section
    np.savetxt(tmp_path / "times.txt", np.arange(3.0))
    named = {"IN": str(path), "TIMES": str(tmp_path / "times.txt"), "out.su": str(tmp_path / "out.su")}
    assert main(["seismic", *(named.get(word, word) for word in arguments)]) == BAD_INPUT
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out.su").exists()


def test_offsets_are_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "in.npy", np.zeros((4, 20)))
    arguments = ["seismic", "radon", str(tmp_path / "in.npy"), str(tmp_path / "out.npy"), "--dt", "0.004"]
    assert main([*arguments, "--moveouts", "0,1,10", "--cut", "0.1"]) == BAD_INPUT
    assert "states no offsets; pass --offsets" in capsys.readouterr().err


def test_a_report_on_traces_solved_together_says_so_in_place_of_an_empty_plot():
    """What solve_many finds through one Gram matrix has no history."""
    from sparseinv.seismic.report import Report
    from sparseinv.stopping import History

    data = np.zeros((3, 40))
    data[:, 20] = 1.0
    for histories, said in (({}, 0), ({"solve 1": History()}, 1)):
        _, axes = Report("title", data, data, data, 0.004, {}, histories=histories).draw()
        texts = [text.get_text() for text in axes[1, 1].texts]
        assert sum("keeps no record" in text for text in texts) == said
        assert not axes[1, 1].lines
