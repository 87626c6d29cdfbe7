"""Traces in single precision: answers of the same kind, which are those of double precision, rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparseinv as si
from sparseinv.cli import main
from sparseinv.operators import FFT
from sparseinv.seismic import (
    Gather,
    antileakage,
    blind_deconvolve,
    deconvolve,
    deconvolve_layers,
    demultiple,
    invert_avo,
    linear_events,
    load_gather,
    mwni,
    normal_moveout,
    pocs,
    radon_panel,
    ricker,
    robust_deconvolve,
    save_gather,
    sparse_spikes,
    time_frequency,
)

Array = np.ndarray[Any, Any]
DT = 0.004
WAVELET, _, CENTER = ricker(30.0, DT)
EVENT = {"times": [0.08], "slopes": [3e-4], "amplitudes": [1.0], "f0": 25.0}
H = 10.0 * np.arange(24)
LIVE = np.random.default_rng(0).random(24) < 0.7
PLACES = np.random.default_rng(0).uniform(0.0, 230.0, 20)
ANGLES = np.linspace(0.0, 40.0, 5)


def rounded(array: Array) -> Array:
    """Return numbers that single precision holds exactly, in double precision."""
    return array.astype(np.float32).astype(np.float64)


TRACES = rounded(
    np.array(
        [
            np.convolve(r, WAVELET)[CENTER : CENTER + 60]
            for r in sparse_spikes(60, 3, n_traces=4, min_gap=6, rng=0)
        ]
    )
)
GATHER = rounded(linear_events(48, DT, H, **EVENT))
SCATTERED = rounded(linear_events(48, DT, PLACES, **EVENT))
TRACE = TRACES[0]
THREE = ("reflectivity", "refitted", "fit")

#: name of each method: its data, a call, and which attributes are traces
METHODS: dict[str, tuple[Array, Any, tuple[str, ...]]] = {
    "deconvolve": (TRACES, lambda d: deconvolve(d, WAVELET, DT), THREE),
    "deconvolve one": (TRACE, lambda d: deconvolve(d, WAVELET, DT, refit=False), THREE),
    "deconvolve coupled": (TRACES, lambda d: deconvolve(d, WAVELET, DT, coupled=True), THREE),
    "layers": (TRACES[:2], lambda d: deconvolve_layers(d, WAVELET, DT, 0.012), THREE),
    "robust": (
        TRACES[:2], lambda d: robust_deconvolve(d, WAVELET, DT), ("reflectivity", "outliers", "fit")
    ),
    "blind": (TRACES, lambda d: blind_deconvolve(d, DT, 0.1, phases=(0.0,)).deconvolution, THREE),
    "mwni": (GATHER, lambda d: mwni(d, LIVE, DT), ("estimate",)),
    "antileakage": (
        SCATTERED, lambda d: antileakage(d, PLACES, DT, H, max_wavenumber=0.02), ("estimate",)
    ),
    "demultiple": (
        GATHER,
        lambda d: demultiple(d, H, DT, np.linspace(-0.05, 0.1, 7), 0.02, penalty=si.L1(0.1)),
        ("primaries", "multiples"),
    ),
    "bursts": (TRACE, lambda d: time_frequency(d, DT, np.arange(15.0, 60.0, 5.0), lam=0.1), ("fit",)),
    "avo": (TRACES[[0] * 5], lambda d: invert_avo(d, WAVELET, DT, ANGLES), ("rp", "rrho", "fit")),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_single_precision_in_single_precision_out(name: str) -> None:
    data, method, attributes = METHODS[name]
    single, double = method(data.astype(np.float32)), method(data)
    for attribute in attributes:
        one, other = getattr(single, attribute), getattr(double, attribute)
        assert one.dtype == np.float32
        assert other.dtype == np.float64
        np.testing.assert_array_equal(one, other.astype(np.float32))
        assert np.abs(other).max() > 0.0 or attribute == "outliers"


def test_moveout_and_panels_keep_single_precision() -> None:
    single = GATHER.astype(np.float32)
    for inverse in (False, True):
        one, other = (normal_moveout(d, H, DT, [0.0], [2000.0], inverse=inverse) for d in (single, GATHER))
        assert one.dtype == np.float32
        assert other.dtype == np.float64
        np.testing.assert_array_equal(one, other.astype(np.float32))
    one, other = (
        radon_panel(d, H, DT, np.linspace(-0.05, 0.1, 7), penalty=si.L1(0.1)) for d in (single, GATHER)
    )
    assert one.gather().dtype == np.float32
    assert other.gather().dtype == np.float64
    np.testing.assert_array_equal(one.gather(), other.gather().astype(np.float32))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_command_line_writes_the_precision_it_reads(kind: Any, tmp_path: Path) -> None:
    file, out = tmp_path / "in.npz", tmp_path / "out.npz"
    save_gather(file, Gather(TRACES.astype(kind), DT))
    assert main(["seismic", "decon", str(file), str(out), "--ricker", "30"]) == 0
    assert load_gather(out).traces.dtype == kind
    save_gather(file, Gather(GATHER.astype(kind), DT, H))
    words = ["--moveouts=-0.05,0.1,7", "--cut", "0.02", "--lam", "0.1", "--velocities", "0,2000,1,2500"]
    assert main(["seismic", "radon", str(file), str(out), *words]) == 0
    assert load_gather(out).traces.dtype == kind


def test_recorded_traces_are_kept_bit_by_bit() -> None:
    recorded = GATHER.astype(np.float32)
    np.testing.assert_array_equal(mwni(recorded, LIVE, DT).estimate[LIVE], recorded[LIVE])


@pytest.mark.parametrize("name", ["deconvolve", "robust", "mwni", "antileakage"])
def test_complex_traces_are_refused(name: str) -> None:
    data, method, _ = METHODS[name]
    for kind in (np.complex64, np.complex128):
        with pytest.raises(TypeError, match="complex"):
            method(data.astype(kind))


def test_projections_of_complex_data_stay_single() -> None:
    S = FFT(GATHER.shape).H
    for kind in (np.float32, np.float64, np.complex64, np.complex128):
        assert pocs(GATHER.astype(kind), LIVE[:, None], S, n_iter=5).estimate.dtype == kind
