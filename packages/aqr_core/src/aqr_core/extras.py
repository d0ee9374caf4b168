"""Whether the compiled extras, spconv and mmdet3d with mmcv, fit the torch that runs, and the command that mends it.

Both break in ways that surface late and far away: an undefined symbol, a missing kernel, a CPU build beside a GPU. So
they are looked at here, before anything of theirs is imported. `aqr doctor` tells the same sentences.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version

import torch

from aqr_core.errors import ConfigError, one_line
from aqr_core.registry import MMDET3D_SCOPES

_MEND_MMDET3D = "run `make mmdet3d`, which makes .venv-mmdet3d, and use that environment"
_CUDA_SPCONV = "make setup SPCONV=spconv-cuda TORCH_INDEX=https://download.pytorch.org/whl/cu126"


def require_mmdet3d(wanted_by: str) -> None:
    """Refuse to go on without a working mmdet3d.

    Args:
        wanted_by: what needs it, the subject of the sentence, such as "type 'mmdet3d.SECOND'".

    Raises:
        ConfigError: it is absent, or mmcv lacks operators or has them for another torch.
    """
    problem = mmdet3d_problem()
    if problem is not None:
        raise ConfigError(f"{wanted_by} needs mmdet3d, but {problem}.")


def is_installed(package: str) -> bool:
    """Whether a package can be imported; a folder of its name on the path, which Python takes for one too, is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


@cache
def mmdet3d_problem() -> str | None:
    """What is wrong with mmdet3d, mmdet and mmcv, and the remedy; None where they work."""
    missing = [name for name in MMDET3D_SCOPES if not is_installed(name)]
    if missing:
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed; {_MEND_MMDET3D}"
    number = _version("mmcv")
    if importlib.util.find_spec("mmcv._ext") is None:
        return f"mmcv {number} was installed without its compiled operators; {_MEND_MMDET3D}"
    try:
        importlib.import_module("mmcv._ext")
    except ImportError as error:
        return (
            f"the operators of mmcv {number} were compiled for another torch than {torch.__version__} "
            f"({_in_short(error)}); {_MEND_MMDET3D}"
        )
    if (other := _other_cuda_of_mmcv()) is not None:
        return (
            f"the operators of mmcv {number} were compiled for CUDA {other}, torch for CUDA {torch.version.cuda}; "
            f"{_MEND_MMDET3D}"
        )
    try:
        importlib.import_module("mmdet3d")
    except (ImportError, AssertionError) as error:  # it asserts the versions of its siblings
        return f"mmdet3d {_version('mmdet3d')} cannot be imported ({_in_short(error)}); {_MEND_MMDET3D}"
    return None


def _other_cuda_of_mmcv() -> str | None:
    """The CUDA that the operators were compiled for, where a torch that sees a GPU has another."""
    if not torch.cuda.is_available():
        return None
    compiled = str(importlib.import_module("mmcv.ops").get_compiling_cuda_version())
    is_for_the_cpu = not compiled[:1].isdigit()  # 'not available'
    return None if is_for_the_cpu or _major(compiled) == _major(torch.version.cuda) else compiled


def spconv_build() -> str | None:
    """The installed distribution, such as 'spconv-cu126 2.3.8'; None where spconv is absent."""
    if not is_installed("spconv"):
        return None
    return " and ".join(f"{name} {_version(name)}" for name in _spconv_distributions()) or "spconv of unknown origin"


@cache
def spconv_problem() -> str | None:
    """Why an installed spconv does not serve this torch and device, and the remedy; None where it does or is absent."""
    names = _spconv_distributions()
    if len(names) > 1:
        return (
            f"{' and '.join(names)} are both installed and write one folder; run "
            f"`pip uninstall -y {' '.join(names)}` and `make setup` again"
        )
    build = spconv_build()
    if build is None:
        return None
    if torch.cuda.is_available() and names:
        digits = re.search(r"-cu(\d+)(\d)$", names[0])
        if digits is None:
            return f"{build} is the CPU build, and torch {torch.__version__} has a GPU; run `{_CUDA_SPCONV}`"
        if digits[1] != _major(torch.version.cuda):
            return (
                f"{build} is built for CUDA {digits[1]}.{digits[2]}, torch {torch.__version__} for CUDA "
                f"{torch.version.cuda}; run `{_CUDA_SPCONV}`"
            )
    try:
        importlib.import_module("spconv.pytorch")
    except Exception as error:  # its compiled part raises whatever it likes
        return f"{build} cannot be imported ({_in_short(error)}); run `make setup` again"
    return None


def _spconv_distributions() -> list[str]:
    return sorted(set(packages_distributions().get("spconv", ())))


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of unknown version"


def _major(cuda: str | None) -> str:
    return (cuda or "").split(".")[0]


def _in_short(error: BaseException) -> str:
    text = one_line(error)
    return text if len(text) <= 200 else f"{text[:200]}..."
