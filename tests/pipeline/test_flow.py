"""The flow on toy DVC projects with shell stages, which prove order and overlap by meeting or colliding."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

MEET = "touch {me}.here; n=0; while [ ! -e {other}.here ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; "
ALONE = "mkdir occupied && sleep 0.5 && rmdir occupied && "


def stage(name: str, cmd: str, deps: list[str], **meta: object) -> str:
    return (
        f"  {name}:\n    cmd: {cmd}echo {name} > {name}.txt\n    deps: [{', '.join(deps)}]\n"
        f"    outs: [{name}.txt]\n    meta: {{{', '.join(f'{k}: {v}' for k, v in meta.items())}}}\n"
    )


def wait_for(condition: Callable[[], object], seconds: float = 500) -> None:
    pause = Event()
    for _ in range(int(seconds / 0.2)):
        if condition():
            return
        pause.wait(0.2)
    raise AssertionError("it did not happen in time")


def test_siblings_run_side_by_side_gpu_stages_alone_and_a_failure_stops_only_what_needs_it(
    toy: Path, prefect_server: None
) -> None:
    from pipeline.flows.here import reproduce_here as reproduce
    from pipeline.jobs import StagesFailed

    (toy / "dvc.yaml").write_text(
        "stages:\n"
        + stage("a", "", ["params.yaml"])
        + stage("left", MEET.format(me="left", other="right"), ["a.txt"])
        + stage("right", MEET.format(me="right", other="left"), ["a.txt"])
        + stage("g1", ALONE, ["left.txt"], pool="gpu")
        + stage("g2", ALONE, ["left.txt"], pool="gpu")
        + stage("g3", ALONE, ["right.txt"], pool="gpu")
        + stage("bad", "sh -c 'exit 7' && ", ["right.txt"])
        + stage("after", "", ["bad.txt", "g1.txt"])
        + stage("last", "", ["g1.txt", "g2.txt", "g3.txt"])
    )
    with pytest.raises(StagesFailed) as caught:
        reproduce(str(toy), gpu_slots=1)
    assert caught.value.exit_code == 7
    assert str(caught.value).startswith("failed: bad; skipped, because they need them: after.")
    made = {path.stem for path in toy.glob("*.txt")}
    assert made == {"a", "left", "right", "g1", "g2", "g3", "last"}
    (toy / "dvc.yaml").write_text((toy / "dvc.yaml").read_text().replace("sh -c 'exit 7' && ", ""))
    assert reproduce(str(toy), gpu_slots=1) == ["bad", "after"]
    assert reproduce(str(toy)) == []


def test_network_trouble_is_tried_again_and_bad_input_is_not(toy: Path, prefect_server: None) -> None:
    from pipeline.flows.here import reproduce_here
    from pipeline.jobs import StagesFailed

    with (toy / "params.yaml").open("a") as file:
        file.write("scheduling: {short: [], retry_s: [0, 0], start_s: 300}\n")
    again = "echo x >> {name}.tries; [ $(wc -l < {name}.tries) -ge 3 ] || exit {code}; "
    (toy / "dvc.yaml").write_text(
        "stages:\n"
        + stage("flaky", again.format(name="flaky", code=6), ["params.yaml"], network="true")
        + stage("corrupt", again.format(name="corrupt", code=4), ["params.yaml"], network="true")
    )
    with pytest.raises(StagesFailed, match="failed: corrupt"):
        reproduce_here(str(toy))
    assert (toy / "flaky.txt").exists()
    assert (toy / "corrupt.tries").read_text() == "x\n"


def test_a_stopped_run_leaves_no_process_behind_and_the_next_one_continues(toy: Path, prefect_server: None) -> None:
    from prefect.settings import PREFECT_API_URL

    (toy / "dvc.yaml").write_text(
        "stages:\n"
        + stage("a", "", ["params.yaml"])
        + stage("long", "echo $$ > pid; [ -e resume ] || sleep 1000; ", ["a.txt"])
    )
    command = [sys.executable, "-m", "pipeline.cli", "--root", str(toy), "run", "--here"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_HOME", None)
    environment.pop("PREFECT_API_URL", None)
    with subprocess.Popen(command, cwd=toy, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for((toy / "pid").exists)
        wait_for((toy / "pid").read_text)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=400)  # until nobody holds its output: neither stages nor Prefect's server
    assert process.returncode == 128 + signal.SIGTERM
    pid = int((toy / "pid").read_text())
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 60)
    (toy / "resume").touch()
    environment["PREFECT_API_URL"] = str(PREFECT_API_URL.value())  # this time a server that is there already
    result = subprocess.run(command, cwd=toy, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "1 stages are up to date now" in result.stdout
    assert "long | Running stage 'long'" in result.stderr
