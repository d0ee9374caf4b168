"""Training steps of the AQR variants over the baseline's: of the head alone and of the full model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from aqr_core.structures import Batch
from aqr_train.benchmarks.aqr_scene import Features
from aqr_train.benchmarks.aqr_sides import build_side
from aqr_train.benchmarks.model_runs import LOSSES, Run, training_step
from aqr_train.benchmarks.parts import Mark
from aqr_train.benchmarks.turns import BACKWARD, FORWARD
from aqr_train.precision import autocast
from aqr_train.settings import TrainSettings, read_section


def head_step(head: Any, batch: Batch, features: Features, precision: str = "fp32") -> Run:  # noqa: ANN401 - a CMT head
    """What a training step asks of the head; gradients are dropped afterwards."""
    learns = [features.bev, features.images, *head.parameters()]

    def run(mark: Mark) -> None:
        with autocast(batch.images.device, precision):
            denoising = head.make_denoising(batch.gt_boxes, batch.gt_labels, batch.seeds)
            out = head(features.bev, features.images, batch.lidar2img, batch.pad_shape, denoising)
            losses = head.loss(out, batch.gt_boxes, batch.gt_labels, batch.working)
            loss = torch.stack(list(losses.values())).sum()
        mark(FORWARD)
        torch.autograd.backward(loss)
        mark(BACKWARD)
        for tensor in learns:
            tensor.grad = None

    return run


def model_step(config: Mapping[str, Any], batch: Batch, precision: str) -> Run:
    """The trainer's whole step of the model of a config."""
    model, optimizer = build_side(config, batch.images.device)
    step = training_step(model, optimizer, batch, precision, read_section(TrainSettings, config, "train").grad_clip)
    names = {LOSSES: FORWARD}

    def run(mark: Mark) -> None:
        step(lambda part: mark(names.get(part, part)))

    return run
