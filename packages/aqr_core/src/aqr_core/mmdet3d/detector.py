"""CMT with the interface of mmdet3d's detectors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet3d.models.detectors import Base3DDetector
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from aqr_core.checkpoint import load_weights
from aqr_core.errors import CheckpointError, ConfigError
from aqr_core.mmdet3d.boxes import rows_to_lidar_boxes
from aqr_core.mmdet3d.classes import check_classes_of_run
from aqr_core.models.cmt import CmtDetector as Cmt
from aqr_core.models.freezing import freeze_modules
from aqr_core.models.geometry import BevGeometry
from aqr_core.registry import suggest
from aqr_core.structures import Batch

_ARGUMENTS = [name for name in inspect.signature(Cmt.__init__).parameters if name != "self"]


@MODELS.register_module()
class CmtDetector(Cmt, Base3DDetector):
    """`aqr_core.models.CmtDetector` as a `Base3DDetector`: one set of parts, one state dict, another way to call it.

    Fields of the config are those of our `model` section, with the types of our registry: `type='SECOND'` inside is
    ours, `type='mmdet3d.SECOND'` mmdet3d's.

    Args:
        data_preprocessor: `AqrDataPreprocessor` unless given.
        init_cfg: None, or dict(type='Pretrained', checkpoint=PATH) with anything that `load_weights` reads: our
            checkpoint folders, official CMT's .pth, pretrained backbones, checkpoints of mmengine.
        frozen: globs over names of modules or parameters, see `freeze_modules`; mmengine's `lr_mult=0` would leave the
            batch statistics moving.
        model: see `aqr_core.models.CmtDetector`.

    Raises:
        ConfigError: an argument that it does not take, or a config that our own path refuses.
    """

    def __init__(
        self,
        *,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        frozen: Sequence[str] = (),
        **model: Any,  # noqa: ANN401 - the children's configs
    ) -> None:
        for name in model:
            if name not in _ARGUMENTS:
                raise ConfigError(f"CmtDetector does not take '{name}'.{suggest(name, _ARGUMENTS)}")
        super().__init__(**model)
        self.data_preprocessor = MODELS.build(data_preprocessor or dict(type="AqrDataPreprocessor"))
        self._pretrained = _checkpoint_of(init_cfg)
        freeze_modules(self, frozen)

    def forward(  # type: ignore[override]  # mmengine calls `forward` and `predict` in its own way, here alone
        self,
        inputs: Batch,
        data_samples: Any = None,  # noqa: ANN401 - a list of Det3DDataSample
        mode: str = "tensor",
    ) -> Any:  # noqa: ANN401
        """What mmengine calls: `loss`, `predict` or `_forward`."""
        return Base3DDetector.forward(self, inputs, data_samples, mode)

    def loss(self, batch_inputs: Batch, batch_data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Named terms; mmengine's `parse_losses` adds them up, so their sum is not among them.

        Raises:
            ConfigError: a sensor of the model or the annotations are missing, or the dataset counts other classes.
        """
        self._check(batch_inputs)
        self._check_annotations(batch_inputs, batch_data_samples)
        losses = Cmt.forward(self, batch_inputs)
        losses.pop("loss")
        return losses

    def predict(  # type: ignore[override]
        self, batch_inputs: Batch, batch_data_samples: Sequence[Any]
    ) -> Any:  # noqa: ANN401
        """The samples with `pred_instances_3d`: `bboxes_3d` (K, with velocity), `scores_3d` descending, `labels_3d`.

        Raises:
            ConfigError: a sensor of the model is missing.
            NonFiniteError: see `aqr_core.models.CmtDetector.predict`.
        """
        self._check(batch_inputs)
        found = [
            InstanceData(bboxes_3d=rows_to_lidar_boxes(one.boxes), scores_3d=one.scores, labels_3d=one.labels)
            for one in Cmt.predict(self, batch_inputs)
        ]
        return Base3DDetector.add_pred_to_datasample(self, list(batch_data_samples), found)

    def _forward(self, batch_inputs: Batch, batch_data_samples: Any = None) -> tuple[Tensor, ...]:  # noqa: ANN401
        """Class scores and box codes of all decoder layers, task by task: (L, B, Q, classes), (L, B, Q, 10), ..."""
        self._check(batch_inputs)
        bev, images = self.extract_feat(batch_inputs)
        head: Any = self.pts_bbox_head
        out = head(bev, images, batch_inputs.lidar2img, batch_inputs.pad_shape)
        tasks = range(len(out.cls_logits))
        return tuple(tensor for task in tasks for tensor in (out.cls_logits[task], out.box_codes(task)))

    def extract_feat(self, batch_inputs: Batch) -> tuple[Tensor | None, Tensor | None]:
        """BEV map (B, C, Y, X) and image features (B, N, C, H', W'); None for a branch that the model has not."""
        return self.extract_bev(batch_inputs.points), self.extract_images(batch_inputs.images)

    def init_weights(self) -> None:
        """As mmengine's runner starts training: `init_cfg` of the parts, then ours, read by our loader."""
        super().init_weights()
        if self._pretrained is not None:
            load_weights(self, self._pretrained, strict=False).log(self._pretrained)
            self._pretrained = None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, metadata: Any, *rest: Any) -> None:  # noqa: ANN401
        """Refuse of mmengine's `load_from` and `resume` what fits in every shape: weights of another geometry."""
        record = metadata.get("geometry")
        if record is not None and self.geometry is not None:
            stated = BevGeometry.from_record(record)
            if not stated.fits(self.geometry):
                raise CheckpointError(
                    f"The checkpoint was trained with {stated}, but the model has {self.geometry}: every box would be "
                    "displaced; use the config it was trained with."
                )
        super()._load_from_state_dict(state_dict, prefix, metadata, *rest)

    def _check(self, batch: Batch) -> None:
        if not isinstance(batch, Batch):
            raise ConfigError(
                f"CmtDetector got a {type(batch).__name__} where it needs a Batch; set "
                "data_preprocessor=dict(type='AqrDataPreprocessor') in the model."
            )
        if self.pts_middle_encoder is not None and not batch.points:
            raise ConfigError("The model has a LiDAR branch, the batch no 'points'; load them, or drop the branch.")
        if self.img_backbone is not None and not batch.images.shape[1]:
            raise ConfigError("The model has an image branch, the batch no 'img'; load the images, or drop the branch.")

    def _check_annotations(self, batch: Batch, samples: Sequence[Any]) -> None:
        check_classes_of_run(self.pts_bbox_head)
        if not all(
            "labels_3d" in sample.gt_instances_3d and "bboxes_3d" in sample.gt_instances_3d for sample in samples
        ):
            raise ConfigError(
                "Training samples have no gt_bboxes_3d and gt_labels_3d; add LoadAnnotations3D(with_bbox_3d=True, "
                "with_label_3d=True) and pack both keys."
            )
        if any(len(labels) and int(labels.min()) < 0 for labels in batch.gt_labels):
            raise ConfigError("gt_labels_3d hold -1, objects of no class; add ObjectNameFilter to the pipeline.")
        if getattr(self.pts_bbox_head, "sensor_loss", None) is not None:
            unknown = [sample for sample in samples if "working" not in sample.metainfo]
            if unknown:
                raise ConfigError(
                    "aqr_loss needs to know which sensors work, and the samples do not say; blank them with "
                    "ModalMask3D in AqrTransforms, and pack with PackAqrInputs."
                )


def _checkpoint_of(init_cfg: Mapping[str, Any] | None) -> str | None:
    """The path in `init_cfg`, which may only be of type Pretrained."""
    if init_cfg is None:
        return None
    if init_cfg.get("type") != "Pretrained" or "checkpoint" not in init_cfg:
        raise ConfigError(
            f"init_cfg of CmtDetector is {dict(init_cfg)}; give dict(type='Pretrained', checkpoint=PATH) or None."
        )
    return str(init_cfg["checkpoint"])
