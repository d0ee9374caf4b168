"""AQR: per-query modality weights and where they act; importing registers the parts."""

from aqr_core.models.aqr.attention_bias import AttentionBiasGenerator
from aqr_core.models.aqr.feature_modulator import FeatureModulator
from aqr_core.models.aqr.interface import AqrOutput, WeightMaps
from aqr_core.models.aqr.projection import MapShapes, QueryCells, locate_queries
from aqr_core.models.aqr.weight_generator import AQRWeightGenerator
from aqr_core.models.aqr.weight_renderer import WeightRenderer
from aqr_core.models.aqr.windows import WindowTable, build_windows

__all__ = [
    "AQRWeightGenerator",
    "AqrOutput",
    "AttentionBiasGenerator",
    "FeatureModulator",
    "MapShapes",
    "QueryCells",
    "WeightMaps",
    "WeightRenderer",
    "WindowTable",
    "build_windows",
    "locate_queries",
]
