"""Memory and time of `NuScenesTables` on tables of the size of v1.0-trainval, generated into a temporary folder.

    python packages/aqr_eval/benchmarks/tables_memory.py [--scale 1.0] [--folder DIR]

Writes about 3 GB at scale 1 and removes it afterwards. The row counts are those of v1.0-trainval: 850
scenes, 34,149 samples, 2,631,083 rows of sample_data and as many of ego_pose, 1,166,187 annotations.
The loading runs in a process of its own, whose peak resident memory is the figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from aqr_eval.nuscenes.classes import CAMERAS, LIDAR
from aqr_eval.nuscenes.tables import NuScenesTables

VERSION = "v1.0-trainval"
SCENES, SAMPLES, SENSOR_ROWS, ANNOTATIONS, INSTANCES = 850, 34_149, 2_631_083, 1_166_187, 64_386
RADARS = ("RADAR_FRONT", "RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT", "RADAR_BACK_LEFT", "RADAR_BACK_RIGHT")
ROWS_PER_SCENE = {LIDAR: 391, **dict.fromkeys(CAMERAS, 240), **dict.fromkeys(RADARS, 253)}
START_US, SCENE_US, KEYFRAME_US = 1_532_402_900_000_000, 60_000_000, 500_000


def main() -> None:
    """Generates the tables, measures in a child process and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 850 scenes to generate")
    parser.add_argument("--folder", type=Path, help="where to put the temporary folder")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        _measure(args.measure)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        start = time.perf_counter()
        _generate(Path(folder) / VERSION, max(1, round(SCENES * args.scale)))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.json"))
        Console().print(f"tables generated: {size / 1e9:.2f} GB of JSON in {time.perf_counter() - start:.0f} s")
        subprocess.run([sys.executable, __file__, "--measure", folder], check=True)


