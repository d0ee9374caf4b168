"""Multi-command recipes (`demo`, `baseline`): run public commands one after the other, skip what exists."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

VERSION = "v1.0-trainval"  # what a synthetic dataset of more than ten scenes is called


class StepRunner:
    """Runs commands whose results are files; every command is printed, so the screen is also the tutorial."""

    def __init__(self) -> None:
        self.console = Console()

    def step(self, title: str, result: Path, command: Sequence[object]) -> None:
        """Run one command unless its result exists.

        Args:
            title: what the step does.
            result: the file or folder that the command leaves behind when it succeeds.
            command: words; the first is looked up beside the running Python.

        Raises:
            SystemExit: the command failed; it has already said why.
        """
        words = [str(word) for word in command]
        self.console.rule(f"[bold]{escape(title)}", align="left")
        if result.exists():
            self.console.print(f"[dim]exists: {escape(str(result))}[/]")
            return
        self.console.print(f"[cyan]$ {escape(shlex.join(words))}[/]", soft_wrap=True)
        code = subprocess.run([_beside_python(words[0]), *words[1:]]).returncode
        if code != 0:
            raise SystemExit(code)

    def synthetic_data(self, data: Path, *, scenes: int, seed: int) -> None:
        """Scenes of preset tiny and their infos, where every recipe begins."""
        self.step(
            "Synthetic nuScenes: one world seen by six cameras and a LiDAR",
            data / VERSION,
            ["aqr", "synth", "--out", data, "--scenes", scenes, "--seed", seed, "--preset", "tiny"],
        )
        prepare = ["aqr", "prepare", "--dataroot", data, "--version", VERSION]
        self.step("Tables to infos", data / "infos_val.jsonl", prepare)


def _beside_python(name: str) -> str:
    """The command of this environment, also when the environment is not activated."""
    candidate = Path(sys.executable).parent / name
    return str(candidate) if candidate.exists() else name
