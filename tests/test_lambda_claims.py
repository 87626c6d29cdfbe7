"""The experiments of benchmarks/lambda_claims.py: every row runs, and what is exact is exact at any size."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import sparseinv as si

ROOT = Path(__file__).resolve().parent.parent
ROWS = [f"0{c}" for c in "abcde"] + [f"1{c}" for c in "abcdefg"] + [f"2{c}" for c in "abcdefg"]
# these hold for problems of any size; the others are about averages
EXACT = {"0c", "0e", "1c", "1e", "2a", "2b", "2d", "2f"}
LEARNED = {"0a", "0b", "1a", "1d"}


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_rows_are_those_of_the_table():
    import lambda_claims

    assert list(lambda_claims.ROWS) == ROWS


@pytest.mark.parametrize("name", ROWS)
def test_row_at_tiny_size(name):
    import lambda_claims

    found = lambda_claims.ROWS[name](True)
    if name in LEARNED and not hasattr(si, "tune_lams"):
        assert found.met is None
        return
    assert found.claim
    assert found.asked
    assert any(character.isdigit() for character in found.reached)
    assert "nan" not in found.reached
    if name in EXACT:
        assert found.met, found.reached
    for panel in found.panels:
        for x, y in panel.curves.values():
            assert len(x) == len(y) > 1
            assert np.isfinite(y).all()
    bars = {line.count("|") for line in found.table if line.startswith("|")}
    assert bars
    if name not in ("2b", "2c", "2e"):  # two tables there
        assert len(bars) == 1


def test_command_writes_and_replaces_rows(tmp_path, capsys):
    import lambda_claims

    out = tmp_path / "claims.md"
    assert lambda_claims.main(["--smoke", "--only", "2a,2b", "--out", str(out)]) == 0
    assert lambda_claims.main(["--smoke", "--only", "2f", "--out", str(out)]) == 0
    about, *records = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert "numpy" in about
    assert [record["row"] for record in records] == ["2a", "2b", "2f"]
    assert all(record["met"] is True for record in records)
    text = out.read_text()
    assert "3 of 3 rows reach" in text
    assert "| 2f |" in text
    assert (tmp_path / "claims_2b.png").stat().st_size > 5000
    out.unlink()
    assert lambda_claims.main(["--report", "--out", str(out)]) == 0
    assert out.read_text() == text
    with pytest.raises(SystemExit):
        lambda_claims.main(["--only", "9z"])
    assert "9z" in capsys.readouterr().err


def test_lowest_finds_the_vertex_of_a_parabola_in_log_x():
    from claim import lowest

    x = np.geomspace(0.1, 10.0, 23)
    assert lowest(x, (np.log(x) - math.log(1.7)) ** 2 + 3.0) == pytest.approx(1.7, rel=1e-9)
    assert lowest(x, -np.log(x)) <= x[-1]  # no vertex inside: stays on the grid


def test_best_thresholds_against_simulation():
    """The risk by quadrature is that of soft thresholds on drawn data."""
    from claim_scaling import _threshold_best

    n, k, tau = 300, 10, 5.0
    rng = np.random.default_rng(0)
    x = np.zeros((4000, n))
    x[:, :k] = tau * rng.standard_normal((4000, k))
    y = x + rng.standard_normal(x.shape)

    def risk(t):
        return float(np.mean(np.sum((np.sign(y) * np.maximum(np.abs(y) - t, 0.0) - x) ** 2, axis=1)))

    best = _threshold_best(False, n, k, tau)
    assert risk(best) < min(risk(0.85 * best), risk(1.15 * best))
