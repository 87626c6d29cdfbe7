"""SEG-Y and SU files: headers survive byte for byte, damaged files are named, nothing is half written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparseinv.seismic import (
    Gather,
    load_gather,
    read_segy,
    read_su,
    save_gather,
    write_segy,
    write_su,
)

segyio = pytest.importorskip("segyio", reason="SEG-Y needs segyio")
Array = np.ndarray[Any, Any]


def write_with_segyio(path: Path, code: int, traces: Array, extended: int = 0) -> None:
    """Write a file as other programs do, with headers that this library does not know."""
    spec = segyio.spec()
    spec.format, spec.samples, spec.tracecount = code, np.arange(traces.shape[1]) * 4.0, traces.shape[0]
    spec.ext_headers = extended
    with segyio.create(str(path), spec) as file:
        file.text[0] = segyio.tools.create_text_header({1: "LINE 12", 3: "MUTED"})
        for k in range(extended):
            file.text[1 + k] = segyio.tools.create_text_header({1: f"EXTENDED {k}"})
        file.bin.update({segyio.BinField.Interval: 4000, segyio.BinField.JobID: 77})
        for k, trace in enumerate(traces):
            file.header[k] = {
                segyio.TraceField.offset: 100 - 25 * k,
                segyio.TraceField.TRACE_SAMPLE_COUNT: traces.shape[1],
                segyio.TraceField.TRACE_SAMPLE_INTERVAL: 4000,
                segyio.TraceField.CDP_X: -123456 + k,
                segyio.TraceField.SourceGroupScalar: -100,
                segyio.TraceField.UnassignedInt1: 7 * k,
            }
            file.trace[k] = trace


def make(n: int = 6, ns: int = 40, kind: Any = np.float32) -> Array:
    rng = np.random.default_rng(3)
    traces = rng.standard_normal((n, ns)) * 100
    return traces.astype(kind)


@pytest.mark.parametrize(
    ("code", "kind"), [(1, np.float32), (5, np.float32), (2, np.int32), (3, np.int16), (8, np.int8)]
)
@pytest.mark.parametrize("extended", [0, 2])
def test_a_file_of_segyio_comes_back(tmp_path: Path, code: int, kind: Any, extended: int) -> None:
    path = tmp_path / "in.sgy"
    write_with_segyio(path, code, make(kind=kind), extended)
    with segyio.open(str(path), ignore_geometry=True) as file:
        expected = file.trace.raw[:].astype(np.float32)
    gather = read_segy(path)
    np.testing.assert_array_equal(gather.traces, expected)
    assert gather.traces.dtype == np.float32
    assert gather.dt == 0.004
    np.testing.assert_array_equal(gather.offsets, 100 - 25 * np.arange(6))
    write_segy(tmp_path / "out.sgy", gather)
    before, after = path.read_bytes(), (tmp_path / "out.sgy").read_bytes()
    if code in (1, 5):
        assert after == before
    else:
        np.testing.assert_array_equal(read_segy(tmp_path / "out.sgy").traces, expected)
        changed = [at for at in range(3600) if before[at] != after[at]]
        assert changed == [3225]  # the sample format, in the second byte of its word
        assert after[3600 : 3600 + 3200 * extended] == before[3600 : 3600 + 3200 * extended]


@pytest.mark.parametrize("code", [1, 5])
def test_other_samples_keep_every_header(tmp_path: Path, code: int) -> None:
    path, out = tmp_path / "in.sgy", tmp_path / "out.sgy"
    write_with_segyio(path, code, make())
    gather = load_gather(path)
    save_gather(out, gather.with_traces(2 * gather.traces))
    before, after = path.read_bytes(), out.read_bytes()
    assert len(before) == len(after)
    size = 240 + 4 * 40
    assert after[:3600] == before[:3600]
    for k in range(6):
        at = 3600 + k * size
        assert after[at : at + 240] == before[at : at + 240]
    with segyio.open(str(out), ignore_geometry=True) as file:
        np.testing.assert_allclose(file.trace.raw[:], 2 * gather.traces, rtol=1e-6)
        assert file.header[2][segyio.TraceField.CDP_X] == -123454
        assert file.bin[segyio.BinField.JobID] == 77


def test_segyio_reads_a_file_that_is_new(tmp_path: Path) -> None:
    path = tmp_path / "new.segy"
    gather = Gather(make(), 0.002, np.arange(6) * 50.0)
    save_gather(path, gather)
    with segyio.open(str(path), ignore_geometry=True) as file:
        np.testing.assert_array_equal(file.trace.raw[:], gather.traces)
        assert segyio.tools.dt(file) == 2000
        assert b"SPARSEINV" in file.text[0]
        assert [header[segyio.TraceField.offset] for header in file.header] == [0, 50, 100, 150, 200, 250]


def test_su_and_segy_share_headers(tmp_path: Path) -> None:
    """From SEG-Y to SU and back: the trace headers are the same bytes."""
    write_with_segyio(tmp_path / "a.sgy", 5, make())
    gather = read_segy(tmp_path / "a.sgy")
    write_su(tmp_path / "a.su", gather)
    back = read_su(tmp_path / "a.su")
    np.testing.assert_array_equal(back.headers, gather.headers)
    raw = (tmp_path / "a.su").read_bytes()
    write_su(tmp_path / "b.su", back)
    assert (tmp_path / "b.su").read_bytes() == raw


def damaged(whole: bytes) -> dict[str, tuple[bytes, str]]:
    def word(at: int, value: int) -> bytes:
        return whole[:at] + value.to_bytes(2, "big") + whole[at + 2 :]

    trace = 240 + 160
    return {
        "empty": (b"", "has 0 bytes, fewer than the 3600"),
        "headers only": (whole[:3600], "holds no traces: 3600 bytes"),
        "truncated": (whole[:-50], "is truncated .* it ends inside trace 5"),
        "first trace cut": (whole[: 3600 + 100], "it ends inside trace 0"),
        "unknown format": (word(3224, 4), "has sample format 4, but one of 1 .IBM float"),
        "wrong format": (word(3224, 3), "is truncated or has traces of different lengths"),
        "little-endian": (
            whole[:3224] + (5).to_bytes(2, "little") + whole[3226:],
            "seems to be little-endian",
        ),
        "no samples": (word(3220, 0), "announces 0 samples"),
        "text only": (b"C" * 4000, "has sample format"),
        "extended headers missing": (word(3504, 3), "truncated|holds no traces"),
        "variable extended headers": (word(3504, 65535), "variable number of extended"),
        "too long": (
            whole[:3268] + (70000).to_bytes(4, "big") + whole[3272:3500] + b"\2" + whole[3501:],
            "revision 2 with 70000 samples a trace; at most 65535",
        ),
        "other length": (
            word(3600 + trace + 114, 39),
            "traces of different lengths: trace 1 .from 0. states 39",
        ),
        "no interval": (
            b"".join(
                [
                    whole[:3216], b"\0\0", whole[3218:3600],
                    *(
                        whole[at : at + 116] + b"\0\0" + whole[at + 118 : at + trace]
                        for at in range(3600, len(whole), trace)
                    ),
                ]
            ),
            "states no sampling interval",
        ),
        "two intervals": (word(3600 + trace + 116, 2000), "different sampling intervals: 2000 to 4000"),
        "not finite": (
            whole[: 3600 + trace + 240] + b"\x7f\xc0\x00\x00" + whole[3600 + trace + 244 :],
            "not finite in trace 1",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("case", damaged(bytes(3600 + 6 * 400)))
def test_damaged_files_are_named(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.sgy"
    write_with_segyio(path, 5, make())
    content, sentence = damaged(path.read_bytes())[case]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_segy(path)


def test_an_interval_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "a.sgy"
    write_with_segyio(path, 5, make())
    path.write_bytes(damaged(path.read_bytes())["no interval"][0])
    assert load_gather(path, dt=0.001).dt == 0.001


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.sgy"
    write_with_segyio(path, 1, make())
    gather = read_segy(path)
    before = path.read_bytes()

    def failing(*_: Any, **__: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr(segyio, "open", failing)
    with pytest.raises(OSError, match="disk full"):
        write_segy(path, gather.with_traces(2 * gather.traces))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.sgy"]
    with pytest.raises(ValueError, match="headers has shape"):
        write_segy(path, Gather(gather.traces, 0.004, headers=gather.headers[:2]))
    with pytest.raises(ValueError, match="ends with"):
        save_gather(tmp_path / "a.segd", gather)
    with pytest.raises(FileNotFoundError, match="folder"):
        save_gather(tmp_path / "absent" / "a.su", gather)
    assert path.read_bytes() == before


def test_a_file_that_is_replaced_keeps_its_permissions_and_links(tmp_path: Path) -> None:
    gather = Gather(make(), 0.004)
    place, link = tmp_path / "a.su", tmp_path / "link.su"
    place.touch()
    place.chmod(0o640)
    link.symlink_to(place)
    save_gather(link, gather)
    assert link.is_symlink()
    assert place.stat().st_mode & 0o777 == 0o640
    np.testing.assert_array_equal(load_gather(place).traces, gather.traces)
    before = os.umask(0o077)
    try:
        save_gather(tmp_path / "private.su", gather)
    finally:
        os.umask(before)
    assert (tmp_path / "private.su").stat().st_mode & 0o777 == 0o600
    save_gather(tmp_path / ("n" * 251 + ".su"), gather)  # the longest name that file systems allow


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # the super-user may write everywhere
    with pytest.raises(PermissionError, match="does not allow files to be written"):
        save_gather(tmp_path / "a.su", Gather(make(), 0.004))


def test_su_without_an_interval_takes_one(tmp_path: Path) -> None:
    path = tmp_path / "a.su"
    save_gather(path, Gather(make(2), 0.004))
    raw = bytearray(path.read_bytes())
    raw[116:118] = raw[400 + 116 : 400 + 118] = b"\0\0"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="states no sampling interval"):
        load_gather(path)
    assert load_gather(path, dt=0.002).dt == 0.002


@pytest.mark.parametrize("ending", [".su", ".sgy"])
def test_what_is_not_finite_is_not_written(tmp_path: Path, ending: str) -> None:
    for wrong, name in (
        (Gather(np.array([[1.0, np.nan]]), 0.004), "traces contains nan"),
        (Gather(np.ones((1, 2)), 0.004, np.array([np.inf])), "offsets contains inf"),
    ):
        with pytest.raises(ValueError, match=name):
            save_gather(tmp_path / f"a{ending}", wrong)
    assert not list(tmp_path.iterdir())


def test_arrays_are_saved_whole(tmp_path: Path) -> None:
    gather = Gather(make(), 0.002, np.arange(6.0))
    for name in ("a.npy", "a.npz"):
        save_gather(tmp_path / name, gather)
        back = load_gather(tmp_path / name, dt=0.002)
        np.testing.assert_array_equal(back.traces, gather.traces)
    np.testing.assert_array_equal(load_gather(tmp_path / "a.npz").offsets, gather.offsets)


def test_xarray_comes_and_goes() -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is optional")
    gather = Gather(make(), 0.002, np.arange(6.0))
    array = gather.to_xarray()
    back = Gather.from_xarray(array.T)
    np.testing.assert_array_equal(back.traces, gather.traces)
    np.testing.assert_array_equal(back.offsets, gather.offsets)
    assert back.dt == pytest.approx(0.002)
    milliseconds = array.assign_coords(time=("time", 2.0 * np.arange(40), {"units": "ms"}))
    assert Gather.from_xarray(milliseconds).dt == pytest.approx(0.002)
    single = array.assign_coords(time=("time", 0.002 * np.arange(40, dtype=np.float32)))
    assert Gather.from_xarray(single).dt == pytest.approx(0.002, rel=1e-6)
    for wrong, sentence in (
        (
            array.assign_coords(time=("time", 2.0 * np.arange(40), {"units": "m"})),
            "is in 'm', but one of 's'",
        ),
        (array.assign_coords(time=np.array(["a", "b"] * 20)), "but numbers are needed"),
        (array.rename(time="depth"), "one of them named time"),
        (array.drop_vars("time"), "states no sampling interval"),
        (array.assign_coords(time=np.r_[0.0, 1:40] ** 2), "not evenly spaced"),
        (xarray.DataArray(np.zeros(3), dims="time"), "two are needed"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Gather.from_xarray(wrong)
    with pytest.raises(TypeError, match=r"ndarray, but an xarray.DataArray is needed"):
        Gather.from_xarray(np.zeros((2, 3)))


def test_a_gather_on_a_grid() -> None:
    gather = Gather(make(3), 0.002, np.array([150.0, 0.0, 50.0]))
    with_headers = replace(gather, headers=np.arange(720, dtype=np.uint64).astype(np.uint8).reshape(3, 240))
    full, mask = with_headers.on_grid(50.0)
    np.testing.assert_array_equal(full.offsets, [0, 50, 100, 150])
    np.testing.assert_array_equal(mask, [True, True, False, True])
    np.testing.assert_array_equal(full.traces[[3, 0, 1]], gather.traces)
    assert not full.traces[2].any()
    np.testing.assert_array_equal(full.headers[[3, 0, 1]], with_headers.headers)
    assert any((full.headers[2] == full.headers[k]).all() for k in (1, 3))
    for spacing, sentence in ((40.0, "lies on no multiple"), (0.0, "spacing is 0")):
        with pytest.raises(ValueError, match=sentence):
            gather.on_grid(spacing)
    with pytest.raises(ValueError, match="occurs more than once"):
        Gather(make(2), 0.002, np.zeros(2)).on_grid(10.0)
    with pytest.raises(ValueError, match="states no offsets"):
        Gather(make(2), 0.002).on_grid(10.0)


# ---------------------------------------------------------------------------------- fractions of a metre

FIELD = segyio.TraceField
LINE = {"units": FIELD.CoordinateUnits, "scalar": FIELD.SourceGroupScalar, "sx": FIELD.SourceX,
        "sy": FIELD.SourceY, "gx": FIELD.GroupX, "gy": FIELD.GroupY}  # fmt: skip


def positioned(path: Path, *, scalar: int, rows: list[dict[str, int]]) -> None:
    """Write a file with coordinates by segyio."""
    spec = segyio.spec()
    spec.format, spec.samples, spec.tracecount = 5, np.arange(20) * 4.0, len(rows)
    with segyio.create(str(path), spec) as file:
        file.bin.update({segyio.BinField.Interval: 4000})
        for k, row in enumerate(rows):
            known = {LINE.get(key, FIELD.offset): value for key, value in row.items()}
            file.header[k] = {FIELD.TRACE_SAMPLE_COUNT: 20, FIELD.TRACE_SAMPLE_INTERVAL: 4000}
            file.header[k].update({LINE["scalar"]: scalar, LINE["units"]: 1} | known)
            file.trace[k] = np.full(20, k, dtype=np.float32)


@pytest.mark.parametrize("ending", ["sgy", "su"])
@pytest.mark.parametrize(
    ("step", "scalar"), [(12.5, -10), (6.25, -100), (0.125, -1000), (0.0625, -10000), (-12.5, -10), (25.0, 0)]
)
def test_the_coarsest_scalar_that_holds_the_offsets(
    tmp_path: Path, ending: str, step: float, scalar: int
) -> None:
    offsets = step * np.arange(-2.0, 5.0)
    save_gather(tmp_path / f"a.{ending}", Gather(make(7), 0.004, offsets))
    back = load_gather(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(back.offsets, offsets)
    save_gather(tmp_path / f"b.{ending}", back)
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    if ending == "su":
        return
    with segyio.open(str(tmp_path / "a.sgy"), ignore_geometry=True) as file:
        for header, offset in zip(file.header, offsets, strict=True):
            assert abs(header[FIELD.offset] - offset) <= 0.5
            if offset != np.rint(offset):
                assert header[LINE["scalar"]] == scalar
                assert (header[LINE["gx"]] - header[LINE["sx"]]) / -scalar == offset
                assert header[LINE["units"]] == 1


def test_coordinates_of_segyio_tell_the_fraction(tmp_path: Path) -> None:
    """As in field data: the field holds -68 where source and receiver are 67.5 apart."""
    path = tmp_path / "line.sgy"
    rows = [
        {"offset": -68, "sx": 43750, "gx": 43075, "sy": 7, "gy": 7},  # refined
        {"offset": 93, "sx": 43750, "gx": 42825, "sy": 7, "gy": 7},  # against x
        {"offset": 100, "sx": 43750, "gx": 43750, "sy": 7, "gy": 7},  # coordinates of something else
        {"offset": 50, "sx": 0, "gx": 400, "sy": 0, "gy": 304},  # not along x
        {"offset": 50, "sx": 0, "gx": 504, "sy": 0, "gy": 0, "units": 2},  # seconds of arc
    ]
    positioned(path, scalar=-10, rows=rows)
    gather = read_segy(path)
    np.testing.assert_allclose(gather.offsets, [-67.5, 92.5, 100.0, 50.0, 50.0])
    save_gather(tmp_path / "again.sgy", gather)
    assert (tmp_path / "again.sgy").read_bytes() == path.read_bytes()
    positioned(path, scalar=10, rows=rows[:1])  # a factor, not a divisor
    np.testing.assert_array_equal(read_segy(path).offsets, [-68.0])


def test_a_finer_scalar_takes_the_other_coordinates_along(tmp_path: Path) -> None:
    path, out = tmp_path / "in.sgy", tmp_path / "out.sgy"
    rows = [{"offset": 25 * k, "sx": 1000, "gx": 1000 + 25 * k, "sy": 40, "gy": 40} for k in range(1, 4)]
    positioned(path, scalar=1, rows=rows)
    full, known = read_segy(path).on_grid(12.5)
    save_gather(out, full)
    np.testing.assert_array_equal(read_segy(out).offsets, 12.5 * np.arange(2, 7))
    with (
        segyio.open(str(out), ignore_geometry=True) as file,
        segyio.open(str(path), ignore_geometry=True) as source,
    ):
        for k in range(3):
            assert bytes(file.header[2 * k].buf) == bytes(source.header[k].buf)
        between = file.header[1]
        assert between[LINE["scalar"]] == -10
        assert [between[LINE[key]] for key in ("sx", "gx", "sy", "gy")] == [10000, 10375, 400, 400]
    assert known.sum() == 3


def test_a_line_that_is_not_along_x_has_no_place_for_fractions(tmp_path: Path) -> None:
    path = tmp_path / "in.sgy"
    rows = [{"offset": 50 * k, "sx": 0, "gx": 30 * k, "sy": 0, "gy": 40 * k} for k in range(1, 4)]
    positioned(path, scalar=1, rows=rows)
    full, _ = read_segy(path).on_grid(12.5)
    with pytest.raises(ValueError, match=r"offset 62.5 m is no whole number.*not of a line along x"):
        save_gather(tmp_path / "out.sgy", full)
    assert not (tmp_path / "out.sgy").exists()
    full, _ = read_segy(path).on_grid(25.0)
    save_gather(tmp_path / "out.sgy", full)
    np.testing.assert_array_equal(read_segy(tmp_path / "out.sgy").offsets, [50, 75, 100, 125, 150])
