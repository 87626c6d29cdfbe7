"""The command line: ``sparseinv solve | demo | problems | seismic | bench | info``."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv import __version__

Array = np.ndarray[Any, Any]

_PENALTIES = {"l0": "L0", "l1": "L1", "l2": "L2", "elasticnet": "ElasticNet", "groupl1": "GroupL1"}
_SOLVERS = {
    "fista": "FISTA",
    "bb": "BarzilaiBorwein",
    "ista": "ISTA",
    "branchandbound": "BranchAndBound",
    "cd": "CoordinateDescent",
    "workingset": "WorkingSet",
    "ridge": "Ridge",
    "irls": "IRLS",
    "irl1": "IRL1",
    "localsearch": "LocalSearch",
    "messagepassing": "MessagePassing",
    "portfolio": "Portfolio",
    "ols": "OLS",
    "omp": "OMP",
    "sbl": "SparseBayesian",
    "sl0": "SL0",
}
CERTIFIED, NOT_CERTIFIED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class BadInput(Exception):
    """Something on the command line or in a file is wrong; the text says what."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0 certified, 1 not certified, 2 bad input, 130 interrupted."""
    from sparseinv.cli_seismic import with_parameter_file

    parser = _parser()
    try:
        options = parser.parse_args(with_parameter_file(sys.argv[1:] if arguments is None else arguments))
        return int(options.run(options))
    except (BadInput, ImportError, ValueError, TypeError) as error:
        print(f"sparseinv: {error}", file=sys.stderr)
        return BAD_INPUT
    except FileNotFoundError as error:
        said = f"{error.filename} does not exist" if error.filename else error
        print(f"sparseinv: {said}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"sparseinv: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("sparseinv: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    from sparseinv.cli_seismic import add_seismic

    parser = argparse.ArgumentParser(
        prog="sparseinv",
        description="Recover sparse signals, with certificates. Exit status 0 only when certified.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    solve = commands.add_parser("solve", help="minimise 1/2 ||A x - b||^2 + penalty for A and b in files")
    solve.add_argument("A", type=Path, help=".npy, .csv, .mtx, or .npz (scipy.sparse)")
    solve.add_argument("b", type=Path, help=".npy, .csv or .txt")
    solve.add_argument("--penalty", choices=_PENALTIES, default="l1")
    solve.add_argument(
        "--lam",
        default="auto",
        help="a number, 0.1max (times lam_max), auto, or a file with a vector (default auto)",
    )
    solve.add_argument("--weights", type=Path, help="file with relative factors, lam_i = lam * weights_i")
    solve.add_argument("--groups", type=Path, help="file with one label per coefficient")
    solve.add_argument("--nonnegative", action="store_true", help="require x >= 0")
    solve.add_argument("--l1-ratio", type=float, default=None, help="share of L1 in the elastic net")
    solve.add_argument("--solver", choices=["auto", *_SOLVERS], default="auto")
    solve.add_argument("--tol", type=float, default=1e-6, help="certificate relative to 1/2 ||b||^2")
    solve.add_argument("--max-iter", type=int)
    solve.add_argument("--max-time", type=float, help="seconds")
    solve.add_argument("--x0", type=Path, help="file with a starting point")
    solve.add_argument("-o", "--output", type=Path, help="write x here (.npy, .csv or .txt)")
    solve.add_argument("--progress", action="store_true", help="show a progress bar")
    solve.add_argument("--json", action="store_true", help="print the report as JSON")
    solve.set_defaults(run=_solve)

    demo = commands.add_parser("demo", help="run a demo; without a name: list them")
    demo.add_argument("name", nargs="?", help="name of a demo, number of a problem, or all (demos)")
    demo.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for the figures")
    demo.add_argument("--data", type=Path, help="file or folder with field data")
    demo.add_argument("--size", choices=["s", "m"], default="m")
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)

    problems = commands.add_parser("problems", help="the numbered problems; without arguments: list them")
    problems.add_argument("action", nargs="?", choices=["list", "run"], default="list")
    problems.add_argument("ids", nargs="*", metavar="ID", help="numbers of problems, or all")
    problems.add_argument("--size", type=str.lower, choices=["s", "m", "l"], default="m")
    problems.add_argument("--seed", type=int, default=0)
    problems.add_argument("--data", type=Path, help="file or folder with field data")
    problems.add_argument("--out", type=Path, help="folder for figures and numbers")
    problems.add_argument("--table", type=Path, help="write the scoreboard here, as Markdown")
    problems.set_defaults(run=_problems)

    add_seismic(commands)

    bench = commands.add_parser("bench", help="time the solvers on three seeded problems")
    bench.add_argument("--size", choices=["s", "m"], default="m")
    bench.add_argument("--seed", type=int, default=0)
    bench.add_argument("--repeats", type=int, default=3, help="solves of which the median is shown")
    bench.add_argument("--json", action="store_true", help="print the rows as JSON")
    bench.set_defaults(run=_bench)

    info = commands.add_parser("info", help="print versions, cores and libraries")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=_info)
    return parser


# --- solve -------------------------------------------------------------------------------------------


def _solve(options: argparse.Namespace) -> int:
    import sparseinv as si
    from sparseinv.seismic.whole_file import check_place

    if options.output is not None:
        _writer(options.output)  # refuse what cannot be written before any work
        check_place(options.output)
    A, b = _matrix(options.A), _vector(options.b)
    penalty = _penalty(options, A, b)
    solver = "auto" if options.solver == "auto" else getattr(si, _SOLVERS[options.solver])()
    x0 = None if options.x0 is None else _vector(options.x0)
    interrupted = False
    try:
        result = si.solve(
            A, b, penalty, solver=solver, x0=x0, tol=options.tol, max_iter=options.max_iter,
            max_time=options.max_time, progress=options.progress,
        )  # fmt: skip
    except si.Interrupted as stop:
        result, interrupted = stop.result, True
    if options.output is not None:
        _write(options.output, result.x)
    print(json.dumps(_record(result), indent=1) if options.json else result)
    if options.output is not None and not options.json:
        print(f"  written     {options.output}")
    if interrupted:
        return INTERRUPTED
    return CERTIFIED if result.success else NOT_CERTIFIED


def _penalty(options: argparse.Namespace, A: Any, b: Array) -> Any:
    import sparseinv as si

    fields: dict[str, Any] = {}
    if options.weights is not None:
        fields["weights"] = _vector(options.weights)
    if options.groups is not None:
        fields["groups"] = _labels(options.groups)
    if options.nonnegative:
        if options.penalty == "groupl1":
            raise BadInput("--nonnegative does not go with --penalty groupl1")
        fields["nonnegative"] = True
    if options.l1_ratio is not None:
        if options.penalty != "elasticnet":
            raise BadInput("--l1-ratio goes with --penalty elasticnet only")
        fields["l1_ratio"] = options.l1_ratio
    kind = getattr(si, _PENALTIES[options.penalty])
    text = options.lam.strip()
    if text == "auto":
        return kind(**fields)
    if text.endswith("max"):
        factor = _number(text[:-3] or "1", "--lam")
        if not 0 <= factor < math.inf:
            raise BadInput(f"--lam is {text!r}, but the factor on lam_max must be finite and >= 0")
        largest = si.lam_max(A, b, kind(**fields))
        if not math.isfinite(largest):
            raise BadInput(f"--lam {text}: penalty {options.penalty} has no finite lam_max; give a number")
        return kind(factor * largest, **fields)
    if Path(text).suffix in (".npy", ".csv", ".txt"):
        return kind(_vector(Path(text)), **fields)
    return kind(_number(text, "--lam"), **fields)


def _number(text: str, option: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise BadInput(f"{option} is {text!r}, but a number, 0.1max, auto or a file is needed")
    return number


def _record(result: Any) -> dict[str, Any]:
    """Return the report as plain JSON values."""
    certificate = result.certificate
    lam = result.lam
    return {
        "status": result.status.name,
        "success": result.success,
        "message": result.message,
        "objective": _plain(result.objective),
        "certificate": {
            "kind": certificate.kind.name,
            "text": str(certificate),
            "value": _plain(certificate.value),
            "relative": _plain(certificate.relative),
        },
        "lam": [_plain(v) for v in lam] if isinstance(lam, np.ndarray) else lam and _plain(lam),
        "selection": None if result.selection is None else result.selection.rule,
        "nonzeros": int(result.support.size),
        "n": int(result.x.size),
        "n_iter": result.n_iter,
        "n_matvec": result.n_matvec,
        "n_rmatvec": result.n_rmatvec,
        "seconds": result.seconds,
        "solver": repr(result.solver),
        "reason": result.reason,
    }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


# --- files -------------------------------------------------------------------------------------------


def _matrix(path: Path) -> Any:
    if path.suffix == ".npz":
        from scipy import sparse

        _exists(path)
        try:
            return sparse.load_npz(path)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BadInput(f"{path} is no matrix saved by scipy.sparse.save_npz: {error}") from None
    if path.suffix == ".mtx":
        from scipy.io import mmread

        _exists(path)
        return mmread(path)
    array = _array(path, (".npy", ".csv", ".txt", ".npz", ".mtx"))
    if array.ndim != 2:
        raise BadInput(f"{path} holds an array of shape {array.shape}, but a matrix is needed")
    return array


def _vector(path: Path) -> Array:
    array = _array(path, (".npy", ".csv", ".txt"))
    squeezed = array.reshape(-1) if 1 in array.shape or array.ndim == 1 else array
    if squeezed.ndim != 1:
        raise BadInput(f"{path} holds an array of shape {array.shape}, but a vector is needed")
    return squeezed


def _labels(path: Path) -> Array:
    if path.suffix == ".npy":
        return _vector(path)
    _exists(path)
    return np.array(path.read_text().replace(",", " ").split())


def _array(path: Path, known: tuple[str, ...]) -> Array:
    _exists(path)
    if path.suffix == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from None
    if path.suffix in (".csv", ".txt"):
        delimiter = "," if path.suffix == ".csv" else None
        text = path.read_text()
        if not text.strip():
            raise BadInput(f"{path} is empty")
        dtype = complex if "j" in text[:100_000] else float
        try:
            return np.loadtxt(path, delimiter=delimiter, dtype=dtype, ndmin=2 if ".mtx" in known else 1)
        except ValueError as error:
            raise BadInput(f"{path} cannot be read as numbers: {error}") from None
    suffix = path.suffix or "(none)"
    raise BadInput(f"{path} has the suffix {suffix}, but one of {', '.join(known)} is needed")


def _exists(path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"{path} does not exist")


def _writer(path: Path) -> Callable[[Any, Array], None]:
    if path.suffix == ".npy":
        return lambda file, x: np.save(file, x)
    if path.suffix in (".csv", ".txt"):
        return lambda file, x: np.savetxt(file, x, fmt="%.17g" if x.dtype.kind != "c" else "%.17g%+.17gj")
    raise BadInput(f"--output {path} has no known suffix; use .npy, .csv or .txt")


def _write(path: Path, x: Array) -> None:
    """Write x beside its place first, so that an interruption leaves no half file."""
    from sparseinv.seismic.whole_file import whole_file

    write = _writer(path)
    with whole_file(path) as place, place.open("wb") as file:
        write(file, x)


# --- demo, bench and info ----------------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> int:
    from sparseinv.problems import CATALOGUE, DEMOS, run_demo

    if options.name is None:
        for name, summary in DEMOS.items():
            print(f"{name:<10} {summary}")
        print("all        every one of them")
        print("or the number of a problem: `sparseinv problems` lists them")
        return CERTIFIED
    if options.name != "all" and options.name not in DEMOS and options.name not in CATALOGUE:
        raise BadInput(
            f"there is no demo {options.name!r}; choose from {', '.join(DEMOS)} or all, or a number that "
            "`sparseinv problems` lists"
        )
    names = list(DEMOS) if options.name == "all" else [options.name]
    options.out.mkdir(parents=True, exist_ok=True)
    fine = True
    for name in names:
        fine &= run_demo(name, out=options.out, data=options.data, size=options.size, seed=options.seed)
    print(f"figures are in {options.out}")
    return CERTIFIED if fine else NOT_CERTIFIED


def _problems(options: argparse.Namespace) -> int:
    from sparseinv.problems import CATALOGUE
    from sparseinv.problems.scoreboard import run_scoreboard

    if options.action == "list":
        if options.ids:
            raise BadInput("list takes no ID; `sparseinv problems run ID` runs one")
        print(f"{'ID':<5} {'sizes':<6} what is recovered from what (what it needs)")
        for id, entry in CATALOGUE.items():
            needs = f" ({entry.needs})" if entry.needs else ""
            print(f"{id:<5} {' '.join(entry.sizes.upper()):<6} {entry.title}{needs}")
        for reason in sorted({entry.largest for entry in CATALOGUE.values() if entry.largest}):
            these = ", ".join(id for id, entry in CATALOGUE.items() if entry.largest == reason)
            print(f"no size L: {these} ({reason})")
        return CERTIFIED
    if not options.ids:
        raise BadInput("run needs the ID of one or more problems, or all; `sparseinv problems` lists them")
    ids = list(CATALOGUE) if options.ids == ["all"] else options.ids
    unknown = [id for id in ids if id not in CATALOGUE]
    if unknown:
        raise BadInput(f"there is no problem {unknown[0]!r}; `sparseinv problems` lists them")
    if options.table is not None and not options.table.resolve().parent.is_dir():
        raise BadInput(f"the folder of --table {options.table} does not exist")
    fine = run_scoreboard(
        ids, size=options.size, seed=options.seed, data=options.data, out=options.out, table=options.table
    )
    return CERTIFIED if fine else NOT_CERTIFIED


def _bench(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from sparseinv.problems.timing import HEADING, Timing, time_solvers

    rows: list[Timing] = []
    for row in time_solvers(size=options.size, seed=options.seed, repeats=options.repeats):
        if not options.json:
            print(row if rows else f"{HEADING}\n{row}", flush=True)
        rows.append(row)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    return CERTIFIED if all(row.status == "CONVERGED" for row in rows) else NOT_CERTIFIED


def _info(options: argparse.Namespace) -> int:
    import platform
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    from threadpoolctl import threadpool_info

    import_module("scipy.linalg")  # its BLAS is listed too
    record: dict[str, Any] = {
        "sparseinv": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    for name in ("numpy", "scipy", "numba", "threadpoolctl", "matplotlib", "PyWavelets", "tqdm", "pylops"):
        try:
            record[name] = version(name)
        except PackageNotFoundError:
            record[name] = "not installed"
    record["blas"] = [
        f"{lib.get('internal_api')} {lib.get('version')} with {lib.get('num_threads')} threads"
        for lib in threadpool_info()
        if lib.get("user_api") == "blas"
    ]
    extras = {"demo": ("matplotlib", "pywt", "tqdm"), "seismic": ("segyio",), "pylops": ("pylops",)}
    record["extras"] = [name for name, needs in extras.items() if all(find_spec(n) for n in needs)]
    record["compiled code"] = os.environ.get("NUMBA_CACHE_DIR", "beside the package")
    if options.json:
        print(json.dumps(record, indent=1))
    else:
        for key, value in record.items():
            print(f"{key:<14} {', '.join(value) if isinstance(value, list) else value}")
    return CERTIFIED
