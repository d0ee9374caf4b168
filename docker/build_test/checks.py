"""What must hold inside the images: each check runs commands of the documents, as a plain user."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from containers import ANY_USER, OWN_USER, Containers
from images import PLANTED
from rootless import Failure

DATA = "data/nuscenes"
SUBMISSION = "work_dirs/cmt_tiny/submission.json"
TESTS = ("aqr_eval/test_evaluation.py", "aqr_eval/test_matching.py", "aqr_core/test_config.py", "aqr_core/structures")
SBOM = "/usr/share/doc/aqr/sbom.cdx.json"
HELD = {"eval": "aqr-eval", "cpu": "torch", "train": "spconv-cu126"}  # a component of each image
NOT_HELD = {"eval": "torch", "cpu": "cyclonedx-bom", "train": "spconv"}

Check = Callable[[Containers, TextIO], None]


def all_checks(targets: list[str], *, demo: bool, host_demo: Path) -> Iterator[tuple[str, Check]]:
    """Title and check, in an order in which each finds what it reads."""
    for target in targets:
        yield f"{target}: user, labels, components, nothing that was planted", contents_of(target)
    yield "cpu: `aqr doctor`", lambda containers, log: doctor(containers, "cpu", log)
    yield "cpu: `aqr synth`, `prepare`, `predict` into a mounted folder, as a user without a name", prepare
    yield "cpu, eval: `aqr-eval score`, the same numbers", score
    yield f"cpu: tests, {', '.join(TESTS)}", tests
    if "train" in targets:
        yield "train: `aqr doctor`", lambda containers, log: doctor(containers, "train", log)
        yield "train: the launcher and the trainer, without a GPU", train
    if demo:
        yield "cpu: the demo as its service runs it", lambda containers, log: run_demo(containers, log, host_demo)


def contents_of(target: str) -> Check:
    """Who runs, what the image says of itself, what is in it and what is not."""

    def check(containers: Containers, log: TextIO) -> None:
        config = containers.config(target)
        labels = config["Labels"]
        user = containers.output(target, "id", "-u", user=None, log=log).strip()
        log.write(f"user {user}, {labels}, {config.get('Healthcheck')}\n")
        demand(user == OWN_USER, f"{target} runs as user {user}, not as {OWN_USER}")
        demand(labels["org.opencontainers.image.title"] == f"aqr-{target}", f"{target} has another title")
        demand(labels["org.opencontainers.image.revision"] != "unknown", f"{target} does not know its revision")
        demand(target == "train" or bool(config.get("Healthcheck")), f"{target} has no health check")

        places = ("/opt", "/home", "/usr", "/var", "/tmp", "/root", "/etc")
        leaked = ("-name", f"*{PLANTED}*", "-o", "-name", ".git", "-o", "-path", "*/.cache/pip")
        found = containers.output(target, "find", *places, *leaked, user="0", log=log)
        demand(not found, f"{target} holds what must stay out: {found}")
        closed = containers.output(target, "find", "/opt/aqr", "/usr/share/doc/aqr", "!", "-readable", log=log)
        demand(not closed, f"{target} holds what a plain user cannot read: {closed[:300]}")

        components = json.loads(containers.output(target, "cat", SBOM, log=log))["components"]
        names = {component["name"] for component in components}
        log.write(f"{len(names)} components\n")
        demand(HELD[target] in names, f"the list of components of {target} lacks {HELD[target]}")
        demand(NOT_HELD[target] not in names, f"the list of components of {target} has {NOT_HELD[target]}")
        licence = containers.output(target, "cat", "/usr/share/doc/aqr/LICENSE", log=log)
        demand("Apache License" in licence, f"{target} has no licence")

    return check


def doctor(containers: Containers, target: str, log: TextIO) -> None:
    """As the image's user and as any."""
    containers.run(target, "aqr", "doctor", user=None, log=log)
    containers.run(target, "aqr", "doctor", log=log)


def prepare(containers: Containers, log: TextIO) -> None:
    """A synthetic data set, its infos, and detections with the shipped weights."""
    for line in (
        f"aqr synth --out {DATA} --scenes 4 --seed 7 --preset tiny",
        f"aqr prepare --dataroot {DATA} --version v1.0-mini --gt-database",
        f"aqr predict cmt_tiny cmt_tiny --split mini_val --out work_dirs/cmt_tiny --cfg-options dataroot={DATA}",
    ):
        containers.run("cpu", *line.split(), log=log)
    owner = containers.output("cpu", "stat", "--format=%u:%g", SUBMISSION, log=log).strip()
    demand(owner == ANY_USER, f"files in the mounted folder belong to {owner}")


def score(containers: Containers, log: TextIO) -> None:
    """Two images, one evaluator."""
    written = {}
    for target in ("cpu", "eval"):
        out = f"work_dirs/cmt_tiny/{target}.json"
        words = f"aqr-eval score {SUBMISSION} --gt {DATA}/ground_truth_mini_val.safetensors --out {out}"
        containers.run(target, *words.split(), log=log)
        scores = json.loads(containers.output(target, "cat", out, log=log))
        written[target] = {key: value for key, value in scores.items() if "time" not in key}
    mean_ap = written["eval"]["mean_ap"]
    log.write(f"mAP {mean_ap}\n")
    demand(mean_ap > 0.5, f"the shipped weights reach mAP {mean_ap} only")
    demand(written["cpu"] == written["eval"], "the two images score differently")


def tests(containers: Containers, log: TextIO) -> None:
    """The smallest, against the installed wheels."""
    paths = [f"/opt/aqr/tests/{path}" for path in TESTS]
    containers.run("cpu", "env", "OMP_NUM_THREADS=1", "python", "-m", "pytest", *paths, log=log)


def train(containers: Containers, log: TextIO) -> None:
    """The command of the service with a launcher for the CPU, on the data of `prepare`, for two updates."""
    launch = "accelerate launch --config_file /opt/aqr/launchers/one_cpu.yaml --num_processes 1 -m aqr_train"
    infos = " ".join(f"data.{part}.infos=infos_mini_{part}.jsonl" for part in ("train", "val"))
    options = f"--work-dir work_dirs/train --cfg-options dataroot={DATA} {infos} train.max_steps=2 train.val_every=None"
    containers.run("train", *f"{launch} cmt_tiny {options}".split(), log=log)
    containers.run("train", "test", "-e", "work_dirs/train/checkpoints/latest", log=log)


def run_demo(containers: Containers, log: TextIO, host_demo: Path) -> None:
    """The report is there; where the host made one, the scores are the same."""
    containers.run("cpu", "python", "-m", "aqr_train.demo", log=log)
    report = containers.output("cpu", "cat", "demo/report.html", log=log)
    demand("<html" in report and len(report) > 100_000, "the demo left no report")
    metrics = json.loads(containers.output("cpu", "cat", "demo/cmt_aqr_tiny/metrics.json", log=log))
    told = f"the demo reaches mAP {metrics['v3']['mean_ap']} in the container"
    on_host = host_demo / "cmt_aqr_tiny" / "metrics.json"
    if on_host.is_file():
        other = json.loads(on_host.read_text(encoding="utf-8"))["v3"]["mean_ap"]
        told += f" and {other} on the host"
        demand(abs(metrics["v3"]["mean_ap"] - other) < 0.01, told)
    log.write(f"{told}\n")


def demand(holds: bool, otherwise: str) -> None:
    """Raise `otherwise` as a failure unless it holds."""
    if not holds:
        raise Failure(f"{otherwise}.")
