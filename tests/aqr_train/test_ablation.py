"""The arms of the ablation differ in their AQR alone; what is run; and a run of two steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_core.models import build_detector
from aqr_eval.cli import main as aqr_eval_command
from aqr_train import ablation, steps
from aqr_train.ablation import ARMS, CONDITIONS, describe, run_ablation, write_arm
from aqr_train.cli import main as aqr_command
from aqr_train.param_groups import build_grouping
from aqr_train.settings import DataSettings, OptimizerSettings, TrainSettings, read_section
from aqr_train.steps import StepRunner

AQR_BLOCKS = {"aqr_config", "aqr_preset", "renderer_config", "modulator_config", "attention_bias_config"}
HEAD = "model.pts_bbox_head"
# What an arm may change of the baseline arm's config, beside the rates of parts that it adds.
CHANGES = {
    "baseline": set(),
    "v1": {f"{HEAD}.{block}" for block in AQR_BLOCKS},
    "v2": {f"{HEAD}.{block}" for block in AQR_BLOCKS},
    "v3": {f"{HEAD}.{block}" for block in AQR_BLOCKS},
    "router": {f"{HEAD}.type", f"{HEAD}.transformer"},
}


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Arm -> its config, as training reads it."""
    folder = tmp_path_factory.mktemp("arms")
    return {arm: load_config(write_arm(folder / f"{arm}.py", config, [])).to_dict() for arm, config in ARMS.items()}


