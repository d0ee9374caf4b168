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

from aqr_core.data.database.write_mmdet3d import write_mmdet3d_database
from aqr_core.data.files import find_sensor_file
from aqr_core.errors import ConfigError
from aqr_core.infos import Info
from aqr_core.infos.write_mmdet3d import info_to_mmdet3d
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_train.benchmarks.loader_data import LoaderData
from aqr_train.benchmarks.loader_rounds import Round

DATABASE = "nuscenes_dbinfos_train.pkl"
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
            write_mmdet3d_database(database, folder / DATABASE)
        job = {
            "records": records,
            "classes": list(DETECTION_CLASSES),
            "database": None if database is None else str(folder / DATABASE),
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
                f"{self._python} cannot be run ({error}); give the interpreter of `make mmdet3d`."
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
                f"The mmdet3d side ended under {self._python} ({lines[-1]}); give the interpreter of `make mmdet3d`."
            )
        told = json.loads(answer)
        return Round(told["seconds"], told["total"], len(self._data.indices), told["points"])


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "the process was started with pipes"
    return pipe


def record_of(info: Info, dataroot: Path) -> dict[str, Any]:
    """A keyframe as mmdet3d's dataset hands it to the pipeline: paths found, boxes by their gravity centre."""

    def find(relative: str) -> str:
        return str(find_sensor_file(dataroot, relative).absolute())

    record = info_to_mmdet3d(info, 0, DETECTION_CLASSES)
    record["lidar_points"]["lidar_path"] = find(info.lidar.path)
    for sweep, theirs in zip(info.sweeps, record.setdefault("lidar_sweeps", []), strict=True):
        theirs["lidar_points"]["lidar_path"] = find(sweep.path)
    for channel, camera in info.cameras.items():
        record["images"][channel]["img_path"] = find(camera.path)
    kept = info.gt.num_lidar_pts > 0
    record["ann_info"] = {
        "gt_bboxes_3d": np.nan_to_num(info.gt.boxes[kept], nan=0.0).astype(np.float32),
        "gt_labels_3d": info.gt.labels[kept],
    }
    return record
