from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from model.errors import CorruptInputError, MissingInputError, UserError
from stages.comparing.table import Table
from stages.study.__main__ import analyse, main
from stages.study.exports import read_answers
from stages.study.outcome import Outcome, Result, outcome
from stages.study.plan import PERSON, STYLE, Study
from stages.study.strengths import PRIOR, bradley_terry, holm
from tests.study.raters import TRUE, export, save

CENTRED = {method: value - sum(TRUE.values()) / len(TRUE) for method, value in TRUE.items()}


def found(folder: Path, study: Study, table: Table, exports: list[dict[str, Any]]) -> Outcome:
    return outcome(study, read_answers(save(folder, exports), study), table.about)


def result(outcome: Outcome, question: str) -> Result:
    (one,) = [each for each in outcome.results if each.question == question]
    return one


def test_known_strengths_come_back_in_order_and_inside_their_intervals(
    tmp_path: Path, study: Study, table: Table
) -> None:
    ordered = covered = 0
    for seed in range(20):
        person = result(
            found(tmp_path / str(seed), study, table, [export(study, f"{seed}-{n}") for n in range(30)]), PERSON
        )
        fitted = {row.method: row for row in person.strengths}
        ordered += fitted["freeze_g"].strength > fitted["structure_loss"].strength > fitted["baseline"].strength
        covered += sum(row.low <= CENTRED[name] <= row.high for name, row in fitted.items())
    assert ordered >= 19
    assert covered >= 0.85 * 60


def test_style_and_person_are_ranked_apart(tmp_path: Path, study: Study, table: Table) -> None:
    both = found(tmp_path, study, table, [export(study, f"r{n}") for n in range(30)])
    best = {each.question: max(each.strengths, key=lambda row: row.strength).method for each in both.results}
    assert best == {PERSON: "freeze_g", STYLE: "baseline"}


def test_raters_who_click_at_random_add_noise_and_no_bias(tmp_path: Path, study: Study, table: Table) -> None:
    honest = [export(study, f"r{n}") for n in range(30)]
    noise = [export(study, f"n{n}", strengths=None) for n in range(15)]
    alone, mixed = (found(tmp_path / name, study, table, some) for name, some in (("a", honest), ("b", honest + noise)))
    names = [sorted(result(one, PERSON).strengths, key=lambda row: row.strength) for one in (alone, mixed)]
    assert [row.method for row in names[0]] == [row.method for row in names[1]]
    spread = [rows[-1].strength - rows[0].strength for rows in names]
    assert 0.3 * spread[0] < spread[1] < spread[0]  # weaker, not turned
    only = found(tmp_path / "c", study, table, noise)
    assert all(duel.p_holm > 0.05 for each in only.results for duel in each.duels)


def test_a_leaning_to_the_left_is_balanced_by_random_sides_and_reported(
    tmp_path: Path, study: Study, table: Table
) -> None:
    leaning = found(tmp_path, study, table, [export(study, f"r{n}", leans_left=1.5) for n in range(30)])
    left, all_choices = leaning.left
    assert left / all_choices > 0.65
    order = sorted(result(leaning, PERSON).strengths, key=lambda row: -row.strength)
    assert [row.method for row in order] == ["freeze_g", "structure_loss", "baseline"]
    only_left = found(tmp_path / "l", study, table, [export(study, f"r{n}", leans_left=30) for n in range(30)])
    assert all(abs(row.strength) < 0.35 for each in only_left.results for row in each.strengths)


def test_raters_who_fail_attention_checks_are_left_out_and_counted(tmp_path: Path, study: Study, table: Table) -> None:
    good = [export(study, f"r{n}") for n in range(5)]
    slip, asleep = export(study, "slip", fails=1), export(study, "asleep", fails=2)
    fled = export(study, "fled")
    fled["answers"] = fled["answers"][:30]  # left before any check
    kept = found(tmp_path, study, table, [*good, slip, asleep, fled])
    assert (kept.raters, kept.inattentive) == (6, 2)
    assert found(tmp_path / "same", study, table, [*good, slip]).results == kept.results


def test_a_rater_counts_once_with_the_fuller_file(tmp_path: Path, study: Study, table: Table) -> None:
    whole = export(study, "one")
    half = {**whole, "answers": whole["answers"][10:]}
    twice = {**whole, "answers": whole["answers"] + whole["answers"]}
    for exports, name in (([half, whole], "answers-0.json"), ([whole, half], "answers-1.json")):
        counted = found(tmp_path / name, study, table, exports)
        assert (counted.raters, counted.repeated) == (1, [name])
        assert sum(each.answers for each in counted.results) == 40
    doubled = found(tmp_path / "twice", study, table, [twice])
    assert sum(each.answers for each in doubled.results) == 40


def test_a_method_that_always_wins_has_a_finite_strength_and_one_never_shown_does_not_break_the_fit() -> None:
    fit = bradley_terry(np.array([[0, 30, 0], [0, 0, 0], [0, 0, 0]], dtype=np.float64))
    assert np.isfinite(fit).all()
    assert fit[0] > fit[2] > fit[1]
    assert fit.sum() == pytest.approx(0)


