"""Check convert_lam against the packages: their solution at their parameter, ours at the converted one.

    python benchmarks/conventions.py [--out benchmarks/results/conventions.md]

Every peer solves two small problems (40 rows, 25 columns) at the value v of its own parameter and at its
tightest tolerance; sparseinv solves at ``convert_lam(v, name, "sparseinv")``. Reported is the largest
difference of the two solutions relative to the largest coefficient, and that of a lam off by one percent,
which shows what a wrong conversion would look like. A peer that is not installed is reported as absent.
"""

from __future__ import annotations

import argparse
import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sparseinv as si

M, N, SEEDS, SHARE = 40, 25, 2, 0.15
LABELS = np.arange(N) // 5
BOUND = 1e-8


class Check(NamedTuple):
    """One convention of one package."""

    package: str
    call: str
    convention: str
    penalty: Callable[[float], Any]
    peer: Callable[[np.ndarray, np.ndarray, float], Any]


def sklearn_lasso(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from sklearn.linear_model import Lasso

    return Lasso(v, fit_intercept=False, tol=1e-15, max_iter=10**6).fit(A, b).coef_


def sklearn_net(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from sklearn.linear_model import ElasticNet

    return ElasticNet(v, l1_ratio=0.6, fit_intercept=False, tol=1e-15, max_iter=10**6).fit(A, b).coef_


def sklearn_ridge(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(v, fit_intercept=False, solver="svd").fit(A, b).coef_


def celer_lasso(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from celer import Lasso

    return Lasso(v, fit_intercept=False, tol=1e-16, max_iter=100).fit(A, b).coef_


def celer_net(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from celer import ElasticNet

    return ElasticNet(v, l1_ratio=0.6, fit_intercept=False, tol=1e-16, max_iter=100).fit(A, b).coef_


def celer_groups(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from celer import GroupLasso

    return GroupLasso(groups=5, alpha=v, fit_intercept=False, tol=1e-16, max_iter=100).fit(A, b).coef_


def skglm(penalty: str, *arguments: float) -> Callable[[np.ndarray, np.ndarray, float], Any]:
    def peer(A: np.ndarray, b: np.ndarray, v: float) -> Any:
        from skglm import GeneralizedLinearEstimator, penalties
        from skglm.datafits import Quadratic
        from skglm.solvers import AndersonCD

        solver = AndersonCD(tol=1e-14, max_iter=200, max_epochs=10**5, fit_intercept=False)
        model = GeneralizedLinearEstimator(Quadratic(), getattr(penalties, penalty)(v, *arguments), solver)
        return model.fit(np.asfortranarray(A), b).coef_

    return peer


def adelie(groups: bool, alpha: float) -> Callable[[np.ndarray, np.ndarray, float], Any]:
    def peer(A: np.ndarray, b: np.ndarray, v: float) -> Any:
        import adelie as ad

        labels = {"groups": np.arange(0, N, 5), "penalty": np.ones(5)} if groups else {}
        state = ad.grpnet(
            np.asfortranarray(A), ad.glm.gaussian(b), alpha=alpha, intercept=False, tol=1e-18,
            early_exit=False, lmda_path=[v], progress_bar=False, **labels,
        )  # fmt: skip
        return state.betas.toarray()[-1]

    return peer


def pylops_fista(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from pylops import MatrixMult
    from pylops.optimization.sparsity import fista

    step = 1.0 / np.linalg.norm(A, 2) ** 2
    return fista(MatrixMult(A, dtype=A.dtype), b, niter=4000, eps=v, alpha=step, tol=0.0)[0]


def pylops_damp(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from pylops import Identity, MatrixMult
    from pylops.optimization.leastsquares import regularized_inversion

    identity = Identity(N, dtype=A.dtype)
    settings = {"atol": 0.0, "btol": 0.0, "conlim": 0.0, "iter_lim": 1000}
    return regularized_inversion(MatrixMult(A), b, [identity], epsRs=[v], engine="scipy", **settings)[0]


def scipy_lsqr(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from scipy.sparse.linalg import lsqr

    return lsqr(A, b, damp=v, atol=0.0, btol=0.0, conlim=0.0, iter_lim=1000)[0]


def pyproximal(penalty: str) -> Callable[[np.ndarray, np.ndarray, float], Any]:
    def peer(A: np.ndarray, b: np.ndarray, v: float) -> Any:
        import pyproximal as pp
        from pylops import MatrixMult

        f = pp.L2(Op=MatrixMult(A, dtype=A.dtype), b=b)
        step = 1.0 / np.linalg.norm(A, 2) ** 2
        return pp.optimization.primal.ProximalGradient(
            f, getattr(pp, penalty)(sigma=v), x0=np.zeros(N, dtype=A.dtype), tau=step, niter=4000,
            acceleration="fista", tol=None,
        )  # fmt: skip

    return peer


def spgl1_sigma(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from spgl1 import spg_bpdn

    return spg_bpdn(A, b, v, opt_tol=1e-12, bp_tol=1e-12, ls_tol=1e-12, iter_lim=2000)[0]


def spgl1_tau(A: np.ndarray, b: np.ndarray, v: float) -> Any:
    from spgl1 import spg_lasso

    return spg_lasso(A, b, v, opt_tol=1e-14, bp_tol=1e-14, ls_tol=1e-14, iter_lim=2000)[0]


def net(lam: float) -> Any:
    return si.ElasticNet(lam, l1_ratio=0.6)


def group(lam: float) -> Any:
    return si.GroupL1(lam, groups=LABELS)


CHECKS = [
    Check("scikit-learn", "Lasso(alpha=v)", "sklearn.Lasso", si.L1, sklearn_lasso),
    Check("scikit-learn", "ElasticNet(alpha=v)", "sklearn.ElasticNet", net, sklearn_net),
    Check("scikit-learn", "Ridge(alpha=v)", "sklearn.Ridge", si.L2, sklearn_ridge),
    Check("celer", "Lasso(alpha=v)", "celer", si.L1, celer_lasso),
    Check("celer", "ElasticNet(alpha=v)", "celer", net, celer_net),
    Check("celer", "GroupLasso(alpha=v)", "celer", group, celer_groups),
    Check("skglm", "penalties.L1(v)", "skglm", si.L1, skglm("L1")),
    Check("skglm", "penalties.L1_plus_L2(v, 0.6)", "skglm", net, skglm("L1_plus_L2", 0.6)),
    Check("adelie", "grpnet(lmda_path=[v])", "adelie", si.L1, adelie(False, 1.0)),
    Check("adelie", "grpnet(alpha=0.6)", "adelie", net, adelie(False, 0.6)),
    Check("adelie", "grpnet(groups, penalty=1)", "adelie", group, adelie(True, 1.0)),
    Check("pylops", "fista(eps=v)", "pylops", si.L1, pylops_fista),
    Check("pylops", "regularized_inversion(epsRs=[v])", "damp", si.L2, pylops_damp),
    Check("scipy", "lsqr(damp=v)", "damp", si.L2, scipy_lsqr),
    Check("pyproximal", "L1(sigma=v)", "pyproximal", si.L1, pyproximal("L1")),
    Check("spgl1", "spg_bpdn(sigma=v)", "spgl1.sigma", si.L1, spgl1_sigma),
    Check("spgl1", "spg_lasso(tau=v)", "spgl1.tau", si.L1, spgl1_tau),
]


def problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((M, N)) * rng.uniform(0.5, 2.0, N)
    return A, A[:, ::4] @ rng.standard_normal(A[:, ::4].shape[1]) + 0.3 * rng.standard_normal(M)


def compare(check: Check) -> tuple[float, float]:
    """Return the largest difference at the converted lam, and the smallest at one a percent off."""
    worst, off = 0.0, np.inf
    for seed in range(SEEDS):
        A, b = problem(seed)
        facts = {"A": A, "b": b}
        level = SHARE * (si.lam_max(A, b, check.penalty(1.0)) if check.penalty is not si.L2 else 40.0)
        v = si.convert_lam(level, "sparseinv", check.convention, **facts)
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = np.asarray(check.peer(A, b, v)).ravel()
        lam = si.convert_lam(v, check.convention, "sparseinv", **facts)
        x = si.solve(A, b, check.penalty(lam), tol=1e-15).x
        wrong = si.solve(A, b, check.penalty(1.01 * lam), tol=1e-15).x
        size = np.abs(x).max()
        worst = max(worst, float(np.abs(theirs - x).max() / size))
        off = min(off, float(np.abs(wrong - x).max() / size))
    return worst, off


def shortfall(check: Check) -> str:
    """Say how far the answer of a peer with a constraint is from optimal: its pulls should be one number."""
    if check.convention != "spgl1.sigma":
        return ""
    worst = 0.0
    for seed in range(SEEDS):
        A, b = problem(seed)
        v = si.convert_lam(SHARE * si.lam_max(A, b, si.L1()), "sparseinv", check.convention, A=A, b=b)
        x = check.peer(A, b, v)
        pulls = np.abs(A.T @ (A @ x - b))[np.abs(x) > 1e-6]
        worst = max(worst, float(np.ptp(pulls) / pulls.max()))
    return f": its own abs(a_j^T r) on the support, equal at a solution, differ by {worst:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "conventions.md")
    lines = [
        "# Conventions of lambda, checked against the packages",
        "",
        f"{SEEDS} problems of {M} rows and {N} columns; `python benchmarks/conventions.py` writes this.",
        "Difference: the largest over the problems of max |x_peer - x| / max |x|, with x at the converted",
        "lam; beside it the smallest that a lam off by one percent makes. glmnet and L0Learn are R packages,",
        "checked by their formulas only (`tests/test_conventions.py`).",
        "",
        "| package | version | called as | convention | difference | lam 1 % off | agrees |",
        "|---|---|---|---|---|---|---|",
    ]
    out = parser.parse_args().out
    for check in CHECKS:
        try:
            version = metadata.version(check.package)
        except metadata.PackageNotFoundError:
            lines.append(f"| {check.package} | absent | `{check.call}` | {check.convention} | | | |")
            continue
        print(check.package, check.call, flush=True)
        try:
            worst, off = compare(check)
        except Exception as error:  # a peer that fails is a row of the table, not the end of it
            lines.append(
                f"| {check.package} | {version} | `{check.call}` | {check.convention} | | | {error!r} |"
            )
            continue
        agrees = "yes" if worst <= BOUND else f"no, above {BOUND:g}{shortfall(check)}"
        lines.append(
            f"| {check.package} | {version} | `{check.call}` | {check.convention} | {worst:.1e} | {off:.1e} "
            f"| {agrees} |"
        )
        print(f"  {worst:.1e} {off:.1e}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
