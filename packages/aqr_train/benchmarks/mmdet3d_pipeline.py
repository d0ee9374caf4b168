"""The 800x320 train pipeline of CMT built of mmdet3d 1.4 transforms, timed; the other side of `aqr benchmark loader`.

Runs in an environment that holds mmdet3d (`make mmdet3d`) and knows nothing of this workspace. It is started with
a job file, the pickle of `{"records", "classes", "database"}`, and then, for every line on its standard input, makes
one sample of every record and answers with a line of JSON: CPU seconds per part, and the points of the last sample.

Where mmdet3d leaves a choice, it is the cheaper one: images stay uint8 until they are normalised, close points are
kept, nothing is padded before the last step. Objects are pasted into points alone, for mmdet3d has no transform that
pastes them into six images.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# mmdet3d and its dependencies print to standard output, which here belongs to the answers.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmdet3d.registry import MODELS, TRANSFORMS  # noqa: E402
from mmdet3d.structures import Box3DMode, LiDARInstance3DBoxes  # noqa: E402
from mmdet3d.utils import register_all_modules  # noqa: E402

RANGE = [-54.0, -54.0, -5.0, 54.0, 54.0, 3.0]
HEIGHT, WIDTH = 320, 800
SAMPLE_GROUPS = dict(
    car=2,
    truck=3,
    construction_vehicle=7,
    bus=4,
    trailer=6,
    barrier=2,
    motorcycle=6,
    bicycle=6,
    pedestrian=2,
    traffic_cone=2,
)


def pipeline(classes: list[str], database: str | None) -> list[dict[str, Any]]:
    """Configs of the transforms, in CMT's order."""
    load_objects = dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5)
    objects = dict(
        type="ObjectSample",
        db_sampler=dict(
            data_root=os.path.dirname(database) if database else None,
            info_path=database,
            rate=1.0,
            prepare=dict(filter_by_difficulty=[-1], filter_by_min_points={name: 5 for name in classes}),
            sample_groups=SAMPLE_GROUPS,
            classes=classes,
            points_loader=load_objects,
        ),
    )
    one_image = [
        dict(type="RandomResize3D", scale=(1600, 900), ratio_range=(0.47, 0.625), keep_ratio=True),
        dict(type="mmdet.RandomCrop", crop_size=(WIDTH, HEIGHT)),
        dict(type="Pad", size=(WIDTH, HEIGHT)),
        dict(type="mmcv.RandomFlip", prob=0.5),
    ]
    return [
        dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5),
        dict(type="LoadPointsFromMultiSweeps", sweeps_num=10, load_dim=5, use_dim=[0, 1, 2, 3, 4]),
        dict(type="LoadMultiViewImageFromFiles", color_type="color", num_views=6),
        dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True),
        *([objects] if database else []),
        dict(
            type="GlobalRotScaleTrans",
            rot_range=[-0.785, 0.785],
            scale_ratio_range=[0.9, 1.1],
            translation_std=[0.5, 0.5, 0.5],
        ),
        dict(type="RandomFlip3D", sync_2d=False, flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5),
        dict(type="PointsRangeFilter", point_cloud_range=RANGE),
        dict(type="ObjectRangeFilter", point_cloud_range=RANGE),
        dict(type="ObjectNameFilter", classes=classes),
        dict(type="PointShuffle"),
        dict(type="MultiViewWrapper", transforms=one_image),
        dict(type="Pack3DDetInputs", keys=["points", "img", "gt_bboxes_3d", "gt_labels_3d"]),
    ]


def with_boxes(record: dict[str, Any]) -> bytes:
    """A record as `Det3DDataset` keeps it: annotations parsed, pickled."""
    annotation = record["ann_info"]
    boxes = LiDARInstance3DBoxes(annotation["gt_bboxes_3d"], box_dim=9, origin=(0.5, 0.5, 0.5))
    return pickle.dumps({**record, "ann_info": {**annotation, "gt_bboxes_3d": boxes}})


class Rounds:
    """Makes all samples of a job, again and again."""

    def __init__(self, job: dict[str, Any]) -> None:
        register_all_modules()
        self.records = [with_boxes(record) for record in job["records"]]
        configs = pipeline(job["classes"], job["database"])
        self.transforms = [(config["type"], TRANSFORMS.build(config)) for config in configs]
        for name, transform in self.transforms:
            if name == "RandomFlip3D":
                # Beside the scene it would mirror `img`, which for six images is the list of them.
                transform.prob = 0.0
        # mmdet3d normalises and pads behind the loader, where a batch enters the model.
        self.preprocess: Callable[[dict[str, Any]], dict[str, Any]] = MODELS.build(
            dict(
                type="Det3DDataPreprocessor",
                mean=[103.530, 116.280, 123.675],
                std=[57.375, 57.120, 58.395],
                bgr_to_rgb=False,
                pad_size_divisor=32,
            )
        )

    def run(self) -> dict[str, Any]:
        """CPU seconds per part, summed over all records."""
        seconds: dict[str, float] = defaultdict(float)

        @contextmanager
        def part(name: str) -> Iterator[None]:
            started = time.process_time()
            yield
            seconds[name] += time.process_time() - started

        started = time.process_time()
        for record in self.records:
            with part("read infos"):
                results = pickle.loads(record)
                results.update(box_type_3d=LiDARInstance3DBoxes, box_mode_3d=Box3DMode.LIDAR)
            for name, transform in self.transforms:
                with part(name):
                    results = transform(results)
            with part("Det3DDataPreprocessor"):
                inputs = {name: [tensor] for name, tensor in results["inputs"].items()}
                batch = self.preprocess({"inputs": inputs, "data_samples": [results["data_samples"]]})
        total = time.process_time() - started
        points, images = batch["inputs"]["points"][0], batch["inputs"]["imgs"]
        assert images.shape == (1, 6, 3, HEIGHT, WIDTH), images.shape
        return {"seconds": seconds, "total": total, "points": len(points)}


def main() -> None:
    """Answer one line per line; see the module's docstring."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    np.random.seed(0)
    with open(sys.argv[1], "rb") as file:
        rounds = Rounds(pickle.load(file))
    for _ in sys.stdin:
        ANSWERS.write(json.dumps(rounds.run()) + "\n")
        ANSWERS.flush()


if __name__ == "__main__":
    main()
