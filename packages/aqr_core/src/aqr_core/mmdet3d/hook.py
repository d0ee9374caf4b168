"""What our parts need to know of the run: the epoch, and which classes the datasets count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from aqr_core.mmdet3d.classes import check_classes
from aqr_core.mmdet3d.transforms import AqrTransforms


@HOOKS.register_module()
class AqrHook(Hook):
    """Tells every `AqrTransforms` of the training pipeline the epoch, and compares classes before anything runs."""

    def before_train(self, runner: Any) -> None:  # noqa: ANN401 - mmengine's Runner
        """The classes of the training set."""
        self._check(runner, runner.train_dataloader)

    def before_val(self, runner: Any) -> None:  # noqa: ANN401
        """The classes of the validation set."""
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner: Any) -> None:  # noqa: ANN401
        """The classes of the test set."""
        self._check(runner, runner.test_dataloader)

    def before_train_epoch(self, runner: Any) -> None:  # noqa: ANN401
        """Steps with `until_epoch` end when it comes; reaches running workers too."""
        for transform in _transforms(runner.train_dataloader.dataset):
            transform.set_epoch(runner.epoch)

    def _check(self, runner: Any, loader: Any) -> None:  # noqa: ANN401
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        check_classes(getattr(model, "pts_bbox_head", model), getattr(loader.dataset, "metainfo", None))


def _transforms(dataset: Any) -> Iterator[AqrTransforms]:  # noqa: ANN401 - a dataset, or a wrapper such as CBGSDataset
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    for step in getattr(getattr(dataset, "pipeline", None), "transforms", ()):
        if isinstance(step, AqrTransforms):
            yield step
