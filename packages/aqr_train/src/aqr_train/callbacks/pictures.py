"""Pictures of the weights during training."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from aqr_train.callbacks.advice import Advice
from aqr_train.callbacks.base import Callback
from aqr_train.pictures.scene import SCORE_SHOWN, RoutedScene, ScenePixels, look
from aqr_train.precision import autocast
from aqr_train.routing.warnings import lidar_limit

if TYPE_CHECKING:
    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

_DPI = 80
_NOTE = ", augmented for training: turned, scaled, left and right perhaps swapped"
_ENOUGH_QUERIES = 20  # of a class, to judge it


class AqrPictures(Callback):
    """Every `picture_every` steps and after the last, the main process draws the first sample of its batch.

    The picture is of one more forward pass in the run's precision, in eval mode and without gradient: it draws no
    random number and moves no statistics, so a run with pictures trains the same numbers as one without.

    The queries of all pictures together tell whether a class of small objects leans on LiDAR, which is warned about
    once.

    Args:
        pixels: of the training set.
    """

    def __init__(self, pixels: ScenePixels) -> None:
        self._pixels = pixels
        self._advice = Advice()
        self._found: Counter[str] = Counter()  # queries that found a class, over all pictures
        self._leaning: Counter[str] = Counter()  # those of them that lean on LiDAR

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Draw when due."""
        if not trainer.is_due(trainer.settings.picture_every):
            return
        with trainer.predicting_model() as model:
            if trainer.is_main:
                self._draw(trainer, model.eval())
        trainer.train_mode()

    def _draw(self, trainer: Trainer, model: nn.Module) -> None:
        from aqr_train.pictures.figure import draw_weights, render  # matplotlib, which most processes never need

        assert trainer.batch is not None
        with autocast(trainer.accelerator.device, trainer.settings.precision):
            scene = look(model, trainer.batch, self._pixels)
        trainer.record_picture("aqr/weights", render(draw_weights(scene, note=_NOTE), dpi=_DPI))
        self._judge(scene)

    def state_dict(self) -> dict[str, Any]:
        """Queries counted so far, and what has been warned about."""
        return {"said": self._advice.said, "found": dict(self._found), "leaning": dict(self._leaning)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self._advice = Advice(state.get("said", ()))
        self._found, self._leaning = Counter(state.get("found", {})), Counter(state.get("leaning", {}))

    def _judge(self, scene: RoutedScene) -> None:
        for query in np.flatnonzero(scene.scores >= SCORE_SHOWN):
            name = scene.class_names[scene.labels[query]]
            self._found[name] += 1
            self._leaning[name] += bool(scene.weights[query, 0] > lidar_limit(scene.neutral))
        for name, found in self._found.items():
            if found >= _ENOUGH_QUERIES:
                self._advice.judge(name, leaning={name: self._leaning[name] / found}, neutral=scene.neutral)
