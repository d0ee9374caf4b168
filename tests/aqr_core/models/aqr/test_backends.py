"""Which backend is chosen, and what is said about it."""

from __future__ import annotations

import logging

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.aqr import backends
from aqr_core.models.aqr.backends import BACKENDS, check_backend, choose_backend

F32 = torch.float32
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(params=[True, False], ids=["triton", "no triton"])
def triton(request, monkeypatch):
    monkeypatch.setattr(backends, "_has_triton", lambda: request.param)
    backends._log_choice.cache_clear()
    return request.param


def test_auto_picks_by_device_and_size(triton):
    assert choose_backend("auto", CPU, F32, window=128, num_tokens=22384) == "window"
    assert choose_backend("auto", CPU, F32, window=128, num_tokens=200) == "dense"
    assert choose_backend("auto", CPU, torch.float64, window=128, num_tokens=22384) == "window"
    assert choose_backend("auto", CUDA, torch.float64, window=128, num_tokens=22384) == "dense"
    expected = "flex" if triton else "window"
    assert choose_backend("auto", CUDA, F32, window=128, num_tokens=22384) == expected


def test_auto_says_once_what_and_why(triton, caplog):
    with caplog.at_level(logging.INFO):
        for device in (CPU, CPU, CUDA):
            choose_backend("auto", device, F32, window=128, num_tokens=22384)
        choose_backend("dense", CPU, F32, window=128, num_tokens=22384)
    assert len(caplog.records) == 2
    assert "'window' on cpu: windows of 128 are small against 22384 tokens" in caplog.text
    assert ("'flex' on cuda" if triton else "'window' on cuda: flex needs triton") in caplog.text


def test_what_is_asked_for_is_taken_or_refused(triton):
    for name in ("dense", "window"):
        assert choose_backend(name, CPU, F32, 1, 1) == choose_backend(name, CUDA, F32, 1, 1) == name
    with pytest.raises(ConfigError, match="'flex'.*no gradients on a CPU; use 'window' or 'auto'"):
        choose_backend("flex", CPU, F32, 1, 1)
    if triton:
        assert choose_backend("flex", CUDA, F32, 1, 1) == "flex"
    else:
        with pytest.raises(ConfigError, match="'flex' but triton is not installed.*'window'"):
            choose_backend("flex", CUDA, F32, 1, 1)


def test_unknown_backends_are_named():
    assert [check_backend(name) for name in BACKENDS] == ["auto", "dense", "window", "flex"]
    with pytest.raises(ConfigError, match="'flash'; allowed are 'auto', 'dense', 'window', 'flex'"):
        check_backend("flash")