def _measure(dataroot: Path) -> None:
    console, start = Console(), time.perf_counter()

    def report(step: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds = f"{time.perf_counter() - start:6.1f} s wall {time.process_time():6.1f} s CPU"
        console.print(f"{step:<44} {seconds} {peak:6.0f} MiB peak", highlight=False, soft_wrap=True)

    report("start")
    tables = NuScenesTables(dataroot, VERSION)
    report(f"{len(tables.scene_names)} scenes, {len(tables.sample_tokens)} samples")
    report(f"{len(tables.sensors.filename)} LiDAR files and camera keyframes")
    report(f"{len(tables.annotations.token)} annotations")
    frames = boxes = 0
    for keyframe in tables.keyframes(tables.scene_names):
        frames += 1 + len(keyframe.sweeps) + len(keyframe.cameras)
        boxes += len(keyframe.annotations)
    report(f"all keyframes: {frames} frames, {boxes} boxes")


def _generate(folder: Path, scenes: int) -> None:
    folder.mkdir(parents=True)
    channels = list(ROWS_PER_SCENE)
    unit = [0.5720320396729045, -0.0016977771610471074, 0.011798001930183783, -0.8201446642457809]
    empty = {"description": "Of no matter to the memory."}
    _write(folder, "category", [{"token": _token("ca", 0), "name": "vehicle.car"} | empty])
    _write(folder, "attribute", [{"token": _token("at", 0), "name": "vehicle.moving"} | empty])
    _write(folder, "visibility", [{"token": "4", "level": "v80-100"} | empty])
    _write(folder, "log", [{"token": _token("10", 0), "logfile": "", "location": ""}])
    _write(folder, "map", [{"token": _token("3a", 0), "log_tokens": [_token("10", 0)], "filename": "maps/none.png"}])
    _write(folder, "scene", ({"token": _token("5c", i), "name": f"scene-{i + 1:04d}"} | empty for i in range(scenes)))
    _write(folder, "sensor", ({"token": _token("5e", i), "channel": c, "modality": ""} for i, c in enumerate(channels)))
    _write(
        folder,
        "calibrated_sensor",
        (
            {
                "token": _token("c5", scene * len(channels) + i),
                "sensor_token": _token("5e", i),
                "translation": [1.70079118954, 0.0159456324149, 1.51095763913],
                "rotation": unit,
                "camera_intrinsic": [[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]] if channel in CAMERAS else [],
            }
            for scene in range(scenes)
            for i, channel in enumerate(channels)
        ),
    )
    _write(folder, "sample", (_sample(scene, i) for scene in range(scenes) for i in range(_keyframes(scene))))
    _write(folder, "sample_data", _sensor_rows(scenes, channels))
    _write(
        folder,
        "ego_pose",
        (
            {
                "token": row["token"],
                "timestamp": row["timestamp"],
                "rotation": unit,
                "translation": [411.3039349319818, 1180.8903791765097 + i % 1000, 0.0],
            }
            for i, row in enumerate(_sensor_rows(scenes, channels))
        ),
    )
    instances = [i for i in range(INSTANCES) if i % SCENES < scenes]
    _write(
        folder,
        "instance",
        ({"token": _token("15", i), "category_token": _token("ca", 0), "nbr_annotations": 18} for i in instances),
    )
    _write(folder, "sample_annotation", (row for i in instances for row in _track(i)))


def _keyframes(scene: int) -> int:
    return 40 + (scene < SAMPLES - 40 * SCENES)


def _sample(scene: int, i: int) -> dict[str, Any]:
    return {
        "token": _sample_token(scene, i),
        "timestamp": START_US + scene * SCENE_US + i * KEYFRAME_US,
        "prev": _sample_token(scene, i - 1) if i else "",
        "next": _sample_token(scene, i + 1) if i + 1 < _keyframes(scene) else "",
        "scene_token": _token("5c", scene),
    }


def _sensor_rows(scenes: int, channels: list[str]) -> Iterator[dict[str, Any]]:
    surplus = SCENES * sum(ROWS_PER_SCENE.values()) - SENSOR_ROWS  # so many scenes have one radar row less
    number = 0
    for scene in range(scenes):
        last_us = (_keyframes(scene) - 1) * KEYFRAME_US
        for column, channel in enumerate(channels):
            count = ROWS_PER_SCENE[channel] - (channel == RADARS[-1] and scene < surplus)
            keyframe_rows = {round(k * (count - 1) / (_keyframes(scene) - 1)): k for k in range(_keyframes(scene))}
            for i in range(count):
                time_us = START_US + scene * SCENE_US + round(i * last_us / (count - 1))
                keyframe = keyframe_rows.get(i)
                folder = "sweeps" if keyframe is None else "samples"
                nearest = min(-(-i * (_keyframes(scene) - 1) // (count - 1)), _keyframes(scene) - 1)
                yield {
                    "token": _token("5d", number),
                    "sample_token": _sample_token(scene, nearest if keyframe is None else keyframe),
                    "ego_pose_token": _token("5d", number),
                    "calibrated_sensor_token": _token("c5", scene * len(channels) + column),
                    "timestamp": time_us,
                    "fileformat": "jpg" if channel in CAMERAS else "pcd",
                    "is_key_frame": keyframe is not None,
                    "height": 900 if channel in CAMERAS else 0,
                    "width": 1600 if channel in CAMERAS else 0,
                    "filename": f"{folder}/{channel}/n015-2018-07-24-11-22-45+0800__{channel}__{time_us}.pcd.bin",
                    "prev": _token("5d", number - 1) if i else "",
                    "next": _token("5d", number + 1) if i + 1 < count else "",
                }
                number += 1


def _track(instance: int) -> Iterator[dict[str, Any]]:
    length = ANNOTATIONS // INSTANCES + (instance < ANNOTATIONS % INSTANCES)
    scene, first = instance % SCENES, (instance // SCENES) % 20
    for i in range(length):
        yield {
            "token": _token("a0", instance * 100 + i),
            "sample_token": _sample_token(scene, first + i),
            "instance_token": _token("15", instance),
            "visibility_token": "4",
            "attribute_tokens": [_token("at", 0)],
            "translation": [373.214 + i, 1130.48 + instance % 100, 1.25],
            "size": [0.621, 0.669, 1.642],
            "rotation": [0.9831098797903927, 0.0, 0.0, -0.18301629506281616],
            "prev": _token("a0", instance * 100 + i - 1) if i else "",
            "next": _token("a0", instance * 100 + i + 1) if i + 1 < length else "",
            "num_lidar_pts": 5,
            "num_radar_pts": 0,
        }


def _token(table: str, number: int) -> str:
    return f"{table}{number:030x}"


def _sample_token(scene: int, i: int) -> str:
    return _token("5a", scene * 100 + i)


def _write(folder: Path, table: str, rows: Iterable[dict[str, Any]]) -> None:
    with (folder / f"{table}.json").open("w") as file:
        file.write("[\n")
        for number, row in enumerate(rows):
            file.write((",\n" if number else "") + json.dumps(row, indent=0))
        file.write("\n]\n")


if __name__ == "__main__":
    main()
