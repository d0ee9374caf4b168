"""Chooses which objects of a database join a scene: so many per class, and none where another one stands."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from aqr_core.data.database import ObjectDatabase
from aqr_core.errors import ConfigError, DataError
from aqr_core.registry import suggest
from aqr_core.structures.overlap import overlaps_in_bev

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SamplingRecipe:
    """What a config says in `db_sampler`.

    Args:
        sample_groups: class name -> maximum number of objects in a scene.
        database: folder of `aqr prepare --gt-database`, or a `*_dbinfos_*.pkl`; relative to the dataroot. `{split}`
            stands for the split of the infos.
        rate: share of the missing objects to draw.
        filter_by_min_points: class name -> least number of points of an object.
        filter_by_difficulty: difficulties that are left out.

    Raises:
        ConfigError: a negative count or rate.
    """

    sample_groups: Mapping[str, int]
    database: str = "gt_database_{split}"
    rate: float = 1.0
    filter_by_min_points: Mapping[str, int] = field(default_factory=dict)
    filter_by_difficulty: Sequence[int] = (-1,)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ConfigError(f"db_sampler: rate is {self.rate}; give 0 or more.")
        for key, name, count in self._counts():
            if not isinstance(count, int) or count < 0:
                raise ConfigError(f"db_sampler: {key} has {count} for '{name}'; give a whole number, 0 or more.")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SamplingRecipe:
        """The recipe in a dict.

        Raises:
            ConfigError: an unknown or missing key, besides those of the constructor.
        """
        known = [each.name for each in fields(cls)]
        for key in config:
            if key not in known:
                raise ConfigError(f"db_sampler does not take '{key}'.{suggest(key, known)}")
        if "sample_groups" not in config:
            raise ConfigError("db_sampler needs sample_groups, such as dict(car=2, truck=3).")
        return cls(**config)

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raises `ConfigError` if a class is not one of the dataset's."""
        for key, name, _ in self._counts():
            if name not in classes:
                raise ConfigError(f"db_sampler: {key} has unknown class '{name}'.{suggest(name, list(classes))}")

    def _counts(self) -> Iterator[tuple[str, str, int]]:
        for key in ("sample_groups", "filter_by_min_points"):
            for name, count in getattr(self, key).items():
                yield key, name, count


class ObjectSampler:
    """Fills a scene up to a number of objects per class.

    A class that shows k objects gets round(rate * (maximum - k)) candidates. Candidates come class by class, in the
    order of `sample_groups`; one whose footprint overlaps an annotated box, an accepted object or another candidate of
    its class that is still standing is dropped, so of two candidates that overlap the later one stays. All this is
    upstream's. Upstream walks a shuffled list that each worker keeps; here every frame draws afresh without
    replacement, so that a sample depends on seed, epoch and index alone. In expectation an object appears as often, but
    not equally often within an epoch. Upstream's collision test also lets an object pass that lies exactly on its own
    annotation; here it is dropped.

    Args:
        recipe: numbers and filters.
        database: the objects.
        classes: of the dataset; the order of the database's may differ.

    Raises:
        ConfigError: the recipe has a class that the dataset has not.
        DataError: no object of any sampled class passes the filters. (For some classes only: a warning.)
    """

    def __init__(self, recipe: SamplingRecipe, database: ObjectDatabase, classes: Sequence[str]) -> None:
        recipe.check_classes(classes)
        self.recipe = recipe
        self.database = database
        self.classes = tuple(classes)
        self.objects = {name: self._usable(name) for name in recipe.sample_groups}
        empty = [name for name, objects in self.objects.items() if not len(objects)]
        if empty and len(empty) == len(self.objects):
            raise DataError(
                f"{database.path} has no object of the classes {', '.join(empty)} that passes the filters; lower "
                "filter_by_min_points, or rebuild it with `aqr prepare --gt-database`."
            )
        if empty:
            logger.warning("%s has no object to paste for: %s.", database.path, ", ".join(empty))
        logger.info("Objects to paste: %s.", ", ".join(f"{len(objects)} {n}" for n, objects in self.objects.items()))

    def draw(self, boxes: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Objects for a scene with these (n, 9) boxes and (n,) labels.

        Returns:
            objects: (k,) index into the database, in order of acceptance.
            labels: (k,) int64, counting the dataset's classes.
        """
        drawn, drawn_labels = [], []
        for name, objects in self.objects.items():
            label = self.classes.index(name)
            missing = self.recipe.sample_groups[name] - np.count_nonzero(labels == label)
            count = min(round(self.recipe.rate * missing), len(objects))
            if count > 0:
                drawn.append(rng.choice(objects, count, replace=False))
                drawn_labels.append(np.full(count, label, np.int64))
        if not drawn:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        candidates, candidate_labels = np.concatenate(drawn), np.concatenate(drawn_labels)
        kept = _without_collisions(self.database.boxes[candidates], candidate_labels, boxes)
        return candidates[kept], candidate_labels[kept]

    def _usable(self, name: str) -> np.ndarray:
        """Indices of the objects of a class that pass the filters."""
        database, recipe = self.database, self.recipe
        if name not in database.classes:
            return np.zeros(0, np.int64)
        usable = database.labels == database.classes.index(name)
        usable &= ~np.isin(database.difficulty, list(recipe.filter_by_difficulty))
        return np.flatnonzero(usable & (database.num_points >= recipe.filter_by_min_points.get(name, 0)))


def _without_collisions(candidates: np.ndarray, groups: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(k, 9) candidates, ordered by (k,) group, and (n, 9) boxes of the scene -> (k,) bool, those that stay."""
    blocked = np.any(overlaps_in_bev(candidates, boxes), axis=1)
    meets = overlaps_in_bev(candidates, candidates)
    np.fill_diagonal(meets, False)
    standing = np.zeros(len(candidates), bool)
    for group in dict.fromkeys(groups.tolist()):
        members = np.flatnonzero(groups == group)
        standing[members] = True
        for i in members:
            standing[i] = not (blocked[i] or (meets[i] & standing).any())
    return standing
