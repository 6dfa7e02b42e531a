import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.running import process as stage_module
from pipeline.running.lanes import Lanes, gpu_devices, make_lanes
from pipeline.running.process import GROUPS, execute


def shell(text: str) -> list[str]:
    return ["sh", "-c", text]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A dead child of a dead parent may wait for init as a zombie.
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_output_comes_line_by_line_while_the_process_runs(tmp_path: Path) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        (tmp_path / f"seen-{line}").touch()

    waits = "echo one; while [ ! -e seen-one ]; do sleep 0.02; done; echo two >&2"
    assert execute(shell(waits), tmp_path, {}, on_line) == 0
    assert lines == ["one", "two"]


def test_the_lanes_environment_reaches_the_process(tmp_path: Path) -> None:
    lines: list[str] = []
    execute(shell("echo $CUDA_VISIBLE_DEVICES"), tmp_path, {"CUDA_VISIBLE_DEVICES": "3"}, lines.append)
    assert lines == ["3"]


def test_python_in_a_stage_is_the_one_that_runs_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    lines: list[str] = []
    execute(shell("command -v python"), tmp_path, {}, lines.append)
    assert lines == [str(Path(sys.executable).parent / "python")]


@pytest.mark.parametrize("obeys", [True, False])
def test_stopping_ends_the_whole_process_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obeys: bool) -> None:
    monkeypatch.setattr(stage_module, "_GRACE", 0.2)
    GROUPS.reopen()
    trap = "" if obeys else "trap '' TERM; "
    pids: list[int] = []
    seen = threading.Event()

    def on_line(line: str) -> None:
        pids.append(int(line))
        if len(pids) == 2:
            seen.set()

    command = shell(f"{trap}sh -c '{trap}echo $$; exec sleep 1000' & echo $$; exec sleep 1000")
    results: list[int] = []
    worker = threading.Thread(target=lambda: results.append(execute(command, tmp_path, {}, on_line)))
    worker.start()
    assert seen.wait(30)
    GROUPS.terminate()
    worker.join(30)
    assert results[0] != 0
    assert not any(alive(pid) for pid in pids)
    with pytest.raises(InterruptedError):
        execute(shell("true"), tmp_path, {}, print)
    GROUPS.reopen()


def test_a_child_that_outlives_its_stage_is_ended_with_it(tmp_path: Path) -> None:
    lines: list[str] = []
    execute(shell("sleep 1000 >/dev/null 2>&1 & echo $!"), tmp_path, {}, lines.append)
    assert not alive(int(lines[0]))


def test_a_pool_runs_as_many_stages_as_it_has_lanes_and_each_has_its_own_device() -> None:
    lanes = Lanes({"gpu": [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]})
    with lanes.lane("gpu") as first, lanes.lane("gpu") as second:
        assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}
        entered = threading.Event()

        def third() -> None:
            with lanes.lane("gpu"):
                entered.set()

        waiting = threading.Thread(target=third)
        waiting.start()
        assert not entered.wait(0.05)
    assert entered.wait(30)
    waiting.join()


def test_gpu_lanes_follow_the_devices_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert gpu_devices() == ["2", "5"]
    with make_lanes(None).lane("gpu") as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "2"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    everything = ["0,1,2,3,4"]
    for gpus, expected in [(2, ["0,1", "2,3"]), ("all", everything), (1, ["0", "1", "2", "3", "4"]), (9, everything)]:
        lanes = make_lanes(None, gpus)
        with ExitStack() as stack:
            found = [stack.enter_context(lanes.lane("gpu"))["CUDA_VISIBLE_DEVICES"] for _ in expected]
        assert found == expected
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_devices() == []
    with make_lanes(None).lane("gpu") as environment:
        assert environment == {}
