"""The public surface as a whole, and compiled code where no folder can be written to."""

from __future__ import annotations

import inspect
import json
import logging
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sparseinv as si

ROOT = Path(__file__).resolve().parent.parent

# every name that users may rely on: adding or removing one is a decision to be made on purpose
PUBLIC = {
    "functions": [
        "solve",
        "solve_path",
        "solve_many",
        "iterate",
        "certify",
        "lam_max",
        "convert_lam",
        "explain",
        "rescale_problem",
        "scale_penalty",
        "theory_lam",
        "compare_selectors",
        "degrees_of_freedom",
        "estimate_sigma",
        "select_lam",
        "tune_lams",
        "verify_proof",
    ],
    "penalties": [
        "Penalty",
        "L0",
        "L1",
        "L2",
        "ElasticNet",
        "GroupConcave",
        "GroupL0",
        "GroupL1",
        "L0Ball",
        "L1Ball",
        "LogSum",
        "Lp",
        "MCP",
        "SCAD",
    ],
    "solvers": [
        "Solver",
        "ISTA",
        "FISTA",
        "BarzilaiBorwein",
        "BranchAndBound",
        "CoordinateDescent",
        "WorkingSet",
        "Ridge",
        "IRLS",
        "IRL1",
        "LocalSearch",
        "MessagePassing",
        "Portfolio",
        "OLS",
        "OMP",
        "CoSaMP",
        "HTP",
        "IterativeHardThresholding",
        "SubspacePursuit",
        "SL0",
        "SparseBayesian",
    ],
    "operators": ["Operator", "as_operator", "adjoint_test", "norm_bound"],
    "selectors": [
        "CrossValidation",
        "Discrepancy",
        "SURE",
        "GCV",
        "LeaveOneOut",
        "InformationCriterion",
        "Pivotal",
        "Universal",
        "QuantileUniversal",
        "TargetSparsity",
        "TargetMisfit",
        "Whiteness",
        "LCurve",
        "HoldOut",
        "Stability",
    ],
    "answers": [
        "Batch",
        "Certificate",
        "Comparison",
        "Explanation",
        "Interrupted",
        "Kind",
        "Path",
        "Progress",
        "Result",
        "Selection",
        "Status",
        "Tuning",
    ],
    "version": ["__version__"],
}
PUBLIC_NAMES = {name for names in PUBLIC.values() for name in names}


def python(code, *arguments, env=None, cwd=ROOT, flags=()):
    """Run code in a new process and return what it printed and what it logged."""
    environment = {**os.environ, "PYTHONPATH": str(cwd), **(env or {})}
    command = [sys.executable, *flags, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=170, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


# --- names --------------------------------------------------------------------------------------------


def test_public_names():
    assert set(si.__all__) == PUBLIC_NAMES
    assert len(si.__all__) == len(set(si.__all__))
    assert set(si.__all__) <= set(dir(si))
    assert dir(si) == sorted(dir(si))
    for name in si.__all__:
        assert getattr(si, name) is getattr(si, name), name
        assert not inspect.ismodule(getattr(si, name)), name
    with pytest.raises(AttributeError, match="module 'sparseinv' has no attribute 'Solve'"):
        _ = si.Solve


def test_star_import():
    names: dict[str, object] = {}
    exec("from sparseinv import *", names)
    assert set(si.__all__) <= set(names)


def callables():
    return [name for name in si.__all__ if callable(getattr(si, name))]


@pytest.mark.parametrize("name", callables())
def test_documented_with_an_example(name):
    doc = inspect.getdoc(getattr(si, name)) or ""
    summary = doc.splitlines()[0] if doc else ""
    assert summary.endswith((".", ":")), f"{name} starts with a sentence"
    assert "Examples\n--------" in doc, f"{name} shows no example"
    assert ">>> " in doc


@pytest.mark.parametrize("name", [name for name in callables() if inspect.isfunction(getattr(si, name))])
def test_parameters_are_documented(name):
    function = getattr(si, name)
    doc = inspect.getdoc(function)
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        assert parameter.name in doc, f"{name}({parameter.name})"
        assert parameter.annotation is not inspect.Parameter.empty
    # nothing that tunes a run can be given by position
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters if p.default is not p.empty), name


@pytest.mark.parametrize("name", [name for name in callables() if inspect.isclass(getattr(si, name))])
def test_public_methods_are_documented(name):
    cls = getattr(si, name)
    for attribute, value in vars(cls).items():
        target = value.fget if isinstance(value, property) else value
        if not attribute.startswith("_") and (inspect.isfunction(target)):
            assert inspect.getdoc(target), f"{name}.{attribute}"


