"""Settings of techniques in params.yaml: what is read, and what is said about a wrong one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from model import finetune
from model.errors import UsageError
from model.finetune import load_technique
from model.finetune.technique import Technique
from tests.finetune.test_techniques import RGB_16

ADA = {"target": 0.6, "kimg": 50, "every": 4, "transforms": "bgc"}


@dataclass(frozen=True)
class Everything(Technique):
    word: Literal["one", "two"]
    sizes: tuple[int, ...]
    limit: float | None
    ramp: float | Literal["auto"]
    on: bool


GOOD: dict[str, Any] = {"word": "two", "sizes": [4, 8], "limit": None, "ramp": "auto", "on": True}


def read(**changes: Any) -> Everything:
    return Everything(**finetune._checked("everything", Everything, {**GOOD, **changes}))


def test_lists_become_tuples_whole_numbers_become_floats_and_null_and_words_stay() -> None:
    assert read() == Everything("two", (4, 8), None, "auto", True)
    found = read(limit=3, ramp=2)
    assert (found.limit, found.ramp) == (3.0, 2.0)
    assert type(found.limit) is type(found.ramp) is float


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("word", "twoo", "everything.word: found 'twoo', expected one of 'one', 'two'; did you mean 'two'?"),
        ("word", 1, "everything.word: found 1, expected one of 'one', 'two'"),
        ("sizes", 4, "everything.sizes: found 4, expected a list of int"),
        ("sizes", [4, "8"], "everything.sizes: found '8', expected int"),
        ("sizes", None, "everything.sizes: found None, expected a list of int"),
        ("limit", "no", "everything.limit: found 'no', expected float or null"),
        ("limit", True, "everything.limit: found True, expected float or null"),
        ("ramp", "atuo", "everything.ramp: found 'atuo', expected float or 'auto'; did you mean 'auto'?"),
        ("on", 1, "everything.on: found 1, expected bool"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_is_allowed(key: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(**{key: value})
    assert str(caught.value) == f"methods: {said}"


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("freze_g", {}, "did you mean 'freeze_g'"),
        ("freeze_g", {}, "freeze_g.train_from: missing, expected int"),
        ("freeze_g", {"train_from": "32"}, "freeze_g.train_from: found '32', expected int"),
        ("freeze_g", {"train_from": 32, "x": 1}, "freeze_g.x: unknown setting"),
        ("structure_loss", {**RGB_16, "weight": True}, "expected float"),
        (
            "structure_loss",
            {**RGB_16, "space": "features"},
            "expected one of 'rgb', 'feature'; did you mean 'feature'?",
        ),
        ("structure_loss", {**RGB_16, "resolution": [4]}, "did you mean 'resolutions'?"),
        ("structure_loss", {"up_to": 16, "weight": 1.0}, "structure_loss.up_to: unknown setting"),
        ("ada", {**ADA, "transforms": "cgb"}, "found 'cgb', expected one of 'b', 'g', 'c', 'bg', 'bc', 'gc', 'bgc'"),
        ("ada", {**ADA, "transforms": ["flip", "hues"]}, "ada.transforms: found 'hues', expected one of 'flip'"),
        ("ada", {**ADA, "transforms": ["flip", "hues"]}, "did you mean 'hue'?"),
        ("ada", {**ADA, "kimg": "slow"}, "ada.kimg: found 'slow', expected float or 'auto'"),
        ("augment", {"p": "0.2", "transforms": "b"}, "augment.p: found '0.2', expected float"),
    ],
)
def test_technique_settings_are_checked_by_name(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_technique(name, settings)
    assert said in str(caught.value)
