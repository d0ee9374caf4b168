"""AQR: per-query modality weights and where they act; importing registers the parts."""

from aqr_core.models.aqr.attention_bias import AttentionBiasGenerator
from aqr_core.models.aqr.interface import AqrOutput, AqrVariant
from aqr_core.models.aqr.weight_generator import AQRWeightGenerator
from aqr_core.models.aqr.windows import MapShapes, QueryCells, WindowTable, build_windows, locate_queries

__all__ = [
    "AQRWeightGenerator",
    "AqrOutput",
    "AqrVariant",
    "AttentionBiasGenerator",
    "MapShapes",
    "QueryCells",
    "WindowTable",
    "build_windows",
    "locate_queries",
]
