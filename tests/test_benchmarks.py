"""The comparison with other packages: generators, ladder, workers, report; and ``sparseinv bench``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import sparseinv as si
from sparseinv.cli import BAD_INPUT, CERTIFIED, main
from sparseinv.problems.timing import time_solvers

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


# --- operators ----------------------------------------------------------------------------------------


def test_every_operator_is_in_the_benchmark():
    from operator_pairs import PAIRS

    from sparseinv import operators

    classes = {name for name in operators.__all__ if isinstance(getattr(operators, name), type)}
    listed = {name.split(",")[0].split(" ")[0] for name in PAIRS}
    assert listed == classes - {"Operator"}


@pytest.mark.parametrize("name", ["Scaled", "MorletBank", "Convolution, trace"])
def test_operators_are_judged(name):
    import operators
    from operator_pairs import PAIRS, Pair

    row = operators.judge(name, Pair(PAIRS[name].ours), repeats=2)
    for kind, limit in (("float64", 1e-12), ("complex128", 1e-12), ("float32", 1e-5), ("complex64", 1e-5)):
        assert row[f"kept {kind}"]
        assert row[f"dot {kind}"] <= limit
    assert 1.0 - 1e-6 <= row["bound / norm"] < 1.05
    assert row["ours [us]"] > 0.0
    assert row["operator"] in operators.table([row])


def test_some_operators_do_not_take_the_place_of_all(tmp_path, monkeypatch):
    import operators

    monkeypatch.setattr(operators, "RESULTS", tmp_path / "results")
    words = ["operators.py", "--only", "Scaled", "--repeats", "1"]
    monkeypatch.setattr("sys.argv", words)
    operators.main()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("sys.argv", [*words, "--out", str(tmp_path / "some")])
    operators.main()
    assert "Scaled" in (tmp_path / "some" / "operators.md").read_text(encoding="utf-8")


# --- problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("gauss", (100, 400)),
        ("ar95", (100, 400)),
        ("leadfield", (40, 300)),
        ("text", (200, 1000)),
        ("tall", (600, 50)),
        ("decon", (200, 200)),
        ("text1M", (200, 3000)),
        ("equi90", (100, 400)),
    ],
)
def test_problems_repeat_and_have_their_shape(name, shape):
    import problems

    (A, b), (again, b_again) = problems.make(name, "s"), problems.make(name, "s")
    assert A.shape == shape
    assert b.shape == shape[:1]
    assert A.dtype == b.dtype == np.float64
    assert np.array_equal(b, b_again)
    if isinstance(A, np.ndarray):
        assert A.flags.f_contiguous
        assert np.array_equal(A, again)
    else:
        assert A.format == "csc"
        assert A.indices.dtype == np.int32
        assert A.has_sorted_indices
        assert (again != A).nnz == 0


def test_problems_are_what_their_names_say():
    import problems

    A, _ = problems.gaussian(4000, 5, 2, rho=0.95, seed=1)
    assert np.corrcoef(A.T)[0, :3] == pytest.approx([1, 0.95, 0.95**2], abs=0.02)
    A, _ = problems.equicorrelated(4000, 5, 2, seed=1)
    assert np.corrcoef(A.T)[0, 1:] == pytest.approx(0.9, abs=0.02)
    A, _ = problems.text(300, 2000, hard=True)
    assert (np.diff(A.indptr)[2::20] == 0).all()
    assert abs(A[:, 0::20] - A[:, 1::20]).max() == 0
    assert np.sqrt(A.multiply(A).sum(axis=1)) == pytest.approx(1)
    x = np.random.default_rng(0).standard_normal(300)
    wavelet = problems.ricker()
    assert problems.convolution_matrix(300) @ x == pytest.approx(np.convolve(x, wavelet, mode="same"))


def test_core_grid():
    import problems

    grid = problems.cell_names()
    assert 30 <= len(grid) <= 40
    assert len(problems.cell_names(core=False)) > len(grid)
    assert problems.select(grid, ["ar*/100", "decon"]) == [
        "ar50/100", "ar95/100", "ar99/100", "decon/5", "decon/10", "decon/100", "decon/1000"
    ]  # fmt: skip
    assert problems.select(grid, ["nothing"]) == []


@pytest.mark.parametrize("kind", ["dct", "conv"])
def test_free_operators_count_and_are_adjoint(kind):
    import worker

    make, b = worker.free_operator(kind, 256)
    operator = make()
    assert operator.shape == (b.size, 256)
    assert si.adjoint_test(operator) < 1e-12
    assert operator.products > 0
    assert operator.inside > 0
    assert make().products == 0


# --- the ladder ---------------------------------------------------------------------------------------

LADDER = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]


def fake(gaps, seconds=1.0, broken=()):
    """Return a solver that reaches gaps[tol], and the list of tolerances it was asked for."""
    from compare import Failed, Run

    asked = []

    def run(tol):
        asked.append(tol)
        if tol in broken:
            raise Failed("the process died of signal 11")
        return Run(tol, seconds, gaps[tol])

    return run, asked


def test_loosest_tolerance_that_meets_the_gap():
    from compare import climb

    run, asked = fake({1e-2: 1e-3, 1e-3: 2e-6, 1e-4: 9e-7, 1e-5: 1e-7, 1e-6: 1e-12})
    found = climb(run, (1e-10, 1e-6), LADDER)
    assert found.chosen == {1e-6: 1e-4, 1e-10: 1e-6}
    assert asked == [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]  # nothing twice, nothing beyond
    assert found.ended is None


def test_ladder_that_starts_at_the_gap():
    from compare import climb

    run, asked = fake(dict.fromkeys(LADDER, 0.0))
    assert climb(run, (1e-4, 1e-6), LADDER, starts_at_gap=True).chosen == {1e-4: 1e-4, 1e-6: 1e-6}
    assert asked == [1e-4, 1e-6]
    run, asked = fake({1e-4: 2e-4, 1e-5: 1e-5})  # its own certificate was too optimistic
    assert climb(run, (1e-4,), LADDER, starts_at_gap=True).chosen == {1e-4: 1e-5}


def test_ladder_ends_with_a_crash_the_budget_or_its_last_step():
    from compare import climb

    run, asked = fake({1e-2: 1e-7, 1e-3: 1e-8}, broken=(1e-4,))
    found = climb(run, (1e-6, 1e-9, 1e-12), LADDER)
    assert found.chosen == {1e-6: 1e-2}
    assert (found.ended, found.slow) == ("the process died of signal 11", False)
    assert asked == [1e-2, 1e-3, 1e-4]
    run, asked = fake(dict.fromkeys(LADDER, 1.0), seconds=10.0)
    found = climb(run, (1e-6,), LADDER, budget=25.0)
    assert (found.chosen, len(asked)) == ({}, 3)
    assert "too long" in found.ended
    assert found.slow
    run, asked = fake(dict.fromkeys(LADDER, math.inf))
    found = climb(run, (1e-6,), LADDER)
    assert (found.chosen, found.ended, len(asked)) == ({}, None, len(LADDER))


def test_watch_leaves_when_the_gap_is_met_and_pays_for_its_own_judging():
    import peers

    watch = peers.Watch(lambda x: float(x[0]), 0.5, 60.0)
    x = np.array([1.0])

    def iterate():
        while True:
            np.multiply(x, 0.99, out=x)
            watch.look(x)

    with pytest.raises(peers.Reached):
        iterate()
    assert 69 <= watch.count <= 71  # 0.99^69 < 1/2, looked at nearly every time
    assert watch.x == x
    assert watch.x is not x
    late = peers.Watch(lambda x: 1.0, 0.5, -1.0)
    with pytest.raises(TimeoutError):
        late.look(x)


def test_our_adapters_answer():
    import peers
    import problems
    import worker

    A, b = problems.make("gauss", "s")
    lams = np.abs(A.T @ b).max() * np.geomspace(1, 0.1, 5)
    assert peers.our_path(A, b, lams, 1e-6).shape == (A.shape[1], 5)
    assert peers.our_cv(A, b, lams, 1e-6)[0] in lams
    B = np.stack([b, -2.0 * b, b[::-1]], axis=1)
    levels = 0.1 * np.abs(A.T @ B).max(axis=0)
    batch = peers.our_batch(A, B, levels, 1e-8)
    np.testing.assert_allclose(batch, peers.our_loop(A, B, levels, 1e-8), atol=1e-3)
    make, b = worker.free_operator("conv", 200)
    lam = 0.1 * np.abs(make().rmatvec(b)).max()
    hidden, closed = make(), make()
    x = peers.our_free(hidden, b, lam, 1e-10, None)
    np.testing.assert_allclose(peers.our_columns(closed, b, lam, 1e-10, None), x, atol=1e-3)
    assert 0 < closed.products < hidden.products
    assert closed.columns > 0


# --- workers ------------------------------------------------------------------------------------------


def job(problem, solver, tmp_path):
    import compare

    (tmp_path / "data").mkdir(exist_ok=True)
    return {**compare.prepare("single", problem, "s", 20.0, tmp_path / "data"), "solver": solver}


def test_worker_solves_judges_and_survives(tmp_path):
    import compare

    process = compare.Worker(job("decon/10", "sparseinv", tmp_path), 1)
    try:
        process.start()
        assert process.ready() is None
        assert process.version == si.__version__
        run = process.run(1e-6, 1e-6)
        assert run.gap <= 1e-6
        assert run.extra["nonzeros"] > 0
        with pytest.raises(compare.Failed, match="ValueError: tol"):
            process.run(-1.0, 1e-6)
        assert process.run(1e-6, 1e-6).gap <= 1e-6  # an error does not end the process
        process.process.kill()
        with pytest.raises(compare.Failed, match="died of signal 9"):
            process.run(1e-6, 1e-6)
        assert process.process is None
    finally:
        process.close()


def test_absent_solvers_are_rows(tmp_path, monkeypatch):
    import compare
    import peers

    nowhere = peers.Peer("nobody", "nobody_made_this", "nobody", peers.ours)
    lacking = peers.Peer("sparseinv", "sparseinv", "sparseinv", peers.ours, needs="solve_everything")
    work = job("decon/10", "sparseinv", tmp_path)
    worker = compare.Worker(work, 1)
    for peer, note in ((nowhere, "nobody_made_this is not installed"), (lacking, "no solve_everything")):
        import worker as module

        monkeypatch.setattr(peers, "find", lambda suite, name, peer=peer: peer)
        with pytest.raises(module.Absent, match=note):
            module.prepare(work)
        rows = compare.rows_of(compare.Entry(peer, worker, absent=note), (1e-6, 1e-10))
        assert [(row["status"], row["gap"], row["note"]) for row in rows] == [
            ("absent", 1e-6, note), ("absent", 1e-10, note)
        ]  # fmt: skip
        assert all("absent" in compare.text_of(row) for row in rows)


def test_time_limit_ends_the_process_and_is_a_row(tmp_path):
    import compare
    import peers

    process = compare.Worker(job("decon/10", "sparseinv", tmp_path), 1)
    try:
        process.start()
        assert process.ready() is None
        process.job["cap"] = 0.0
        with pytest.raises(compare.TooSlow, match="took more than 0 s"):
            process.run(1e-6, 1e-6)
        assert process.process is None
    finally:
        process.close()
    late = compare.Climb(ended="took more than 0 s", slow=True)
    entry = compare.Entry(peers.find("single", "sparseinv"), process, climb=late)
    assert [(row["status"], row["note"]) for row in compare.rows_of(entry, (1e-6,))] == [
        ("not reached", "took more than 0 s")
    ]


def test_data_travel_unchanged(tmp_path):
    import problems
    import worker

    for name in ("gauss", "text"):
        A, b = problems.make(name, "s")
        worker.save(tmp_path / name, A, b)
        A_read, b_read = worker.load(tmp_path / name)
        assert np.array_equal(b, b_read)
        if sparse.issparse(A):
            assert (A_read != A).nnz == 0
            assert A_read.indices.dtype == np.int32
        else:
            assert np.array_equal(A, A_read)
            assert worker.fresh(A_read).flags.f_contiguous


def test_command_line_of_the_comparison(capsys):
    import compare

    assert compare.parse(["single", "batch", "--cells", "gauss/10"]).cells == ["gauss/10"]
    assert compare.cells("batch", ["gauss/10"]) == []
    assert compare.cells("path", []) == list(compare.problems.CORE)
    for wrong, text in (
        (["--cells", "gaus"], "no cell of single"),
        (["--only", "cellar"], "no solver cellar"),
    ):
        with pytest.raises(SystemExit):
            compare.parse(["single", *wrong])
        assert text in capsys.readouterr().err
    about = compare.machine(1)
    assert about["numpy"] == np.__version__
    assert compare.clean("no /tmp/" + "abc/x.py in 1/2 ||b||^2") == "no ... in 1/2 ||b||^2"


# --- report -------------------------------------------------------------------------------------------


def row(cell, solver, seconds, gap=1e-6, **fields):
    status = "not reached" if seconds is None else "reached"
    return {
        "suite": "single", "cell": cell, "size": "m", "threads": 1, "gap": gap, "solver": solver,
        "status": status, "seconds": seconds, "first": 1.0, "ladder": [[1e-2, 0.1, 1e-3], [1e-3, 0.2, None]],
        **fields,
    }  # fmt: skip


@pytest.fixture
def rows():
    return [
        row("a/10", "sparseinv", 1.0), row("a/10", "celer", 4.0), row("a/10", "skglm", 8.0),
        row("b/10", "sparseinv", 2.0), row("b/10", "celer", None), row("b/10", "skglm", 1.0),
        row("c/10", "sparseinv", 1.0), row("c/10", "celer", None), row("c/10", "skglm", None),
        row("d/10", "sparseinv", None), row("d/10", "celer", 1.0),
        row("d/10", "adelie", None, status="absent", note="adelie is not installed"),
    ]  # fmt: skip


def test_report_compares_with_the_best_peer(rows):
    import report

    duels = report.duels(rows)
    assert [(d["cell"], d["speedup"], d["peer"]) for d in duels] == [
        ("a/10", 4.0, "celer"), ("b/10", 0.5, "skglm"), ("c/10", math.inf, None), ("d/10", 0.0, "celer")
    ]  # fmt: skip
    assert report.summary(duels) == {
        "cells": 4, "mean": pytest.approx(math.sqrt(2)), "share": 0.5, "only_ours": 1, "only_theirs": 1
    }  # fmt: skip
    assert report.profile(rows)["skglm"] == [1.0, 8.0, math.inf]


def test_report_in_words_and_figures(rows, tmp_path, capsys):
    import report

    source = tmp_path / "rows.jsonl"
    lines = [{"machine": {"cpu": "an abacus"}}, row("a/10", "celer", 99.0), *rows]  # the later row counts
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report.main([str(source), "--out", str(tmp_path / "r.md"), "--plots", str(tmp_path / "plots")])
    text = (tmp_path / "r.md").read_text()
    assert "cpu an abacus" in text
    assert "| single | m | 1 | 1e-06 | 4 | 1.41 | 50 % | 1 | 1 |" in text
    assert "| a/10 | 1e+03 | 4e+03 | 8e+03 | 4.00 | celer | 1.00 |" in text
    assert "The worst 4: d/10 not reached, b/10 0.50, a/10 4.00, c/10 only we." in text
    losses = text[text.index("## Where we lose") : text.index("## Absent")]
    assert "| b/10 | m | 1 | 1e-06 | 0.50 | skglm |" in losses
    assert "a/10" not in losses
    assert "| single | adelie | absent | adelie is not installed | d/10 |" in text
    assert len(list((tmp_path / "plots").glob("*.png"))) == 5
    assert "wrote 5 figures" in capsys.readouterr().out


def test_report_without_a_rival():
    import report

    text = report.markdown([], [row("a/10", "sparseinv", 1.0), row("a/10", "sparseinv, loop", 2.0)])
    assert "| single | m | 1 | 1e-06 | 0 | - | - | 0 | 0 |" in text
    assert "In no cell of these runs." in text


# --- sparseinv bench ----------------------------------------------------------------------------------


def test_bench_command(capsys):
    assert main(["bench", "--size", "s", "--repeats", "1", "--json"]) == CERTIFIED
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 12
    assert {row["status"] for row in rows} == {"CONVERGED"}
    assert all(row["products"] > 0 and row["seconds"] > 0 for row in rows)
    by_problem = {}
    for entry in rows:
        by_problem.setdefault(entry["problem"], set()).add(entry["nonzeros"])
    assert len(by_problem) == 3
    assert all(len(counts) == 1 for counts in by_problem.values())  # one support, whoever solves


def test_bench_refuses_and_repeats(capsys):
    assert main(["bench", "--size", "s", "--repeats", "0"]) == BAD_INPUT
    assert "repeats is 0" in capsys.readouterr().err
    with pytest.raises(ValueError, match="size is 'x'"):
        next(time_solvers(size="x"))
    first, again = next(time_solvers(size="s", repeats=1)), next(time_solvers(size="s", repeats=1))
    assert (first.products, first.nonzeros) == (again.products, again.nonzeros)


# --- greedy methods -----------------------------------------------------------------------------------


def test_greedy_tables(tmp_path, capsys):
    import greedy

    out = tmp_path / "greedy.md"
    assert greedy.main(["--size", "s", "--repeats", "1", "--out", str(out)]) == 0
    text = out.read_text()
    assert text in capsys.readouterr().out
    for words in ("the floor", "`OMP()`", "`OLS()`", "solve_many", "swap-optimal"):
        assert words in text


# --- rules that choose lambda ---------------------------------------------------------------------------


def test_lambda_risk_writes_its_table(tmp_path, monkeypatch, capsys):
    import lambda_risk

    monkeypatch.setattr(lambda_risk, "DESIGNS", ("iid", "fourier"))
    monkeypatch.setattr(lambda_risk, "SNRS", (1.0,))
    monkeypatch.setattr(lambda_risk, "PEERS", {"nobody": "no_module_of_this_name"})
    out = tmp_path / "risk.jsonl"
    assert lambda_risk.main(["--smoke", "--out", str(out)]) == 0
    about, *records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    rows = lambda_risk.spread(records)
    assert about["absent"] == ["nobody"]
    assert {row["design"] for row in rows} == {"iid", "fourier"}
    assert all(math.isfinite(row["ratio"]) for row in rows)
    # a level of the path is at best as good as the best one of the path
    assert all(row["ratio"] >= 1.0 - 1e-9 for row in rows if row["rule"] in ("SURE", "GCV", "CV5"))
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| lam=None | 4 |" in text
    assert "Absent peers: nobody" in text
    capsys.readouterr()
    assert lambda_risk.main(["--report", "--out", str(out)]) == 0
    assert "| SURE |" in capsys.readouterr().out
