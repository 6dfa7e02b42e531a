"""The answer in sentences: a stranger must understand it, and it must not say more than the numbers do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.stages.evaluations import cell, findings_of, measured_of, write_evaluation


def told(folder: Path, seeds: int = 1, **methods: list[dict[str, Any]]) -> str:
    for method, rows in methods.items():
        for seed in range(seeds):
            write_evaluation(folder, (method, "flat", f"s{seed}"), rows)
    return " ".join(findings_of(measured_of(folder, *methods, seeds=seeds))["summary"]["flat"])


def test_it_names_the_best_method_what_it_is_ahead_of_and_its_price(tmp_path: Path) -> None:
    text = told(
        tmp_path, 3, baseline=[cell("none", 0, 20, 0.3)], freeze_g=[cell("none", 0, 35, 0.5)],
        structure_loss=[cell("none", 0, 20, 0.35)],
    )  # fmt: skip
    assert text == (
        "Without a swap freeze g keeps the face best: similarity 0.50 (1 is the same face, 0 is no closer than another "
        "person's), against structure loss 0.35 and baseline 0.30. All two differences are significant. "
        "That costs style: style distance (KID x 10³) 35.0 against 20.0 of the baseline; 0 is the drawings themselves, "
        "400.0 the untuned source; the difference is significant. "
        "No swap level regains more of the face than it gives up in style. "
        "Every method was trained three times, and the luck of training is included."
    )


def test_it_says_where_a_lead_or_a_price_is_not_significant(tmp_path: Path) -> None:
    text = told(
        tmp_path, baseline=[cell("none", 0, 20.05, 0.3)], freeze_g=[cell("none", 0, 20.1, 0.5)],
        freeze_sg=[cell("none", 0, 20.0, 0.499)],
    )  # fmt: skip
    assert "Its lead over freeze sg is not significant." in text
    assert "That costs no style that could be told from chance" in text
    assert "Every method was trained only once: the luck of training is not included" in text


def test_the_baseline_may_win_and_a_method_may_be_alone(tmp_path: Path) -> None:
    text = told(tmp_path / "a", baseline=[cell("none", 0, 20, 0.6)], freeze_g=[cell("none", 0, 20, 0.3)])
    assert "Without a swap baseline keeps the face best" in text
    assert "Its style distance (KID x 10³) is 20.0; 0 is the drawings themselves, 400.0 the untuned source." in text
    assert "Only baseline could be ranked" in told(tmp_path / "b", baseline=[cell("none", 0, 20, 0.6)])


def test_who_draws_nothing_cannot_win(tmp_path: Path) -> None:
    """A generator that was hardly trained is the source: the same face, and no drawing."""
    text = told(tmp_path, baseline=[cell("none", 0, 20, 0.3)], untrained=[cell("none", 0, 399, 0.99)])
    assert "Only baseline could be ranked" in text
    assert "not look drawn: untrained." in text


def test_it_says_what_a_swap_buys_and_costs(tmp_path: Path) -> None:
    rows = [cell("none", 0, 20, 0.3), cell("weights", 16, 60, 0.8)]
    text = told(tmp_path, baseline=rows, freeze_g=[cell("none", 0, 20, 0.3), cell("weights", 16, 60, 0.7)])
    assert (
        "Layers of the source swapped in keep more of the face and less of the style: baseline with weights up to 16 "
        "px has similarity 0.80 instead of 0.30, at a KID x 10³ of 60.0 instead of 20.0."
    ) in text
