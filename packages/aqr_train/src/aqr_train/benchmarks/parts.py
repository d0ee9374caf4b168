"""The parts of a detector, and hooks that say which of them has just worked.

The detector itself runs; nothing of its forward pass is repeated here. A run is cut at every point where a part begins
or ends, and each stretch belongs to the innermost part. So the parts never overlap and add up to the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Mark = Callable[[str], None]  # "everything since the previous mark was the work of this part"

REST = "rest"
DECODING = "box decoding"
# Names of modules below the detector; those that a config does without have no row.
PARTS: dict[str, tuple[str, ...]] = {
    "voxels": ("pts_voxel_layer", "pts_voxel_encoder"),
    "sparse encoder": ("pts_middle_encoder",),
    "BEV backbone and neck": ("pts_backbone", "pts_neck"),
    "image backbone": ("img_backbone",),
    "image neck": ("img_neck",),
    "head: BEV convolution": ("pts_bbox_head.shared_conv",),
    "head: codes of positions and queries": ("pts_bbox_head",),  # what the other rows of the head leave over
    "head: AQR weights": ("pts_bbox_head.aqr_weight_generator",),
    "head: decoder": ("pts_bbox_head.transformer",),
    "head: task heads": ("pts_bbox_head.task_heads",),
}


@contextmanager
def observed(detector: nn.Module, mark: Mark) -> Iterator[None]:
    """Within the block, `mark` is called wherever a part of the detector begins or ends.

    The last stretch of a run is the caller's to mark.
    """
    working = [REST]

    def begin(part: str) -> None:
        mark(working[-1])
        working.append(part)

    def end() -> None:
        mark(working.pop())

    modules = dict(detector.named_modules())
    handles = []
    for part, names in PARTS.items():
        for module in (modules[name] for name in names if name in modules):
            for called in module if isinstance(module, nn.ModuleList) else (module,):
                handles.append(called.register_forward_pre_hook(lambda *_, part=part: begin(part)))
                handles.append(called.register_forward_hook(lambda *_: end()))
    head: Any = modules.get("pts_bbox_head")
    decode: Any = getattr(head, "decode", None)  # a detector of the user's own may do without

    def marked_decode(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the head decodes
        begin(DECODING)
        boxes = decode(*arguments)
        end()
        return boxes

    if decode is not None:
        head.decode = marked_decode
    try:
        yield
    finally:
        if decode is not None:
            del head.decode  # the method of the class is visible again
        for handle in handles:
            handle.remove()
