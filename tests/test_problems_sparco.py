"""The generic problems, the spike train, jittered samples and deconvolution, at their small size."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

import sparseinv as si
from sparseinv.operators import Convolution
from sparseinv.problems import load_problem, run_problem
from sparseinv.problems.co2 import series
from sparseinv.problems.deconvolution import erratic_trace, white_traces
from sparseinv.problems.jitter import make as sampled_cosines
from sparseinv.problems.report import Missing, save
from sparseinv.problems.sparco_cases import BUILDERS, blocks_signal, build, cosines_and_spikes, cubic_pieces
from sparseinv.problems.spike_train import one_sided_wavelet
from sparseinv.seismic import deconvolve, ricker, robust_deconvolve, score_spikes, snr_db, undersample

DATA = Path(__file__).resolve().parent.parent / "../shared/data"
field_data = pytest.mark.skipif(not DATA.is_dir(), reason="no field data at ../shared/data")
WITHOUT_NOISE = (*BUILDERS, "902", "903")
NOISY = ("D1", "D4")


run = functools.cache(functools.partial(run_problem, size="s"))


def needs(id: str) -> None:
    """Skip a problem whose optional package is missing."""
    if id in ("002", "006"):
        pytest.importorskip("pywt")
    if id == "C1":
        pytest.importorskip("statsmodels")


# --- every problem -------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [*WITHOUT_NOISE, *NOISY, "C1"])
def test_goals_are_met_and_answers_certified(id: str) -> None:
    needs(id)
    demo = run(id)
    assert demo.goals
    for goal in demo.goals:
        assert goal.met, str(goal)
    assert demo.certified


@pytest.mark.parametrize("id", WITHOUT_NOISE)
def test_truth_solves_the_problem(id: str) -> None:
    """The data are those of the truth, and the recommended penalty nearly finds it."""
    needs(id)
    case = load_problem(id, size="s", seed=3)
    b = case.A @ case.truth
    np.testing.assert_allclose(b, case.b, atol=1e-12 * np.abs(case.b).max())
    assert case.score(case.truth)["SNR [dB]"] == np.inf
    assert case.sigma == 0.0
    assert case.dims == case.truth.shape


@pytest.mark.parametrize("id", [*WITHOUT_NOISE, *NOISY, "C1"])
def test_seeds_reproduce(id: str) -> None:
    needs(id)
    first, again, other = (load_problem(id, size="s", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.b, again.b)
    assert first.penalty.lam == again.penalty.lam
    if id not in ("001", "002", "009", "010"):  # these are single signals
        assert not np.array_equal(first.b, other.b)


@pytest.mark.parametrize("id", NOISY)
def test_noise_is_what_sigma_says(id: str) -> None:
    ratios = []
    for seed in range(20):
        case = load_problem(id, size="s", seed=seed)
        ratios.append(np.mean((case.A @ case.truth - case.b) ** 2) / case.sigma**2)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.15)


def test_figures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for id, names in (("003", {"003", "003-recovery"}), ("902", {"902", "902-recovery"}), ("903", {"903"})):
        written = {path.name for path in save(run(id), tmp_path)}
        assert written == {f"{id}.json", *(f"{name}.png" for name in names)}


# --- generic problems ----------------------------------------------------------------------------------


def test_signals() -> None:
    """Eleven jumps of the published heights; cubic pieces have no fourth differences inside."""
    jumps = np.diff(blocks_signal(1000))
    assert np.count_nonzero(jumps) == 11
    assert jumps[jumps != 0].sum() == pytest.approx(3.0)
    pieces = cubic_pieces(512, 3, np.random.default_rng(0))
    assert 8 <= np.count_nonzero(np.abs(np.diff(pieces, 4)) > 1e-9 * np.abs(pieces).max()) <= 10


def test_complex_waves_of_a_real_signal() -> None:
    g = cosines_and_spikes(64, 5, np.random.default_rng(0), waves="waves")
    assert np.abs(g.b.imag).max() < 1e-12
    t = np.arange(64)
    expected = 4 * np.cos(2 * np.pi * 4 * t / 64) + 2 * np.cos(2 * np.pi * 12 * t / 64)
    np.testing.assert_allclose((g.b - g.truth[64:]).real, expected, atol=1e-12)


def test_published_sizes() -> None:
    """The numbers of data, unknowns and non-zeros are those of the collection."""
    sizes = {"005": (300, 2048, 63), "007": (600, 2560, 20), "009": (128, 128, 11), "011": (256, 1024, 32)}
    for id, (m, n, count) in sizes.items():
        g = build(id, "m", 0)
        assert (*g.A.shape, np.count_nonzero(g.truth)) == (m, n, count)


def test_orthonormal_rows() -> None:
    A = build("007", "s", 0).A
    np.testing.assert_allclose(A @ A.T, np.eye(A.shape[0]), atol=1e-12)


def test_dear_cosines_recover_what_one_lambda_does_not() -> None:
    """With spikes in half of the samples one lambda explains some of them by cosines."""
    found = {"one": 0, "block": 0}
    for seed in range(4):
        g = cosines_and_spikes(256, 133, np.random.default_rng(seed))
        for name, weights in (("one", None), ("block", g.weights)):
            x = si.solve(g.A, g.b, si.L1(weights=weights), select=si.Discrepancy(0.0)).x
            found[name] += snr_db(g.truth, x) > 80
    assert found["block"] >= found["one"] + 2


# --- 902, 903 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["regular", "random", "jittered"])
def test_undersample(scheme: str) -> None:
    kept = undersample(1000, 5, scheme, rng=3)
    assert kept.size == 200
    assert (np.diff(kept) > 0).all()
    assert kept[0] >= 0
    assert kept[-1] < 1000
    if scheme == "regular":
        assert set(np.diff(kept)) == {5}
    if scheme == "jittered":
        np.testing.assert_array_equal(kept // 5, np.arange(200))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((10, 20), "factor is 20"),
        ((10, 0.5), "factor is 0.5"),
        ((10, 2, "even"), "scheme is 'even', but one of 'regular'"),
        ((0, 1), "n"),
    ],
)
def test_undersample_refuses(arguments: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        undersample(*arguments)


def test_regular_samples_do_not_tell_cosines_apart() -> None:
    """Columns of the truth have exact copies among the others, up to sign; jittered ones do not."""
    for scheme, alike in (("regular", True), ("jittered", False)):
        A, truth, _ = sampled_cosines(1000, 3, 5.0, scheme, 0)
        A = A / np.linalg.norm(A, axis=0)
        j = int(np.flatnonzero(truth)[0])
        others = np.delete(np.abs(A.T @ A[:, j]), j)
        assert (others.max() > 1 - 1e-9) == alike


def test_one_sided_wavelet() -> None:
    """The published kernel: 557 samples, 1 at the first, twice as deep at the centre."""
    w = one_sided_wavelet(1024)
    assert w.size == 557
    assert w[0] == 1.0
    assert abs(w).max() == pytest.approx(0.5 * np.exp(1.5), rel=1e-3)  # 1 at zero, 2 exp(-3/2) at the maximum
    assert w.argmin() in (44, 45)


# --- deconvolution -------------------------------------------------------------------------------------


def test_published_deconvolution_agrees_with_clarabel() -> None:
    """The objective at lam = .25 is that of an interior point method, to 1e-8 of it."""
    cp = pytest.importorskip("cvxpy")
    _, d, w, center, _ = white_traces("s", 0)
    found = deconvolve(d, w, 0.004, si.L1(0.25), offset=center, tol=1e-12)
    A = Convolution(61, w, offset=center).columns(np.arange(61))
    x = cp.Variable(61)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(A @ x - d) + 0.25 * cp.norm1(x)))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    assert found.results[0].objective == pytest.approx(problem.value, rel=1e-8)


def test_robust_deconvolution_is_hubers() -> None:
    """Eliminating the outliers leaves Huber's misfit, which cvxpy minimises to the same value."""
    cp = pytest.importorskip("cvxpy")
    _, d, w, center = erratic_trace(3, bursts=True)
    found = robust_deconvolve(d, w, 0.004, offset=center, tol=1e-12)
    result, lam = found.results[0], found.lam[0]
    mu = result.lam[-1]
    A = Convolution(201, w, offset=center).columns(np.arange(201))
    x = cp.Variable(201)
    huber = 0.5 * cp.sum(cp.huber(A @ x - d, mu))
    problem = cp.Problem(cp.Minimize(huber + lam * cp.norm1(x)))
    problem.solve(solver=cp.CLARABEL)
    assert result.objective == pytest.approx(problem.value, rel=1e-6)
    r = A @ found.reflectivity - d
    np.testing.assert_allclose(found.outliers, -np.sign(r) * np.maximum(np.abs(r) - mu, 0.0), atol=1e-6)


