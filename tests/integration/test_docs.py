"""Every command in the documents exists: make verbs, subcommands and their options, shipped configs."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aqr_train.cli import VERBS

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
DOCUMENTS += sorted(REPOSITORY.glob("docs/**/*.md")) + sorted(REPOSITORY.glob("packages/*/README.md"))
MODULES = {"aqr": "aqr_train.cli", "aqr-eval": "aqr_eval.cli", "aqr_train": "aqr_train"}


def commands(document: Path) -> list[list[str]]:
    """Words of each command line in the document's `sh` blocks, continuation lines joined, comments dropped."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def program(words: list[str]) -> tuple[str, list[str]] | None:
    """(key of MODULES, arguments) of a command of ours, whatever launches it."""
    for position, word in enumerate(words):
        name = Path(word).name
        if name in ("aqr", "aqr-eval") or (name == "aqr_train" and words[position - 1] == "-m"):
            arguments = words[position + 1 :]
            return "aqr" if name == "aqr_train" and arguments[0] in VERBS else name, arguments
    return None


@functools.cache
def usage(name: str, subcommand: tuple[str, ...]) -> str:
    call = f"import sys; from {MODULES[name]} import main; sys.exit(main(sys.argv[1:]))"
    start = ["-m", "aqr_train"] if name == "aqr_train" else ["-c", call]
    words = [sys.executable, *start, *subcommand, "--help"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_commands_of_the_documents_exist(document):
    verbs = set(
        re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    configs = {path.stem for path in REPOSITORY.glob("packages/aqr_train/src/aqr_train/configs/*.py")}
    for words in commands(document):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= verbs, words
        if ours := program(words):
            name, arguments = ours
            depth = 0 if name == "aqr_train" else 2 if arguments[0] in ("benchmark", "show") else 1
            subcommand = tuple(arguments[:depth])
            text = usage(name, subcommand)
            unknown = [word for word in arguments if word.startswith("--") and not re.search(rf"{word}\b", text)]
            assert unknown == [], f"{shlex.join(words)}: {unknown}"
            if name == "aqr_train" or subcommand[0] in ("train", "predict", "test"):
                config = arguments[0 if name == "aqr_train" else 1]
                assert config in configs, f"{shlex.join(words)}: no shipped config is called {config}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_of_the_documents_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_figure_is_left_open(document):
    assert re.findall(r"@@.*?@@", document.read_text(encoding="utf-8"), flags=re.DOTALL) == []
