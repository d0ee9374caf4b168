"""Points -> voxels -> sparse 3-D encoder -> dense bird's-eye-view map."""

from aqr_core.models.voxel.sparse_encoder import SparseEncoder
from aqr_core.models.voxel.vfe import HardSimpleVFE
from aqr_core.models.voxel.voxelize import HardVoxelize, Voxels

__all__ = ["HardSimpleVFE", "HardVoxelize", "SparseEncoder", "Voxels"]
