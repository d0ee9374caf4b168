"""What AQR needs around a step: the clamp of the bias scale, and the figures that tell how queries route."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from torch import nn

from aqr_train.callbacks.base import Callback

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class AqrMonitor(Callback):
    """Does nothing for a model without AQR.

    The scale is put back into its interval after every update, so that a clamp in the forward pass never
    silences its gradient for good. Every `log_every` steps the head's figures of this process's batch are
    recorded as `aqr/<figure>`: scale, mean, deviation and range of both weights, and the share of queries that
    prefers each modality.
    """

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Clamp the weight maps as their schedule says for this epoch."""
        renderer = _head_part(trainer.plain_model, "weight_renderer")
        if renderer is not None:
            renderer.set_epoch(trainer.state.epoch)

    def on_update(self, trainer: Trainer) -> None:
        """Put the scale back into its interval."""
        generator = _bias_generator(trainer.plain_model)
        if generator is not None:
            generator.clamp_scale_()

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Record, say, and warn when due."""
        if not trainer.is_due(trainer.settings.log_every):
            return
        head: Any = getattr(trainer.plain_model, "pts_bbox_head", None)
        figures: dict[str, float] = head.aqr_scalars() if hasattr(head, "aqr_scalars") else {}
        if not figures:
            return
        trainer.record({f"aqr/{name}": value for name, value in figures.items()})
        logger.info(
            "step %d  Bias scale %s  LiDAR weight %.3f +- %.3f  camera weight %.3f +- %.3f  prefer LiDAR %.0f %%",
            trainer.state.step,
            f"{figures['bias_scale']:.4f}" if "bias_scale" in figures else "none",
            figures["weight_lidar_mean"],
            figures["weight_lidar_std"],
            figures["weight_camera_mean"],
            figures["weight_camera_std"],
            100 * figures["prefer_lidar"],
        )
        generator = _bias_generator(trainer.plain_model)
        if generator is not None and figures["bias_scale"] > 0.9 * generator.max_scale:
            logger.warning(
                "Bias scale %.3f is above 0.9 of its maximum %.3f; lower max_scale.",
                figures["bias_scale"],
                generator.max_scale,
            )


def _bias_generator(model: nn.Module) -> Any:  # noqa: ANN401 - a module that only AQR v3 has
    return _head_part(model, "attention_bias_generator")


def _head_part(model: nn.Module, name: str) -> Any:  # noqa: ANN401 - a module that only some variants have
    return getattr(getattr(model, "pts_bbox_head", None), name, None)
