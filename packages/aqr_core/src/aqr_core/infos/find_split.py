"""Which split keyframes belong to, for infos that do not say: those of mmdet3d."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aqr_core.infos.build import splits_of
from aqr_eval.nuscenes.splits import scenes_of
from aqr_eval.nuscenes.tables import NuScenesTables


def find_split(tokens: Sequence[str], dataroot: str | Path, version: str) -> str:
    """The one split of the tables that holds all these samples; '' where none does, or several do.

    Args:
        tokens: sample tokens.
        dataroot: folder that holds `<version>/`.
        version: e.g. "v1.0-trainval".

    Raises:
        DataError: tables are missing or broken.
    """
    tables = NuScenesTables(dataroot, version)
    scene_of = dict(zip(tables.sample_tokens, tables.sample_scene.tolist(), strict=True))
    if not tokens or not all(token in scene_of for token in tokens):
        return ""
    scenes = {tables.scene_names[scene_of[token]] for token in tokens}
    names = splits_of(tables.dataroot, version)
    found = [name for name in names if scenes.issubset(scenes_of(name, version, dataroot))]
    return found[0] if len(found) == 1 else ""
