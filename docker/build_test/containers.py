"""Containers of the images, and commands in them."""

from __future__ import annotations

import json
from typing import Any, TextIO

from images import image
from rootless import Rootless

OWN_USER = "10001"
ANY_USER = "4242:4242"  # as `user:` of compose.yaml: no entry in /etc/passwd


class Containers:
    """One per image and user, as every service starts from the image alone.

    /workspace of all is one folder of the host that belongs to ANY_USER.
    """

    def __init__(self, rootless: Rootless) -> None:
        self._rootless = rootless
        self._workspace, self._told = rootless.folder / "workspace", rootless.folder / "told"
        self._names: dict[tuple[str, str | None], str] = {}

    def __enter__(self) -> Containers:
        self._rootless.inside("rm", "-rf", self._workspace, self._told)
        self._rootless.run("mkdir", self._workspace, self._told)
        self._rootless.inside("chown", ANY_USER, self._workspace)
        self._rootless.run("chmod", "777", self._told)
        return self

    def __exit__(self, *_: object) -> None:
        self._rootless.buildah("rm", "--all")
        self._rootless.inside("rm", "-rf", self._workspace, self._told)

    def run(self, target: str, *words: str, log: TextIO, user: str | None = ANY_USER) -> None:
        """Run a command, as the image's own user where `user` is None.

        Raises:
            Failure: it ended with another code than 0.
        """
        if (target, user) not in self._names:
            self._names[target, user] = self._rootless.buildah("from", image(target)).strip()
        options = ["--user", user] if user else []
        for outside, inside in ((self._workspace, "/workspace"), (self._told, "/told")):
            options += ["--volume", f"{outside}:{inside}"]
        self._rootless.buildah("run", *options, self._names[target, user], "--", *words, log=log)

    def output(self, target: str, *words: str, log: TextIO, user: str | None = ANY_USER) -> str:
        """What a command writes, by way of a file: buildah 1.28 loses the end of a short command's output."""
        self.run(target, "sh", "-c", 'exec "$@" > /told/output', "-", *words, log=log, user=user)
        text = self._rootless.inside("cat", self._told / "output")
        self._rootless.inside("rm", self._told / "output")
        return text

    def config(self, target: str) -> dict[str, Any]:
        """The image's configuration: user, labels, health check."""
        inspected = json.loads(self._rootless.buildah("inspect", "--type", "image", image(target)))
        return dict(inspected["Docker"]["config"])
