"""Score a dataset's detections with the nuScenes metric."""

from __future__ import annotations

import logging
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from aqr_eval import DetectionMetrics, Submission, evaluate
from aqr_train.heartbeat import Heartbeat
from aqr_train.loader import Collate
from aqr_train.prediction import PosedSource, predict
from aqr_train.results import write_results
from aqr_train.truth import ground_truth_of

logger = logging.getLogger(__name__)


def score(submission: Submission, dataset: PosedSource) -> DetectionMetrics:
    """The metrics of detections on the split that the dataset's infos were made from."""
    return evaluate(ground_truth_of(dataset.infos, dataset.dataroot), submission)


class DatasetEvaluation:
    """Predict, write the results files, score; the function that the evaluator callback is given.

    Args:
        dataset: validation set in test mode.
        collate, accelerator, batch_size, num_workers, precision: how it is run.
    """

    def __init__(
        self,
        dataset: PosedSource,
        collate: Collate,
        accelerator: Accelerator,
        *,
        batch_size: int,
        num_workers: int,
        precision: str = "fp32",
    ) -> None:
        self.dataset = dataset
        self._collate = collate
        self._accelerator = accelerator
        self._batch_size = batch_size
        self._num_workers = num_workers
        self._precision = precision

    def __call__(self, model: nn.Module, folder: Path) -> dict[str, float]:
        """mAP, NDS, the five errors and AP per class, the same on every process."""
        submission = predict(
            model,
            self.dataset,
            self._collate,
            self._accelerator,
            batch_size=self._batch_size,
            num_workers=self._num_workers,
            precision=self._precision,
            progress=Heartbeat(logger.info, "validation", "keyframes"),
        )
        shared: list[dict[str, float]] = [{}]
        if submission is not None:
            write_results(folder, submission)
            shared = [metric_scalars(score(submission, self.dataset))]
        broadcast_object_list(shared)
        return shared[0]


def metric_scalars(metrics: DetectionMetrics) -> dict[str, float]:
    """Flat names for logs: `mAP`, `NDS`, `mAP_present` (classes with true boxes), `mATE` ... `mAAE`, `AP/<class>`."""
    short = {
        "trans_err": "mATE",
        "scale_err": "mASE",
        "orient_err": "mAOE",
        "vel_err": "mAVE",
        "attr_err": "mAAE",
    }
    scalars = {"mAP": float(metrics.mean_ap), "NDS": float(metrics.nd_score)}
    scalars["mAP_present"] = float(metrics.mean_ap_present)
    scalars |= {short[name]: float(value) for name, value in metrics.tp_errors.items()}
    return scalars | {f"AP/{name}": float(value) for name, value in metrics.mean_dist_aps.items()}
