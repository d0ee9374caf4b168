"""Trainings of the toy in forks of one warm process, ended by signals at chosen moments: no import is paid twice.

    python fork_server.py CONFTEST PLAN.json OUT.json     writes what came of each run of the plan

The plan: `config`, and `runs` of
- `work_dir`, `options`: of `aqr train`; `resume`: True (where something is saved), False, or a folder;
- `processes`: how many train together; `environment`: as the launcher sets it;
- `toy_score`: validate with `ToyScore` in the place of the nuScenes metric;
- `moment`: [after, seconds] or None to let it finish, where after is "start" or "save": when the run begins to write a
  checkpoint; `signal` is sent to the processes of the ranks `to` then;
- `largest_file`: bytes, from which on writing fails, as on a full disk.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def load_toy(conftest: str):  # noqa: ANN201 - a module
    spec = importlib.util.spec_from_file_location("toy", conftest)
    toy = importlib.util.module_from_spec(spec)
    sys.modules["toy"] = toy
    spec.loader.exec_module(toy)
    return toy


toy = load_toy(sys.argv[1])

import torch  # noqa: E402
from accelerate.state import AcceleratorState  # noqa: E402

from aqr_core.checkpoint import read_weights  # noqa: E402
from aqr_train import assembly  # noqa: E402
from aqr_train.checkpoints import FOLDER, check_undamaged, latest_checkpoint, read_trainer_state, step_of  # noqa: E402


class ToyScore:
    """In the place of the nuScenes metric, which needs tables: a number that depends on every weight."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __call__(self, model: torch.nn.Module, folder: Path) -> dict[str, float]:
        total = sum(parameter.detach().double().abs().mean().item() for parameter in model.parameters())
        return {"NDS": total % 0.01, "mAP": 0.0}


def start(arguments: list[str], run: dict[str, Any], environment: dict[str, str], log: Path) -> int:
    """Fork a training; returns its process id."""
    child = os.fork()
    if child:
        return child
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update({"ACCELERATE_USE_CPU": "true", **environment})
    if run["largest_file"]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (run["largest_file"], run["largest_file"]))
    if run["toy_score"]:
        assembly.DatasetEvaluation = ToyScore
    code = 99
    try:
        code = toy.main(arguments)
    except BaseException:  # a fork must never return into the loop of the server
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def newest_step(work_dir: Path) -> int:
    """Of the checkpoint that `latest` names, all of which is read; 0 where nothing is saved."""
    folder = latest_checkpoint(work_dir)
    if folder is None:
        return 0
    check_undamaged(folder)
    assert read_weights(folder) and read_trainer_state(folder)["optimizer"]
    return step_of(folder)


def wait_for_save(folder: Path, child: int) -> None:
    """Until anything in the folder changes, or the child has ended."""
    before = set(os.listdir(folder)) if folder.is_dir() else set()
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if folder.is_dir() and set(os.listdir(folder)) != before:
            return
        time.sleep(0.001)


def do(config: str, run: dict[str, Any]) -> dict[str, Any]:
    """One run of the plan, from start to end."""
    work_dir = Path(run["work_dir"])
    resume = ["--resume", run["resume"]] if isinstance(run["resume"], str) else ["--resume"]
    resumes = run["resume"] and (isinstance(run["resume"], str) or latest_checkpoint(work_dir))
    arguments = ["train", config, "--work-dir", str(work_dir), *(resume if resumes else [])]
    arguments += ["--cfg-options", *run["options"]]
    log = work_dir.with_suffix(".txt")
    log.write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": str(run["processes"]), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(run["processes"]):
        own = {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} if run["processes"] > 1 else {}
        children.append(start(arguments, run, {**own, **run["environment"]}, log))
    if run["moment"]:
        after, delay_s = run["moment"]
        if after == "save":
            wait_for_save(work_dir / FOLDER, children[0])
        time.sleep(delay_s)
        for rank in run["to"]:
            os.kill(children[rank], getattr(signal, run["signal"]))
    # Minus the signal's number where one ended it.
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    unfinished = [path.name for path in (work_dir / FOLDER).glob(".*")]
    return {"codes": codes, "step": newest_step(work_dir), "unfinished": unfinished, "text": log.read_text()}


def main() -> None:
    plan = json.loads(Path(sys.argv[2]).read_text())
    if any("ACCELERATE_USE_DEEPSPEED" in run["environment"] for run in plan["runs"]):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else it warns that there is no GPU
        import deepspeed  # noqa: F401, PLC0415
    first = plan["runs"][0]
    warm_up = ["--work-dir", f"{first['work_dir']}_warm_up", "--cfg-options", *first["options"]]
    warm_up += ["data.num_workers=0", "train.max_steps=1", "train.val_every=None"]
    assert toy.main(["train", plan["config"], *warm_up]) == 0  # imports all that a run imports
    AcceleratorState._reset_state(True)
    Path(sys.argv[3]).write_text(json.dumps([do(plan["config"], run) for run in plan["runs"]]))


if __name__ == "__main__":
    main()
