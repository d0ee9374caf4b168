"""What docker/compose.yaml promises beyond its schema: pinned images, plain users, read-only data, what a GPU needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

SERVICES = ("prepare", "train", "train-multi-node", "eval", "tensorboard", "demo")
DATASET = "/workspace/data/nuscenes"


def services(text: str) -> dict[str, dict[str, Any]]:
    """Name to service, anchors merged."""
    return dict(yaml.safe_load(text)["services"])


def interpolated(word: object, environment: dict[str, str]) -> str:
    """A word as Compose hands it on: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar."""

    def put_in(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else environment.get(found[1]) or found[3] or ""

    return re.sub(r"\$\$|\$\{(\w+)(:-([^}]*))?\}", put_in, str(word))


def faults(text: str, arguments: dict[str, str]) -> Iterator[str]:
    """One sentence for each broken promise.

    Args:
        text: of the compose file.
        arguments: of the Dockerfile, with their defaults.
    """
    found = services(text)
    for name in SERVICES:
        if name not in found:
            yield f"There is no service '{name}'."
    for variable in sorted(set(re.findall(r"(?<!\$)\$\{(\w+):?\?", text))):
        yield f"{variable} is required; Compose would ask for it whichever service is started."
    for name, service in found.items():
        yield from _image_faults(name, service, arguments)
        yield from _user_faults(name, service)
        yield from _volume_faults(name, service)
        if service["image"].rpartition("-")[2] == "train":
            yield from _gpu_faults(name, service)


def _image_faults(name: str, service: dict[str, Any], arguments: dict[str, str]) -> Iterator[str]:
    build = service["build"]
    named = f"aqr:{arguments['VERSION']}-{build['target']}"
    if service["image"] != named:
        yield f"Service '{name}' has the image '{service['image']}'; its target and version are those of '{named}'."
    for argument in build["args"]:
        if argument not in arguments:
            yield f"Service '{name}' sets {argument}, which the Dockerfile does not know."


def _user_faults(name: str, service: dict[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"\$\{UID:-\d{4,}\}:\$\{GID:-\d{4,}\}", str(service.get("user"))):
        yield f"Service '{name}' runs as '{service.get('user')}', not as the user of the host."
    if service.get("privileged") or "ALL" not in service.get("cap_drop", ()):
        yield f"Service '{name}' keeps privileges; give cap_drop: [ALL]."
    for port in service.get("ports", ()):
        if not str(port).startswith("127.0.0.1:"):
            yield f"Service '{name}' publishes {port} to the network; begin it with 127.0.0.1."


def _volume_faults(name: str, service: dict[str, Any]) -> Iterator[str]:
    for volume in service.get("volumes", ()):
        target = volume["target"]
        if target == DATASET and name != "prepare" and not volume.get("read_only"):
            yield f"Service '{name}' may write into the dataset; mount {DATASET} read_only."
        if volume.get("bind", {}).get("create_host_path") is not False:
            yield f"Service '{name}' lets Docker make the folder of {target} as root; give create_host_path: false."


def _gpu_faults(name: str, service: dict[str, Any]) -> Iterator[str]:
    devices = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", ())
    if not any(device.get("driver") == "nvidia" and device.get("capabilities") == ["gpu"] for device in devices):
        yield f"Service '{name}' reserves no GPU."
    if "shm_size" not in service:
        yield f"Service '{name}' has the 64 MB of shared memory that Docker gives; set shm_size."
    if service.get("ulimits", {}).get("memlock") != -1:
        yield f"Service '{name}' limits locked memory, which NCCL needs; set ulimits.memlock: -1."
