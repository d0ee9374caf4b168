"""Words of the command line that name files."""

from __future__ import annotations

from pathlib import Path

import pytest

from aqr_eval.inputs import parse_named_paths
from aqr_eval.nuscenes.errors import AqrError


def test_names_are_optional_and_keep_their_order():
    assert parse_named_paths(["b=x/y.json", "runs/a.json"], "--submission") == {
        "b": Path("x/y.json"),
        "a": Path("runs/a.json"),
    }


@pytest.mark.parametrize("words", [["=x"], ["a="], ["a=x", "a=y"], [""]])
def test_names_must_be_whole_and_unique(words):
    with pytest.raises(AqrError, match="--submission"):
        parse_named_paths(words, "--submission")
