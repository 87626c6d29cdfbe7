"""The catalogue of numbered problems: every entry loads, repeats from its seed and judges answers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseinv import problems
from sparseinv.cli import BAD_INPUT, CERTIFIED, NOT_CERTIFIED, main
from sparseinv.operators import as_operator
from sparseinv.problems import CATALOGUE, Entry, load_problem, run_problem
from sparseinv.problems.report import Demo, Goal, Missing, Table
from sparseinv.problems.sparco_cases import BUILDERS

DATA = Path(__file__).resolve().parent.parent / "../shared/data"
IDS = [id for id, entry in CATALOGUE.items() if "s" in entry.sizes]


@pytest.mark.parametrize("id", IDS)
def test_every_problem_loads_and_repeats(id: str) -> None:
    try:
        case = load_problem(id, size="s", seed=3, data=DATA if DATA.is_dir() else None)
    except Missing as missing:
        pytest.skip(str(missing))
    again = load_problem(id, size="s", seed=3, data=DATA if DATA.is_dir() else None)
    m, n = as_operator(case.A).shape
    assert case.id == id
    assert case.b.shape == (m,)
    assert np.isfinite(case.b).all()
    assert np.array_equal(case.b, again.b)
    assert case.rule
    assert case.sigma >= 0 or np.isnan(case.sigma)
    if case.dims:
        assert int(np.prod(case.dims)) == n
    scores = case.score(np.zeros(n))
    assert scores
    assert all(isinstance(name, str) and not np.iscomplex(value) for name, value in scores.items())
    if case.truth is not None:
        assert case.truth.shape == (n,)
        misfit = float(np.linalg.norm(as_operator(case.A).matvec(case.truth) - case.b))
        # the truth explains the data but for noise: its norm, with room for the tail of its distribution
        room = 1e-6 * float(np.linalg.norm(case.b))
        if not np.isnan(case.sigma):
            assert misfit <= 1.5 * case.sigma * np.sqrt(m) + room


def test_titles_fit_and_modules_exist() -> None:
    folder = Path(problems.__file__).parent
    for id, entry in CATALOGUE.items():
        assert (folder / f"{entry.module}.py").is_file(), id
        assert set(entry.sizes) <= set("sml"), id
        assert len(entry.title) < 110, id
        assert id.isalnum(), id


def test_every_problem_has_a_large_size_or_says_why_not() -> None:
    """Described, not built: what is built at size l takes up to two minutes."""
    for id, entry in CATALOGUE.items():
        assert ("l" in entry.sizes) == (entry.largest == ""), id
        if entry.module == "sparco":
            small, full, large, _ = BUILDERS[id]
            assert small < full, id
            assert (large > full) if "l" in entry.sizes else large == 0, id
            continue
        module = import_module(f"sparseinv.problems.{entry.module}")
        tables = [vars(module)[name] for name in ("_SIZES", "_TRACES", "_LINE") if hasattr(module, name)]
        if "l" in entry.sizes:
            for table in tables:
                assert "l" in table, id


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: load_problem("nothing"), "there is no problem 'nothing'"),
        (lambda: run_problem("nothing"), "there is no problem 'nothing'"),
        (lambda: load_problem(IDS[0], size="x"), "comes in size"),
    ],
)
def test_refusals(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


class StandIn:
    """A module of the catalogue whose run misses what is asked, or is not certified."""

    def __init__(self, reached: float, status: str = "CONVERGED") -> None:
        self.reached, self.status = reached, status

    def run(self, id: str, **_: Any) -> Demo:
        table = Table("a stand-in", ("SNR [dB]",))
        table.baseline("zero", 0.0)
        table.rows[0] = table.rows[0].__class__("zero", {"SNR [dB]": 0.0}, 1, self.status, "||b||", 3, 0.1)
        return Demo(id, (table,), {}, (Goal("SNR [dB]", self.reached, 10.0),))


@pytest.mark.parametrize(
    ("stand_in", "code"),
    [
        (StandIn(10.0), CERTIFIED),
        (StandIn(9.9), NOT_CERTIFIED),
        (StandIn(float("nan")), NOT_CERTIFIED),
        (StandIn(11.0, "MAX_ITER"), NOT_CERTIFIED),
    ],
)
def test_the_command_fails_where_a_goal_is_missed(
    stand_in: StandIn, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(CATALOGUE, "X1", Entry("a stand-in", "stand_in", "m"))
    monkeypatch.setattr("sparseinv.problems.catalogue._module", lambda id, size: stand_in)
    table = tmp_path / "table.md"
    assert main(["problems", "run", "X1", "--table", str(table), "--out", str(tmp_path / "out")]) == code
    said = capsys.readouterr().out
    assert ("MISSED" in said) == (not stand_in.reached >= 10.0)
    text = table.read_text(encoding="utf-8")
    (line,) = (part for part in text.splitlines() if part.startswith("| X1 | zero | SNR [dB] 0 | 1 |"))
    assert line.replace("\\|", "").count("|") == 9  # as many cells as the heading has
    assert "asked at least 10" in text
    assert main(["problems", "run", "X1", "--size", "L"]) == CERTIFIED  # skipped: not in this size
    assert "SKIPPED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run"], "needs the ID"),
        (["run", "nothing"], "there is no problem 'nothing'"),
        (["list", "D1"], "takes no ID"),
        (["run", "all", "--table", "absent/table.md"], "the folder of --table"),
    ],
)
def test_the_command_refuses(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["problems", *arguments]) == BAD_INPUT
    assert sentence in capsys.readouterr().err


def test_the_command_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["problems"]) == CERTIFIED
    said = capsys.readouterr().out
    for id, entry in CATALOGUE.items():
        assert id in said
        assert entry.title in said
        assert entry.largest in said
