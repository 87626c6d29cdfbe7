"""The recovery benchmarks: instances, staircase, fit, curves of theory, resumed runs, metrics."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, optimize, stats

import sparseinv as si

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


# --- theory -------------------------------------------------------------------------------------------


def test_l1_curve_has_the_known_values():
    import phase_theory

    for delta, known, _ in phase_theory.KNOWN:
        assert phase_theory.l1_transition(delta) == pytest.approx(known, abs=6e-4)
    with pytest.raises(ValueError, match=r"delta is 1, but it must lie in \(0, 1\)"):
        phase_theory.l1_transition(1)


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9])
def test_l1_curve_is_where_the_minimax_risk_of_soft_thresholds_is_delta(delta):
    import phase_theory

    density = delta * phase_theory.l1_transition(delta)

    def risk(z):
        at_zero = 2 * ((1 + z**2) * stats.norm.cdf(-z) - z * stats.norm.pdf(z))
        return density * (1 + z**2) + (1 - density) * at_zero

    best = optimize.minimize_scalar(risk, bounds=(0.01, 6), method="bounded", options={"xatol": 1e-9})
    assert best.fun == pytest.approx(delta, abs=1e-6)


@pytest.mark.parametrize("delta", [0.05, 0.5, 0.9])
def test_bayes_curve_has_the_known_values(delta):
    import phase_theory

    known = next(entry[2] for entry in phase_theory.KNOWN if entry[0] == delta)
    assert phase_theory.bayes_transition(delta) == pytest.approx(known, abs=2e-3)
    assert phase_theory.l1_transition(delta) < phase_theory.bayes_transition(delta, "signs")


@pytest.mark.parametrize("tau", [1e-3, 0.05, 1.0])
def test_mean_square_errors_are_those_of_brute_force(tau):
    import phase_theory

    share = 0.3

    def brute(prior):  # E x^2 - E (E[x | r])^2, from the densities of r given each non-zero x
        def integrand(r):
            weights = [p * stats.norm.pdf(r, x, math.sqrt(tau)) for x, p in prior]
            total = sum(weights)
            mean = sum(w * x for w, (x, _) in zip(weights, prior, strict=True)) / total if total else 0.0
            return total * mean**2

        second = sum(p * x**2 for x, p in prior)
        reach = 1 + 8 * math.sqrt(tau)
        return second - integrate.quad(integrand, -reach, reach, limit=400, points=[-1, 0, 1])[0]

    signs = [(-1.0, share / 2), (1.0, share / 2), (0.0, 1 - share)]
    expected = brute(signs)
    assert phase_theory._mmse_signs(share, np.array([tau]))[0] == pytest.approx(expected, rel=1e-4, abs=1e-9)

    def gaussian(r):
        with_x = share * stats.norm.pdf(r, 0, math.sqrt(1 + tau))
        total = with_x + (1 - share) * stats.norm.pdf(r, 0, math.sqrt(tau))
        p, mean = with_x / total, r / (1 + tau)
        return total * (p * (tau / (1 + tau) + mean**2) - (p * mean) ** 2)

    width = 8 * math.sqrt(1 + tau)
    expected = integrate.quad(gaussian, -width, width, limit=400, points=[0])[0]
    assert phase_theory._mmse_gauss(share, np.array([tau]))[0] == pytest.approx(expected, rel=1e-3)


# --- instances, staircase, fit ------------------------------------------------------------------------


def test_instances_are_paired_and_nested():
    from phase_design import MATRICES, Cell

    for matrix in MATRICES:
        cell = Cell(40, matrix, "gauss", 0.5)
        A, b, truth = cell.draw(5, 3, 0)
        more = cell.draw(6, 3, 0)
        assert A.shape == (20, 40)
        assert A.flags.f_contiguous
        assert np.array_equal(A, more[0])
        assert b == pytest.approx(A @ truth)
        assert np.count_nonzero(truth) == 5
        assert np.count_nonzero(more[2] - truth) == 1
        assert not np.array_equal(cell.draw(5, 4, 0)[2], truth)
    assert set(np.abs(Cell(40, "gaussian", "signs", 0.5).draw(7, 0, 0)[2])) == {0.0, 1.0}


def test_matrices_are_what_their_names_say():
    import problems
    from phase_design import MATRICES

    rng = np.random.default_rng(0)
    assert np.linalg.norm(MATRICES["unit columns"](20, 40, rng), axis=0) == pytest.approx(1)
    A = MATRICES["partial DCT"](20, 40, rng)
    assert 2 * np.eye(20) == pytest.approx(A @ A.T, abs=1e-12)
    A = MATRICES["AR(0.9)"](4000, 4, rng)
    assert np.corrcoef(A.T)[0] == pytest.approx([1, 0.9, 0.81, 0.729], abs=0.02)
    x = rng.standard_normal(60)
    full = np.convolve(x, problems.ricker(dt=0.004, half=25), mode="same")
    assert MATRICES["Ricker"](60, 60, rng) @ x == pytest.approx(full)


def test_staircase_turns_halve_its_steps_and_it_stays_inside():
    from phase_design import Staircase, climb, staircase

    stairs = Staircase(100, 40, 16, 2)
    visited = []

    def succeeds(k, trial):
        visited.append(k)
        return k <= 47

    climb(stairs, range(8), succeeds)
    assert visited == [40, 56, 48, 40, 44, 48, 46, 48]
    low = staircase(20, guess=0.01)
    climb(low, range(5), lambda k, trial: False)
    assert low.k == 1
    high = staircase(20)
    climb(high, range(20), lambda k, trial: True)
    assert high.k == 20


def test_fit_finds_the_curve_that_made_the_data():
    from phase_design import fit

    rng = np.random.default_rng(1)
    rhos = rng.uniform(0.3, 0.7, 600)
    found = fit(rhos, rng.random(600) < 1 / (1 + np.exp((rhos - 0.52) / 0.02)))
    assert abs(found.rho50 - 0.52) < 3 * found.error < 0.03
    assert found.width == pytest.approx(0.02, rel=0.4)
    assert found.quantile(0.9) < found.rho50 < found.quantile(0.1)


def test_fit_of_separated_outcomes_lies_between_them():
    from phase_design import fit

    found = fit([0.3, 0.4, 0.5, 0.6], [True, True, False, False])
    assert 0.4 < found.rho50 < 0.5
    assert 0.0 < found.error < 0.1
    with pytest.raises(ValueError, match="rhos is empty"):
        fit([], [])


# --- solvers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LocalSearch", "L1", "reweighted L1", "IRLS", "MessagePassing"])
def test_solvers_find_what_is_easy(name):
    from phase_design import NMSE, Cell, nmse
    from phase_solvers import METHODS

    A, b, truth = Cell(60, "gaussian", "gauss", 0.5).draw(4, 0, 0)
    x = METHODS[name].run(A, b, 4, np.random.default_rng(0))
    assert nmse(x, truth) < NMSE


def test_sparsest_prefers_few_columns_among_those_that_explain_the_data():
    from phase_solvers import sparsest

    A = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    b = np.array([1.0, 1.0])
    dense, sparse, wrong = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    assert sparsest([dense, wrong, sparse], A, b) is sparse
    assert sparsest([dense, wrong], A, b) is dense


def test_what_sparseinv_lacks_is_absent(monkeypatch):
    import phase_solvers

    monkeypatch.setitem(phase_solvers.METHODS, "later", phase_solvers.told_k("NoSuchSolver"))
    names, absent = phase_solvers.present()
    assert "later" not in names
    assert "NoSuchSolver" in absent["later"]
    assert ("union" in names) != hasattr(si, "Portfolio")


# --- the run ------------------------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch):
    """Put in a solver that knows the truth up to k = 8, a broken one, and count the calls."""
    import phase_solvers

    calls = []

    def knows(A, b, k, rng):
        calls.append(k)
        return TRUTHS[b.tobytes()] if k <= 8 else np.zeros(A.shape[1])

    def broken(A, b, k, rng):
        calls.append(-1)
        raise ValueError("no such thing")

    methods = {
        "knows": phase_solvers.Method(knows, True, "by heart"),
        "broken": phase_solvers.Method(broken, False, "not at all"),
    }
    monkeypatch.setattr(phase_solvers, "METHODS", methods)
    import phase_design
    import phase_report

    monkeypatch.setattr(phase_report, "METHODS", methods)
    draw = phase_design.Cell.draw

    def remember(self, k, trial, seed):
        A, b, truth = draw(self, k, trial, seed)
        TRUTHS[b.tobytes()] = truth
        return A, b, truth

    monkeypatch.setattr(phase_design.Cell, "draw", remember)
    return calls


TRUTHS: dict[bytes, np.ndarray] = {}


def test_a_run_finds_the_threshold_and_is_resumed(fake, tmp_path, capsys):
    import phase_transition

    command = ["--n", "40", "--trials", "20", "--deltas", "0.5", "--parts", "contours"]
    command += ["--out", str(tmp_path)]
    assert phase_transition.main([*command, "--solvers", "knows", "broken"]) == 0
    path = tmp_path / "phase_transition.jsonl"
    machines, rows = phase_transition.read(path)
    assert len(machines) == 1
    good = [row for row in rows if row["solver"] == "knows"]
    assert len(good) == 2 * (20 + 3)
    assert all(row["ok"] == (row["k"] <= 8) for row in good)
    found = phase_transition.phase_report.fit_rows(row for row in good if row["coef"] == "gauss")
    assert 0.4 < found.rho50 < 0.45
    bad = [row for row in rows if row["solver"] == "broken"]
    assert len(bad) == 2 * phase_transition.GIVE_UP
    assert all("no such thing" in row["error"] for row in bad)
    text = (tmp_path / "phase_transition.md").read_text(encoding="utf-8")
    assert "| knows | yes | 0.4" in text
    assert "broken: trials ended by an error, such as ValueError: no such thing" in text
    assert "not measured" in capsys.readouterr().out
    assert (tmp_path / "phase_transition-contours.png").stat().st_size > 10_000

    with path.open("a", encoding="utf-8") as file:  # as a run that was killed leaves it
        file.write('{"seed": 0, "solv')
    fake.clear()
    assert phase_transition.main([*command, "--solvers", "knows", "broken"]) == 0
    assert fake == []
    assert phase_transition.main([*command, "--solvers", "knows", "--again", "knows"]) == 0
    assert len(fake) == len(good)
    for line in path.read_text(encoding="utf-8").splitlines():
        json.loads(line)


def test_heat_maps_stop_where_nothing_succeeds(fake, tmp_path):
    import phase_report
    import phase_transition

    arguments = ["--smoke", "--parts", "heat", "--solvers", "knows", "--out", str(tmp_path)]
    assert phase_transition.main(arguments) == 0
    _, rows = phase_transition.read(tmp_path / "phase_transition-smoke.jsonl")
    deltas, rhos, table = phase_report.heat_map(rows)
    assert deltas == [0.2, 0.4, 0.6, 0.8]
    assert rhos == [0.1, 0.3, 0.5, 0.7, 0.9]
    expected = [[max(round(rho * round(60 * delta)), 1) <= 8 for delta in deltas] for rho in rhos]
    assert np.array_equal(table, expected)
    assert max(row["rho"] for row in rows if row["delta"] == 0.8) < 0.9
    assert (tmp_path / "phase_transition-smoke-heat.png").stat().st_size > 10_000


def test_the_goals_are_judged():
    from phase_report import goals

    def rows(threshold):
        row = {"n": 800, "matrix": "gaussian", "coef": "gauss", "delta": 0.5, "trial": 0}
        row["solver"] = "Portfolio"
        return [{**row, "k": k, "ok": k <= 400 * threshold} for k in range(180, 280, 2)]

    assert "met" in goals(rows(0.6))[0]
    assert "MISSED" in goals(rows(0.55))[0]
    assert "not measured" in goals(rows(0.6))[1]


# --- support recovery ---------------------------------------------------------------------------------


def test_planted_coefficients_and_noise_follow_the_study():
    import support_recovery as study

    assert np.count_nonzero(study.coefficients(1, 100, 5)[0]) == 5
    assert study.coefficients(3, 10, 5)[0][:5] == pytest.approx([10, 7.625, 5.25, 2.875, 0.5])
    assert study.coefficients(4, 10, 5)[0][:6].tolist() == [-10, -6, -2, 2, 6, 10]
    assert study.coefficients(5, 10, 5)[0][4:7].tolist() == [1, 0.5, 0.25]
    with pytest.raises(ValueError, match="one of 1 to 5"):
        study.coefficients(7, 10, 5)
    data = study.draw("medium", 0.35, 2, 2.0, 0, 0)
    signal = np.var(np.vstack([data.A, data.A_validation]) @ data.truth)
    noise = np.var([data.b - data.A @ data.truth, data.b_validation - data.A_validation @ data.truth])
    assert signal / noise == pytest.approx(2.0, rel=0.15)
    assert np.array_equal(study.draw("medium", 0.35, 2, 6.0, 0, 0).A, data.A)
    spikes = np.sort(study.draw("ricker", 0.0, 0, 2.0, 0, 0).planted)
    assert np.diff(spikes).min() >= 3


def test_metrics():
    import support_recovery as study

    data = study.draw("low", 0.35, 2, 1.0, 0, 0)
    best = study.judge(data.truth, data)
    assert best == pytest.approx({"risk": 0, "rte": 1, "pve": 0.5, "nnz": 5, "f1": 1})
    nothing = study.judge(np.zeros(10), data)
    assert nothing == pytest.approx({"risk": 1, "rte": 2, "pve": 0, "nnz": 0, "f1": 0})
    half = data.truth.copy()
    half[[3, 4, 5]] = 0.0, 0.0, 1.0
    assert study.judge(half, data)["f1"] == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert study.chosen([np.zeros(10), data.truth], data) is data.truth
    shifted = study.draw("ricker", 0.0, 0, 1.0, 0, 0)
    assert study.judge(np.roll(shifted.truth, 1), shifted)["f1"] == 1.0
    assert study.judge(np.roll(shifted.truth, 2), shifted)["f1"] < 1.0


def test_a_study_is_written_down_and_resumed(tmp_path, monkeypatch):
    import support_recovery as study

    command = ["--smoke", "--settings", "low", "--methods", "lasso", "best subset", "--out", str(tmp_path)]
    assert study.main(command) == 0
    _, rows = study.read(tmp_path / "support_recovery-smoke.jsonl")
    assert len(rows) == 4
    assert all(0 <= row["f1"] <= 1 <= row["rte"] for row in rows)
    means = study.averages(rows)
    assert means["low", study.SNRS[8], "best subset"]["sets"] == 1
    assert "| best subset | " in (tmp_path / "support_recovery-smoke.md").read_text(encoding="utf-8")
    monkeypatch.setattr(study, "attempt", None)  # nothing is left to try
    assert study.main(command) == 0


def test_a_method_that_fails_is_left_out_and_named():
    import support_recovery as study

    row = {"seed": 0, "setting": "low", "rho": 0.0, "beta": 1, "snr": 1.0, "rep": 0}
    good = {**row, "method": "lasso", "cpu": 1.0, **dict.fromkeys(study.METRICS, 0.5)}
    rows = [good, {**row, "method": "IRL1", "error": "ValueError: x"}]
    assert list(study.averages(rows)) == [("low", 1.0, "lasso")]
    assert "IRL1: left out where it ended in an error, such as ValueError: x" in study.markdown([], rows, {})
