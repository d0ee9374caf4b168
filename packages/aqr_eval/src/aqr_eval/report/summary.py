"""The two score tables as parts of the report; the page has them in a form of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aqr_eval.metrics import DetectionMetrics
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.report.tables import TP_HEADINGS, class_table, headline_table, number

_CLASSES_LEAD = (
    "AP is the mean over the four distances within which a prediction may match a true box. The errors are those of "
    "the matches within 2 m: translation (ATE, m), scale (ASE, 1 − IoU), orientation (AOE, rad), velocity (AVE, m/s) "
    "and attribute (AAE, 1 − accuracy); a dash marks what the benchmark does not define."
)


def summary_part(metrics: Mapping[str, DetectionMetrics], left_out: Sequence[str]) -> Part:
    """mAP, NDS and the mean errors, below what the report had to leave out."""
    head = ["Submission", "mAP", "NDS", *(f"m{name}" for name, _ in TP_HEADINGS.values())]
    rows = [
        [name, *(number(value, 4) for value in (one.mean_ap, one.nd_score, *(one.tp_errors[e] for e in TP_HEADINGS)))]
        for name, one in metrics.items()
    ]
    return Part("", " ".join(left_out), tables=[PlainTable("", head, rows)], html=headline_table(metrics))


def class_part(metrics: Mapping[str, DetectionMetrics]) -> Part:
    """AP, AP at each distance and the errors per class."""
    distances = next(iter(metrics.values())).config.dist_ths
    errors = [name for name, _ in TP_HEADINGS.values()]
    head = ["Class", "true boxes", "AP", *(f"AP {distance:g} m" for distance in distances), *errors]
    tables = []
    for name, one in metrics.items():
        rows = []
        for label, ap in one.mean_dist_aps.items():
            true_boxes = one.curves[label, distances[0]].num_gt
            values = (ap, *one.label_aps[label].values(), *(one.label_tp_errors[label][error] for error in TP_HEADINGS))
            rows.append([label.replace("_", " "), f"{true_boxes:,}", *map(number, values)])
        tables.append(PlainTable(name if len(metrics) > 1 else "", head, rows))
    return Part("Classes", _CLASSES_LEAD, tables=tables, html=class_table(metrics))
