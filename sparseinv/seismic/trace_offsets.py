"""Offsets in trace headers: whole metres in a field of their own, fractions by scaled coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_NAMES = ("offset", "scalar", "sx", "sy", "gx", "gy", "units", "cdpx", "cdpy")
_FIELDS = np.dtype({
    "names": _NAMES,
    "formats": [">i4", ">i2", ">i4", ">i4", ">i4", ">i4", ">i2", ">i4", ">i4"],
    "offsets": [36, 70, 72, 76, 80, 84, 88, 180, 184],
    "itemsize": 240,
})  # fmt: skip
_DIVISORS = (10, 100, 1000, 10000)  # the scalars -10 to -10000 of the formats
_SAME = 1e-6  # [m] offsets closer than this are the same
_ASIDE = 0.01  # [m] difference in y up to which a line runs along x
_LENGTH = (0, 1)  # units of coordinates that are lengths; 0 for not stated


def read_offsets(headers: Array) -> Array:
    """Return the offsets that headers state [m].

    Parameters
    ----------
    headers : ndarray of uint8, shape (n_traces, 240)
        Trace headers. The field of the offset (bytes 37-40) holds whole metres and has no scalar; that of
        the coordinates (bytes 71-72) is for the positions of source and receiver (bytes 73-88). Where
        these lie on a line along x, in parts of a metre, and their distance rounds to the field, it is the
        offset.

    Returns
    -------
    ndarray, shape (n_traces,)
    """
    fields = headers.view(_FIELDS)[:, 0]
    stated = fields["offset"].astype(np.float64)
    scalar = fields["scalar"].astype(np.float64)
    difference = fields["gx"].astype(np.float64) - fields["sx"]
    distance = np.abs(difference) / np.maximum(-scalar, 1.0)
    finer = (scalar < 0.0) & _along_x(fields) & (np.abs(distance - np.abs(stated)) <= 0.5 + _SAME)
    sign = np.where(stated == 0.0, np.sign(difference), np.sign(stated))
    return np.where(finer, sign * distance, stated)


def write_offsets(headers: Array, offsets: Array, name: str) -> None:
    """Let headers state offsets; those that do already are not touched.

    Parameters
    ----------
    headers : ndarray of uint8, shape (n_traces, 240)
        Changed in place.
    offsets : ndarray, shape (n_traces,)
        Finite [m].
    name : str
        SU or SEG-Y.

    Raises
    ------
    ValueError
        An offset is no multiple of 0.0001 m or too large, or the coordinates in the headers are not those of
        a line along x and have no place for a fraction.
    """
    rows = np.flatnonzero(np.abs(read_offsets(headers) - offsets) > _SAME)
    fields = headers.view(_FIELDS)[:, 0]
    whole = np.rint(offsets)
    far = np.flatnonzero(np.abs(whole) >= 2**31)
    if far.size:
        raise ValueError(f"offset {offsets[far[0]]:g} m is beyond the 2^31 m that {name} stores")
    fields["offset"][rows] = whole[rows]
    rows = np.flatnonzero(np.abs(read_offsets(headers) - offsets) > _SAME)
    if rows.size == 0:
        return
    changed, wanted = fields[rows], offsets[rows]
    if not _along_x(changed).all():
        raise ValueError(
            f"offset {wanted[0]:g} m is no whole number of metres, for which {name} has coordinates only, "
            "but those in the headers are not of a line along x; write without headers, or round the offsets"
        )
    divisor, coordinates = _scaled(changed, wanted, name)
    ahead = np.where((changed["gx"] - changed["sx"].astype(np.int64)) * np.sign(wanted) < 0, -1, 1)
    coordinates["gx"] = coordinates["sx"] + ahead * np.rint(wanted * divisor).astype(np.int64)
    if max(int(np.abs(values).max()) for values in coordinates.values()) >= 2**31:
        raise ValueError(
            f"coordinates in steps of {1 / divisor:g} m, which offset {wanted[0]:g} m needs, are beyond the "
            f"range that {name} stores; round the offsets"
        )
    for key, values in coordinates.items():
        changed[key] = values
    changed["scalar"], changed["units"] = -divisor, 1
    fields[rows] = changed
    lost = np.flatnonzero(np.abs(read_offsets(headers) - offsets) > _SAME)
    if lost.size:
        raise ValueError(f"offset {offsets[lost[0]]:g} m cannot be told from its mirror image in {name}")


def _along_x(fields: Array) -> Array:
    """Tell where source and receiver have the same y, in units of length."""
    scalar = fields["scalar"].astype(np.float64)
    factor = np.where(scalar < 0.0, 1.0 / np.maximum(-scalar, 1.0), np.maximum(scalar, 1.0))
    aside = np.abs(fields["gy"].astype(np.float64) - fields["sy"]) * factor
    return np.asarray((aside <= _ASIDE) & np.isin(fields["units"], _LENGTH))


def _scaled(fields: Array, offsets: Array, name: str) -> tuple[int, dict[str, Array]]:
    """Return the smallest divisor that suits offsets and coordinates, and the latter times it."""
    # the end of the header means something else in SU
    keys = ("sx", "sy", "gx", "gy", *(("cdpx", "cdpy") if name == "SEG-Y" else ()))
    scalar = fields["scalar"].astype(np.int64)
    over, times = np.maximum(-scalar, 1), np.maximum(scalar, 1)
    for divisor in _DIVISORS:
        steps = offsets * divisor
        if (np.abs(steps - np.rint(steps)) > _SAME * divisor).any():
            continue
        raw = {key: fields[key].astype(np.int64) * times * divisor for key in keys}
        if not any((values % over).any() for values in raw.values()):
            return divisor, {key: values // over for key, values in raw.items()}
    steps = offsets * _DIVISORS[-1]
    worst = int(np.argmax(np.abs(steps - np.rint(steps))))
    raise ValueError(
        f"offset {offsets[worst]:.10g} m is no multiple of 0.0001 m, the finest step that {name} stores; "
        "pass numpy.round(offsets, 4) to round"
    )
