"""Seismic data: wavelets, synthetic models and gathers, scores, files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseinv.seismic.anti_leakage import antileakage
    from sparseinv.seismic.attenuation import AttenuatedWavelets, attenuated_wavelets, attenuating_convolution
    from sparseinv.seismic.avo import AVOInversion, avo_coefficients, invert_avo
    from sparseinv.seismic.blind import BlindDeconvolution, blind_deconvolve
    from sparseinv.seismic.convex_projections import POCSResult, pocs
    from sparseinv.seismic.deblending import Deblended, deblend, local_plane_waves
    from sparseinv.seismic.deconvolution import Deconvolution, deconvolve
    from sparseinv.seismic.estimated_wavelets import WaveletMatch, match_wavelets, statistical_wavelet
    from sparseinv.seismic.field_data import mobil_gather
    from sparseinv.seismic.frequency_slices import SliceInterpolation
    from sparseinv.seismic.gather import Gather
    from sparseinv.seismic.interpolation import InterpolatedTraces, interpolate_traces
    from sparseinv.seismic.io import load_gather, save_gather
    from sparseinv.seismic.metrics import SpikeScore, gini, score_spikes, snr_db
    from sparseinv.seismic.minimum_weighted_norm import mwni
    from sparseinv.seismic.moveout import normal_moveout
    from sparseinv.seismic.noise import colored_noise
    from sparseinv.seismic.off_grid import Tones, off_grid_tones
    from sparseinv.seismic.radon_filter import Demultiple, RadonPanel, demultiple, radon_panel
    from sparseinv.seismic.reflectivity import (
        hyperbolic_events,
        linear_events,
        parabolic_events,
        sparse_spikes,
    )
    from sparseinv.seismic.robust_deconvolution import RobustDeconvolution, robust_deconvolve
    from sparseinv.seismic.sampling import undersample
    from sparseinv.seismic.segy import read_segy, write_segy
    from sparseinv.seismic.slowness_weights import low_frequency_weights
    from sparseinv.seismic.space_windows import WindowedInterpolation, in_windows
    from sparseinv.seismic.su import read_su, write_su
    from sparseinv.seismic.thin_beds import LayerDeconvolution, LayerPairs, deconvolve_layers
    from sparseinv.seismic.time_frequency_map import TimeFrequency, time_frequency
    from sparseinv.seismic.trace_filling import FilledTraces, fill_traces, held_traces
    from sparseinv.seismic.wavelets import klauder, ormsby, ricker

__all__ = [
    "AVOInversion",
    "AttenuatedWavelets",
    "BlindDeconvolution",
    "Deblended",
    "Deconvolution",
    "Demultiple",
    "FilledTraces",
    "Gather",
    "InterpolatedTraces",
    "LayerDeconvolution",
    "LayerPairs",
    "POCSResult",
    "RadonPanel",
    "RobustDeconvolution",
    "SliceInterpolation",
    "SpikeScore",
    "TimeFrequency",
    "Tones",
    "WaveletMatch",
    "WindowedInterpolation",
    "antileakage",
    "attenuated_wavelets",
    "attenuating_convolution",
    "avo_coefficients",
    "blind_deconvolve",
    "colored_noise",
    "deblend",
    "deconvolve",
    "deconvolve_layers",
    "demultiple",
    "fill_traces",
    "gini",
    "held_traces",
    "hyperbolic_events",
    "in_windows",
    "interpolate_traces",
    "invert_avo",
    "klauder",
    "linear_events",
    "load_gather",
    "local_plane_waves",
    "low_frequency_weights",
    "match_wavelets",
    "mobil_gather",
    "mwni",
    "normal_moveout",
    "off_grid_tones",
    "ormsby",
    "parabolic_events",
    "pocs",
    "radon_panel",
    "read_segy",
    "read_su",
    "ricker",
    "robust_deconvolve",
    "save_gather",
    "score_spikes",
    "snr_db",
    "sparse_spikes",
    "statistical_wavelet",
    "time_frequency",
    "undersample",
    "write_segy",
    "write_su",
]

_HOME = {
    "AVOInversion": "avo",
    "AttenuatedWavelets": "attenuation",
    "BlindDeconvolution": "blind",
    "Deblended": "deblending",
    "Deconvolution": "deconvolution",
    "Demultiple": "radon_filter",
    "FilledTraces": "trace_filling",
    "Gather": "gather",
    "InterpolatedTraces": "interpolation",
    "LayerDeconvolution": "thin_beds",
    "LayerPairs": "thin_beds",
    "POCSResult": "convex_projections",
    "RadonPanel": "radon_filter",
    "RobustDeconvolution": "robust_deconvolution",
    "SliceInterpolation": "frequency_slices",
    "SpikeScore": "metrics",
    "TimeFrequency": "time_frequency_map",
    "Tones": "off_grid",
    "WaveletMatch": "estimated_wavelets",
    "WindowedInterpolation": "space_windows",
    "antileakage": "anti_leakage",
    "attenuated_wavelets": "attenuation",
    "attenuating_convolution": "attenuation",
    "avo_coefficients": "avo",
    "blind_deconvolve": "blind",
    "colored_noise": "noise",
    "deblend": "deblending",
    "deconvolve": "deconvolution",
    "deconvolve_layers": "thin_beds",
    "demultiple": "radon_filter",
    "fill_traces": "trace_filling",
    "gini": "metrics",
    "held_traces": "trace_filling",
    "hyperbolic_events": "reflectivity",
    "in_windows": "space_windows",
    "interpolate_traces": "interpolation",
    "invert_avo": "avo",
    "klauder": "wavelets",
    "linear_events": "reflectivity",
    "load_gather": "io",
    "local_plane_waves": "deblending",
    "low_frequency_weights": "slowness_weights",
    "match_wavelets": "estimated_wavelets",
    "mobil_gather": "field_data",
    "mwni": "minimum_weighted_norm",
    "normal_moveout": "moveout",
    "off_grid_tones": "off_grid",
    "ormsby": "wavelets",
    "parabolic_events": "reflectivity",
    "pocs": "convex_projections",
    "radon_panel": "radon_filter",
    "read_segy": "segy",
    "read_su": "su",
    "ricker": "wavelets",
    "robust_deconvolve": "robust_deconvolution",
    "save_gather": "io",
    "score_spikes": "metrics",
    "snr_db": "metrics",
    "sparse_spikes": "reflectivity",
    "statistical_wavelet": "estimated_wavelets",
    "time_frequency": "time_frequency_map",
    "undersample": "sampling",
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
