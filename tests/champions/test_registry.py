"""Champions in a real MLflow store: who is promoted and who is not, once, whatever is killed, and never for good."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline import cli
from pipeline.champions.candidates import CandidateError, NoComparisonError, Numbers, Scale
from pipeline.champions.registry import RegistryError, consider, export, promote, revert, standings
from tests.champions.contests import Cell, generator_file, write_comparison, write_params
from tests.champions.registered import BETTER, NAME, WORSE, aliases, heard, registered, snapshot

pytestmark = pytest.mark.slow


def test_the_first_generator_that_passes_the_gates_becomes_champion_with_its_files(project: Path) -> None:
    (verdict,) = consider(project, "demo")
    assert (verdict.state, verdict.version, verdict.champion) == ("first", 1, 1)
    version = registered(project).version(1)
    assert version is not None
    assert version.tags["sha256"] == hashlib.sha256(Cell().content).hexdigest()
    folder = Path(str(version.source).removeprefix("file://"))
    assert {file.name for file in folder.iterdir()} == {
        "generator.safetensors", "generator.safetensors.json", "recipe.json",
    }  # fmt: skip
    assert (folder / "generator.safetensors").read_bytes() == Cell().content
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["use"][1] == "cartoon generate --weights generator.safetensors --seeds 0-15 --out faces.png"
    assert recipe["make_again"] == ["dvc repro"]
    assert version.run_id in str(version.source)


def test_the_recipe_of_a_blend_is_the_command_that_mixes_it(project: Path) -> None:
    heard(project, Cell(swap="weights", level=16))
    (recipe,) = (project / "mlruns").rglob("recipe.json")
    assert json.loads(recipe.read_text())["make_again"][1] == (
        "cartoon blend --source work/demo/source/networks.safetensors "
        "--target work/demo/train/freeze_sg-flat-s0/snapshots/00008000.safetensors "
        "--at 16 --low source --mapping low --out generator.safetensors"
    )


def test_considering_the_same_comparison_again_changes_nothing(project: Path) -> None:
    consider(project, "demo")
    before = snapshot(project)
    (verdict,) = consider(project, "demo")
    assert (verdict.state, verdict.champion) == ("unchanged", 1)
    assert snapshot(project) == before


def test_a_better_generator_is_promoted_and_the_old_one_stays_as_previous(project: Path) -> None:
    consider(project, "demo")
    verdict = heard(project, BETTER)
    assert (verdict.state, verdict.version, aliases(project)) == ("promoted", 2, (2, 1))
    last = registered(project).history()[-1]
    assert (last.what, last.version, last.before) == ("promoted", 2, 1)
    assert "KID on held-out images 48.0 against 50.0, similarity 0.600 against 0.500" in last.why
    assert (last.numbers["new"]["kid"], last.numbers["old"]["kid"]) == (48.0, 50.0)


def test_a_worse_generator_stays_a_version_without_an_alias_and_is_reported_with_numbers(project: Path) -> None:
    consider(project, "demo")
    verdict = heard(project, WORSE)
    assert (verdict.state, verdict.version, aliases(project)) == ("kept", 2, (1, None))
    assert "similarity 0.400 against 0.500" in verdict.why
    version = registered(project).version(2)
    assert version is not None
    assert version.tags["verdict"] == "kept"
    assert version.tags["why"] == verdict.why


def test_a_generator_that_was_considered_before_makes_no_second_version(project: Path) -> None:
    consider(project, "demo")
    heard(project, WORSE)
    assert heard(project, Cell()).state == "unchanged"
    assert heard(project, replace(WORSE, weights=WORSE.content, kid_error=1.5)).state == "unchanged"
    assert len(registered(project).versions()) == 2


def test_a_gain_within_its_standard_errors_promotes_nobody(project: Path) -> None:
    heard(project, Cell(kid_error=10.0))
    slightly = Cell("freeze_g", kid=50.0, similarity=0.53)
    assert heard(project, replace(slightly, kid_error=10.0)).state == "kept"
    assert heard(project, replace(slightly, kid_error=10.0, similarity=0.7)).state == "promoted"


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (Cell("freeze_g", kid=90.0, similarity=0.9), "its KID is more than 1.25 times as large"),
        (Cell("freeze_g", kid=5.0, similarity=0.4), "it loses more than 0.05 of similarity"),
    ],
)
def test_who_gives_up_much_of_what_the_champion_has_is_not_promoted_for_another_gain(
    project: Path, new: Cell, why: str
) -> None:
    consider(project, "demo")
    verdict = heard(project, new)
    assert verdict.state == "kept"
    assert why in verdict.why


def test_among_better_ones_the_candidate_is_one_that_gives_up_little(project: Path) -> None:
    consider(project, "demo")
    other_kind = Cell("freeze_g", kid=90.0, similarity=0.9)
    verdict = heard(project, other_kind, BETTER)
    assert (verdict.state, verdict.title) == ("promoted", "freeze_g, seed s0, no swap")
    assert registered(project).versions()[-1].tags["kid"] == "48"


@pytest.mark.parametrize("gate", ["gate_memorisation", "gate_collapse"])
def test_what_fails_a_gate_is_never_champion_however_good_its_numbers(project: Path, gate: str) -> None:
    failed = replace(BETTER, gates={"gate_memorisation": "pass", "gate_collapse": "pass"} | {gate: "fail"})
    verdict = heard(project, failed)
    assert (verdict.state, verdict.champion) == ("none", None)
    assert f"gate {gate.removeprefix('gate_')} (1)" in verdict.why
    assert heard(project, failed, Cell()).title.startswith("freeze_sg")


def test_an_alarm_bars_a_generator_where_the_rules_say_so(project: Path) -> None:
    alarmed = replace(BETTER, gates={"gate_memorisation": "alarm", "gate_collapse": "pass"})
    write_params(project, gates=["pass"])
    assert heard(project, alarmed).state == "none"
    write_params(project)
    assert heard(project, alarmed).state == "first"


def test_cells_that_are_no_file_or_no_longer_look_drawn_are_no_candidates(project: Path) -> None:
    two_networks = Cell("freeze_g", kid=20.0, similarity=0.9, swap="features", level=16)
    photo = Cell("freeze_g", kid=300.0, similarity=0.99, swap="weights", level=32)
    verdict = heard(project, two_networks, photo)
    assert verdict.state == "none"
    assert "mixes activations, so is no file of its own (1); no longer looks drawn (KID above 270) (1)" in verdict.why


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"images": "c" * 64}, "dataset"), ({"source": "c" * 64}, "source generator"), ({"style": "inception-9"}, "KID"),
     ({"measures": "cos"}, "similarity")],
)  # fmt: skip
def test_numbers_that_were_measured_otherwise_promote_nobody_and_say_so(
    project: Path, changed: dict[str, str], word: str
) -> None:
    consider(project, "demo")
    verdict = heard(project, BETTER, **changed)
    assert (verdict.state, aliases(project)) == ("incomparable", (1, None))
    assert f"version 1 was measured with another {word}" in verdict.why
    assert "`cartoon-pipeline champion promote flat 2`" in verdict.why


def test_the_rules_may_promote_what_cannot_be_compared(project: Path) -> None:
    consider(project, "demo")
    write_params(project, when_changed="promote")
    assert heard(project, WORSE, images="c" * 64).state == "promoted"
    assert aliases(project) == (2, 1)


def test_a_reverted_champion_is_recorded_and_not_promoted_again_by_itself(project: Path) -> None:
    consider(project, "demo")
    heard(project, BETTER)
    assert revert(project, "demo", "flat", "its mouths are odd") == (2, 1)
    assert aliases(project) == (1, 2)
    last = registered(project).history()[-1]
    assert (last.what, last.version, last.before, last.why) == ("reverted", 1, 2, "its mouths are odd")
    assert heard(project, BETTER, Cell()).champion == 1
    assert heard(project, BETTER, Cell(), replace(WORSE, seed="s1")).champion == 1
    assert promote(project, "demo", "flat", 2, "they are not") == 1
    assert aliases(project) == (2, 1)
    assert [move.what for move in registered(project).history()] == ["promoted", "promoted", "reverted", "promoted"]


def test_what_was_taken_back_does_not_keep_a_lesser_one_from_being_promoted(project: Path) -> None:
    consider(project, "demo")
    heard(project, BETTER)
    revert(project, "demo", "flat", "its mouths are odd")
    verdict = heard(project, BETTER, replace(BETTER, seed="s1", similarity=0.58))
    assert (verdict.state, verdict.title, verdict.champion) == ("promoted", "freeze_g, seed s1, no swap", 3)


def test_a_reversal_lets_nobody_in_by_the_back_door_of_the_same_comparison(project: Path) -> None:
    consider(project, "demo")
    heard(project, BETTER, replace(BETTER, seed="s1", similarity=0.58))
    revert(project, "demo", "flat", "odd mouths")
    (verdict,) = consider(project, "demo")
    assert (verdict.state, verdict.champion, len(registered(project).versions())) == ("unchanged", 1, 2)


def test_without_a_champion_before_there_is_nothing_to_revert_to(project: Path) -> None:
    consider(project, "demo")
    with pytest.raises(RegistryError, match="no champion before version 1"):
        revert(project, "demo", "flat", "why not")
    assert aliases(project) == (1, None)


def test_an_alias_that_was_moved_by_hand_stays_and_is_written_down(project: Path) -> None:
    consider(project, "demo")
    heard(project, WORSE)
    MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db").set_registered_model_alias(NAME, "champion", "2")
    consider(project, "demo")
    assert aliases(project) == (2, 1)
    last = registered(project).history()[-1]
    assert (last.what, last.version, last.before) == ("moved by hand", 2, 1)


def test_a_champion_that_somebody_registered_by_hand_is_not_judged_by_numbers_it_does_not_have(project: Path) -> None:
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    client.create_registered_model(NAME)
    client.create_model_version(NAME, f"file://{project}/elsewhere", await_creation_for=0)
    client.set_registered_model_alias(NAME, "champion", "1")
    (verdict,) = consider(project, "demo")
    assert (verdict.state, aliases(project)) == ("incomparable", (1, None))


def test_the_exported_generator_is_the_champions_with_the_manifest_that_checks_it(project: Path) -> None:
    consider(project, "demo")
    heard(project, WORSE)
    out = project / "mine" / "artist.safetensors"
    assert export(project, "demo", "flat", out) == 1
    assert out.read_bytes() == Cell().content
    assert json.loads((project / "mine" / "artist.safetensors.json").read_text())["bytes"] == len(Cell().content)
    assert len(list(out.parent.iterdir())) == 2


def test_weights_that_changed_in_the_store_are_not_exported(project: Path) -> None:
    consider(project, "demo")
    (stored,) = (project / "mlruns").rglob("generator.safetensors")
    stored.write_bytes(b"other weights")
    out = project / "artist.safetensors"
    out.write_bytes(b"what was here before")
    with pytest.raises(RegistryError, match="the weights in MLflow have sha256") as caught:
        export(project, "demo", "flat", out)
    assert caught.value.exit_code == 4
    assert out.read_bytes() == b"what was here before"


def test_weights_that_are_not_what_their_manifest_says_are_not_registered(project: Path) -> None:
    generator_file(project, Cell()).write_bytes(b"flipped")
    with pytest.raises(CandidateError, match=r"dvc checkout --force") as caught:
        consider(project, "demo")
    assert caught.value.exit_code == 4
    assert registered(project).versions() == []


def test_a_project_without_the_section_or_without_a_comparison_has_no_champions(project: Path) -> None:
    shutil.rmtree(project / "reports")
    with pytest.raises(NoComparisonError, match=r"table\.parquet: no such file"):
        consider(project, "demo")
    (project / "params.yaml").write_text("profile: demo\n")
    assert consider(project, "demo") == []


def test_a_server_that_does_not_answer_is_an_error_of_seconds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    with pytest.raises(RegistryError, match="nothing is lost") as caught:
        consider(project, "demo")
    assert caught.value.exit_code == 6
    assert "secret" not in str(caught.value)


def test_worth_is_0_for_the_untuned_source_and_1_for_a_perfect_cartoonist() -> None:
    scale = Scale(floor=4.0, source=900.0, limit=270.0)
    assert scale.worth(Numbers(900.0, 0.0, 1.0, 0.0)) == pytest.approx(0.0)
    assert scale.worth(Numbers(1.0, 0.0, 1.0, 0.0)) == pytest.approx(1.0)
    assert scale.worth(Numbers(60.0, 0.0, 0.5, 0.0)) == pytest.approx(0.0)  # half the way, geometrically
    assert scale.error(Numbers(60.0, 6.0, 0.5, 0.03)) == pytest.approx((0.03**2 + (0.1 / 5.4161) ** 2) ** 0.5, rel=1e-4)


def test_the_commands_list_revert_and_export(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "consider") == 0
    write_comparison(project, [BETTER])
    assert run(project, "consider", "--profile", "demo") == 0
    assert run(project, "revert", "flat", "--why", "odd mouths") == 0
    assert run(project, "export", "flat", "--out", str(project / "a.safetensors")) == 0
    capsys.readouterr()
    assert run(project) == 0
    out = capsys.readouterr().out
    assert "1 champion  freeze_sg, seed s0, no swap: KID 50, similarity 0.5; first" in out
    assert "2 previous  freeze_g, seed s0, no swap: KID 48, similarity 0.6; promoted, taken back" in out
    assert "reverted: version 1 (before: 2): odd mouths" in out
    assert run(project, "promote", "flat", "7") == 2
    assert "no version 7; there are: 1, 2" in capsys.readouterr().err
    assert [one.champion for one in standings(project, "demo")] == [1]


def run(root: Path, *arguments: str) -> int:
    try:
        cli.main(["--root", str(root), "champion", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
