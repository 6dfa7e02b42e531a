"""Which measuring networks are here, and what is said of those that are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from model.errors import CorruptInputError, MissingInputError, UsageError
from model.metrics.extractors import catalogue
from stages.measuring import instruments as module
from stages.measuring.instruments import Asked, look_for, open_all

NEEDED = {"inception_2015": 91_234_567, "dinov2_b14": None, "vgg16": 528_000_000, "lpips_vgg": 7289}


def asked(on_missing: str = "error", **names: tuple[str, ...]) -> Asked:
    every = {"style": ("stylenet",), "likeness": (), "diversity": ("stylenet",)} | names
    return Asked(Path("params.yaml"), every, on_missing, ("reference@flat", "evaluate@a-flat-s0"))  # type: ignore[arg-type]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock whose files are not there. JSON is YAML."""
    entries = {
        name: {
            "file": f"weights/{name}.safetensors", "addresses": [], "bytes": size, "sha256": None, "licence": "x",
            "about": "y",
        }
        for name, size in NEEDED.items()
    }  # fmt: skip
    (tmp_path / "weights.lock.yaml").write_text(json.dumps({"extractors": entries}))
    return tmp_path / "weights.lock.yaml"


def arrive(lock: Path, name: str) -> None:
    path = lock.parent / "weights" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"weights")


def test_every_missing_file_is_named_with_its_size_its_place_and_three_ways_out(lock: Path) -> None:
    wanted = asked(style=("inception", "stylenet"), likeness=("lpips_vgg", "dinov2_b14"), diversity=("lpips_vgg",))
    arrive(lock, "lpips_vgg")
    with pytest.raises(MissingInputError) as caught:
        look_for(wanted, lock)
    first, second, third = str(caught.value).split("; ")
    assert first == (
        f"fid[inception] needs inception_2015 (91.2 MB), which is not here "
        f"({lock.parent}/weights/inception_2015.safetensors): run `cartoon-pipeline weights fetch inception_2015` "
        "where there is internet, or copy the file and run `cartoon-pipeline weights import inception_2015 FILE`, "
        "or drop inception from evaluate.style in params.yaml"
    )
    assert second.startswith("lpips[lpips_vgg] needs vgg16 (528 MB)")
    assert "drop lpips_vgg from evaluate.likeness and evaluate.diversity" in second
    assert third.startswith("cos[dinov2_b14] needs dinov2_b14, which is not here")


def test_skipped_networks_are_not_run_for_a_reason_with_what_to_do_and_what_to_repeat(lock: Path) -> None:
    present = look_for(asked("skip", style=("stylenet", "inception"), likeness=("dinov2_b14",)), lock)
    assert present.names == {"style": ("stylenet",), "likeness": (), "diversity": ("stylenet",)}
    reasons = {row["metric"]: row["reason"] for row in present.not_run}
    for metric in ("fid[inception]", "kid_x1e3[inception]", "cos[dinov2_b14]", "selfsim[dinov2_b14]"):
        assert "is not here" in reasons[metric]
        assert "weights fetch" in reasons[metric]
        assert "dvc repro --single-item --force reference@flat" in reasons[metric]
        assert "dvc repro --single-item --force evaluate@a-flat-s0" in reasons[metric]


def test_the_network_that_ranks_is_never_skipped(lock: Path) -> None:
    with pytest.raises(MissingInputError, match=r"inception_2015.*ranks, so it is not skipped"):
        look_for(asked("skip", style=("inception", "stylenet")), lock)


def test_what_readers_expect_and_nobody_asked_for_is_said(lock: Path) -> None:
    reasons = {row["metric"]: row["reason"] for row in look_for(asked(), lock).not_run}
    assert reasons["fid[inception]"] == "not asked for in evaluate.style"
    assert reasons["lpips[lpips_vgg]"] == "not asked for in evaluate.likeness"
    assert reasons["arcface_cos[arcface]"] == "not asked for in evaluate.likeness"
    assert reasons["intra_lpips[lpips_vgg]"] == "not asked for in evaluate.diversity"
    assert not any("stylenet" in metric for metric in reasons)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"style": ()}, "evaluate.style: empty"),
        ({"style": ("fid",)}, "no measuring network called 'fid'; there are: stylenet"),
        ({"style": ("lpips_vgg",)}, "evaluate.style: lpips_vgg measures distance, expected one of features, patches"),
        ({"diversity": ("arcface",)}, "evaluate.diversity: arcface measures identity"),
        ({"likeness": ("arcface", "arcface")}, "evaluate.likeness.*twice"),
    ],
)
def test_names_that_cannot_measure_what_they_are_asked_for_are_refused(
    names: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        asked(**names)


def test_a_network_with_two_uses_is_opened_once_and_listed_twice(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Net:
        name, weights_sha256, preprocess_id = "net-01234567", "0" * 64, "none-v1"

    def fake(name: str, weights: dict[str, Path]) -> Net:
        opened.append(f"{name} {sorted(weights)}")
        return Net()

    monkeypatch.setattr(module, "open_instrument", fake)
    arrive(lock, "dinov2_b14")
    found = open_all(look_for(asked(style=("dinov2_b14", "stylenet"), diversity=("dinov2_b14",)), lock), lock)
    assert opened == ["dinov2_b14 ['dinov2_b14']", "stylenet []"]
    assert [(row["role"], row["kind"]) for row in found.listed()] == [
        ("style", "dinov2_b14"), ("style", "stylenet"), ("diversity", "dinov2_b14")
    ]  # fmt: skip
    assert list(found.of("style")) == ["dinov2_b14", "stylenet"]


def test_a_file_that_is_not_the_one_of_the_lock_is_never_opened(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_instrument", None)
    arrive(lock, "inception_2015")
    present = look_for(asked(style=("inception",)), lock)
    with pytest.raises(CorruptInputError, match="found 7 bytes, expected 91234567"):
        open_all(present, lock)


def test_looking_for_weights_loads_neither_torch_nor_any_network() -> None:
    code = (
        "import sys; from stages.measuring import instruments, settings; from stages import evaluate, reference;"
        "print(sorted({'torch', 'scipy', 'pandas', 'torchvision', 'timm'} & set(sys.modules)))"
    )
    root = Path(catalogue.__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
