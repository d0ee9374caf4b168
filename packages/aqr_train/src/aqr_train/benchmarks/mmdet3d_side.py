"""The same pipeline built of mmdet3d transforms, run in an environment that has them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from aqr_core.data.database import ObjectDatabase
from aqr_core.data.files import find_sensor_file
from aqr_core.errors import ConfigError
from aqr_core.infos import Info
from aqr_core.structures.boxes3d import gravity_to_bottom
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_train.benchmarks.loader_data import LoaderData
from aqr_train.benchmarks.loader_rounds import Round

_SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "mmdet3d_pipeline.py"


class Mmdet3dSide:
    """A process that makes the samples of `data` with mmdet3d when it is asked to; a context manager.

    Args:
        python: interpreter of an environment with mmdet3d 1.4.
        data: its keyframes and objects are handed over as mmdet3d's records.

    Raises:
        ConfigError: no checkout of the repository, no such interpreter, or it fails.
    """

    def __init__(self, python: Path, data: LoaderData) -> None:
        if not _SCRIPT.is_file():
            raise ConfigError(f"{_SCRIPT} is absent; compare with mmdet3d from a checkout of the repository.")
        self._python = python
        self._data = data
        self._folder = tempfile.TemporaryDirectory(prefix="aqr-mmdet3d-")

    def __enter__(self) -> Mmdet3dSide:
        folder = Path(self._folder.name)
        dataset, database = self._data.dataset, self._data.database
        records = [record_of(dataset.info(index), dataset.dataroot) for index in self._data.indices]
        if database is not None:
            write_database(database, folder)
        job = {
            "records": records,
            "classes": list(DETECTION_CLASSES),
            "database": None if database is None else str(folder),
        }
        (folder / "job.pkl").write_bytes(pickle.dumps(job))
        self._log = (folder / "log.txt").open("wb")
        try:
            self._process = subprocess.Popen(
                [self._python, _SCRIPT, folder / "job.pkl"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                text=True,
            )
        except OSError as error:
            self._folder.cleanup()
            raise ConfigError(
                f"{self._python} cannot be run ({error}); give the interpreter of `make setup-mmdet3d`."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def run_round(self) -> Round:
        """Every sample once, on that side.

        Raises:
            ConfigError: the process ended; names its last line.
        """
        answer = ""
        try:
            _pipe(self._process.stdin).write("round\n")
            _pipe(self._process.stdin).flush()
            answer = _pipe(self._process.stdout).readline()
        except BrokenPipeError:
            pass  # it has ended, as an empty answer says too
        if not answer:
            self._process.wait()
            lines = Path(self._log.name).read_text(errors="replace").strip().splitlines() or ["no output"]
            raise ConfigError(
                f"The mmdet3d side ended under {self._python} ({lines[-1]}); give the interpreter of "
                "`make setup-mmdet3d`."
            )
        told = json.loads(answer)
        return Round(told["seconds"], told["total"], len(self._data.indices), told["points"])


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "the process was started with pipes"
    return pipe


def record_of(info: Info, dataroot: Path) -> dict[str, Any]:
    """A keyframe as mmdet3d's dataset hands it to the pipeline; boxes by their gravity centre."""

    def find(relative: str) -> str:
        return str(find_sensor_file(dataroot, relative).absolute())

    kept = info.gt.num_lidar_pts > 0
    return {
        "sample_idx": info.token,
        "timestamp": info.timestamp,
        "lidar_points": {"lidar_path": find(info.lidar.path), "num_pts_feats": info.lidar.num_features},
        "lidar_sweeps": [
            {
                "timestamp": info.timestamp - sweep.age,
                # mmdet3d moves points by `p @ R - t` with this matrix, which is neither direction of a pose.
                "lidar_points": {"lidar_path": find(sweep.path), "lidar2sensor": _for_row_points(sweep.sweep2lidar)},
            }
            for sweep in info.sweeps
        ],
        "images": {
            channel: {
                "img_path": find(camera.path),
                "cam2img": camera.cam2img.tolist(),
                "lidar2cam": camera.lidar2cam.tolist(),
            }
            for channel, camera in info.cameras.items()
        },
        "ann_info": {
            "gt_bboxes_3d": np.nan_to_num(info.gt.boxes[kept], nan=0.0).astype(np.float32),
            "gt_labels_3d": info.gt.labels[kept],
        },
    }


def _for_row_points(sweep2lidar: np.ndarray) -> list[list[float]]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = sweep2lidar[:3, :3].T, -sweep2lidar[:3, 3]
    records: list[list[float]] = matrix.tolist()
    return records


def write_database(database: ObjectDatabase, folder: Path) -> None:
    """`dbinfos.pkl` and a point file per object, as mmdet3d's tool writes them: bottom centres."""
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in database.classes}
    boxes = np.nan_to_num(gravity_to_bottom(database.boxes), nan=0.0).astype(np.float32)
    for i, box in enumerate(boxes):
        points = database.points(i)
        points[:, 2] += box[5] / 2
        points.tofile(folder / f"{i}.bin")
        records[database.classes[database.labels[i]]].append(
            {
                "name": database.classes[database.labels[i]],
                "path": f"{i}.bin",
                "box3d_lidar": box,
                "num_points_in_gt": int(database.num_points[i]),
                "difficulty": int(database.difficulty[i]),
            }
        )
    (folder / "dbinfos.pkl").write_bytes(pickle.dumps(records))
