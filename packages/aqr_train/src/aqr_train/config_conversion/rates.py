"""`lr_config` and `momentum_config` -> `schedule`."""

from __future__ import annotations

from typing import Any

from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.ledger import Outcome


def convert_schedule(rate: Fields, momentum: Fields) -> dict[str, Any]:
    """`lr_config` and `momentum_config` -> `schedule`."""
    policy = rate.get("policy")
    if policy == "cyclic":
        return _cyclic(rate, momentum)
    if momentum.node:
        why = "AdamW's beta1 moves with the cyclic policy alone"
        momentum.ledger.record(momentum.path, Outcome.DIFFERENCE, momentum.node, why=why)
    if policy == "CosineAnnealing":
        return _cosine(rate)
    warmup = _warmup(rate)
    if policy in ("fixed", None):
        rate.derive("policy", "schedule.type = 'constant'", "the rate stays")
    else:
        rate.differ("policy", "no such schedule here; the rate stays constant: choose one of docs/configs.md")
    return {"type": "constant", **warmup}


def _cyclic(rate: Fields, momentum: Fields) -> dict[str, Any]:
    rate.rename("policy", "schedule.type")
    target = rate.rename("target_ratio", "schedule.target_ratio", (10, 1e-4))
    step = rate.rename("step_ratio_up", "schedule.step_ratio_up", 0.4)
    _one_cycle(rate)
    moves: Any = (1.0, 1.0)
    if momentum.node:
        momentum.fixed("policy", "cyclic", why="beta1 moves with the rate")
        moves = momentum.rename("target_ratio", "schedule.momentum_ratio", (0.85 / 0.95, 1.0))
        momentum.fixed("step_ratio_up", step, why="beta1 turns with the rate")
        _one_cycle(momentum)
    else:
        rate.add("momentum_ratio", moves, "beta1 stays, there is no momentum_config")
    return {
        "type": "cyclic",
        "target_ratio": _pair(target),
        "momentum_ratio": _pair(moves),
        "step_ratio_up": step,
    }


def _pair(value: Any) -> tuple[float, float]:  # noqa: ANN401
    """With mmcv one number is the top, with an end a hundred thousand times lower."""
    if isinstance(value, int | float):
        return float(value), value / 1e5
    return float(value[0]), float(value[1])


def _one_cycle(section: Fields) -> None:
    section.fixed("cyclic_times", 1, why="there is one cycle")
    section.fixed("gamma", 1, why="there is one cycle")
    section.fixed("anneal_strategy", "cos", why="both halves are cosines")
    section.fixed("by_epoch", False, why="every step has its rate")


def _cosine(rate: Fields) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "cosine", **_warmup(rate)}
    if "min_lr_ratio" in rate:
        out["min_ratio"] = rate.rename("min_lr_ratio", "schedule.min_ratio")
    else:
        rate.differ("min_lr", "the end of the cosine is a share of the rate; set schedule.min_ratio")
    if "by_epoch" in rate:
        rate.rename("policy", "schedule.type")
        rate.fixed("by_epoch", False, why="every step has its rate")
    else:
        rate.differ(
            "policy", "by_epoch is absent, which means True: steps of an epoch each; every step has its rate here"
        )
    return out


def _warmup(rate: Fields) -> dict[str, Any]:
    if rate.get("warmup") is None:
        for name in ("warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch"):
            rate.drop(name, "no warm-up")
        return {}
    rate.fixed("warmup", "linear", why="warm-up is linear")
    rate.fixed("warmup_by_epoch", False, why="warm-up counts steps")
    rate.differ("warmup_ratio", "warm-up starts near 0; it is over after the same number of steps")
    return {"warmup_steps": rate.rename("warmup_iters", "schedule.warmup_steps", 0)}
