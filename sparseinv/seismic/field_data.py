"""Optional field data: found where the user keeps it, or taken from a public package on request."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from sparseinv.seismic.gather import Gather

_FILE = "mobil.npy"
_SHA256 = "93124c87d7b907e53df05e02fca07a9aeb040aa5e4a0c797b3c002ae5ba9311d"
_SDIST = "pylops==2.8.0 --hash=sha256:7fb6a3e4c57f14059131aded722ae9c331c12f26075d7e7e98e4ec3915e1262c"
_MEMBER = "testdata/deblending/mobil.npy"
_TIMEOUT = 900.0  # [s] for 50 MB over a slow line


def mobil_gather(path: str | Path | None = None, download: bool = False) -> Gather:
    """Return a marine common-receiver gather from the Mobil AVO line (Viking Graben, line 12).

    Parameters
    ----------
    path : str or Path, optional
        The file mobil.npy, or the folder that holds it. By default the folder named by the
        environment variable SPARSEINV_DATA, then the cache.
    download : bool
        If True and the file is in neither place, fetch the source distribution of PyLops 2.8.0
        (50 MB) from the Python package index with pip, take the file from it and keep it in the cache
        ($XDG_CACHE_HOME/sparseinv, ~/.cache/sparseinv by default).

    Returns
    -------
    Gather
        60 shots of 1000 float32 samples, dt = 0.004 s; the file states no offsets.

    Raises
    ------
    FileNotFoundError
        The data are not there and download is False; the message lists where they may lie.
    ConnectionError
        The download failed.
    ValueError
        The file is not the expected one (its SHA-256 differs).

    Notes
    -----
    The data are used, not redistributed: they are no part of this package, and the distribution that
    carries them does not state their terms. Nothing is fetched unless download is True. The
    distribution and the file are both checked against pinned hashes.

    Examples
    --------
    >>> from sparseinv.seismic import mobil_gather
    >>> gather = mobil_gather(download=True)  # doctest: +SKIP
    >>> gather.traces.shape, gather.dt  # doctest: +SKIP
    ((60, 1000), 0.004)
    """
    file = _find(path)
    if file is not None:
        content = file.read_bytes()
        _verify(content, str(file))
    elif download and path is None:
        content = _downloaded()
        _keep(content)
    else:
        raise FileNotFoundError(_where(path))
    return Gather(np.load(io.BytesIO(content), allow_pickle=False), 0.004)


def _find(path: str | Path | None) -> Path | None:
    """Return the first place where the file lies; an explicit path is the only place."""
    if path is not None:
        places = [Path(path)]
    else:
        folder = os.environ.get("SPARSEINV_DATA")
        places = [Path(folder)] if folder else []
        places.append(_cache())
    for place in places:
        file = place / _FILE if place.is_dir() else place
        if file.is_file():
            return file
    return None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparseinv"


def _where(path: str | Path | None) -> str:
    if path is not None:
        return f"{_FILE} was not found at {path}"
    return (
        f"{_FILE} was not found: pass path=, set SPARSEINV_DATA to the folder that holds it, or pass "
        f"download=True to fetch it once (50 MB) into {_cache()}"
    )


def _verify(content: bytes, source: str) -> None:
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ValueError(f"{source} is not the expected file: its SHA-256 is not {_SHA256}")


def _downloaded() -> bytes:
    """Fetch the pinned source distribution with pip and return the bytes of the one file."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(_SDIST + "\n", encoding="utf-8")
        # pip refuses the distribution before looking into it if the hash differs
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--no-deps", "--no-binary", "pylops"]
        command += ["--require-hashes", "--requirement", str(wanted), "--dest", folder]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConnectionError(f"the download of {_FILE} failed: {_reason(str(error))}") from None
        if run.returncode != 0:
            raise ConnectionError(f"the download of {_FILE} failed: {_reason(run.stderr)}")
        archives = list(Path(folder).glob("*.tar.gz"))
        if not archives:
            raise ConnectionError(f"the download of {_FILE} failed: pip left no archive behind")
        with tarfile.open(archives[0]) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.endswith("/" + _MEMBER) else None
                if stream is not None:
                    content = stream.read()
                    _verify(content, f"{_MEMBER} of the download")
                    return content
    raise ValueError(f"the download holds no file {_MEMBER}")


def _reason(text: str) -> str:
    """Condense what pip wrote to its last error, with what the user can do."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["pip gave no reason"]
    return (
        f"{errors[-1][:300]} (is the package index reachable, and pip installed? Otherwise pass path= to "
        "a copy of the file)"
    )


def _keep(content: bytes) -> None:
    """Store the file for the next call; a cache that cannot be written loses nothing but time."""
    with contextlib.suppress(OSError):
        _cache().mkdir(parents=True, exist_ok=True)
        partial = _cache() / f"{_FILE}.{os.getpid()}"
        partial.write_bytes(content)
        partial.replace(_cache() / _FILE)
