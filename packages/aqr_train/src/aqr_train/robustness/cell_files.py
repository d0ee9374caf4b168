"""The result of each cell in a file of its own, with all that it depends on: what a killed run goes on from.

<folder>/cells/<corruption>-<severity>.json, clean.json    {"identity": {...}, "cell": {...}}
<folder>/submissions/<the same>.safetensors                where they are kept
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aqr_core import __version__
from aqr_core.checkpoint import WEIGHTS, write_text
from aqr_core.checkpoint.checksums import sha256_of
from aqr_eval.robustness import CellResult
from aqr_eval.robustness.files import cell_from_dict, cell_to_dict
from aqr_train.inference import Inference
from aqr_train.robustness.plan import CLEAN_CELL, Trial

Identity = Mapping[str, str]


def identify(inference: Inference) -> Identity:
    """What the results of all cells depend on, by name; batch size, processes and device count as the same."""
    checkpoint = inference.checkpoint
    weights = checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint
    place = ("infos", "dataroot")  # where the files lie; the content of the infos counts
    return {
        "weights": sha256_of(weights),
        "model": _digest(inference.config["model"]),
        "test set": _digest({name: value for name, value in inference.entry.items() if name not in place}),
        "infos": sha256_of(inference.dataset.infos.path),
        "keyframes": str(len(inference.dataset)),
        "precision": inference.precision,
        "aqr_core": __version__,  # the failures and the model
    }


class CellFiles:
    """The files of a run.

    Args:
        folder: of the run.
        identity: see `identify`.
        seed: of the failures.
        with_submissions: a cell counts as there only if its submission is.
    """

    def __init__(self, folder: Path, identity: Identity, seed: int, with_submissions: bool = False) -> None:
        self._folder = folder
        self._identity = identity
        self._seed = seed
        self._with_submissions = with_submissions

    def submission(self, trial: Trial) -> Path:
        """Where its detections go."""
        return self._folder / "submissions" / f"{trial.name}.safetensors"

    def find(self, trial: Trial) -> tuple[CellResult | None, str]:
        """The result, or None and why what is there does not serve; '' where nothing is."""
        path = self._path(trial)
        if not path.is_file():
            return None, ""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            there, result = dict(content["identity"]), cell_from_dict(content["cell"])
        except (ValueError, TypeError, KeyError, AttributeError):
            return None, f"{path} is damaged"
        if (result.corruption, result.severity) != (trial.cell.name, trial.cell.severity):
            return None, f"{path} is of another cell"
        wanted = self._identity_of(trial)
        changed = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
        if changed:
            name = changed[0]
            return None, f"{name} was {_short(there.get(name))} and is {_short(wanted.get(name))}"
        if self._with_submissions and not self.submission(trial).is_file():
            return None, "its submission was not kept"
        return result, ""

    def write(self, trial: Trial, result: CellResult) -> None:
        """Whole or not at all."""
        content = {"identity": dict(self._identity_of(trial)), "cell": cell_to_dict(result)}
        path = self._path(trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def _path(self, trial: Trial) -> Path:
        return self._folder / "cells" / f"{trial.name}.json"

    def _identity_of(self, trial: Trial) -> Identity:
        if trial.cell is CLEAN_CELL:
            return self._identity
        steps = _canonical([dict(step) for step in trial.cell.steps])
        return {**self._identity, "seed": str(self._seed), "failure": steps}


def _canonical(value: Any) -> str:  # noqa: ANN401 - what configs hold
    return json.dumps(value, sort_keys=True, default=str)


def _digest(value: Any) -> str:  # noqa: ANN401 - what configs hold
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _short(text: str | None) -> str:
    """A checksum needs no more than its beginning."""
    return "nothing" if text is None else text[:12] + "..." if len(text) > 60 else text
