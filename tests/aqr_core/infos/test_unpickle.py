from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from aqr_core.errors import DataError
from aqr_core.infos.unpickle import load_plain_pickle


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_and_numpy_survive(tmp_path, protocol):
    content = {
        "boxes": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.ones((2, 3), np.float32)),
        "names": np.array(["car", "bus"]),
        "objects": np.array([None, "x"], dtype=object),
        "scalar": np.float32(1.5),
        "flag": np.bool_(True),
        "bytes": b"\x00\xff",
        "plain": OrderedDict(a=[1, 2.0, "three", None, (4,)]),
    }
    path = tmp_path / "content.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    loaded = load_plain_pickle(path)
    for key, value in content.items():
        np.testing.assert_array_equal(loaded[key], value)
        assert type(loaded[key]) is type(value)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_module_paths_of_both_numpy_generations(tmp_path, module):
    raw = pickle.dumps(np.float64(2.5), 2)
    here = np.float64(0).__reduce__()[0].__module__.encode()
    path = tmp_path / "scalar.pkl"
    path.write_bytes(raw.replace(here, module.encode()))
    assert load_plain_pickle(path) == 2.5


class Malicious:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Malicious(os.system, "touch {marker}"), "system"),
        (Malicious(eval, "1"), "eval"),
        (Malicious(getattr, {}, "clear"), "getattr"),
        (Malicious(np.load, "{marker}"), "load"),
    ],
)
def test_anything_else_is_refused_and_named(tmp_path, thing, name):
    path, marker = tmp_path / "evil.pkl", tmp_path / "marker"
    function, arguments = thing.reduced
    thing.reduced = function, tuple(a.format(marker=marker) if isinstance(a, str) else a for a in arguments)
    path.write_bytes(pickle.dumps({"infos": [thing]}))
    with pytest.raises(DataError, match=rf"evil\.pkl wants the Python object '.*\.{name}'"):
        load_plain_pickle(path)
    assert not marker.exists()


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x80\x04", pickle.dumps([1, 2, 3])[:-3], b"\x80\x04K\x01K\x02s."])
def test_damaged_pickles(tmp_path, raw):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(raw)
    with pytest.raises(DataError, match="is no complete pickle"):
        load_plain_pickle(path)


def test_the_mmdet3d_result_file_is_refused(shared_dir):
    path = shared_dir / "data/mmdet3d/tests/data/nuscenes/mono3d_sample_results.pkl"
    with pytest.raises(DataError, match=r"mmdet3d\.core\.bbox\.structures\.cam_box3d\.CameraInstance3DBoxes"):
        load_plain_pickle(path)
