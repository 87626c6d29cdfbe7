"""Generic problems 001 to 012 without noise: basis pursuit with one lambda, and with one per block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv.entry import solve as solve_problem
from sparseinv.operators.base import Operator
from sparseinv.penalties import L0, L1, L2
from sparseinv.problems.catalogue import CATALOGUE, Case
from sparseinv.problems.report import Demo, Goal, Table
from sparseinv.problems.sparco_blocks import compare_blocks
from sparseinv.problems.sparco_cases import Generic, build
from sparseinv.result import Result
from sparseinv.seismic.metrics import score_spikes, snr_db
from sparseinv.selection.discrepancy import Discrepancy
from sparseinv.selection.theory import lam_max
from sparseinv.solvers.greedy import OMP

Array = np.ndarray[Any, Any]

_TINY = 1e-6  # of lam_max: the level of the recommended penalty
_SEEN = 1e-6  # of the largest coefficient: below, a coefficient counts as zero
_EXACT = 100.0  # [dB] from which a recovery counts as exact
# SPGL1 0.0.3, basis pursuit at its default tolerances, reached these on the published sizes
_REFERENCE = {"007": 122.0, "012": 177.0}
_BY_BLOCK = ("003", "004", "005")


def load(id: str, *, size: str, seed: int, data: Path | None) -> Case:
    """Build a problem; see `sparseinv.problems.load_problem`."""
    g = build(id, size, seed)
    b = g.b
    weights = g.weights if g.recommended else None
    lam = _TINY * lam_max(g.A, b, L1(weights=weights))
    rule = f"{_TINY:g} of lam_max, close to basis pursuit: there is no noise"
    rule += f"; {g.weights_rule}" if g.recommended else ""
    return Case(
        id, size, seed, g.A, b, L1(lam, weights=weights), rule,
        0.0, lambda x: {"SNR [dB]": snr_db(g.truth, x)}, g.truth, (g.truth.size,),
    )  # fmt: skip


def run(id: str, *, size: str, seed: int, data: Path | None, echo: bool) -> Demo:
    """Compare the methods on a problem; see `sparseinv.problems.run_problem`."""
    g = build(id, size, seed)
    m, n = g.A.shape
    count = int(np.count_nonzero(g.truth))
    table = Table(
        f"{CATALOGUE[id].title}: {m} data, {n} coefficients, {count} of them not zero, no noise",
        ("SNR [dB]", "support F1"),
        echo,
    )
    answers = _compare(table, g, exact=id != "006")
    best = "L1 + refit" if "L1 + refit" in answers else "L1"
    goals = [_goal(id, table, best)]
    tables = [table]
    figures: dict[str, Callable[[], Any]] = {id: partial(_draw, id, g, answers, table)}
    if id in _BY_BLOCK:
        more, drawn, gain = compare_blocks(id, size, seed, echo)
        tables += more
        figures |= drawn
        goals += gain
    return Demo(id, tuple(tables), figures, tuple(goals))


def _goal(id: str, table: Table, best: str) -> Goal:
    if id == "006":
        gain = table.score("L1, lam by block") - table.score("L1")
        return Goal("gain of one lambda a scale over one lambda [dB]", gain, 6.0)
    asked = _REFERENCE.get(id, _EXACT)
    return Goal(f"SNR of {best} [dB]", table.score(best), asked)


def _compare(table: Table, g: Generic, *, exact: bool) -> dict[str, Array]:
    b = g.b
    answers: dict[str, Array] = {}

    def add(method: str, result: Result) -> Result:
        x = answers[method] = result.x
        threshold = _SEEN * float(np.abs(x).max(initial=0.0))
        f1 = score_spikes(g.truth, x, threshold=threshold, tolerance=0).f1
        table.solved(method, result, snr_db(g.truth, x), f1, nonzeros=int((np.abs(x) > threshold).sum()))
        return result

    energy = float(np.vdot(b, b).real)
    add("L2", solve_problem(g.A, b, L2(1e-9 * energy / float(np.vdot(g.truth, g.truth).real))))
    add("OMP", solve_problem(g.A, b, L0(1e-10 * energy / g.truth.size), solver=OMP()))
    # without a sparse solution of the L1 problem an exact fit takes all rows and a minute
    pursuit = Discrepancy(residual_norm=0.0 if exact else 1e-3 * float(np.sqrt(energy)))
    first = add("L1", solve_problem(g.A, b, L1(), select=pursuit))
    if isinstance(g.A, Operator):
        add("L1 + refit", refit(g.A, b, first.x))
    if g.weights is not None:
        add("L1, lam by block", solve_problem(g.A, b, L1(weights=g.weights), select=Discrepancy(0.0)))
    _explain(table, g, answers, exact=exact)
    return answers


def refit(A: Any, b: Array, x: Array) -> Result:
    """Return the least-squares solution on the coefficients of x above 1e-6 of the largest, certified."""
    kept = np.abs(x) > _SEEN * np.abs(x).max(initial=0.0)
    return solve_problem(A, b, L1(np.where(kept, 0.0, np.inf)), tol=1e-20)


def _explain(table: Table, g: Generic, answers: dict[str, Array], *, exact: bool) -> None:
    table.note(
        "No noise, so no level to choose: L1 is basis pursuit, the least sum of moduli with A x = b"
        + ("" if exact else " (with one lambda: to 1e-3 of the norm of b)")
        + ", L2 the shortest x, OMP adds coefficients until nothing is left. Coefficients below 1e-6 of the "
        "largest count as zero."
    )
    if "L1 + refit" in answers:
        table.note(
            "A is known by its products, so L1 ends where its certificate meets the tolerance; least "
            f"squares on the {np.count_nonzero(answers['L1 + refit'])} coefficients found give the digits "
            "that the data have."
        )
    if g.weights is None or len(g.blocks) < 2:
        return
    one, by_block = table.score("L1"), table.score("L1, lam by block")
    if min(one, by_block) > _EXACT:
        verdict = "both are exact: nothing is left to gain"
    elif by_block > one:
        verdict = f"it gains {by_block - one:.1f} dB"
    else:
        verdict = f"it loses {one - by_block:.1f} dB: what is dear here has no need to be"
    table.note(f"{g.weights_rule[0].upper()}{g.weights_rule[1:]}. Here {verdict}.")


def _draw(id: str, g: Generic, answers: dict[str, Array], table: Table) -> Any:
    from sparseinv.plotting import figure

    shown = next(name for name in ("L1, lam by block", "L1 + refit", "L1") if name in answers)
    if id == "005":
        shown = "L1"
    drawing, axes = figure(2, 1, size=(9.0, 6.4))
    upper, lower = axes
    # of a sum of two parts the first one is shown: where all samples are known, every method fits the sum
    parts = list(g.blocks)
    shown_part = g.labels == 0 if len(parts) == 2 else np.ones(g.truth.size, dtype=bool)
    label = "coefficient" if g.signal is None else "sample"
    lines = (("L2", "0.6", 1.0, "-"), ("truth", "black", 1.8, "-"), (shown, "tab:red", 0.9, "--"))
    for name, color, width, style in lines:
        x = np.where(shown_part, g.truth if name == "truth" else answers[name], 0.0)
        values = x.real if g.signal is None else np.asarray(g.signal @ x).real
        upper.plot(values, color=color, linewidth=width, linestyle=style, label=name)
    upper.set_xlabel(label)
    upper.set_ylabel(f"amplitude of the {parts[0]}" if len(parts) == 2 else "amplitude")
    upper.set_title(
        f"{id} {CATALOGUE[id].title}; {shown}: {table.score(shown):.0f} dB", fontsize=9, loc="left"
    )
    upper.legend(fontsize=7, ncols=3, loc="upper right")
    floor = 1e-7 * float(np.abs(g.truth).max())
    place = np.arange(g.truth.size)
    for name, color, mark, fill in (
        ("L2", "0.7", ".", "full"), ("truth", "black", "o", "none"), (shown, "tab:red", ".", "full"),
    ):  # fmt: skip
        x = np.abs(g.truth if name == "truth" else answers[name])
        seen = x > floor
        lower.semilogy(
            place[seen], x[seen], mark, color=color, fillstyle=fill,
            markersize=6 if name == "truth" else 3, label=name,
        )  # fmt: skip
    edges = np.cumsum([0, *g.blocks.values()])
    wide = [k for k, size in enumerate(g.blocks.values()) if size > g.truth.size / 20]
    for k, name in enumerate(g.blocks):
        if k:
            lower.axvline(edges[k] - 0.5, color="tab:blue", linewidth=0.7)
        if k in wide and len(g.blocks) > 1:
            middle = 0.5 * (edges[k] + edges[k + 1]) / g.truth.size
            lower.text(
                middle, 0.02, name, transform=lower.transAxes, ha="center", fontsize=8, color="tab:blue"
            )
    lower.set_xlim(-0.5, g.truth.size - 0.5)
    lower.set_xlabel("coefficient")
    lower.set_ylabel("modulus")
    lower.legend(fontsize=7, ncols=3, loc="upper right")
    return drawing, axes
