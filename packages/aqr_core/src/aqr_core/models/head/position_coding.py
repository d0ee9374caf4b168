"""The geometry of a head: codes of its queries and tokens, and the cells that its queries fall on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aqr_core.models.aqr.projection import MapShapes, QueryCells, locate_queries
from aqr_core.models.bev_cells import BevCells
from aqr_core.models.head.denoising import Denoising
from aqr_core.models.head.position import (
    PositionCodes,
    RayEmbedding,
    bev_cell_centers,
    image_cell_pixels,
    inverse_sigmoid,
    pixel_rays,
    pos2embed,
)
from aqr_core.models.head.queries import ray_query_embedding


class PositionCoding:
    """Part of `CmtHead`, whose children it reads: state-dict keys are the head's.

    Attributes:
        hidden_dim: C.
        pc_range: x, y, z minimum and maximum in metres.
        bev_cells: where the cells of the BEV map lie.
        reference_points: (Q, 3) of the queries in fractions of the range.
        bev_embedding: (..., 2 C) sines of a place -> (..., C).
        rv_embedding: camera rays -> (..., C); a head without cameras has none.
    """

    hidden_dim: int
    pc_range: Sequence[float]
    bev_cells: BevCells
    reference_points: nn.Embedding
    bev_embedding: nn.Sequential
    rv_embedding: RayEmbedding

    def references(self, batch: int, denoising: Denoising | None) -> Tensor:
        """(B, S + Q, 3) reference points in fractions of the range: denoising slots, then queries."""
        # Asked for by number, not read from the weight: what shards weights gathers them when their module is called.
        numbers = torch.arange(self.reference_points.num_embeddings, device=self.reference_points.weight.device)
        reference = self.reference_points(numbers).expand(batch, -1, -1)
        return reference if denoising is None else torch.cat([denoising.reference_points, reference], dim=1)

    def position_codes(
        self, reference: Tensor, shapes: MapShapes, lidar2img: Tensor | None, pad_shape: tuple[int, int]
    ) -> PositionCodes:
        """Codes of queries and tokens. Autocast stays out: half precision cannot tell neighbouring cells apart.

        Args:
            reference: (B, Q, 3) in fractions of the range.
            shapes: of the maps that are there.
            lidar2img: (B, N, 4, 4); unused without image map.
            pad_shape: (height, width) of the padded images in px.
        """
        with torch.autocast(reference.device.type, enabled=False):
            fraction = inverse_sigmoid(reference).sigmoid()
            bev_query = self.bev_embedding(pos2embed(fraction, self.hidden_dim))
            ray_query, img2lidar, tokens = None, None, []
            if shapes.bev is not None:
                tokens.append(self.bev_position(shapes.bev).expand(len(reference), -1, -1))
            if shapes.image is not None and lidar2img is not None:
                # A 4x4 inverse of a pixel projection loses metres in float32.
                img2lidar = torch.linalg.inv(lidar2img.double())
                tokens.append(self.image_position(shapes.image[1:], img2lidar, pad_shape))
                ray_query = ray_query_embedding(
                    fraction, lidar2img, img2lidar, pad_shape, self.pc_range, self.rv_embedding
                )
            return PositionCodes(bev_query, ray_query, torch.cat(tokens, dim=1), img2lidar)

    def bev_position(self, shape: tuple[int, int]) -> Tensor:
        """(Y * X, C) codes of the BEV cells."""
        weight = self.reference_points.weight
        centers = bev_cell_centers(shape, self.bev_cells.coded_edge(shape), weight.device, weight.dtype)
        return self.bev_embedding(pos2embed(centers, self.hidden_dim))

    def image_position(self, shape: tuple[int, int], img2lidar: Tensor, pad_shape: tuple[int, int]) -> Tensor:
        """(B, N * H * W, C) codes of the image cells."""
        pixels = image_cell_pixels(shape, pad_shape, img2lidar.device)
        direction, origin = pixel_rays(pixels, img2lidar[:, :, None])  # (B, N, H * W, 3)
        return self.rv_embedding(direction, origin).flatten(1, 2)

    def locate(
        self, reference: Tensor, lidar2img: Tensor | None, shapes: MapShapes, pad_shape: tuple[int, int]
    ) -> QueryCells:
        """Cells of the (B, Q, 3) reference points on both maps."""
        return locate_queries(
            reference.clamp(0, 1),
            lidar2img,
            shapes=shapes,
            pad_shape=pad_shape,
            pc_range=self.pc_range,
            cell_m=self.bev_cells.edge_m(shapes.bev or (1, 1)),
        )