def test_the_fit_is_the_maximum_of_the_penalised_likelihood() -> None:
    chance = np.random.Generator(np.random.Philox(key=3))
    for count in (2, 3, 5):
        wins = chance.integers(0, 9, (count, count)).astype(np.float64)
        np.fill_diagonal(wins, 0)
        padded = wins + PRIOR * (1 - np.eye(count))

        def loss(theta: np.ndarray, padded: np.ndarray = padded) -> float:
            return float((padded * np.logaddexp(0, theta[None, :] - theta[:, None])).sum())

        best = minimize(loss, np.zeros(count), tol=1e-12).x
        np.testing.assert_allclose(bradley_terry(wins), best - best.mean(), atol=1e-4)


def test_holm_is_the_textbook_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_agreement_is_whole_for_copies_and_chance_for_coins(tmp_path: Path, study: Study, table: Table) -> None:
    one = export(study, "one")
    same = found(tmp_path / "same", study, table, [{**one, "rater": f"r{n}"} for n in range(3)])
    assert all(each.agreement.share == 1 and each.agreement.alpha == 1 for each in same.results)
    coins = found(
        tmp_path / "coins", study, table, [export(study, f"c{n}", strengths=None, pairs=50) for n in range(30)]
    )
    assert all(abs(each.agreement.alpha or 0) < 0.1 for each in coins.results)
    alone = found(tmp_path / "alone", study, table, [one])
    assert all(each.agreement.share is None for each in alone.results)


def test_the_command_writes_json_csv_and_words_and_warns_of_few_raters(
    tmp_path: Path, data: Path, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save(tmp_path / "in", [export(study, f"r{n}") for n in range(12)])
    out = tmp_path / "out"
    assert main(["analyse", "--data", str(data), "--out", str(out), *map(str, paths)]) == 0
    values = json.loads((out / "study.json").read_text(), parse_constant=pytest.fail)
    assert values["raters"] == 12
    rows = list(csv.DictReader((out / "study.csv").open()))
    assert {(row["question"], row["method"]) for row in rows} == {(q, m) for q in (PERSON, STYLE) for m in TRUE}
    words = (out / "study.md").read_text()
    assert words in capsys.readouterr().out
    assert "12 raters, at least 25 are advised" in words
    assert "freeze_g is chosen over baseline" in words
    first = {name: (out / name).read_bytes() for name in ("study.json", "study.csv", "study.md")}
    analyse(data, paths, out)
    assert {name: (out / name).read_bytes() for name in first} == first


def test_where_nothing_is_left_nothing_is_claimed(tmp_path: Path, data: Path, study: Study) -> None:
    nothing = analyse(data, save(tmp_path / "in", [export(study, "asleep", fails=8)]), tmp_path)
    assert nothing.results == []
    words = (tmp_path / "study.md").read_text()
    assert "nothing is claimed" in words
    assert "chosen over" not in words


def damaged(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], str]:
    def text(values: dict[str, Any]) -> str:
        replaced = change(values)
        return json.dumps(values if replaced is None else replaced)

    return text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda values: json.dumps(values)[:-40], "not a whole JSON file"),
        (lambda values: "[" * 100_000, "not a whole JSON file"),
        (lambda values: "\x00\xff", "not a whole JSON file"),
        (lambda values: " " * 2_000_001, "more than answers can be"),
        (damaged(lambda values: [1]), "schema is 'list'"),
        (damaged(lambda values: values.update(schema="other")), "schema is 'other'"),
        (damaged(lambda values: values.update(study="0" * 64)), "answers to study 000000000000"),
        (damaged(lambda values: values.update(rater="<script>")), "rater is"),
        (damaged(lambda values: values.update(rater=["a"])), "rater is"),
        (damaged(lambda values: values.update(answers={})), "answers is dict"),
        (damaged(lambda values: values["answers"].append(7)), "answers[48]: int"),
        (damaged(lambda values: values["answers"][3].update(item="i9999")), "answers[3]: item is 'i9999'"),
        (damaged(lambda values: values["answers"][3].update(item=[])), "answers[3]: item is"),
        (damaged(lambda values: values["answers"][3].update(chosen="c")), "answers[3]: chosen 'c'"),
        (damaged(lambda values: values["answers"][3].update(chosen=["a"])), "answers[3]: chosen"),
        (damaged(lambda values: values["answers"][3].update(left=None)), "of left 'None'"),
        (damaged(lambda values: values["answers"][3].update(ms=-1)), "ms is '-1'"),
        (damaged(lambda values: values["answers"][3].update(ms=math.nan)), "ms is 'nan'"),
        (damaged(lambda values: values["answers"][3].update(ms=True)), "ms is 'True'"),
    ],
)
def test_a_damaged_or_hostile_file_is_refused_with_its_name_and_its_fault(
    tmp_path: Path, study: Study, text: Callable[[dict[str, Any]], str], message: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text(export(study, "one")))
    with pytest.raises(CorruptInputError) as caught:
        read_answers([path], study)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_files_that_are_missing_or_of_another_comparison_end_the_command_with_one_line(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MissingInputError):
        analyse(data, [tmp_path / "none.json"], tmp_path)
    assert issubclass(MissingInputError, UserError)
    assert main(["analyse", "--data", str(tmp_path), str(tmp_path / "none.json")]) == MissingInputError.exit_code
    assert capsys.readouterr().err.count("\n") == 1
