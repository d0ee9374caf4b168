"""Steps of the images."""

from __future__ import annotations

from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.ledger import Outcome
from aqr_train.config_conversion.surroundings import Steps, Surroundings, taken


def resize(step: Fields, around: Surroundings) -> Steps:
    """Images are scaled, cropped and mirrored."""
    settings = step.child("data_aug_conf")
    image = {name: settings.keep(name) for name in ("final_dim", "resize_lim", "rand_flip") if name in settings}
    settings.fixed("bot_pct_lim", [0, 0], why="the crop lies at the bottom")
    settings.fixed("rot_lim", [0, 0], why="images are not rotated")
    for name in ("H", "W"):
        settings.drop(name, "the size of the image is read from it")
    step.fixed("pic_wise", False, why="the six images are cropped alike")
    return [{"type": step.keep("type"), "data_aug_conf": image, "training": step.keep("training", True)}]


def normalise(step: Fields, around: Surroundings) -> Steps:
    """Pixels become numbers around 0."""
    if "to_rgb" in step:
        step.fixed("to_rgb", False, why="images stay BGR")
    else:
        why = "upstream's default; images stay BGR, and nothing else"
        step.ledger.record((*step.path, "to_rgb"), Outcome.DIFFERENCE, True, why=why)
    return [{"type": step.keep("type"), **taken(step, {"mean": (), "std": ()})}]


def pad(step: Fields, around: Surroundings) -> Steps:
    """Images grow to a multiple."""
    step.fixed("size", None, why="images are padded to a multiple")
    step.fixed("pad_val", 0, why="with zeros")
    return [{"type": step.keep("type"), **taken(step, {"size_divisor": 0})}]