def test_solvers_construct_without_arguments():
    solvers = [
        getattr(si, name)
        for name in callables()
        if inspect.isclass(getattr(si, name)) and issubclass(getattr(si, name), si.Solver)
    ]
    assert len(solvers) >= 7
    for cls in solvers:
        assert repr(cls()) == f"{cls.__name__}()"


# --- every function, twice, in any order --------------------------------------------------------------

EVERYTHING = """
import importlib, json, pkgutil, random, sys
import numpy as np
import sparseinv as si

A = np.random.default_rng(0).standard_normal((12, 20))
b = A[:, 3] - 2 * A[:, 11]
def proven():
    penalty = si.L0(0.1, l2=0.1)
    result = si.solve(A, b, penalty, solver=si.BranchAndBound(proof_bytes=10**6))
    return si.verify_proof(A, b, penalty, result.proof, result.x)
calls = {
    "solve": lambda: si.solve(A, b, si.L1(0.5)).success,
    "solve_path": lambda: si.solve_path(A, b, si.L1(), n_lams=3).success,
    "select_lam": lambda: si.select_lam(A, b, si.L1(), si.CrossValidation(3), n_lams=3).lam > 0,
    "compare_selectors": lambda: len(si.compare_selectors(A, b, si.L1(), [si.GCV()], n_lams=3)) == 1,
    "degrees_of_freedom": lambda: si.degrees_of_freedom(A, b, si.L1(1.0), np.zeros(20)) == 0.0,
    "tune_lams": lambda: si.tune_lams(A, b, si.L1(groups=np.arange(20) // 10)).lams.size == 2,
    "solve_many": lambda: si.solve_many(A, np.stack([b, -b], axis=1), si.L1(0.5)).success,
    "iterate": lambda: next(si.iterate(A, b, si.L1(0.5))).n_iter == 0,
    "certify": lambda: si.certify(A, b, si.L1(0.5), np.zeros(20)).value > 0,
    "lam_max": lambda: si.lam_max(A, b, si.L1()) > 0,
    "convert_lam": lambda: si.convert_lam(0.1, "sklearn.Lasso", "pylops", m=50) == 10.0,
    "explain": lambda: si.explain(A, b, si.L1(0.5), np.zeros(20)).df == 0.0,
    "rescale_problem": lambda: si.rescale_problem(A, si.L1(2.0)).penalty.lam == 1.0,
    "scale_penalty": lambda: si.scale_penalty(A, si.L1(2.0), scaling="mean").weights == 12.0,
    "theory_lam": lambda: si.theory_lam(si.L1(), sigma=1.0, m=12, n=20) > 0,
    "estimate_sigma": lambda: si.estimate_sigma(A, b) >= 0,
    "verify_proof": lambda: proven() < 1.0,
    "as_operator": lambda: si.as_operator(A).shape == (12, 20),
    "adjoint_test": lambda: si.adjoint_test(A) < 1e-12,
    "norm_bound": lambda: si.norm_bound(A)[0] > 0,
    "L0": lambda: si.solve(A, b, si.L0(0.1)).success,
    "L2": lambda: si.solve(A, b, si.L2(0.1)).success,
    "GroupL1": lambda: si.solve(A, b, si.GroupL1(0.5, groups=np.arange(20) // 4)).success,
    "ElasticNet": lambda: si.solve(A, b, si.ElasticNet(0.5)).success,
}
functions = {n for n in si.__all__ if type(getattr(si, n)).__name__ == "function"}
modules = [m.name for m in pkgutil.walk_packages(si.__path__, "sparseinv.")]
modules = [name for name in modules if not name.endswith("__main__")]
order = 2 * [*calls, *modules]
random.Random(int(sys.argv[1])).shuffle(order)
wrong = []
for name in order:
    if name in modules:
        importlib.import_module(name)
    elif not calls[name]():
        wrong.append(name)
missing = sorted(functions - set(calls))
shadowed = [n for n in si.__all__ if type(getattr(si, n)).__name__ == "module"]
print(json.dumps(dict(wrong=wrong, missing=missing, shadowed=shadowed)))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_every_function_twice_in_random_order(seed):
    """Among the imports of every module: no module takes the place of a function of the same name."""
    seen = json.loads(python(EVERYTHING, str(seed), flags=("-W", "error"))[0])
    assert seen["wrong"] == []
    assert seen["shadowed"] == []
    assert seen["missing"] == [], "call it above too"


def test_the_same_bits_in_another_process():
    code = """
