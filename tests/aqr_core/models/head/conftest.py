"""Golden arrays of the official head, and heads with the golden weights."""

from __future__ import annotations

import json
import math
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
FOLDER = Path(__file__).resolve().parents[5] / "shared" / "golden"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`head_file`, `loss_file`, `posemb_file`: every golden file of the kind, or those known where none is there."""
    known = dict(head=("head_dev", "head_lidar_dev", "head_image_dev"), loss=("loss_dev",), posemb=("posemb_coder",))
    for kind, names in known.items():
        if f"{kind}_file" in metafunc.fixturenames:
            found = sorted(path.stem.removeprefix("golden_") for path in FOLDER.glob(f"golden_{kind}*.npz"))
            metafunc.parametrize(f"{kind}_file", found or names, scope="module")


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
        separate_head=dict(type="SeparateTaskHead", init_bias=-2.19, final_kernel=config.get("final_kernel", 1)),
        transformer=dict(
            type=config.get("transformer", "CmtTransformer"),
            **config.get("transformer_options", {}),
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


def fill_with_golden_weights(module: torch.nn.Module, prefix: str) -> torch.nn.Module:
    """The module in evaluation mode, carrying the golden weights of the official keys that start with `prefix`."""
    state = module.state_dict()
    module.load_state_dict({k: torch.from_numpy(golden_weight(prefix + k, v.shape)) for k, v in state.items()})
    return module.eval()


class Golden:
    """One golden file: its arrays, its config and the head it was made with."""

    def __init__(self, path: Path) -> None:
        self.arrays = np.load(path)
        # The file of that name beside it repeats `config_json` and adds what says which head it was.
        self.config = json.loads(bytes(self.arrays["config_json"])) | json.loads(path.with_suffix(".json").read_text())
        self.tasks = range(len(self.config["tasks"]))
        self.head = fill_with_golden_weights(build(golden_head_config(self.config), MODELS), PREFIX)

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
    """Load `golden_<name>`; each file is loaded once."""
    cache: dict[str, Golden] = {}

    def load(name: str) -> Golden:
        if name not in cache:
            cache[name] = Golden(shared_dir / "golden" / f"golden_{name}.npz")
        cache[name].head.zero_grad()
        return cache[name]

    return load


@pytest.fixture(scope="session")
def build_golden_head() -> Callable[..., torch.nn.Module]:
    """Build the head of a golden config given as keywords."""
    return lambda **config: build(golden_head_config(config), MODELS)


@pytest.fixture(scope="session")
def with_official_weights() -> Callable[[torch.nn.Module, str], torch.nn.Module]:
    """`fill_with_golden_weights`."""
    return fill_with_golden_weights


def tiny_head_config(**changes: Any) -> dict[str, Any]:
    """A head small enough for a CPU: 128 channels, 4 heads, 3 layers, +-32 m."""
    attention = dict(embed_dims=128, num_heads=4, dropout=0.1)
    config = dict(
        type="CmtHead",
        in_channels=128,
        hidden_dim=128,
        num_query=100,
        downsample_scale=4,
        scalar=5,
        tasks=[dict(num_class=10)],
        bbox_coder=dict(
            type="MultiTaskBBoxCoder",
            pc_range=[-32, -32, -5, 32, 32, 3],
            post_center_range=[-40, -40, -10, 40, 40, 10],
            max_num=100,
            voxel_size=[0.4, 0.4, 0.2],
        ),
        transformer=dict(
            type="CmtTransformer",
            decoder=dict(
                type="PETRTransformerDecoder",
                num_layers=3,
                transformerlayers=dict(
                    type="PETRTransformerDecoderLayer",
                    attn_cfgs=[
                        dict(type="MultiheadAttention", **attention),
                        dict(type="PETRMultiheadFlashAttention", **attention),
                    ],
                    ffn_cfgs=dict(type="FFN", embed_dims=128, feedforward_channels=256),
                ),
            ),
        ),
    )
    return {**config, **changes}


@pytest.fixture(scope="session")
def build_tiny_head() -> Callable[..., Any]:
    """Build the tiny head with changed config keys; the same weights every time."""

    def build_head(**changes: Any) -> Any:
        torch.manual_seed(0)
        return build(tiny_head_config(**changes), MODELS)

    return build_head


@pytest.fixture(scope="session")
def without_dropout() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Switch dropout off in place: training mode, but the same numbers in every pass."""

    def switch_off(head: torch.nn.Module) -> torch.nn.Module:
        for module in head.modules():
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return head

    return switch_off


def ring_of_cameras(batch: int, count: int = 6) -> torch.Tensor:
    """(B, N, 4, 4) `lidar2img` of 64 x 176 px cameras around the LiDAR, 1.2 m out and 0.3 m below it."""
    matrices = []
    for camera in range(count):
        yaw = 2 * math.pi * camera / count
        forward = torch.tensor([math.cos(yaw), math.sin(yaw), 0.0])
        right = torch.tensor([math.sin(yaw), -math.cos(yaw), 0.0])
        rotation = torch.stack([right, torch.tensor([0.0, 0.0, -1.0]), forward])
        lidar2cam = torch.eye(4)
        lidar2cam[:3, :3] = rotation
        lidar2cam[:3, 3] = -rotation @ (forward * 1.2 + torch.tensor([0.0, 0.0, -0.3]))
        cam2img = torch.eye(4)
        cam2img[0, 0] = cam2img[1, 1] = 130.0
        cam2img[0, 2], cam2img[1, 2] = 88.0, 32.0
        matrices.append((cam2img @ lidar2cam).double())
    return torch.stack(matrices).expand(batch, -1, -1, -1).contiguous()


@pytest.fixture(scope="session")
def cameras() -> Callable[..., torch.Tensor]:
    """`ring_of_cameras`."""
    return ring_of_cameras


@pytest.fixture
def tiny_inputs() -> tuple[Any, ...]:
    """bev, images, lidar2img, pad_shape for the tiny head, batch of two."""
    generator = torch.Generator().manual_seed(1)
    bev = torch.randn(2, 128, 40, 40, generator=generator)
    images = torch.randn(2, 6, 128, 4, 11, generator=generator)
    return bev, images, ring_of_cameras(2), (64, 176)


@pytest.fixture
def tiny_truth() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Boxes and labels of two samples, 12 and 5 of them."""
    generator = torch.Generator().manual_seed(2)
    boxes, labels = [], []
    for count in (12, 5):
        box = torch.rand(count, 9, generator=generator)
        box[:, :2] = box[:, :2] * 50 - 25
        box[:, 2] = -1
        box[:, 3:6] = box[:, 3:6] * 3 + 0.5
        boxes.append(box)
        labels.append(torch.randint(0, 10, (count,), generator=generator))
    return boxes, labels
