import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.params import ParamsError, read_params, read_section


@dataclass(frozen=True)
class Lmdb:
    resolution: int
    codec: str


@dataclass(frozen=True)
class Folder:
    source: Literal["folder"]
    where: Path


@dataclass(frozen=True)
class Synthetic:
    source: Literal["synthetic"]
    count: int


@dataclass(frozen=True)
class Everything:
    rate: float
    flag: bool
    maybe: int | None
    levels: tuple[int, ...]
    pair: tuple[str, float]
    nested: Lmdb
    named: dict[str, Lmdb]
    dataset: Folder | Synthetic
    mode: Literal["auto", "cpu"]

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate must not be negative, found {self.rate}")


GOOD = """
all:
  rate: 1e-3
  flag: true
  maybe: null
  levels: [8, 16]
  pair: [a, 2]
  nested: {resolution: 64, codec: png}
  named: {x: {resolution: 8, codec: no}}
  dataset: {source: folder, where: a/b}
  mode: cpu
"""


ALIAS_BOMB = "a: &a [1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in ("ab", "bc", "cd", "de", "ef", "fg", "gh")
)


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(folder: Path, text: str, section: str = "all", kind: type = Everything) -> str:
    with pytest.raises(ParamsError) as caught:
        read_section(write(folder, text), section, kind)
    return str(caught.value).removeprefix(f"{folder}/")


def test_a_section_becomes_its_dataclass_with_every_nested_kind(tmp_path: Path) -> None:
    built = read_section(write(tmp_path, GOOD), "all", Everything)
    assert built == Everything(
        rate=0.001,
        flag=True,
        maybe=None,
        levels=(8, 16),
        pair=("a", 2.0),
        nested=Lmdb(64, "png"),
        named={"x": Lmdb(8, "no")},
        dataset=Folder("folder", Path("a/b")),
        mode="cpu",
    )


def test_a_dotted_section_reads_one_entry(tmp_path: Path) -> None:
    params = write(tmp_path, "datasets: {flat: {source: synthetic, count: 3}}\nseeds: {s0: 7}\n")
    assert read_section(params, "datasets.flat", Synthetic) == Synthetic("synthetic", 3)
    assert read_section(params, "seeds.s0", int) == 7
    assert read_section(params, "seeds", dict[str, int]) == {"s0": 7}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("resolution: 64", "resolution: '64'",
         "params.yaml: all.nested.resolution: expected an integer, found '64' (a string); write 64 without quotes"),
        ("resolution: 64", "resolution: 64.0", "params.yaml: all.nested.resolution: expected an integer, found 64.0"),
        ("resolution: 64", "resolution: true", "params.yaml: all.nested.resolution: expected an integer, found true"),
        ("resolution: 64", f"resolution: {2**70}", "expected an integer, found an integer of more than 64 bits"),
        ("resolution: 64", "resolutoin: 64",
         "params.yaml: all.nested: unknown key 'resolutoin'; did you mean 'resolution'? (allowed: codec, resolution)"),
        ("resolution: 64, ", "", "params.yaml: all.nested: missing 'resolution' (an integer); add it, Lmdb in "),
        ("codec: png", "codec: 1", "params.yaml: all.nested.codec: expected a string, found 1 (an integer); write '1'"),
        ("rate: 1e-3", "rate: .nan", "params.yaml: all.rate: expected a finite number, found nan"),
        ("rate: 1e-3", "rate: 1e400", "params.yaml: all.rate: expected a finite number, found inf"),
        ("rate: 1e-3", "rate: -1", "params.yaml: all: rate must not be negative, found -1.0"),
        ("flag: true", "flag: 'yes'", "params.yaml: all.flag: expected true or false, found 'yes' (a string)"),
        ("maybe: null", "maybe: x", "params.yaml: all.maybe: expected an integer or null, found 'x' (a string)"),
        ("levels: [8, 16]", "levels: 8", "params.yaml: all.levels: expected a list, found 8 (an integer)"),
        ("levels: [8, 16]", "levels: [8, x]", "params.yaml: all.levels[1]: expected an integer, found 'x'"),
        ("pair: [a, 2]", "pair: [a]", "params.yaml: all.pair: expected 2 values, found 1"),
        ("nested: {resolution: 64, codec: png}", "nested: 3", "all.nested: expected a mapping (Lmdb), found 3"),
        ("named: {x", "named: {x: 3, y", "params.yaml: all.named.x: expected a mapping (Lmdb), found 3"),
        ("source: folder", "source: foldr",
         "all.dataset.source: expected one of folder, synthetic, found 'foldr' (a string); did you mean 'folder'?"),
        ("source: folder, ", "", "params.yaml: all.dataset: missing 'source'; add one of folder, synthetic"),
        ("where: a/b", "count: 3", "params.yaml: all.dataset: unknown key 'count'; remove it (allowed: source, where)"),
        ("mode: cpu", "mode: gpu", "params.yaml: all.mode: expected one of auto, cpu, found 'gpu' (a string)"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_was_found_and_what_to_write(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    assert expected in message(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all: 1\nall: 2\n", 'line 2, column 1: found duplicate key "all"'),
        ("all:\n\trate: 1\n", "params.yaml: line 2, column 1: a tab is used for indentation"),
        ("all: [1\n", "not YAML"),
        ("all: !!python/object/apply:os.system [true]\n", "not YAML: could not determine a constructor"),
        ("all: 2020-01-01\n", "all: expected text, a number, true, false or null, found a date"),
        ("1: x\n", "expected names as keys, found 1 (an integer); put it in quotes"),
        ("- a\n", "expected a mapping of sections at the top level, found a list of 1"),
        ("", "expected a mapping of sections at the top level, found nothing (null)"),
        ("a: &a [*a]\n", "levels"),
        ("al: {}\n", "missing section 'all'; did you mean 'al'?"),
        ("train: {}\n", "missing section 'all'; the file has: train"),
        (ALIAS_BOMB, "are anchors nested?"),
        ("a: " + "x" * 1_100_000, "a params file has at most"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_says_where_and_why(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in message(tmp_path, text)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ParamsError, match="line 2: byte 0xe9 is not UTF-8"):
        read_params(path)


def test_a_missing_file_says_where_to_start(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"no-params.yaml: no such file; run from the project's root"):
        read_params(tmp_path / "no-params.yaml")
    assert ParamsError.exit_code == 2


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def check_valid_or_refused(path: Path) -> None:
    try:
        built = read_section(path, "all", Everything)
    except ParamsError as error:
        assert str(error).startswith(str(path))
    else:
        assert math.isfinite(built.rate)


@settings(max_examples=60, deadline=None)
@given(value=st.dictionaries(st.sampled_from(list(Everything.__dataclass_fields__)), yaml_values) | yaml_values)
def test_any_yaml_is_either_valid_or_a_params_error(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump({"all": value}, file)
    check_valid_or_refused(path)


@settings(max_examples=100, deadline=None)
@given(raw=st.binary(max_size=60) | st.text(alphabet="a:[]{}&*!|>-?,#'\" \n\t%@`0.", max_size=40).map(str.encode))
def test_any_bytes_are_either_valid_or_a_params_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(b"all: " + raw)
    check_valid_or_refused(path)
