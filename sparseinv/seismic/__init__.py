"""Seismic data: wavelets, synthetic models and gathers, scores, files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseinv.seismic.deblending import Deblended, deblend, local_plane_waves
    from sparseinv.seismic.field_data import mobil_gather
    from sparseinv.seismic.io import Gather, load_gather, read_su, write_su
    from sparseinv.seismic.metrics import (
        SpikeScore,
        gini,
        score_spikes,
        snr_db,
    )
    from sparseinv.seismic.moveout import normal_moveout
    from sparseinv.seismic.radon_filter import Demultiple, RadonPanel, demultiple, radon_panel
    from sparseinv.seismic.reflectivity import (
        hyperbolic_events,
        linear_events,
        parabolic_events,
        sparse_spikes,
    )
    from sparseinv.seismic.trace_filling import FilledTraces, fill_traces, held_traces
    from sparseinv.seismic.wavelets import klauder, ormsby, ricker

__all__ = [
    "Deblended",
    "Demultiple",
    "FilledTraces",
    "Gather",
    "RadonPanel",
    "SpikeScore",
    "deblend",
    "demultiple",
    "fill_traces",
    "gini",
    "held_traces",
    "hyperbolic_events",
    "klauder",
    "linear_events",
    "load_gather",
    "local_plane_waves",
    "mobil_gather",
    "normal_moveout",
    "ormsby",
    "parabolic_events",
    "radon_panel",
    "read_su",
    "ricker",
    "score_spikes",
    "snr_db",
    "sparse_spikes",
    "write_su",
]

_HOME = {
    "Deblended": "deblending",
    "Demultiple": "radon_filter",
    "FilledTraces": "trace_filling",
    "Gather": "io",
    "RadonPanel": "radon_filter",
    "SpikeScore": "metrics",
    "deblend": "deblending",
    "demultiple": "radon_filter",
    "fill_traces": "trace_filling",
    "gini": "metrics",
    "held_traces": "trace_filling",
    "hyperbolic_events": "reflectivity",
    "klauder": "wavelets",
    "linear_events": "reflectivity",
    "load_gather": "io",
    "local_plane_waves": "deblending",
    "mobil_gather": "field_data",
    "normal_moveout": "moveout",
    "ormsby": "wavelets",
    "parabolic_events": "reflectivity",
    "radon_panel": "radon_filter",
    "read_su": "io",
    "ricker": "wavelets",
    "score_spikes": "metrics",
    "snr_db": "metrics",
    "sparse_spikes": "reflectivity",
    "write_su": "io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
