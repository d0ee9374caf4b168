"""Paths below a data root."""

from __future__ import annotations

import os


def relative_to(path: str, data_root: str) -> str:
    """The path as seen from `data_root`, where it lies below it; else whole.

    mmdet3d joins neither: `ann_file` and `info_path` are seen from the working folder, and contain the data root.
    """
    root, whole = os.path.normpath(data_root), os.path.normpath(path)
    if whole.startswith(root + os.sep):
        return os.path.relpath(whole, root)
    return os.path.abspath(whole)
