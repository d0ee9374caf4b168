"""`aqr show weights`: one picture per keyframe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from aqr_core.errors import ConfigError
from aqr_train.cli.arguments import add_model_options, add_split, add_without
from aqr_train.cli.progress import Bars

SUMMARY = "query weights and bias windows of a checkpoint over bird's-eye view and images"
DEFAULT_COUNT = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the kind."""
    add_model_options(parser)
    add_split(parser)
    parser.set_defaults(batch_size=1, num_workers=0, precision=None)  # one keyframe at a time, read in this process
    add_without(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--sample", nargs="+", metavar="TOKEN", help="keyframes by token")
    which.add_argument(
        "--frame",
        nargs="+",
        type=int,
        metavar="I",
        help=f"keyframes by position in the split; by default {DEFAULT_COUNT}, spread evenly",
    )
    parser.add_argument(
        "--queries", nargs="+", type=int, metavar="Q", help="draw the windows of these; by default of the five best"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the files frame_<position>.png")


def run(arguments: argparse.Namespace) -> int:
    """Draw the pictures and say where they lie."""
    from aqr_core.data import collate
    from aqr_train.inference import open_run
    from aqr_train.pictures.figure import draw_weights, write_png
    from aqr_train.pictures.scene import ScenePixels, has_weights, look
    from aqr_train.routing.matching import annotated

    if arguments.out.is_file():
        raise ConfigError(f"--out {arguments.out} is a file; name a folder for the pictures.")
    inference = open_run(arguments)
    model: Any = inference.model
    dataset = inference.dataset
    if not has_weights(model):
        raise ConfigError(
            f"The model of {arguments.checkpoint} has no AQR weights to show; give a checkpoint of AQR v1, v2 or v3."
        )
    frames = _frames(arguments, dataset)
    _check_queries(arguments.queries, model.pts_bbox_head.num_query)
    if not inference.is_main:
        return 0
    pixels = ScenePixels.of(dataset)
    note = f", without {arguments.without}" if arguments.without else ""
    written = []
    with Bars("keyframes") as bars:
        for done, frame in enumerate(frames, 1):
            batch = collate([dataset[frame]]).to(inference.accelerator.device)
            boxes, _ = annotated(dataset.info(frame), dataset.infos.header.classes, dataset.classes)
            with inference.autocast():
                scene = look(model, batch, pixels, true_boxes=boxes.double().numpy())
            path = arguments.out / f"frame_{frame:04d}.png"
            write_png(path, draw_weights(scene, arguments.queries, note))
            written.append(path)
            bars.show("draw", done, len(frames))
    console = Console()
    for path in written:
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


def _frames(arguments: argparse.Namespace, dataset: Any) -> list[int]:  # noqa: ANN401 - the config's dataset
    """Positions in the split."""
    count = len(dataset)
    if arguments.sample:
        position = {dataset.info(index).token: index for index in range(count)}
        unknown = [token for token in arguments.sample if token not in position]
        if unknown:
            raise ConfigError(
                f"Sample {unknown[0]!r} is not in {dataset.infos.path}; give tokens of this split, or another --split."
            )
        return [position[token] for token in arguments.sample]
    if arguments.frame:
        beyond = [frame for frame in arguments.frame if not 0 <= frame < count]
        if beyond:
            raise ConfigError(
                f"--frame {beyond[0]} is not in {dataset.infos.path}, which has the keyframes 0 to {count - 1}."
            )
        return list(arguments.frame)
    shown = min(DEFAULT_COUNT, count)
    return [(2 * i + 1) * count // (2 * shown) for i in range(shown)]


def _check_queries(queries: Sequence[int] | None, count: int) -> None:
    beyond = [query for query in queries or () if not 0 <= query < count]
    if beyond:
        raise ConfigError(f"--queries {beyond[0]} is no query of this model; it has the queries 0 to {count - 1}.")
