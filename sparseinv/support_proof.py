"""The proof of a whole branch and bound, and its check in plain NumPy, which trusts nothing of the solver."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.penalties.balls import Ball
from sparseinv.penalties.base import Penalty
from sparseinv.penalties.separable import Separable
from sparseinv.problem import Units

Array = np.ndarray[Any, Any]

_ROUNDING = 1e-13  # of 1/2 ||b||^2, taken off the bound: what sums of rounded numbers may add
_TOGETHER = 256  # products with A^T formed at once
_SPAN = 1e-13  # per row and column: unpenalised directions this short against the longest are none
_WITHIN = 1e-12  # a column this much longer than what unpenalised ones leave of it lies in their span


@dataclass(frozen=True, eq=False)
class SupportProof:
    """Hold a tree of decisions about coefficients, and for each of its parts the point that bounds it.

    A node is what its parent leaves after one more decision: a coefficient is zero, or it is not. Records
    belong to nodes, in the order in which they were made. One holds a point x, whose dual vector is b - A x,
    and the coefficients it fixes, as what they are not can be bounded by the same point; or curvatures d with
    H - diag(d) positive semidefinite on what the node leaves, H = A^T A + diag(l2). What has no children is a
    leaf. `verify_proof` says what all of it proves; whatever it holds, that is a valid bound.

    Attributes
    ----------
    parent, decision : ndarray, shape (N,)
        Of each node; j + 1 for "x_j is not zero", -(j + 1) for "it is". The first node is the root.
    node, curved : ndarray, shape (R,)
        Node of each record; and the place in ``curvatures`` that it brings in, -1 for none.
    starts, columns, values : ndarray, shapes (R + 1,), (E,) and (E,)
        Point of record i: x[columns[s]] = values[s], s = starts[i], ..., starts[i + 1] - 1; units of x.
    fix_starts, fixed : ndarray, shapes (R + 1,) and (F,)
        Coefficients fixed by record i, signed as decisions.
    curvatures : tuple of (ndarray, ndarray)
        Coefficients, and the d of each, units of A^2.
    complete : bool
        False where it took more memory than allowed: later nodes are missing, and the bound is lower.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A = np.random.default_rng(0).standard_normal((20, 12))
    >>> b, penalty = A[:, 3] - 2 * A[:, 7], si.L0(0.1)
    >>> result = si.solve(A, b, penalty, solver=si.BranchAndBound(proof_bytes=10**6))
    >>> bound = si.verify_proof(A, b, penalty, result.proof, result.x)
    >>> bool(result.objective - bound <= 1e-6 * 0.5 * b @ b), result.proof.complete
    (True, True)
    """

    parent: Array
    decision: Array
    node: Array
    curved: Array
    starts: Array
    columns: Array
    values: Array
    fix_starts: Array
    fixed: Array
    curvatures: tuple[tuple[Array, Array], ...]
    complete: bool = True

    def __repr__(self) -> str:
        part = "" if self.complete else ", cut off"
        return f"SupportProof({self.parent.size} nodes, {self.node.size} records, {self.nbytes} bytes{part})"

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        total = sum(part.nbytes for part in vars(self).values() if isinstance(part, np.ndarray))
        return int(total + sum(j.nbytes + d.nbytes for j, d in self.curvatures))

    def outward(self, units: Units) -> SupportProof:
        """Return the same in the user's units."""
        square = 2.0 ** (2 * units.a_exponent)
        shown = tuple((j, d * square) for j, d in self.curvatures)
        return dataclasses.replace(self, values=units.solution(self.values), curvatures=shown)


