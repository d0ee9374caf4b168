"""The parts of the build test that need no build: what is handed on, what is planted, when CI builds."""

from __future__ import annotations

import io
import subprocess

import changed
import host_pip
import images
import pytest
from ignore import is_ignored, read
from steps import Steps


def test_pip_is_told_inside_what_it_is_told_outside(tmp_path):
    index, wheels, certificate = tmp_path / "index", tmp_path / "wheels", tmp_path / "ca.crt"
    (index / "simple").mkdir(parents=True)
    wheels.mkdir()
    certificate.write_text("")
    listed = (
        f":env:.find-links='{wheels}'\n"
        f"global.find-links='/elsewhere'\n"
        f"global.cert='{certificate}'\n"
        f"install.extra-index-url='https://example.org/simple file://{index}/simple'\n"
        "global.target='/somewhere'\n"
    )
    text, mounts = host_pip.inside(host_pip.parse(listed))
    assert mounts == {certificate: "/run/host-pip/0.crt", index: "/run/host-pip/1", wheels: "/run/host-pip/2"}
    assert text.splitlines() == [
        "[global]",
        "cert = /run/host-pip/0.crt",
        "extra-index-url = https://example.org/simple file:///run/host-pip/1/simple",
        "find-links = /run/host-pip/2",
    ]


def test_every_planted_file_is_one_that_the_context_ignores(repository):
    patterns = read((repository / ".dockerignore").read_text(encoding="utf-8"))
    assert [name for name in images.PLANTED_AT if not is_ignored(name, patterns)] == []


def test_a_table_adds_up_the_layers():
    size = images.Size("cpu", (("FROM", 200_000_000), ("RUN pip", 50_400_000), ("COPY LICENSE", 600_000)))
    rows = size.table().splitlines()[2:]
    assert rows == [
        "| FROM | 200 MB |",
        "| RUN pip | 50 MB |",
        "| the rest | 0.6 MB |",
        "| **together** | **251 MB** |",
    ]


@pytest.mark.parametrize(
    ("created_by", "shown"),
    [
        ("/bin/sh -c #(nop) ENV LANG=C.UTF-8", "ENV LANG=C.UTF-8"),
        ("|2 A=/opt/aqr B= /bin/sh -c --mount=type=bind,from=w,target=/w sh /finish.sh", "sh /finish.sh"),
        ("/bin/sh -c #(nop) COPY dir:2e76 in /opt/aqr/tests", "COPY /opt/aqr/tests"),
        (f"/bin/sh -c {'x' * 100} end", f"... {'x' * 66} end"),
    ],
)
def test_an_instruction_is_shown_by_its_end(created_by, shown):
    assert images._short(created_by) == shown


def test_steps_are_told_whether_they_succeed_or_not(capsys):
    steps = Steps(io.StringIO())
    with steps.step("first"):
        pass
    with pytest.raises(ValueError), steps.step("second"):
        raise ValueError
    assert capsys.readouterr().out.splitlines() == ["first ... ok, 0 s", "second ... failed, 0 s"]
    assert steps.table().splitlines()[2:4] == ["| first | 0 s |", "| second | 0 s |"]


@pytest.fixture
def checkout(tmp_path):
    for name in (".dockerignore", "docker/Dockerfile", "requirements/eval.txt", "packages/aqr_eval/pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "docker/build_test").mkdir()
    return tmp_path


def test_a_checkout_without_a_record_must_be_built(checkout):
    assert "docker/Dockerfile" in changed.changed(checkout)


def test_a_recorded_checkout_need_not_be_built_until_an_input_changes(checkout):
    changed.write_record(checkout, changed.hashes(checkout))
    assert changed.changed(checkout) == []
    (checkout / "README.md").write_text("prose")
    (checkout / "docker/compose.yaml").write_text("services: {}")
    assert changed.changed(checkout) == []
    (checkout / "requirements/eval.txt").write_text("numpy")
    (checkout / "requirements/new.txt").write_text("new")
    (checkout / ".dockerignore").unlink()
    assert changed.changed(checkout) == [".dockerignore", "requirements/eval.txt", "requirements/new.txt"]


def test_sha256sum_reads_the_record(checkout):
    changed.write_record(checkout, changed.hashes(checkout))
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", changed.PROVEN], cwd=checkout, check=True)


def test_every_input_of_the_dockerfile_counts(repository):
    counted = changed.hashes(repository)
    for name in ("docker/Dockerfile", "docker/finish.sh", "requirements/runtime.txt", "constraints.txt"):
        assert name in counted
    assert "packages/aqr_core/pyproject.toml" in counted
    assert str(changed.PROVEN) not in counted
