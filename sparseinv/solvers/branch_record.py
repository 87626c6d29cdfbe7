"""What a branch and bound writes down for its proof, and how that becomes one."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparseinv.support_proof import SupportProof

Array = np.ndarray[Any, Any]

_NODE = 12  # bytes of a node
_RECORD = 32  # of a record beside its entries
_ENTRY = 12  # of an entry of a point
_NEAR = 16  # with an n-th of the memory left, recording ends


class BranchRecord:
    """Hold the records of a tree, in its own numbering, up to a limit on their memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.log = np.zeros((256 if limit else 0, 4), dtype=np.int64)
        self.columns = np.zeros(1024 if limit else 0, dtype=np.int32)
        self.points = np.zeros(self.columns.size)
        self.turned = np.zeros(self.columns.size, dtype=np.int32)
        self.curvatures: list[tuple[Array, Array]] = []
        self._curved = 0  # bytes of these
        self._end: tuple[int, int, int] | None = None  # nodes, records and entries when memory was used up

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """What the kernel writes to; without a row where nothing is recorded, or no longer."""
        log = self.log if self._end is None else self.log[:0]
        return log, self.columns, self.points, self.turned

    @property
    def recording(self) -> bool:
        """Whether a tree is recorded at present."""
        return self.limit > 0 and self._end is None

    def make_room(self, nodes: int, counts: Array, rounds: int, width: int, n: int) -> None:
        """Enlarge what is full for one more node; end where the limit is reached."""
        from sparseinv.kernels import branch

        logged, noted, turned = (int(counts[place]) for place in (branch.LOGGED, branch.NOTED, branch.TURNED))
        used = _NODE * nodes + _RECORD * logged + _ENTRY * noted + 4 * turned + self._curved
        left = self.limit - used
        if left <= self.limit // _NEAR:
            self._end = nodes, logged, turned
            return
        for name, needed in (
            ("log", logged + rounds), ("columns", noted + rounds * width),
            ("points", noted + rounds * width), ("turned", turned + n),
        ):  # fmt: skip
            old = getattr(self, name)
            if old.shape[0] < needed + 8:
                # doubled, but with no more room than the limit leaves each of the four
                more = min(old.shape[0], left // (4 * old[:1].nbytes))
                new = np.empty((needed + 8 + more, *old.shape[1:]), dtype=old.dtype)
                new[: old.shape[0]] = old
                setattr(self, name, new)

    def bend(self, node: int, counts: Array, index: Array, d: Array) -> None:
        """Record that a node has curvatures of its own from here on."""
        from sparseinv.kernels import branch

        self.log[counts[branch.LOGGED]] = (
            node, counts[branch.NOTED], counts[branch.TURNED], len(self.curvatures)
        )  # fmt: skip
        counts[branch.LOGGED] += 1
        self.curvatures.append((index, d))
        self._curved += index.nbytes + d.nbytes

    def proof(self, nodes: Array, fixes: Array, counts: Array, index: Array) -> SupportProof | None:
        """Return the proof; ``index`` are the coefficients of the problem behind those of the tree."""
        from sparseinv.kernels import branch

        if not self.limit:
            return None
        now = int(counts[branch.NODES]), int(counts[branch.LOGGED]), int(counts[branch.TURNED])
        many, logged, turned = now if self._end is None else self._end
        log = self.log[:logged]
        ends = int(counts[branch.NOTED])
        decision = np.zeros(many, dtype=np.int32)
        decision[1:] = fixes[nodes[1:many, branch.FIRST]]
        outer = np.concatenate([[0], index + 1]).astype(np.int32)
        return SupportProof(
            nodes[:many, branch.PARENT].copy(), _outer(decision, outer), log[:, 0].copy(), log[:, 3].copy(),
            np.append(log[:, 1], ends), index[self.columns[:ends]].astype(np.int32),
            self.points[:ends].copy(), np.append(log[:, 2], turned), _outer(self.turned[:turned], outer),
            tuple((index[j].astype(np.int32), d) for j, d in self.curvatures), self._end is None,
        )  # fmt: skip


def _outer(signed: Array, outer: Array) -> Array:
    """Return decisions in the numbering of the problem."""
    return np.asarray(np.sign(signed) * outer[np.abs(signed)])


def undivided() -> SupportProof:
    """Return a tree of one node, without a point: no objective is below 0."""
    none, root = np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    return SupportProof(root - 1, root, none, none, root, none, np.zeros(0), root, none, ())
