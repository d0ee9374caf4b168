"""The stand-in for the base, the context with planted files, and the builds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import host_pip
from rootless import ACCOUNT, Rootless

BASE = "localhost/aqr-standin:bookworm"
BASE_PYTHON = "3.11"
LONGEST = 70  # letters of an instruction in a table
BASE_FILE = "FROM scratch\nADD base.tar /\nENV LANG=C.UTF-8\n"
# Like CUDA_IMAGE it has a torch among the system's packages; unlike there, for the CPU.
CUDA_BASE = "localhost/aqr-standin-torch:bookworm"
CUDA_BASE_FILE = f"FROM {BASE}\nRUN pip install --break-system-packages --no-cache-dir torch=={{torch}}+cpu\n"
# Each would be a leak in an image; one lies where the wheel would pack it.
PLANTED = "planted-secret"
PLANTED_AT = (
    f"data/nuscenes/{PLANTED}.bin",
    f"demo/{PLANTED}.html",
    f"work_dirs/run/{PLANTED}.safetensors",
    f".git/{PLANTED}",
    f".env.{PLANTED}",
    f"tests/{PLANTED}.pth",
    f"tests/__pycache__/{PLANTED}.pyc",
    f"packages/aqr_core/src/aqr_core/{PLANTED}.pth",
    f"packages/aqr_train/src/aqr_train/.{PLANTED}",
)


@dataclass(frozen=True)
class Size:
    """Bytes of an image's layers, with the instruction that made each."""

    target: str
    layers: tuple[tuple[str, int], ...]

    def table(self) -> str:
        """In Markdown, layers below a megabyte as one."""
        small = sum(size for _, size in self.layers if size < 1e6)
        rows = [f"| {made_by} | {size / 1e6:.0f} MB |" for made_by, size in self.layers if size >= 1e6]
        total = sum(size for _, size in self.layers)
        ends = [f"| the rest | {small / 1e6:.1f} MB |", f"| **together** | **{total / 1e6:.0f} MB** |"]
        return "\n".join([f"| layer of `{self.target}` | size, not compressed |", "| --- | --- |", *rows, *ends]) + "\n"


def make_base(rootless: Rootless, log: TextIO) -> None:
    """A minimal Debian with python3, pip and certificates, unless it is there already."""
    if rootless.has_image(BASE):
        return
    folder = rootless.folder / "base"
    rootless.run("mkdir", "-p", folder)
    packages = "--include=python3,python3-pip,ca-certificates"
    words: list[str | Path] = [
        "mmdebstrap",
        "--mode=unshare",
        "--variant=minbase",
        packages,
        "bookworm",
        folder / "base.tar",
    ]
    rootless.run(*words, log=log)
    _write(rootless, BASE_FILE, folder / "Dockerfile")
    rootless.buildah("build", "--format", "docker", "--tag", BASE, folder, log=log)
    rootless.run("rm", "-r", folder)


def make_cuda_base(rootless: Rootless, context: Path, log: TextIO) -> None:
    """The stand-in for the CUDA images, whose torch is found through --system-site-packages."""
    folder = rootless.folder / "base"
    rootless.run("mkdir", "-p", folder)
    _write(rootless, CUDA_BASE_FILE.format(torch=torch_version(context)), folder / "Dockerfile")
    rootless.buildah("build", "--format", "docker", "--tag", CUDA_BASE, *_pip_of_host(rootless), folder, log=log)
    rootless.run("rm", "-r", folder)


def lay_out(rootless: Rootless, repository: Path, log: TextIO) -> Path:
    """A copy of the checkout as git sees it, changes included, and beside it what must stay out of images."""
    context = rootless.folder / "context"
    shutil.rmtree(context, ignore_errors=True)
    listed = ["git", "-C", str(repository), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (repository / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / name, context / name)
    for name in PLANTED_AT:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(PLANTED)
    # As under umask 077: what images make of it must not depend on the modes of a checkout.
    for path in [context, *context.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
        if rootless.is_root:
            shutil.chown(path, ACCOUNT, ACCOUNT)
    log.write(f"{len(names)} files in {context}\n")
    return context


def build(rootless: Rootless, target: str, context: Path, repository: Path, log: TextIO) -> Size:
    """Build a target of the Dockerfile over the stand-in."""
    arguments = {"BASE_IMAGE": BASE, "CUDA_IMAGE": CUDA_BASE, "REVISION": revision(repository)}
    if host_offers_torch(context):
        arguments["TORCH_INDEX"] = ""
    # Without the cache: buildah 1.28 cannot mount a stage that it took from there.
    words: list[str | Path] = ["--layers", "--no-cache", "--format", "docker", *_pip_of_host(rootless)]
    words += ["--target", target, "--tag", image(target)]
    for name, value in arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    rootless.buildah("build", *words, "--file", context / "docker" / "Dockerfile", context, log=log)
    return size(rootless, target)


def image(target: str) -> str:
    """The name of the image of a target."""
    return f"localhost/aqr-{target}:build-test"


def revision(repository: Path) -> str:
    """What git calls the checkout."""
    words = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def host_offers_torch(context: Path) -> bool:
    """Whether the host's pip finds the CPU build of the Dockerfile's torch for the Python of the base."""
    words = ["--quiet", "--dry-run", "--no-deps", "--target", "/nonexistent", "--only-binary", ":all:"]
    words += ["--python-version", BASE_PYTHON, f"torch=={torch_version(context)}+cpu"]
    return subprocess.run([sys.executable, "-m", "pip", "install", *words], capture_output=True).returncode == 0


def torch_version(context: Path) -> str:
    """What the Dockerfile says."""
    text = (context / "docker" / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^ARG TORCH_VERSION=(\S+)$", text, flags=re.MULTILINE)
    assert found is not None
    return found[1]


def size(rootless: Rootless, target: str) -> Size:
    """Layers of an image from its manifest and history."""
    inspected = json.loads(rootless.buildah("inspect", "--type", "image", image(target)))
    sizes = [layer["size"] for layer in json.loads(inspected["Manifest"])["layers"]]
    made_by = [step["created_by"] for step in inspected["OCIv1"]["history"] if not step.get("empty_layer")]
    return Size(target, tuple((_short(words), bytes_) for words, bytes_ in zip(made_by, sizes, strict=True)))


def _pip_of_host(rootless: Rootless) -> list[str]:
    """Options of a build that may reach the network and is told what the host's pip is told."""
    text, mounts = host_pip.inside(host_pip.settings())
    config = rootless.folder / "pip.conf"
    _write(rootless, text, config)
    options = ["--network", "host"]
    for outside, place in {config: "/etc/pip.conf", **mounts}.items():
        options += ["--volume", f"{outside}:{place}:ro"]
    return options


def _write(rootless: Rootless, text: str, path: Path) -> None:
    """Write a file as the account that builds."""
    rootless.run("sh", "-c", 'printf "%s" "$1" > "$2"', "-", text, path)


def _short(created_by: str) -> str:
    """The end of an instruction, which tells one from another."""
    words = re.sub(
        r"^(\|?\d+ (\S+=\S* )*)?/bin/sh -c (#\(nop\) )?|--mount=\S+ |--no-\S+ |dir:\w+ in |\|", "", created_by
    )
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else f"... {words[-LONGEST:]}"