def verify_proof(
    A: Any, b: Any, penalty: Penalty, proof: SupportProof, x: Any, *, big_m: Any = None
) -> float:
    """Return the lower bound of the objective that a proof establishes, computed anew from A and b.

    The tree is walked from its root. Every part of it that is not divided further, every half that a fixing
    shuts and every half that is missing is bounded by what was recorded on the way to it; the lowest of these
    bounds holds for all supports, whatever the proof says: decisions have two sides by construction, and a
    proof that was tampered with can only prove less. With the point x of a record, v = A^T (b - A x) -
    (l2 - d) x and h_j the conjugate of d_j x^2 / 2 on |x| <= M_j, a node is bounded by::

        1/2 ||b||^2 - 1/2 x^T (H - diag(d)) x - sum_free max(h_j(v_j) - lam_j, 0) - sum_in (h_j(v_j) - lam_j)

    H = A^T A + diag(l2). At the root d = l2, M = ``big_m``. With other d, H - diag(d) >= 0 is tested by its
    eigenvalues (d is reduced by what they lack), and M_j is how far least squares on the columns of the node
    let a point go that is better than the given x: its fit costs ``floor``, so that with t the minimiser
    |x_j - t_j| <= sqrt(2 (F(x) - floor) (H^-1)_jj). In place of levels, at most k non-zeros: the sum over
    free coefficients is that of the k - |in| largest h_j. Unpenalised coefficients are projected out first,
    those that are excluded or whose columns vanish are left out. A single support is fitted by SVD.

    Parameters
    ----------
    A : array_like or sparse matrix, shape (m, n)
        Real. With ``intercept=True``, A with a column of ones behind it, of level or weight 0.
    b : array_like, shape (m,)
        Real.
    penalty : L0 or L0Ball
        As it was solved for, with its level.
    proof : SupportProof
        ``result.proof`` of `BranchAndBound` with ``proof_bytes``.
    x : array_like, shape (n,)
        Any point, ``result.x`` say: no bound above its objective is claimed.
    big_m : float or array_like, optional
        Sizes |x_j| <= big_m_j that are assumed; the bound is then one for such points.

    Returns
    -------
    float
        No point has a lower objective than this, up to rounding, for which 1e-13 of 1/2 ||b||^2 is taken
        off. -inf where nothing is proven.

    Raises
    ------
    ValueError
        If what the proof holds is no tree: an index out of range, a decision about a coefficient that is
        decided already, a point with coefficients that its curvatures do not cover.

    Notes
    -----
    Cost: a product with A^T per record, 256 at once, O(n) beside that, O(k^3) for k curvatures; the columns
    are copied where coefficients are unpenalised. Whether unpenalised columns depend on each other is
    decided numerically, at 1e-13 of their length, as in the solver; everything else errs on the safe side.

    Examples
    --------
    >>> import numpy as np, sparseinv as si
    >>> A, b, penalty = np.eye(2), np.array([2.0, 0.5]), si.L0([0.5, 0.5])
    >>> result = si.solve(A, b, penalty, solver=si.BranchAndBound(proof_bytes=10**6))
    >>> round(si.verify_proof(A, b, penalty, result.proof, result.x), 6)
    0.625
    """
    if not isinstance(proof, SupportProof):
        raise TypeError(f"proof is {type(proof).__name__}, but result.proof of BranchAndBound is needed")
    reduced = _Reduced(A, b, penalty, x, big_m)
    _refuse_nonsense(proof, reduced.n)
    lowest = min(reduced.upper, _walk(reduced, proof))
    return lowest - _ROUNDING * reduced.whole


