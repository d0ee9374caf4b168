"""Golden arrays of the official head, and heads with the golden weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aqr_core.models.head  # noqa: F401  registers the heads
from aqr_core.registry import MODELS, build

PREFIX = "pts_bbox_head."


def golden_weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value that `golden/cmt.md` gives to one official state-dict key."""
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    leaf = key.split(".")[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if key.endswith("reference_points.weight"):
        return rng.random_sample(shape).astype("float32")
    normal = rng.standard_normal(shape)
    if leaf == "running_var":
        return (1 + 0.2 * np.abs(normal)).astype("float32")
    if leaf == "running_mean" or leaf.endswith("bias"):
        return (0.05 * normal).astype("float32")
    if len(shape) >= 2:
        return (normal * 1.5 / np.sqrt(np.prod(shape[1:]))).astype("float32")
    if leaf == "weight":
        return (1 + 0.05 * normal).astype("float32")
    return (0.05 * normal).astype("float32")


def golden_head_config(config: dict[str, Any]) -> dict[str, Any]:
    """The head config that a golden file was made with."""
    attention = dict(embed_dims=256, num_heads=8, dropout=0.1)
    voxel = [(config["pc_range"][i + 3] - config["pc_range"][i]) / config["grid_size"][i] for i in range(3)]
    return dict(
        type=config.get("head", "CmtHead"),
        in_channels=512,
        hidden_dim=256,
        num_query=config["num_query"],
        downsample_scale=8,
        scalar=config["scalar"],
        tasks=config["tasks"],
        bbox_coder=dict(
            type="MultiTaskBBoxCoder",
            pc_range=config["pc_range"],
            post_center_range=config["post_center_range"],
            max_num=config["max_num"],
            voxel_size=voxel,
        ),
        separate_head=dict(
            type="SeparateTaskHead", init_bias=-2.19, final_kernel=config.get("final_kernel", 1)
        ),
        transformer=dict(
            type=config.get("transformer", "CmtTransformer"),
            decoder=dict(
                type="PETRTransformerDecoder",
                return_intermediate=True,
                num_layers=config["num_layers"],
                transformerlayers=dict(
                    type="PETRTransformerDecoderLayer",
                    attn_cfgs=[
                        dict(type="MultiheadAttention", **attention),
                        dict(type="PETRMultiheadFlashAttention", **attention),
                    ],
                    ffn_cfgs=dict(type="FFN", embed_dims=256, feedforward_channels=1024, act_cfg=dict(type="ReLU")),
                    feedforward_channels=1024,
                    operation_order=("self_attn", "norm", "cross_attn", "norm", "ffn", "norm"),
                ),
            ),
        ),
        train_cfg=dict(pts=dict(grid_size=config["grid_size"])),
    )


class Golden:
    """One golden file: its arrays, its config and the head it was made with."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)
        self.config = json.loads(bytes(self.arrays["config_json"]))
        self.head = build(golden_head_config(self.config), MODELS).eval()
        state = self.head.state_dict()
        self.head.load_state_dict({k: torch.from_numpy(golden_weight(PREFIX + k, v.shape)) for k, v in state.items()})

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])

    def inputs(self) -> tuple[Any, ...]:
        """bev, images, lidar2img, pad_shape."""
        bev = self.tensor("in_bev") if "in_bev" in self.arrays else None
        if "in_img" not in self.arrays:
            return bev, None, None, (1, 1)
        images = self.tensor("in_img").unflatten(0, (self.config["bs"], -1))
        return bev, images, self.tensor("lidar2img"), tuple(self.arrays["pad_shape"].tolist())

    def ground_truth(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Gravity-centre boxes and labels per sample."""
        boxes, labels = [], []
        for sample in range(self.config["bs"]):
            box = self.tensor(f"gt{sample}/boxes_bottom").clone()
            box[:, 2] += box[:, 5] / 2
            boxes.append(box)
            labels.append(self.tensor(f"gt{sample}/labels"))
        return boxes, labels


@pytest.fixture(scope="session")
def load_golden(shared_dir: Path) -> Callable[[str], Golden]:
    """Load `golden_<name>.npz`; each file is loaded once."""
    cache: dict[str, Golden] = {}

    def load(name: str) -> Golden:
        if name not in cache:
            cache[name] = Golden(shared_dir / "golden" / f"golden_{name}.npz")
        return cache[name]

    return load


@pytest.fixture(scope="session")
def build_golden_head() -> Callable[..., torch.nn.Module]:
    """Build the head of a golden config given as keywords."""
    return lambda **config: build(golden_head_config(config), MODELS)
