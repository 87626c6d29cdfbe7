"""Seismic data: wavelets, synthetic models and gathers, scores, files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseinv.seismic.anti_leakage import antileakage
    from sparseinv.seismic.convex_projections import POCSResult, pocs
    from sparseinv.seismic.field_data import mobil_gather
    from sparseinv.seismic.frequency_slices import SliceInterpolation
    from sparseinv.seismic.interpolation import Interpolation, interpolate_traces
    from sparseinv.seismic.io import Gather, load_gather, read_su, write_su
    from sparseinv.seismic.metrics import (
        SpikeScore,
        gini,
        score_spikes,
        snr_db,
    )
    from sparseinv.seismic.minimum_weighted_norm import mwni
    from sparseinv.seismic.off_grid import Tones, off_grid_tones
    from sparseinv.seismic.reflectivity import (
        hyperbolic_events,
        linear_events,
        parabolic_events,
        sparse_spikes,
    )
    from sparseinv.seismic.slowness_weights import low_frequency_weights
    from sparseinv.seismic.space_windows import WindowedInterpolation, in_windows
    from sparseinv.seismic.wavelets import klauder, ormsby, ricker

__all__ = [
    "Gather",
    "Interpolation",
    "POCSResult",
    "SliceInterpolation",
    "SpikeScore",
    "Tones",
    "WindowedInterpolation",
    "antileakage",
    "gini",
    "hyperbolic_events",
    "in_windows",
    "interpolate_traces",
    "klauder",
    "linear_events",
    "load_gather",
    "low_frequency_weights",
    "mobil_gather",
    "mwni",
    "off_grid_tones",
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
    "SliceInterpolation": "frequency_slices",
    "SpikeScore": "metrics",
    "Tones": "off_grid",
    "WindowedInterpolation": "space_windows",
    "antileakage": "anti_leakage",
    "gini": "metrics",
    "hyperbolic_events": "reflectivity",
    "in_windows": "space_windows",
    "interpolate_traces": "interpolation",
    "klauder": "wavelets",
    "linear_events": "reflectivity",
    "load_gather": "io",
    "low_frequency_weights": "slowness_weights",
    "mobil_gather": "field_data",
    "mwni": "minimum_weighted_norm",
    "off_grid_tones": "off_grid",
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
