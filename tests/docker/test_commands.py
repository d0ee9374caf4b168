"""Every service's command and every Docker command of the documents is one that our programs understand."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import compose
import dockerfile
import pytest
from accelerate.commands.launch import launch_command_parser

import aqr_eval.cli
import aqr_train.cli
from aqr_core.config import config_names
from aqr_train import demo
from aqr_train.launchers import launchers

LAUNCHERS = "/opt/aqr/launchers/"


@pytest.fixture(scope="module")
def services(docker_dir):
    return compose.services((docker_dir / "compose.yaml").read_text(encoding="utf-8"))


def words_of(service, command=None, **environment):
    words = [*service.get("entrypoint", []), *(command or service["command"])]
    return [compose.interpolated(word, environment) for word in words]


def understood(monkeypatch, words):
    """The arguments as the program of the command reads them; it does nothing with them."""
    found = []
    if words[0] == "accelerate":
        launched = launch_command_parser().parse_args(words[2:])
        assert launched.module and launched.training_script == "aqr_train"
        assert launched.config_file.startswith(LAUNCHERS)
        assert Path(launched.config_file).stem in launchers()
        return launched, understood(monkeypatch, ["aqr", "train", *launched.training_script_args])
    if words[:3] == ["python", "-m", "aqr_train.demo"]:
        monkeypatch.setattr(demo, "run_demo", lambda out, scratch: found.append(out) or Path())
        monkeypatch.setattr(demo, "reached_map", lambda metrics: 1.0)
        assert demo.main(words[3:]) == 0
    elif words[0] == "aqr":
        monkeypatch.setattr(f"aqr_train.cli.{words[1].replace('-', '_')}.run", lambda given: found.append(given) or 0)
        assert aqr_train.cli.main(words[1:]) == 0
    else:
        assert words[0] == "aqr-eval", words
        module = aqr_eval.cli.VERBS[words[1]][0]
        monkeypatch.setattr(f"{module}.run", lambda given: found.append(given) or 0)
        assert aqr_eval.cli.main(words[1:]) == 0
    return found[0]


def test_prepare_writes_infos_where_training_looks_for_them(services, monkeypatch):
    found = understood(monkeypatch, words_of(services["prepare"]))
    assert (str(found.dataroot), found.version, found.gt_database) == ("data/nuscenes", "v1.0-trainval", True)
    assert understood(monkeypatch, words_of(services["prepare"], NUSCENES_VERSION="v1.0-mini")).version == "v1.0-mini"


@pytest.mark.parametrize(("launcher", "gpus"), [(None, None), ("one_gpu", "1"), ("zero2", "4"), ("fsdp2", "8")])
def test_train_starts_the_trainer_with_a_shipped_launcher(services, monkeypatch, launcher, gpus):
    given = {name: value for name, value in (("LAUNCHER", launcher), ("GPUS", gpus)) if value}
    launched, training = understood(monkeypatch, words_of(services["train"], **given))
    assert Path(launched.config_file).stem == (launcher or "eight_gpus")
    assert launched.num_processes == int(gpus or 8)
    assert training.config in config_names()
    device = services["train"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert compose.interpolated(device["count"], given) == (gpus or "all")


@pytest.fixture
def multi_node(services, tmp_path):
    """Runs the service's own shell with an `accelerate` that prints its arguments."""
    stand_in = tmp_path / "accelerate"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" accelerate "$@"\n')
    stand_in.chmod(0o755)

    def run(**environment):
        service = services["train-multi-node"]
        defaults = {"LAUNCHER": compose.interpolated(service["environment"]["LAUNCHER"], {})}
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(words_of(service), env=defaults | path | environment, capture_output=True, text=True)

    return run


def test_a_node_starts_with_its_rank_and_the_first_nodes_address(multi_node, monkeypatch):
    done = multi_node(MACHINE_RANK="1", MAIN_ADDRESS="10.0.0.1")
    launched, training = understood(monkeypatch, done.stdout.splitlines())
    assert (launched.machine_rank, launched.main_process_ip) == (1, "10.0.0.1")
    assert Path(launched.config_file).stem == "two_nodes"
    assert training.config in config_names()


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"MAIN_ADDRESS": "10.0.0.1"}, "MACHINE_RANK: give 0 on the first node and 1 on the second"),
        ({"MACHINE_RANK": "0"}, "MAIN_ADDRESS: give the address of the first node"),
    ],
)
def test_a_node_without_rank_or_address_says_what_to_give(multi_node, given, asked):
    done = multi_node(**given)
    assert done.returncode != 0 and done.stdout == ""
    assert asked in done.stderr


def test_the_demo_writes_into_the_mounted_folder(services, monkeypatch):
    (volume,) = services["demo"]["volumes"]
    out = understood(monkeypatch, words_of(services["demo"]))
    assert f"/workspace/{out}" == volume["target"]


def test_tensorboard_understands_its_flags_and_reads_work_dirs(services):
    from tensorboard import program

    words = words_of(services["tensorboard"])
    board = program.TensorBoard()
    board.configure(argv=words)
    assert (words[0], board.flags.logdir, board.flags.port) == ("tensorboard", "work_dirs", 6006)
    assert services["tensorboard"]["volumes"][0]["target"] == "/workspace/work_dirs"


def test_eval_is_the_evaluator_itself(services, capsys):
    words = words_of(services["eval"])
    assert words == ["aqr-eval", "--help"]
    with pytest.raises(SystemExit, match="0"):
        aqr_eval.cli.main(words[1:])


def documented(repository):
    """(document, words) of every Docker command in the documents, without what is set before it."""
    for document in (repository / "README.md", repository / "docs" / "docker.md"):
        blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "docker" in words:
                yield document.name, words[words.index("docker") :]


def test_the_docker_commands_of_the_documents_exist(repository, services, monkeypatch):
    text = (repository / "docker" / "Dockerfile").read_text(encoding="utf-8")
    started = set()
    for document, words in documented(repository):
        if words[1:3] == ["compose", "-f"]:
            assert (repository / words[3]).is_file(), words
            options = [word for word in words[5:] if word.startswith("-")]
            name, *given = [word for word in words[5:] if word not in ("--rm", "--build", "--entrypoint=aqr")]
            assert words[4] in ("run", "up", "build") and name in services, (document, words)
            started.add(name)
            if "--entrypoint=aqr" in options:
                understood(monkeypatch, ["aqr", *given])
            elif given:
                understood(monkeypatch, words_of(services[name], given))
        elif words[1] == "build":
            assert words[words.index("--target") + 1] in dockerfile.TARGETS, words
            assert (repository / words[words.index("-f") + 1]).is_file(), words
            given = [words[position + 1] for position, word in enumerate(words) if word == "--build-arg"]
            assert {word.partition("=")[0] for word in given} <= dockerfile.arguments(text).keys(), words
    assert started == set(compose.SERVICES)
