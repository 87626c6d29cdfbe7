"""The command line: files in, report out, exit status; nothing is written half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmwrite

import sparseinv as si
from sparseinv.cli import BAD_INPUT, CERTIFIED, NOT_CERTIFIED, main


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write a small problem in every format."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((30, 50))
    b = A[:, 3] - 2 * A[:, 17] + 0.01 * rng.standard_normal(30)
    np.save(tmp_path / "A.npy", A)
    np.savetxt(tmp_path / "A.csv", A, delimiter=",")
    sparse.save_npz(tmp_path / "A.npz", sparse.csr_array(A))
    mmwrite(tmp_path / "A.mtx", sparse.coo_array(A))
    np.save(tmp_path / "b.npy", b)
    np.savetxt(tmp_path / "b.txt", b)
    np.savetxt(tmp_path / "b.csv", b, delimiter=",")
    return tmp_path


def run(files: Path, *words: str) -> int:
    """Run the command in this process; words that name a file there are given its path."""
    return main([str(files / w) if (files / w).exists() and w not in (".", "") else w for w in words])


@pytest.mark.parametrize("A", ["A.npy", "A.csv", "A.npz", "A.mtx"])
@pytest.mark.parametrize("b", ["b.npy", "b.txt", "b.csv"])
def test_formats(files: Path, A: str, b: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = files / "x.npy"
    assert run(files, "solve", A, b, "--lam", "0.1max", "-o", str(out)) == CERTIFIED
    assert "global within" in capsys.readouterr().out
    matrix, data = np.load(files / "A.npy"), np.load(files / "b.npy")
    penalty = si.L1(0.1 * si.lam_max(matrix, data, si.L1()))
    assert si.certify(matrix, data, penalty, np.load(out)).relative <= 1e-6


@pytest.mark.parametrize("penalty", ["l0", "l1", "l2", "elasticnet"])
@pytest.mark.parametrize("lam", ["auto", "0.5"])
def test_penalties(files: Path, penalty: str, lam: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "solve", "A.npy", "b.npy", "--penalty", penalty, "--lam", lam, "--json") == CERTIFIED
    record = json.loads(capsys.readouterr().out)
    assert record["success"]
    assert record["status"] == "CONVERGED"
    assert (record["selection"] is None) == (lam != "auto")


def test_groups_weights_and_a_vector(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "labels.txt").write_text(" ".join(["deep", "shallow"] * 25))
    np.save(files / "lams.npy", np.array([1.0, 2.0]))
    np.save(files / "weights.npy", np.r_[np.inf, np.ones(49)])
    words = ["solve", "A.npy", "b.npy", "--groups", "labels.txt", "--lam", "lams.npy", "--json"]
    assert run(files, *words) == CERTIFIED
    assert json.loads(capsys.readouterr().out)["lam"] == [1.0, 2.0]
    assert run(files, *words, "--penalty", "groupl1") == CERTIFIED
    assert run(files, "solve", "A.npy", "b.npy", "--weights", "weights.npy", "-o", str(files / "x.csv")) == 0
    assert np.loadtxt(files / "x.csv")[0] == 0.0


@pytest.mark.parametrize("solver", ["auto", "fista", "ista", "cd", "workingset", "irls", "irl1"])
def test_solvers(files: Path, solver: str) -> None:
    assert run(files, "solve", "A.npy", "b.npy", "--lam", "1", "--solver", solver) == CERTIFIED


def test_not_certified(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """x is written, the report says what to do, and the exit status is 1."""
    out = files / "x.npy"
    words = ["solve", "A.npy", "b.npy", "--lam", "1", "--solver", "ista", "--max-iter", "2", "-o", str(out)]
    assert run(files, *words) == NOT_CERTIFIED
    assert "MAX_ITER" in capsys.readouterr().out
    assert np.load(out).shape == (50,)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["solve", "none.npy", "b.npy"], "none.npy does not exist"),
        (["solve", "A.npy", "b.npy", "--lam", "lots"], "--lam is 'lots'"),
        (["solve", "A.npy", "b.npy", "--lam", "infmax"], "the factor on lam_max"),
        (["solve", "A.npy", "b.npy", "--lam", "-1"], "must be >= 0"),
        (["solve", "A.npy", "b.npy", "--tol", "-1"], "tol is -1.0"),
        (["solve", "A.npy", "b.npy", "--penalty", "l2", "--lam", "0.1max"], "no finite lam_max"),
        (["solve", "A.npy", "b.npy", "--penalty", "l0", "--lam", "1", "--solver", "fista"], "convex penalty"),
        (["solve", "A.npy", "b.npy", "--penalty", "groupl1"], "groups is missing"),
        (["solve", "A.npy", "b.npy", "--l1-ratio", "0.5"], "--l1-ratio goes with"),
        (["solve", "A.npy", "b.npy", "-o", "x.doc"], "no known suffix"),
        (["solve", "A.npy", "b.npy", "-o", "nowhere/x.npy"], "does not exist"),
        (["solve", "b.npy", "b.npy"], "a matrix is needed"),
        (["solve", "A.npy", "A.npy"], "a vector is needed"),
        (["solve", "empty.npy", "b.npy"], "cannot be read"),
        (["solve", "A.npy", "empty.csv"], "is empty"),
        (["solve", "broken.npz", "b.npy"], "no matrix saved by"),
        (["demo", "nothing"], "there is no demo 'nothing'"),
    ],
)
def test_bad_input(files: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence on stderr, exit status 2, no traceback."""
    for name in ("empty.npy", "empty.csv", "broken.npz"):
        (files / name).write_bytes(b"")
    assert run(files, *words) == BAD_INPUT
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


def test_lists_and_information(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == CERTIFIED
    assert "ecg" in capsys.readouterr().out
    assert main(["info", "--json"]) == CERTIFIED
    assert json.loads(capsys.readouterr().out)["sparseinv"] == si.__version__


def test_interrupted_run_writes_its_result(files: Path) -> None:
    """Ctrl-C leaves the best x in the output file, and exit status 130."""
    rng = np.random.default_rng(1)
    t = np.arange(-40, 41) * 0.002
    a = (np.pi * 25 * t) ** 2
    wavelet = (1 - 2 * a) * np.exp(-a)
    A = np.array([np.convolve(e, wavelet, mode="same") for e in np.eye(600)]).T
    np.save(files / "A.npy", A)
    np.save(files / "b.npy", A @ np.where(rng.random(600) < 0.1, 1.0, 0.0) + 0.1 * rng.standard_normal(600))
    out = files / "x.npy"
    words = ["solve", "A.npy", "b.npy", "--lam", "1e-7max", "--solver", "ista", "--tol", "0", "-o", "x.npy"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sparseinv", *words, "--max-iter", "100000000"],
        cwd=files,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(si.__file__).resolve().parent.parent)},
    )
    time.sleep(8.0)
    process.send_signal(signal.SIGINT)
    report, errors = process.communicate(timeout=60)
    assert process.returncode == 130, report + errors
    assert "INTERRUPTED" in report
    assert np.load(out).shape == (600,)