def flat(config: Any, path: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Dotted path -> value; lists count whole."""
    if not isinstance(config, Mapping):
        return {path: config}
    return {k: v for key, value in config.items() for k, v in flat(value, f"{path}.{key}".strip(".")).items()}


def test_arms_are_the_baseline_and_four_variants(arms: dict[str, Any]) -> None:
    heads = {arm: config["model"]["pts_bbox_head"] for arm, config in arms.items()}
    assert not AQR_BLOCKS & {key for key, value in heads["baseline"].items() if value is not None}
    for arm in ("v1", "v2"):
        assert heads[arm]["renderer_config"] and heads[arm].get("attention_bias_config") is None
    assert not heads["v1"]["modulator_config"].get("residual_connection", False)
    assert heads["v2"]["modulator_config"]["residual_connection"]
    assert heads["v3"]["attention_bias_config"] and heads["v3"].get("renderer_config") is None
    assert heads["router"]["transformer"]["train_experts"]


def test_arms_differ_from_the_baseline_arm_in_their_aqr_alone(arms: dict[str, Any]) -> None:
    first = flat({key: value for key, value in arms["baseline"].items() if key != "optimizer"})
    for arm, config in arms.items():
        own = flat({key: value for key, value in config.items() if key != "optimizer"})
        changed = {path for path in {*first, *own} if first.get(path) != own.get(path)}
        assert all(path.startswith(tuple(CHANGES[arm])) for path in changed), (arm, changed)
        assert bool(changed) == (arm != "baseline")


def test_what_the_arms_share_trains_alike(arms: dict[str, Any]) -> None:
    """Same rate, decay and freezing of every parameter of the baseline, whatever the arm adds."""
    settings = {}
    for arm, config in arms.items():
        optimizer = read_section(OptimizerSettings, config, "optimizer")
        model = build_detector(config["model"])
        grouping = build_grouping(model, optimizer.lr, optimizer.weight_decay, optimizer.param_groups)
        settings[arm] = {
            name: (group.lr, group.weight_decay, group.frozen) for group in grouping.groups for name in group.names
        }
    frozen = {name.split(".")[0] for name, (_, _, frozen) in settings["baseline"].items() if frozen}
    assert frozen == {"img_backbone", "pts_middle_encoder", "pts_backbone"}
    for arm, own in settings.items():
        assert {name: own[name] for name in settings["baseline"]} == settings["baseline"], arm
        added = {name: values for name, values in own.items() if name not in settings["baseline"]}
        assert bool(added) == (arm != "baseline")
        assert not any(is_frozen for _, _, is_frozen in added.values())


def test_the_recipe_starts_from_the_shipped_weights_and_blanks_sensors_first() -> None:
    config = load_config(ablation.RECIPE)
    mask, *steps = read_section(DataSettings, config, "data").train["pipeline"]
    assert mask == {"type": "ModalMask3D", "mode": "train"}
    assert steps == load_config("cmt_tiny")["data"]["train"]["pipeline"]
    train = read_section(TrainSettings, config, "train")
    # One checkpoint, at the end: a run that was interrupted does not look finished.
    assert config["load_from"] == ablation.SHIPPED and train.save_every == 0 and train.val_every is None


def test_arms_of_another_recipe_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "configs" / "v1.py"
    write_arm(path, ARMS["v1"], ["seed=1"])
    write_arm(path, ARMS["v1"], ["seed=1"])
    with pytest.raises(ConfigError, match=r"v1\.py is of an ablation by another recipe"):
        write_arm(path, ARMS["v1"], ["seed=2"])
    assert ablation.main(["--out", str(tmp_path), "--arms", "v1", "--cfg-options", "seed=2"]) == 2
    error = capsys.readouterr().err
    assert "choose another --out" in error.replace("\n", " ") and "Traceback" not in error


def test_the_caption_says_what_a_step_costs(tmp_path: Path) -> None:
    configs = {}
    for arm, rates in {"baseline": (4.0, 2.0, 2.0), "v3": (1.0, 1.6, 1.6)}.items():
        configs[arm] = write_arm(tmp_path / f"{arm}.py", ARMS[arm], ["train.max_steps=60", "seed=5"])
        records = [{"step": 20 * i, "epoch": 0, "time/samples_per_s": rate} for i, rate in enumerate(rates)]
        (tmp_path / arm).mkdir()
        (tmp_path / arm / "scalars.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    caption = describe(configs, tmp_path)
    assert "is cmt_tiny fine-tuned for 60 steps of 2 keyframes, seed 5" in caption
    assert caption.endswith("Time of a training step beside baseline: baseline 1.00, v3 1.25.")


class Recorder(StepRunner):
    """Notes the commands instead of running them."""

    commands: list[list[str]]

    def step(self, title: str, result: Path, command: Any) -> None:  # noqa: ANN401
        type(self).commands.append([str(word) for word in command])


def test_every_arm_is_trained_once_and_tested_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder.commands = []
    monkeypatch.setattr(ablation, "StepRunner", Recorder)
    monkeypatch.setattr(ablation, "describe", lambda configs, out: "caption")
    arms = ["baseline", "router"]
    run_ablation(tmp_path, tmp_path / "data", arms)
    trained = [words for words in Recorder.commands if words[:3] == ["python", "-m", "aqr_train"]]
    assert [words[3] for words in trained] == [str(tmp_path / "configs" / f"{arm}.py") for arm in arms]
    predicted = [words for words in Recorder.commands if words[:2] == ["aqr", "predict"]]
    assert len(predicted) == len(CONDITIONS) * (len(arms) + 1)
    assert sum("--without" in words for words in predicted) == 2 * (len(arms) + 1)
    *_, compare = Recorder.commands
    named = [word.partition("=") for word in compare[compare.index("--submission") + 1 :]]
    assert [name for name, _, _ in named[:3]] == ["clean/baseline", "no camera/baseline", "no LiDAR/baseline"]
    assert [path for _, _, path in named] == [
        f"{words[words.index('--out') + 1]}/submission.json" for words in predicted
    ]


def in_this_process(words: list[str]) -> SimpleNamespace:
    """What `subprocess.run` would do, without starting Python twelve times."""
    program, *rest = words
    if Path(program).name == "aqr-eval":
        return SimpleNamespace(returncode=aqr_eval_command(rest))
    return SimpleNamespace(returncode=aqr_command(["train", *rest[2:]] if rest[:2] == ["-m", "aqr_train"] else rest))


@pytest.mark.slow
def test_a_run_of_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "subprocess", SimpleNamespace(run=in_this_process))
    arms = ["v3"]
    options = ["train.max_steps=2", "train.log_every=1", "data.num_workers=0"]
    table = run_ablation(tmp_path, tmp_path / "data", arms, options, scenes=11)
    numbers = json.loads((tmp_path / "ablation.json").read_text())
    assert list(numbers["conditions"]) == list(CONDITIONS)
    assert list(numbers["conditions"]["clean"]) == [*arms, "shipped"]
    clean, blind = (numbers["conditions"][name]["shipped"]["mean_ap"] for name in ("clean", "no LiDAR"))
    assert clean > 0.4 and blind < clean / 2  # it has never seen a sensor fail
    assert "2 steps of 2 keyframes" in table.read_text()
    before = (tmp_path / "v3" / "clean" / "submission.json").stat().st_mtime_ns
    assert run_ablation(tmp_path, tmp_path / "data", arms, options, scenes=11).is_file()
    assert (tmp_path / "v3" / "clean" / "submission.json").stat().st_mtime_ns == before
