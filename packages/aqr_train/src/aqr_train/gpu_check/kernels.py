"""The kernels that only a GPU has, against those that every machine has."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from aqr_core.config import load_config
from aqr_core.models.aqr.projection import QueryCells
from aqr_core.models.head.attention import attend
from aqr_core.registry import MODELS, build
from aqr_train.benchmarks.aqr_scene import open_scene
from aqr_train.benchmarks.aqr_sides import shipped_config
from aqr_train.gpu_check.check import Check, NotRunError, Outcome
from aqr_train.gpu_check.training import need
from aqr_train.gpu_check.workshop import FULL, Workshop
from aqr_train.seeding import seed_all

_BASELINE = "cmt_tiny"
_BOXES = 20
_CLOSE = 2e-3  # of the largest number; some kernels multiply in TF32
_TESTS = Path("tests")


def kernel_checks() -> Iterator[Check]:
    """The tests marked `gpu`, flex attention, spconv."""
    yield Check("tests marked gpu", "none fails", "python -m pytest tests -m gpu", _run_tests)
    target = f"output and gradients within {_CLOSE:g} of the largest number"
    command = "python -m aqr_train.gpu_check --only '{}'"
    for backend in ("flex", "window"):
        name = f"{backend} attention against dense"
        yield Check(name, target, command.format(name), _AttentionCheck(backend))
    name = "spconv against the torch backend"
    yield Check(name, target, command.format(name), _compare_encoders)


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Over all pairs, as a share of the largest number of the expected one."""
    pairs = zip(found, expected, strict=True)
    return max(float((own - other).abs().max() / other.abs().max().clamp(min=1e-12)) for own, other in pairs)


def attention(backend: str, cells: QueryCells, heads: int, channels: int) -> list[Tensor]:
    """Output of a seeded cross-attention with a bias, and the gradients of query, key, value and weights."""
    device = cells.in_bev.device
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    counts = cells.in_bev.shape[1], cells.shapes.num_tokens, cells.shapes.num_tokens
    inputs = [draw(1, heads, count, channels // heads).requires_grad_() for count in counts]
    weights = draw(1, counts[0], 2).tanh().requires_grad_()
    block = shipped_config(_BASELINE, "v3")["model"]["pts_bbox_head"]["attention_bias_config"]
    bias = build({**block, "attention_backend": backend}, MODELS).to(device)
    query, key, value = inputs
    out = attend(query, key, value, bias=bias(weights, cells))
    return [out.detach(), *torch.autograd.grad(out, [*inputs, weights], draw(*out.shape))]


def encode(backend: str, device: torch.device) -> list[Tensor]:
    """Map of a seeded sparse encoder, and the gradients of its weights."""
    generator = torch.Generator().manual_seed(0)
    seed_all(0)
    config = load_config(FULL)["model"]["pts_middle_encoder"]
    encoder = build({**config, "sparse_shape": (41, 128, 128), "backend": backend}, MODELS).to(device).eval()
    cells = torch.randperm(40 * 128 * 128, generator=generator)[:20000]
    coords = torch.stack([torch.zeros_like(cells), *torch.unravel_index(cells, (40, 128, 128))], dim=1)
    features = torch.randn(len(cells), 5, generator=generator)
    out = encoder(features.to(device), coords.int().to(device), 1)
    return [out.detach(), *torch.autograd.grad(out.square().mean(), list(encoder.parameters()))]


class _AttentionCheck:
    def __init__(self, backend: str) -> None:
        self._backend = backend

    def __call__(self, workshop: Workshop) -> Outcome:
        if self._backend == "flex":
            need("triton")
        scene = open_scene(_BASELINE, _BOXES, workshop.device)
        found, expected = (
            attention(backend, scene.cells, scene.heads, scene.channels) for backend in (self._backend, "dense")
        )
        return _judge(largest_difference(found, expected))


def _compare_encoders(workshop: Workshop) -> Outcome:
    need("spconv")
    return _judge(largest_difference(encode("spconv", workshop.device), encode("torch", workshop.device)))


def _judge(difference: float) -> Outcome:
    return Outcome(f"largest difference {difference:.1e}", difference <= _CLOSE)


def _run_tests(workshop: Workshop) -> Outcome:
    if not _TESTS.is_dir():
        raise NotRunError("there is no folder tests here; start in the root of the repository")
    need("pytest")
    said = workshop.call([sys.executable, "-m", "pytest", str(_TESTS), "-m", "gpu"])
    last = said.strip().splitlines()[-1].strip("= ")
    return Outcome(last, "passed" in last)
