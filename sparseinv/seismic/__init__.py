"""Seismic data: wavelets, synthetic models and gathers, scores, files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseinv.seismic.attenuation import AttenuatedWavelets, attenuated_wavelets, attenuating_convolution
    from sparseinv.seismic.convex_projections import POCSResult, pocs
    from sparseinv.seismic.deblending import Deblended, deblend, local_plane_waves
    from sparseinv.seismic.deconvolution import Deconvolution, deconvolve
    from sparseinv.seismic.field_data import mobil_gather
    from sparseinv.seismic.gather import Gather
    from sparseinv.seismic.io import load_gather, save_gather
    from sparseinv.seismic.metrics import SpikeScore, gini, score_spikes, snr_db
    from sparseinv.seismic.noise import colored_noise
    from sparseinv.seismic.off_grid import Tones, off_grid_tones
    from sparseinv.seismic.reflectivity import (
        hyperbolic_events,
        linear_events,
        parabolic_events,
        sparse_spikes,
    )
    from sparseinv.seismic.segy import read_segy, write_segy
    from sparseinv.seismic.su import read_su, write_su
    from sparseinv.seismic.wavelets import klauder, ormsby, ricker

__all__ = [
    "AttenuatedWavelets",
    "Deblended",
    "Deconvolution",
    "Gather",
    "POCSResult",
    "SpikeScore",
    "Tones",
    "attenuated_wavelets",
    "attenuating_convolution",
    "colored_noise",
    "deblend",
    "deconvolve",
    "gini",
    "hyperbolic_events",
    "klauder",
    "linear_events",
    "load_gather",
    "local_plane_waves",
    "mobil_gather",
    "off_grid_tones",
    "ormsby",
    "parabolic_events",
    "pocs",
    "read_segy",
    "read_su",
    "ricker",
    "save_gather",
    "score_spikes",
    "snr_db",
    "sparse_spikes",
    "write_segy",
    "write_su",
]

_HOME = {
    "AttenuatedWavelets": "attenuation",
    "Deblended": "deblending",
    "Deconvolution": "deconvolution",
    "Gather": "gather",
    "POCSResult": "convex_projections",
    "SpikeScore": "metrics",
    "Tones": "off_grid",
    "attenuated_wavelets": "attenuation",
    "attenuating_convolution": "attenuation",
    "colored_noise": "noise",
    "deblend": "deblending",
    "deconvolve": "deconvolution",
    "gini": "metrics",
    "hyperbolic_events": "reflectivity",
    "klauder": "wavelets",
    "linear_events": "reflectivity",
    "load_gather": "io",
    "local_plane_waves": "deblending",
    "mobil_gather": "field_data",
    "off_grid_tones": "off_grid",
    "ormsby": "wavelets",
    "parabolic_events": "reflectivity",
    "pocs": "convex_projections",
    "read_segy": "segy",
    "read_su": "su",
    "ricker": "wavelets",
    "save_gather": "io",
    "score_spikes": "metrics",
    "snr_db": "metrics",
    "sparse_spikes": "reflectivity",
    "write_segy": "segy",
    "write_su": "su",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
