"""One process of `aqr benchmark scaling`: a real engine makes steps, and everything sent and held is counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from aqr_core.checkpoint import write_text
from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_train.assembly import build_model
from aqr_train.benchmarks.model_input import synthetic_sample
from aqr_train.engines import build_engine
from aqr_train.estimate.counting import CollectiveCounter, held_bytes, held_storages
from aqr_train.estimate.sharding import ModelSize
from aqr_train.processes import Scheme, start_accelerator
from aqr_train.seeding import seed_all
from aqr_train.settings import TrainSettings, read_section

WARM_UP = 2  # DDP chooses its buckets and ZeRO-3 its order of gathering in the first steps


def measure(config_name: str, overrides: list[str]) -> dict[str, Any]:
    """Steps of a config on a synthetic keyframe, in the engine that the launcher asks for.

    Returns:
        kind of engine, size of the model, collectives of one step, and bytes held after each of its batches and after
        its update.
    """
    config = load_config(config_name, overrides)
    settings = read_section(TrainSettings, config, "train")
    accelerator = start_accelerator(settings)
    batch = collate([synthetic_sample(config, training=True)[0]]).to(accelerator.device)
    seed_all(0)
    before = held_storages()
    model, grouping = build_model(config, load_initial=False)
    size = ModelSize.of(model)
    engine = build_engine(Scheme.asked().kind, accelerator, model, grouping.make_optimizer, settings, batch_size=1)
    grouping.train_mode(engine.plain_model)

    def step() -> list[int]:
        held = []
        for number in range(1, settings.accumulate + 1):
            engine.run(batch, last=number == settings.accumulate)
            held.append(held_bytes(before))
        engine.update()
        return held

    for _ in range(WARM_UP):
        step()
    on_cuda = accelerator.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    with CollectiveCounter() as counter:
        step()
    return {
        "kind": engine.kind,
        "size": vars(size),
        "groups": len(engine.param_groups),
        "parameters": len(list(model.parameters())),
        "collectives": counter.found,
        "after_batches": step(),
        "between_updates": held_bytes(before),
        "cuda_peak": torch.cuda.max_memory_allocated() if on_cuda else None,
    }


if __name__ == "__main__":
    folder, config, *options = sys.argv[1:]
    figures = measure(config, options)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    write_text(Path(folder, f"rank{rank}.json"), json.dumps(figures))
