"""Which module made the first value that is not finite: hooks over one forward and backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class FirstNonFinite:
    """While open, watches every module of a model; each check waits for the device, so open it to explain, not always.

    Gradients are watched by hooks on tensors: `register_full_backward_hook` would forbid the in-place ReLUs of the
    backbones.

    Args:
        model: plain; how it is sharded or wrapped does not matter.

    Attributes:
        in_forward: the output of the first module that made a value that is not finite out of finite ones, in words.
        in_backward: the first gradient of the backward pass that is not finite, in words.
    """

    def __init__(self, model: nn.Module) -> None:
        self.in_backward: str | None = None
        self._model = model
        self._source: str | None = None
        self._bad_output: str | None = None
        self._inputs_finite: list[bool] = []  # of the modules that are running, outermost first
        self._watched: set[int] = set()
        self._handles: list[RemovableHandle] = []

    @property
    def in_forward(self) -> str | None:
        """See the class; a module that was given NaN and Inf is named only where none has made them."""
        return self._source or self._bad_output

    def __enter__(self) -> FirstNonFinite:
        for name, module in self._model.named_modules():
            words = f"{name} ({type(module).__name__})" if name else type(module).__name__
            before, after = partial(self._before, words), partial(self._after, words)
            self._handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            self._handles.append(module.register_forward_hook(after))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(
        self, words: str, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        # The model's own input is the batch, where an unknown velocity is NaN by right.
        self._inputs_finite.append(module is self._model or _is_finite((inputs, named)))
        # At this moment weights are whole, whatever shards them.
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in self._watched:
                self._watched.add(id(parameter))
                self._watch(parameter, f"the gradient of {name} of {words}")

        def own(value: Any) -> Any:  # noqa: ANN401 - whatever a module is called with
            """A view of its own, whose gradient is the part that comes from this module."""
            if not (isinstance(value, Tensor) and value.requires_grad and torch.is_grad_enabled()):
                return value
            view = value.view_as(value)
            self._watch(view, f"the gradient of the input of {words}")
            return view

        return tuple(own(value) for value in inputs), {name: own(value) for name, value in named.items()}

    def _after(self, words: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        inputs_finite = self._inputs_finite.pop()
        if self._source is None and not _is_finite(output):
            output_of = f"the output of {words}"
            self._source = output_of if inputs_finite else None
            self._bad_output = self._bad_output or output_of
        for tensor in _tensors(output):
            if tensor.requires_grad:
                self._watch(tensor, f"the backward pass of what follows {words}")

    def _watch(self, tensor: Tensor, words: str) -> None:
        def check(gradient: Tensor) -> None:
            if self.in_backward is None and not _is_finite(gradient):
                self.in_backward = words

        self._handles.append(tensor.register_hook(check))  # type: ignore[no-untyped-call]


def _is_finite(value: Any) -> bool:  # noqa: ANN401
    return all(bool(tensor.isfinite().all()) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401
    """The floating tensors of a value, in records, mappings and sequences too."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif is_dataclass(value):
        for item in fields(value):
            yield from _tensors(getattr(value, item.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
