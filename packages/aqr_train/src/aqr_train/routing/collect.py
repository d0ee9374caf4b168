"""One pass over a split: what every query weighed, attended to and found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from aqr_core.data import collate
from aqr_core.errors import ConfigError
from aqr_core.models.head.output import HeadOutput
from aqr_core.structures import Batch
from aqr_core.structures.boxes3d import X, Z
from aqr_train.inference import Inference
from aqr_train.loader import load_batches
from aqr_train.routing.attention_mass import AttentionMass
from aqr_train.routing.clamps import count_clamped
from aqr_train.routing.matching import annotated, best_boxes, match_queries
from aqr_train.routing.queries import Queries


@dataclass(frozen=True)
class Pass:
    """What one run over a split gave.

    Attributes:
        queries: of all keyframes.
        keyframes: how many.
        head_mass: (L, A) mean share of the cross-attention on LiDAR tokens per decoder layer and head, all queries.
        annotated: annotated boxes that count, over all keyframes.
        at_clamp: 'bev' and 'image' -> share of map cells at their clamp (v1, v2), empty otherwise.
    """

    queries: Queries
    keyframes: int
    head_mass: NDArray[np.float64]
    annotated: int
    at_clamp: dict[str, float]


@dataclass(frozen=True)
class _Part:
    """A batch; `head_mass` is a sum over its queries, `clamped` holds cells at the clamp and cells, per map."""

    queries: Queries
    head_mass: NDArray[np.float64]
    annotated: int
    clamped: dict[str, tuple[int, int]]


def collect(inference: Inference, indices: list[int], progress: Callable[[int, int], None] | None = None) -> Pass:
    """Run a model with AQR over some keyframes of its split, on one process or several.

    Args:
        inference: see `aqr_train.inference.open_run`.
        indices: of the dataset.
        progress: told keyframes done and all of this process.

    Returns:
        the same on every process, rows in the order of the indices per process.

    Raises:
        ConfigError: the model has no AQR.
    """
    head = routing_head(inference.model)
    accelerator = inference.accelerator
    own = indices[accelerator.process_index :: accelerator.num_processes]
    batches = [own[start : start + inference.batch_size] for start in range(0, len(own), inference.batch_size)]
    parts, done = [], 0
    with torch.inference_mode(), inference.autocast(), AttentionMass(head) as mass, _outputs(head) as outputs:
        loader = load_batches(inference.dataset, batches, collate, inference.num_workers)
        for batch_indices, batch in zip(batches, loader, strict=True):
            model: Any = inference.model
            model.predict(batch.to(accelerator.device))
            parts.append(_read(head, outputs.pop(), mass, inference.dataset, batch_indices, batch))
            done += len(batch_indices)
            if progress is not None and inference.is_main:
                progress(done, len(own))
    gathered: list[_Part] = gather_object(parts)
    clamped = {name: [part.clamped[name] for part in gathered] for name in gathered[0].clamped}
    queries = Queries.join([part.queries for part in gathered])
    return Pass(
        queries,
        len(indices),
        np.sum([part.head_mass for part in gathered], axis=0) / len(queries),
        sum(part.annotated for part in gathered),
        {name: sum(hit for hit, _ in counts) / sum(cells for _, cells in counts) for name, counts in clamped.items()},
    )


def routing_head(model: nn.Module) -> Any:  # noqa: ANN401 - a CmtHead with AQR
    """The head of a model whose queries have weights.

    Raises:
        ConfigError: the model has no AQR, or a router in its place.
    """
    head: Any = getattr(model, "pts_bbox_head", None)
    if hasattr(head, "last_route"):
        raise ConfigError(
            f"{type(head).__name__} gives each query to one of three experts and weighs no sensors, so there are no "
            "weights to analyze; read the shares of its experts as aqr/route_* in the scalars of its run."
        )
    if getattr(head, "aqr", None) is None:
        raise ConfigError(
            f"The head {type(head).__name__} of this model has no AQR, so its queries have no weights to analyze; "
            "choose a checkpoint and config of AQR v1, v2 or v3 (cmt_aqr_...)."
        )
    return head


def spread_indices(length: int, limit: int | None) -> list[int]:
    """At most `limit` of `length` keyframes, spread evenly from the first to the last.

    Raises:
        ConfigError: a limit below 1.
    """
    if limit is None or limit >= length:
        return list(range(length))
    if limit < 1:
        raise ConfigError(f"--limit is {limit}; give at least 1 keyframe.")
    found: list[int] = np.linspace(0, length - 1, limit).round().astype(int).tolist()
    return found


def is_annotated(dataset: Any, indices: list[int]) -> bool:  # noqa: ANN401
    """Whether any of the keyframes has an annotated box with points in it."""
    return any(dataset.info(index).gt.valid.any() for index in indices)


@contextmanager
def _outputs(head: nn.Module) -> Iterator[list[HeadOutput]]:
    """What the head returns while the block runs; `predict` keeps the decoded boxes only."""
    outputs: list[HeadOutput] = []
    handle = head.register_forward_hook(lambda _, __, out: outputs.append(out))
    try:
        yield outputs
    finally:
        handle.remove()


def _read(
    head: Any,  # noqa: ANN401
    out: HeadOutput,
    mass: AttentionMass,
    dataset: Any,  # noqa: ANN401
    indices: list[int],
    batch: Batch,
) -> _Part:
    aqr = out.aqr
    assert aqr is not None
    infos = [dataset.info(index) for index in indices]
    assert [info.token for info in infos] == batch.tokens
    device = aqr.weights.device
    truths = [annotated(info, dataset.infos.header.classes, dataset.classes) for info in infos]
    boxes, labels = ([part.to(device) for part in parts] for parts in zip(*truths, strict=True))
    score, label, found = best_boxes(head, out)
    lidar2ego = torch.from_numpy(np.stack([info.lidar.lidar2ego for info in infos])).float().to(device)
    on_ground = found[..., X : Z + 1].float() @ lidar2ego[:, :2, :3].mT + lidar2ego[:, None, :2, 3]  # (B, Q, 2)
    keyframe = np.repeat(np.array(indices, np.int32), aqr.weights.shape[1])

    def rows(values: torch.Tensor, dtype: type[np.generic]) -> NDArray[Any]:
        return values.flatten(0, 1).cpu().numpy().astype(dtype)

    lidar_mass = mass.take()  # (B, Q, L, A)
    queries = Queries(
        keyframe,
        rows(aqr.weights.float(), np.float32),
        rows(lidar_mass.mean(dim=-1), np.float32),
        rows(label, np.int16),
        rows(score, np.float32),
        rows(match_queries(head, out, boxes, labels), np.int16),
        rows(on_ground.norm(dim=-1), np.float32),
        rows(aqr.cells.visible.sum(dim=-1), np.int8),
    )
    head_mass = lidar_mass.double().sum(dim=(0, 1)).cpu().numpy()
    return _Part(queries, head_mass, sum(map(len, labels)), count_clamped(head.weight_renderer, aqr))
