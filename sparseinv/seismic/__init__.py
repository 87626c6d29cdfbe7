"""Seismic data: wavelets, synthetic models and gathers, scores, files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseinv.seismic.avo import AVOInversion, avo_coefficients, invert_avo
    from sparseinv.seismic.blind import BlindDeconvolution, blind_deconvolve
    from sparseinv.seismic.deconvolution import Deconvolution, deconvolve
    from sparseinv.seismic.estimated_wavelets import WaveletMatch, match_wavelets, statistical_wavelet
    from sparseinv.seismic.field_data import mobil_gather
    from sparseinv.seismic.io import Gather, load_gather, read_su, write_su
    from sparseinv.seismic.metrics import (
        SpikeScore,
        gini,
        score_spikes,
        snr_db,
    )
    from sparseinv.seismic.noise import colored_noise
    from sparseinv.seismic.reflectivity import (
        hyperbolic_events,
        linear_events,
        parabolic_events,
        sparse_spikes,
    )
    from sparseinv.seismic.thin_beds import LayerDeconvolution, LayerPairs, deconvolve_layers
    from sparseinv.seismic.wavelets import klauder, ormsby, ricker

__all__ = [
    "AVOInversion",
    "BlindDeconvolution",
    "Deconvolution",
    "Gather",
    "LayerDeconvolution",
    "LayerPairs",
    "SpikeScore",
    "WaveletMatch",
    "avo_coefficients",
    "blind_deconvolve",
    "colored_noise",
    "deconvolve",
    "deconvolve_layers",
    "gini",
    "hyperbolic_events",
    "invert_avo",
    "klauder",
    "linear_events",
    "load_gather",
    "match_wavelets",
    "mobil_gather",
    "ormsby",
    "parabolic_events",
    "read_su",
    "ricker",
    "score_spikes",
    "snr_db",
    "sparse_spikes",
    "statistical_wavelet",
    "write_su",
]

_HOME = {
    "AVOInversion": "avo",
    "BlindDeconvolution": "blind",
    "Deconvolution": "deconvolution",
    "Gather": "io",
    "LayerDeconvolution": "thin_beds",
    "LayerPairs": "thin_beds",
    "SpikeScore": "metrics",
    "WaveletMatch": "estimated_wavelets",
    "avo_coefficients": "avo",
    "blind_deconvolve": "blind",
    "colored_noise": "noise",
    "deconvolve": "deconvolution",
    "deconvolve_layers": "thin_beds",
    "gini": "metrics",
    "hyperbolic_events": "reflectivity",
    "invert_avo": "avo",
    "klauder": "wavelets",
    "linear_events": "reflectivity",
    "load_gather": "io",
    "match_wavelets": "estimated_wavelets",
    "mobil_gather": "field_data",
    "ormsby": "wavelets",
    "parabolic_events": "reflectivity",
    "read_su": "io",
    "ricker": "wavelets",
    "score_spikes": "metrics",
    "snr_db": "metrics",
    "sparse_spikes": "reflectivity",
    "statistical_wavelet": "estimated_wavelets",
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
