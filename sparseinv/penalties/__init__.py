"""Penalties R(x): one family a module."""

from sparseinv.penalties.balls import L0Ball as L0Ball
from sparseinv.penalties.balls import L1Ball as L1Ball
from sparseinv.penalties.base import Penalty as Penalty
from sparseinv.penalties.group import GroupL1 as GroupL1
from sparseinv.penalties.group_l0 import GroupL0 as GroupL0
from sparseinv.penalties.group_nonconvex import GroupConcave as GroupConcave
from sparseinv.penalties.nonconvex import MCP as MCP
from sparseinv.penalties.nonconvex import SCAD as SCAD
from sparseinv.penalties.nonconvex import LogSum as LogSum
from sparseinv.penalties.nonconvex import Lp as Lp
from sparseinv.penalties.separable import L0 as L0
from sparseinv.penalties.separable import L1 as L1
from sparseinv.penalties.separable import L2 as L2
from sparseinv.penalties.separable import ElasticNet as ElasticNet
