"""nuScenes keyframes as samples for the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from aqr_core.data.class_balance import class_balanced_indices
from aqr_core.data.frame import Frame
from aqr_core.data.pipeline import Pipeline
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos.links import Links
from aqr_core.infos.mmdet3d import Mmdet3dInfos
from aqr_core.infos.reader import Infos, open_infos
from aqr_core.infos.schema import Info
from aqr_core.registry import DATASETS
from aqr_core.structures.sample import Sample
from aqr_eval.nuscenes.classes import DETECTION_CLASSES


@DATASETS.register_module()
class NuScenesDataset(Dataset[Sample]):
    """Index -> `Sample` through a pipeline of registered transforms.

    The randomness of a sample depends on (seed, epoch, index) alone, so it is the same with any number of workers
    and ranks. A keyframe that class balance repeats has one index per repetition, so its copies are augmented apart.

    Args:
        dataroot: folder that the infos' paths are relative to.
        infos: file of `aqr prepare`, mmdet3d info pickle, or opened infos.
        pipeline: steps of a `Pipeline`.
        classes: names to detect; labels count in this order.
        seed: of all augmentation.
        test_mode: keep every keyframe in order; else keyframes without any box to learn from are left out.
        class_balanced: resample the keyframes by class (CBGS), once for all epochs; in training only. As upstream, a
            class counts as present where it is annotated, with or without a point inside.
        box_convention: for pickles that do not say, see `open_infos`.

    Raises:
        ConfigError: an unknown transform, argument or class; class balance in test mode.
        DataError: unreadable or empty infos, none with a box in training, or a file that a transform needs.
    """

    def __init__(
        self,
        dataroot: str | Path,
        infos: str | Path | Infos | Mmdet3dInfos,
        pipeline: Sequence[Mapping[str, Any] | Any],
        *,
        classes: Sequence[str] = DETECTION_CLASSES,
        seed: int = 0,
        test_mode: bool = False,
        class_balanced: bool = False,
        box_convention: str | None = None,
    ) -> None:
        self.dataroot = Path(dataroot)
        self.infos = open_infos(infos, box_convention) if isinstance(infos, (str, Path)) else infos
        self.classes = tuple(classes)
        self.seed = seed
        self.test_mode = test_mode
        self.pipeline = Pipeline(pipeline)
        if class_balanced and test_mode:
            raise ConfigError("class_balanced resamples the keyframes, test_mode keeps each once; drop one of the two.")
        if not len(self.infos):
            raise DataError(f"{self.infos.path} holds no keyframe; rebuild the file with `aqr prepare`.")
        self._label_of = self._map_labels()
        self._links = Links(self.infos)
        self._indices = np.arange(len(self.infos)) if test_mode else self._training_indices(class_balanced)
        # Pickles of mmdet3d do not name their split.
        self.pipeline.open_files(self.dataroot, self.classes, self.infos.header.split or "train")
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # seen by workers that live on

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        """One sample after the pipeline.

        Raises:
            DataError: a sensor file or a record cannot be used.
        """
        epoch = int(self._epoch)
        frame = self.frame(index, epoch)
        seed = int(frame.rng.integers(2**63))
        self.pipeline(frame, epoch)
        return frame.to_sample(seed)

    def info(self, index: int) -> Info:
        """What is known about the keyframe behind a sample."""
        return self.infos[int(self._indices[index])]

    def frame(self, index: int, epoch: int | None = None) -> Frame:
        """An empty frame for this sample and epoch (the current one unless given), before any transform."""
        epoch = int(self._epoch) if epoch is None else epoch
        rng = np.random.default_rng((self.seed, epoch, int(index) % len(self)))
        return Frame(self.info(index), self.dataroot, rng, self.classes, self._label_of, previous=self._links.previous)

    def set_epoch(self, epoch: int) -> None:
        """Choose the augmentation of an epoch, and the steps that take part in it; reaches running workers too."""
        self._epoch.fill_(epoch)

    def _map_labels(self) -> np.ndarray:
        known = self.infos.header.classes
        unknown = [name for name in self.classes if name not in known]
        if unknown:
            raise ConfigError(
                f"Class '{unknown[0]}' is not among those of {self.infos.path} ({', '.join(known)}); correct 'classes'."
            )
        return np.array([self.classes.index(name) if name in self.classes else -1 for name in known], np.int64)

    def _training_indices(self, class_balanced: bool) -> np.ndarray:
        presence = self.infos.presence()
        columns = [self.infos.header.classes.index(name) for name in self.classes]
        indices = np.flatnonzero(presence.valid[:, columns].any(axis=1))
        if not len(indices):
            raise DataError(
                f"None of the {len(self.infos)} keyframes in {self.infos.path} has a box with points in it; train on a "
                "split with annotations, or set test_mode=True."
            )
        if class_balanced:
            # A stream of its own, that neither the order of samples nor their augmentation draws from.
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(0,)))
            holds = presence.annotated[indices][:, columns]
            indices = indices[class_balanced_indices(holds, self.classes, rng)]
        return indices
