"""Seismic data: wavelets, synthetic models and gathers, scores, files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseinv.seismic.convex_projections import POCSResult, pocs
    from sparseinv.seismic.field_data import mobil_gather
    from sparseinv.seismic.interpolation import Interpolation, interpolate_traces
    from sparseinv.seismic.io import Gather, load_gather, read_su, write_su
    from sparseinv.seismic.metrics import (
        SpikeScore,
        gini,
        score_spikes,
        snr_db,
    )
    from sparseinv.seismic.reflectivity import (
        hyperbolic_events,
        linear_events,
        parabolic_events,
        sparse_spikes,
    )
    from sparseinv.seismic.slowness_weights import low_frequency_weights
    from sparseinv.seismic.wavelets import klauder, ormsby, ricker

__all__ = [
    "Gather",
    "Interpolation",
    "POCSResult",
    "SpikeScore",
    "gini",
    "hyperbolic_events",
    "interpolate_traces",
    "klauder",
    "linear_events",
    "load_gather",
    "low_frequency_weights",
    "mobil_gather",
    "ormsby",
    "parabolic_events",
    "pocs",
    "read_su",
    "ricker",
    "score_spikes",
    "snr_db",
    "sparse_spikes",
    "write_su",
]

_HOME = {
    "Gather": "io",
    "Interpolation": "interpolation",
    "POCSResult": "convex_projections",
    "SpikeScore": "metrics",
    "gini": "metrics",
    "hyperbolic_events": "reflectivity",
    "interpolate_traces": "interpolation",
    "klauder": "wavelets",
    "linear_events": "reflectivity",
    "load_gather": "io",
    "low_frequency_weights": "slowness_weights",
    "mobil_gather": "field_data",
    "ormsby": "wavelets",
    "parabolic_events": "reflectivity",
    "pocs": "convex_projections",
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
