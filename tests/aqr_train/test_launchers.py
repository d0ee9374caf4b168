"""The shipped launcher files: what Accelerate reads in them, and what they really start on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from accelerate.commands.config import load_config_from_file
from accelerate.commands.launch import launch_command_parser

from aqr_core.errors import ConfigError
from aqr_train.launchers import FOLDER, find_launcher, launchers

YAML = [name for name, path in launchers().items() if path.suffix == ".yaml"]
# name: distributed type, machines, processes
EXPECTED = {
    "one_cpu": ("NO", 1, 1),
    "two_cpus": ("MULTI_GPU", 1, 2),
    "one_gpu": ("NO", 1, 1),
    "eight_gpus": ("MULTI_GPU", 1, 8),
    "zero1": ("DEEPSPEED", 1, 8),
    "zero2": ("DEEPSPEED", 1, 8),
    "zero2_offload": ("DEEPSPEED", 1, 8),
    "zero3": ("DEEPSPEED", 1, 8),
    "zero3_offload": ("DEEPSPEED", 1, 8),
    "fsdp2": ("FSDP", 1, 8),
    "two_nodes": ("MULTI_GPU", 2, 16),
    "two_nodes_zero2": ("DEEPSPEED", 2, 16),
}
# name: stage, device of the optimiser, device of the weights
ZERO = {
    "zero1": (1, "none", "none"),
    "zero2": (2, "none", "none"),
    "zero2_offload": (2, "cpu", "none"),
    "zero3": (3, "none", "none"),
    "zero3_offload": (3, "cpu", "cpu"),
    "two_nodes_zero2": (2, "none", "none"),
}


def test_every_file_is_expected() -> None:
    assert set(YAML) == set(EXPECTED) and set(launchers()) - set(YAML) == {"slurm"}


@pytest.mark.parametrize("name", YAML)
def test_accelerate_reads_what_the_file_means(name: str) -> None:
    config = load_config_from_file(str(find_launcher(name)))
    assert (config.distributed_type.value, config.num_machines, config.num_processes) == EXPECTED[name]
    assert config.mixed_precision == "no"  # the engines open autocast themselves
    assert config.use_cpu == name.endswith(("cpu", "cpus"))
    zero = config.deepspeed_config
    assert (name in ZERO) == bool(zero)
    if zero:
        assert (zero["zero_stage"], zero["offload_optimizer_device"], zero["offload_param_device"]) == ZERO[name]
    # Of a section Accelerate takes any key, and passes over those it does not know.
    known = vars(launch_command_parser().parse_args(["script.py"]))
    assert [key for key in [*zero, *config.fsdp_config] if key not in known] == []


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="No launcher is called 'zero_2'. Did you mean 'zero2'?"):
        find_launcher("zero_2")


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the environment, with the toy importable as `toy_parts`, on one thread."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(cwd), "OMP_NUM_THREADS": "1", **environment}
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        env.pop(name, None)
    return subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_the_path_of_a_file_is_printed_for_the_shell(tmp_path: Path) -> None:
    module = [sys.executable, "-m", "aqr_train.launchers"]
    assert run(*module, "zero2", cwd=tmp_path).stdout == f"{FOLDER / 'zero2.yaml'}\n"
    lines = run(*module, cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(launchers())
    assert "two_cpus         Two processes on the CPU" in "\n".join(lines)
    unknown = run(*module, "zero5", cwd=tmp_path)
    assert unknown.returncode == 2 and "No launcher is called 'zero5'." in unknown.stderr


@pytest.fixture
def toy_run(toy_config: Path, tmp_path: Path) -> list[str]:
    """`-m aqr_train` and its arguments for two steps of the toy into `tmp_path/work`."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path / "toy_parts.py")
    with toy_config.open("a") as file:
        file.write("custom_imports = dict(imports=['toy_parts'])\n")
    return [
        "-m",
        "aqr_train",
        str(toy_config),
        "--work-dir",
        str(tmp_path / "work"),
        "--cfg-options",
        "train.max_steps=2",
    ]


def processes_line(work_dir: Path) -> str:
    """What the plan in the log says of processes."""
    line = next(line for line in (work_dir / "log.txt").read_text().splitlines() if "processes  " in line)
    return " ".join(line[line.index("processes") :].split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("one_cpu", [], "processes 1 (one process, cpu)"),
        ("two_cpus", [], "processes 2 (DDP, cpu)"),
        ("zero2", ["--num_processes", "2"], "processes 2 (ZeRO-2, cpu)"),
    ],
)
def test_accelerate_launch_trains(name: str, options: list[str], says: str, toy_run: list[str], tmp_path: Path) -> None:
    if name in ZERO:
        pytest.importorskip("deepspeed")
    done = run("accelerate", "launch", "--config_file", find_launcher(name), *options, *toy_run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert processes_line(tmp_path / "work").startswith(says)
    assert (tmp_path / "work" / "checkpoints" / "latest").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [("zero1", "ZeRO-1"), ("zero3_offload", "ZeRO-3"), ("fsdp2", "FSDP2"), ("eight_gpus", "DDP")],
)
def test_a_number_of_processes_on_the_command_line_counts(name: str, says: str, tmp_path: Path) -> None:
    if name in ZERO:
        pytest.importorskip("deepspeed")
    launch = ["accelerate", "launch", "--config_file", find_launcher(name), "--num_processes", "2"]
    done = run(*launch, "-m", "aqr_train.dist_check", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    for verb in ("asked ", "runs  "):
        assert f"{verb} 2 processes, {says}, cpu" in done.stdout


@pytest.mark.slow
def test_two_nodes_meet_at_the_address_of_the_first(tmp_path: Path) -> None:
    """Static rendezvous by hand, both nodes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = ["accelerate", "launch", "--config_file", find_launcher("two_nodes"), "--num_processes", "2"]
    launch += ["--main_process_ip", "127.0.0.1", "--main_process_port", port]

    def node(number: int) -> subprocess.CompletedProcess[str]:
        module = ["--machine_rank", str(number), "-m", "aqr_train.dist_check"]
        return run(*launch, *module, cwd=tmp_path, CUDA_VISIBLE_DEVICES="")

    with ThreadPoolExecutor(2) as nodes:
        first, second = nodes.map(node, (0, 1))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "2 processes add up." in first.stdout and second.stdout == ""


AFTERWARDS = """
import sys
from pathlib import Path
from aqr_train.cli import main

assert main(["train", *sys.argv[1:]]) == 0
print("left:", sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed on Linux")
def test_no_thread_of_the_process_group_outlives_the_run(toy_run: list[str], tmp_path: Path) -> None:
    """One that does aborts the process now and then, while Python ends."""
    script = tmp_path / "afterwards.py"
    script.write_text(AFTERWARDS)
    torchrun = ["torchrun", "--standalone", "--nproc_per_node", "2", script]
    done = run(*torchrun, *toy_run[2:], cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left:") == 2 and "gloo" not in done.stdout, done.stdout


@pytest.mark.slow
def test_torchrun_trains_and_so_does_python_alone(toy_run: list[str], tmp_path: Path) -> None:
    done = run("torchrun", "--standalone", "--nproc_per_node", "2", *toy_run, cwd=tmp_path, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    assert processes_line(tmp_path / "work").startswith("processes 2 (DDP, cpu)")
    shutil.rmtree(tmp_path / "work")
    done = run(sys.executable, *toy_run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert processes_line(tmp_path / "work").startswith("processes 1 (one process, cpu)")
