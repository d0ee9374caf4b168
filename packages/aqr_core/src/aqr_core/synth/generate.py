"""Writes a synthetic dataset in the nuScenes format: whole or not at all, the same bytes for the same arguments."""

from __future__ import annotations

import json
import logging
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from aqr_core.errors import ConfigError, DataError
from aqr_core.synth.presets import Preset, preset_named
from aqr_core.synth.rig import CHANNELS
from aqr_core.synth.scene_names import choose_scene_names, default_version
from aqr_core.synth.scene_writer import record_scene
from aqr_core.synth.tables import MAP_FILENAME, SCENE_TABLES, Rows, dataset_tables
from aqr_eval.nuscenes.classes import LIDAR

logger = logging.getLogger(__name__)

RECORD_FILENAME = "synth.json"
_GENERATOR = 2  # raised when the same arguments start to give other bytes


@dataclass(frozen=True)
class SyntheticDataset:
    """A finished dataset.

    Args:
        root: what nuScenes tools call the dataroot.
        version: name of the table folder.
        scenes: scene names.
        keyframes: number of keyframes in all scenes.
        reused: it was there already.
    """

    root: Path
    version: str
    scenes: tuple[str, ...]
    keyframes: int
    reused: bool


def generate(
    out: str | Path,
    scenes: int,
    seed: int,
    preset: str = "tiny",
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    version: str | None = None,
    *,
    keyframes: int | None = None,
    objects: int | None = None,
) -> SyntheticDataset:
    """Write a dataset that nuScenes tools load: 13 tables, LiDAR at 20 Hz, six cameras at 2 Hz.

    Scenes carry official names, so the predefined splits apply. The files do not depend on `workers`.

    Args:
        out: folder to create. A finished dataset of the same arguments is reused.
        scenes: number of scenes.
        seed: seed of everything random, >= 0.
        preset: one of `presets.PRESETS`.
        workers: processes; scenes are shared out among them.
        progress: called with (finished scenes, all scenes) at the start and after each scene.
        version: name that ends in `mini` or `trainval`; by default v1.0-mini for up to ten scenes.
        keyframes: keyframes per scene instead of the preset's.
        objects: objects per scene instead of the preset's; the first ten are one of each class.

    Raises:
        ConfigError: an argument is out of range.
        DataError: `out` holds something else.
    """
    out = Path(out)
    size = _resize(preset_named(preset), keyframes, objects)
    version = version or default_version(scenes)
    names = tuple(choose_scene_names(scenes, version))
    if seed < 0 or workers < 1:
        raise ConfigError(f"seed {seed} and workers {workers} are out of range: use a seed >= 0 and at least 1 worker.")
    arguments = {
        "generator": _GENERATOR,
        "scenes": scenes,
        "seed": seed,
        "preset": preset,
        "version": version,
        "keyframes": size.keyframes,
        "objects": size.objects,
    }
    total = len(names) * size.keyframes
    if _is_finished(out, arguments):
        logger.info("Reusing %s: it was made with the same arguments.", out)
        return SyntheticDataset(out, version, names, total, reused=True)

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        partial = Path(scratch) / "dataset"
        for channel in CHANNELS:
            (partial / "samples" / channel).mkdir(parents=True)
        (partial / "sweeps" / LIDAR).mkdir(parents=True)
        rows = _record_all(partial, names, size, seed, workers, progress)
        _write_tables(partial, version, rows, size.image_size)
        (partial / RECORD_FILENAME).write_text(json.dumps(arguments, indent=1) + "\n")
        partial.replace(out)
    return SyntheticDataset(out, version, names, total, reused=False)


def _resize(preset: Preset, keyframes: int | None, objects: int | None) -> Preset:
    keyframes = preset.keyframes if keyframes is None else keyframes
    objects = preset.objects if objects is None else objects
    if keyframes < 1 or objects < 1:
        raise ConfigError(f"keyframes {keyframes} and objects {objects} per scene must both be at least 1.")
    return replace(preset, keyframes=keyframes, objects=objects)


def _is_finished(out: Path, arguments: dict[str, object]) -> bool:
    """Whether `out` holds a dataset of these arguments; False where there is nothing yet."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    record = out / RECORD_FILENAME
    if not record.is_file():
        raise DataError(f"{out} exists and is not a synthetic dataset: remove it or choose another folder.")
    try:
        found = json.loads(record.read_text())
    except json.JSONDecodeError as error:
        raise DataError(f"{record} is not valid JSON ({error}): remove {out} or choose another folder.") from error
    if found != arguments:
        differing = ", ".join(key for key in arguments if found.get(key) != arguments[key])
        raise DataError(f"{out} holds a dataset that differs in {differing}: remove it or choose another folder.")
    return True


def _record_all(
    root: Path,
    names: tuple[str, ...],
    size: Preset,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[Rows]:
    """The rows of every scene, in the order of `names`."""
    seeds = np.random.SeedSequence(seed).spawn(len(names))
    jobs = [(root, index, name, size, seeds[index]) for index, name in enumerate(names)]
    rows: list[Rows] = [{} for _ in names]
    if progress:
        progress(0, len(names))
    for done, (index, of_scene) in enumerate(_run(jobs, min(workers, len(jobs))), start=1):
        rows[index] = of_scene
        if progress:
            progress(done, len(names))
    return rows


def _run(jobs: list[tuple[Path, int, str, Preset, np.random.SeedSequence]], workers: int) -> Iterator[tuple[int, Rows]]:
    """Scene index and rows, as scenes finish."""
    if workers == 1:
        for job in jobs:
            yield job[1], record_scene(*job)
        return
    # Fresh interpreters: a forked one may inherit locks of the caller's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(record_scene, *job): job[1] for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_tables(root: Path, version: str, scenes: list[Rows], image_size: tuple[int, int]) -> None:
    tables: Rows = {name: [row for rows in scenes for row in rows[name]] for name in SCENE_TABLES}
    tables |= dataset_tables([str(row["token"]) for row in tables["log"]], image_size)
    folder = root / version
    folder.mkdir()
    for name, rows in tables.items():
        with (folder / f"{name}.json").open("w") as file:
            json.dump(rows, file, separators=(",", ":"))
    image = root / MAP_FILENAME
    image.parent.mkdir()
    cv2.imwrite(str(image), np.zeros((1, 1), dtype=np.uint8))
