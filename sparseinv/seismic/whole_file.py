"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_place(path: str | Path) -> None:
    """Raise OSError unless a file can be written at ``path``: its folder is there and allows it."""
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path} does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but the name of a file is needed")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder of {path} does not allow files to be written")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a place beside ``path`` to write to, and move it there only when the block ends well.

    An error or an interruption inside the block leaves neither a half-written file nor the other place,
    and a file that was at ``path`` before stays as it was. A file that is replaced hands on its
    permissions; where ``path`` is a symbolic link, the file that it names is replaced.
    """
    check_place(path)
    target = Path(path).resolve()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".sparseinv-") as folder:
        place = Path(folder) / Path(path).name
        yield place
        if target.exists():
            place.chmod(stat.S_IMODE(target.stat().st_mode))
        place.replace(target)
