"""Each way in which a machine is not ready is one line that says what was found and what to do."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.operating import doctor, rounds
from pipeline.operating.doctor import Machine, check_gpu, check_remote, check_versions, examine
from pipeline.operating.finding import Finding
from tests.running.projects import Clone, add_remote, origin

pytestmark = pytest.mark.slow
NOBODY = "http://127.0.0.1:9"  # the port `discard`, where nothing listens


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A project on a machine that is well."""
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "CARTOON_REMOTE", "CARTOON_LEASES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name in ("_FEW", "_LITTLE", "_TEMPORARY"):
        monkeypatch.setattr(doctor, name, 1)
    monkeypatch.setattr(rounds, "PREFECT_PORT", free_port())
    monkeypatch.setattr(rounds, "MLFLOW_PORT", free_port())
    made = origin(tmp_path)
    (made.root / "requirements.lock").write_text(f"dvc=={metadata.version('dvc')} \\\n    --hash=sha256:00\n")
    made.run("git", "config", "user.email", "me@example.org")
    made.run("git", "config", "user.name", "me")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "lock")
    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def found(project: Clone, what: str, pool: str | None = None) -> Finding:
    """Ask the one question that answers this."""
    root = project.root
    at = Machine(root, pool, root / ".dvc" / "cache", "store" if what == "remote" else None)
    findings = {
        "versions": lambda: check_versions(at),
        "gpu": lambda: check_gpu(at),
        "remote": lambda: check_remote(at),
        "prefect": lambda: rounds.check_prefect(root, pool),
        "clock": lambda: rounds.check_clock(root, pool),
        "mlflow": lambda: rounds.check_mlflow(root, pool),
    }.get(what, lambda: rounds.check_ports(root, pool))()
    (finding,) = (finding for finding in findings if finding.what == what)
    return finding


