"""docker/compose.yaml keeps its promises, and the check tells of a copy that does not."""

from __future__ import annotations

import subprocess

import compose
import dockerfile
import pytest
from programs import validate


@pytest.fixture(scope="module")
def text(docker_dir):
    return (docker_dir / "compose.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def arguments(docker_dir):
    return dockerfile.arguments((docker_dir / "Dockerfile").read_text(encoding="utf-8"))


def spoilt(text, old, new):
    assert old in text, old
    return text.replace(old, new)


def test_the_compose_file_keeps_its_promises(text, arguments):
    assert list(compose.faults(text, arguments)) == []


def test_the_compose_file_follows_the_specification(docker_dir):
    done = subprocess.run(validate(docker_dir / "compose.yaml"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("aqr:0.1.0-eval", "aqr:latest", "Service 'eval' has the image 'aqr:latest'"),
        ("aqr:0.1.0-cpu", "aqr:0.2.0-cpu", "Service 'demo' has the image 'aqr:0.2.0-cpu'"),
        ("target: train", "target: train-devel", "its target and version are those of 'aqr:0.1.0-train-devel'"),
        ("TORCH_INDEX:", "TORCH_INDEXX:", "sets TORCH_INDEXX, which the Dockerfile does not know"),
        ('user: "${UID:-1000}:${GID:-1000}"', 'user: "0:0"', "Service 'demo' runs as '0:0'"),
        ("cap_drop: [ALL]", "cap_drop: []", "Service 'train' keeps privileges"),
        ("127.0.0.1:${TENSORBOARD_PORT", "${TENSORBOARD_PORT", "to the network"),
        ("read_only: true\n  bind", "read_only: false\n  bind", "Service 'train' may write into the dataset"),
        ("create_host_path: false", "create_host_path: true", "lets Docker make the folder of /workspace/demo as root"),
        ("driver: nvidia", "driver: other", "Service 'train-multi-node' reserves no GPU"),
        ("  shm_size: ${SHM_SIZE:-16gb}\n", "", "has the 64 MB of shared memory"),
        ("memlock: -1", "memlock: 65536", "limits locked memory"),
        ("      MACHINE_RANK:\n", "      MACHINE_RANK: ${MACHINE_RANK:?rank}\n", "MACHINE_RANK is required"),
        ("  demo:\n", "  demonstration:\n", "There is no service 'demo'"),
    ],
)
def test_a_broken_promise_is_told(text, arguments, old, new, fault):
    assert any(fault in told for told in compose.faults(spoilt(text, old, new), arguments))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("shm_size: 2gb", "shm_sizee: 2gb"),
        ("capabilities: [gpu]", "capabilities: gpu"),
        ("network_mode: host", "network_mode: [host]"),
    ],
)
def test_the_specification_refuses_a_spoilt_copy(text, tmp_path, old, new):
    path = tmp_path / "compose.yaml"
    path.write_text(spoilt(text, old, new))
    done = subprocess.run(validate(path), capture_output=True, text=True)
    assert done.returncode != 0
    assert new.partition(":")[0] in done.stdout


def test_words_are_interpolated_as_compose_does():
    given = {"GPUS": "4", "EMPTY": ""}
    assert compose.interpolated("${GPUS:-8}", given) == "4"
    assert compose.interpolated("${EMPTY:-8}", given) == "8"
    assert compose.interpolated("a/${LAUNCHER:-zero2}.yaml", given) == "a/zero2.yaml"
    assert compose.interpolated("$${GPUS:?no $$} $$HOME", given) == "${GPUS:?no $} $HOME"
