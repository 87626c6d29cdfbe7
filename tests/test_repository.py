"""What must stay true of the repository whatever the library computes: walls, names, sizes, weight."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sparseinv"

# A room may import from the layers above it. Rooms of one layer joined by "," may import one another
# (without cycles), rooms joined by "|" may not. A longer name wins over its folder.
LAYERS = """
validation, threads, kernels, nonnegative, product_span, exact_columns
operators | penalties
counted_operator | number_range
problem
kept_columns
dual_points | support_moves
signed_moves
hidden_moves | group_moves
hidden_groups
certificate
posterior | support_proof
result, stopping
late_results
intercept
solvers.block_columns | solvers.block_newton
solvers.nonnegative_support | solvers.support_fit | solvers.support_qr
solvers.base, solvers.least_squares, solvers.support_factor, solvers.semismooth_newton, solvers.lazy_columns
solvers.active_columns | solvers.active_blocks
solvers.active_entries
solvers.active_sets
solvers.column_sweeps, solvers.branch_record, solvers.branch_shapes, solvers.branch_tree
solvers.discrete_answer | solvers.evidence | solvers.covariance_free
solvers
solvers.auto
driver
selection, batch, columns, gram_batch, greedy_batch
entry
seismic, problems, plotting
cli_seismic_tasks
cli_seismic
cli
"""

# lines allowed to a module that is longer than MAX_LINES, and why
MAX_LINES = 450
LONG_MODULES: dict[str, tuple[int, str]] = {
    "kernels/descent.py": (700, "one call tree a file: an edit elsewhere must not invalidate compiled code"),
    "driver.py": (470, "the one loop, from the first step to the certificate of the result"),
    "entry.py": (600, "the public functions, most of it their documentation"),
    "kernels/branch.py": (900, "one call tree, one file: an edit elsewhere must not leave old compiled code"),
    "support_proof.py": (470, "the whole check of a proof, for who does not trust the solver"),
    "kernels/batch.py": (520, "one call tree, one file: an edit elsewhere must not leave old compiled code"),
}

HEAVY = {"cvxpy", "dask", "llvmlite", "matplotlib", "numba", "pylops", "pywt", "scipy", "sklearn", "tqdm"}


class Import(NamedTuple):
    """One name imported by one module."""

    module: str  #: the importing module, without the leading "sparseinv."
    target: str  #: the imported module: "scipy.linalg", "sparseinv.problem", "sparseinv.__version__"
    line: int
    executed: bool  #: runs when the module is imported: neither in a function nor under TYPE_CHECKING

    def __str__(self) -> str:
        return f"sparseinv/{self.module.replace('.', '/')} line {self.line} imports {self.target}"


# ------------------------------------------------------------------------------------------ reading imports


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def walk_imports(node: ast.AST, executed: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, executed
        elif is_type_checking(child):
            yield from ((found, False) for found, _ in walk_imports(child, False))
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk_imports(child, executed and not function)


def read_imports(module: str, text: str, package: str, known: set[str]) -> list[Import]:
    """List what `text`, the source of `module` in the dotted folder `package`, imports."""
    found = []
    for node, executed in walk_imports(ast.parse(text)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            # a name taken from a folder is its module if there is one, else something the folder offers
            targets = [
                f"{base}.{alias.name}"
                if base == "sparseinv" or f"{base}.{alias.name}".removeprefix("sparseinv.") in known
                else base
                for alias in node.names
            ]
        found += [Import(module, target, node.lineno, executed) for target in targets]
    return found


@cache
def imports() -> tuple[Import, ...]:
    found = []
    for module, path in modules().items():
        package = ".".join(["sparseinv", *path.relative_to(PACKAGE).parts[:-1]])
        found += read_imports(module, read(path), package, set(modules()))
    return tuple(found)


# ---------------------------------------------------------------------------------------------------- walls


@cache
def rooms() -> dict[str, tuple[int, bool]]:
    """Map a room to its layer and to whether its neighbours in that layer are open to it."""
    return {
        room: (layer, "|" not in line)
        for layer, line in enumerate(LAYERS.strip().splitlines())
        for room in re.split(r"\s*[,|]\s*", line)
    }


def room_of(module: str) -> str:
    while module and module not in rooms():
        module = module.rpartition(".")[0]
    return module


def wall_broken(module: str, target: str) -> str | None:
    """Say why `module` must not import `sparseinv.<target>`, or None."""
    here, there = room_of(module), room_of(target)
    if target in {"", "__init__"} or not there:
        # the root offers everything, so whoever imports it sits to the right of `entry`
        return None if rooms()[here][0] > rooms()["entry"][0] else "the package root offers every room"
    if here == there == "solvers" and module != "solvers" and module != target:
        return "a solver does not import another solver: inner solvers are fields, filled in by solvers.auto"
    (layer, neighbours), (other, _) = rooms()[here], rooms()[there]
    if here == there or other < layer or (other == layer and neighbours):
        return None
    return f"{there} does not lie to the left of {here}"


def test_every_module_has_a_room():
    roots = {"__init__", "__main__"}
    homeless = [module for module in modules() if module not in roots and not room_of(module)]
    assert not homeless, f"in no layer of the architecture: {homeless}"


def test_walls():
    broken = []
    for found in imports():
        if found.module in {"__init__", "__main__"} or found.target.split(".")[0] != "sparseinv":
            continue
        target = found.target.partition(".")[2]
        if target == "__version__":
            continue
        reason = wall_broken(found.module, target)
        if reason:
            broken.append(f"{found}: {reason}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("module", "target", "allowed"),
    [
        ("operators.matrix", "operators.base", True),
        ("operators.matrix", "penalties.base", False),
        ("penalties.group", "kernels.descent", True),
        ("kernels.descent", "problem", False),
        ("result", "stopping", True),
        ("certificate", "result", False),
        ("solvers.ridge", "solvers.base", True),
        ("solvers.ridge", "solvers.least_squares", True),
        ("solvers.reweighted_l1", "solvers.ridge", False),
        ("solvers.base", "solvers.ridge", False),
        ("solvers.auto", "solvers.ridge", True),
        ("solvers.ridge", "solvers.auto", False),
        ("driver", "solvers.auto", True),
        ("driver", "entry", False),
        ("seismic.workflows", "operators.convolution", True),
        ("selection.path", "", False),
        ("cli", "solve", True),
    ],
)
def test_the_wall_test_itself(module, target, allowed):
    assert (wall_broken(module, target) is None) is allowed


def test_the_import_reader_itself():
    text = (
        "import numpy as np\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from ..problem import Problem\n"
        "def f():\n    from sparseinv.kernels import descent\n"
        "from . import base\n"
        "class C:\n    import scipy\n"
    )
    known = {"problem", "kernels", "kernels.descent", "solvers", "solvers.base"}
    assert [found[1:] for found in read_imports("solvers.x", text, "sparseinv.solvers", known)] == [
        ("numpy", 1, True),
        ("typing", 2, True),
        ("sparseinv.problem", 4, False),
        ("sparseinv.kernels.descent", 6, False),
        ("sparseinv.solvers.base", 7, True),
        ("scipy", 9, True),
    ]


def test_no_cycle_between_modules():
    graph: dict[str, set[str]] = {}
    for found in imports():
        target = found.target.removeprefix("sparseinv.")
        if found.executed and target != found.module and target in modules():
            graph.setdefault(found.module, set()).add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as cycle:
        pytest.fail(f"modules import one another: {' -> '.join(cycle.args[1])}")


def test_numba_lives_in_kernels_only():
    wrong = [
        str(found)
        for found in imports()
        if found.target.split(".")[0] in {"numba", "llvmlite"} and room_of(found.module) != "kernels"
    ]
    assert not wrong, "\n".join(wrong)


def test_kernels_know_arrays_and_numbers_only():
    allowed = {"numpy", "numba", *sys.stdlib_module_names}
    wrong = [
        str(found)
        for found in imports()
        if room_of(found.module) == "kernels"
        and found.target.split(".")[0] not in allowed
        and not found.target.startswith("sparseinv.kernels")
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_at_module_level_are_light():
    """Outside kernels: NumPy, the standard library and sparseinv without its kernels."""
    allowed = {"numpy", "sparseinv", *sys.stdlib_module_names}
    wrong = [
        str(found)
        for found in imports()
        if found.executed
        and room_of(found.module) != "kernels"
        and (found.target.split(".")[0] not in allowed or found.target.startswith("sparseinv.kernels"))
    ]
    assert not wrong, "import it inside the function that needs it:\n" + "\n".join(wrong)


# -------------------------------------------------------------------------------------- the public surface


def run_python(code: str) -> dict:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_is_light():
    code = (
        "import json, sys, time; start = time.perf_counter(); import sparseinv;"
        "seconds = time.perf_counter() - start;"
        "print(json.dumps(dict(seconds=seconds, loaded=sorted({m.split('.')[0] for m in sys.modules}))))"
    )
    seen = run_python(code)
    assert not HEAVY & set(seen["loaded"])
    # generous, for a busy machine; benchmarks/latency.py measures it
    assert seen["seconds"] < 2.0


def test_public_names_resolve_and_stay_light():
    code = (
        "import json, sys, sparseinv as si;"
        "missing = [name for name in si.__all__ if not hasattr(si, name)];"
        "modules = [name for name in si.__all__ if type(getattr(si, name, None)).__name__ == 'module'];"
        "hidden = sorted(set(si.__all__) - set(dir(si)));"
        "print(json.dumps(dict(missing=missing, modules=modules, hidden=hidden,"
        " twice=len(si.__all__) - len(set(si.__all__)),"
        " loaded=sorted({m.split('.')[0] for m in sys.modules}))))"
    )
    seen = run_python(code)
    assert not HEAVY & set(seen.pop("loaded"))
    assert seen == {"missing": [], "modules": [], "hidden": [], "twice": 0}


@pytest.mark.parametrize("package", ["", "operators", "problems", "seismic"])
def test_no_module_shares_a_public_name(package):
    """Importing sparseinv.solve, were there such a module, would replace the function sparseinv.solve."""
    folder = PACKAGE / package
    names = importlib.import_module(".".join(["sparseinv", package]).rstrip(".")).__all__
    children = {path.stem for path in folder.glob("*.py")} | {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    shared = {name for name in names if name != "__version__"} & children
    assert not shared


def test_root_has_no_logic():
    """Allow a docstring, imports, assignments and the two functions of PEP 562."""
    tree = ast.parse(read(PACKAGE / "__init__.py"))
    surprises = []
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        lazy = isinstance(node, ast.FunctionDef) and node.name in {"__getattr__", "__dir__"}
        if lazy and len(node.body) > 10:
            surprises.append(f"line {node.lineno}: {node.name} does too much")
        plain = isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign)
        if not (docstring or lazy or plain or is_type_checking(node)):
            surprises.append(f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}")
    assert not surprises, "\n".join(surprises)


def test_main_only_starts_the_command_line():
    allowed = {"sparseinv.cli", "sys", "__future__"}
    assert {found.target for found in imports() if found.module == "__main__"} <= allowed


# ------------------------------------------------------------------------------------------- files and text

TEXT = {".cff", ".ini", ".json", ".md", ".py", ".rst", ".sh", ".toml", ".txt", ".yml"}
FOLDERS = ("sparseinv", "tests", "examples", "benchmarks", "docs", ".ci")


def text_files() -> list[Path]:
    top = [path for path in ROOT.iterdir() if path.is_file()]
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {"LICENSE", "Makefile", "run"}
    return [
        path
        for path in sorted(top + inside)
        if (path.suffix in TEXT or path.name in named) and "__pycache__" not in path.parts
    ]


def without(pattern: str, *parts: str) -> re.Pattern[str]:
    """Compile a pattern from pieces, so that this file does not hold what it forbids."""
    return re.compile(pattern.format(*parts))


FORBIDDEN = {
    "unfinished work": without(r"\b({}|{}|{})\b", "TO" + "DO", "FIX" + "ME", "X" + "XX"),
    "a path of one machine": without(
        r"(?<![\w.])/({}|{}|{}|{})/", "ro" + "ot", "wo" + "rk", "ho" + "me", "Us" + "ers"
    ),
    "the host of a package registry": without(r"({}|{})\.org", "py" + "pi", "python" + "hosted"),
}


def test_the_text_scan_itself():
    names = {path.relative_to(ROOT).as_posix() for path in text_files()}
    assert {"pyproject.toml", "Makefile", ".ci/run", "tests/test_repository.py"} <= names
    assert FORBIDDEN["a path of one machine"].search("see /" + "work" + "/x")
    assert not FORBIDDEN["a path of one machine"].search("at home/work/x and frame" + "work/y")


@pytest.mark.parametrize("what", FORBIDDEN)
def test_forbidden_text(what):
    hits = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:90]}"
        for path in text_files()
        for number, line in enumerate(read(path).splitlines(), 1)
        if FORBIDDEN[what].search(line)
    ]
    assert not hits, "\n".join(hits)


def test_shared_data_is_named_by_tests_and_examples_only():
    """The library finds data where its user says, not beside its own checkout."""
    neighbour = "../" + "shared"
    hits = [
        str(path.relative_to(ROOT))
        for path in text_files()
        if path.relative_to(ROOT).parts[0] not in {"tests", "examples"} and neighbour in read(path)
    ]
    assert not hits


def test_module_sizes():
    problems = []
    for path in modules().values():
        name = path.relative_to(PACKAGE).as_posix()
        lines = len(read(path).splitlines())
        allowed, _ = LONG_MODULES.get(name, (MAX_LINES, ""))
        if lines > allowed:
            problems.append(f"{name}: {lines} lines, at most {allowed}; split it, or list it with a reason")
    stale = [
        name
        for name, (_, reason) in LONG_MODULES.items()
        if not reason or not (PACKAGE / name).is_file() or len(read(PACKAGE / name).splitlines()) <= MAX_LINES
    ]
    assert not problems, "\n".join(problems)
    assert not stale, f"no longer long, or without a reason: {stale}"


def test_examples_are_short():
    examples = (ROOT / "examples").glob("*.py")
    long = [path.name for path in examples if len(read(path).splitlines()) >= 100]
    assert not long


def test_every_module_has_a_docstring():
    bare = [name for name, path in modules().items() if not ast.get_docstring(ast.parse(read(path)))]
    assert not bare


# --------------------------------------------------------------------------------------- package description


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def project() -> dict:
    return tomllib.loads(read(ROOT / "pyproject.toml"))["project"]


def test_constraints_pin_what_the_two_commands_install():
    text = read(ROOT / "constraints.txt")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line) for line in lines)
    pinned = {normal(line.split("==")[0]) for line in lines}
    extras = project()["optional-dependencies"]
    asked = project()["dependencies"] + extras["demo"] + extras["test"]
    wanted = {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in asked}
    wanted |= {"hatchling", "editables"}  # the build backend, which the Makefile installs first
    assert wanted <= pinned


def test_versions_agree():
    import sparseinv

    version = re.escape(sparseinv.__version__)
    assert re.search(rf"^version: {version}$", read(ROOT / "CITATION.cff"), re.MULTILINE)
    assert re.search(rf"^## \[{version}\]", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
