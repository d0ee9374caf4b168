"""docker/Dockerfile keeps its promises, and the check tells of a copy that does not."""

from __future__ import annotations

import subprocess

import dockerfile
import pytest
from programs import lint


@pytest.fixture(scope="module")
def text(docker_dir):
    return (docker_dir / "Dockerfile").read_text(encoding="utf-8")


def spoilt(text, old, new):
    assert old in text, old
    return text.replace(old, new)


def test_the_dockerfile_keeps_its_promises(text, repository):
    assert list(dockerfile.faults(text, repository)) == []


def test_hadolint_has_nothing_to_say(docker_dir):
    done = subprocess.run(lint(docker_dir / "Dockerfile"), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_argument_of_a_base_is_put_in(text):
    bases = {stage.name: stage.base for stage in dockerfile.stages(text)}
    assert bases["cpu"] == "cpu-dependencies"
    assert bases["cpu-dependencies"] == bases["eval"] == "python:3.11.14-slim-bookworm"
    assert bases["train-dependencies"] == "pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("BASE_IMAGE=python:3.11.14-slim-bookworm", "BASE_IMAGE=python", "'python', which is neither"),
        ("BASE_IMAGE=python:3.11.14-slim-bookworm", "BASE_IMAGE=python:latest", "'python:latest', which is neither"),
        ("BASE_IMAGE=python:3.11.14-slim-bookworm", "BASE_IMAGE=python:3", "'python:3', which is neither"),
        ("FROM ${BASE_IMAGE} AS eval\n", "FROM debian AS eval\n", "stands on 'debian'"),
        ("FROM train-dependencies AS train\n", "FROM train-dependency AS train\n", "'train-dependency', which"),
        ("--mount=type=bind,from=wheels", "--mount=type=bind,from=wheel", "takes files from 'wheel'"),
        ("COPY --chmod=644 LICENSE", "COPY --from=licences LICENSE", "takes files from 'licences'"),
        ("COPY --chmod=644 LICENSE", "ADD https://example.org/LICENSE", "has ADD https://example.org/LICENSE"),
        ("USER 10001:10001\n", "", "Image 'cpu' ends with user 'root'"),
        ("USER 10001:10001\n", "USER 0:0\n", "Image 'cpu' ends with user '0:0'"),
        ("CMD [", "USER root\nCMD [", "Image 'eval' ends with user 'root'"),
        ("image.revision=", "image.version=", "Image 'train' has no label org.opencontainers.image.revision"),
        ("aqr doctor && rm", "true && rm", "Image 'train-devel' is built without `aqr doctor`"),
        ("&& sh /finish.sh", "", None),
        ("TORCH_VERSION=2.13.0", "TORCH_VERSION=2.12.0", "TORCH_VERSION is 2.12.0, constraints.txt has torch 2.13.0"),
        ("2.13.0-cuda12.6-cudnn9-runtime", "2.13.0-cuda13.0-cudnn9-runtime", "CUDA_IMAGE has tag '2.13.0-cuda13.0"),
        ("2.13.0-cuda12.6-cudnn9-devel", "2.12.1-cuda12.6-cudnn9-devel", "CUDA_DEVEL_IMAGE has tag '2.12.1-cuda12.6"),
        ("ARG VERSION=0.1.0", "ARG VERSION=0.0.9", "VERSION is 0.0.9, aqr_train is"),
        ("AS eval\n", "AS evaluation\n", "There is no stage 'eval'"),
    ],
)
def test_a_broken_promise_is_told(text, repository, old, new, fault):
    if fault is None:  # the mount of the script alone does not run it
        old, fault = "docker/finish.sh", "so it has no list of components"
    assert any(fault in told for told in dockerfile.faults(spoilt(text, old, new), repository))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("WORKDIR /workspace", "WORKDIRR /workspace", "missing whitespace"),
        ("--no-cache-dir --no-deps --no-index", "--no-deps --no-index", "DL3042"),
        ("WORKDIR /workspace", "WORKDIR workspace", "DL3000"),
        ("aqr-eval --help > /dev/null", 'cd /tmp && test $(id -u) = "0', "SC1"),
    ],
)
def test_hadolint_refuses_a_spoilt_copy(text, tmp_path, old, new, rule):
    path = tmp_path / "Dockerfile"
    path.write_text(spoilt(text, old, new))
    done = subprocess.run(lint(path), capture_output=True, text=True)
    assert done.returncode != 0
    assert rule in done.stdout + done.stderr
