"""The least that AQR can add to a training step, and what the baseline's own step does: operations and bytes moved.

Of AQR the products and the tensors that no implementation can do without are counted by formula, a bias as if added
inside the fused attention kernel. Of the baseline every operator is counted as it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from aqr_core.models.aqr import QueryCells, build_windows
from aqr_train.benchmarks.aqr_scene import Scene
from aqr_train.benchmarks.model_runs import Run
from aqr_train.benchmarks.probes import Clock
from aqr_train.precision import DTYPES

_FLOAT = 4
_TRAINING = 3  # the backward pass of a product is two products
_REPEATS = 5
_COPIED = 2**25  # numbers


@dataclass(frozen=True)
class Work:
    """Operations (a multiplication with its addition is two) and bytes that tensors bring in and take out."""

    operations: float
    bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(self.operations + other.operations, self.bytes + other.bytes)

    def times(self, factor: float) -> Work:
        """The same so many times."""
        return Work(factor * self.operations, factor * self.bytes)


@dataclass(frozen=True)
class Rates:
    """What the machine does per second: operations in a product of the model's size, bytes in a large copy."""

    operations: float
    bytes: float

    def seconds(self, work: Work) -> float:
        """At least, with either of the two waiting for the other."""
        return max(work.operations / self.operations, work.bytes / self.bytes)


@dataclass(frozen=True)
class Floor:
    """Work of a head's training step.

    Attributes:
        baseline: as counted.
        added: variant -> part -> least work.
        rates: of the machine.
    """

    baseline: Work
    added: Mapping[str, Mapping[str, Work]]
    rates: Rates

    def ratio(self, variant: str, baseline_s: float) -> float:
        """Least time of a variant over a baseline that takes so long."""
        return 1 + sum(map(self.rates.seconds, self.added[variant].values())) / baseline_s


def count_floor(step: Run, variants: Mapping[str, Any], scene: Scene, precision: str) -> Floor:
    """Of the baseline's step and the heads of the variants, on the device of the scene."""
    return Floor(
        count_work(step),
        {name: added_work(head, scene.cells, scene.slots) for name, head in variants.items()},
        measure_rates(scene.cells.shapes.num_tokens, scene.channels, precision, scene.device),
    )


def linear(rows: int, inside: int, outside: int) -> Work:
    """A linear layer in training."""
    moved = rows * inside + inside * outside + rows * outside
    return Work(2 * rows * inside * outside, _FLOAT * moved).times(_TRAINING)


def added_work(head: Any, cells: QueryCells, slots: int) -> dict[str, Work]:  # noqa: ANN401 - a CMT head with AQR
    """Of each AQR child of a head in a training step, by name.

    Args:
        head: the variant.
        cells: of denoising slots and queries.
        slots: how many of them are slots.
    """
    tokens, channels = cells.shapes.num_tokens, head.hidden_dim
    if head.attention_bias_generator is None:
        own = cells.select(slice(slots, None))
        change = Work(2 * tokens * channels, 2 * _FLOAT * tokens * channels).times(2.5)  # backward reads the input too
        return {
            "weight generator": _generator_work(head, own),
            "renderer": _renderer_work(head.weight_renderer, own),
            "modulator": change,
        }
    return {"weight generator": _generator_work(head, cells), "bias in the attention": _bias_work(head, cells)}


def _generator_work(head: Any, cells: QueryCells) -> Work:  # noqa: ANN401 - a CMT head
    """Keys and values of all tokens, once; queries, window attention and feed-forward network of its layers."""
    generator, channels = head.aqr_weight_generator, head.hidden_dim
    queries, tokens = cells.in_bev.numel(), cells.shapes.num_tokens
    pairs = int(build_windows(cells, generator.window_sizes, generator.views).valid.sum())
    attention = Work(4 * pairs * channels, _FLOAT * 4 * queries * channels).times(_TRAINING)
    hidden = generator.layers[0].ffns[0].layers[0][0].out_features
    whole = Work(0, 0)
    for work in (
        *(linear(tokens, channels, channels),) * 2,
        *(linear(queries, channels, channels),) * 2,
        attention,
        linear(queries, channels, hidden),
        linear(queries, hidden, channels),
    ):
        whole += work
    return whole.times(len(generator.layers))


def _renderer_work(renderer: Any, cells: QueryCells) -> Work:  # noqa: ANN401 - the head's child
    windows = build_windows(cells, (renderer.kernel.edge, renderer.kernel.edge), renderer.views)
    pairs = int(windows.valid.sum())
    return Work(4 * pairs, _FLOAT * (2 * pairs + cells.shapes.num_tokens)).times(_TRAINING)


def _bias_work(head: Any, cells: QueryCells) -> Work:  # noqa: ANN401 - a CMT head
    """An addition per biased logit, forward, recomputed and in the gradient; no token is read for it."""
    bias, decoder = head.attention_bias_generator, head.transformer.decoder
    layers, heads = len(decoder.layers), decoder.layers[0].attentions[1].attn.num_heads
    if bias.use_local_bias:
        pairs = int(build_windows(cells, bias.window_size, bias.views).valid.sum())
    else:
        pairs = cells.in_bev.numel() * cells.shapes.num_tokens
    return Work(layers * heads * pairs, _FLOAT * layers * 2 * cells.in_bev.numel()).times(_TRAINING)


def count_work(run: Run) -> Work:
    """What a run does: products, convolutions and fused attention by their operations, every operator by its bytes."""
    formulas = {  # of the kernels that torch's counter does not know
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_operations,
    }
    with FlopCounterMode(display=False, custom_mapping=formulas) as operations, _Traffic() as traffic:
        run(lambda part: None)
    return Work(operations.get_total_flops(), traffic.bytes)


def _attention_operations(query: Sequence[int], key: Sequence[int], *others: object, **options: object) -> int:
    """Of two products, from shapes (B, A, Q, c) and (B, A, T, c)."""
    return 4 * math.prod(query) * key[2]


def _attention_backward_operations(
    grad: Sequence[int], query: Sequence[int], key: Sequence[int], *others: object, **options: object
) -> int:
    """Of five products: the logits again, and the gradients of all that went in."""
    return 10 * math.prod(query) * key[2]


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the inputs and outputs of every operator that is no view."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the operator returns
        """Count one operator and run it."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            for tensor in (x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)):
                self.bytes += tensor.numel() * tensor.element_size()
        return out


@torch.no_grad()
def measure_rates(tokens: int, channels: int, precision: str, device: torch.device) -> Rates:
    """The best of a few tries: a projection of all tokens, and a copy far larger than any cache."""
    x = torch.ones(tokens, channels, dtype=DTYPES[precision] or torch.float32, device=device)
    weight = torch.ones(channels, channels, dtype=x.dtype, device=device)
    large = torch.ones(_COPIED, device=device)

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(_REPEATS):
            clock = Clock(device)
            work()
            clock.mark("")
            times.append(clock.seconds()[""])
        return min(times)

    operations = 2 * tokens * channels**2
    copied = 2 * large.numel() * large.element_size()
    target = torch.empty_like(large)
    return Rates(operations / best(lambda: torch.mm(x, weight)), copied / best(lambda: target.copy_(large)))
