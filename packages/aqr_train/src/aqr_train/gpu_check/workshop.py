"""What the checks work on, made when the first of them asks for it, and training runs in processes of their own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

import aqr_train
from aqr_core.checkpoint import save_checkpoint
from aqr_core.config import dump, load_config
from aqr_core.infos import build_infos
from aqr_core.synth import generate
from aqr_train.assembly import build_model
from aqr_train.benchmarks.loader_data import synthesise
from aqr_train.seeding import seed_all

TINY, FULL = "cmt_aqr_tiny", "cmt_aqr_voxel0100_r50_800x320_cbgs"
LAUNCHERS = Path(aqr_train.__file__).parent / "launchers"
INFOS = "infos_mini_train.jsonl"
_TIMEOUT_S = 1800
_KEYFRAMES = 20
_SAID = 400  # characters of a failed command that the page shows


@dataclass(frozen=True)
class TrainRun:
    """What a training run logged.

    Attributes:
        losses: of each step; null in the log, which stands for NaN and infinity, is NaN.
        skipped: updates that overflowed.
        step_s: median seconds of a step but the first.
        peak_gib: most that PyTorch allocated.
    """

    losses: tuple[float, ...]
    skipped: int
    step_s: float
    peak_gib: float

    @classmethod
    def read(cls, scalars: Path, samples_per_step: int) -> TrainRun:
        """From `scalars.jsonl` of a run with `train.log_every=1`."""
        records = [json.loads(line) for line in scalars.read_text(encoding="utf-8").splitlines()]
        records = [record for record in records if "train/loss" in record]
        rates = sorted(record["time/samples_per_s"] for record in records[1:] or records)
        return cls(
            losses=tuple(float("nan") if record["train/loss"] is None else record["train/loss"] for record in records),
            skipped=int(sum(record.get("fp16/skipped", 0) for record in records)),
            step_s=samples_per_step / rates[len(rates) // 2],
            peak_gib=max(record.get("memory/peak_gib", 0.0) for record in records),
        )


class Workshop:
    """Data, weights and runs below one folder; whatever is there already is used.

    Args:
        folder: of everything that is written.
        device: the one to check.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder = folder
        self.device = device
        self._runs: dict[tuple[str, ...], TrainRun] = {}

    @cached_property
    def tiny_data(self) -> Path:
        """DATA: a synthetic scene of preset tiny, and its infos."""
        root = self.folder / "tiny"
        if not (root / INFOS).is_file():
            generate(root, 1, 0, keyframes=_KEYFRAMES)
            build_infos(root, "v1.0-mini", root, splits=["mini_train"])
        return root

    @cached_property
    def full_data(self) -> Path:
        """FULL: one of full size, with an object database."""
        root = self.folder / "full"
        synthesise(root)
        return root

    @cached_property
    def weights(self) -> Path:
        """WEIGHTS: of seed 0, so that frozen parts have some."""
        folder = self.folder / "weights"
        if not folder.is_dir():
            config = load_config(FULL)
            seed_all(0)
            save_checkpoint(folder, build_model(config, load_initial=False)[0], dump(config), {"seed": 0})
        return folder

    def train(self, config: str, precision: str, steps: int, launcher: str | None = None) -> TrainRun:
        """A run of `train_command`; asked for again, the first one's log.

        Raises:
            RuntimeError: it failed.
        """
        key = (config, precision, str(steps), str(launcher))
        if key not in self._runs:
            work_dir = self.folder / "runs" / "-".join(key)
            shutil.rmtree(work_dir, ignore_errors=True)
            places = {"RUN": str(work_dir), "LAUNCHERS": str(LAUNCHERS)}
            if config == TINY:
                places["DATA"] = str(self.tiny_data)
            else:
                places |= {"FULL": str(self.full_data), "WEIGHTS": str(self.weights)}
            self.call(train_words(config, precision, steps, launcher), places)
            samples = int(load_config(config)["data"]["batch_size"])
            self._runs[key] = TrainRun.read(work_dir / "scalars.jsonl", samples)
        return self._runs[key]

    def call(self, words: Sequence[str], places: dict[str, str] | None = None) -> str:
        """Run a command of this Python, with the stand-ins of the page replaced; returns what it printed.

        Raises:
            RuntimeError: it failed; the end of what it said.
        """
        if places:  # in one go: a path may hold another stand-in
            words = [re.sub("|".join(places), lambda found: places[found[0]], word) for word in words]
        if words[0] == "python":
            words = [sys.executable, *words[1:]]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S)
        if done.returncode:
            said = " ".join((done.stderr.strip() or done.stdout.strip()).split())
            raise RuntimeError(f"exit code {done.returncode}: ...{said[-_SAID:]}")
        return done.stdout


def train_words(config: str, precision: str, steps: int, launcher: str | None = None) -> list[str]:
    """The command of a run on one GPU; `launcher` is a file of `aqr_train/launchers`."""
    launch = ["python", "-m", "aqr_train"]
    if launcher is not None:
        launcher_words = [
            "accelerate.commands.launch",
            "--config_file",
            f"LAUNCHERS/{launcher}",
            "--num_processes",
            "1",
        ]
        launch = ["python", "-m", *launcher_words, "-m", "aqr_train"]
    data = "DATA" if config == TINY else "FULL"
    options = [
        f"dataroot={data}",
        f"data.train.infos={INFOS}",
        f"train.precision={precision}",
        f"train.max_steps={steps}",
        "train.epochs=None",
        "train.log_every=1",
        "train.val_every=None",
        "train.picture_every=None",
    ]
    if config != TINY:
        options.append("load_from=WEIGHTS")
    return [*launch, config, "--work-dir", "RUN", "--cfg-options", *options]
