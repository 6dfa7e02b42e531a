"""Champions after a dataset changed, in a real MLflow store: measured again by another process, once, then compared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.tracking
import pytest

from pipeline.champions.registry import Verdict, consider, promote
from tests.champions.contests import ERROR, HELDOUT, STYLE, Cell, write_comparison, write_params
from tests.champions.registered import aliases, registered, snapshot
from tests.champions.registered import heard as registered_heard
from tests.mortal import Mortal, PowerCut

pytestmark = pytest.mark.slow

NAME = "cartoon-demo-flat"
NEW = {"images": "c" * 64}  # of the comparison after new episodes
CHAMPION = Cell()
CANDIDATE = Cell("freeze_g", kid=60.0, similarity=0.52)

MEASURE = """
import argparse, hashlib, json, pathlib, time

parser = argparse.ArgumentParser()
for flag in ("params", "reference", "lmdb", "source", "generator", "techniques", "tuned-from", "out"):
    parser.add_argument("--" + flag, required=True)
flags = parser.parse_args()
told = json.loads(pathlib.Path("told.json").read_text())
with open("calls", "a") as calls:
    calls.write(json.dumps(vars(flags)) + "\\n")
if told["way"] == "hang":
    time.sleep(600)
if told["way"] == "fail":
    raise SystemExit("error: reference/flat: no such folder; run `dvc repro`")
if told["way"] == "refuse":
    import sys
    print("error: a generator of another architecture", file=sys.stderr)
    raise SystemExit(2)
