"""Puts our parts under their own names into mmdet3d's registry, where nobody has taken the name."""

from __future__ import annotations

import mmdet.models
import mmdet.registry
import mmdet3d.models
import mmdet3d.registry
import mmengine.registry

import aqr_core.models
from aqr_core.registry import MODELS

_THEIRS = (mmengine.registry.MODELS, mmdet.registry.MODELS, mmdet3d.registry.MODELS)
_FILLED_BY = (mmdet.models, mmdet3d.models, aqr_core.models)  # a registry knows a name once its module is imported


def register_free_names() -> list[str]:
    """Register every model of ours whose name neither mmengine, mmdet nor mmdet3d has; returns these names.

    A name that a project beside the config registers, as mmdet3d's `projects/PETR` does with 'CPFPN', is left to it if
    it was imported first.
    """
    taken = {name for registry in _THEIRS for name in registry.module_dict}
    free = [name for name in MODELS.module_dict if name not in taken]
    for name in free:
        mmdet3d.registry.MODELS.register_module(name=name, module=MODELS.module_dict[name])
    return free