class _Reduced:
    """Hold the problem in the coefficients that count, after the unpenalised ones were projected out."""

    def __init__(self, A: Any, b: Any, penalty: Penalty, x: Any, big_m: Any) -> None:
        if np.iscomplexobj(A) or np.iscomplexobj(b) or np.iscomplexobj(x):
            raise ValueError("A, b or x is complex, but proofs are those of real problems")
        sparse = validation.issparse(A)
        A = A.astype(np.float64).tocsc() if sparse else np.asarray(A, dtype=np.float64)
        b, x = np.asarray(b, dtype=np.float64), np.asarray(x, dtype=np.float64)
        if A.ndim != 2 or b.shape != A.shape[:1] or x.shape != A.shape[1:]:
            raise ValueError(f"A, b and x have shapes {A.shape}, {b.shape} and {x.shape}: they do not fit")
        if not all(np.isfinite(part).all() for part in (A.data if sparse else A, b, x)):
            raise ValueError("A, b or x holds a value that is not finite")
        self.n = n = A.shape[1]
        bound: Any = penalty.bind(n)
        ball = isinstance(bound, Ball)
        if not ball and (not isinstance(bound, Separable) or bound.convex):
            raise ValueError(f"penalty is {penalty!r}, but the L0 or L0Ball of the proof is needed")
        self.most = bound.k if ball else None
        self.lam: Array = np.zeros(n) if ball else bound.l0.copy()
        self.l2: Array = np.zeros(n) if ball else bound.l2.copy()
        left = b - A @ x
        self.upper = 0.5 * float(left @ left) + float(bound.value(x))
        if not self.upper < np.inf:
            raise ValueError("x breaks a constraint of the penalty, so its objective bounds nothing")
        size = np.asarray(np.inf if big_m is None else validation.lambdas(big_m, "big_m"), dtype=np.float64)
        if size.size not in (1, n):
            raise ValueError(f"big_m has {size.size} values, but 1 or {n} are needed")
        self.top = np.broadcast_to(size, (n,))
        free = np.asarray(bound.unpenalised) if ball else self.lam == 0.0
        free = free & ~bound.excluded
        self.whole = 0.5 * float(b @ b)
        norms = np.sqrt(np.asarray((A.multiply(A) if sparse else A * A).sum(axis=0)).ravel())
        self.there = (norms > 0.0) & ~bound.excluded & ~free
        if free.any():
            A, b = self._project(A.toarray() if sparse else A, b, np.flatnonzero(free))
            self.there &= np.linalg.norm(A, axis=0) > _WITHIN * norms
        self.A, self.b = A, b
        self.scale = 0.5 * float(b @ b)

    def _project(self, A: Array, b: Array, free: Array) -> tuple[Array, Array]:
        """Return what the span of the unpenalised columns leaves; a ridge on one is a row more."""
        ridged = free[self.l2[free] > 0.0]
        rows = np.zeros((ridged.size, self.n))
        rows[np.arange(ridged.size), ridged] = np.sqrt(self.l2[ridged])
        A, b = np.vstack([A, rows]), np.concatenate([b, np.zeros(ridged.size)])
        Z = A[:, free]
        norms = np.linalg.norm(Z, axis=0)
        U, s, _ = np.linalg.svd(Z[:, norms > 0.0] / norms[norms > 0.0], full_matrices=False)
        U = U[:, s > _SPAN * max(Z.shape) * s.max(initial=0.0)]
        for _ in range(2):
            A, b = A - U @ (U.T @ A), b - U @ (U.T @ b)
        return A, b

    def take(self, index: Array) -> Array:
        """Return columns, with a row for the ridge of each."""
        part = self.A[:, index]
        dense = part.toarray() if hasattr(part, "toarray") else part
        return np.vstack([dense, np.diag(np.sqrt(self.l2[index]))])

    def fit(self, support: Array) -> float:
        """Return the least that a support leaves, without the levels."""
        columns = self.take(support)
        b = np.concatenate([self.b, np.zeros(support.size)])
        # dependent columns have fewer directions than columns: one made of rounding would explain b as well
        q, s, _ = np.linalg.svd(columns / np.linalg.norm(columns, axis=0), full_matrices=False)
        q = q[:, s > 1e-15 * max(columns.shape) * s.max(initial=0.0)]
        for _ in range(2):
            b = b - q @ (q.T @ b)
        return 0.5 * float(b @ b)


class _Part:
    """Hold a node on the way through the tree: what is fixed, what is proven, the curvatures in force."""

    def __init__(self, fixed: Array, key: float, d: Array, top: Array, cover: Array | None) -> None:
        self.fixed, self.key, self.d, self.top, self.cover = fixed, key, d, top, cover

    def half(self, signed: int, key: float) -> _Part:
        fixed = self.fixed.copy()
        _decide(fixed, signed)
        return _Part(fixed, key, self.d, self.top, self.cover)


class _Bound:
    """The bound that a point gives a node, and those of its halves."""

    def __init__(self, problem: _Reduced, part: _Part, x: Array, v: Array, quadratic: float) -> None:
        h = conjugate(v, part.d, part.top)
        self.free, held = part.fixed == 0, part.fixed == 1
        self.most = problem.most
        value = problem.scale - 0.5 * quadratic - float(h[held].sum())
        if problem.most is None:
            self.gain = h - np.where(problem.there, problem.lam, 0.0)  # others were left out
            value += float(problem.lam[held].sum()) - float(np.maximum(self.gain[self.free], 0.0).sum())
        else:
            count = problem.most - int(held.sum())
            ranked = np.sort(h[self.free])[::-1]
            counted = ranked[: max(count, 0)]
            self.last = (np.inf if count <= 0 else 0.0) if counted.size < max(count, 1) else counted[-1]
            self.next = float(ranked[max(count, 0) :].max(initial=0.0))
            value -= float(counted.sum())
        self.h, self.value = h, -np.inf if np.isnan(value) else value

    def half(self, signed: int) -> float:
        """Return the bound of the half that a decision takes."""
        j = abs(signed) - 1
        if not np.isfinite(self.value) or not np.isfinite(self.h[j]):
            return self.value
        if self.most is None:
            gain = float(self.gain[j])
            return self.value + max(gain if signed < 0 else -gain, 0.0)
        h = float(self.h[j])
        return self.value + max(h - self.next if signed < 0 else self.last - h, 0.0)


