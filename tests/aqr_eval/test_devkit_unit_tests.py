"""The devkit's own unit tests of its metric, run on our functions in the place of its own."""

from __future__ import annotations

import math
import os
import unittest
from types import ModuleType

import numpy as np
import pytest

from aqr_eval import GroundTruth, Submission
from aqr_eval.boxes import ATTRIBUTE_INDEX, CLASS_INDEX, Boxes
from aqr_eval.config import DetectionConfig
from aqr_eval.curves import average_precision, mean_error, running_mean
from aqr_eval.evaluation import find_matches
from aqr_eval.match_errors import angle_difference
from aqr_eval.matches import match_boxes
from aqr_eval.nuscenes.errors import AqrError

FAR = {name: 1e6 for name in CLASS_INDEX}  # the tests call what comes behind the filter


def _boxes(eval_boxes) -> Boxes:
    """`EvalBoxes` of the devkit, sample by sample in its order."""
    found = [(index, box) for index, token in enumerate(eval_boxes.sample_tokens) for box in eval_boxes[token]]
    numbers = [(*b.translation, *b.size, *b.rotation, *b.velocity, b.detection_score, 1) for _, b in found]
    return Boxes.from_numbers(
        [index for index, _ in found],
        [CLASS_INDEX[box.detection_name] for _, box in found],
        [ATTRIBUTE_INDEX[box.attribute_name] for _, box in found],
        numbers,
    )


class OurAlgorithms:
    """Our functions under the devkit's names and signatures."""

    @staticmethod
    def accumulate(gt_boxes, pred_boxes, class_name, dist_fcn, dist_th, verbose=False):
        from nuscenes.eval.detection.data_classes import DetectionMetricData

        tokens = tuple(dict.fromkeys([*gt_boxes.sample_tokens, *pred_boxes.sample_tokens]))
        assert set(gt_boxes.sample_tokens) == set(pred_boxes.sample_tokens) and dist_fcn.__name__ == "center_distance"
        truth = GroundTruth(tokens, np.zeros((len(tokens), 3)), _boxes(gt_boxes), Boxes.concatenate([]))
        config = DetectionConfig(class_range=FAR, dist_ths=(dist_th,), dist_th_tp=dist_th)
        curve = match_boxes(truth, _boxes(pred_boxes), config).curves()[class_name, dist_th]
        fields = ("recall", "precision", "confidence", "trans_err", "vel_err", "scale_err", "orient_err", "attr_err")
        return DetectionMetricData(**{field: getattr(curve, field) for field in fields})

    @staticmethod
    def calc_ap(md, min_recall, min_precision):
        try:
            config = DetectionConfig(min_recall=min_recall, min_precision=min_precision)
        except AqrError as error:
            raise AssertionError from error
        return average_precision(md, config.min_recall, config.min_precision)

    @staticmethod
    def calc_tp(md, min_recall, metric_name):
        return mean_error(md, metric_name, min_recall)


def _errors_of_a_match(gt_box, pred_box):
    """The five errors of two boxes, moved onto one another for all but the distance."""
    columns = []
    for box in (gt_box, pred_box):
        size = [side if math.isfinite(side) else 1.0 for side in box.size] if any(box.size) else [1.0] * 3
        velocity, place = np.nan_to_num(box.velocity), np.array(box.translation) / 1e3  # always within the threshold
        numbers = (*place, *size, *box.rotation, *velocity, 0.5, 1)
        columns.append(Boxes.from_numbers([0], [CLASS_INDEX["car"]], [ATTRIBUTE_INDEX[box.attribute_name]], numbers))
    truth = GroundTruth(("t",), np.zeros((1, 3)), columns[0], Boxes.concatenate([]))
    try:
        matches = find_matches(truth, Submission(("t",), columns[1], {}))
    except AqrError as error:
        raise AssertionError from error
    return {name: float(values[0]) for name, values in matches.errors[2.0].items()}


class OurErrors:
    """The same for the errors of one match."""

    @staticmethod
    def scale_iou(sample_annotation, sample_result):
        return 1 - _errors_of_a_match(sample_annotation, sample_result)["scale_err"]

    @staticmethod
    def yaw_diff(gt_box, eval_box, period=2 * np.pi):
        assert period == 2 * np.pi
        return _errors_of_a_match(gt_box, eval_box)["orient_err"]

    @staticmethod
    def angle_diff(x, y, period):
        return float(angle_difference(np.array([x]), np.array([y]), period)[0])

    @staticmethod
    def center_distance(gt_box, pred_box):
        return _errors_of_a_match(gt_box, pred_box)["trans_err"] * 1e3

    @staticmethod
    def velocity_l2(gt_box, pred_box):
        return _errors_of_a_match(gt_box, pred_box)["vel_err"]

    @staticmethod
    def cummean(x):
        return running_mean(np.asarray(x, float))

    @staticmethod
    def attr_acc(gt_box, pred_box):
        error = _errors_of_a_match(gt_box, pred_box)["attr_err"]
        return np.nan if math.isnan(error) else 1 - error


def _import(name: str) -> ModuleType:
    try:
        return __import__(f"nuscenes.eval.detection.tests.{name}", fromlist=["tests"])
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the nuScenes devkit is not installed ({error})")


@pytest.mark.parametrize(("module", "ours", "count"), [("test_algo", OurAlgorithms, 10), ("test_utils", OurErrors, 7)])
def test_pass_on_our_functions(monkeypatch, module, ours, count):
    tests = _import(module)
    for name in (name for name in vars(ours) if not name.startswith("_")):
        assert hasattr(tests, name)
        monkeypatch.setattr(tests, name, getattr(ours, name))
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(tests).run(result)
    assert result.testsRun == count and not result.skipped
    assert [text for _, text in (*result.failures, *result.errors)] == []
