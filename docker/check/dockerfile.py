"""What docker/Dockerfile promises, read from its text: pinned bases, known stages, plain users, labels, versions."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

TARGETS = ("eval", "cpu", "train", "train-devel")
LABELS = ("title", "description", "version", "revision", "licenses")
# A version of two numbers at least, or a digest.
_PINNED = re.compile(r":[^/]*\d+\.\d+|@sha256:[0-9a-f]{64}$")
_MOUNTED = re.compile(r"--mount=\S*\bfrom=([^,\s]+)")
_COPIED = re.compile(r"--from=(\S+)")


@dataclass
class Stage:
    """One FROM and what follows it, as (instruction, value)."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        """Of every step of one kind."""
        return [value for kind, value in self.steps if kind == instruction]


def arguments(text: str) -> dict[str, str]:
    """The defaults of the ARGs before the first FROM."""
    found = {}
    for step in _structure(text):
        if step["instruction"] == "FROM":
            break
        if step["instruction"] == "ARG":
            name, _, value = step["value"].partition("=")
            found[name] = value.strip("\"'")
    return found


def stages(text: str) -> list[Stage]:
    """In the order of the file, bases with their ARGs put in."""
    defaults, found = arguments(text), []
    for step in _structure(text):
        if step["instruction"] == "FROM":
            words = [word for word in step["value"].split() if not word.startswith("--")]
            base = re.sub(r"\$\{?(\w+)\}?", lambda name: defaults.get(name[1], ""), words[0])
            found.append(Stage(words[2] if len(words) > 2 else "", base))
        elif found and step["instruction"] != "COMMENT":
            found[-1].steps.append((step["instruction"], step["value"]))
    return found


def faults(text: str, repository: Path) -> Iterator[str]:
    """One sentence for each broken promise."""
    known: list[str] = []
    for stage in stages(text):
        if stage.base not in known and (not _PINNED.search(stage.base) or stage.base.endswith(":latest")):
            yield f"Stage '{stage.name}' stands on '{stage.base}', which is neither an earlier stage nor pinned."
        for kind, value in stage.steps:
            named = _MOUNTED.findall(value) + (_COPIED.findall(value) if kind == "COPY" else [])
            for other in named:
                if other not in known:
                    yield f"Stage '{stage.name}' takes files from '{other}', which is no earlier stage."
            if kind == "ADD":
                yield f"Stage '{stage.name}' has ADD {value}; use COPY, and a hash for what is downloaded."
        known.append(stage.name)
        if stage.name in TARGETS:
            yield from _target_faults(stage)
    for name in TARGETS:
        if name not in known:
            yield f"There is no stage '{name}'."
    yield from _version_faults(arguments(text), repository)


def _target_faults(stage: Stage) -> Iterator[str]:
    users = stage.values("USER")
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield f"Image '{stage.name}' ends with user '{users[-1] if users else 'root'}'; give USER UID:GID, not root's."
    labels = " ".join(stage.values("LABEL"))
    for label in LABELS:
        if f"org.opencontainers.image.{label}=" not in labels:
            yield f"Image '{stage.name}' has no label org.opencontainers.image.{label}."
    checked = "aqr-eval --help" if stage.name == "eval" else "aqr doctor"
    if not any(checked in value for value in stage.values("RUN")):
        yield f"Image '{stage.name}' is built without `{checked}`."
    if "docker/finish.sh" not in " ".join(stage.values("RUN")):
        yield f"Image '{stage.name}' is built without docker/finish.sh, so it has no list of components."


def _version_faults(given: dict[str, str], repository: Path) -> Iterator[str]:
    """Decisions that other files make as well."""
    torch = _found(r"^torch==([\d.]+)", repository / "constraints.txt")
    version = _found(r'^__version__ = "(.+)"', repository / "packages/aqr_train/src/aqr_train/__init__.py")
    spconv = _found(r"^spconv-cu(\d+)==", repository / "requirements/runtime-cuda.txt")
    if given.get("TORCH_VERSION") != torch:
        yield f"TORCH_VERSION is {given.get('TORCH_VERSION')}, constraints.txt has torch {torch}."
    if given.get("VERSION") != version:
        yield f"VERSION is {given.get('VERSION')}, aqr_train is {version}."
    for name, flavour in (("CUDA_IMAGE", "runtime"), ("CUDA_DEVEL_IMAGE", "devel")):
        tag = given.get(name, "").partition(":")[2]
        found = re.fullmatch(rf"([\d.]+)-cuda([\d.]+)-cudnn\d+-{flavour}", tag)
        if found is None or found[1] != torch or found[2].replace(".", "") != spconv:
            yield f"{name} has tag '{tag}'; torch {torch} and spconv-cu{spconv} ask for another."


def _found(pattern: str, path: Path) -> str | None:
    match = re.search(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return match[1] if match else None


def _structure(text: str) -> list[dict[str, str]]:
    return list(DockerfileParser(fileobj=io.BytesIO(text.encode())).structure)
