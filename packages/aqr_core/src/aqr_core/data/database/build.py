"""`aqr prepare --gt-database`: cuts every annotated object out of a split."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aqr_core.checkpoint import replacing_folder
from aqr_core.data.database.extract import extract_objects
from aqr_core.data.database.objects import ObjectDatabase
from aqr_core.data.database.packed import FORMAT, META, KeyframeObjects, PackedWriter
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import Info, open_infos
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

logger = logging.getLogger(__name__)

_AHEAD = 4  # keyframes in flight per worker: enough to keep them busy, few enough to stay in memory
_CHUNK_BYTES = 1 << 22

Progress = Callable[[str, int, int], None]  # name of the database, keyframes done, keyframes in all


def build_object_database(
    dataroot: str | Path,
    infos_path: str | Path,
    out: str | Path,
    *,
    sweeps_num: int = 10,
    workers: int = 2,
    progress: Progress | None = None,
    images: bool = True,
) -> ObjectDatabase:
    """Write the object database of a split.

    A database that was built from the same infos in the same way (or has crops, where none are wanted) is kept, any
    other of ours is replaced when the new one is complete. The files do not depend on `workers`.

    Args:
        dataroot: folder that the infos' paths are relative to.
        infos_path: what `open_infos` opens.
        out: folder to write.
        sweeps_num: past sweeps per keyframe at most, the newest ones.
        workers: processes.
        progress: called after each keyframe.
        images: cut image crops too; without them objects can be pasted into point clouds only.

    Raises:
        ConfigError: an argument out of range.
        DataError: unreadable infos, a missing or damaged sensor file, no object at all, or `out` is something else.
    """
    if sweeps_num < 0:
        raise ConfigError(f"sweeps_num is {sweeps_num}; give 0 or more.")
    if workers < 1:
        raise ConfigError(f"workers is {workers}; give 1 or more.")
    dataroot, out, infos = Path(dataroot), Path(out), open_infos(infos_path)
    origin = {"source": _digest(Path(infos_path)), "sweeps_num": sweeps_num}
    total = len(infos)
    if database := _built_already(out, {**origin, "has_images": images}):
        logger.info("%s: kept, the infos have not changed since", out)
        if progress:
            progress(out.name, total, total)
        return database
    classes = DETECTION_CLASSES
    label_of = np.array([classes.index(name) if name in classes else -1 for name in infos.header.classes])
    extract = partial(extract_objects, dataroot, label_of=label_of, sweeps_num=sweeps_num, with_images=images)
    with replacing_folder(out) as unfinished, PackedWriter(unfinished) as writer:
        for done, objects in enumerate(_run(extract, infos, min(workers, max(total, 1))), start=1):
            writer.append(objects)
            if progress:
                progress(out.name, done, total)
        meta = writer.finish(classes, images, origin)
        if not sum(meta["objects"].values()):
            raise DataError(
                f"None of the {total} keyframes of {infos.path} has a box with a point in it; build the database from "
                "a split with annotations."
            )
    return ObjectDatabase.open(out)


def _run(extract: Callable[[Info], KeyframeObjects], infos: Iterable[Info], workers: int) -> Iterator[KeyframeObjects]:
    """The objects of each keyframe, in order; at most a few keyframes per worker are in flight."""
    if workers == 1:
        yield from map(extract, infos)
        return
    # Fresh interpreters: a forked one may inherit locks of the caller's threads.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[KeyframeObjects]] = deque()
        try:
            for info in infos:
                waiting.append(pool.submit(extract, info))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _built_already(out: Path, wanted: dict[str, Any]) -> ObjectDatabase | None:
    """The whole database of this origin in `out`; None where one may be written.

    Raises:
        DataError: `out` is something else, which is not to be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        found = json.loads((out / META).read_text(encoding="utf-8"))
        is_ours = found["format"] == FORMAT
    except (OSError, ValueError, LookupError, TypeError):
        is_ours = False
    if not is_ours:
        raise DataError(f"{out} exists and is no object database; remove it or choose another folder.")
    if found.get("has_images"):  # one with crops serves those who want points alone
        wanted = {**wanted, "has_images": True}
    differing = [key for key, value in wanted.items() if found.get(key) != value]
    if differing:
        logger.info("%s: replaced, it differs in %s", out, ", ".join(differing))
        return None
    try:
        return ObjectDatabase.open(out)
    except DataError as error:  # another version, or damaged: either way the remedy is what is under way
        logger.warning("%s: replaced (%s)", out, error)
        return None


def _digest(path: Path) -> str:
    """Changes when any byte of the infos does."""
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