def _walk(problem: _Reduced, proof: SupportProof) -> float:
    """Return the lowest bound of all that the tree does not divide further."""
    halves: dict[int, list[int]] = {}
    for child in range(1, proof.parent.size):
        halves.setdefault(int(proof.parent[child]), []).append(child)
    records = np.argsort(proof.node, kind="stable")
    first = np.searchsorted(proof.node[records], np.arange(proof.parent.size + 1))
    # outside are also those that the problem itself leaves out
    root = np.where(problem.there, 0, -1).astype(np.int8)
    lowest = np.inf
    products = _Products(problem, proof, _order(proof, halves, records, first))
    waiting = [(0, _Part(root, -np.inf, problem.l2, problem.top, None))]
    while waiting:
        node, part = waiting.pop()
        part.key = max(part.key, _paid(problem, part))
        last: _Bound | None = None
        for record in records[first[node] : first[node + 1]]:
            if proof.curved[record] >= 0:
                _curve(problem, part, *proof.curvatures[proof.curved[record]])
                last = None
                continue
            x, v, square = products.point(record)
            if part.cover is not None and x[~part.cover].any():
                raise ValueError(f"record {record} has a point that its curvatures do not cover")
            bent = problem.l2 - part.d
            quadratic = square + float(bent @ x**2)
            last = _Bound(problem, part, x, v - bent * x, quadratic)
            part.key = max(part.key, last.value)
            for signed in proof.fixed[proof.fix_starts[record] : proof.fix_starts[record + 1]]:
                lowest = min(lowest, max(part.key, last.half(-int(signed))))
                _decide(part.fixed, int(signed))
        children = halves.get(node, [])
        if not children:
            lowest = min(lowest, max(part.key, _single(problem, part)))
            continue
        signs = {int(proof.decision[child]): child for child in children}
        name = abs(next(iter(signs)))
        if len(signs) != len(children) or not set(signs) <= {name, -name}:
            raise ValueError(f"the children of node {node} decide about more than one coefficient")
        for signed in (name, -name):
            key = part.key if last is None else max(part.key, last.half(signed))
            half = part.half(signed, key)
            if signed in signs:
                waiting.append((signs[signed], half))
            else:
                lowest = min(lowest, max(key, _single(problem, half)))
    return lowest


def _order(proof: SupportProof, halves: dict[int, list[int]], records: Array, first: Array) -> list[int]:
    """Return the records with a point in the order in which the walk comes to them."""
    found, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        found += [int(i) for i in records[first[node] : first[node + 1]] if proof.curved[i] < 0]
        waiting += sorted(halves.get(node, []), key=lambda child: -proof.decision[child])
    return found


class _Products:
    """Form A^T (b - A x) for the points of the records, many at once, in the order of the walk."""

    def __init__(self, problem: _Reduced, proof: SupportProof, order: list[int]) -> None:
        self.problem, self.proof, self.order = problem, proof, order
        self.at = self.low = 0
        self.X = self.V = np.empty((0, 0))
        self.squares = np.empty(0)

    def point(self, record: int) -> tuple[Array, Array, float]:
        """Return x, A^T (b - A x) and ||A x||^2 of the record that comes next."""
        if self.order[self.at] != record:
            raise ValueError(f"record {record} does not belong to the tree")
        if self.at >= self.low + self.X.shape[1]:
            self._form()
        column = self.at - self.low
        self.at += 1
        return self.X[:, column], self.V[:, column], float(self.squares[column])

    def _form(self) -> None:
        problem, proof = self.problem, self.proof
        self.low = self.at
        part = self.order[self.at : self.at + _TOGETHER]
        self.X = np.zeros((problem.n, len(part)), order="F")
        for column, record in enumerate(part):
            s = slice(proof.starts[record], proof.starts[record + 1])
            self.X[proof.columns[s], column] = proof.values[s]
        self.X[~problem.there] = 0.0
        images = problem.A @ self.X
        self.squares = (images**2).sum(axis=0)
        self.V = np.asfortranarray(problem.A.T @ (problem.b[:, None] - images))


def _decide(fixed: Array, signed: int) -> None:
    j = abs(signed) - 1
    if fixed[j] != 0:
        raise ValueError(f"coefficient {j} is decided twice on the way to a node")
    fixed[j] = 1 if signed > 0 else -1


