"""Gathers from and to files of any format that is known: SU, SEG-Y, npy and npz."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparseinv import validation
from sparseinv.seismic.gather import Gather
from sparseinv.seismic.segy import read_segy, write_segy
from sparseinv.seismic.su import read_su, write_su
from sparseinv.seismic.trace_headers import trace_headers
from sparseinv.seismic.whole_file import whole_file

Array = np.ndarray[Any, Any]

_SEGY = (".sgy", ".segy")
_KNOWN = ".su, .sgy, .segy, .npy, .npz"


def load_gather(path: str | Path, *, dt: float | None = None, key: str | None = None) -> Gather:
    """Read a gather from a .su, .sgy, .segy, .npy or .npz file.

    Parameters
    ----------
    path : str or Path
        The ending decides. An npz file may hold ``dt`` [s] and ``offsets`` [m] beside the traces.
    dt : float, optional
        Sampling interval [s]; needed where the file does not state one, and overrides it otherwise.
    key : str, optional
        Name of the traces in an npz file; by default ``traces``, or the only array in it.

    Returns
    -------
    Gather
        Traces (a single trace becomes one row), dt and offsets.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError, TypeError
        Unknown ending, no sampling interval, or contents that are no gather.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gather.npz"
    >>> np.savez(path, traces=np.zeros((3, 10)), dt=0.002)
    >>> load_gather(path).traces.shape, load_gather(path).dt
    ((3, 10), 0.002)
    """
    path = Path(path)
    ending = path.suffix.lower()
    offsets: Array | None = None
    if ending in _SEGY:
        return read_segy(path, dt=dt)
    if ending == ".su":
        return read_su(path, dt=dt)
    if ending == ".npy":
        traces = load_array(path)
    elif ending == ".npz":
        with path.open("rb") as file:
            with _damage_named(path):
                archive = np.load(file, allow_pickle=False)
                names = archive.files
            name = _traces_key(names, key, path.name)
            with _damage_named(path):
                traces = archive[name]
                if dt is None and "dt" in names:
                    dt = float(archive["dt"])
                offsets = archive["offsets"] if "offsets" in names else None
    else:
        raise ValueError(f"{path.name} ends with {ending!r}, but one of {_KNOWN} is needed")
    if dt is None:
        raise ValueError(f"{path.name} states no sampling interval; pass dt= in seconds")
    if traces.dtype.kind not in "iufc" or traces.ndim not in (1, 2):
        raise ValueError(
            f"{path.name} holds an array of shape {traces.shape} and dtype {traces.dtype}, but numbers of "
            "shape (n_traces, n_samples) are needed"
        )
    traces = np.atleast_2d(traces)
    if offsets is not None:
        offsets = validation.numeric(offsets, "offsets")
        if offsets.shape != (traces.shape[0],):
            raise ValueError(f"{path.name} holds {offsets.size} offsets for {traces.shape[0]} traces")
        validation.finite(offsets, "offsets")
    return Gather(traces, validation.positive(dt, "dt"), offsets)


def save_gather(path: str | Path, gather: Gather) -> None:
    """Write a gather to a .su, .sgy, .segy, .npy or .npz file; the ending decides.

    Parameters
    ----------
    path : str or Path
        File to write; an existing one is replaced once the new one is complete.
    gather : Gather
        SU and SEG-Y keep the trace headers it carries (see `write_su`, `write_segy`); npz keeps traces,
        dt and offsets; npy the traces only.

    Raises
    ------
    ValueError, TypeError
        Unknown ending, or the format cannot hold the gather; nothing is written.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gather.npz"
    >>> save_gather(path, Gather(np.zeros((3, 10)), 0.002))
    >>> load_gather(path).dt
    0.002
    """
    check_ending(path)
    ending = Path(path).suffix.lower()
    if ending in _SEGY:
        write_segy(path, gather)
    elif ending == ".su":
        write_su(path, gather)
    else:
        arrays: dict[str, Any] = {"traces": gather.traces, "dt": gather.dt}
        if gather.offsets is not None:
            arrays["offsets"] = gather.offsets
        with whole_file(path) as place, place.open("wb") as file:
            if ending == ".npy":
                np.save(file, gather.traces, allow_pickle=False)
            else:
                np.savez(file, **arrays)


def check_ending(path: str | Path) -> None:
    """Raise ValueError unless the name of a file says in which of the known formats it is."""
    ending = Path(path).suffix.lower()
    if ending not in (".su", ".npy", ".npz", *_SEGY):
        raise ValueError(f"{Path(path).name} ends with {ending!r}, but one of {_KNOWN} is needed")


def check_format(path: str | Path, gather: Gather) -> None:
    """Raise unless the format of ``path`` can hold traces of this number, length, interval and offsets."""
    check_ending(path)
    ending = Path(path).suffix.lower()
    if ending == ".su" or ending in _SEGY:
        silent = replace(gather, traces=np.zeros(gather.traces.shape, dtype=np.float32))
        trace_headers(silent, "SU" if ending == ".su" else "SEG-Y")


def load_array(path: Path) -> Array:
    """Return the array in an npy file."""
    with path.open("rb") as file, _damage_named(path):
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what a damaged file makes NumPy say into one sentence that names the file."""
    try:
        yield
    except (AttributeError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path.name} is damaged, or no {path.suffix} file of numbers: {error}") from None


def _traces_key(names: list[str], key: str | None, file: str) -> str:
    if key is not None:
        if key not in names:
            raise ValueError(f"{file} has no array {key!r}; it holds {', '.join(names)}")
        return key
    if "traces" in names:
        return "traces"
    arrays = [name for name in names if name not in ("dt", "offsets")]
    if len(arrays) != 1:
        raise ValueError(f"{file} holds {', '.join(names)}; pass key= to name the traces")
    return arrays[0]
