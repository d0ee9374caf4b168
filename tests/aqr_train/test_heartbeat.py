"""Lines of a long step where no bar can be drawn."""

from __future__ import annotations

from aqr_train.cli.progress import Bars
from aqr_train.heartbeat import Heartbeat


def test_lines_keep_their_distance():
    lines: list[str] = []
    silent, eager = Heartbeat(lines.append, "predict", "keyframes"), Heartbeat(lines.append, "cut", "keyframes", 0.0)
    silent(1, 3)
    eager(1, 3)
    eager(2, 3)
    assert lines == ["cut: 1 of 3 keyframes", "cut: 2 of 3 keyframes"]


def test_bars_in_a_pipe_say_where_they_are(capsys, monkeypatch):
    monkeypatch.setattr("aqr_train.heartbeat.INTERVAL_S", 0.0)
    monkeypatch.setattr(Heartbeat.__init__, "__defaults__", (0.0,))
    with Bars("scenes") as bars:
        bars.show("synth", 1, 2)
    assert "synth: 1 of 2 scenes" in capsys.readouterr().err