def _paid(problem: _Reduced, part: _Part) -> float:
    """Return what the coefficients that are not zero cost at least."""
    held = part.fixed == 1
    if problem.most is not None:
        return 0.0 if held.sum() <= problem.most else np.inf
    return float(problem.lam[held].sum())


def _single(problem: _Reduced, part: _Part) -> float:
    """Return the objective of a node that leaves one support, -inf for others."""
    held = np.flatnonzero(part.fixed == 1)
    paid = _paid(problem, part)
    if paid == np.inf:
        return paid
    if (part.fixed == 0).any() and (problem.most is None or held.size < problem.most):
        return -np.inf
    return problem.fit(held) + paid


def _curve(problem: _Reduced, part: _Part, index: Array, d: Array) -> None:
    """Put curvatures in force: make sure of them; bound the node and its coefficients by least squares."""
    there = part.fixed >= 0
    given = np.zeros(problem.n)
    given[index] = d
    K = np.flatnonzero(there)
    if K.size == 0:
        return
    columns = problem.take(K)
    size = np.linalg.norm(columns, axis=0)
    columns = columns / size
    H = columns.T @ columns
    share = given[K] / size**2
    rounding = 4.0 * K.size * float(np.finfo(np.float64).eps)
    lowest = float(np.linalg.eigvalsh(H)[0]) - rounding
    lacking = rounding - float(np.linalg.eigvalsh(H - np.diag(share))[0])
    if not lowest > 0.0 or (share < 0.0).any():
        return
    if lacking > 0.0:  # H - s diag(d) = (1 - s) H + s (H - diag(d))
        share = share * (lowest / (lowest + lacking))
    q, upper = np.linalg.qr(columns)
    b = np.concatenate([problem.b, np.zeros(K.size)])
    t = np.linalg.solve(upper, q.T @ b)
    held = part.fixed[K] == 1
    lam = problem.lam[K] if problem.most is None else np.zeros(K.size)
    floor = problem.fit(K) + float(lam[held].sum())
    left = problem.upper - floor + _ROUNDING * problem.whole - np.where(held, 0.0, lam)
    inverse = np.linalg.inv(upper)
    reach = np.sqrt(2.0 * np.maximum(left, 0.0) * (inverse**2).sum(axis=1))
    top = np.where(left > 0.0, (np.abs(t) + reach) * (1.0 + rounding / lowest), 0.0)
    part.key, before = max(part.key, floor), part.top[K]
    part.d, part.top = np.zeros(problem.n), np.zeros(problem.n)
    part.d[K], part.top[K] = share * size**2, np.minimum(top / size, before)
    part.cover = there


def conjugate(v: Array, d: Array, top: Array) -> Array:
    """Return sup of v x - d x^2 / 2 over |x| <= top, entry by entry."""
    size = np.abs(v)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.where(size > 0.0, np.minimum(np.where(d > 0.0, size / d, np.inf), top), 0.0)
        return np.where(at > 0.0, at * (size - 0.5 * np.where(np.isinf(at), 0.0, d * at)), 0.0)


def _refuse_nonsense(proof: SupportProof, n: int) -> None:
    """Refuse arrays that cannot be walked through."""
    nodes, records = proof.parent.size, proof.node.size
    order = np.arange(nodes)
    good = nodes > 0 and proof.decision.size == nodes and proof.curved.size == records
    good = good and bool((proof.parent[1:] >= 0).all() and (proof.parent[1:] < order[1:]).all())
    signed = np.concatenate([proof.decision[1:], proof.fixed])
    good = good and bool((signed != 0).all() and (np.abs(signed) <= n).all())
    good = good and bool(((proof.node >= 0) & (proof.node < nodes)).all())
    good = good and bool((proof.curved < len(proof.curvatures)).all())
    for starts, size in ((proof.starts, proof.columns.size), (proof.fix_starts, proof.fixed.size)):
        good = good and starts.size == records + 1 and starts[0] == 0 and starts[-1] == size
        good = good and bool((np.diff(starts) >= 0).all())
    listed = [proof.columns, *(j for j, _ in proof.curvatures)]
    good = good and all(bool(((j >= 0) & (j < n)).all()) for j in listed)
    good = good and proof.values.size == proof.columns.size and bool(np.isfinite(proof.values).all())
    good = good and all(j.size == d.size and bool(np.isfinite(d).all()) for j, d in proof.curvatures)
    if not good:
        raise ValueError("proof does not hold a tree of this problem's coefficients: its arrays do not fit")
