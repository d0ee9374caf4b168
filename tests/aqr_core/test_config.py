"""Configs: inheritance, overrides, and every way to be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from aqr_core.config import SCHEMA, config_names, dump, load_config, run_foreign_config
from aqr_core.errors import ConfigError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A leaf on one base; the base keeps a private name that the leaf reads."""
    write(
        tmp_path,
        "base.py",
        "_range = [-4, 4]\nmodel = dict(type='Net', width=8, parts=[dict(a=1), dict(a=2)])\n"
        "train = dict(max_steps=10, log_every=5)\nseed = 0\n",
    )
    return write(tmp_path, "leaf.py", "_base_ = 'base.py'\nmodel = dict(reach=_base_._range[1])\n")


def test_leaf_is_its_base_plus_the_difference(config: Path) -> None:
    cfg = load_config(config)
    assert cfg.model.width == 8 and cfg.model.reach == 4
    assert "_range" not in cfg


def test_dump_loads_to_the_same_config(config: Path, tmp_path: Path) -> None:
    cfg = load_config(config, ["seed=7"])
    again = load_config(write(tmp_path, "again.py", dump(cfg)))
    assert dump(again) == dump(cfg) and again.seed == 7


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.width=16", 16),
        ("model.width=1.5", 1.5),
        ("model.width=None", None),
        ("model.width=[1, (2, 3)]", [1, (2, 3)]),
        ("model.width={'a': True}", {"a": True}),
    ],
)
def test_override_values_are_python_literals(config: Path, override: str, expected: object) -> None:
    assert load_config(config, [override]).model.width == expected


def test_override_of_text_of_list_items_and_of_known_but_unset_keys(config: Path) -> None:
    cfg = load_config(config, ["model.type=Other", "model.parts.1.a=5", "train.val_every=3", "load_from=w.pth"])
    assert cfg.model.type == "Other" and cfg.model.parts[1].a == 5
    assert cfg.train.val_every == 3 and cfg.load_from == "w.pth"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.max_step=3", "no 'train.max_step'. Did you mean 'max_steps'"),
        ("modle.width=3", "no 'modle'. Did you mean 'model'"),
        ("model.widht=3", "no 'model.widht'. Did you mean 'width'"),
        ("model.parts.2.a=1", "no index of a list of 2"),
        ("model.width.x=1", "holds no keys"),
        ("model.width=wide", "is a number or bool"),
        ("model.width", "not of the form"),
        ("loadfrom=x", "Did you mean 'load_from'"),
    ],
)
def test_wrong_overrides_name_the_nearest_key(config: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        load_config(config, [override])


@pytest.mark.parametrize("override", ["model.use_local_bias=false", "model.bias_scale=high"])
def test_text_for_a_number_that_the_config_leaves_at_its_default(config: Path, override: str) -> None:
    # As text it would be true, whatever it says.
    with pytest.raises(ConfigError, match="is a number or bool in Python spelling"):
        load_config(config, ["model.type=AttentionBiasGenerator", override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = dict()", "unknown key 'modle'. Did you mean 'model'"),
        ("train = dict(max_step=1)", "unknown key 'train.max_step'. Did you mean 'max_steps'"),
        ("train = 3", "'train' must be a dict"),
        ("model = dict(a=1)\nseed = 1\nmodel = dict(b=2)", "assigns 'model' in line 1 and again in line 3"),
        ("model = dict(", "line 1"),
        ("model = dict(a=undefined)", "NameError"),
        ("_base_ = 'absent.py'", "builds on 'absent.py'"),
    ],
)
def test_wrong_files_say_what_to_mend(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, "wrong.py", text))


def test_a_name_assigned_twice_in_a_base_is_found_too(tmp_path: Path) -> None:
    write(tmp_path, "base.py", "seed = 1\nseed = 2\n")
    with pytest.raises(ConfigError, match=r"base.py assigns 'seed'"):
        load_config(write(tmp_path, "leaf.py", "_base_ = ['base.py']\n"))


def test_two_bases_may_not_own_one_name(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "seed = 1\n")
    write(tmp_path, "b.py", "seed = 1\n")
    with pytest.raises(ConfigError, match="Duplicate key is not allowed among bases"):
        load_config(write(tmp_path, "leaf.py", "_base_ = ['a.py', 'b.py']\n"))


def test_unknown_name_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'no_such_config' is neither a .py file nor a shipped config"):
        load_config("no_such_config")


def test_names_come_from_the_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "some_configs"
    write(package, "__init__.py", "")
    write(package, "mine.py", "seed = 5\n")
    write(tmp_path / "site", "some-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some\nVersion: 1.0\n")
    write(tmp_path / "site", "some-1.0.dist-info/entry_points.txt", "[aqr.configs]\nsome = some_configs\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert config_names()["mine"] == package / "mine.py"
    assert load_config("mine").seed == 5
    with pytest.raises(ConfigError, match="Did you mean 'mine'"):
        load_config("mime")


def test_every_section_of_the_schema_is_documented_once() -> None:
    assert set(SCHEMA) >= {"model", "data", "optimizer", "schedule", "train", "load_from", "seed", "dataroot"}


def test_a_foreign_config_is_run_with_its_bases_and_nothing_is_imported(tmp_path: Path) -> None:
    write(tmp_path, "base.py", "model = dict(type='Other', depth=50)\n")
    imports = "custom_imports = dict(imports=['a_package_that_is_absent'])\n"
    path = write(tmp_path, "child.py", f"_base_ = 'base.py'\nmodel = dict(depth=2 * 9)\n{imports}")
    assert run_foreign_config(path) == {
        "model": {"type": "Other", "depth": 18},
        "custom_imports": {"imports": ["a_package_that_is_absent"]},
    }
