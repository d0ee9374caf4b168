"""AQR: per-query modality weights and where they act."""

from aqr_core.models.aqr.interface import AqrOutput, AqrVariant
from aqr_core.models.aqr.windows import MapShapes, QueryCells, WindowTable, build_windows, locate_queries

__all__ = ["AqrOutput", "AqrVariant", "MapShapes", "QueryCells", "WindowTable", "build_windows", "locate_queries"]
