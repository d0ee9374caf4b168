"""The head of MoME: a router gives each query to the expert for both sensors, for LiDAR or for cameras.

| training | what happens | what learns |
| --- | --- | --- |
| `train_experts=False` | no decoding: upstream's second stage | the router alone |
| `train_experts=True` | every sample is decoded by all three experts, as in upstream's first stage | all, in one run |

The router's target is known per sample: which sensors work.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.projection import MapShapes, QueryCells
from aqr_core.models.head.cmt_head import CmtHead
from aqr_core.models.head.denoising import Denoising
from aqr_core.models.head.mome_cells import locate_like_mome
from aqr_core.models.head.output import HeadOutput
from aqr_core.models.head.position import PositionCodes
from aqr_core.models.head.router_output import EXPERTS, RoutedOutput, RouterOutput
from aqr_core.models.precision import at_least_float32
from aqr_core.registry import MODELS


class Expert(NamedTuple):
    """What one expert hands to the decoder.

    Attributes:
        memory: (B, T', C) the tokens that it reads.
        memory_pos: (B, T', C) their positions.
        query_pos: (B, Q, C).
        values: (B, T', C).
    """

    memory: Tensor
    memory_pos: Tensor
    query_pos: Tensor
    values: Tensor


@MODELS.register_module(name=["RouterHead", "MultiExpertDecoding"])
class RouterHead(CmtHead):
    """`CmtHead` over a `RouterTransformer`.

    Prediction splits the queries of every sample by the router's choice. Each expert decodes its own, which see each
    other alone in self-attention, and all return to their own places, at every decoder layer.

    A detector that has one kind of sensor has one possible expert: it decodes all queries, unrouted, and there is
    nothing to learn for a router.

    Args:
        arguments: of `CmtHead`. AQR blocks are refused, and the transformer is a `RouterTransformer`, which also says
            what training does.
    """

    routes = True

    # Keys of a config are checked by the constructor's signature, which stays the parent's.
    @functools.wraps(CmtHead.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **arguments)
        if self.aqr is not None:
            raise ConfigError(
                f"{type(self).__name__} routes queries by itself and takes no AQR; set aqr_config and its like to None."
            )
        self._last_route: RouterOutput | None = None

    def forward(
        self,
        bev: Tensor | None,
        images: Tensor | None,
        lidar2img: Tensor | None,
        pad_shape: tuple[int, int],
        denoising: Denoising | None = None,
    ) -> HeadOutput:
        """Detect, or in training mode prepare the losses; shapes as in `CmtHead`.

        Returns:
            a `RoutedOutput`, or the plain output of the one possible expert.
        """
        if bev is None or images is None:
            self._last_route = None
            return super().forward(bev, images, lidar2img, pad_shape, denoising)
        self._check_inputs(bev, images, lidar2img)
        assert self.training or denoising is None
        shapes = MapShapes.of(bev, images)
        reference = self.references(len(bev), denoising)  # (B, S + Q, 3)
        tokens = self.tokens(bev, images)  # (B, T, C)
        codes = self.position_codes(reference, shapes, lidar2img, pad_shape)

        slots = 0 if denoising is None or self.transformer.mome_compatible else denoising.num_slots
        cells = self.locate(reference[:, slots:], lidar2img, shapes, pad_shape)
        query_pos = self.transformer.query_position(codes.bev_query, codes.ray_query, has_lidar=True)[:, slots:]
        route = RouterOutput.from_logits(self.transformer.rate_experts(query_pos, tokens, codes.tokens, cells))
        self._last_route = route.detach()
        if self.training and not self.transformer.train_experts:
            return RoutedOutput([], [], [], [], [], [], route=route)

        experts = {name: self._prepare_expert(name, tokens, codes, shapes.num_bev) for name in EXPERTS}
        if self.training:
            decoded_by = {name: self._decode(expert, reference, denoising) for name, expert in experts.items()}
            return RoutedOutput([], [], [], [], [], [], route=route, experts=decoded_by)
        decoded = self._decode_routed(list(experts.values()), route.choice)
        return RoutedOutput(**vars(self.predict_boxes(decoded, reference)), route=route)

    def locate(
        self, reference: Tensor, lidar2img: Tensor | None, shapes: MapShapes, pad_shape: tuple[int, int]
    ) -> QueryCells:
        """Cells of the (B, Q, 3) reference points on both maps."""
        if self.transformer.mome_compatible and lidar2img is not None:
            return locate_like_mome(reference, lidar2img, shapes=shapes, pad_shape=pad_shape, pc_range=self.pc_range)
        return super().locate(reference, lidar2img, shapes, pad_shape)

    def _prepare_expert(self, name: str, tokens: Tensor, codes: PositionCodes, num_bev: int) -> Expert:
        part = {"fused": slice(None), "bev": slice(num_bev), "img": slice(num_bev, None)}[name]
        has_lidar = name != "img"
        ray_query = None if name == "bev" else codes.ray_query
        return Expert(
            tokens[:, part],
            codes.tokens[:, part],
            self.transformer.query_position(codes.bev_query, ray_query, has_lidar=has_lidar),
            self.transformer.values(tokens[:, part], codes.img2lidar, has_lidar=has_lidar),
        )

    def _decode(self, expert: Expert, reference: Tensor, denoising: Denoising | None) -> HeadOutput:
        """All queries, and the denoising slots, by one expert."""
        mask = None if denoising is None else denoising.attn_mask
        decoded = self.transformer(expert.memory, expert.memory_pos, expert.query_pos, mask=mask, values=expert.values)
        return HeadOutput.from_slots(self.predict_boxes(decoded, reference), denoising)

    def _decode_routed(self, experts: Sequence[Expert], choice: Tensor) -> Tensor:
        """(B, Q) choice -> (L, B, Q, C); sample by sample, because their shares differ."""
        counts = F.one_hot(choice, len(experts)).sum(dim=1).tolist()  # one wait for the device
        samples = []
        for sample, chosen in enumerate(choice):
            order = chosen.argsort(stable=True)
            shares = order.split(counts[sample])
            decoded = [
                self.transformer(
                    *(part[sample : sample + 1] for part in expert[:2]),
                    expert.query_pos[sample : sample + 1, queries],
                    values=expert.values[sample : sample + 1],
                )
                for expert, queries in zip(experts, shares, strict=True)
                if len(queries)
            ]
            samples.append(torch.cat(decoded, dim=2)[:, :, order.argsort()])
        return torch.cat(samples, dim=1)

    def loss(
        self,
        out: HeadOutput,
        gt_boxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        working: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`router_loss`, and in training with `train_experts` each expert's terms with its name appended.

        Args:
            out: of `forward`.
            gt_boxes: per sample (n, 9).
            gt_labels: per sample (n,).
            working: (B, 2) or (1, 2) bool, LiDAR and cameras.

        Raises:
            ConfigError: `working` is unknown, a sample has no working sensor, or the detector has one kind of sensor.
        """
        if not isinstance(out, RoutedOutput):
            raise ConfigError(
                f"{type(self).__name__} has nothing to route with LiDAR alone or cameras alone; give the detector both "
                "branches, or train it with CmtHead."
            )
        if working is None:
            raise ConfigError(
                f"{type(self).__name__} learns from which sensors work, and that is not known; give `working` (B, 2)."
            )
        losses = {
            f"{term}_{name}": value
            for name, expert in out.experts.items()
            for term, value in self.criterion(expert, gt_boxes, gt_labels).items()
        }
        return {**losses, "router_loss": router_loss(out.route.logits, working)}

    @property
    def last_route(self) -> RouterOutput | None:
        """What the router said in the last forward pass, without graph."""
        return self._last_route

    def aqr_scalars(self) -> dict[str, float]:
        """Shares of the experts in the last forward pass, for logs; empty where nothing was routed."""
        return {} if self._last_route is None else self._last_route.scalars()


def router_loss(logits: Tensor, working: Tensor) -> Tensor:
    """() cross-entropy of (B, Q, 3) logits against what every sample's sensors ask for, mean over all queries.

    Both sensors work: fused; LiDAR alone: bev; cameras alone: img.

    Args:
        logits: (B, Q, 3) in the order of `EXPERTS`.
        working: (B, 2) or (1, 2) bool, LiDAR and cameras.
    """
    lidar, cameras = working.unbind(-1)
    if not (lidar | cameras).all():
        raise ConfigError("A sample has neither working LiDAR nor working cameras; blank at most one of them.")
    target = torch.where(lidar & cameras, 0, torch.where(lidar, 1, 2))  # (B,)
    target = target.unsqueeze(-1).expand(logits.shape[:2])
    return F.cross_entropy(at_least_float32(logits).flatten(0, 1), target.flatten())
