"""Files that are written whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a place beside ``path`` to write to, and move it there only when the block ends well.

    An error or an interruption inside the block leaves neither a half-written file nor the other place,
    and a file that was at ``path`` before stays as it was.
    """
    path = Path(path)
    if not path.resolve().parent.is_dir():
        raise FileNotFoundError(f"the folder of {path} does not exist")
    with tempfile.TemporaryDirectory(dir=path.resolve().parent, prefix=f".{path.name}-") as folder:
        place = Path(folder) / path.name
        yield place
        place.chmod(0o644)
        place.replace(path)
