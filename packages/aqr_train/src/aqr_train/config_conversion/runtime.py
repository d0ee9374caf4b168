"""Top-level names about how a run goes: its length, what it writes and when, hooks, and what the launcher decides."""

from __future__ import annotations

from typing import Any

from aqr_train.config_conversion.fields import Fields

# How often the shipped configs save; a source counts epochs, `train.save_every` steps.
SAVE_EVERY = 2000
_LAUNCHER = "the launcher decides (docs/launch.md)"
_DROPPED = {
    "plugin": "nothing is imported",
    "plugin_dir": "nothing is imported",
    "custom_imports": "what registers itself with mmcv is unknown here",
    "dist_params": _LAUNCHER,
    "gpu_ids": _LAUNCHER,
    "gpus": _LAUNCHER,
    "device": _LAUNCHER,
    "launcher": _LAUNCHER,
    "mp_start_method": _LAUNCHER,
    "opencv_num_threads": "OpenCV has one thread per worker",
    "cudnn_benchmark": "speed alone",
    "log_level": "INFO always",
    "work_dir": "`--work-dir` on the command line",
    "auto_resume": "`--resume` on the command line",
    "deterministic": "`--deterministic` on the command line",
    "seed_everything": "`--seed` on the command line",
}
_TRACKERS = {
    "WandbLoggerHook": "wandb",
    "MlflowLoggerHook": "mlflow",
    "DvcliveLoggerHook": "dvclive",
    "ClearMLLoggerHook": "clearml",
}
_WRITTEN_ALWAYS = ("TextLoggerHook", "TensorboardLoggerHook")


def fading_epoch(hooks: list[Fields]) -> int | None:
    """The epoch from which a hook lets no objects be pasted; accounts for that hook."""
    for hook in hooks:
        for name in ("fade_epoch", "disable_after_epoch"):
            if name in hook:
                hook.drop("type", "a step may end with an epoch")
                hook.drop("priority", "a step may end with an epoch")
                return int(hook.rename(name, "until_epoch of the pasting step"))
    return None


def convert_hooks(hooks: list[Fields]) -> dict[str, Any]:
    """`custom_hooks` without fading -> fields of `train`."""
    out: dict[str, Any] = {}
    for hook in hooks:
        if "fade_epoch" in hook or "disable_after_epoch" in hook:
            continue
        kind = hook.get("type")
        if kind in ("EMAHook", "ExpMomentumEMAHook", "LinearMomentumEMAHook"):
            out["ema"] = 1 - float(hook.get("momentum", 0.0002))
            hook.derive("type", "train.ema", "the average of the weights is ours")
            hook.rename("momentum", "train.ema = 1 - momentum")
            hook.drop("priority", "an average has its place")
            for name in ("interval", "warm_up", "resume_from", "total_iter", "skip_buffers"):
                hook.differ(
                    name, "the average moves after every update, with a warm-up of its own (docs/checkpoints.md)"
                )
        elif kind == "NumClassCheckHook":
            for name in hook:
                hook.drop(name, "classes of model and dataset are compared always")
        elif kind is not None:
            hook.differ("type", "no such hook here")
    return out


def convert_length(config: Fields) -> dict[str, Any]:
    """`runner` and `total_epochs` -> `train.epochs` or `train.max_steps`."""
    runner = config.child("runner")
    out: dict[str, Any] = {}
    if runner.node:
        runner.drop("type", "the length says which it is")
        if "max_iters" in runner:
            out["max_steps"] = runner.rename("max_iters", "train.max_steps")
        elif "max_epochs" in runner:
            out["epochs"] = runner.rename("max_epochs", "train.epochs")
    for name, target in (("total_epochs", "epochs"), ("total_iters", "max_steps")):
        if name in config:
            if out:
                config.fixed(name, out.get(target), why="runner says how long")
            else:
                out[target] = config.rename(name, f"train.{target}")
    if not out:
        out["epochs"] = config.add("total_epochs", 20, "the source does not say how long; CMT's 20 epochs")
    return out


def convert_records(config: Fields) -> dict[str, Any]:
    """`checkpoint_config`, `log_config`, `evaluation` and a switch of DDP -> fields of `train`."""
    out: dict[str, Any] = {"save_every": SAVE_EVERY, "val_every": 0}
    saving = config.child("checkpoint_config")
    saving.derive("interval", "train.save_every", f"epochs there, steps here: {SAVE_EVERY} as the shipped configs")
    if "max_keep_ckpts" in saving:
        out["keep"] = max(0, saving.rename("max_keep_ckpts", "train.keep"))
    for name in ("by_epoch", "save_optimizer", "save_last", "create_symlink", "filename_tmpl", "out_dir", "meta"):
        saving.drop(name, "a checkpoint is a folder of its own kind (docs/checkpoints.md)")
    evaluation = config.child("evaluation")
    evaluation.derive("interval", "train.val_every", "epochs there, steps here: 0, behind the last step")
    for name in ("pipeline", "metric", "save_best", "rule", "start", "by_epoch", "gpu_collect", "tmpdir"):
        evaluation.drop(name, "validation scores with the nuScenes metric; the highest train.best is kept")
    logging = config.child("log_config")
    if "interval" in logging:
        out["log_every"] = logging.rename("interval", "train.log_every")
    logging.drop("by_epoch", "lines count updates")
    trackers = []
    for hook in logging.children("hooks"):
        kind = hook.get("type")
        if kind in _WRITTEN_ALWAYS:
            hook.drop("type", "log.txt, scalars.jsonl and TensorBoard are written always")
        elif kind in _TRACKERS:
            trackers.append(_TRACKERS[kind])
            hook.derive("type", "train.trackers", _TRACKERS[kind])
        elif kind is not None:
            hook.drop("type", "no such log here; scalars.jsonl has every number")
        for name in hook:
            if name != "type":
                hook.drop(name, "the logs are of one form")
    if trackers:
        out["trackers"] = tuple(trackers)
    if "find_unused_parameters" in config:
        out["find_unused_parameters"] = config.rename("find_unused_parameters", "train.find_unused_parameters")
    return out


def convert_rest(config: Fields, helpers: frozenset[str]) -> dict[str, Any]:
    """The remaining top-level names: `load_from`, `seed`, what is dropped, and variables of the file."""
    out: dict[str, Any] = {}
    if config.get("load_from") is None:
        config.drop("load_from", "not set")
    else:
        out["load_from"] = config.keep("load_from")
    if config.get("seed") is None:
        config.drop("seed", "not set")
    else:
        out["seed"] = config.keep("seed")
    if config.get("resume_from") is None:
        config.drop("resume_from", "not set")
    else:
        why = "a run of mmcv cannot be resumed; its weights can be loaded: load_from"
        config.differ("resume_from", why)
    config.fixed("workflow", [("train", 1)], [["train", 1]], why="training, with validation at train.val_every")
    for name, why in _DROPPED.items():
        config.drop(name, why)
    for name in config:
        if name in helpers and not any(row.path[0] == name for row in config.ledger.rows):
            config.drop(name, "a variable of the file; its value stands where it is used")
    return out