import sys, numpy as np, sparseinv as si
rng = np.random.default_rng(0)
A, b = rng.standard_normal((20, 40)), rng.standard_normal(20)
runs = [si.solve(A, b, p) for p in (si.L1(1.0), si.L1(), si.L0(0.1), si.L2(1.0))]
print("".join(r.x.tobytes().hex() + str((r.n_iter, r.n_matvec, r.certificate.relative)) for r in runs))
"""
    one, two = (python(code, env={"PYTHONHASHSEED": seed})[0] for seed in ("1", "2"))
    assert one == two


# --- compiled code that cannot be kept ----------------------------------------------------------------

SOLVE = """
import json, logging
import numpy as np
import sparseinv as si

lines = []

class Keep(logging.Handler):
    def emit(self, record):
        lines.append((record.name, record.levelname, record.getMessage()))

logging.getLogger("sparseinv").addHandler(Keep())
from sparseinv.kernels import descent
result = si.solve(np.eye(3), np.array([2.0, 1.0, 0.1]), si.L1(0.5))
print(json.dumps(dict(home=si.__file__, x=result.x.tolist(), lines=lines)))
"""


def test_no_folder_for_compiled_code(tmp_path):
    """A read-only installation without a home directory still solves, and says once what it costs."""
    copy = tmp_path / "installed"
    shutil.copytree(ROOT / "sparseinv", copy / "sparseinv", ignore=shutil.ignore_patterns("__pycache__"))
    # a file where the folder should be works for every user, the superuser included
    (copy / "sparseinv" / "kernels" / "__pycache__").touch()
    nowhere = {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/cache", "PYTHONDONTWRITEBYTECODE": "1"}
    nowhere |= {"NUMBA_CACHE_DIR": "/dev/null/numba"}
    seen = json.loads(python(SOLVE, env=nowhere, cwd=copy, flags=("-W", "error"))[0])
    assert seen["home"].startswith(str(copy))
    assert seen["x"] == [1.5, 0.5, 0.0]
    assert len(seen["lines"]) == 1
    logger, severity, message = seen["lines"][0]
    assert (logger, severity) == ("sparseinv", "WARNING")
    assert "NUMBA_CACHE_DIR" in message


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder for compiled code of this test alone."""
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    from sparseinv.kernels import jit

    jit._say_once.cache_clear()
    return tmp_path / "cache"


def double(tmp_path):
    """Return a kernel as it is after a fresh import of its module."""
    path = tmp_path / "doubling.py"
    if not path.exists():
        path.write_text("def double(x):\n    return 2 * x\n")
    namespace: dict[str, object] = {"__name__": "doubling", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    from sparseinv.kernels.jit import kernel

    return kernel()(namespace["double"])


def test_compiled_code_is_kept_where_it_can_be(cache, tmp_path, caplog):
    assert double(tmp_path)(2.0) == 4.0
    assert list(cache.rglob("*.nbc"))
    again = double(tmp_path)
    assert again(2.0) == 4.0
    assert sum(again.stats.cache_hits.values()) == 1
    assert not caplog.records


@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_damaged_compiled_code_is_compiled_again(cache, tmp_path, caplog, damage):
    assert double(tmp_path)(2.0) == 4.0
    for path in [*cache.rglob("*.nbi"), *cache.rglob("*.nbc")]:
        path.write_bytes(path.read_bytes()[:30] if damage == "truncated" else b"garbage")
    with caplog.at_level(logging.WARNING, "sparseinv"):
        assert double(tmp_path)(2.0) == 4.0
    assert len(caplog.records) == 1


def test_a_disk_that_fills_up(cache, tmp_path, caplog):
    compiled = double(tmp_path)
    shutil.rmtree(cache, ignore_errors=True)
    cache.touch()  # nothing can be written below a file
    with caplog.at_level(logging.WARNING, "sparseinv"):
        assert compiled(2.0) == 4.0
    assert len(caplog.records) == 1


# --- speed of small problems --------------------------------------------------------------------------


def test_small_problems_take_no_time_to_speak_of():
    """Overheads of checks, certificates and reports; generous, for a busy machine."""
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((20, 40)), rng.standard_normal(20)
    penalties = [si.L1(1.0), si.L2(1.0), si.L0(0.2), si.GroupL1(1.0, groups=np.arange(40) // 4)]
    for penalty in penalties:
        si.solve(A, b, penalty)
    seconds = sorted(si.solve(A, b, random.Random(0).choice(penalties)).seconds for _ in range(20))
    assert seconds[10] < 0.1
