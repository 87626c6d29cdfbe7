"""The demos at a small size: every row certified, and the sparse answer ahead of its baselines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sparseinv.cli import CERTIFIED, main
from sparseinv.problems import DEMOS, solve_demo
from sparseinv.problems.report import Missing, save

FIELD = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def field_data() -> Path:
    """Return the folder of field data, or skip."""
    if not (FIELD / "mobil.npy").is_file():
        pytest.skip("no field data beside the checkout (../shared/data)")
    return FIELD


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARSEINV_DATA", raising=False)


def test_ecg(tmp_path: Path) -> None:
    """L1 beats zero filling, linear interpolation and L2 on jittered samples."""
    demo = solve_demo("ecg", size="s")
    table = demo.tables[0]
    assert demo.certified
    assert table.score("L1") > max(table.score(name) for name in ("zero-fill", "linear", "L2"))
    written = save(demo, tmp_path)
    assert {path.suffix for path in written} == {".json", ".png"}
    assert json.loads(written[0].read_text())[0]["rows"]


def test_synthetic_spikes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without field data the synthetic gather is solved, and the section is skipped in words."""
    assert main(["demo", "spikes", "--size", "s", "--out", str(tmp_path)]) == CERTIFIED
    assert "SKIPPED: the real section needs" in capsys.readouterr().out
    table = solve_demo("spikes", size="s").tables[0]
    assert table.score("L1") > table.score("L2") + 3
    assert table.score("reweighted L2", "spike F1") > table.score("L2", "spike F1")


def test_real_section() -> None:
    """At the published level the objective is below the published one, with far fewer coefficients."""
    demo = solve_demo("spikes", data=field_data(), size="s")
    section = demo.tables[1]
    assert demo.certified
    assert section.score("L1", "objective") <= 31.54
    nonzeros = {row.method: row.nonzeros or 0 for row in section.rows}
    assert nonzeros["reweighted L1"] < nonzeros["L1"] < 0.2 * nonzeros["L2"]


def test_real_shots() -> None:
    """Where events dip, L1 recovers the missing shots and linear interpolation does not."""
    demo = solve_demo("shots", data=field_data(), size="s")
    dipping = demo.tables[-1]
    assert dipping.score("L1") > max(dipping.score(name) for name in ("zero-fill", "linear", "L2")) + 3


def test_missing_data(tmp_path: Path) -> None:
    """A folder without the file is no reason for a traceback."""
    (tmp_path / "broken.npy").write_bytes(b"")
    with pytest.raises((Missing, ValueError)):
        solve_demo("shots", data=tmp_path / "broken.npy", size="s")


def test_names() -> None:
    assert set(DEMOS) == {"ecg", "spikes", "shots"}
    with pytest.raises(ValueError, match="there is no demo 'x'"):
        solve_demo("x")


def test_seed_repeats() -> None:
    first, second = (solve_demo("spikes", size="s", seed=3).tables[0] for _ in range(2))
    assert [row.scores for row in first.rows] == [row.scores for row in second.rows]
    assert np.isfinite(first.score("L1"))
