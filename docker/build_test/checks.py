"""What must hold inside the images: each check is a command of the documents, run as a plain user."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from images import PLANTED, image
from rootless import Failure, Rootless

OWN_USER = "10001"
ANY_USER = "4242:4242"  # as `user:` of compose.yaml: no entry in /etc/passwd
DATA = "data/nuscenes"
TESTS = ("aqr_eval/test_evaluation.py", "aqr_eval/test_matching.py", "aqr_core/test_config.py", "aqr_core/structures")

Check = Callable[["Containers", TextIO], None]


class Containers:
    """One container per image; /workspace of both is one folder of the host that belongs to ANY_USER."""

    def __init__(self, rootless: Rootless) -> None:
        self._rootless = rootless
        self.mounted = rootless.folder / "mounted"
        self._names: dict[str, str] = {}

    def __enter__(self) -> Containers:
        self._rootless.inside("rm", "-rf", self.mounted)
        self._rootless.run("mkdir", self.mounted)
        self._rootless.inside("chown", ANY_USER, self.mounted)
        return self

    def __exit__(self, *_: object) -> None:
        self._rootless.buildah("rm", "--all")

    def run(self, target: str, *words: str, user: str | None = ANY_USER, log: TextIO | None = None) -> str:
        """Run a command, as the image's own user where `user` is None; its output, where there is no log."""
        if target not in self._names:
            self._names[target] = self._rootless.buildah("from", image(target)).strip()
        as_user = ["--user", user] if user else []
        volume = ["--volume", f"{self.mounted}:/workspace"]
        return self._rootless.buildah("run", *as_user, *volume, self._names[target], "--", *words, log=log)

    def config(self, target: str) -> dict[str, object]:
        """The image's configuration: user, labels, health check."""
        inspected = json.loads(self._rootless.buildah("inspect", "--type", "image", image(target)))
        return dict(inspected["Docker"]["config"])


def all_checks(*, demo: bool, host_demo: Path) -> Iterator[tuple[str, Check]]:
    """Title and check, in an order in which each finds what it reads."""
    yield "user, labels, health check, nothing that was planted", identity
    yield "list of components and licence", components
    yield "`aqr doctor`", doctor
    yield "`aqr synth`, `prepare`, `predict` into a mounted folder, as a user without a name", prepare
    yield "`aqr-eval score` in both images: the same numbers", score
    yield f"tests: {', '.join(TESTS)}", tests
    if demo:
        yield "the demo as its service runs it", lambda containers, log: run_demo(containers, log, host_demo)


def identity(containers: Containers, log: TextIO) -> None:
    """Who runs, what the image says of itself, what is not in it."""
    for target in ("eval", "cpu"):
        config = containers.config(target)
        labels, who = dict(config["Labels"]), containers.run(target, "id", "-u", user=None).strip()  # type: ignore[call-overload]
        log.write(f"{target}: user {who}, {labels}, {config.get('Healthcheck')}\n")
        demand(who == OWN_USER, f"{target} runs as user {who}, not as {OWN_USER}")
        demand(config["User"] == "10001:10001", f"{target} says that its user is {config['User']}")
        demand(labels["org.opencontainers.image.title"].startswith("aqr-"), f"{target} has no title")
        demand(labels["org.opencontainers.image.revision"] != "unknown", f"{target} does not know its revision")
        demand(bool(config.get("Healthcheck")), f"{target} has no health check")
        places = ("/opt", "/home", "/usr", "/var", "/tmp", "/root", "/etc")
        found = containers.run(target, "find", *places, "-name", f"*{PLANTED}*", "-o", "-path", "*/.git", user="0")
        demand(not found, f"{target} holds what must stay out: {found}")
        closed = containers.run(target, "find", "/opt/aqr", "/usr/share/doc/aqr", "!", "-readable", user=ANY_USER)
        demand(not closed, f"{target} holds what a plain user cannot read: {closed[:300]}")


