"""Names: ours, those of other libraries, and every way to be wrong about them."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mmengine.registry
import pytest
from torch import nn

from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_core.models.backbones import SECOND
from aqr_core.registry import DATASETS, MODELS, TRANSFORMS, build

theirs = "tests/aqr_core/beside_mmdet3d looks at theirs"
without_mmdet3d = pytest.mark.skipif(find_spec("mmdet3d") is not None, reason=theirs)


def refusal(registry, **config) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, registry)
    return str(caught.value)


def test_our_modules_are_reachable_from_mmengines_root() -> None:
    assert mmengine.registry.MODELS.get("aqr.SECOND") is SECOND
    assert mmengine.registry.TRANSFORMS.get("aqr.PointShuffle") is TRANSFORMS.get("PointShuffle")
    assert mmengine.registry.DATASETS.get("aqr.NuScenesDataset") is DATASETS.get("NuScenesDataset")


def test_a_name_with_our_scope_is_the_name_without() -> None:
    assert MODELS.get("aqr.SECOND") is MODELS.get("SECOND") is SECOND


def test_a_name_without_scope_is_never_looked_for_elsewhere() -> None:
    @mmengine.registry.MODELS.register_module()
    class OfTheRoot(nn.Module):
        pass

    try:
        assert MODELS.get("OfTheRoot") is None
        assert refusal(MODELS, type="OfTheRoot").startswith("Unknown model type 'OfTheRoot'. Known: ")
        assert MODELS.get("mmengine.OfTheRoot") is OfTheRoot
    finally:
        del mmengine.registry.MODELS._module_dict["OfTheRoot"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SECNOD", "Did you mean 'SECOND'?"),
        ("aqr.SECNOD", "Did you mean 'SECOND'?"),
        ("aqrr.SECOND", "Did you mean 'aqr.SECOND'?"),
        ("mmdet3.SECOND", "Did you mean 'mmdet3d.SECOND'?"),
        ("nowhere.to.be.found", "Known: "),
        ("torch.nn", "Known: "),  # a module, which builds nothing
        ("", "Known: "),
        ("..", "Known: "),
    ],
)
def test_an_unknown_type_says_what_was_meant(name: str, meant: str) -> None:
    message = refusal(MODELS, type=name)
    assert message.startswith(f"Unknown model type '{name}'. {meant}")


def test_a_dotted_path_is_imported() -> None:
    assert isinstance(build(dict(type="torch.nn.Linear", in_features=2, out_features=3), MODELS), nn.Linear)


def test_a_module_that_fails_on_import_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_by_its_author.py").write_text("raise ValueError('half done')\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = refusal(MODELS, type="broken_by_its_author.Net")
    assert "'broken_by_its_author.Net' cannot be imported (ValueError: half done); repair" in message


@without_mmdet3d
@pytest.mark.parametrize("name", ["mmdet3d.SECOND", "mmdet.ResNet", "mmcv.cnn.ConvModule"])
def test_without_mmdet3d_its_modules_are_one_sentence_with_the_command(name: str) -> None:
    message = refusal(MODELS, type=name)
    assert message.startswith(f"Model type '{name}' needs mmdet3d, but mmdet3d")
    assert "not installed; run `make mmdet3d`" in message and "\n" not in message


@without_mmdet3d
def test_an_override_below_a_type_of_mmdet3d_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("model = dict(pts_backbone=dict(type='mmdet3d.SECOND'))\n")
    with pytest.raises(ConfigError, match="needs mmdet3d, but"):
        load_config(path, ["model.pts_backbone.in_channels=64"])


@pytest.mark.parametrize("registry", [TRANSFORMS, DATASETS])
def test_their_transforms_and_datasets_are_refused_and_told_why(registry) -> None:
    message = refusal(registry, type="mmdet3d.PointShuffle")
    assert message.startswith(
        "'mmdet3d.PointShuffle' works on mmdet3d's result dicts, which our pipeline does not have;"
    )


def test_an_argument_that_is_needed_is_named() -> None:
    assert refusal(MODELS, type="ResNet") == "ResNet needs 'depth'; add depth=... to its config."


def test_an_error_inside_our_own_constructor_is_not_hidden() -> None:
    with pytest.raises(TypeError):
        build(dict(type="torch.nn.Linear", in_features="two", out_features=3), MODELS)


def test_the_registries_import_neither_torch_nor_mmdet3d() -> None:
    program = (
        "import sys, aqr_core.registry; print([name for name in ('torch', 'mmdet3d', 'mmcv') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_mmcv_without_operators_is_told_of_where_a_config_names_a_module(tmp_path: Path) -> None:
    """Real packages in front of what is installed; a new interpreter, since an import is remembered."""
    for name, number in (("mmdet3d", "1.4.0"), ("mmdet", "3.2.0"), ("mmcv", "2.1.0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        info = tmp_path / f"{name}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from aqr_core.registry import MODELS, build\n"
        "try:\n    build(dict(type='mmdet3d.SECOND'), MODELS)\nexcept Exception as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Model type 'mmdet3d.SECOND' needs mmdet3d, but mmcv 2.1.0 was installed without ")
    assert "run `make mmdet3d`" in done.stdout and done.stdout.count("\n") == 1
