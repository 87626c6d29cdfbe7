"""Sparse inversion with certificates: minimise 1/2 ||A x - b||^2 + sum_i lam_i phi(x_i)."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "solve": "entry",
    "solve_path": "entry",
    "solve_many": "entry",
    "iterate": "entry",
    "certify": "entry",
    "lam_max": "selection.theory",
    "convert_lam": "selection.conventions",
    "explain": "selection.explanation",
    "rescale_problem": "selection.rescaling",
    "scale_penalty": "selection.rescaling",
    "theory_lam": "selection.theory",
    "estimate_sigma": "selection.noise",
    "select_lam": "selection.selector",
    "tune_lams": "selection.layers",
    "verify_proof": "support_proof",
    "CrossValidation": "selection.cross_validation",
    "Discrepancy": "selection.discrepancy",
    "SURE": "selection.criteria",
    "GCV": "selection.criteria",
    "LeaveOneOut": "selection.criteria",
    "InformationCriterion": "selection.criteria",
    "Pivotal": "selection.thresholds",
    "Universal": "selection.thresholds",
    "QuantileUniversal": "selection.thresholds",
    "TargetSparsity": "selection.thresholds",
    "TargetMisfit": "selection.thresholds",
    "Whiteness": "selection.residual_rules",
    "LCurve": "selection.residual_rules",
    "HoldOut": "selection.hold_out",
    "Stability": "selection.hold_out",
    "compare_selectors": "selection.comparison",
    "degrees_of_freedom": "selection.freedom",
    "Penalty": "penalties",
    "L0": "penalties",
    "L1": "penalties",
    "L2": "penalties",
    "ElasticNet": "penalties",
    "GroupConcave": "penalties",
    "GroupL0": "penalties",
    "GroupL1": "penalties",
    "L0Ball": "penalties",
    "L1Ball": "penalties",
    "LogSum": "penalties",
    "Lp": "penalties",
    "MCP": "penalties",
    "SCAD": "penalties",
    "ISTA": "solvers.proximal_gradient",
    "FISTA": "solvers.proximal_gradient",
    "BarzilaiBorwein": "solvers.barzilai_borwein",
    "BranchAndBound": "solvers.branch_and_bound",
    "CoordinateDescent": "solvers.coordinate_descent",
    "Ridge": "solvers.ridge",
    "WorkingSet": "solvers.working_set",
    "IRLS": "solvers.reweighted_least_squares",
    "IRL1": "solvers.reweighted_l1",
    "LocalSearch": "solvers.local_search",
    "MessagePassing": "solvers.message_passing",
    "Portfolio": "solvers.portfolio",
    "OLS": "solvers.greedy",
    "OMP": "solvers.greedy",
    "CoSaMP": "solvers.thresholding",
    "HTP": "solvers.thresholding",
    "IterativeHardThresholding": "solvers.thresholding",
    "SubspacePursuit": "solvers.thresholding",
    "SL0": "solvers.smoothed_l0",
    "SparseBayesian": "solvers.bayesian",
    "Solver": "solvers.base",
    "Operator": "operators.base",
    "as_operator": "operators.adapt",
    "adjoint_test": "operators.adapt",
    "norm_bound": "operators.adapt",
    "Batch": "result",
    "Certificate": "certificate",
    "Comparison": "selection.comparison",
    "Kind": "certificate",
    "Explanation": "selection.explanation",
    "Path": "result",
    "Result": "result",
    "Selection": "result",
    "Status": "result",
    "Tuning": "selection.layers",
    "Interrupted": "result",
    "Progress": "stopping",
}
_ROOMS = ("operators", "plotting", "problems", "seismic")
__all__ = ["__version__", *sorted(_HOME)]

if TYPE_CHECKING:
    from sparseinv.certificate import Certificate as Certificate
    from sparseinv.certificate import Kind as Kind
    from sparseinv.entry import certify as certify
    from sparseinv.entry import iterate as iterate
    from sparseinv.entry import solve as solve
    from sparseinv.entry import solve_many as solve_many
    from sparseinv.entry import solve_path as solve_path
    from sparseinv.operators.adapt import adjoint_test as adjoint_test
    from sparseinv.operators.adapt import as_operator as as_operator
    from sparseinv.operators.adapt import norm_bound as norm_bound
    from sparseinv.operators.base import Operator as Operator
    from sparseinv.penalties import L0 as L0
    from sparseinv.penalties import L1 as L1
    from sparseinv.penalties import L2 as L2
    from sparseinv.penalties import MCP as MCP
    from sparseinv.penalties import SCAD as SCAD
    from sparseinv.penalties import ElasticNet as ElasticNet
    from sparseinv.penalties import GroupConcave as GroupConcave
    from sparseinv.penalties import GroupL0 as GroupL0
    from sparseinv.penalties import GroupL1 as GroupL1
    from sparseinv.penalties import L0Ball as L0Ball
    from sparseinv.penalties import L1Ball as L1Ball
    from sparseinv.penalties import LogSum as LogSum
    from sparseinv.penalties import Lp as Lp
    from sparseinv.penalties import Penalty as Penalty
    from sparseinv.result import Batch as Batch
    from sparseinv.result import Interrupted as Interrupted
    from sparseinv.result import Path as Path
    from sparseinv.result import Result as Result
    from sparseinv.result import Selection as Selection
    from sparseinv.result import Status as Status
    from sparseinv.selection.comparison import Comparison as Comparison
    from sparseinv.selection.comparison import compare_selectors as compare_selectors
    from sparseinv.selection.conventions import convert_lam as convert_lam
    from sparseinv.selection.criteria import GCV as GCV
    from sparseinv.selection.criteria import SURE as SURE
    from sparseinv.selection.criteria import InformationCriterion as InformationCriterion
    from sparseinv.selection.criteria import LeaveOneOut as LeaveOneOut
    from sparseinv.selection.cross_validation import CrossValidation as CrossValidation
    from sparseinv.selection.discrepancy import Discrepancy as Discrepancy
    from sparseinv.selection.explanation import Explanation as Explanation
    from sparseinv.selection.explanation import explain as explain
    from sparseinv.selection.freedom import degrees_of_freedom as degrees_of_freedom
    from sparseinv.selection.hold_out import HoldOut as HoldOut
    from sparseinv.selection.hold_out import Stability as Stability
    from sparseinv.selection.layers import Tuning as Tuning
    from sparseinv.selection.layers import tune_lams as tune_lams
    from sparseinv.selection.noise import estimate_sigma as estimate_sigma
    from sparseinv.selection.rescaling import rescale_problem as rescale_problem
    from sparseinv.selection.rescaling import scale_penalty as scale_penalty
    from sparseinv.selection.residual_rules import LCurve as LCurve
    from sparseinv.selection.residual_rules import Whiteness as Whiteness
    from sparseinv.selection.selector import select_lam as select_lam
    from sparseinv.selection.theory import lam_max as lam_max
    from sparseinv.selection.theory import theory_lam as theory_lam
    from sparseinv.selection.thresholds import Pivotal as Pivotal
    from sparseinv.selection.thresholds import QuantileUniversal as QuantileUniversal
    from sparseinv.selection.thresholds import TargetMisfit as TargetMisfit
    from sparseinv.selection.thresholds import TargetSparsity as TargetSparsity
    from sparseinv.selection.thresholds import Universal as Universal
    from sparseinv.solvers.barzilai_borwein import BarzilaiBorwein as BarzilaiBorwein
    from sparseinv.solvers.base import Solver as Solver
    from sparseinv.solvers.bayesian import SparseBayesian as SparseBayesian
    from sparseinv.solvers.branch_and_bound import BranchAndBound as BranchAndBound
    from sparseinv.solvers.coordinate_descent import CoordinateDescent as CoordinateDescent
    from sparseinv.solvers.greedy import OLS as OLS
    from sparseinv.solvers.greedy import OMP as OMP
    from sparseinv.solvers.local_search import LocalSearch as LocalSearch
    from sparseinv.solvers.message_passing import MessagePassing as MessagePassing
    from sparseinv.solvers.portfolio import Portfolio as Portfolio
    from sparseinv.solvers.proximal_gradient import FISTA as FISTA
    from sparseinv.solvers.proximal_gradient import ISTA as ISTA
    from sparseinv.solvers.reweighted_l1 import IRL1 as IRL1
    from sparseinv.solvers.reweighted_least_squares import IRLS as IRLS
    from sparseinv.solvers.ridge import Ridge as Ridge
    from sparseinv.solvers.smoothed_l0 import SL0 as SL0
    from sparseinv.solvers.thresholding import HTP as HTP
    from sparseinv.solvers.thresholding import CoSaMP as CoSaMP
    from sparseinv.solvers.thresholding import IterativeHardThresholding as IterativeHardThresholding
    from sparseinv.solvers.thresholding import SubspacePursuit as SubspacePursuit
    from sparseinv.solvers.working_set import WorkingSet as WorkingSet
    from sparseinv.stopping import Progress as Progress
    from sparseinv.support_proof import verify_proof as verify_proof


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"sparseinv.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'sparseinv' has no attribute {name!r}")
    value = getattr(import_module(f"sparseinv.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_ROOMS})
