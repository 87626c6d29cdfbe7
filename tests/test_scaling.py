"""The scripts that measure how time and memory grow, at their small size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sparseinv as si

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


# --- time ---------------------------------------------------------------------------------------------


def test_scaling_writes_rows_and_a_verdict(tmp_path, capsys):
    import scaling

    out = tmp_path / "scaling.json"
    assert scaling.main(["--size", "s", "--repeats", "1", "--out", str(out)]) == 0
    record = json.loads(out.read_text(encoding="utf-8"))
    assert [(row["series"], row["n"]) for row in record["rows"]] == [
        (series, n) for series, shapes in scaling.SHAPES["s"].items() for _, n in shapes
    ]
    for row in record["rows"]:
        assert row["status"] == "CONVERGED"
        assert row["gap"] <= scaling.TOL
        assert row["products"] >= 2  # A^T b, and the certificate's
        assert row["passes"] == pytest.approx(row["seconds"] / row["pass"], rel=0.02)  # of one repeat
    assert set(record["bandwidth"]["pass"]) == set(record["bandwidth"]["copy"]) == {"1", "2"}
    assert set(record["machine"]) == {
        "cpu", "cores", "system", "python", "sparseinv", "numpy", "scipy", "numba", "llvmlite", "threads",
    }  # fmt: skip
    assert "goal, dense wide" in capsys.readouterr().out


def test_scaling_judges_the_wide_series_alone():
    import scaling

    rows = [
        {"series": "wide", "n": 10, "passes": 9.0},
        {"series": "wide", "n": 20, "passes": 8.0},
        {"series": "csc", "n": 30, "passes": 1.0},
    ]
    assert scaling.verdict(rows) == {"passes": 8, "series": "wide", "met_at_n": [20], "met": False}
    assert scaling.verdict(rows[1:])["met"]
    assert not scaling.verdict(rows[2:])["met"]


def test_growth_is_the_slope():
    import scaling

    rows = [{"series": "wide", "bytes": size, "seconds": size**1.5} for size in (10, 100, 1000)]
    assert list(scaling.growth(rows)) == ["wide: time grows like bytes^1.50"]


def test_sparse_series_has_about_thirty_entries_a_column():
    import scaling

    A, _ = scaling.make("csc", 0, 3000)
    assert 15 <= A.nnz / 3000 <= 40
    assert np.diff(A.indptr).max() > 20 * np.median(np.diff(A.indptr))  # a few columns are in most rows


def test_plot_has_a_panel_a_series(tmp_path):
    pytest.importorskip("matplotlib")
    import scaling

    rows = [
        {"series": series, "n": n, "bytes": 8 * n, "seconds": 1e-3 * n, "pass": 1e-4 * n}
        for series in ("csc", "wide")
        for n in (10, 100)
    ]
    path = scaling.plot(rows, {"pass": {"1": 10.0, "2": 15.0}}, tmp_path / "plots")
    assert path.read_bytes()[:4] == b"\x89PNG"


# --- memory -------------------------------------------------------------------------------------------


def test_memory_measures_both_kinds(tmp_path, capsys):
    import memory

    out = tmp_path / "memory.json"
    assert memory.main(["--size", "s", "--out", str(out)]) == 0
    record = json.loads(out.read_text(encoding="utf-8"))
    assert [row["kind"] for row in record["rows"]] == ["dense", "csc"]
    for row in record["rows"]:
        assert row["status"] == "CONVERGED"
        assert row["matrix"] < row["before"] <= row["after"]
        assert row["share"] == pytest.approx((row["after"] - row["before"]) / row["matrix"], abs=1e-3)
    assert record["met"] == all(row["share"] <= memory.LIMIT for row in record["rows"])
    said = capsys.readouterr().out
    assert "a C-ordered dense A costs one copy of A more" in said
    assert f"A is {12 * memory.PER_COLUMN / 8 + 0.5:.1f} of them" in said


@pytest.mark.parametrize("order", ["F", "C"])
def test_dense_problem_is_filled_in_place(order):
    import memory

    A = memory.dense(70, 130, order)
    assert A.flags.f_contiguous == (order == "F")
    assert A.flags.c_contiguous == (order == "C")
    assert abs(A.mean()) < 0.05
    assert abs(A.std() - 1) < 0.05


def test_sparse_problem_is_canonical():
    import memory

    A = memory.csc(300, 5000)
    assert A.has_canonical_format
    assert (np.diff(A.indptr) == memory.PER_COLUMN).all()
    assert A.indices.max() < 300
    assert np.isfinite(A.data).all()


# --- what the measurements led to ---------------------------------------------------------------------


def test_checking_a_sparse_matrix_makes_no_array_of_its_entries():
    import tracemalloc

    import memory

    from sparseinv.operators.adapt import as_operator

    A = memory.csc(3000, 100_000)
    as_operator(memory.csc(300, 30))  # imports
    tracemalloc.start()
    try:
        inner = as_operator(A)
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 0.05 * A.data.nbytes
        tracemalloc.reset_peak()
        norms = inner.column_norms()
        _, peak = tracemalloc.get_traced_memory()
        assert peak < A.data.nbytes
    finally:
        tracemalloc.stop()
    assert norms[:50] == pytest.approx(np.linalg.norm(A[:, :50].toarray(), axis=0))
    assert inner.max_abs() == np.abs(A.data).max()


@pytest.mark.parametrize("entries", [1, 7, 60, 1 << 20])
@pytest.mark.parametrize("factor", [1.0, 1.0 - 2.0j])
def test_sparse_column_norms_by_blocks(monkeypatch, entries, factor):
    from scipy import sparse

    from sparseinv.operators import matrix

    monkeypatch.setattr(matrix, "_ENTRIES", entries)
    rng = np.random.default_rng(3)
    for density in (0.0, 0.05, 0.4):
        A = sparse.csc_array(factor * sparse.random_array((12, 25), density=density, rng=rng))
        norms = matrix.SparseMatrix(A).column_norms()
        assert norms == pytest.approx(np.linalg.norm(A.toarray(), axis=0))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_bad_entry_of_a_large_sparse_matrix_is_named(value):
    import memory

    A = memory.csc(3000, 5000)
    A.data[100_003] = value  # beyond the first block; entry 13 of column 3333
    with pytest.raises(ValueError, match=rf"A contains {value} at A\[{A.indices[100_003]}, 3333\]"):
        si.solve(A, np.ones(3000), si.L1(1.0))


def test_result_does_not_share_memory_with_a_run_that_goes_on():
    from sparseinv.driver import Run
    from sparseinv.operators.adapt import as_operator
    from sparseinv.problem import Problem
    from sparseinv.stopping import Stopping

    b = np.array([0.75, 0.5, 0.25])  # a largest entry in [1/2, 1): no change of units
    problem = Problem(as_operator(np.eye(3)), b, si.L1(0.3))
    drive = Run(problem, si.CoordinateDescent(), None, Stopping(1e-9, 100))
    result = drive.finish()
    assert result.success
    drive.state.x[:] = 7.0
    assert result.x == pytest.approx([0.45, 0.2, 0.0])
