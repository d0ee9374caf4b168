"""The section about simulated sensor failures."""

from __future__ import annotations

import pytest

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.report.frames import FrameRequest
from aqr_eval.report.robustness import robustness_part
from aqr_eval.robustness import CLEAN, CellResult, RobustnessRun, SkippedCell, write_run

NO_FRAMES = FrameRequest(0, 0)


def run_of(name, clean, *scores):
    cells = (CellResult("view_drop", severity, nds, nds / 2) for severity, nds in enumerate(scores, start=1))
    return RobustnessRun(name, "multicorrupt", CellResult(CLEAN, 0, clean, clean), tuple(cells))


def test_share_of_the_clean_score_that_is_kept_by_hand():
    part = robustness_part({"a": run_of("a", 0.8, 0.6, 0.2), "b": run_of("b", 0.5, 0.5, 0.5)}, ["other", "a", "b"])
    kept, over_severity = part.figures
    (panel,) = kept.panels
    assert [row.label for row in panel.rows] == ["view drop", "mean (mRA)"]
    assert [mark.value for mark in panel.rows[0].marks] == pytest.approx([0.5, 1.0])
    assert [mark.css for mark in panel.rows[0].marks] == ["submission-1", "submission-2"]
    line = over_severity.panels[0].lines[0]
    assert (line.x.tolist(), line.y.tolist()) == ([0, 1, 2], [0.8, 0.6, 0.2])
    assert ["view drop", "2", "0.200", "0.100", "", ""] in list(map(list, part.tables[1].rows))


def test_a_cell_that_was_not_made_is_named():
    run = RobustnessRun("a", "s", CellResult(CLEAN, 0, 0.5, 0.5), (), (SkippedCell("fog", 2, "needs a model of fog"),))
    assert "Left out: fog 2 of a (needs a model of fog)." in robustness_part({"a": run}, ["a"]).lead


def test_page_takes_a_summary_and_gives_a_model_of_its_own_a_colour(build, tmp_path):
    write_run(tmp_path / "summary.json", run_of("x", 0.8, 0.4))
    page = build(robustness={"x": tmp_path / "summary.json"}, markdown=tmp_path / "report.md", request=NO_FRAMES)
    assert 'id="robustness"' in page and ".submission-2{" in page and 'class="submission-2"' in page
    assert "| view drop | 1 | 0.400 | 0.200 | 0.500 |" in (tmp_path / "report.md").read_text()


def test_a_bad_summary_is_named(build, tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(DataError, match="summary.json is no summary of robustness"):
        build(robustness={"x": tmp_path / "summary.json"}, request=NO_FRAMES)
