"""`aqr estimate` on the screen, as JSON, and its errors."""

from __future__ import annotations

import json

import pytest

from aqr_train.cli import main


def test_the_json_holds_the_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["estimate", "cmt_aqr_tiny", "--gpus", "8", "--zero", "1", "--no-activations", "--json"]
    assert main([*command, "--batch-size", "3", "--accumulate", "2", "--precision", "bf16"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["batch_size"], found["accumulate"], found["precision"]) == (3, 2, "bf16")
    trained = 4 * found["size"]["trainable"]
    assert found["states"]["moments"] == -(-trained // 8) * 2
    assert found["sent_bytes"] == pytest.approx(3 * 7 / 8 * trained, abs=1)
    assert [row["world_size"] for row in found["projection"]] == [8, 64, 512]


def test_the_tables_name_what_trains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "cmt_aqr_tiny", "--no-activations", "--compute-s", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "one process" in out and "are frozen" in out and "efficiency at 0.5 s" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "0"], "--gpus is 0"),
        (["--inter", "0"], "--inter is 0"),
        (["--zero", "3", "--fsdp", "--gpus", "2"], "exclude each other"),
        (["--accumulate", "0"], "train.accumulate is 0"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "cmt_aqr_tiny", "--no-activations", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_no_process_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "scaling", "--processes", "0"]) == 2
    assert "--processes and --accumulate are 0 and 2, but are counts from 1" in " ".join(
        capsys.readouterr().err.split()
    )


def test_an_engine_that_fails_is_told_with_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "scaling", "no_such_config", "--processes", "1"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "DDP on 1 processes failed" in out and "no_such_config" in out
