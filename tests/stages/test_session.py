"""What a training does when something goes wrong around it: numbers, memory, signals, other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from model.checkpoint.native import load_generator
from model.errors import DivergenceError, InterruptedRun, ResourceError, UsageError
from model.files import verify_manifest
from model.training import trainer as loop
from model.training.trainer import Trainer
from stages.leaving import on_signal
from stages.train import train
from tests.stages.training import TRAIN, Setup, new_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "D": "real_loss",
    "fake half of D": "fake_loss",
    "G": "generator_loss",
    "R1": "r1_penalty",
    "path": "path_lengths",
}


def run_train(setup: Setup) -> None:
    train(**setup.arguments(), run=new_run(setup.folder))  # type: ignore[arg-type]


def command(setup: Setup) -> list[str]:
    flags = [x for name, value in setup.arguments().items() for x in (f"--{name}", str(value))]
    return [sys.executable, "-m", "stages.train", *flags]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CARTOON_TRACKING": "journal"}


def breaking(function: Callable[..., torch.Tensor], calls: set[int]) -> Callable[..., torch.Tensor]:
    """Return ``function``, whose result is NaN in the calls of these numbers."""
    count = iter(range(10**6))

    def broken(*arguments: torch.Tensor) -> torch.Tensor:
        value = function(*arguments)
        return value * torch.nan if next(count) in calls else value

    return broken


@pytest.mark.parametrize("place", PLACES)
def test_a_loss_that_is_not_finite_sends_the_training_back_to_its_last_state_and_it_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    setup = Setup(tmp_path)
    monkeypatch.setattr(loop, PLACES[place], breaking(getattr(loop, PLACES[place]), {1}))
    with caplog.at_level("WARNING"):
        run_train(setup)
    assert "attempt 1 of 3: other draws, half the learning rate" in caplog.text
    assert verify_manifest(setup.out)["rollbacks"] == 1
    tuned = load_generator(setup.out / "generator.safetensors")
    assert all(value.isfinite().all() for value in tuned.state_dict().values())


def test_a_training_that_diverges_again_and_again_stops_and_keeps_only_finite_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(tmp_path)
    monkeypatch.setattr(loop, "real_loss", breaking(loop.real_loss, set(range(5, 10**4))))
    with pytest.raises(DivergenceError, match=r"going back 3 times did not help"):
        run_train(setup)
    states = list(setup.scratch.glob("state-*"))
    assert states
    for state in states:
        tensors = safetensors.torch.load_file(state / "tensors.safetensors")
        assert all(value.isfinite().all() for value in tensors.values())
    assert not setup.out.exists()


def test_after_going_back_other_numbers_are_drawn_and_steps_are_half_as_long_for_a_while(tmp_path: Path) -> None:
    from tests.tiny import tiny_trainer

    once, again = tiny_trainer([]), tiny_trainer([])
    again.go_back(1)
    assert not torch.equal(once.draw("g", 4).z, again.draw("g", 4).z)
    assert [once.reals.picks(i) for i in range(3)] != [again.reals.picks(i) for i in range(3)]
    once.step()
    again.step()
    rates = [t.g_optimizer.param_groups[0]["lr"] for t in (once, again)]
    assert rates[1] == pytest.approx(rates[0] / 2)
    again.iteration = again.cool_until
    again.step()
    assert again.g_optimizer.param_groups[0]["lr"] == rates[0]


def failing_whole(share_of: int) -> Callable[[Trainer, Callable[[Trainer], None]], None]:
    def step(trainer: Trainer, real: Callable[[Trainer], None]) -> None:
        if trainer.iteration == 3 and trainer.accumulate < share_of:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore lines")
        real(trainer)

    return step


def test_out_of_memory_names_batch_and_remedy_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(tmp_path, train={**TRAIN, "batch": 8, "kimg": 0.048})
    real, fail = Trainer.step, failing_whole(2)
    monkeypatch.setattr(Trainer, "step", lambda trainer: fail(trainer, real))
    with pytest.raises(ResourceError, match=r"train\.batch 8 in 1 part.*20\.00 GiB.*set train\.accumulate: 2"):
        run_train(setup)
    assert list(setup.scratch.glob("state-*"))


def test_out_of_memory_is_answered_by_smaller_parts_where_that_is_allowed_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {**TRAIN, "batch": 8, "kimg": 0.048, "accumulate": "auto"}
    setup = Setup(tmp_path, train=changes)
    real, fail = Trainer.step, failing_whole(2)
    monkeypatch.setattr(Trainer, "step", lambda trainer: fail(trainer, real))
    with caplog.at_level("WARNING"):
        run_train(setup)
    assert "going on from 0.0 kimg with train.accumulate: 2 (results differ by rounding)" in caplog.text
    assert verify_manifest(setup.out)["accumulate"] == 2
    fail = failing_whole(4)
    with pytest.raises(ResourceError, match=r"cannot be split further, lower train\.batch"):
        run_train(setup)


CRAMPED = """
import resource, sys
from pathlib import Path
from stages.entry import run
from stages.train import train
used = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
limit = (int(used) + int(sys.argv.pop(1))) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
run(train)
"""


def test_real_lack_of_memory_ends_with_the_message_and_its_exit_code(tmp_path: Path) -> None:
    """The process may take 400 MiB more than its imports did: enough to begin, not enough for a batch of 512."""
    setup = Setup(tmp_path, train={**TRAIN, "batch": 512, "kimg": 2.0, "accumulate": 1}, images=512, snapshots=None)
    flags = [str(400 * 1024), *command(setup)[3:]]
    start = [sys.executable, "-c", CRAMPED, *flags]
    ended = subprocess.run(start, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == ResourceError.exit_code, ended.stderr
    assert "out of memory at train.batch 512 in 1 part(s)" in ended.stderr
    assert "set train.accumulate: 2" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_another_error_is_not_taken_for_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(tmp_path)

    def fail(trainer: Trainer) -> None:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(Trainer, "step", fail)
    with pytest.raises(RuntimeError, match="size mismatch"):
        run_train(setup)


PATIENT = """
import sys, time
from stages.leaving import on_signal
def stop(): print("stop", flush=True)
def close(): print("close", flush=True)
with on_signal(stop, close, grace=float(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("grace", "signals"), [(0.2, 1), (600.0, 2)])
def test_a_batch_that_does_not_end_in_time_or_a_second_signal_ends_the_process_with_75(
    grace: float, signals: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT, str(grace)], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == InterruptedRun.exit_code
    assert rest.split() == ["stop", "close"]


def test_signals_are_given_back_to_whoever_had_them() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with on_signal(lambda: None, lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


ARCHITECTURE = {
    "resolution": 32, "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 256, "channel_max": 16,
}  # fmt: skip


def without_source(setup: Setup) -> dict[str, object]:
    return {name: value for name, value in setup.arguments().items() if name not in ("source", "plan")}


def test_training_from_scratch_is_the_same_command_without_a_source(tmp_path: Path) -> None:
    setup = Setup(tmp_path, architecture=ARCHITECTURE)
    without = without_source(setup)
    train(**without, run=new_run(setup.folder))  # type: ignore[arg-type]
    details = verify_manifest(setup.out)
    assert (details["method"], details["techniques"]) == ("from-scratch", {})
    first = load_generator(setup.out / "generator.safetensors")
    assert first.config.channel_max == 16
    with pytest.raises(UsageError, match="structure_loss compares with the source generator"):
        train(**{**without, "plan": setup.plan}, run=new_run(setup.folder))  # type: ignore[arg-type]


def test_a_state_of_another_architecture_is_refused_with_the_difference_by_name(tmp_path: Path) -> None:
    setup = Setup(tmp_path, architecture=ARCHITECTURE, train={**TRAIN, "kimg": 0.016})
    without = without_source(setup)

    class StoppedError(Exception):
        pass

    def interrupted(*arguments: object) -> None:
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.train.publish", interrupted)
        with pytest.raises(StoppedError):
            train(**without, run=new_run(setup.folder))  # type: ignore[arg-type]
    setup.write(architecture={**ARCHITECTURE, "channel_max": 8}, train={**TRAIN, "batch": 8})
    with pytest.raises(UsageError, match=r"architecture\.channel_max: 16 then, 8 now; settings\.batch: 4 then, 8 now"):
        train(**without, run=new_run(setup.folder))  # type: ignore[arg-type]


def test_train_gpus_2_starts_two_processes_that_train_as_one_and_a_single_one_continues(tmp_path: Path) -> None:
    alone, both = (
        Setup(tmp_path / name, train={**TRAIN, "batch": 8, "gpus": n}) for name, n in (("one", 1), ("two", 2))
    )
    run_train(alone)
    ended = subprocess.run(
        command(both), cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert verify_manifest(both.out)["processes"] == 2
    one, two = (load_generator(s.out / "generator.safetensors").state_dict() for s in (alone, both))
    assert all(torch.allclose(value, two[name], rtol=1e-3, atol=1e-4) for name, value in one.items())


def test_torchrun_starts_the_same_training(tmp_path: Path) -> None:
    setup = Setup(tmp_path, train={**TRAIN, "batch": 8})
    flags = command(setup)[1:]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    elsewhere = tmp_path / "project"
    elsewhere.mkdir()
    ended = subprocess.run(
        [*start, *flags], cwd=elsewhere, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert verify_manifest(setup.out)["processes"] == 2
    journals = list(elsewhere.rglob("journal.jsonl"))
    assert len(journals) == 1  # the first process's


def test_a_process_that_dies_ends_the_others_with_a_message_and_a_state_to_go_on_from(tmp_path: Path) -> None:
    setup = Setup(tmp_path, train={**TRAIN, "batch": 8, "kimg": 100.0, "gpus": 2, "sample_kimg": 100.0})
    process = subprocess.Popen(
        command(setup), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while len(list(setup.scratch.glob("state-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    (other,) = [int(pid) for pid in children_of(process.pid) if "spawn_main" in cmdline(pid)]
    os.kill(other, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == ResourceError.exit_code, errors
    assert "process 2 of 2 ended with exit code -9" in errors
    newest = max(setup.scratch.glob("state-*"))
    assert json.loads((newest / "state.json").read_text())["scalars"]["iteration"] > 0
    verify_manifest(newest)


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def cmdline(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
