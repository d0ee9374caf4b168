"""The pickles that are written step by step."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.infos.plain_pickle import write_plain_pickle
from aqr_core.infos.unpickle import load_plain_pickle

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(st.dictionaries(st.text(), VALUES), st.lists(VALUES))
def test_anything_plain_comes_back(tmp_path_factory, content, items):
    path = tmp_path_factory.mktemp("pickle") / "x.pkl"
    with path.open("wb") as file:
        write_plain_pickle(file, {**content, "items": iter(items)})
    expected = {**content, "items": items}
    assert pickle.loads(path.read_bytes()) == expected
    assert load_plain_pickle(path) == expected


def test_records_are_taken_one_at_a_time(tmp_path: Path):
    alive = 0
    most = 0

    def records():
        nonlocal alive, most
        for number in range(1000):
            alive += 1
            most = max(most, alive)
            yield {"number": number, "twice": [number, number], "text": "the same in every record"}
            alive -= 1

    with (tmp_path / "x.pkl").open("wb") as file:
        write_plain_pickle(file, {"records": records()})
    assert most == 1
    assert [record["number"] for record in load_plain_pickle(tmp_path / "x.pkl")["records"]] == list(range(1000))


def test_what_records_share_within_themselves_is_kept_apart(tmp_path: Path):
    """Every record remembers its own objects from zero; none may come out in the place of another's."""
    with (tmp_path / "x.pkl").open("wb") as file:
        write_plain_pickle(file, {"records": ([name, name, [name]] for name in ("a" * 300, "b" * 300))})
    assert load_plain_pickle(tmp_path / "x.pkl") == {
        "records": [["a" * 300, "a" * 300, ["a" * 300]]] + [["b" * 300, "b" * 300, ["b" * 300]]]
    }


def test_arrays_are_named_as_numpy_1_knows_them(tmp_path: Path):
    path = tmp_path / "x.pkl"
    boxes = np.arange(9, dtype=np.float32)
    with path.open("wb") as file:
        write_plain_pickle(file, {"car": iter([{"box3d_lidar": boxes}, {"box3d_lidar": boxes + 1}])})
    assert b"_core" not in path.read_bytes() and b"multiarray" not in path.read_bytes()
    read = pickle.loads(path.read_bytes())["car"]
    assert all(record["box3d_lidar"].flags.writeable for record in read)
    np.testing.assert_array_equal([record["box3d_lidar"] for record in read], [boxes, boxes + 1])
    np.testing.assert_array_equal(load_plain_pickle(path)["car"][1]["box3d_lidar"], boxes + 1)
