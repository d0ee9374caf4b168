"""CPU time of the loader, part by part."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from aqr_core.data import collate
from aqr_core.data.files import find_sensor_file, read_image, read_points
from aqr_train.benchmarks.loader_data import LoaderData


@dataclass(frozen=True)
class Round:
    """One pass over the samples.

    Attributes:
        seconds: CPU seconds per part, summed over the samples, in order of use.
        total: CPU seconds of the whole pass.
        samples: how many were made.
        points: in the last sample.
        blank: how many samples had no content of 'image' or of 'points'.
    """

    seconds: dict[str, float]
    total: float
    samples: int
    points: int
    blank: Mapping[str, int] = field(default_factory=dict)


class Stopwatch:
    """CPU seconds of this process by name.

    One process with one thread on a core of its own takes as much wall time, files being in memory; on a shared core it
    takes more of that, but not of CPU time.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Times what is inside the block."""
        started = time.process_time()
        yield
        self.seconds[name] += time.process_time() - started


def run_round(data: LoaderData, epoch: int) -> Round:
    """Every sample once, as a batch of its own, augmented as in this epoch: what a DataLoader's worker does."""
    dataset, watch, blank = data.dataset, Stopwatch(), Counter[str]()
    started = time.process_time()
    for index in data.indices:
        with watch.part("read infos"):
            frame = dataset.frame(index, epoch)
        seed = int(frame.rng.integers(2**63))
        for transform in dataset.pipeline:
            with watch.part(type(transform).__name__):
                transform(frame)
        with watch.part("to_sample"):
            sample = frame.to_sample(seed)
        with watch.part("collate"):
            collate([sample])
        blank.update(frame.blank)
    total = time.process_time() - started
    return Round(dict(watch.seconds), total, len(data.indices), len(sample.points), blank)


def run_floor(data: LoaderData) -> Round:
    """What cannot be left out of a round: the same files read, the same images decoded, and nothing else."""
    dataset, watch, points = data.dataset, Stopwatch(), 0
    started = time.process_time()
    for index in data.indices:
        info = dataset.info(index)
        images = [find_sensor_file(dataset.dataroot, camera.path) for camera in info.cameras.values()]
        clouds = [find_sensor_file(dataset.dataroot, sweep.path) for sweep in (info.lidar, *info.sweeps)]
        with watch.part("read point files"):
            points = sum(len(read_points(path, info.lidar.num_features)) for path in clouds)
        with watch.part("decode images"):
            for path in images:
                read_image(path)
    return Round(dict(watch.seconds), time.process_time() - started, len(data.indices), points)
