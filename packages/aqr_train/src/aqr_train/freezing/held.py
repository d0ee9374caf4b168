"""Which modules and tensors training must leave as they are."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


def modules_within(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """Modules below the model whose parameters, one or more, are all among `names`, and everything inside them.

    What is inside may have no parameter of its own: a dropout, a normalisation without weights.
    """
    parameters = dict(model.named_parameters())
    given = {id(parameters[name]) for name in names}  # a tied parameter has another name in each of its modules
    within: set[int] = set()
    for module in model.modules():
        own = {id(parameter) for parameter in module.parameters()}
        if module is not model and own and own <= given:
            within |= {id(inner) for inner in module.modules()}
    return {name: module for name, module in model.named_modules() if id(module) in within}


def norms_within(model: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """Those modules of `modules_within` that keep running statistics."""
    return [module for module in modules_within(model, names).values() if keeps_statistics(module)]


def keeps_statistics(module: nn.Module) -> bool:
    """Whether it is a normalisation with running statistics."""
    return isinstance(module, _NormBase) and module.track_running_stats


def held_modules(
    model: nn.Module, frozen_names: Iterable[str], norm_eval: Iterable[nn.Module] = ()
) -> dict[str, nn.Module]:
    """Modules that stay in evaluation mode, by name: frozen ones, and normalisations that keep their statistics.

    Args:
        model: the detector.
        frozen_names: of its parameters.
        norm_eval: normalisations that parameter groups fix, beside those that a part fixes by its own `norm_eval`.
    """
    held = {id(module) for module in (*modules_within(model, frozen_names).values(), *norm_eval)}
    for part in model.modules():
        if getattr(part, "norm_eval", None) is True:
            held |= {id(norm) for norm in part.modules() if keeps_statistics(norm)}
    return {name: module for name, module in model.named_modules() if id(module) in held}


def held_tensors(
    model: nn.Module, frozen_names: Iterable[str], norm_eval: Iterable[nn.Module] = ()
) -> dict[str, Tensor]:
    """Frozen parameters and the buffers of `held_modules`, by name; parameters may be shards."""
    frozen, parameters = sorted(frozen_names), dict(model.named_parameters())
    tensors: dict[str, Tensor] = {name: parameters[name] for name in frozen}
    for name, module in held_modules(model, frozen, norm_eval).items():
        tensors |= module.named_buffers(prefix=name, recurse=False)
    return tensors
