"""``sparseinv seismic``: sparse inversion from file to file, with a report."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv import __version__
from sparseinv.cli_seismic_tasks import EXCLUSIVE, TASKS, Outcome
from sparseinv.seismic.gather import Gather
from sparseinv.seismic.io import check_ending, load_gather, save_gather
from sparseinv.seismic.whole_file import check_place

_CONVERGED, _NOT_CONVERGED, _INTERRUPTED = 0, 1, 130


def add_seismic(commands: Any) -> None:
    """Add the command and its four tasks to the parser of the command line."""
    seismic = commands.add_parser(
        "seismic", help="deconvolve, interpolate, deblend, or remove multiples: from file to file"
    )
    tasks = seismic.add_subparsers(required=True, metavar="task")
    for name, (summary, options, run) in TASKS.items():
        # an abbreviation of --params would be read after the file is looked for, and have no effect
        task = tasks.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        _common(task)
        options(task)
        task.set_defaults(run=_command, task=run, task_name=name)


def with_parameter_file(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with those of ``--params FILE`` put before them, so that theirs give way.

    The file is TOML: ``lam = 0.3`` stands for ``--lam 0.3``, ``true`` for an option without a
    value, a list for numbers separated by commas. Of options that exclude one another, such as the shapes of
    a wavelet, one in the arguments makes those of the file give way, too.
    """
    given = list(arguments)
    if len(given) < 2 or given[0] != "seismic":
        return given
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--params", type=Path)
    found, rest = finder.parse_known_args(given[2:])
    if found.params is None:
        return given
    try:
        settings = tomllib.loads(found.params.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{found.params} is no TOML file of parameters: {error}") from None
    given_here = {word.partition("=")[0] for word in rest}
    filed = {f"--{name.replace('_', '-')}" for name in settings}
    aside: set[str] = set()
    for options, described in EXCLUSIVE:
        if given_here.intersection(options) and filed.intersection(options):
            aside.update(options, described)
    words = []
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, dict):
            raise ValueError(f"{found.params} holds a table [{name}], but only lines name = value are known")
        if option in aside:
            continue
        if isinstance(value, bool):
            words += [option] if value else []
        elif isinstance(value, list):
            words.append(f"{option}={','.join(map(str, value))}")
        else:
            words.append(f"{option}={value}")
    return [*given[:2], *words, *rest]


def _common(task: argparse.ArgumentParser) -> None:
    task.add_argument("input", type=Path, metavar="IN", help=".sgy, .segy, .su, .npy or .npz")
    task.add_argument("output", type=Path, metavar="OUT", help="likewise; SEG-Y and SU keep all headers")
    task.add_argument("--params", type=Path, help="TOML file with options, name = value; options here win")
    task.add_argument("--report", type=Path, help="write a page about it: .html, or .png")
    task.add_argument("--dt", type=float, help="sampling interval [s] where the file states none")
    task.add_argument("--key", help="name of the traces in an .npz file")
    task.add_argument("--lam", type=float, help="the level; chosen from the data if not given")
    task.add_argument("--tol", type=float, default=1e-3, help="certificate relative to 1/2 ||b||^2 (1e-3)")
    task.add_argument("--max-time", type=float, help="seconds a solve may take; the best so far is written")
    task.add_argument("--progress", action="store_true", help="show a progress bar")


def _command(options: argparse.Namespace) -> int:
    """Check the names of files, load, work, write the output whole, then the report; tell what happened."""
    from sparseinv.seismic.report import check_report

    check_ending(options.output)
    check_place(options.output)
    if options.output.exists() and options.output.samefile(options.input):
        raise ValueError("OUT is IN; name another file, the input is not overwritten")
    if options.report is not None:
        check_report(options.report)
    gather = load_gather(options.input, dt=options.dt, key=options.key)
    if gather.traces.dtype.kind == "c":
        raise TypeError(f"{options.input} holds complex samples, but these tasks work on real traces")
    try:
        outcome: Outcome = options.task(options, gather)
    except KeyboardInterrupt:
        print("sparseinv: interrupted before there was anything to write", file=sys.stderr)
        return _INTERRUPTED
    interrupted = _saved(options.output, outcome.gather) or outcome.interrupted
    facts = _facts(options, gather, outcome, interrupted)
    print("\n".join(f"{name:<12} {text}" for name, text in facts.items()))
    print(f"{'written':<12} {options.output}")
    if options.report is not None:
        try:
            _report(options, gather, outcome, facts)
        except KeyboardInterrupt:
            interrupted = True
            print(f"{'report':<12} interrupted, not written")
        else:
            print(f"{'report':<12} {options.report}")
    if interrupted:
        return _INTERRUPTED
    return _CONVERGED if all(result.success for result in outcome.results) else _NOT_CONVERGED


def _saved(path: Path, gather: Gather) -> bool:
    """Write a gather; tell whether Ctrl-C came, which only a second time keeps it from being written."""
    try:
        save_gather(path, gather)
        return False
    except KeyboardInterrupt:
        save_gather(path, gather)
        return True


def _facts(
    options: argparse.Namespace, gather: Gather, outcome: Outcome, interrupted: bool
) -> dict[str, str]:
    """Return what is worth knowing about a run, by name."""
    traces, fit = gather.traces.astype(float), outcome.fit
    if fit.shape != traces.shape and outcome.shown is not None:  # traces were added
        traces, fit = outcome.shown
    worst = max(outcome.results, key=lambda result: float(result.certificate.relative))
    met = sum(result.success for result in outcome.results)
    total = float(np.linalg.norm(traces)) or 1.0
    explained = 1.0 - (float(np.linalg.norm(traces - fit)) / total) ** 2
    late = {"INTERRUPTED": "by Ctrl-C; what was found until then is written"} if interrupted else {}
    return {
        "task": f"{options.task_name} of {options.input.name}, sparseinv {__version__}",
        **late,
        "traces": f"{traces.shape[0]} of {traces.shape[1]} samples, dt {gather.dt:g} s",
        "lambda": outcome.rule,
        "status": f"{met} of {len(outcome.results)} solves converged; worst: {worst.status.name}",
        "certificate": f"worst: {worst.certificate}",
        "explained": f"{100 * explained:.2f} % of the energy of the input",
        "non-zeros": str(sum(int(result.support.size) for result in outcome.results)),
        "products": str(sum(result.products.total for result in outcome.results)),
        "seconds": f"{sum(result.seconds for result in outcome.results):.2f}",
        **outcome.facts,
    }


def _report(options: argparse.Namespace, gather: Gather, outcome: Outcome, facts: dict[str, str]) -> None:
    from sparseinv.seismic.report import Report, write_report

    data, fit = (gather.traces.astype(float), outcome.fit) if outcome.shown is None else outcome.shown
    offsets = outcome.gather.offsets
    named = offsets is not None and offsets.size == data.shape[0] and bool((np.diff(offsets) != 0).all())
    slowest = sorted(outcome.results, key=lambda result: -result.products.total)[:3]
    title = facts["task"] + (" (INTERRUPTED)" if "INTERRUPTED" in facts else "")
    report = Report(
        title=title, data=data, fit=fit, dt=gather.dt, facts=facts,
        result=outcome.gather.traces,
        histories={f"solve {k + 1}": result.history for k, result in enumerate(slowest)},
        curve=outcome.curve, x=offsets if named else None,
        xlabel="offset [m]" if named else "trace", spikes=outcome.spikes,
    )  # fmt: skip
    write_report(options.report, report)
