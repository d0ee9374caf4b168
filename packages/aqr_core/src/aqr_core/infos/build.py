"""`aqr prepare`: turns the nuScenes tables into one infos file per split.

The work is checked before it starts (every missing sensor file is found first), resumable (an interrupted
run continues behind its last complete record) and all-or-nothing (files appear under their name when complete).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aqr_core.errors import ConfigError, DataError
from aqr_core.infos.convert import keyframe_to_info
from aqr_core.infos.parse import FieldError, parse_info
from aqr_core.infos.reader import line_offsets
from aqr_core.infos.schema import InfosHeader, header_to_record, info_to_record, record_line
from aqr_eval.nuscenes.splits import SPLITS, scenes_of
from aqr_eval.nuscenes.tables import Keyframe, NuScenesTables

logger = logging.getLogger(__name__)

MISSING_FILES = "missing_files.txt"
_SHOWN = 5  # names in an error before the rest goes to that file
_SPLITS_OF = {"mini": ("mini_train", "mini_val"), "trainval": ("train", "val"), "test": ("test",)}  # by version's end

Progress = Callable[[str, int, int], None]  # split, keyframes done, keyframes in the split


def build_infos(
    dataroot: str | Path,
    version: str,
    out_dir: str | Path,
    splits: Sequence[str] | None = None,
    max_sweeps: int = 10,
    progress: Progress | None = None,
    require_files: bool = True,
) -> dict[str, Path]:
    """Write `infos_<split>.jsonl` for each split.

    A file that was already built from the same tables is kept.

    Args:
        dataroot: folder with `<version>/`, `samples/` and `sweeps/`.
        version: tables to read, `v1.0-mini` and so on.
        out_dir: where the files go; made if absent.
        splits: names; by default every split of the version that has scenes in the tables.
        max_sweeps: past sweeps per keyframe at most.
        progress: called after each keyframe.
        require_files: every sensor file must exist. Without it, for partial extracts, keyframes with a missing file
            are left out, and missing sweeps are dropped; both are counted in the log.

    Returns:
        split -> file.

    Raises:
        ConfigError: a negative `max_sweeps`.
        DataError: missing tables or sensor files (all named; a long list goes to `missing_files.txt` in `out_dir`), an
            unknown or empty split.
    """
    if max_sweeps < 0:
        raise ConfigError(f"max_sweeps is {max_sweeps}; give 0 or more.")
    dataroot, out_dir = Path(dataroot), Path(out_dir)
    tables = NuScenesTables(dataroot, version)
    present = set(tables.scene_names)
    scenes = {
        split: [name for name in scenes_of(split, version, dataroot) if name in present]
        for split in splits or _splits_with_scenes(dataroot, version, present)
    }
    for split, names in scenes.items():
        if not names:
            raise DataError(f"No scene of split '{split}' is in {dataroot / version}; choose another split or version.")
    files = _SensorFiles(dataroot)
    if require_files:
        every_scene = [name for names in scenes.values() for name in names]
        _require_files(tables, every_scene, max_sweeps, files, out_dir / MISSING_FILES)
    source = _fingerprint(dataroot / version)
    out_dir.mkdir(parents=True, exist_ok=True)
    written = {}
    for split, names in scenes.items():
        header = InfosHeader(version, split, max_sweeps=max_sweeps, source=source if require_files else "")
        written[split] = out_dir / f"infos_{split}.jsonl"
        _write_split(written[split], header, tables, names, files, progress, require_files)
    return written


def _write_split(
    path: Path,
    header: InfosHeader,
    tables: NuScenesTables,
    scenes: Sequence[str],
    files: _SensorFiles,
    progress: Progress | None,
    require_files: bool,
) -> None:
    total = tables.count_keyframes(scenes)
    if require_files and _is_complete(path, header, total):
        logger.info("%s: kept, the tables have not changed since", path)
        if progress:
            progress(header.split, total, total)
        return
    partial = path.with_name(path.name + ".partial")
    done = _resume(partial, header) if require_files else _start(partial, header)
    keyframes = tables.keyframes(scenes, max_sweeps=header.max_sweeps)
    left_out, lost_sweeps = 0, 0
    try:
        with partial.open("ab") as file:
            for count, keyframe in enumerate(keyframes, start=1):
                if count > done and all(name in files for name in _own_files(keyframe)):
                    info = keyframe_to_info(keyframe)
                    record = info_to_record(info)
                    _check_record(record, header, tables)
                    record["sweeps"] = [sweep for sweep in record["sweeps"] if sweep["path"] in files]
                    lost_sweeps += len(info.sweeps) - len(record["sweeps"])
                    file.write(record_line(record))
                elif count > done:
                    left_out += 1
                if progress:
                    progress(header.split, count, total)
    except DataError:
        partial.unlink()  # the tables are wrong, so there is nothing to continue
        raise
    if left_out == total:
        partial.unlink()
        raise DataError(f"No keyframe of split '{header.split}' has its seven sensor files; check the dataroot.")
    if left_out or lost_sweeps:
        logger.warning("%s: left out %d of %d keyframes, %d sweeps (files missing)", path, left_out, total, lost_sweeps)
    partial.replace(path)


def _check_record(record: dict[str, object], header: InfosHeader, tables: NuScenesTables) -> None:
    """What is written must pass the checks of the reader, whose advice is to write it again."""
    try:
        parse_info(record, header)
    except FieldError as error:
        raise DataError(
            f"{tables.folder}: {error} in the record of sample '{record['token']}'; repair that row of the tables or "
            "restore them from the nuScenes archive."
        ) from error


def _start(partial: Path, header: InfosHeader) -> int:
    partial.write_bytes(record_line(header_to_record(header)))
    return 0


def _resume(partial: Path, header: InfosHeader) -> int:
    """Cuts a file of an interrupted run behind its last complete record; keyframes done, 0 for a fresh start."""
    first_line = record_line(header_to_record(header))
    if not partial.is_file():
        return _start(partial, header)
    with partial.open("rb") as file:
        if file.readline() != first_line:
            return _start(partial, header)
    offsets = line_offsets(partial)
    os.truncate(partial, int(offsets[-1]))
    done = len(offsets) - 2
    logger.info("%s: continuing behind %d keyframes", partial, done)
    return done


def _is_complete(path: Path, header: InfosHeader, total: int) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.readline() != record_line(header_to_record(header)):
            return False
    offsets = line_offsets(path)
    return offsets[-1] == path.stat().st_size and len(offsets) - 2 == total


class _SensorFiles:
    """Which sensor files exist, from one directory listing per folder instead of one look-up per file."""

    def __init__(self, dataroot: Path) -> None:
        self._dataroot = dataroot
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            listed = self._dataroot / folder
            self._names[folder] = frozenset(os.listdir(listed)) if listed.is_dir() else frozenset()
        return name in self._names[folder]


def _own_files(keyframe: Keyframe) -> Iterator[str]:
    yield keyframe.lidar.filename
    for camera in keyframe.cameras.values():
        yield camera.filename


def _require_files(
    tables: NuScenesTables, scenes: Sequence[str], max_sweeps: int, files: _SensorFiles, report: Path
) -> None:
    missing: dict[str, None] = {}  # a set that keeps the order of the tables
    for keyframe in tables.keyframes(scenes, max_sweeps=max_sweeps):
        sweeps = (sweep.filename for sweep in keyframe.sweeps)
        missing.update((name, None) for name in (*_own_files(keyframe), *sweeps) if name not in files)
    report.unlink(missing_ok=True)
    if missing:
        shown, more = ", ".join(list(missing)[:_SHOWN]), ""
        if len(missing) > _SHOWN:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text("".join(f"{name}\n" for name in missing), encoding="utf-8")
            more = f" and {len(missing) - _SHOWN} more, all listed in {report}"
        raise DataError(
            f"{tables.dataroot} lacks {len(missing)} sensor files: {shown}{more}; unpack the missing archives there, "
            "or keep only the keyframes whose files exist (`--allow-missing`, require_files=False)."
        )


def _splits_with_scenes(dataroot: Path, version: str, present: set[str]) -> list[str]:
    """The benchmark's splits of this version and the dataset's own, as far as their scenes are in the tables."""
    names = splits_of(dataroot, version)
    found = [name for name in names if present.intersection(scenes_of(name, version, dataroot))]
    if not found:
        raise DataError(
            f"No scene of {dataroot / version} belongs to a split of '{version}' ({', '.join(names) or 'none'}); known "
            f"splits are {', '.join(SPLITS)}, or define your own in {_own_splits(dataroot, version)}."
        )
    return found


def splits_of(dataroot: Path, version: str) -> list[str]:
    """Names of the benchmark's splits of this version, then of those that the dataset's `splits.json` defines.

    Raises:
        DataError: that file is no JSON.
    """
    names = [name for ending, official in _SPLITS_OF.items() if version.endswith(ending) for name in official]
    custom = _own_splits(dataroot, version)
    if custom.is_file():
        try:
            names += json.loads(custom.read_text())
        except json.JSONDecodeError as error:
            raise DataError(f"{custom} is not valid JSON ({error}); write {{name: [scene names]}}.") from error
    return list(dict.fromkeys(names))


def _own_splits(dataroot: Path, version: str) -> Path:
    return dataroot / version / "splits.json"


def _fingerprint(folder: Path) -> str:
    """Changes when any table does: a hash of the names, sizes and times of the files."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in sorted(folder.glob("*.json")):
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
