"""Nothing outlives whoever wanted it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running.toys import ROOT, Toy, alive, until

pytestmark = pytest.mark.slow

SAVES = "trap 'echo saved > saved; exit 75' TERM; echo $$ > pid; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done"


@contextmanager
def supervised(folder: Path, command: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "pipeline.running.supervise", *options, "--", "sh", "-c", command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def pid_in(folder: Path, name: str = "pid") -> int:
    until(lambda: (folder / name).exists() and (folder / name).read_text().endswith("\n"))
    return int((folder / name).read_text())


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)])
def test_the_commands_own_end_is_passed_on(tmp_path: Path, command: str, code: int) -> None:
    with supervised(tmp_path, command) as process:
        assert process.wait(30) == code


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pipeline.running.supervise", "--", "no-such-command"]
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.PIPE, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert done.stderr == "error: no-such-command: cannot be started: No such file or directory\n"
    assert tmp_path.exists()


@pytest.mark.parametrize("end", ["its life line is cut", "it is told to", "it is killed", "a companion dies"])
def test_the_command_may_save_and_is_gone_with_whoever_wanted_it(tmp_path: Path, end: str) -> None:
    with (
        supervised(tmp_path, "exec sleep 1000") as companion,
        supervised(tmp_path, SAVES, "--with", str(companion.pid)) as process,
    ):
        pid = pid_in(tmp_path)
        if end == "its life line is cut":
            assert process.stdin is not None
            process.stdin.close()
        elif end == "a companion dies":
            companion.kill()
            companion.wait()
        else:
            process.send_signal(signal.SIGTERM if end == "it is told to" else signal.SIGKILL)
        assert process.wait(30) == (-signal.SIGKILL if end == "it is killed" else 75)
        companion.kill()
        until(lambda: not alive(pid))
    assert (tmp_path / "saved").read_text() == "saved\n"


def test_what_does_not_obey_is_killed_after_the_grace(tmp_path: Path) -> None:
    with supervised(tmp_path, STUBBORN, "--grace", "0.5") as process:
        pid = pid_in(tmp_path)
        process.terminate()
        assert process.wait(30) == 137
    assert not alive(pid)


STAYS = "sh -c 'echo $$ > pid; exec sleep 1000'"


@pytest.mark.parametrize("leave", [f"(setsid {STAYS} &)", f"{STAYS} &"])
def test_what_the_command_leaves_behind_is_ended_even_in_a_session_of_its_own(tmp_path: Path, leave: str) -> None:
    with supervised(tmp_path, f"{leave}\nwhile [ ! -s pid ]; do sleep 0.02; done") as process:
        assert process.wait(30) == 0
    assert not alive(pid_in(tmp_path))


def test_a_companion_that_was_gone_before_is_told_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    with supervised(tmp_path, "touch begun", "--with", str(gone.pid)) as process:
        assert process.wait(30) == 143
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize("how", ["told", "killed"])
def test_a_stage_is_asked_only_once(toy: Toy, how: str) -> None:
    """A second signal tells a training not to save."""
    count = "trap 'echo asked >> asked.txt' TERM; echo $$ > pid.txt; while [ ! -e asked.txt ]; do sleep 0.05; done"
    toy.stages(long=f"in: {count}; sleep 1; exit 75")
    process = toy.start(more=["pool=cpu"])
    stage = pid_in(toy.root, "pid.txt")
    process.send_signal(signal.SIGTERM if how == "told" else signal.SIGKILL)
    process.wait(60)
    until(lambda: not alive(stage))
    assert (toy.root / "asked.txt").read_text() == "asked\n"