def test_robust_deconvolution_survives_bursts() -> None:
    scores = {False: [], True: []}
    for seed in range(8):
        r, d, w, center = erratic_trace(seed, bursts=True)
        for robust in scores:
            method = robust_deconvolve if robust else deconvolve
            found = method(d, w, 0.004, offset=center)
            assert found.success
            scores[robust].append(score_spikes(r, found.reflectivity, threshold=0.05).f1)
    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.2


def test_robust_traces_are_solved_one_by_one() -> None:
    """A gather gives what its traces give, at their own levels; long traces need no matrix."""
    w, _, center = ricker(25.0, 0.004)
    d = np.random.default_rng(0).standard_normal((2, 120))
    together = robust_deconvolve(d, w, 0.004, offset=center)
    for row, trace, lam in zip(together.reflectivity, d, together.lam, strict=True):
        alone = robust_deconvolve(trace, w, 0.004, offset=center)
        assert alone.lam[0] == pytest.approx(lam, rel=1e-6)
        np.testing.assert_allclose(alone.reflectivity, row, atol=1e-4)
    assert together.reflectivity.shape == together.outliers.shape == together.fit.shape == d.shape
    np.testing.assert_allclose(
        together.fit[1], np.convolve(together.reflectivity[1], w)[center : center + 120]
    )
    r = np.zeros(4100)
    r[::500] = 1.0
    long = Convolution(4100, w, offset=center) @ r
    found = robust_deconvolve(long, w, 0.004, offset=center, lam=0.05)
    assert found.success
    assert score_spikes(r, found.reflectivity, threshold=0.3, tolerance=0).f1 == 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"traces": np.zeros((2, 2, 2))}, ValueError, "traces has shape"),
        ({"traces": [1.0, np.nan]}, ValueError, "traces"),
        ({"traces": [1j, 0]}, TypeError, "traces is complex"),
        ({"wavelet": [1j]}, TypeError, "wavelet is complex"),
        ({"lam": -1.0}, ValueError, "lam is -1"),
        ({"offset": 7}, ValueError, "offset is 7"),
        ({"dt": 0.0}, ValueError, "dt is 0"),
    ],
)
def test_robust_deconvolve_refuses(arguments: dict, error: type, words: str) -> None:
    given = {"traces": np.ones(5), "wavelet": [1.0, 2.0, 1.0], "dt": 0.004} | arguments
    with pytest.raises(error, match=words):
        robust_deconvolve(**given)


