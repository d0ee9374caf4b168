from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aqr_eval.nuscenes import json_stream
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.json_stream import JsonStream

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _array(path):
    with JsonStream(path, DataError) as stream:
        return list(stream.array())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(JSON_VALUES, max_size=6), st.sampled_from([None, 2]), st.integers(1, 9))
def test_reads_what_json_wrote_whatever_the_chunk(tmp_path, monkeypatch, values, indent, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARS", chunk)
    path = tmp_path / "values.json"
    path.write_text(json.dumps(values, indent=indent))
    assert _array(path) == values


@pytest.mark.parametrize("chunk", range(1, 12))
def test_numbers_may_be_cut_anywhere(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARS", chunk)
    path = tmp_path / "numbers.json"
    path.write_text("[0.0,-1.5e+10,12,3E-2]")
    assert _array(path) == [0.0, -1.5e10, 12, 0.03]


def test_object_keys(tmp_path):
    path = tmp_path / "object.json"
    path.write_text('{"a": 1, "b": [1, 2]}')
    with JsonStream(path, DataError) as stream:
        assert [(key, stream.value()) for key in stream.object_keys()] == [("a", 1), ("b", [1, 2])]


@pytest.mark.parametrize("text", ["", "{}", "[1, 2", '[{"a": 1}, {"a"', "[1 2]", "[1,,2]", '["\\x"]', "[tru]"])
def test_broken_text_is_named(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"broken\.json breaks off or is not valid JSON after \d+ characters"):
        _array(path)


def test_text_that_is_not_utf8(tmp_path):
    path = tmp_path / "latin.json"
    path.write_bytes(b'["\xe9"]')
    with pytest.raises(DataError, match="can't decode"):
        _array(path)
