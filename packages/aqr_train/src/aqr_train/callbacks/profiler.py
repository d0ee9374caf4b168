"""`--profile`: a trace of a few steps, and what each part of the model costs in them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from aqr_core.checkpoint import write_text
from aqr_eval.whole_files import replacing
from aqr_train.callbacks.base import Callback
from aqr_train.callbacks.part_times import BACKWARD, FORWARD, PART, UPDATE, measure_parts

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from aqr_train.step import StepResult
    from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


class Profiler(Callback):
    """Records steps `warmup + 1` to `warmup + steps` of this process, on the main process, and takes itself away.

    Written below `profile/` of the work dir: `steps_<first>-<last>.json.gz` for chrome://tracing or Perfetto, with
    ranges for forward, backward, update and every part of the model, and the same name with `.txt`: a table of the
    parts, whose first ten lines are also logged. A run that is shorter is recorded as far as it goes.

    Args:
        warmup: steps before, in which caches fill and kernels are chosen.
        steps: recorded.
        depth: of the parts, in module names below the detector; containers that only hold a list do not count.
    """

    def __init__(self, warmup: int = 1, steps: int = 3, depth: int = 2) -> None:
        self._warmup, self._steps, self._depth = warmup, steps, depth
        self._profile: profile | None = None
        self._ranges: _Ranges | None = None
        self._done = 0  # steps of this process
        self._waited_s = 0.0
        self._took_s = 0.0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Hook the model and start."""
        if not trainer.is_main:
            return
        activities = [ProfilerActivity.CPU]
        if trainer.accelerator.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._ranges = _Ranges(trainer, self._depth)
        self._profile = profile(
            activities=activities, schedule=schedule(wait=0, warmup=self._warmup, active=self._steps, repeat=1)
        )
        self._profile.start()

    def on_step_end(self, trainer: Trainer, result: StepResult) -> None:
        """Count the step; write after the last."""
        if self._profile is None:
            return
        self._done += 1
        if self._done > self._warmup:
            self._took_s += trainer.step_s
            self._waited_s += trainer.data_wait_s
        if self._done == self._warmup + self._steps or (trainer.is_finished and self._done > self._warmup):
            self._write(trainer)
        else:
            self._profile.step()

    def on_close(self, trainer: Trainer) -> None:
        """Take hooks and profiler away; what is unfinished is not written."""
        if self._profile is not None:
            logger.warning("The run ended after %d steps of this process, before its profile was whole.", self._done)
            self._stop()

    def _stop(self) -> None:
        assert self._profile is not None and self._ranges is not None
        self._profile.stop()
        self._ranges.remove()
        self._profile = self._ranges = None

    def _write(self, trainer: Trainer) -> None:
        recorded, count, last = self._profile, self._done - self._warmup, trainer.state.step
        assert recorded is not None
        self._stop()
        trace = trainer.work_dir / "profile" / f"steps_{last - count + 1}-{last}.json.gz"
        with replacing(trace) as temporary:
            whole = temporary.with_suffix(".json.gz")  # the suffix is what makes it a compressed file
            recorded.export_chrome_trace(str(whole))
            whole.replace(temporary)
        events: Any = recorded.events  # of which torch declares no type
        table = measure_parts(events(), count, self._took_s, self._waited_s)
        write_text(trace.with_name(trace.name.removesuffix(".json.gz") + ".txt"), "\n".join(table.lines()) + "\n")
        for line in table.lines(10):
            logger.info(line)
        logger.info("Wrote %s.", trace)


class _Ranges:
    """Ranges in the trace, opened and closed by hooks until `remove`.

    They are drawn inside `Engine.run` and `Engine.update` alone: validation and pictures call the model too. Backward
    is what `run` does behind the model's forward pass, so this holds for every engine.
    """

    def __init__(self, trainer: Trainer, depth: int) -> None:
        self._engine: Any = trainer.engine
        self._open: list[Any] = []
        self._running = False
        self._handles: list[RemovableHandle] = []
        model = trainer.plain_model
        self._hook(model, FORWARD, behind=lambda: self._enter(BACKWARD))
        for path, module in parts_of(model, depth):
            self._hook(module, PART + path)
        run, update = self._engine.run, self._engine.update

        def ranged_run(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the engine's own
            self._running = True
            try:
                return run(*arguments, **named)
            finally:
                self._running = False
                while self._open:  # backward, and whatever an error has left
                    self._exit()

        def ranged_update() -> Any:  # noqa: ANN401 - as the engine's own
            with record_function(UPDATE):
                return update()

        vars(self._engine).update(run=ranged_run, update=ranged_update)

    def remove(self) -> None:
        """The engine and the model are as before."""
        del self._engine.run, self._engine.update  # the methods of the class are visible again
        for handle in self._handles:
            handle.remove()

    def _hook(self, module: nn.Module, name: str, behind: Callable[[], None] = lambda: None) -> None:
        def begin(*_: object) -> None:
            if self._running:
                self._enter(name)

        def end(*_: object) -> None:
            if self._running:
                self._exit()
                behind()

        self._handles.append(module.register_forward_pre_hook(begin))
        # Always: a recomputation under gradient checkpointing is left by an exception.
        self._handles.append(module.register_forward_hook(end, always_call=True))

    def _enter(self, name: str) -> None:
        self._open.append(record_function(name))
        self._open[-1].__enter__()

    def _exit(self) -> None:
        self._open.pop().__exit__(None, None, None)


def parts_of(model: nn.Module, depth: int) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules down to `depth`; a list of modules is never called, so its members stand in its place."""

    def below(module: nn.Module, prefix: str, left: int) -> Iterator[tuple[str, nn.Module]]:
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            if isinstance(child, nn.ModuleList | nn.ModuleDict):
                yield from below(child, f"{path}.", left)
            elif left:
                yield path, child
                yield from below(child, f"{path}.", left - 1)

    seen: set[nn.Module] = set()
    for path, module in below(model, "", depth):
        if module not in seen:
            seen.add(module)
            yield path, module
