"""What frozen modules and normalisations really do in a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from aqr_train.freezing.held import keeps_statistics


class Probe:
    """Looks on while a model runs; a mode is that of the call, not the one in which the step began.

    Args:
        model: the detector.
        held: its modules that are to stay in evaluation mode.
        frozen: those of them in which nothing trains.

    Attributes:
        trains: name of a held module or of a normalisation with running statistics -> whether it was ever called in
            train mode; of one that was never called, its mode before.
        graphs: frozen modules whose outputs hung on a graph although none of their inputs did.
    """

    def __init__(self, model: nn.Module, held: Mapping[str, nn.Module], frozen: Mapping[str, nn.Module]) -> None:
        norms = {name: module for name, module in model.named_modules() if keeps_statistics(module)}
        self._watched = {**held, **norms}
        self._frozen = frozen
        self.trains = {name: module.training for name, module in self._watched.items()}
        self.graphs: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The hooks are there within the block."""
        handles = [
            module.register_forward_pre_hook(lambda module, _, name=name: self._called(name, module))
            for name, module in self._watched.items()
        ]
        handles += [
            module.register_forward_hook(
                lambda _, inputs, named, outputs, name=name: self._returned(name, (inputs, named), outputs),
                with_kwargs=True,
            )
            for name, module in self._frozen.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _called(self, name: str, module: nn.Module) -> None:
        self.trains[name] |= module.training

    def _returned(self, name: str, inputs: Any, outputs: Any) -> None:  # noqa: ANN401 - whatever the module takes
        if _has_graph(outputs) and not _has_graph(inputs):
            self.graphs.add(name)


def _has_graph(value: Any) -> bool:  # noqa: ANN401 - tensors, sparse tensors, and containers of them
    if isinstance(value, Tensor):
        return value.requires_grad
    if isinstance(value, Mapping):
        return any(map(_has_graph, value.values()))
    if isinstance(value, tuple | list):
        return any(map(_has_graph, value))
    return isinstance(getattr(value, "features", None), Tensor) and _has_graph(value.features)
