"""What AQR needs around a step: the clamp of the bias scale, and the figures that tell how queries route."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from aqr_train.callbacks.advice import Advice
from aqr_train.callbacks.base import Callback
from aqr_train.routing.clamps import count_clamped

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class AqrMonitor(Callback):
    """Does nothing for a model without AQR or router.

    The scale is put back into its interval after every update, so that a clamp in the forward pass never
    silences its gradient for good. Every `log_every` steps the head's figures of the main process's batch are
    recorded as `aqr/<figure>` (see `AqrOutput.scalars`; of a router the shares of its experts), said in the log, and
    judged: what asks for attention is warned about, with advice, once, a resumed run included.
    """

    def __init__(self) -> None:
        self._advice = Advice()

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Clamp the weight maps as their schedule says for this epoch."""
        renderer = _head_part(trainer.plain_model, "weight_renderer")
        if renderer is not None:
            renderer.set_epoch(trainer.state.epoch)

    def on_update(self, trainer: Trainer) -> None:
        """Put the scale back into its interval."""
        generator = _bias_generator(trainer.plain_model)
        if generator is not None and generator.bias_scale.requires_grad:
            trainer.engine.edit(generator.bias_scale, generator.clamp_scale_)

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Record, say, and warn when due."""
        if not trainer.is_main or not trainer.is_due(trainer.settings.log_every):
            return
        head: Any = getattr(trainer.plain_model, "pts_bbox_head", None)
        figures: dict[str, float] = head.aqr_scalars() if hasattr(head, "aqr_scalars") else {}
        if not figures:
            return
        trainer.record({f"aqr/{name}": value for name, value in figures.items()})
        logger.info("step %d  %s", trainer.state.step, describe_figures(figures))
        generator = _bias_generator(trainer.plain_model)
        if generator is not None:
            self._advice.judge("scale", scale=figures["bias_scale"], max_scale=generator.max_scale)
        renderer = _head_part(trainer.plain_model, "weight_renderer")
        if renderer is not None:
            for name, (clamped, cells) in count_clamped(renderer, head.last_aqr).items():
                self._advice.judge(f"{name} map", at_clamp={name: clamped / cells})

    def state_dict(self) -> dict[str, Any]:
        """What has been warned about."""
        return {"said": self._advice.said}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Warn about nothing twice."""
        self._advice = Advice(state.get("said", ()))


def describe_figures(figures: Mapping[str, float]) -> str:
    """The figures of `aqr_scalars()` as one line of the log; those that a variant has not are left out."""
    parts = []
    if "bias_scale" in figures:
        parts.append(f"Bias scale {figures['bias_scale']:.4f}")
    for name, word in (("lidar", "LiDAR"), ("camera", "camera")):
        if f"weight_{name}_mean" in figures:
            mean, std, low, high = (figures[f"weight_{name}_{kind}"] for kind in ("mean", "std", "min", "max"))
            parts.append(f"{word} weight {mean:.3f} +- {std:.3f}, {low:.3f} to {high:.3f}")
    if "prefer_lidar" in figures:
        lidar, camera = 100 * figures["prefer_lidar"], 100 * figures["prefer_camera"]
        parts.append(f"prefer LiDAR {lidar:.0f} %, camera {camera:.0f} %")
    for name, word in (("bev", "BEV"), ("image", "image")):
        if f"map_{name}_mean" in figures:
            mean, std, top = (figures[f"map_{name}_{kind}"] for kind in ("mean", "std", "max"))
            parts.append(f"{word} map {mean:.3f} +- {std:.3f}, at most {top:.3f}")
    if "feature_change" in figures:
        parts.append(f"features changed by {100 * figures['feature_change']:.2f} %")
    shares = {name.removeprefix("route_"): share for name, share in figures.items() if name.startswith("route_")}
    if shares:
        parts.append("Queries by expert: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items()))
    return "  ".join(parts)


def _bias_generator(model: nn.Module) -> Any:  # noqa: ANN401 - a module that only AQR v3 has
    return _head_part(model, "attention_bias_generator")


def _head_part(model: nn.Module, name: str) -> Any:  # noqa: ANN401 - a module that only some variants have
    return getattr(getattr(model, "pts_bbox_head", None), name, None)