def components(containers: Containers, log: TextIO) -> None:
    """Both images list what is in them, eval no torch."""
    for target, present, absent in (("eval", "aqr-eval", "torch"), ("cpu", "torch", "cyclonedx-bom")):
        listed = json.loads(containers.run(target, "cat", "/usr/share/doc/aqr/sbom.cdx.json"))["components"]
        names = {component["name"].lower() for component in listed}
        log.write(f"{target}: {len(listed)} components\n")
        demand(present in names and absent not in names, f"the list of {target} lacks {present} or has {absent}")
        demand(
            "Apache License" in containers.run(target, "cat", "/usr/share/doc/aqr/LICENSE"), f"{target} has no licence"
        )


def doctor(containers: Containers, log: TextIO) -> None:
    """As the image's user and as any."""
    containers.run("cpu", "aqr", "doctor", user=None, log=log)
    containers.run("cpu", "aqr", "doctor", log=log)


def prepare(containers: Containers, log: TextIO) -> None:
    """A synthetic data set, its infos, and detections with the shipped weights."""
    for line in (
        f"aqr synth --out {DATA} --scenes 4 --seed 7 --preset tiny",
        f"aqr prepare --dataroot {DATA} --version v1.0-mini --gt-database",
        "aqr predict cmt_tiny cmt_tiny --split mini_val --out work_dirs/cmt_tiny",
    ):
        containers.run("cpu", *line.split(), log=log)
    owner = containers.run("cpu", "stat", "--format=%u", "work_dirs/cmt_tiny/submission.json").strip()
    demand(owner == ANY_USER.split(":")[0], f"files in the mounted folder belong to {owner}")


def score(containers: Containers, log: TextIO) -> None:
    """Two images, one evaluator."""
    written = {}
    for target in ("cpu", "eval"):
        out = f"work_dirs/cmt_tiny/metrics-{target}.json"
        words = f"work_dirs/cmt_tiny/submission.json --gt {DATA}/ground_truth_mini_val.safetensors --out {out}"
        containers.run(target, "aqr-eval", "score", *words.split(), log=log)
        written[target] = containers.run(target, "cat", out)
    mean_ap = json.loads(written["eval"])["mean_ap"]
    log.write(f"mAP {mean_ap}\n")
    demand(mean_ap > 0.5, f"the shipped weights reach mAP {mean_ap} only")
    same = [_without_times(text) for text in written.values()]
    demand(same[0] == same[1], "the two images score differently")


def _without_times(metrics: str) -> dict[str, object]:
    return {key: value for key, value in json.loads(metrics).items() if "time" not in key}


def tests(containers: Containers, log: TextIO) -> None:
    """The smallest, against the installed wheels."""
    paths = [f"/opt/aqr/tests/{path}" for path in TESTS]
    containers.run("cpu", "env", "OMP_NUM_THREADS=1", "python", "-m", "pytest", *paths, log=log)


def run_demo(containers: Containers, log: TextIO, host_demo: Path) -> None:
    """The report is there; where the host made one, the scores are the same."""
    containers.run("cpu", "python", "-m", "aqr_train.demo", "--out", "demo", log=log)
    metrics = containers.run("cpu", "cat", "demo/cmt_aqr_tiny/metrics.json")
    log.write(f"mAP {json.loads(metrics)['v3']['mean_ap']}\n")
    demand("<html" in containers.run("cpu", "head", "-c", "2000", "demo/report.html"), "the demo left no report")
    on_host = host_demo / "cmt_aqr_tiny" / "metrics.json"
    if on_host.is_file():
        maps = [json.loads(text)["v3"]["mean_ap"] for text in (metrics, on_host.read_text(encoding="utf-8"))]
        log.write(f"mAP {maps[0]} in the container, {maps[1]} on the host\n")
        demand(
            abs(maps[0] - maps[1]) < 0.01, f"the demo reaches mAP {maps[0]} in the container and {maps[1]} on the host"
        )


def demand(holds: bool, otherwise: str) -> None:
    """Raise `otherwise` as a failure unless it holds."""
    if not holds:
        raise Failure(f"{otherwise}.")
