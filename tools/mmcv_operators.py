"""Install mmcv with its operators compiled for the torch of the interpreter that runs this.

Usage: `PYTHON tools/mmcv_operators.py`, in an environment that has torch, setuptools, wheel and ninja. Where sound
operators are installed nothing happens. A wheel is compiled once (18 minutes of one core; `MAX_JOBS` cores share them)
and kept in `$XDG_CACHE_HOME/aqr/mmcv`, or ~/.cache, under the name of the torch and Python it is for. With nvcc it has
the CUDA operators too; `FORCE_CUDA=1` compiles them where no GPU is seen, as while an image is built.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch.utils.cpp_extension import CUDA_HOME

PINNED = Path(__file__).resolve().parent.parent / "requirements" / "mmcv.txt"
# Not in this process: a broken library would stay loaded. torch comes first, since the operators link to it.
_LOADS = "import torch, mmcv; assert mmcv.__version__ == '{version}'; import mmcv.ops"


def version() -> str:
    """The pinned version, such as '2.1.0'."""
    return PINNED.read_text(encoding="utf-8").split()[0].removeprefix("mmcv==")


def has_cuda() -> bool:
    """Whether the CUDA operators are to be compiled: where there is nvcc, and a GPU or the wish."""
    asked = os.environ.get("FORCE_CUDA") == "1"
    if asked and CUDA_HOME is None:
        raise SystemExit("FORCE_CUDA is 1, but there is no nvcc; install the CUDA toolkit, or set CUDA_HOME to it.")
    return CUDA_HOME is not None and (asked or torch.cuda.is_available())


def cache() -> Path:
    """Where the wheel for this torch and Python lies; the operators serve no other."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    device = f"cuda{torch.version.cuda}" if has_cuda() else "cpu"
    return root / "aqr" / "mmcv" / f"{version()}-torch{torch.__version__}-{device}-{sys.implementation.cache_tag}"


def say(line: str) -> None:
    """A line on the screen, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def pip(*arguments: str | Path) -> None:
    """Run pip of this interpreter; ends the program where it fails."""
    done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments])
    if done.returncode:
        raise SystemExit(f"pip {arguments[0]} of mmcv {version()} failed; the lines above say why.")


def compiled() -> Path:
    """The wheel, compiled unless it is kept already."""
    folder = cache()
    if not any(folder.glob("*.whl")):
        say(f"Compiling mmcv {version()} for torch {torch.__version__}, 18 minutes of one core ...")
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.environ |= {"MMCV_WITH_OPS": "1", "MAX_JOBS": os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)}
        if not has_cuda():
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # mmcv's setup.py wants nvcc wherever torch sees a GPU
        with tempfile.TemporaryDirectory(dir=folder.parent) as build:
            # pip's own cache knows wheels by name and version, not by torch.
            flags = ("--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--require-hashes")
            pip("wheel", *flags, "--wheel-dir", build, "-r", PINNED)
            folder.mkdir(exist_ok=True)
            for wheel in Path(build).glob("*.whl"):
                wheel.replace(folder / wheel.name)
    return next(folder.glob("*.whl"))


def loads() -> bool:
    """Whether the pinned mmcv and its operators can be imported."""
    program = _LOADS.format(version=version())
    return subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def main() -> None:
    """Look, and install where something is missing."""
    if not loads():
        pip("install", "--quiet", "--no-deps", "--force-reinstall", compiled())
        if not loads():
            raise SystemExit(f"mmcv {version()} was installed, but its operators cannot be imported; remove {cache()}.")
    say(f"mmcv {version()} has operators for torch {torch.__version__} ({'CUDA and CPU' if has_cuda() else 'CPU'}).")


if __name__ == "__main__":
    main()
