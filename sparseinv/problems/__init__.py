"""Problems with real or known truth, solved side by side: ``sparseinv demo`` and ``sparseinv problems``."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from sparseinv.problems.catalogue import CATALOGUE, Case, Entry, load_problem, run_problem
from sparseinv.problems.report import Demo, Missing, save
from sparseinv.threads import single_threaded_blas

#: name and summary of every demo
DEMOS = {
    "ecg": "a real electrocardiogram from 30 % of its samples, in shifted wavelets",
    "ricker": "thin beds, where greedy choices go wrong and exchanges of columns put them right",
    "spikes": "reflectivity from blurred traces: a synthetic gather, and a real stacked section",
    "shots": "a real marine gather with 40 % of its shots missing, in plane waves",
}

__all__ = ["CATALOGUE", "DEMOS", "Case", "Entry", "load_problem", "run_demo", "run_problem", "solve_demo"]


def solve_demo(
    name: str, *, data: Path | None = None, size: str = "m", seed: int = 0, echo: bool = False
) -> Demo:
    """Solve one of the problems of `DEMOS` with every method and return tables and figures.

    Parameters
    ----------
    name : str
        A key of `DEMOS` or of `CATALOGUE`.
    data : Path, optional
        File or folder with field data; by default the folder named by the environment variable
        SPARSEINV_DATA, and where there is none the package index for what it offers.
    size : {"s", "m"}
        Small (a second or two) or as shown in the guide (up to 15 s).
    seed : int
        Seed of masks, spikes and noise.
    echo : bool
        Print each row of a table as it is computed.

    Raises
    ------
    Missing
        The data or an optional package is not there; the text says which and what to do.
    """
    if name in CATALOGUE:
        return run_problem(name, size=size, seed=seed, data=data, echo=echo)
    if name not in DEMOS:
        raise ValueError(
            f"there is no demo {name!r}; choose from {', '.join(DEMOS)}, or a problem of the catalogue"
        )
    # the systems are small: one thread is faster on a busy machine, and repeats bit by bit
    with single_threaded_blas():
        demo = import_module(f"sparseinv.problems.{name}").solve(data=data, size=size, seed=seed, echo=echo)
    assert isinstance(demo, Demo)
    return demo


def run_demo(name: str, *, out: Path, data: Path | None = None, size: str = "m", seed: int = 0) -> bool:
    """Print the tables of a demo, write figures and numbers to ``out``; tell whether all is certified.

    A demo whose data are missing is skipped, says so, and counts as done.
    """
    print(f"\n== {name}: {DEMOS.get(name) or CATALOGUE[name].title}", flush=True)
    if not _compiled():
        print("   compiling the loops, once on this machine: up to half a minute ...", flush=True)
    try:
        demo = solve_demo(name, data=data, size=size, seed=seed, echo=True)
    except Missing as missing:
        print(f"   SKIPPED: {missing}", flush=True)
        return True
    for goal in demo.goals:
        print(f"   {goal}", flush=True)
    for path in save(demo, out):
        print(f"   wrote {path}", flush=True)
    if not demo.certified:
        print("   not every answer is certified: the status column says which", flush=True)
    return demo.certified


def _compiled() -> bool:
    """Tell whether compiled loops lie on disk."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(named) if named else Path(__file__).resolve().parent.parent / "kernels"
    return any(folder.rglob("*.nbi"))
