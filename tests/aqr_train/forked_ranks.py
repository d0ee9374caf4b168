"""Functions of a test on several processes, in forks of one warm process: no import is paid twice.

python forked_ranks.py FILE RUNS     RUNS is JSON: [processes, name of a function in FILE, its arguments] per run
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from typing import Any

Run = tuple[int, str, Sequence[str]]


def carry_out(file: str, runs: Sequence[Run]) -> str:
    """Every run, one after the other, on the CPU; returns what they wrote. All their processes must end well."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, file, json.dumps(runs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start(function: Any, arguments: Sequence[str], environment: dict[str, str]) -> int:
    """Fork a process; returns its id."""
    child = os.fork()
    if child:
        return child
    os.environ.update(environment)
    code = 99
    try:
        code = int(function(*arguments) or 0)
    except BaseException:  # a fork must never return into the loop below
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    spec = importlib.util.spec_from_file_location("ranks", sys.argv[1])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ranks"] = module  # where loader workers find its classes
    spec.loader.exec_module(module)
    for processes, name, arguments in json.loads(sys.argv[2]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        children = []
        for rank in range(processes):
            own = {"WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(start(getattr(module, name), arguments, {**group, **own}))
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert codes == [0] * processes, f"{name}{tuple(arguments)} on {processes} processes ended with {codes}"


if __name__ == "__main__":
    main()
