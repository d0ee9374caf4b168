"""Each package alone: built, installed beside what it declares and nothing else, and tested there.

In the workspace's environment a package can import what only another one declares. Here every package
gets an environment of its own: its wheel, the wheels of the layers below it, the closure of the
requirements that they declare (linked from the running environment, so nothing is downloaded) and the
test tools.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LAYERS = ["aqr_eval", "aqr_core", "aqr_train"]  # each stands on those before it
TEST_TOOLS = [Requirement("pytest"), Requirement("hypothesis")]
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
refused = []  # by walk_packages, which imports packages to look into them
for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", refused.append):
    if not module.name.endswith("__main__") and ".configs" not in module.name and module.name != "aqr_core.mmdet3d":
        importlib.import_module(module.name)
assert set(refused) <= {"aqr_core.mmdet3d"}, refused  # which says that mmdet3d is absent
"""


def closure(requirements: list[Requirement]) -> dict[str, Distribution]:
    """The third-party distributions that the requirements ask for, directly or through another, by name."""
    found: dict[str, Distribution] = {}
    pending, seen = list(requirements), set()
    while pending:
        requirement = pending.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name.replace("-", "_") in LAYERS or (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        for child in map(Requirement, found[name].requires or []):
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                pending.append(child)
    return found


def link(dist: Distribution, site_packages: Path) -> None:
    """Link a distribution's top-level folders and files from the running environment."""
    for top in {file.parts[0] for file in dist.files or [] if file.parts[0] not in ("..", "__pycache__")}:
        target = site_packages / top
        if not target.exists():  # a namespace folder such as google/ is shared by several distributions
            target.symlink_to(dist.locate_file(top))


def run(command: list[str | Path]) -> str:
    """Standard output of a command that sees neither PYTHONPATH nor the user's packages.

    Nor `CI`, under which the tests of the devkit fail instead of skip where it is absent, as it must be here.
    """
    hidden = ("PYTHON", "PYTEST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden) and name != "CI"}
    environment |= {"PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    )
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    sources = [REPOSITORY / "packages" / package for package in LAYERS]
    run([sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, *sources])
    return folder


def environment_of(package: str, wheels: Path, folder: Path, extras: tuple[str, ...] = ()) -> Path:
    """The Python of a new environment with the package, the layers below it, what they declare and pytest."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    below = LAYERS[: LAYERS.index(package) + 1]
    files = [next(wheels.glob(f"{name}-*.whl")) for name in below]
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", *files])
    (site_packages,) = folder.glob("lib/python*/site-packages")
    declared = [
        requirement
        for installed in distributions(path=[str(site_packages)])
        for requirement in map(Requirement, installed.requires or [])
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras})
    ]
    for dist in closure(declared + TEST_TOOLS).values():
        link(dist, site_packages)
    return python


def absent(python: Path, modules: list[str]) -> None:
    probe = "import importlib.util, sys; print([m for m in sys.argv[1:] if importlib.util.find_spec(m)])"
    assert run([python, "-c", probe, *modules]).strip() == "[]"


@pytest.mark.isolation
def test_aqr_eval_needs_neither_torch_nor_the_devkit(wheels, tmp_path):
    python = environment_of("aqr_eval", wheels, tmp_path / "env")
    absent(python, ["aqr_core", "aqr_train", "torch", "scipy", "cv2", "mmengine", "nuscenes"])
    run([python, "-m", "pytest", "tests/aqr_eval", "-m", "not gpu and not browser"])


def test_aqr_eval_is_small():
    """What it brings into an environment, charts included, lies below 150 MB with its byte code."""
    requirements = [Requirement(text) for text in distribution("aqr-eval").requires or []]
    needed = closure(requirements)
    assert not {"torch", "matplotlib", "scipy", "opencv-python", "opencv-python-headless"} & needed.keys()
    files = {Path(dist.locate_file(file)) for dist in needed.values() for file in dist.files or []}
    files |= set((REPOSITORY / "packages/aqr_eval/src").rglob("*"))
    sizes = [file.stat().st_size for file in files if file.is_file()]
    assert 50e6 < sum(sizes) < 150e6


@pytest.mark.isolation
def test_aqr_core_stands_without_the_trainer(wheels, tmp_path):
    python = environment_of("aqr_core", wheels, tmp_path / "env", extras=("spconv",))
    absent(python, ["aqr_train", "accelerate", "tensorboard", "nuscenes"])
    run([python, "-c", IMPORT_ALL, "aqr_core"])
    run([python, "-m", "pytest", "tests/aqr_core", "-m", "not gpu and not slow"])


@pytest.mark.isolation
def test_aqr_train_declares_what_it_imports(wheels, tmp_path):
    python = environment_of("aqr_train", wheels, tmp_path / "env", extras=("spconv",))
    absent(python, ["nuscenes"])
    run([python, "-c", IMPORT_ALL, "aqr_train"])