answer = told["answer"] | {"generator": hashlib.sha256(pathlib.Path(flags.generator).read_bytes()).hexdigest()}
pathlib.Path(flags.out).write_text(json.dumps(answer))
"""


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a champion of the first comparison, and a process that tells what it is told to measure."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    shutil.copyfile(empty_store, tmp_path / "mlruns" / "mlflow.db")
    (tmp_path / "stages" / "remeasure").mkdir(parents=True)
    (tmp_path / "stages" / "__init__.py").touch()
    (tmp_path / "stages" / "remeasure" / "__main__.py").write_text(MEASURE)
    write_params(tmp_path, when_changed="measure")
    write_comparison(tmp_path, [CHAMPION])
    (first,) = consider(tmp_path, "demo")
    assert first.state == "first"
    tell(tmp_path)
    return tmp_path


def tell(root: Path, way: str = "measure", **changed: Any) -> None:
    """Say what the process finds: the champion beside new images, where it is worse than it was."""
    found = {"kid": 80.0, "similarity": 0.5, "images": NEW["images"], "memorisation": "pass"} | changed
    similarity = found["similarity"]
    cell = {
        STYLE: found["kid"], HELDOUT: found["kid"], ERROR: 1.0, "similarity": similarity,
        "gate_memorisation": found["memorisation"], "gate_collapse": "pass",
        "pairs:similarity": [similarity - 0.01, similarity + 0.01, None] * 50,
    }  # fmt: skip
    facts = {"n_gen": 1000, "n_real": 200, "n_heldout": 200, "lmdb_digest": found["images"]}
    answer = {"format": 1, "style": STYLE, "measures": ["nme"], "source": "b" * 64, "facts": facts, "cell": cell}
    (root / "told.json").write_text(json.dumps({"way": way, "answer": answer}))


def calls(root: Path) -> list[dict[str, str]]:
    path = root / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def heard(root: Path, *cells: Cell, **changed: str) -> Verdict:
    return registered_heard(root, *cells, **(changed or NEW))


def test_after_new_episodes_a_better_candidate_is_promoted_by_the_champions_new_numbers(project: Path) -> None:
    verdict = heard(project, CANDIDATE)  # by the champion's first numbers, KID 50, it would lose
    assert (verdict.state, aliases(project)) == ("promoted", (2, 1))
    assert "KID on held-out images 60.0 against 80.0, similarity 0.520 against 0.500" in verdict.why
    assert "version 1 was measured with another dataset, and again with today's" in verdict.why
    last = registered(project).history()[-1]
    assert (last.numbers["new"]["kid"], last.numbers["old"]["kid"]) == (60.0, 80.0)
    (call,) = calls(project)
    assert json.loads(call["techniques"]) == {"freeze_d": {"train_up_to": 32}}
    assert call["tuned_from"] == "b" * 64
    assert [call[name] for name in ("params", "reference", "lmdb", "source")] == [
        "params.yaml", "work/demo/reference/flat", "work/demo/lmdb/flat", "work/demo/source"
    ]  # fmt: skip
    champion = registered(project).version(1)
    assert champion is not None
    assert champion.tags["kid"] == "50"  # as it was registered
    assert champion.tags["measured_again"].endswith("KID 80, similarity 0.5")
    assert [path.name for path in (project / "scratch" / "champions").iterdir()] == ["demo-flat.lock"]


def test_after_new_episodes_a_worse_candidate_is_reported_and_the_champion_measured_once(project: Path) -> None:
    tell(project, kid=40.0)
    verdict = heard(project, CANDIDATE)
    assert (verdict.state, verdict.version, aliases(project)) == ("kept", 2, (1, None))
    assert "against 40.0" in verdict.why
    assert heard(project, CANDIDATE).state == "unchanged"
    assert heard(project, replace(CANDIDATE, seed="s1")).state == "kept"  # another comparison on the same images
    assert len(calls(project)) == 1
    assert heard(project, CANDIDATE, images="d" * 64).state == "incomparable"  # yet others: the process found NEW
    assert len(calls(project)) == 2


def test_a_champion_that_a_gate_bars_beside_the_new_images_gives_way(project: Path) -> None:
    tell(project, kid=10.0, similarity=0.9, memorisation="fail")
    verdict = heard(project, CANDIDATE)
    assert (verdict.state, aliases(project)) == ("promoted", (2, 1))
    assert "could not become champion: gate memorisation" in verdict.why


def test_where_measuring_fails_nobody_is_promoted_and_the_next_call_tries_again(project: Path) -> None:
    tell(project, "fail")
    for _ in range(2):
        verdict = heard(project, CANDIDATE)
        assert (verdict.state, verdict.version, aliases(project)) == ("incomparable", 2, (1, None))
        assert "measuring it again failed (its process ended with exit code 1: reference/flat: no such" in verdict.why
        assert "`cartoon-pipeline champion consider` tries again" in verdict.why
    assert len(calls(project)) == 2
    tell(project)
    assert heard(project, CANDIDATE).state == "promoted"
    assert (aliases(project), len(registered(project).versions())) == ((2, 1), 2)


def test_a_process_that_does_not_end_is_ended_and_nobody_is_promoted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.champions.remeasuring._LIMIT", 3)
    tell(project, "hang")
    verdict = heard(project, CANDIDATE)
    assert (verdict.state, aliases(project)) == ("incomparable", (1, None))
    assert "it took longer than" in verdict.why
    assert measuring(project) == []


def test_what_can_never_be_measured_is_tried_once(project: Path) -> None:
    tell(project, "refuse")
    verdict = heard(project, CANDIDATE)
    assert verdict.state == "incomparable"
    assert "a generator of another architecture" in verdict.why
    assert "tries again" not in verdict.why
    assert heard(project, CANDIDATE).state == "unchanged"
    assert len(calls(project)) == 1


def test_outputs_of_another_state_than_the_comparison_decide_nothing(project: Path) -> None:
    tell(project, images="e" * 64)
    verdict = heard(project, CANDIDATE)
    assert verdict.state == "incomparable"
    assert "the outputs of the stages are not those of the comparison (images); run `dvc repro`" in verdict.why


def test_weights_that_are_gone_or_changed_are_not_measured(project: Path) -> None:
    (stored,) = (project / "mlruns").rglob("generator.safetensors")
    stored.write_bytes(b"other weights")
    assert "the weights in MLflow have sha256" in heard(project, CANDIDATE).why
    stored.unlink()
    verdict = heard(project, CANDIDATE)
    assert (verdict.state, aliases(project), calls(project)) == ("incomparable", (1, None), [])


def test_a_champion_that_is_a_cell_of_the_new_comparison_has_that_cells_numbers(project: Path) -> None:
    now = replace(CHAMPION, kid=80.0, weights=CHAMPION.content)
    verdict = heard(project, CANDIDATE, now)
    assert (verdict.state, calls(project)) == ("promoted", [])
    assert "60.0 against 80.0" in verdict.why


def test_who_lost_on_the_old_images_is_heard_again_on_the_new_ones(project: Path) -> None:
    loser = Cell("freeze_g", kid=60.0, similarity=0.4)
    assert heard(project, loser, images="a" * 64).state == "kept"
    verdict = heard(project, replace(loser, kid=30.0, similarity=0.6, weights=loser.content))
    assert (verdict.state, verdict.version, aliases(project)) == ("promoted", 2, (2, 1))


def test_a_champion_set_by_hand_while_the_old_one_was_measured_keeps_its_place(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard(project, Cell("freeze_g", kid=60.0, similarity=0.4), images="a" * 64)
    from pipeline.champions import registry

    measure = registry.measure_again

    def measure_slowly(*args: Any) -> Any:
        found = measure(*args)
        promote(project, "demo", "flat", 2, "it is nicer")
        return found

    monkeypatch.setattr(registry, "measure_again", measure_slowly)
    verdict = heard(project, CANDIDATE)
    assert (verdict.state, aliases(project)) == ("incomparable", (2, 1))
    assert "it was not measured again on these" in verdict.why


def test_a_hearing_killed_while_measuring_leaves_no_process_and_the_next_one_completes(project: Path) -> None:
    tell(project, "hang")
    write_comparison(project, [CANDIDATE], **NEW)
    code = "from pathlib import Path; from pipeline.champions.registry import consider; consider(Path(), 'demo')"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    hearing = subprocess.Popen([sys.executable, "-c", code], cwd=project, env=environment)
    try:
        until(lambda: bool(calls(project)))
    finally:
        hearing.send_signal(signal.SIGKILL)
        hearing.wait()
    until(lambda: not measuring(project))
    assert aliases(project) == (1, None)
    tell(project)
    (verdict,) = consider(project, "demo")
    assert (verdict.state, aliases(project)) == ("promoted", (2, 1))
    assert len(registered(project).versions()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_second_hearing_of_a_version_that_was_killed_ends_as_if_it_had_not_been(share: float, project: Path) -> None:
    kept, loser = project / "kept.db", Cell("freeze_g", kid=60.0, similarity=0.4)
    heard(project, loser, images="a" * 64)
    winner = replace(loser, kid=30.0, similarity=0.6, weights=loser.content)
    shutil.copyfile(project / "mlruns" / "mlflow.db", kept)
    counted = Mortal(0, carried_out=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.tracking, "MlflowClient", counted)
        assert heard(project, winner).state == "promoted"
    expected = without_times(snapshot(project))
    for carried_out in (False, True):
        shutil.copyfile(kept, project / "mlruns" / "mlflow.db")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mlflow.tracking, "MlflowClient", Mortal(round(share * counted.calls), carried_out))
            with pytest.raises(PowerCut):
                consider(project, "demo")
        consider(project, "demo")
        assert without_times(snapshot(project)) == expected


def without_times(held: dict[str, Any]) -> dict[str, Any]:
    for version in held["versions"]:
        version |= {
            tag: json.loads(value) | {"when": ""} for tag, value in version.items() if tag.startswith("measured.")
        }
    return held


def measuring(root: Path) -> list[int]:
    """Processes whose working directory is the project's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").resolve() == root.resolve() and (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def until(true: Any) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
