"""The guards behind `make lint`."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def tool(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "aqr_demo"
    (folder / "src" / "aqr_demo").mkdir(parents=True)
    (folder / "src" / "aqr_demo" / "__init__.py").write_text('__version__ = "0.1.0"\n')
    (folder / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- First.\n")
    return folder


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_changelog_names_the_version(package):
    check = tool("check_changelog")
    assert check.fault(package) is None
    (package / "src" / "aqr_demo" / "__init__.py").write_text('__version__ = "0.2.0"\n')
    assert "must begin with the sections `Unreleased` and `0.2.0`" in check.fault(package)


def test_a_change_after_a_release_asks_for_a_line(package):
    check = tool("check_changelog")
    git(package, "init")
    git(package, "add", ".")
    git(package, "commit", "-m", "release")
    git(package, "tag", "aqr-demo-v0.1.0")
    assert check.fault(package) is None
    (package / "src" / "aqr_demo" / "new.py").write_text("")
    git(package, "add", ".")
    assert "changed since aqr-demo-v0.1.0" in check.fault(package)
    (package / "CHANGELOG.md").write_text("## Unreleased\n\n- New.\n\n## 0.1.0\n")
    assert check.fault(package) is None


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"a\n", None), (b"", None), (b"a", "newline"), (b"a\n\n", "newline"), (b"\0" * 50_001, "50001"), (b"\0", None)],
)
def test_files_are_small_and_end_in_one_newline(tmp_path, content, word):
    path = tmp_path / "file"
    path.write_bytes(content)
    found = tool("check_files").fault(path)
    assert (word is None and found is None) or word in found


def test_shipped_weights_may_be_large(tmp_path, monkeypatch):
    check = tool("check_files")
    monkeypatch.chdir(tmp_path)
    check.EXEMPT[0].mkdir(parents=True)
    path = check.EXEMPT[0] / "cmt_tiny.safetensors"
    path.write_bytes(b"\0" * 60_000)
    assert check.fault(path) is None


def test_a_kept_wheel_of_mmcv_serves_one_torch(tmp_path, monkeypatch):
    mmcv = tool("mmcv_operators")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FORCE_CUDA", raising=False)
    kept = mmcv.cache() / "mmcv-2.1.0-cp311-cp311-linux_x86_64.whl"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert mmcv.compiled() == kept
    monkeypatch.setattr(mmcv.torch, "__version__", "2.99.0")
    assert mmcv.cache() != kept.parent and "torch2.99.0" in mmcv.cache().name


def test_cuda_operators_of_mmcv_need_nvcc(monkeypatch):
    mmcv = tool("mmcv_operators")
    monkeypatch.setenv("FORCE_CUDA", "1")
    monkeypatch.setattr(mmcv, "CUDA_HOME", None)
    with pytest.raises(SystemExit, match="FORCE_CUDA is 1, but there is no nvcc"):
        mmcv.cache()
    monkeypatch.setattr(mmcv, "CUDA_HOME", "/usr/local/cuda")
    assert "-cuda" in mmcv.cache().name


def test_a_failed_build_of_mmcv_leaves_no_wheel(tmp_path, monkeypatch):
    mmcv = tool("mmcv_operators")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SystemExit, match="pip wheel of mmcv 2.1.0"):
        mmcv.compiled()
    assert list((tmp_path / "aqr" / "mmcv").iterdir()) == []
