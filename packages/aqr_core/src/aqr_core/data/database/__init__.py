"""The object database: every annotated object of a split with its points and its image crop, to paste into frames."""

from aqr_core.data.database.build import build_object_database
from aqr_core.data.database.objects import ObjectDatabase

__all__ = ["ObjectDatabase", "build_object_database"]
