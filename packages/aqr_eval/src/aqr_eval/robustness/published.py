"""What others have published under MultiCorrupt: their models, full-size, on nuScenes val, by their protocol.

Source: MultiCorrupt (arXiv 2402.11677), github.com/ika-rwth-aachen/MultiCorrupt at 6cd6225, evaluations_nds.csv: NDS in
per cent to one digit, ten corruptions in severities 1, 2, 3. There is no mAP.
"""

from __future__ import annotations

import math

from aqr_eval.robustness.run import CLEAN, CellResult, RobustnessRun

_CORRUPTIONS = (
    "beam_reduction",
    "points_reduction",
    "fog",
    "snow",
    "motion_blur",
    "spatial_misalignment",
    "temporal_misalignment",
    "missing_camera",
    "brightness",
    "darkness",
)
# Model -> NDS clean, then severities 1/2/3 of each corruption.
_NDS_PER_CENT = {
    "BEVFusion": (
        "71.4 64.0/49.0/32.0 66.8/63.8/56.3 65.5/59.8/35.8 57.8/55.7/52.3 68.6/62.2/54.8 59.0/49.4/42.7 "
        "63.4/54.7/40.8 70.4/69.6/68.7 69.7/69.1/68.5 69.9/69.1/68.6"
    ),
    "CMT": (
        "72.9 68.3/58.7/45.0 70.1/68.3/63.8 69.7/65.3/41.3 64.8/61.9/55.5 68.9/61.5/53.6 64.6/58.6/53.7 "
        "65.7/56.8/49.9 71.8/71.1/70.1 70.4/68.5/66.0 70.5/69.0/67.9"
    ),
    "MEFormer": (
        "73.9 68.8/58.4/42.0 70.8/68.6/64.1 69.8/64.2/41.1 66.2/62.9/55.6 70.1/62.0/52.8 64.9/58.7/52.7 "
        "66.6/57.6/50.1 71.3/69.5/67.6 71.4/69.8/67.9 71.5/70.1/69.2"
    ),
    "MoME": (
        "73.5 68.5/57.5/40.8 70.5/68.4/63.7 69.6/64.1/40.2 66.0/62.7/55.2 69.8/61.8/52.7 64.3/57.8/51.7 "
        "66.2/57.3/50.0 71.7/70.6/69.9 71.1/69.5/67.5 71.0/69.5/68.5"
    ),
}


def _run(model: str, text: str) -> RobustnessRun:
    clean, *groups = text.split()
    cells = [
        CellResult(name, severity, float(nds) / 100, math.nan)
        for name, group in zip(_CORRUPTIONS, groups, strict=True)
        for severity, nds in enumerate(group.split("/"), start=1)
    ]
    return RobustnessRun(model, "multicorrupt", CellResult(CLEAN, 0, float(clean) / 100, math.nan), tuple(cells))


PUBLISHED = {model: _run(model, text) for model, text in _NDS_PER_CENT.items()}
NOTE = "Published by others (full-size models, nuScenes val, their protocol): not to be compared with runs of your own"
