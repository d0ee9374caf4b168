from __future__ import annotations

import json

import pytest

from aqr_core.errors import DataError
from aqr_core.infos.find_split import find_split

TOKENS = ["sample0", "sample1"]  # of scene-0103, which is in mini_val


def test_tokens_lead_to_the_split(tiny_root):
    assert find_split(TOKENS, tiny_root.path, tiny_root.version) == "mini_val"
    assert find_split(TOKENS[1:], tiny_root.path, tiny_root.version) == "mini_val"


@pytest.mark.parametrize("tokens", [[], ["sample0", "of another dataset"]])
def test_other_tokens_have_none(tiny_root, tokens):
    assert find_split(tokens, tiny_root.path, tiny_root.version) == ""


def test_two_splits_that_hold_them_are_no_answer(tiny_root):
    """A split of one's own that overlaps with the benchmark's."""
    (tiny_root.path / tiny_root.version / "splits.json").write_text(json.dumps({"mine": ["scene-0103"]}))
    assert find_split(TOKENS, tiny_root.path, tiny_root.version) == ""


def test_scenes_of_several_splits_have_none(tiny_root):
    tiny_root.tables["scene"].append({**tiny_root.tables["scene"][0], "token": "other", "name": "scene-0061"})
    tiny_root.tables["sample"][1]["scene_token"] = "other"
    tiny_root.write()
    assert find_split(TOKENS[:1], tiny_root.path, tiny_root.version) == "mini_val"
    assert find_split(TOKENS[1:], tiny_root.path, tiny_root.version) == "mini_train"
    assert find_split(TOKENS, tiny_root.path, tiny_root.version) == ""


def test_missing_tables_are_named(tiny_root):
    (tiny_root.path / tiny_root.version / "scene.json").unlink()
    with pytest.raises(DataError, match="scene"):
        find_split(TOKENS, tiny_root.path, tiny_root.version)
