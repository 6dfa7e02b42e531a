import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.params import ParamsError, read_section
from pipeline.tracking import Run
from stages.entry import run


class RefusedError(Exception):
    exit_code = 7


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (tmp_path / "p.yaml").write_text("profile: demo\nseeds: {s0: 7}\nmethods: {a: {}}\ndatasets: {d: {}}\n")
    root = logging.getLogger()
    before = root.handlers[:]
    yield tmp_path
    root.handlers[:] = before


def journal(project: Path) -> list[dict[str, object]]:
    (path,) = (project / "scratch" / "tracking").glob("*/*/*/journal.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_typed_function_becomes_a_command_with_one_flag_per_parameter(project: Path) -> None:
    got: list[object] = []

    def stage(params: Path, crop_size: int, name: str, run: Run, note: str | None = None) -> None:
        got.extend([params, crop_size, name, note])
        run.log_metrics({"faces": 3})

    run(stage, ["--params", "p.yaml", "--crop-size", "64", "--name", "x"])
    assert got == [Path("p.yaml"), 64, "x", None]
    assert journal(project)[-1]["status"] == "FINISHED"


def test_a_stage_without_a_run_parameter_is_recorded_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "profiles/paper/dvc.yaml:train@a-d-s0")

    def stage(params: Path, seed: str) -> None:
        assert read_section(params, f"seeds.{seed}", int) == 7

    run(stage, ["--params", "p.yaml", "--seed", "s0"])
    entries = journal(project)
    tags = entries[0]["tags"]
    assert isinstance(tags, dict)
    assert tags["dvc.stage"] == "train@a-d-s0"
    assert (tags["method"], tags["dataset"], tags["seed"], tags["profile"]) == ("a", "d", "s0", "demo")
    assert {"seeds.s0": "7"} in [entry.get("values") for entry in entries]


def test_a_failure_a_user_can_cause_is_one_line_and_its_exit_code(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stage(params: Path) -> None:
        raise RefusedError("http://me:pw@host: 3 of 5\nimages are broken")

    with pytest.raises(SystemExit) as caught:
        run(stage, ["--params", "p.yaml"])
    assert caught.value.code == 7
    assert capsys.readouterr().err == "error: http://***@host: 3 of 5 images are broken\n"
    assert journal(project)[-1]["status"] == "FAILED"


def test_a_bug_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def stage(params: Path) -> None:
        raise KeyError("where")

    with pytest.raises(SystemExit) as caught:
        run(stage, ["--params", "p.yaml"])
    assert caught.value.code == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_full_disk_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    def stage(params: Path) -> None:
        raise OSError(28, "No space left on device", "work/x.png")

    with pytest.raises(SystemExit) as caught:
        run(stage, ["--params", "p.yaml"])
    assert caught.value.code == 5
    assert capsys.readouterr().err == "error: work/x.png: the disk is full; free some space and start again\n"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")]
)
def test_lack_of_memory_is_no_bug(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def stage(params: Path) -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run(stage, ["--params", "p.yaml"])
    assert caught.value.code == 5
    said = capsys.readouterr().err
    assert said.startswith("error: memory ran out")
    assert "lower batch sizes or resolution" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("argv", [["--params", "p.yaml"], ["--params", "p.yaml", "--size", "x"], ["--nonsense"]])
def test_wrong_flags_are_usage_errors(argv: list[str]) -> None:
    def stage(params: Path, size: int) -> None: ...

    with pytest.raises(SystemExit) as caught:
        run(stage, argv)
    assert caught.value.code == 2


def test_wrong_params_stop_a_stage_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    def stage(params: Path) -> None:
        raise AssertionError("must not be reached")

    with pytest.raises(SystemExit) as caught:
        run(stage, ["--params", "missing.yaml"])
    assert caught.value.code == ParamsError.exit_code
    assert capsys.readouterr().err.startswith("error: missing.yaml: no such file")


def test_a_stage_with_an_unsupported_parameter_is_refused_by_name() -> None:
    def stage(params: Path, sizes: list[int]) -> None: ...

    with pytest.raises(TypeError, match="'sizes'"):
        run(stage, [])
