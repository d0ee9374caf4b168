"""The checks behind `aqr doctor`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from aqr_core.config import config_names, load_config
from aqr_core.errors import AqrError, ConfigError
from aqr_core.extras import is_installed, mmdet3d_problem, spconv_build, spconv_problem
from aqr_core.infos import open_infos
from aqr_core.models.voxel.spconv_backend import choose_backend
from aqr_core.registry import MMDET3D_SCOPES
from aqr_train.checkpoints import SHIPPED
from aqr_train.conflicts import check_deepspeed
from aqr_train.launchers import FOLDER, launchers

REQUIRED = ("numpy", "torch", "accelerate", "mmengine", "cv2", "scipy", "safetensors", "rich", "tensorboard")
_DISTRIBUTIONS = {"cv2": "opencv-python"}


@dataclass(frozen=True)
class Finding:
    """One row: what was checked, what was found, and what to do where it is not well.

    Attributes:
        ok: nothing to do.
        fatal: training would fail.
    """

    check: str
    found: str
    ok: bool = True
    fatal: bool = True
    remedy: str = ""


def diagnose(dataroot: Path | None, config: str | None = None) -> list[Finding]:
    """Every check, in the order of the table.

    Args:
        dataroot: dataset folder to look into.
        config: path or name of a config whose model is to be built here.
    """
    findings = [*_packages(), _spconv(), _mmdet3d(), *_devices(), *_launch(), *_shipped()]
    if dataroot is not None:
        findings += _data(dataroot)
    if config is not None:
        findings.append(_model(config))
    return findings


def _packages() -> Iterator[Finding]:
    for name in REQUIRED:
        try:
            importlib.import_module(name)  # a broken installation shows only here
        except ImportError as error:
            yield Finding(name, f"not importable: {error}", ok=False, remedy="run `make setup`")
        else:
            yield Finding(name, _version(_DISTRIBUTIONS.get(name, name)))


def _spconv() -> Finding:
    build, problem = spconv_build(), spconv_problem()
    if build is None:
        return Finding("spconv", "absent", ok=False, fatal=False, remedy="optional: a faster LiDAR branch on a GPU")
    if problem is not None:
        return _of_sentence("spconv", problem)
    return Finding("spconv", build)


def _mmdet3d() -> Finding:
    """Nobody needs it whose config does not name it; `_model` fails where one does."""
    if not is_installed("mmdet3d"):
        remedy = "optional: its modules in our configs, our models in its; `make mmdet3d`"
        return Finding("mmdet3d", "absent", ok=False, fatal=False, remedy=remedy)
    problem = mmdet3d_problem()
    if problem is not None:
        return _of_sentence("mmdet3d", problem)
    return Finding("mmdet3d", ", ".join(f"{name} {_version(name)}" for name in MMDET3D_SCOPES))


def _of_sentence(check: str, problem: str) -> Finding:
    found, _, remedy = problem.rpartition("; ")
    return Finding(check, found, ok=False, fatal=False, remedy=remedy)


def _model(config: str) -> Finding:
    """Building it imports all that it names."""
    from aqr_train.assembly import build_model  # stands on packages whose absence is told above

    try:
        model, _ = build_model(load_config(config), load_initial=False)
    except AqrError as error:
        return Finding(config, str(error), ok=False, remedy="as it says")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Finding(config, f"its model can be built: {parameters / 1e6:.1f} M parameters")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "present"


def _devices() -> Iterator[Finding]:
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        yield Finding("GPU", f"{names}; CUDA {torch.version.cuda}, bf16 {torch.cuda.is_bf16_supported()}")
    else:
        yield Finding("GPU", "none: training runs on the CPU", ok=False, fatal=False, remedy="fine for tiny configs")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = choose_backend("auto", device)
    reason = "spconv is for CUDA; here our pairs are faster" if device == "cpu" else "chosen for this device"
    yield Finding("sparse convolution", f"{chosen} on {device} ({reason})")
    yield Finding("CPU threads", str(torch.get_num_threads()))


def _launch() -> Iterator[Finding]:
    yield _deepspeed()
    yield Finding("launcher files", f"{FOLDER}: {', '.join(launchers())}")
    if importlib.util.find_spec("accelerate") is None:  # told above
        return
    from accelerate.commands.config import default_config_file

    if Path(default_config_file).is_file():
        remedy = "its answers count wherever `accelerate launch` gets no --config_file"
        yield Finding("accelerate's own file", str(default_config_file), ok=False, fatal=False, remedy=remedy)


def _deepspeed() -> Finding:
    missing = [name for name in ("deepspeed", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        remedy = "optional: ZeRO; `pip install 'aqr-train[deepspeed]'`"
        return Finding("deepspeed", f"{missing[0]} is absent", ok=False, fatal=False, remedy=remedy)
    number = version("deepspeed")
    try:
        check_deepspeed(number)
    except ConfigError as error:
        return Finding("deepspeed", number, ok=False, fatal=False, remedy=str(error))
    return Finding("deepspeed", number)


def _shipped() -> Iterator[Finding]:
    names = config_names()
    yield Finding(
        "shipped configs",
        ", ".join(sorted(names)) or "none registered",
        ok=bool(names),
        remedy="" if names else "the packages are not installed, run `make setup`",
    )
    weights = sorted(folder.name for folder in SHIPPED.glob("*") if folder.is_dir())
    yield Finding(
        "shipped weights",
        ", ".join(weights) or "none",
        ok=bool(weights),
        fatal=False,
        remedy="" if weights else "fine-tuning configs need a checkpoint in load_from",
    )


def _data(dataroot: Path) -> Iterator[Finding]:
    if not dataroot.is_dir():
        yield Finding("dataroot", f"{dataroot} is no folder", ok=False, remedy="correct --dataroot")
        return
    tables = sorted(folder.name for folder in dataroot.glob("v1.0-*") if folder.is_dir())
    remedy = "" if tables else f"unpack v1.0-* into {dataroot}"
    yield Finding("tables", ", ".join(tables) or "none", ok=bool(tables), remedy=remedy)
    infos = sorted(dataroot.glob("infos_*.jsonl"))
    if not infos:
        name = tables[0] if tables else "V"
        yield Finding("infos", "none", ok=False, remedy=f"run `aqr prepare --dataroot {dataroot} --version {name}`")
    for path in infos:
        yield _infos_check(path, dataroot)


def _infos_check(path: Path, dataroot: Path) -> Finding:
    """The file opens, and the sensor files of its first and last keyframe exist."""
    try:
        infos = open_infos(path)
        ends = [infos[0], infos[len(infos) - 1]] if len(infos) else []
    except AqrError as error:
        return Finding(path.name, str(error), ok=False, remedy="run `aqr prepare` again")
    files = [file for info in ends for file in (info.lidar.path, *(camera.path for camera in info.cameras.values()))]
    missing = [file for file in files if not (dataroot / file).is_file()]
    if missing:
        return Finding(path.name, f"{missing[0]} is absent", ok=False, remedy="unpack the sensor archives")
    return Finding(path.name, f"{len(infos)} keyframes")
