"""Wavelets, synthetic gathers, scores, files and the optional field data."""

from __future__ import annotations

import io
import math
import os
import subprocess
import tarfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseinv.operators import Convolution
from sparseinv.seismic import (
    Gather,
    field_data,
    gini,
    hyperbolic_events,
    klauder,
    linear_events,
    load_gather,
    mobil_gather,
    ormsby,
    parabolic_events,
    read_su,
    ricker,
    score_spikes,
    snr_db,
    sparse_spikes,
    write_su,
)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="no folder ../shared/data with field data")
Refusal = tuple[Callable[[], Any], type[Exception], str]

# --------------------------------------------------------------------------------------------- wavelets


@pytest.mark.parametrize(
    "wavelet",
    [ricker(25.0, 0.004), ormsby(5, 10, 50, 60, 0.004), klauder(8, 60, 8.0, 0.004), ricker(25, 0.004, 0.2)],
)
def test_wavelets_are_zero_phase(wavelet: tuple[np.ndarray, np.ndarray, int]) -> None:
    w, t, center = wavelet
    assert w.shape == t.shape == (2 * center + 1,)
    assert t[center] == 0.0
    assert w[center] == 1.0 == np.abs(w).max()
    np.testing.assert_array_equal(w, w[::-1])
    np.testing.assert_allclose(np.diff(t), 0.004, rtol=1e-12)