@contextmanager
def server(version: str, skew: float = 0.0) -> Iterator[str]:
    """Something that answers as Prefect's and MLflow's servers do, with a clock of its own."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write((json.dumps(version) if "admin" in self.path else version).encode())

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + skew)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()


def test_a_machine_that_is_well_has_no_problem(project: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--root", str(project.root), "doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("ok: ")] == []
    assert {line.split(": ")[1] for line in lines} >= {"python", "versions", "git tree", "cache", "gpu", "clock"}
    assert project.run("git", "status", "--porcelain").stdout == ""  # it leaves nothing behind


@pytest.mark.parametrize(
    ("lock", "level", "words"),
    [
        ("dvc==0.1.0 \\\n", "problem", "(pinned: 0.1.0)"),
        ("numpy==0.1.0 \\\n", "warning", "requirements.lock pins 0.1.0"),
        ("numpy==0.1.0 ; python_full_version < '3.9' \\\n", "ok", "as requirements.lock pins them"),
        (None, "warning", "is not there"),
    ],
)
def test_another_version_than_the_pinned_one(project: Clone, lock: str | None, level: str, words: str) -> None:
    path = project.root / "requirements.lock"
    path.unlink() if lock is None else path.write_text(lock)
    finding = found(project, "versions")
    assert finding.level == level
    assert words in finding.found


def test_commits_need_an_identity_and_agents_see_only_them(project: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run("git", "config", "--unset", "user.email")
    project.run("git", "config", "user.useConfigOnly", "true")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (project.root / "in").write_text("edited")
    findings = {finding.what: finding for finding in examine(project.root, None)}
    assert findings["git identity"].exit_code == 2
    assert "git config --global user.email" in findings["git identity"].remedy
    assert str(findings["git tree"]).startswith("warning: git tree: 1 changed files: in; ")


def test_what_it_tries_in_the_project_is_no_change_of_it(project: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[str] = []

    def symlink(source: str, link: str) -> None:
        os.link(source, link)
        changed.append(project.run("git", "status", "--porcelain").stdout)

    monkeypatch.setattr(os, "symlink", symlink)
    findings = {finding.what: finding.level for finding in examine(project.root, None)}
    assert findings["cache links"] == "ok"
    assert changed == [""]


def test_a_full_disk_is_a_lack_of_resources(
    project: Clone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_LITTLE", 1 << 60)
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(project.root), "doctor"])
    assert caught.value.code == 5
    captured = capsys.readouterr()
    assert captured.out.count("problem: disk for ") == 2
    assert "`dvc gc " in captured.out
    assert "2 problems" in captured.err


def test_a_cache_that_takes_no_file_is_a_lack_and_a_wrong_setting_beside_it_decides_the_code(
    project: Clone, capsys: pytest.CaptureFixture[str]
) -> None:
    with project.settings("local") as settings:
        settings["cache"]["dir"] = "/proc/nothing"
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(project.root), "doctor"])
    assert caught.value.code == 5
    assert "problem: cache: /proc/nothing: cannot be written: " in capsys.readouterr().out
    (project.root / "requirements.lock").write_text("dvc==0.1.0 \\\n")
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(project.root), "doctor"])
    assert caught.value.code == 2


def test_a_taken_port_names_who_listens_there(project: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(rounds, "PREFECT_PORT", port)
        finding = found(project, f"port {port}")
        assert (finding.level, finding.exit_code) == ("problem", 5)
        assert f"process {os.getpid()} (" in finding.found
        assert "--port N" in finding.remedy
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        assert found(project, f"port {port}").level == "ok"


@pytest.mark.parametrize(
    ("url", "level", "words"),
    [
        ("{tmp}/store", "ok", "store, folder "),
        ("{tmp}/unmounted", "problem", "no such folder; mount its disk"),
        ("s3://bucket/x", "problem", "Could not connect"),
    ],
)
def test_a_remote_is_asked(
    project: Clone, url: str, level: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "store").mkdir()
    endpoint = NOBODY if url.startswith("s3") else None
    add_remote(project, "store", url.format(tmp=tmp_path), endpoint, default=True)
    finding = found(project, "remote")
    assert finding.level == level
    assert words.lower() in finding.found.lower()


def test_a_gpu_agent_without_a_gpu_is_warned(project: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert found(project, "gpu", "gpu").level == "warning"
    assert found(project, "gpu", None).level == "ok"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert found(project, "gpu", "gpu").found == "2: 0, 2 (CUDA_VISIBLE_DEVICES=0,2)"


def test_a_server_of_another_version_or_another_time_is_a_problem(
    project: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, skew, what, level in (
        (metadata.version("prefect"), 0.0, "prefect", "ok"),
        (metadata.version("prefect"), 0.0, "clock", "ok"),
        ("3.0.0", 0.0, "prefect", "problem"),
        (metadata.version("prefect"), 9.0, "clock", "warning"),
        (metadata.version("prefect"), -400.0, "clock", "problem"),
    ):
        with server(version, skew) as url:
            monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
            finding = found(project, what)
            assert finding.level == level, finding


def test_a_server_that_does_not_answer_is_named_without_its_password(
    project: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://me:hunter2@127.0.0.1:9/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    findings = {finding.what: finding for finding in examine(project.root, None)}
    assert (findings["prefect"].level, findings["prefect"].exit_code) == ("problem", 2)
    assert findings["mlflow"].level == "warning"  # runs go on without it
    assert not any("hunter2" in str(finding) for finding in findings.values())
    monkeypatch.delenv("PREFECT_API_URL")
    assert found(project, "prefect", None).level == "ok"
    assert found(project, "prefect", "cpu").level == "problem"  # an agent has nobody to work for


def test_mlflow_of_another_version_is_a_warning(project: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, level in ((metadata.version("mlflow"), "ok"), ("2.0.0", "warning")):
        with server(version) as url:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
            assert found(project, "mlflow").level == level