def test_silent_traces_stay_silent() -> None:
    found = robust_deconvolve(np.zeros((2, 20)), [1.0], 0.004)
    assert not found.reflectivity.any()
    assert found.success


# --- carbon dioxide ------------------------------------------------------------------------------------


def test_blocks_are_held_out_and_gaps_are_real() -> None:
    pytest.importorskip("statsmodels")
    s = series("m", 0)
    assert s.values.size == 2284
    assert np.isnan(s.values).sum() == 59
    starts = np.flatnonzero(np.diff(s.held.astype(int)) == 1)
    assert starts.size == 6
    assert s.held.sum() == 6 * 26
    assert not s.held[[0, -1]].any()
    assert (s.known ^ s.tested ^ np.isnan(s.values)).all()


def test_dictionary_of_waves() -> None:
    """A pure season plus a line is reproduced exactly by a few columns."""
    pytest.importorskip("statsmodels")
    s = series("s", 0)
    D, frequency = s.dictionary()
    assert (frequency == 0).sum() == 3
    assert frequency.max() <= 4.2
    k = 40
    wave = np.cos(2 * np.pi * frequency[k] * s.years + 0.3)
    kept = [0, 1, k, k + 1] if frequency[k] == frequency[k + 1] else [0, 1, k - 1, k]
    x, *_ = np.linalg.lstsq(D[:, kept], wave + 2.0 + 3.0 * s.years, rcond=None)
    np.testing.assert_allclose(D[:, kept] @ x, wave + 2.0 + 3.0 * s.years, atol=1e-9)


@field_data
def test_real_section() -> None:
    demo = run_problem("D3", size="s", data=DATA)
    assert demo.certified
    assert all(goal.met for goal in demo.goals)


def test_missing_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"small_stack\.su"):
        run_problem("D3", size="s", data=tmp_path)