def amplitude(w: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    spectrum = np.abs(np.fft.rfft(w, 1 << 14))
    return np.fft.rfftfreq(1 << 14, dt), spectrum / spectrum.max()


def test_ricker_peaks_at_its_frequency() -> None:
    w, _, _ = ricker(30.0, 0.002)
    f, a = amplitude(w, 0.002)
    assert f[a.argmax()] == pytest.approx(30.0, abs=0.05)
    assert np.abs(w[[0, -1]]).max() < 1e-7
    assert abs(w.sum()) < 1e-6  # no energy at zero frequency
    # spectrum proportional to f^2 exp(-f^2 / f0^2)
    np.testing.assert_allclose(a, (f / 30) ** 2 * np.exp(1 - (f / 30) ** 2), atol=1e-5)


def test_ormsby_is_a_trapezoid() -> None:
    f, a = amplitude(ormsby(5, 10, 50, 60, 0.004, duration=8.0)[0], 0.004)
    assert a[(f > 12) & (f < 48)].min() > 0.95
    assert a[(f < 4) | (f > 62)].max() < 0.02
    assert a[np.abs(f - 55).argmin()] == pytest.approx(0.5, abs=0.03)


def test_klauder_is_the_autocorrelation_of_the_sweep() -> None:
    f1, f2, T, dt = 10.0, 60.0, 4.0, 0.001
    w, _, center = klauder(f1, f2, T, dt, duration=0.4)
    s = np.arange(0, T, dt)
    sweep = np.sin(2 * np.pi * (f1 * s + (f2 - f1) / T * s**2 / 2))
    correlation = np.correlate(sweep, sweep, "full")[s.size - 1 :][: center + 1]
    np.testing.assert_allclose(w[center:], correlation / correlation[0], atol=0.02)


def test_klauder_reaches_the_ends_of_the_autocorrelation() -> None:
    w, t, _ = klauder(10, 60, 1.0, 0.004, duration=2.0)
    assert t[-1] == pytest.approx(1.0)
    assert w[-1] == pytest.approx(0.0, abs=1e-12)


WAVELET_REFUSALS: list[Refusal] = [
    (
        lambda: ricker(125.0, 0.004),
        ValueError,
        "f0 is 125 Hz, but samples every 0.004 s represent .* up to 125 Hz",
    ),
    (lambda: ricker(-1.0, 0.004), ValueError, "f0 is -1.0, but it must be a finite number > 0"),
    (lambda: ricker(20.0, 0.0), ValueError, "dt is 0.0"),
    (lambda: ricker("20", 0.004), TypeError, "f0 is '20', but one real number"),
    (lambda: ricker(20.0, 0.004, -1), ValueError, "duration is -1.0"),
    (lambda: ormsby(10, 5, 50, 60, 0.004), ValueError, "the corners are 10, 5, 50, 60 Hz"),
    (lambda: ormsby(5, 10, 50, 130, 0.004), ValueError, "f4 is 130 Hz, but samples"),
    (lambda: klauder(60, 10, 4.0, 0.004), ValueError, "the sweep runs from 60 to 10 Hz"),
    (lambda: klauder(10, 60, 1.0, 0.004, 3.0), ValueError, "the autocorrelation lasts 2 sweep = 2.0 s"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), WAVELET_REFUSALS)
def test_bad_wavelets_are_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


# ----------------------------------------------------------------------------------------- reflectivity


def test_sparse_spikes_keep_their_promises() -> None:
    r = sparse_spikes(60, 8, 200, min_gap=5, min_amplitude=0.3, rng=7)
    assert r.shape == (200, 60)
    for trace in r:
        at = np.flatnonzero(trace)
        assert at.size == 8
        assert np.diff(at).min() >= 5
        assert np.abs(trace[at]).min() >= 0.3
    np.testing.assert_array_equal(r, sparse_spikes(60, 8, 200, min_gap=5, min_amplitude=0.3, rng=7))
    assert (sparse_spikes(60, 8, rng=1) != sparse_spikes(60, 8, rng=2)).any()
    assert not sparse_spikes(10, 0).any()
    assert (sparse_spikes(9, 5, min_gap=2) != 0).tolist() == [True, False] * 4 + [True]


def test_sparse_spikes_are_uniform_over_admissible_sets() -> None:
    admissible = [c for c in combinations(range(6), 2) if c[1] - c[0] >= 3]
    traces = sparse_spikes(6, 2, 3000, min_gap=3)
    counts = {c: 0 for c in admissible}
    for trace in traces:
        counts[tuple(np.flatnonzero(trace).tolist())] += 1
    expected = 3000 / len(admissible)
    assert max(abs(n - expected) for n in counts.values()) < 5 * math.sqrt(expected)


def test_events_arrive_when_they_should() -> None:
    dt, h = 0.001, np.array([0.0, 100.0, 250.0, 500.0])
    common: dict[str, Any] = {"amplitudes": [2.0], "f0": 30.0}
    gathers = {
        "linear": (linear_events(700, dt, h, times=[0.1], slopes=[4e-4], **common), 0.1 + 4e-4 * h),
        "parabolic": (
            parabolic_events(700, dt, h, times=[0.1], moveouts=[0.25], **common),
            0.1 + 0.25 * (h / 500) ** 2,
        ),
        "hyperbolic": (
            hyperbolic_events(700, dt, h, times=[0.2], velocities=[1500.0], **common),
            np.sqrt(0.04 + (h / 1500) ** 2),
        ),
    }
    for name, (gather, arrivals) in gathers.items():
        assert gather.shape == (4, 700)
        np.testing.assert_allclose(gather.argmax(axis=1) * dt, arrivals, atol=0.51 * dt, err_msg=name)
        assert gather.max() == pytest.approx(2.0)


def test_events_add_up() -> None:
    h = np.arange(5) * 50.0
    both = parabolic_events(100, 0.004, h, times=[0.1, 0.2], moveouts=[0.0, 0.1], amplitudes=[1, -1], f0=25)
    first = parabolic_events(100, 0.004, h, times=[0.1], moveouts=[0.0], amplitudes=[1], f0=25)
    second = parabolic_events(100, 0.004, h, times=[0.2], moveouts=[0.1], amplitudes=[-1], f0=25)
    np.testing.assert_allclose(both, first + second, atol=1e-15)
    wide = parabolic_events(
        100, 0.004, h, times=[0.1], moveouts=[0.4], amplitudes=[1], f0=25, reference=400.0
    )
    np.testing.assert_allclose(
        wide, parabolic_events(100, 0.004, h, times=[0.1], moveouts=[0.1], amplitudes=[1], f0=25), atol=1e-12
    )


def test_an_event_on_a_sample_is_a_convolved_spike() -> None:
    w, _, center = ricker(25.0, 0.004)
    spikes = np.zeros(100)
    spikes[40] = 1.5
    gather = linear_events(100, 0.004, [0.0], times=[0.16], slopes=[0.0], amplitudes=[1.5], f0=25.0)
    np.testing.assert_allclose(Convolution(100, w, center) @ spikes, gather[0], atol=1e-6)


MODEL_REFUSALS: list[Refusal] = [
    (lambda: sparse_spikes(10, 11), ValueError, "11 spikes 1 samples apart do not fit into 10 samples"),
    (lambda: sparse_spikes(10, 4, min_gap=4), ValueError, "4 spikes 4 samples apart do not fit"),
    (lambda: sparse_spikes(10, 2, min_amplitude=-1), ValueError, "min_amplitude is -1.0"),
    (lambda: sparse_spikes(10.5, 2), TypeError, "n_samples is 10.5"),
    (
        lambda: linear_events(9, 0.01, [0], times=[0, 1], slopes=[0], amplitudes=[1], f0=20),
        ValueError,
        "each event needs one entry in each list, but there are 2 times, 1 slopes, 1 amplitudes",
    ),
    (
        lambda: linear_events(9, 0.01, [0], times=[], slopes=[], amplitudes=[], f0=20),
        ValueError,
        "at least one event",
    ),
    (
        lambda: linear_events(9, 0.01, 0.0, times=[0], slopes=[0], amplitudes=[1], f0=20),
        ValueError,
        r"offsets has shape \(\)",
    ),
    (
        lambda: linear_events(9, 0.01, [0], times=[0], slopes=[0], amplitudes=[1], f0=50),
        ValueError,
        "f0 is 50 Hz, but it must be below the Nyquist frequency 50 Hz",
    ),
    (
        lambda: hyperbolic_events(9, 0.01, [0], times=[0.1], velocities=[0], amplitudes=[1], f0=20),
        ValueError,
        "velocities contains 0.0, but each must be > 0",
    ),
    (
        lambda: hyperbolic_events(9, 0.01, [0], times=[-0.1], velocities=[1], amplitudes=[1], f0=20),
        ValueError,
        "times contains -0.1",
    ),
    (
        lambda: parabolic_events(9, 0.01, [0], times=[0.1], moveouts=[1], amplitudes=[1], f0=20),
        ValueError,
        "reference is 0.0, but it must be a finite number > 0",
    ),
    (
        lambda: linear_events(9, 0.01, [0], times=[1j], slopes=[0], amplitudes=[1], f0=20),
        TypeError,
        "times is complex",
    ),
]


@pytest.mark.parametrize(("call", "error", "sentence"), MODEL_REFUSALS)
def test_bad_models_are_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


# ---------------------------------------------------------------------------------------------- metrics


def test_snr_of_known_errors() -> None:
    m = np.array([[3.0, 4j]])
    assert snr_db(m, m) == math.inf
    assert snr_db(m, 0 * m) == 0.0
    assert snr_db(m, 0.9 * m) == pytest.approx(20.0)
    assert snr_db(m * 1e200, 0.9 * m * 1e200) == pytest.approx(20.0)
    assert snr_db(m * 1e-200, 0.9 * m * 1e-200) == pytest.approx(20.0)


def spikes(n: int, **at: float) -> np.ndarray:
    trace = np.zeros(n)
    for place, value in at.items():
        trace[int(place[1:])] = value
    return trace


def test_spikes_match_within_the_tolerance() -> None:
    truth = spikes(20, _3=1.0, _10=-2.0, _15=1.0)
    score = score_spikes(truth, spikes(20, _4=1.1, _10=-2.0, _18=5.0, _19=1.0))
    assert (score.n_truth, score.n_estimate, score.n_matched) == (3, 4, 2)
    assert score.precision == 0.5
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(4 / 7)
    assert score.amplitude_error == pytest.approx(0.1 / math.sqrt(5))
    assert score_spikes(truth, truth).f1 == 1.0
    assert score_spikes(truth, truth).amplitude_error == 0.0
    assert score_spikes(truth, np.roll(truth, 2)).f1 == 0.0
    assert score_spikes(truth, np.roll(truth, 2), tolerance=2).f1 == 1.0
    assert math.isnan(score_spikes(truth, 0 * truth).amplitude_error)


def test_neighbouring_spikes_shifted_together_all_match() -> None:
    truth = spikes(20, _5=1.0, _6=2.0, _7=3.0)
    score = score_spikes(truth, np.roll(truth, 1))
    assert score.n_matched == 3
    assert score.amplitude_error == 0.0


def test_the_nearest_of_two_candidates_matches_then_the_largest() -> None:
    truth = spikes(20, _5=1.0)
    assert score_spikes(truth, spikes(20, _4=0.9, _5=0.5)).amplitude_error == pytest.approx(0.5)
    assert score_spikes(truth, spikes(20, _4=0.1, _6=0.9)).amplitude_error == pytest.approx(0.1)


def test_matches_are_maximal() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        truth, estimate = (rng.random((2, 9)) < 0.4).astype(float)
        a, b = np.flatnonzero(truth), np.flatnonzero(estimate)
        most = max(
            k
            for k in range(min(a.size, b.size) + 1)
            if any(
                all(abs(i - j) <= 1 for i, j in zip(s, t, strict=True))
                for s in combinations(a, k)
                for t in combinations(b, k)
            )
        )
        assert score_spikes(truth, estimate).n_matched == most


def test_traces_are_scored_apart_and_small_entries_ignored() -> None:
    truth = np.stack([spikes(10, _2=1.0), spikes(10, _7=1.0)])
    assert score_spikes(truth, truth[::-1], tolerance=1).n_matched == 0
    noisy = truth + 1e-3
    assert score_spikes(truth, noisy).precision == pytest.approx(2 / 20)
    assert score_spikes(truth, noisy, threshold=0.01).f1 == 1.0
    nothing = score_spikes(np.zeros(4), np.zeros(4))
    assert (nothing.precision, nothing.recall, nothing.f1) == (1.0, 1.0, 1.0)
    complex_score = score_spikes(1j * truth, 1j * truth)
    assert (complex_score.f1, complex_score.amplitude_error) == (1.0, 0.0)


def test_gini_orders_by_sparsity() -> None:
    x = np.random.default_rng(0).standard_normal(100)
    assert gini(np.ones(10)) == pytest.approx(0.0, abs=1e-15)
    assert gini(np.eye(1, 50)) == pytest.approx(0.98)
    assert gini(x) < gini(x**3) < gini(x**9)
    assert gini(-3e200j * x) == pytest.approx(gini(x))


METRIC_REFUSALS: list[Refusal] = [
    (lambda: snr_db([0.0], [1.0]), ValueError, "truth is zero"),
    (lambda: snr_db([1.0], [1.0, 2.0]), ValueError, r"truth has shape \(1,\), but estimate has shape \(2,\)"),
    (lambda: snr_db([1.0], [np.nan]), ValueError, r"estimate contains nan at estimate\[0\]"),
    (lambda: score_spikes(1.0, 1.0), ValueError, "truth is a number"),
    (lambda: score_spikes([1.0], [1.0], tolerance=-1), ValueError, "tolerance is -1"),
    (lambda: score_spikes([1.0], [1.0], threshold=-0.1), ValueError, "threshold is -0.1"),
    (lambda: gini([]), ValueError, "x is empty or zero"),
    (lambda: gini([0.0, 0.0]), ValueError, "x is empty or zero"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), METRIC_REFUSALS)
def test_bad_scores_are_refused(call: Callable[[], Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


# ------------------------------------------------------------------------------------------------ files


def make_gather() -> Gather:
    traces = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    return Gather(traces, 0.002, np.array([-100.0, 0.0, 25.0, 50.0, 3000.0]))


def test_su_round_trip(tmp_path: Path) -> None:
    gather = make_gather()
    write_su(tmp_path / "a.su", gather)
    back = read_su(tmp_path / "a.su")
    np.testing.assert_array_equal(back.traces, gather.traces)
    assert back.traces.dtype == np.float32
    assert back.traces.dtype.isnative
    assert back.dt == 0.002
    np.testing.assert_array_equal(back.offsets, gather.offsets)
    np.testing.assert_allclose(back.t, np.arange(40) * 0.002)
    assert load_gather(tmp_path / "a.su").dt == 0.002
    assert load_gather(tmp_path / "a.su", dt=0.004).dt == 0.004


def test_su_bytes_are_where_the_format_puts_them(tmp_path: Path) -> None:
    gather = make_gather()
    write_su(tmp_path / "a.su", gather)
    raw = (tmp_path / "a.su").read_bytes()
    assert len(raw) == 5 * (240 + 160)
    second = raw[400:]
    assert int.from_bytes(second[114:116], "big") == 40
    assert int.from_bytes(second[116:118], "big") == 2000
    assert int.from_bytes(raw[36:40], "big", signed=True) == -100
    assert np.frombuffer(second, ">f4", 40, 240)[3] == gather.traces[1, 3]


def test_broken_su_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.su"
    write_su(path, make_gather())
    whole = path.read_bytes()

    def refused(content: bytes, sentence: str) -> None:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=sentence):
            read_su(path)

    refused(b"", "a.su has 0 bytes, fewer than one trace header")
    refused(whole[:300], "announces 40 samples a trace at byte 114, but holds 300 bytes; it is truncated")
    refused(whole[:-7], "it ends inside trace 4")
    refused(bytes(240) + whole[240:], "announces 0 samples")
    other = bytearray(whole)
    other[400 + 117] ^= 1
    refused(bytes(other), "different sampling intervals: 2000 in trace 0, but 2001 in trace 1")
    other = bytearray(whole)
    other[800 + 115] ^= 1
    refused(bytes(other), "different numbers of samples: 40 in trace 0, but 41 in trace 2")
    silent = bytearray(whole)
    for k in range(5):
        silent[400 * k + 116 : 400 * k + 118] = b"\0\0"
    refused(bytes(silent), "states no sampling interval")
    with pytest.raises(FileNotFoundError):
        read_su(tmp_path / "absent.su")


SU_REFUSALS: list[tuple[Gather, type[Exception], str]] = [
    (Gather(np.zeros((2, 3)), 1 / 300), ValueError, "dt is 0.00333333 s, but SU stores whole microseconds"),
    (Gather(np.zeros((2, 3)), 0.1), ValueError, "whole microseconds from 1 to 65535"),
    (Gather(np.zeros(3), 0.004), ValueError, r"traces has shape \(3,\)"),
    (Gather(np.zeros((1, 65536)), 0.004), ValueError, r"traces has shape \(1, 65536\)"),
    (Gather(np.zeros((2, 3), complex), 0.004), TypeError, "traces is complex"),
    (Gather(np.full((2, 3), 1e39), 0.004), ValueError, "exceeds the range of float32"),
    (
        Gather(np.zeros((2, 3)), 0.004, np.zeros(3)),
        ValueError,
        r"offsets has shape \(3,\), but there are 2 traces",
    ),
    (
        Gather(np.zeros((2, 3)), 0.004, np.array([0, 100 / 3])),
        ValueError,
        r"offset 33.33333333 m is no multiple of 0.0001 m, the finest step that SU stores",
    ),
    (Gather(np.zeros((2, 3)), 0.004, np.array([0, 3e9])), ValueError, "beyond the 2.31 m that SU stores"),
    (Gather(np.zeros((2, 3)), 0.004, np.array([0.5, 3e8 + 0.125])), ValueError, "are beyond the range"),
    (Gather(np.zeros((2, 3)), 0.004, np.array([0, 1j])), TypeError, "offsets is complex"),
]


@pytest.mark.parametrize(("gather", "error", "sentence"), SU_REFUSALS)
def test_what_su_cannot_hold_is_refused(
    tmp_path: Path, gather: Gather, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        write_su(tmp_path / "a.su", gather)
    assert not (tmp_path / "a.su").exists()


def test_arrays_load_as_gathers(tmp_path: Path) -> None:
    gather = make_gather()
    np.save(tmp_path / "a.npy", gather.traces)
    loaded = load_gather(tmp_path / "a.npy", dt=0.004)
    np.testing.assert_array_equal(loaded.traces, gather.traces)
    assert (loaded.dt, loaded.offsets) == (0.004, None)
    np.savez(tmp_path / "b.npz", traces=gather.traces, dt=0.001, offsets=gather.offsets)
    loaded = load_gather(str(tmp_path / "b.npz"))
    assert loaded.dt == 0.001
    np.testing.assert_array_equal(loaded.offsets, gather.offsets)
    assert load_gather(tmp_path / "b.npz", dt=0.003).dt == 0.003
    np.savez(tmp_path / "c.npz", section=gather.traces[0])
    assert load_gather(tmp_path / "c.npz", dt=0.004).traces.shape == (1, 40)
    np.savez(tmp_path / "d.npz", one=gather.traces, two=-gather.traces)
    np.testing.assert_array_equal(load_gather(tmp_path / "d.npz", dt=0.004, key="two").traces, -gather.traces)
    np.savez(tmp_path / "e.npz", traces=gather.traces, offsets=np.zeros(3))
    np.save(tmp_path / "f.npy", np.zeros((2, 2, 2)))
    for name, options, sentence in (
        ("a.npy", {}, "a.npy states no sampling interval; pass dt="),
        ("d.npz", {"dt": 1}, "d.npz holds one, two; pass key="),
        ("d.npz", {"dt": 1, "key": "three"}, "d.npz has no array 'three'; it holds one, two"),
        ("e.npz", {"dt": 1}, "e.npz holds 3 offsets for 5 traces"),
        ("f.npy", {"dt": 1}, r"f.npy holds an array of shape \(2, 2, 2\)"),
        ("a.npy", {"dt": -1}, "dt is -1.0"),
        ("a.txt", {}, "a.txt ends with '.txt', but one of .su, .sgy, .segy, .npy, .npz is needed"),
    ):
        with pytest.raises(ValueError, match=sentence):
            load_gather(tmp_path / name, **options)


# ------------------------------------------------------------------------------------------- field data


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


STAND_IN = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Put a small array in the place of the gather, and look nowhere outside tmp_path."""
    content = npy_bytes(STAND_IN)
    monkeypatch.setattr(field_data, "_SHA256", field_data.hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPARSEINV_DATA", raising=False)
    return content


def fake_pip(
    monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], *, code: int = 0, error: str = ""
) -> list[Any]:
    """Replace pip by a function that leaves an archive with these members; return the commands it saw."""
    commands: list[Any] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        requirements = Path(command[command.index("--requirement") + 1]).read_text(encoding="utf-8")
        assert requirements.startswith("pylops==2.8.0 --hash=sha256:")
        assert options["timeout"] > 0
        if code == 0:
            target = Path(command[command.index("--dest") + 1], "pylops-2.8.0.tar.gz")
            with tarfile.open(target, "w:gz") as archive:
                for name, content in members.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        return subprocess.CompletedProcess(command, code, "", error)

    monkeypatch.setattr(field_data.subprocess, "run", run)
    return commands


MEMBER = "pylops-2.8.0/testdata/deblending/mobil.npy"


def test_field_data_come_from_a_path_or_the_environment(
    stand_in: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mobil.npy").write_bytes(stand_in)
    for place in (folder, folder / "mobil.npy", str(folder)):
        gather = mobil_gather(place)
        np.testing.assert_array_equal(gather.traces, STAND_IN)
        assert gather.dt == 0.004
        assert gather.offsets is None
    with pytest.raises(FileNotFoundError, match=r"pass path=, set SPARSEINV_DATA .* download=True"):
        mobil_gather()
    with pytest.raises(FileNotFoundError, match=r"mobil.npy was not found at .*absent"):
        mobil_gather(tmp_path / "absent", download=True)
    monkeypatch.setenv("SPARSEINV_DATA", str(folder))
    np.testing.assert_array_equal(mobil_gather().traces, STAND_IN)


def test_other_contents_are_refused(stand_in: bytes, tmp_path: Path) -> None:
    (tmp_path / "mobil.npy").write_bytes(stand_in + b"x")
    with pytest.raises(ValueError, match="is not the expected file: its SHA-256"):
        mobil_gather(tmp_path)


def test_download_fetches_once_and_caches(
    stand_in: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = fake_pip(monkeypatch, {"pylops-2.8.0/setup.py": b"", MEMBER: stand_in})
    np.testing.assert_array_equal(mobil_gather(download=True).traces, STAND_IN)
    np.testing.assert_array_equal(mobil_gather(download=True).traces, STAND_IN)
    np.testing.assert_array_equal(mobil_gather().traces, STAND_IN)
    assert len(commands) == 1
    assert {"download", "--no-deps", "--no-binary", "--require-hashes"} <= set(commands[0])
    assert os.listdir(tmp_path / "cache" / "sparseinv") == ["mobil.npy"]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("WARNING: retrying\nERROR: no route to host\n", "failed: ERROR: no route to host .*pass path="),
        ("/usr/bin/python: No module named pip\n", "failed: /usr/bin/python: No module named pip"),
        ("", "failed: pip gave no reason"),
    ],
)
def test_a_failed_download_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: str, sentence: str
) -> None:
    fake_pip(monkeypatch, {}, code=1, error=error)
    with pytest.raises(ConnectionError, match=sentence) as caught:
        mobil_gather(download=True)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("stand_in")
def test_a_download_that_hangs_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired("pip", options["timeout"])

    monkeypatch.setattr(field_data.subprocess, "run", run)
    with pytest.raises(ConnectionError, match="timed out after 900"):
        mobil_gather(download=True)


def test_a_wrong_download_is_refused_and_not_kept(
    stand_in: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, {MEMBER: stand_in + b"x"})
    with pytest.raises(ValueError, match=r"mobil.npy of the download is not the expected file"):
        mobil_gather(download=True)
    fake_pip(monkeypatch, {"pylops-2.8.0/README.md": b"nothing here"})
    with pytest.raises(ValueError, match=r"the download holds no file testdata/deblending/mobil.npy"):
        mobil_gather(download=True)
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_no_failure(
    stand_in: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where a folder is needed", encoding="utf-8")
    fake_pip(monkeypatch, {MEMBER: stand_in})
    np.testing.assert_array_equal(mobil_gather(download=True).traces, STAND_IN)


@needs_shared_data
def test_the_field_gather_is_the_pinned_one() -> None:
    gather = mobil_gather(SHARED)
    assert gather.traces.shape == (60, 1000)
    assert gather.traces.dtype == np.float32
    assert np.isfinite(gather.traces).all()


@needs_shared_data
@pytest.mark.parametrize(
    ("name", "shape", "dt", "largest_offset"),
    [
        ("small_stack.su", (20, 200), 0.002, 20),
        ("gom_cdp_nmo.su", (92, 1751), 0.004, 15992.5),
        ("syn_cmp_mult.su", (49, 1001), 0.004, 2500),
        ("wavelet_for_small_stack.su", (1, 45), 0.002, 1),
    ],
)
def test_field_su_files_read_as_documented(
    name: str, shape: tuple[int, int], dt: float, largest_offset: float
) -> None:
    gather = load_gather(SHARED / name)
    assert gather.traces.shape == shape
    assert gather.dt == dt
    assert gather.offsets is not None
    assert np.abs(gather.offsets).max() == largest_offset
    assert 0.1 < np.abs(gather.traces).max() < 10


def test_every_certified_answer_says_whether_it_succeeded() -> None:
    from dataclasses import is_dataclass

    import sparseinv.seismic as seismic

    # data, scores and operators' parameters; projections and tones prove nothing, and say so
    others = {"AttenuatedWavelets", "Gather", "POCSResult", "SpikeScore", "Tones", "WaveletMatch"}
    answers = {
        name
        for name in seismic.__all__
        if isinstance(getattr(seismic, name), type) and is_dataclass(getattr(seismic, name))
    } - others
    assert len(answers) >= 12
    assert {name for name in answers if not hasattr(getattr(seismic, name), "success")} == set()
