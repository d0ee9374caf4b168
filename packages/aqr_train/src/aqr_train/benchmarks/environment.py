"""Where a benchmark ran, in a few lines of text."""

from __future__ import annotations

import platform
import subprocess
from datetime import date
from pathlib import Path

import torch

from aqr_core import __version__ as core_version
from aqr_train import __version__ as train_version


def describe_environment(device: torch.device) -> list[str]:
    """Device, threads, versions, commit and date."""
    lines = [
        f"device: {device_name(device)}",
        f"versions: aqr_core {core_version}, aqr_train {train_version}, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
        f"commit: {_commit()}",
        f"date: {date.today().isoformat()}",
    ]
    if device.type == "cuda":
        allowed = "on" if torch.backends.cuda.matmul.allow_tf32 else "off"
        cudnn = "on" if torch.backends.cudnn.allow_tf32 else "off"
        lines.insert(1, f"TF32: {allowed} for matrix products, {cudnn} for convolutions; CUDA {torch.version.cuda}")
    return lines


def device_name(device: torch.device) -> str:
    """The model of the GPU, or of the CPU with the threads that torch takes."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {torch.get_num_threads()} threads of torch"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Short hash of the checkout this package lies in, with a plus where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none, not a git checkout"
