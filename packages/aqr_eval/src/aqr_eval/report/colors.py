"""Colours of classes, submissions and heights; chosen to read on photographs, on white and on near-black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_eval.nuscenes.classes import DETECTION_CLASSES

CLASS_COLORS: dict[str, str] = {
    "car": "#ff9f1c",
    "truck": "#f25c54",
    "construction_vehicle": "#b5835a",
    "bus": "#e0529c",
    "trailer": "#a06cf0",
    "barrier": "#8896ab",
    "motorcycle": "#12b5b0",
    "bicycle": "#52b045",
    "pedestrian": "#3a8dff",
    "traffic_cone": "#d9b310",
}

SUBMISSION_COLORS: tuple[str, ...] = ("#2f6fed", "#e8590c", "#0ca678", "#9c36b5", "#c2255c", "#64748b")

# Height above ground in metres -> colour of a LiDAR point; linear in between, constant outside.
HEIGHT_STOPS: tuple[tuple[float, str], ...] = (
    (0.0, "#94a3b8"),
    (0.5, "#5b8def"),
    (1.5, "#16a394"),
    (2.5, "#d99a00"),
    (4.0, "#d9480f"),
)


def class_index(name: str) -> int:
    """Position of a detection class; the style sheet names its colour `--class-<index>`."""
    return DETECTION_CLASSES.index(name)


def height_colors(height_m: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(P,) heights above ground in metres -> (P, 3) RGB."""
    levels = np.array([level for level, _ in HEIGHT_STOPS])
    table = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for _, color in HEIGHT_STOPS], dtype=float)
    return np.stack([np.interp(height_m, levels, table[:, i]) for i in range(3)], axis=-1).round().astype(np.uint8)


def css_variables() -> str:
    """All colours as custom properties of the page."""
    classes = (f"--class-{class_index(name)}:{color}" for name, color in CLASS_COLORS.items())
    submissions = (f"--submission-{i}:{color}" for i, color in enumerate(SUBMISSION_COLORS))
    return ":root{" + ";".join((*classes, *submissions)) + "}"
