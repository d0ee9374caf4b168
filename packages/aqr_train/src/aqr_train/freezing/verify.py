"""Real training steps, and what they did to every parameter, buffer and normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from accelerate.utils import broadcast_object_list, gather_object

from aqr_train.callbacks.base import Callback
from aqr_train.callbacks.checkpointer import Checkpointer
from aqr_train.callbacks.frozen import FrozenGuard
from aqr_train.engines import OptimizerState
from aqr_train.freezing.changes import Change, Snapshot
from aqr_train.freezing.held import held_modules, held_tensors, keeps_statistics, modules_within
from aqr_train.freezing.probe import Probe
from aqr_train.param_groups import Group
from aqr_train.schedule import Schedule
from aqr_train.step import StepResult
from aqr_train.trainer import Trainer


@dataclass(frozen=True)
class GroupRow:
    """What became of one group.

    Attributes:
        group: as `build_grouping` made it.
        lr: the highest of the schedule; 0 where frozen.
        norms: 'train', 'eval', 'mixed', or '-' where it has no normalisation with running statistics.
        weights, buffers: largest absolute change of a number; of buffers without counters.
    """

    group: Group
    lr: float
    norms: str
    weights: float
    buffers: float


@dataclass(frozen=True)
class Verification:
    """The table and what is wrong.

    Attributes:
        rows: one per group.
        faults: a sentence each; the same on every process.
        steps: updates that were made.
    """

    rows: tuple[GroupRow, ...]
    faults: tuple[str, ...]
    steps: int


def verify_frozen(trainer: Trainer, steps: int) -> Verification:
    """Train for `steps` updates and compare; collective, and the trainer is of no use afterwards.

    Everything of the run takes part (engine, precision, schedule, callbacks that act on weights), but no checkpoint is
    written. The rate is the highest of the schedule, so that no warm-up hides a change; updates that fp16 skips are
    made up for.
    """
    model, grouping = trainer.plain_model, trainer.grouping
    schedule = _HighestRate(trainer.schedule, min(steps, trainer.schedule.total_steps))
    trainer.schedule = schedule
    trainer.callbacks = [item for item in trainer.callbacks if not isinstance(item, Checkpointer | FrozenGuard)]
    trainer.callbacks.append(_Extend(schedule))
    trainer.train_mode()
    frozen = grouping.frozen_names
    held = held_modules(model, frozen, grouping.norm_eval)
    held_names = set(held_tensors(model, frozen, grouping.norm_eval))
    probe = Probe(model, held, modules_within(model, frozen))
    before = Snapshot(model)
    with probe.watching():
        trainer.fit()
    changes = before.changes(trainer.accelerator)
    moments = trainer.engine.optimizer_state()
    trains, graphs = _of_all_processes(probe)
    faults = [
        *_held_faults({name: changes[name] for name in sorted(held_names)}, frozen),
        *_mode_faults(name for name in held if trains[name]),
        *_graph_faults(graphs),
        *_trainable_faults(grouping.groups, changes, moments, trainer.state.step),
    ]
    shared = [tuple(faults)]  # only the main process has the moments
    broadcast_object_list(shared)
    norms = {name: trains[name] for name, module in model.named_modules() if keeps_statistics(module)}
    rates = {group["name"]: group["lr"] for group in trainer.engine.param_groups}
    buffers = {name: changes[name].largest for name, tensor in model.named_buffers() if tensor.is_floating_point()}
    return Verification(_rows(grouping.groups, rates, norms, changes, buffers), shared[0], trainer.state.step)


class _HighestRate:
    """A few steps at the highest rate of a schedule: that of a warm-up's beginning may be below what float32 resolves.

    A bias of 100 has neighbours at a distance of 8e-6.
    """

    def __init__(self, whole: Schedule, total_steps: int) -> None:
        self._whole = whole
        self._top = max(whole.milestones(), key=whole.lr_factor)
        self.total_steps = total_steps
        self.most = whole.total_steps

    def lr_factor(self, step: int) -> float:
        """See `Schedule`."""
        return self._whole.lr_factor(self._top)

    def beta1_factor(self, step: int) -> float:
        """See `Schedule`."""
        return self._whole.beta1_factor(self._top)

    def milestones(self) -> tuple[int, ...]:
        """See `Schedule`."""
        return (0,)


class _Extend(Callback):
    """A step without update is made up for."""

    def __init__(self, schedule: _HighestRate) -> None:
        self._schedule = schedule

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """One step more, as long as the run has one."""
        if result.skipped:
            self._schedule.total_steps = min(self._schedule.total_steps + 1, self._schedule.most)


def _of_all_processes(probe: Probe) -> tuple[dict[str, bool], set[str]]:
    """Train mode and graphs on any process."""
    seen = gather_object([(probe.trains, probe.graphs)])
    trains = {name: any(modes[name] for modes, _ in seen) for name in probe.trains}
    return trains, set().union(*(graphs for _, graphs in seen))


def _held_faults(changes: Mapping[str, Change], frozen: set[str]) -> Iterator[str]:
    for name, change in changes.items():
        if change.changed:
            what = "frozen" if name in frozen else "a buffer of a part that keeps its statistics"
            yield f"{name} is {what} and changed by up to {change.largest:.1e}."


def _mode_faults(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f"{name} is to stay in evaluation mode and ran in train mode."


def _graph_faults(names: set[str]) -> Iterator[str]:
    for name in sorted(names):
        if name.rpartition(".")[0] not in names:
            yield f"{name} is frozen and nothing before it learns, and yet it ran with a graph and kept activations."


def _trainable_faults(
    groups: Iterable[Group], changes: Mapping[str, Change], moments: OptimizerState, steps: int
) -> Iterator[str]:
    """Decay moves weights that nothing learns, so the moments of the optimiser tell whether a gradient came."""
    for group in groups:
        for name in () if group.frozen else group.names:
            if name not in moments:
                yield f"{name} trains, but no gradient came to it: no loss depends on it."
            elif not moments[name]["exp_avg"].any():
                yield f"{name} trains, but its gradient was exactly zero in each of {steps} steps."
            elif not changes[name].changed:
                yield f"{name} trains, but even the highest rate changed no number of it: it is too small for float32."


def _rows(
    groups: Iterable[Group],
    rates: Mapping[str, float],
    norms: Mapping[str, bool],
    changes: Mapping[str, Change],
    buffers: Mapping[str, float],
) -> tuple[GroupRow, ...]:
    groups = tuple(groups)
    home = _homes(groups)
    rows = []
    for i, group in enumerate(groups):
        modes = {trains for name, trains in norms.items() if _home(name, home) == i}
        inside = [largest for name, largest in buffers.items() if _home(name.rpartition(".")[0], home) == i]
        rows.append(
            GroupRow(
                group,
                0.0 if group.frozen else rates[group.pattern],
                "mixed" if len(modes) > 1 else {True: "train", False: "eval", None: "-"}[next(iter(modes), None)],
                max((changes[name].largest for name in group.names), default=0.0),
                max(inside, default=0.0),
            )
        )
    return tuple(rows)


def _homes(groups: Iterable[Group]) -> dict[str, int]:
    """Name of every module above a parameter -> the group of the first parameter in it."""
    home: dict[str, int] = {}
    for i, group in enumerate(groups):
        for name in group.names:
            while name := name.rpartition(".")[0]:
                home.setdefault(name, i)
    return home


def _home(module: str, home: Mapping[str, int]) -> int | None:
    """The group that a module without parameters of its own goes with: that of the nearest module above."""
    while module and module not in home:
        module = module.rpartition(".")[0]
    return home.get(module)
