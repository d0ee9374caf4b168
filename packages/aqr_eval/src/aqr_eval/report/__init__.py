"""One self-contained HTML page about submissions: scores, curves, training log, boxes over images and points."""

from aqr_eval.report.build import build_report

__all__ = ["build_report"]
