"""Buildah as a plain user: no daemon, no root, images in a folder that goes away as a whole.

Root steps down to an account of its own, which it makes where it is absent, since rootless buildah needs one with a
range of subordinate user ids. Ids of containers are mapped into that range: 0 is the account, the others are nobody's.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

ACCOUNT = "aqr-build"
# Command to the Debian package that has it.
PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "newuidmap": "uidmap"}


class Failure(Exception):
    """One sentence on what went wrong; the log has the rest."""


def install_missing() -> list[str]:
    """Install what is absent with apt, as root or with sudo; the names of those packages."""
    missing = [package for command, package in PACKAGES.items() if shutil.which(command) is None]
    if missing:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "apt-get", "update", "-qq"], check=True)
        subprocess.run([*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)
    return missing


class Rootless:
    """Commands of the account that builds.

    Attributes:
        folder: everything that this account writes; `storage` in it holds the images.
        is_root: whether this process is root and steps down for every command.
    """

    def __init__(self, folder: Path) -> None:
        self.is_root = os.geteuid() == 0
        self._as_account = ["runuser", "-u", ACCOUNT, "--"] if self.is_root else []
        if self.is_root and not _exists(ACCOUNT):
            subprocess.run(["useradd", "--create-home", "--shell", "/usr/sbin/nologin", ACCOUNT], check=True)
        name = ACCOUNT if self.is_root else pwd.getpwuid(os.geteuid()).pw_name
        if not any(line.startswith(f"{name}:") for line in Path("/etc/subuid").read_text().splitlines()):
            remedy = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
            raise Failure(f"{name} has no range in /etc/subuid; run `{remedy}` as root.")
        self.folder = folder
        for part in ("", "tmp", "storage", "run"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            if self.is_root:
                shutil.chown(folder / part, ACCOUNT, ACCOUNT)
        # Plain users may mount overlays since Linux 5.11; STORAGE_DRIVER=vfs works anywhere, with a copy per layer.
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON", "XDG_"))},
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "overlay"),
            "BUILDAH_ISOLATION": "chroot",
        }
        self._where = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]

    def run(self, *words: str | Path, log: Any = None) -> str:  # noqa: ANN401
        """Run a command as the account, with both of its streams in `log`; its output, where there is no log.

        Raises:
            Failure: it ended with another code than 0.
        """
        command = [*self._as_account, *map(str, words)]
        streams = {"stdout": log, "stderr": subprocess.STDOUT} if log else {"stdout": subprocess.PIPE}
        done = subprocess.run(command, env=self._environment, cwd=self.folder, text=True, **streams)
        if done.returncode:
            raise Failure(f"`{' '.join(map(str, words))[:300]}` ended with {done.returncode}.")
        return done.stdout or ""

    def buildah(self, verb: str, *words: str | Path, log: Any = None) -> str:  # noqa: ANN401
        """Run a verb of buildah's over the images of this folder."""
        return self.run("buildah", *self._where, verb, *words, log=log)

    def inside(self, *words: str | Path, log: Any = None) -> str:  # noqa: ANN401
        """Run a command as root of the user namespace, which owns what containers wrote."""
        return self.buildah("unshare", *words, log=log)

    def has_image(self, name: str) -> bool:
        """Whether an image of this name is there."""
        return any(name in (image["names"] or []) for image in self._images())

    def forget_images_but(self, name: str) -> None:
        """Remove every container and every image but one."""
        self.buildah("rm", "--all")
        for image in self._images():
            if image["names"] and name not in image["names"]:
                self.buildah("rmi", "--force", image["id"])
        self.buildah("rmi", "--prune", "--force")

    def _images(self) -> list[dict[str, Any]]:
        return list(json.loads(self.buildah("images", "--json")) or [])


def _exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
