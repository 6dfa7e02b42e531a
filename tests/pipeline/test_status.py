"""``cartoon-pipeline status``: what it says, and that it says it whatever else is broken or busy."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.operating.look import Finished, Picture, Stale, Working, look
from pipeline.operating.look_server import FailedStage, Job, Pool, Run, ServerView, telling_line
from pipeline.operating.show import screen, span
from pipeline.running.lease import Lease

STAGES = (
    "stages:\n  a: {cmd: cp params.yaml a.txt, deps: [params.yaml], outs: [a.txt]}\n"
    "  b: {cmd: cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}\n"
    "  c: {cmd: cp params.yaml c.txt, deps: [params.yaml], outs: [c.txt]}\n"
)
NOW = 1_800_000_000.0


@pytest.fixture
def project(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (toy / "dvc.yaml").write_text(STAGES)
    for name in ("PREFECT_API_URL", "CARTOON_LEASES"):
        monkeypatch.delenv(name, raising=False)
    return toy


def status(project: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    main(["--root", str(project), "status", *options])
    return str(capsys.readouterr().out)


def test_durations_are_said_as_people_say_them() -> None:
    said = [span(seconds) for seconds in (-1, 0, 59.4, 61, 3599, 3600, 11_100, 2 * 86400, 9 * 86400)]
    assert said == ["0 s", "0 s", "59 s", "1 min", "59 min", "1 h 0 min", "3 h 5 min", "2 days", "9 days"]


def test_the_line_that_says_most_is_the_stages_own_last_word() -> None:
    lines = [
        "Running stage 'a':", "> python -m stages.a", "error: a: this is another stage's",
        "Running stage 'b':", "> python -m stages.b", "loss 1.2", "error: loss is not finite", "wandering off",
        "ERROR: failed to reproduce 'b': failed to run: python -m stages.b, exited with 8",
    ]  # fmt: skip
    assert telling_line(lines, "b") == "error: loss is not finite"
    end = "ERROR: failed to reproduce 'b'"
    raised = ["Running stage 'b':\nTraceback (most recent call last):", "ValueError: no", end]
    assert telling_line(raised, "b") == "ValueError: no"
    assert telling_line(["Running stage 'b':", "> false", "it broke", end], "b") == "it broke"
    assert telling_line([], "b") == ""


def picture(**changes: object) -> Picture:
    known: dict[str, object] = {
        "profile": "demo", "commit": "0123456789abcdef", "stages": 3, "stale": [], "running": [], "runs": [],
        "server": None, "finished": None, **changes,
    }  # fmt: skip
    return Picture(**known)  # type: ignore[arg-type]


def test_the_screen_answers_what_runs_what_waits_what_failed_and_what_is_out_of_date() -> None:
    url = "http://127.0.0.1:4200/runs/flow-run"
    newest = Run(
        "r1", "reproduce demo", "failed", NOW - 900, NOW - 300, "failed: train@x", f"{url}/r1",
        [FailedStage("train@x", 8, "host/gpu-0", "error: loss is not finite", f"{url}/j1")],
    )  # fmt: skip
    jobs = [
        Job("j2", "train@y", "gpu", "running", NOW - 240, "host-gpu-0", f"{url}/j2"),
        Job("j3", "train@z", "gpu", "scheduled", NOW - 60, "", f"{url}/j3"),
        Job("j4", "crop@z", "cpu", "scheduled", NOW - 60, "", f"{url}/j4"),
    ]
    view = ServerView("http://127.0.0.1:4200", [Pool("cpu", []), Pool("gpu", ["host-gpu-0"])], jobs, ["crop@y"], newest)
    text = screen(
        picture(
            server=view,
            finished=Finished("fedcba9876543210", NOW - 7200),
            running=[Working("train@y", "gpu-0", "host", 42, NOW - 240)],
            stale=[Stale("crop@y", ["x"]), Stale("crop@z", ["a", "b", "c", "d", "e"]), Stale("train@z", [])],
            warnings=["something is not known"],
        ),
        NOW,
    )
    for line in (
        "warning: something is not known",
        "demo at 0123456789ab",
        "  train@y  host, agent gpu-0, process 42, for 4 min",
        "  gpu: 1 online, 1 running, 1 waiting",
        "    running   train@y on host-gpu-0, for 4 min",
        "    waiting   train@z, for 1 min",
        "  cpu: nobody online, 0 running, 1 waiting; start `cartoon-pipeline agent --pool cpu`",
        "Newest run: failed 5 min ago, after 10 min",
        "  train@x: exit code 8 on host/gpu-0",
        "    error: loss is not finite",
        f"    {url}/j1",
        "Last finished: 2 h 0 min ago, commit fedcba987654",
        "crop@z: a, b, c and 2 more",
        "train@z: depends on one above",
        "crop@y: done by an agent; the run that ends well commits it",
        "0 of 3 stages are up to date, 1 more are done and not committed.",
    ):
        assert line in text.splitlines(), line


def test_the_json_says_the_same_as_the_picture(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(status(project, capsys, "--json"))
    assert told == json.loads(json.dumps(asdict(look(project, None))))
    assert (told["format"], told["profile"], told["stages"]) == (1, "demo", 3)
    assert [entry["stage"] for entry in told["stale"]] == ["a", "b", "c"]


def test_a_server_that_does_not_answer_is_one_line_and_the_rest_is_shown(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    text = status(project, capsys)
    assert [line for line in text.splitlines() if line.startswith("warning: ")] == text.splitlines()[:1]
    assert text.startswith("warning: http://127.0.0.1:9/api: Prefect's server does not answer")
    assert text.endswith("0 of 3 stages are up to date.\n")


def test_what_runs_is_known_from_its_lease_alone(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CARTOON_LEASES", str(tmp_path / "leases"))
    with Lease.acquire(tmp_path / "leases", "b", what="cpu-3"), Lease.acquire(tmp_path / "leases", "not-ours"):
        text = status(project, capsys)
        assert f"process {os.getpid()}, for " in text
        assert "agent cpu-3" in text
        assert "not-ours" not in text
    assert "agent cpu-3" not in status(project, capsys)


@pytest.mark.slow
def test_dvc_at_work_in_this_folder_does_not_keep_anyone_from_looking(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC refuses to look at files that are being written: the stage that writes them and its readers are left out."""
    slow = STAGES.replace("cp params.yaml a.txt", "touch begun; sleep 600; cp params.yaml a.txt")
    (project / "dvc.yaml").write_text(slow)
    command = [sys.executable, "-m", "dvc", "repro", "a"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            limit = time.monotonic() + 120
            while not (project / "begun").exists() and time.monotonic() < limit:
                time.sleep(0.1)
            unknown = status(project, capsys)
            with Lease.acquire(project / ".dvc" / "cache" / "leases", "a", what="by the test"):
                known = status(project, capsys)
        finally:
            os.killpg(process.pid, 9)
    assert unknown.startswith("warning: DVC cannot say what is out of date now: ")
    assert unknown.endswith("3 stages; which of them are out of date is not known.\n")
    assert "warning" not in known
    assert "a: running\nb: depends on one above\nc: " in known
    assert known.endswith("0 of 3 stages are up to date.\n")
