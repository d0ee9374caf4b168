"""ZeRO with moments, or weights too, in the host's memory: the losses of DDP, and a resume to the last bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from aqr_train.checkpoints import step_folder

sys.path.insert(0, str(Path(__file__).parents[1]))
from forked_runs import Run, carry_out  # noqa: E402

# What `accelerate launch` makes of zero2_offload.yaml and zero3_offload.yaml, see test_launchers.py.
OFFLOAD = {
    stage: {
        "ACCELERATE_USE_CPU": "false",  # which would turn DeepSpeed into DDP
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": stage,
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu",
        "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "cpu" if stage == "3" else "none",
        "CUDA_VISIBLE_DEVICES": "",
    }
    for stage in ("2", "3")
}
# A step of two micro-batches, and groups of two rates, one of whose moments DeepSpeed must find apart.
OPTIONS = [
    "train.max_steps=6",
    "train.save_every=3",
    "train.keep=0",
    "train.accumulate=2",
    "optimizer.param_groups={'stem.*': {'lr_mult': 0.5, 'norm_eval': True}}",
]


def _losses(work_dir: Path) -> list[float]:
    records = [json.loads(line) for line in (work_dir / "scalars.jsonl").read_text().splitlines()]
    return [record["train/loss"] for record in records if "train/loss" in record]


@pytest.mark.slow
def test_offloaded_moments_train_as_ddp_does_and_resume_to_the_last_bit(toy_config: Path) -> None:
    folder = toy_config.parent
    runs = [Run("ddp", OPTIONS, processes=2)]
    for stage, environment in OFFLOAD.items():
        runs.append(Run(f"straight{stage}", OPTIONS, processes=2, environment=environment))
        halfway = str(step_folder(folder / f"straight{stage}", 3))
        runs.append(Run(f"resumed{stage}", OPTIONS, resume=halfway, processes=2, environment=environment))
    for outcome in carry_out(toy_config, runs):
        assert outcome.codes == [0, 0] and outcome.step == 6, outcome.text

    expected = _losses(folder / "ddp")
    assert len(expected) == 6 and len(set(expected)) == 6
    for stage in OFFLOAD:
        straight, resumed = folder / f"straight{stage}", folder / f"resumed{stage}"
        assert _losses(straight) == pytest.approx(expected, rel=1e-4)
        assert _losses(resumed) == _losses(straight)[3:]
        sums = [(step_folder(work_dir, 6) / "SHA256SUMS").read_text() for work_dir in (straight, resumed)]
        assert sums[0] == sums[1]
