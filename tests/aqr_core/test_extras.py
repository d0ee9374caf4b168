"""Installations that do not fit: real packages, and a real shared object without a symbol, in a folder of their own."""

import re
import shutil
import subprocess
import sys

import pytest
import torch

from aqr_core import extras
from aqr_core.errors import ConfigError

LOOK = "from aqr_core.extras import mmdet3d_problem; print(mmdet3d_problem())"


def install(folder, name, number="1.0", files=("__init__.py",)):
    """A package of these empty files, with the metadata that pip writes."""
    for file in files:
        path = folder / name.replace("-", "_") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    info = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")


def look(folder):
    """What a new interpreter says, with the folder in front of all others."""
    paths = [str(folder), *[path for path in sys.path if path]]
    program = f"import sys; sys.path[:0] = {paths!r}; {LOOK}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def family(tmp_path):
    """mmdet3d and mmdet, and an mmcv without operators."""
    install(tmp_path, "mmdet3d", "1.4.0")
    install(tmp_path, "mmdet", "3.2.0")
    install(tmp_path, "mmcv", "2.1.0")
    return tmp_path


def test_a_folder_of_its_name_is_no_mmdet3d(family):
    (family / "mmdet3d" / "__init__.py").unlink()
    assert look(family).startswith("mmdet3d is not installed; run `make mmdet3d`")


def test_mmcv_without_operators(family):
    said = look(family)
    assert said.startswith("mmcv 2.1.0 was installed without its compiled operators; run `make mmdet3d`")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the operators of this test")
def test_operators_for_another_torch(family):
    """A symbol that this torch does not have, as after an upgrade of torch."""
    source = family / "ext.c"
    source.write_text("extern int of_another_torch(void); int PyInit__ext(void) { return of_another_torch(); }")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", family / "mmcv" / "_ext.so", source], check=True)
    said = look(family)
    assert said.startswith(f"the operators of mmcv 2.1.0 were compiled for another torch than {torch.__version__} (")
    assert "undefined symbol: of_another_torch" in said
    assert "run `make mmdet3d`" in said


def test_siblings_of_other_versions(family):
    (family / "mmcv" / "_ext.py").write_text("")
    (family / "mmdet3d" / "__init__.py").write_text("assert False, 'MMDetection==2.0 is used but incompatible'")
    said = look(family)
    assert said.startswith("mmdet3d 1.4.0 cannot be imported (MMDetection==2.0 is used but incompatible); run")


def test_a_sound_family_has_no_problem(family):
    (family / "mmcv" / "_ext.py").write_text("")
    assert look(family) == "None"


def test_who_needs_mmdet3d_is_said(monkeypatch):
    monkeypatch.setattr(extras, "mmdet3d_problem", lambda: "mmcv is not installed; run `make mmdet3d`")
    with pytest.raises(ConfigError, match=r"^type 'mmdet3d.SECOND' needs mmdet3d, but mmcv is not installed; run "):
        extras.require_mmdet3d("type 'mmdet3d.SECOND'")
    monkeypatch.setattr(extras, "mmdet3d_problem", lambda: None)
    extras.require_mmdet3d("type 'mmdet3d.SECOND'")


@pytest.mark.parametrize(
    ("names", "cuda", "problem"),
    [
        (["spconv-cu126"], "12.8", None),
        (
            ["spconv-cu126"],
            "13.0",
            "cu126 2.3.8 is built for CUDA 12.6, torch .* for CUDA 13.0; run `make setup",
        ),
        (["spconv-cu118"], "12.6", "spconv-cu118 2.3.8 is built for CUDA 11.8"),
        (
            ["spconv"],
            "12.6",
            "spconv 2.3.8 is the CPU build, and torch .* has a GPU; run `make setup SPCONV=spc",
        ),
        (["spconv", "spconv-cu126"], "12.6", "are both installed .* run `pip uninstall -y spconv spconv-cu126`"),
    ],
)
def test_spconv_for_another_cuda(monkeypatch, names, cuda, problem):
    pytest.importorskip("spconv")
    monkeypatch.setattr(extras, "_spconv_distributions", lambda: names)
    monkeypatch.setattr(extras, "_version", lambda name: "2.3.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    extras.spconv_problem.cache_clear()
    try:
        found = extras.spconv_problem()
    finally:
        extras.spconv_problem.cache_clear()
    assert found is None if problem is None else re.search(problem, found)


def test_a_spconv_that_cannot_be_imported(monkeypatch):
    pytest.importorskip("spconv")
    monkeypatch.setitem(sys.modules, "spconv.pytorch", None)  # as python marks a module that must not be imported
    extras.spconv_problem.cache_clear()
    try:
        assert "cannot be imported (import of spconv.pytorch halted" in extras.spconv_problem()
    finally:
        extras.spconv_problem.cache_clear()
