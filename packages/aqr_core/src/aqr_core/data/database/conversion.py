"""`aqr convert-database`: mmdet3d's and CMT's object databases as folders of ours, and ours as mmdet3d's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aqr_core.checkpoint import replacing_folder
from aqr_core.data.database.extract import encode_crop
from aqr_core.data.database.objects import ObjectDatabase
from aqr_core.data.database.packed import KeyframeObjects, PackedWriter
from aqr_core.data.database.write_mmdet3d import Progress, points_folder, write_mmdet3d_database
from aqr_core.errors import ConfigError
from aqr_core.structures.boxes3d import VX

_JPEG_START = b"\xff\xd8"
_AT_ONCE = 256  # objects in memory


@dataclass(frozen=True)
class DatabaseConversion:
    """What was written.

    Attributes:
        path: the folder, or the pickle.
        objects: in it.
        left_behind: what the source holds and the result cannot, a phrase each.
    """

    path: Path
    objects: int
    left_behind: tuple[str, ...]


def convert_database(
    source: str | Path,
    out: str | Path,
    *,
    dataroot: str | Path | None = None,
    box_convention: str | None = None,
    progress: Progress | None = None,
) -> DatabaseConversion:
    """Write a database in the other form; what `source` is decides the direction.

    Args:
        source: folder of `aqr prepare --gt-database`, or a `*_dbinfos_*.pkl` of mmdet3d or CMT.
        out: for a folder the pickle to write, `NAME_dbinfos_SPLIT.pkl`, with `NAME_gt_database` beside it; for a pickle
            the folder to write. Must not exist.
        dataroot: for pickles, see `ObjectDatabase.open`.
        box_convention: for pickles, see `ObjectDatabase.open`.
        progress: called after each object.

    Raises:
        ConfigError: `out` exists or is named for the other direction.
        DataError: `source` is no database, or one that is damaged or incomplete.
    """
    source, out = Path(source), Path(out)
    to_theirs = source.is_dir()
    if source.is_file() and out.suffix == source.suffix:
        raise ConfigError(f"{source} is in mmdet3d's form, like --out {out}; give a folder to write ours to.")
    for target in (out, points_folder(out)) if to_theirs else (out,):
        if target.exists():
            raise ConfigError(f"{target} exists; remove it or choose another --out.")
    database = ObjectDatabase.open(source, dataroot=dataroot, box_convention=box_convention)
    if to_theirs:
        write_mmdet3d_database(database, out, progress)
        return DatabaseConversion(out, len(database), _lost_in_theirs(database))
    redone = _write_ours(database, out, progress)
    return DatabaseConversion(out, len(database), _lost_in_ours(database, redone))


def _write_ours(database: ObjectDatabase, out: Path, progress: Progress | None) -> int:
    """Copies every object; returns how many crops had to be encoded again."""
    redone = 0
    with replacing_folder(out) as unfinished, PackedWriter(unfinished) as writer:
        for start in range(0, len(database), _AT_ONCE):
            chosen = range(start, min(start + _AT_ONCE, len(database)))
            stored = [database.stored_image(index) for index in chosen]
            crops = [_as_jpeg(database, index, file) for index, file in zip(chosen, stored, strict=True)]
            redone += sum(crop is not file for crop, file in zip(crops, stored, strict=True))
            writer.append(
                KeyframeObjects(
                    token="",
                    instances=("",) * len(chosen),
                    boxes=database.boxes[start : chosen.stop],
                    labels=database.labels[start : chosen.stop],
                    points=[database.points(index) for index in chosen],
                    images=crops,
                )
            )
            if progress:
                progress(out.name, chosen.stop, len(database))
        writer.finish(database.classes, database.has_images, {"source": "", "converted_from": database.path.name})
    return redone


def _as_jpeg(database: ObjectDatabase, index: int, stored: bytes) -> bytes:
    if not stored or stored.startswith(_JPEG_START):
        return stored
    image = database.image(index)
    assert image is not None, "what is stored is an image, or reading it raises"
    return encode_crop(image)


def _lost_in_theirs(database: ObjectDatabase) -> tuple[str, ...]:
    unknown = int(np.isnan(database.boxes[:, VX:]).any(axis=1).sum())
    phrases = [f"that the velocity of {unknown} objects is unknown: it is zero there"] if unknown else []
    return (
        *phrases,
        "the tokens of samples and tracks",
        "the order of the keyframes: objects stand class by class",
        "digits of the boxes beyond float32",
    )


def _lost_in_ours(database: ObjectDatabase, redone: int) -> tuple[str, ...]:
    difficult = int(np.count_nonzero(database.difficulty))
    phrases = [f"the difficulty of {difficult} objects: nothing leaves them out"] if difficult else []
    if redone:
        phrases.append(f"the exact pixels of {redone} crops: they are JPEG files now")
    return (*phrases, "the numbers image_idx, gt_idx and group_id")
