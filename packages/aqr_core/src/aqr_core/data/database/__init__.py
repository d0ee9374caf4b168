"""The object database: every annotated object of a split with its points and its image crop, to paste into frames.

The builder, `aqr_core.data.database.build`, stands on the transforms, which stand on what is named here.
"""

from aqr_core.data.database.objects import ObjectDatabase

__all__ = ["ObjectDatabase"]
