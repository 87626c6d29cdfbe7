"""Linear maps known by their products: matrices, their algebra, and the transforms of seismic data."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseinv.operators.adapt import adjoint_test, as_operator, norm_bound
    from sparseinv.operators.algebra import Adjoint, BlockDiagonal, Composition, HStack, Scaled, Sum, VStack
    from sparseinv.operators.base import Operator
    from sparseinv.operators.blending import Blending
    from sparseinv.operators.convolution import Convolution
    from sparseinv.operators.curvelet import Curvelet
    from sparseinv.operators.fourier import DCT, FFT
    from sparseinv.operators.frequency_radon import FrequencyRadon
    from sparseinv.operators.interpolation import Interpolation
    from sparseinv.operators.matrix import DenseMatrix, Diagonal, SparseMatrix
    from sparseinv.operators.morlet import MorletBank
    from sparseinv.operators.nonstationary import NonstationaryConvolution
    from sparseinv.operators.nufft import NUFFT
    from sparseinv.operators.radon import Radon
    from sparseinv.operators.real_fourier import RealFFT
    from sparseinv.operators.sampling import Restriction
    from sparseinv.operators.wavelet import Wavelet
    from sparseinv.operators.windows import Windows

__all__ = [
    "DCT",
    "FFT",
    "NUFFT",
    "Adjoint",
    "Blending",
    "BlockDiagonal",
    "Composition",
    "Convolution",
    "Curvelet",
    "DenseMatrix",
    "Diagonal",
    "FrequencyRadon",
    "HStack",
    "Interpolation",
    "MorletBank",
    "NonstationaryConvolution",
    "Operator",
    "Radon",
    "RealFFT",
    "Restriction",
    "Scaled",
    "SparseMatrix",
    "Sum",
    "VStack",
    "Wavelet",
    "Windows",
    "adjoint_test",
    "as_operator",
    "norm_bound",
]

_HOME = {
    "DCT": "fourier",
    "FFT": "fourier",
    "NUFFT": "nufft",
    "Adjoint": "algebra",
    "Blending": "blending",
    "BlockDiagonal": "algebra",
    "Composition": "algebra",
    "Convolution": "convolution",
    "Curvelet": "curvelet",
    "DenseMatrix": "matrix",
    "Diagonal": "matrix",
    "FrequencyRadon": "frequency_radon",
    "HStack": "algebra",
    "Interpolation": "interpolation",
    "MorletBank": "morlet",
    "NonstationaryConvolution": "nonstationary",
    "Operator": "base",
    "Radon": "radon",
    "RealFFT": "real_fourier",
    "Restriction": "sampling",
    "Scaled": "algebra",
    "SparseMatrix": "matrix",
    "Sum": "algebra",
    "VStack": "algebra",
    "Wavelet": "wavelet",
    "Windows": "windows",
    "adjoint_test": "adapt",
    "as_operator": "adapt",
    "norm_bound": "adapt",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
