"""`python -m aqr_train.gpu_check` on machines with and without a GPU: list, page, refusal, failing checks."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

from aqr_train.benchmarks.aqr_scene import open_scene
from aqr_train.gpu_check import __main__ as command
from aqr_train.gpu_check.check import FAILED, NOT_RUN, PASSED, Check, NotRunError, Outcome, Row, run_checks
from aqr_train.gpu_check.checks import CHECKS
from aqr_train.gpu_check.kernels import attention, encode, largest_difference
from aqr_train.gpu_check.page import page
from aqr_train.gpu_check.training import need
from aqr_train.gpu_check.workshop import FULL, TINY, TrainRun, Workshop, train_words

CPU = torch.device("cpu")


def check(name, run):
    return Check(name, "1 or less", f"try {name}", run)


def out_of_memory(workshop):
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much.")


def not_installed(workshop):
    raise NotRunError("deepspeed is not installed")


FAKE = (
    check("good", lambda workshop: Outcome("0.5", True)),
    check("bad", lambda workshop: Outcome("1.5 | 2.5", False)),
    check("broken", out_of_memory),
    check("absent", not_installed),
)


def test_a_failing_check_does_not_stop_the_others(tmp_path):
    rows = list(run_checks(FAKE, Workshop(tmp_path, CPU)))
    assert [row.result for row in rows] == [PASSED, FAILED, FAILED, NOT_RUN]
    assert rows[2].figure == "OutOfMemoryError: CUDA out of memory."
    assert rows[3].figure == "deepspeed is not installed"


def test_the_page_of_a_run(tmp_path):
    text = page(list(run_checks(FAKE, Workshop(tmp_path, CPU))), ["device: NVIDIA H200"])
    assert "2 of 4 checks failed." in text and "- device: NVIDIA H200" in text and "Not yet run" not in text
    assert "| good | 0.5 | 1 or less | passed | 0 | `try good` |" in text
    assert "| bad | 1.5 / 2.5 | 1 or less | FAILED | 0 |" in text
    assert "No check failed." in page([Row(FAKE[0], PASSED, "0.5", 1.0)], ["device: x"])


@pytest.fixture
def on_a_gpu(monkeypatch):
    """A machine that says that it has a CUDA device, and the checks above."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(command, "machine", lambda device: [f"device: {device}"])
    monkeypatch.setattr(command, "CHECKS", FAKE)


@pytest.mark.parametrize(("names", "code"), [([], 1), (["--only", "good", "absent"], 0), (["--only", "bad"], 1)])
def test_exit_code(on_a_gpu, names, code, tmp_path):
    out = tmp_path / "gpu.md"
    assert command.main(["--out", str(out), *names]) == code
    rows = [line for line in out.read_text().splitlines() if "`try " in line]
    assert len(rows) == (len(names[1:]) or len(FAKE))
    assert "- device: cuda" in out.read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_page_is_left_alone(tmp_path, capsys):
    out = tmp_path / "gpu.md"
    out.write_text("as it was")
    assert command.main(["--out", str(out)]) == 2
    assert out.read_text() == "as it was"
    assert "torch finds no CUDA device here" in capsys.readouterr().err


def test_the_list_and_the_page_that_nothing_has_run(tmp_path, capsys):
    out = tmp_path / "gpu.md"
    assert command.main(["--list", "--out", str(out)]) == 0
    printed, text = capsys.readouterr().out, out.read_text()
    assert "Not yet run" in text and "passed" not in text
    for each in CHECKS:
        assert f"{each.name}: {each.target}" in printed
        assert f"| {each.name} | {each.target} | `{each.command}` |" in text
    assert len({each.name for each in CHECKS}) == len(CHECKS)


def test_the_committed_page_lists_todays_checks(pytestconfig):
    text = (pytestconfig.rootpath / "docs/benchmarks/gpu.md").read_text()
    for each in CHECKS:
        assert f"| {each.name} |" in text, "write it again: python -m aqr_train.gpu_check --list --out docs/..."


def test_an_unknown_check_is_named(capsys):
    assert command.main(["--list", "--only", "flex attention"]) == 2
    message = capsys.readouterr().err
    assert "--only names 'flex attention', which is no check." in message
    assert "flex attention against dense" in message


def test_what_is_not_installed_is_named():
    need("torch")
    with pytest.raises(NotRunError, match="^no_such_package is not installed$"):
        need("torch", "no_such_package")


def test_the_commands_of_a_run():
    plain = train_words(TINY, "bf16", 20)
    assert plain[:5] == ["python", "-m", "aqr_train", TINY, "--work-dir"] and "dataroot=DATA" in plain
    assert "train.precision=bf16" in plain and "train.max_steps=20" in plain
    full = train_words(FULL, "fp16", 6, "zero2.yaml")
    start = "python -m accelerate.commands.launch --config_file LAUNCHERS/zero2.yaml --num_processes 1 -m aqr_train"
    assert " ".join(full).startswith(start)
    assert full[-1] == "load_from=WEIGHTS" and "dataroot=FULL" in full


def test_a_log_is_read(tmp_path):
    records = [
        {"step": 1, "train/loss": 3.0, "time/samples_per_s": 1.0, "fp16/skipped": 1.0, "memory/peak_gib": 2.0},
        {"step": 2, "train/loss": None, "time/samples_per_s": 8.0, "fp16/skipped": 0.0, "memory/peak_gib": 2.5},
        {"step": 2, "val/NDS": 0.5},
    ]
    path = tmp_path / "scalars.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    run = TrainRun.read(path, samples_per_step=4)
    assert run.losses[0] == 3.0 and run.losses[1] != run.losses[1]
    assert (run.skipped, run.step_s, run.peak_gib) == (1, 0.5, 2.5)


def test_a_failed_command_shows_the_end_of_what_it_said(tmp_path):
    workshop = Workshop(tmp_path, CPU)
    with pytest.raises(RuntimeError, match=r"exit code 1: .*No module named no_such_module$"):
        workshop.call(["python", "-m", "no_such_module"])
    assert workshop.call(["python", "-c", "print('RUN')"], {"RUN": "here"}) == "here\n"


def test_attention_on_two_backends_is_compared():
    scene = open_scene("cmt_tiny", 5, CPU)
    found, expected = (attention(name, scene.cells, scene.heads, scene.channels) for name in ("window", "dense"))
    assert len(found) == 5 and largest_difference(found, expected) < 1e-4
    assert largest_difference([found[0] + 1], [expected[0]]) > 0.1


@pytest.mark.skipif(importlib.util.find_spec("spconv") is None, reason="spconv is not installed")
def test_encoders_on_two_backends_are_compared():
    assert largest_difference(encode("spconv", CPU), encode("torch", CPU)) < 1e-5


@pytest.mark.slow
def test_a_run_is_made_once(tmp_path):
    workshop = Workshop(tmp_path, CPU)
    run = workshop.train(TINY, "fp32", 2)
    assert len(run.losses) == 2 and run.skipped == 0 and run.step_s > 0
    assert workshop.train(TINY, "fp32", 2) is run
