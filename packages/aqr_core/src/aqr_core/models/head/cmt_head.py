"""The CMT head: object queries read BEV and image tokens together and become boxes.

Fusion, LiDAR-only and camera-only are one code path: what is absent adds no tokens and no part of the query code.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.interface import AqrOutput
from aqr_core.models.aqr.projection import MapShapes
from aqr_core.models.aqr.variant import AqrParts, build_aqr
from aqr_core.models.bev_cells import BevCells
from aqr_core.models.head.box_coder import MultiTaskBBoxCoder
from aqr_core.models.head.denoising import Denoising, DenoisingSettings, build_denoising, draw_noise
from aqr_core.models.head.init_locality import init_locality
from aqr_core.models.head.output import HeadOutput, Predictions
from aqr_core.models.head.position import RayEmbedding, inverse_sigmoid
from aqr_core.models.head.position_coding import PositionCoding
from aqr_core.models.losses import DetectionCriterion, HungarianAssigner3D, SensorLoss
from aqr_core.models.precision import at_least_float32
from aqr_core.registry import MODELS, build

DEFAULT_ASSIGNER = dict(
    type="HungarianAssigner3D",
    cls_cost=dict(type="FocalLossCost", weight=2.0),
    reg_cost=dict(type="BBox3DL1Cost", weight=0.25),
)
DEFAULT_COMMON_HEADS = dict(center=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2))


@MODELS.register_module()
class CmtHead(PositionCoding, nn.Module):
    """Queries, decoder, task heads, box coder and losses; keys of config and state dict are upstream's.

    Args:
        in_channels: of the BEV feature map.
        hidden_dim: C, also the channels of the image features.
        tasks: one dict per task with `num_class` (and `class_names`); labels run through them in order.
        transformer, bbox_coder, separate_head, loss_cls, loss_bbox: configs of the parts.
        num_query: matching queries Q.
        depth_num: points per camera ray in its code.
        downsample_scale: BEV cell edge in voxels.
        scalar, noise_scale, noise_trans, dn_weight, split: denoising, see `DenoisingSettings`.
        common_heads: box branches, name -> (channels, convolutions).
        train_cfg: `assigner`, `code_weights`, `grid_size`; directly or under `pts`.
        test_cfg: `grid_size`; directly or under `pts`.
        aqr_config, renderer_config, modulator_config, attention_bias_config: AQR, see `build_aqr`.
        aqr_preset: named settings of AQR v1 and v2, see `aqr.presets`.
        aqr_loss: supervision of AQR's weights, None for none, see `SensorLoss`.
        init_cfg: None, or dict(type='Locality', ...), see `init_locality`.
        norm_bbox, loss_heatmap: kept for upstream configs, unused there too.

    `grid_size` (voxels along x, y, z) fixes the positional code of BEV cell i to (i + 0.5) / cells of the range, as
    upstream has it even where the cells do not fill the range. Without it cells are coded where they are in metres.
    Upstream also swaps the number of rows and columns there; a map that is no square should go without `grid_size`.

    The dtype of the weights is that of the result: `head.double()` computes in float64, given float64 features.
    """

    uses_lidar = True
    uses_camera = True
    routes = False

    def __init__(
        self,
        in_channels: int,
        hidden_dim: int,
        tasks: Sequence[Mapping[str, Any]],
        transformer: Mapping[str, Any],
        bbox_coder: Mapping[str, Any],
        *,
        num_query: int = 900,
        depth_num: int = 64,
        downsample_scale: int = 8,
        scalar: int = 10,
        noise_scale: float = 1.0,
        noise_trans: float = 0.0,
        dn_weight: float = 1.0,
        split: float = 0.75,
        separate_head: Mapping[str, Any] | None = None,
        common_heads: Mapping[str, Sequence[int]] | None = None,
        loss_cls: Mapping[str, Any] | None = None,
        loss_bbox: Mapping[str, Any] | None = None,
        loss_heatmap: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        aqr_config: Mapping[str, Any] | None = None,
        renderer_config: Mapping[str, Any] | None = None,
        modulator_config: Mapping[str, Any] | None = None,
        attention_bias_config: Mapping[str, Any] | None = None,
        aqr_preset: str | None = None,
        aqr_loss: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        norm_bbox: bool = True,
    ) -> None:
        super().__init__()
        if num_query < 1:
            raise ConfigError(f"num_query is {num_query}; the head needs at least one query, upstream has 900.")
        train_cfg, test_cfg = _points_part(train_cfg), _points_part(test_cfg)
        self.in_channels = in_channels
        self.hidden_dim = hidden_dim
        self.num_query = num_query
        self.bbox_coder: MultiTaskBBoxCoder = build(bbox_coder, MODELS)
        self.pc_range = self.bbox_coder.pc_range
        grid_size = train_cfg.get("grid_size", test_cfg.get("grid_size"))
        self.bev_cells = BevCells(self.pc_range, downsample_scale, self.bbox_coder.voxel_size, grid_size)
        self.denoising_settings = DenoisingSettings(scalar, noise_scale, noise_trans, split, dn_weight)
        self.classes_per_task = tuple(int(task["num_class"]) for task in tasks)
        self.class_names = _class_names(tasks)

        if self.uses_lidar:
            self.shared_conv = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(in_channels, hidden_dim, 3, padding=1, bias=False),
                    bn=nn.BatchNorm2d(hidden_dim),
                    relu=nn.ReLU(inplace=True),
                )
            )
        self.transformer = build(transformer, MODELS)
        if self.transformer.embed_dims != hidden_dim:
            raise ConfigError(
                f"transformer embed_dims is {self.transformer.embed_dims}, hidden_dim is {hidden_dim}; make them equal."
            )
        if getattr(self.transformer, "routes", False) != self.routes:
            kind = type(self.transformer).__name__
            raise ConfigError(
                f"{type(self).__name__} has a {kind}, and only a RouterHead with a RouterTransformer can route; change "
                "one of the two types."
            )
        self.reference_points = nn.Embedding(num_query, 3)
        nn.init.uniform_(self.reference_points.weight)
        self.bev_embedding = nn.Sequential(
            nn.Linear(2 * hidden_dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, hidden_dim)
        )
        if self.uses_camera:
            self.rv_embedding = RayEmbedding(depth_num, hidden_dim, self.pc_range)
        branches = dict(common_heads or DEFAULT_COMMON_HEADS)
        self.task_heads = nn.ModuleList(
            build(
                separate_head or dict(type="SeparateTaskHead"),
                MODELS,
                in_channels=hidden_dim,
                heads={**branches, "cls_logits": (classes, 2)},
                groups=self.transformer.num_layers,
            )
            for classes in self.classes_per_task
        )
        assigner: HungarianAssigner3D = build(train_cfg.get("assigner", DEFAULT_ASSIGNER), MODELS)
        self.criterion = DetectionCriterion(
            self.bbox_coder,
            assigner,
            loss_cls or dict(type="FocalLoss", gamma=2.0, alpha=0.25, loss_weight=2.0),
            loss_bbox or dict(type="L1Loss", loss_weight=0.25),
            code_weights=train_cfg.get("code_weights", assigner.code_weights),
            classes_per_task=self.classes_per_task,
            split=split,
            dn_weight=dn_weight,
        )
        parts = build_aqr(aqr_config, renderer_config, modulator_config, attention_bias_config, aqr_preset)
        if parts is not None and parts.weight_generator.embed_dims != hidden_dim:
            raise ConfigError(
                f"aqr_config.embed_dims is {parts.weight_generator.embed_dims}, hidden_dim is {hidden_dim}; make them "
                "equal."
            )
        self.aqr_weight_generator = None if parts is None else parts.weight_generator
        self.weight_renderer = None if parts is None else parts.weight_renderer
        self.feature_modulator = None if parts is None else parts.feature_modulator
        self.attention_bias_generator = None if parts is None else parts.attention_bias_generator
        if aqr_loss is not None and parts is None:
            raise ConfigError(
                "The head has aqr_loss, but no AQR whose weights it could supervise; add aqr_config or drop it."
            )
        self.sensor_loss: SensorLoss | None = None if aqr_loss is None else build(aqr_loss, MODELS)
        self._last_aqr: AqrOutput | None = None
        if init_cfg is not None:
            arguments = dict(init_cfg)
            if arguments.pop("type", None) != "Locality":
                raise ConfigError(f"init_cfg is {dict(init_cfg)}; the one known type is 'Locality'.")
            init_locality(self, self.pc_range, **arguments)

    def forward(
        self,
        bev: Tensor | None,
        images: Tensor | None,
        lidar2img: Tensor | None,
        pad_shape: tuple[int, int],
        denoising: Denoising | None = None,
    ) -> HeadOutput:
        """Detect.

        Args:
            bev: (B, in_channels, Y, X); None without LiDAR.
            images: (B, N, C, H, W); None without cameras.
            lidar2img: (B, N, 4, 4); unused without images.
            pad_shape: (height, width) of the padded images in px.
            denoising: slots to decode along with the queries.

        Returns:
            see `HeadOutput`.
        """
        bev = bev if self.uses_lidar else None
        images = images if self.uses_camera else None
        self._check_inputs(bev, images, lidar2img)
        shapes = MapShapes.of(bev, images)
        has_lidar = bev is not None
        batch = next(len(features) for features in (bev, images) if features is not None)
        reference = self.references(batch, denoising)  # (B, S + Q, 3)
        tokens = self.tokens(bev, images)  # (B, T, C)
        codes = self.position_codes(reference, shapes, lidar2img, pad_shape)
        query_pos = self.transformer.query_position(codes.bev_query, codes.ray_query, has_lidar=has_lidar)
        slots = 0 if denoising is None else denoising.num_slots

        bias, aqr = None, None
        if self.aqr is not None:
            cells = self.locate(reference, lidar2img, shapes, pad_shape)
            routed = self.aqr.route(query_pos, tokens, codes.tokens, cells, slots)
            tokens, bias, aqr = routed.tokens, routed.bias, routed.output
            self._last_aqr = aqr.detach()

        mask = None if denoising is None else denoising.attn_mask
        values = self.transformer.values(tokens, codes.img2lidar, has_lidar=has_lidar)
        # (L, B, S + Q, C)
        decoded = self.transformer(tokens, codes.tokens, query_pos, mask=mask, bias=bias, values=values)
        # All queries in one sequence: with kernel 3 the task heads mix the last slot and the first query, as upstream.
        return HeadOutput.from_slots(self.predict_boxes(decoded, reference), denoising, aqr)

    @property
    def aqr(self) -> AqrParts | None:
        """The AQR children, None without AQR."""
        if self.aqr_weight_generator is None:
            return None
        return AqrParts(
            self.aqr_weight_generator, self.weight_renderer, self.feature_modulator, self.attention_bias_generator
        )

    def tokens(self, bev: Tensor | None, images: Tensor | None) -> Tensor:
        """(B, T, C): BEV cells row by row, then cameras, each row by row."""
        tokens = []
        if bev is not None:
            tokens.append(self.shared_conv(bev).flatten(2).mT)
        if images is not None:
            tokens.append(images.permute(0, 1, 3, 4, 2).flatten(1, 3))
        return torch.cat(tokens, dim=1)

    def _check_inputs(self, bev: Tensor | None, images: Tensor | None, lidar2img: Tensor | None) -> None:
        if bev is None and images is None:
            raise ConfigError(f"{type(self).__name__} got neither BEV nor image features that it can use.")
        if images is not None and lidar2img is None:
            raise ConfigError(f"{type(self).__name__} got images without lidar2img; give the (B, N, 4, 4) projections.")

    def predict_boxes(self, decoded: Tensor, reference: Tensor) -> Predictions:
        """(L, B, Q, C) decoder outputs and (B, Q, 3) references -> predictions.

        Every layer starts from the same reference. The branch called `height` really holds log dx, but upstream
        scales it like a z coordinate, and trained weights depend on that. Autocast stays out, as upstream: rounded to
        bfloat16, an offset of the centre is off by up to 5 cm.
        """
        with torch.autocast(decoded.device.type, enabled=False):
            return self._predict_boxes(at_least_float32(decoded), reference)

    def _predict_boxes(self, decoded: Tensor, reference: Tensor) -> Predictions:
        start = inverse_sigmoid(reference)
        x0, y0, z0, x1, y1, z1 = self.pc_range
        low = start.new_tensor([x0, y0, z0])
        size = start.new_tensor([x1 - x0, y1 - y0, z1 - z0])
        tasks = []
        for task_head in self.task_heads:
            branches = task_head(decoded)
            branches["center"] = (branches["center"] + start[..., :2]).sigmoid() * size[:2] + low[:2]
            branches["height"] = (branches["height"] + start[..., 2:]).sigmoid() * size[2:] + low[2:]
            tasks.append(branches)
        return Predictions.from_tasks(tasks)

    def make_denoising(
        self, gt_boxes: Sequence[Tensor], gt_labels: Sequence[Tensor], seeds: Sequence[int]
    ) -> Denoising | None:
        """Denoising slots for a training batch: per sample (n, 9) boxes, (n,) labels and its seed."""
        noise = draw_noise(gt_boxes, seeds, self.denoising_settings.scalar)
        return self.denoising_from_noise(gt_boxes, gt_labels, noise)

    def denoising_from_noise(
        self, gt_boxes: Sequence[Tensor], gt_labels: Sequence[Tensor], noise: Sequence[Tensor]
    ) -> Denoising | None:
        """The same from given noise, per sample (groups, n, 3) in [-1, 1)."""
        return build_denoising(
            gt_boxes,
            gt_labels,
            noise,
            settings=self.denoising_settings,
            pc_range=self.pc_range,
            num_query=self.num_query,
            num_classes=sum(self.classes_per_task),
        )

    def loss(
        self,
        out: HeadOutput,
        gt_boxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        working: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Named loss terms, see `DetectionCriterion`, and `loss_aqr` with `aqr_loss`; the training loss is their sum.

        Args:
            out: of `forward`.
            gt_boxes: per sample (n, 9).
            gt_labels: per sample (n,).
            working: (B, 2) bool, LiDAR and cameras, as in `Batch`; needed by losses on the routing alone.
        """
        losses = self.criterion(out, gt_boxes, gt_labels)
        if self.sensor_loss is not None:
            if working is None:
                raise ConfigError("aqr_loss needs to know which sensors work; give `loss` the tensor Batch.working.")
            assert out.aqr is not None
            generator: Any = self.aqr_weight_generator
            losses["loss_aqr"] = self.sensor_loss(out.aqr.weights, working, generator.weight_range)
        return losses

    @torch.no_grad()
    def decode(self, out: HeadOutput) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per sample boxes (K, 9), scores (K,) descending and labels (K,) of the last decoder layer."""
        tasks = range(len(self.task_heads))
        return self.bbox_coder.decode(
            [at_least_float32(out.cls_logits[task][-1]) for task in tasks],
            [at_least_float32(out.box_codes(task)[-1]) for task in tasks],
        )

    @property
    def last_aqr(self) -> AqrOutput | None:
        """What AQR decided in the last forward pass, without graph."""
        return self._last_aqr

    def aqr_scalars(self) -> dict[str, float]:
        """Figures of AQR in the last forward pass, for logs; empty without AQR."""
        return {} if self._last_aqr is None else self._last_aqr.scalars()


@MODELS.register_module()
class CmtLidarHead(CmtHead):
    """The head without a camera branch."""

    uses_camera = False


@MODELS.register_module()
class CmtImageHead(CmtHead):
    """The head without a LiDAR branch; queries keep their BEV code."""

    uses_lidar = False


def _class_names(tasks: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """Names of all tasks in the order of the labels, or None where a task names none."""
    if not all("class_names" in task for task in tasks):
        return None
    names = tuple(name for task in tasks for name in task["class_names"])
    expected = sum(int(task["num_class"]) for task in tasks)
    if len(names) != expected:
        raise ConfigError(f"tasks have {expected} classes in num_class and {len(names)} class_names; make them agree.")
    return names


def _points_part(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Upstream nests the head's settings under `pts`; both forms are read."""
    config = config or {}
    return config.get("pts", config)
