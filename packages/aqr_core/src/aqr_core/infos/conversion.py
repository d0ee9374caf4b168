"""`aqr convert-infos`: mmdet3d's info pickles as infos of ours, and ours as theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aqr_core.errors import ConfigError, DataError
from aqr_core.infos.build import Progress
from aqr_core.infos.mmdet3d import Mmdet3dInfos
from aqr_core.infos.reader import Infos, open_infos
from aqr_core.infos.schema import Info, InfosHeader
from aqr_core.infos.write import write_infos
from aqr_core.infos.write_mmdet3d import write_mmdet3d_infos
from aqr_eval.nuscenes.splits import is_official, scenes_of

OURS, THEIRS = ".jsonl", ".pkl"


@dataclass(frozen=True)
class InfosConversion:
    """What was written.

    Attributes:
        path: the file.
        keyframes: in it.
        left_behind: what the source holds and the file cannot, a phrase each.
        unknown: what the file could hold and the source does not say, a phrase each.
    """

    path: Path
    keyframes: int
    left_behind: tuple[str, ...]
    unknown: tuple[str, ...]


def convert_infos(
    source: str | Path,
    out: str | Path,
    *,
    split: str | None = None,
    box_convention: str | None = None,
    progress: Progress | None = None,
) -> InfosConversion:
    """Write infos in the other form; one keyframe at a time is in memory, besides a pickle that is read.

    Args:
        source: infos of `aqr prepare`, or an mmdet3d info pickle of format 1.0 or 1.1.
        out: file to write; `.jsonl` makes it ours, `.pkl` mmdet3d's format 1.1. Must not exist.
        split: name of the split, for pickles that do not say.
        box_convention: for pickles, see `Mmdet3dInfos.open`.
        progress: called after each keyframe.

    Raises:
        ConfigError: another ending of `out`, `out` exists or would be in the form of `source`, or a split that `source`
            or its version contradicts.
        DataError: unreadable or empty infos, or a sensor file lies where mmdet3d would not look.
    """
    out = Path(out)
    if out.suffix not in (OURS, THEIRS):
        raise ConfigError(f"--out {out} ends in neither {OURS} (infos of ours) nor {THEIRS} (mmdet3d 1.1); choose one.")
    infos = open_infos(source, box_convention)
    own_form, other = _forms(infos)
    if out.suffix == own_form:
        raise ConfigError(f"{source} is in the form of --out {out} already; use it as it is, or end --out in {other}.")
    if out.exists():
        raise ConfigError(f"--out {out} exists; remove it or choose another name.")
    if not len(infos):
        raise DataError(f"{source} holds no keyframe; give infos that hold some.")
    header = _header(infos, split)
    out.parent.mkdir(parents=True, exist_ok=True)
    tally = _Tally()
    keyframes = tally.watch(infos, out.name, progress)
    if out.suffix == OURS:
        write_infos(out, header, keyframes)
        return InfosConversion(out, len(infos), _unread(infos, tally), tally.unknown(header))
    write_mmdet3d_infos(out, header, keyframes)
    return InfosConversion(out, len(infos), (*_unread(infos, tally), *tally.tracks()), tally.unknown(header))


def _forms(infos: Infos | Mmdet3dInfos) -> tuple[str | None, str]:
    """The ending that would change nothing, and the other; a pickle of format 1.0 may become one of 1.1."""
    if isinstance(infos, Infos):
        return OURS, THEIRS
    return THEIRS if infos.is_v1_1 else None, OURS


def _header(infos: Infos | Mmdet3dInfos, split: str | None) -> InfosHeader:
    known = infos.header.split
    if split is None or split == known:
        return infos.header
    if known:
        raise ConfigError(f"{infos.path} says that its split is '{known}', not '{split}'; leave --split out.")
    if is_official(split) and infos.header.dataset_version:
        scenes_of(split, infos.header.dataset_version)
    return replace(infos.header, split=split)


def _unread(infos: Infos | Mmdet3dInfos, tally: _Tally) -> tuple[str, ...]:
    """Phrases on what the source holds and an `Info` does not."""
    if isinstance(infos, Infos):
        return ()
    others = infos.count_boxes() - tally.boxes
    phrases = [f"{others} boxes outside the ten classes"] if others else []
    return (*phrases, *(f"the field {field} of {count} records" for field, count in infos.unread_fields().items()))


class _Tally:
    """Counts, on the way, what keyframes say and do not say."""

    def __init__(self) -> None:
        self.boxes = self._tracks = self._attributes = 0
        self._linked = self._sized = False

    def watch(self, infos: Infos | Mmdet3dInfos, name: str, progress: Progress | None) -> Iterator[Info]:
        """The keyframes, counted as they pass."""
        total = len(infos)
        for done, info in enumerate(infos, start=1):
            self.boxes += len(info.gt)
            self._tracks += sum(map(bool, info.gt.instances))
            self._attributes += sum(map(bool, info.gt.attributes))
            self._linked |= bool(info.scene or info.prev or info.next)
            self._sized |= any(camera.width is not None for camera in info.cameras.values())
            yield info
            if progress:
                progress(name, done, total)

    def tracks(self) -> tuple[str, ...]:
        """A phrase if boxes have tracks, which a pickle does not hold."""
        return (f"the tracks of {self._tracks} boxes",) if self._tracks else ()

    def unknown(self, header: InfosHeader) -> tuple[str, ...]:
        """Phrases on what no keyframe says, and what it is needed for."""
        said = {
            "the split (give --split, or keep the tables beside)": bool(header.split),
            "scenes and links between keyframes (failures in time)": self._linked,
            "attributes (AAE is 1 without)": bool(self._attributes) or not self.boxes,
            "image sizes (which camera sees what, in reports)": self._sized,
        }
        return tuple(phrase for phrase, is_said in said.items() if not is_said)
