"""``cartoon-pipeline explain`` says what methods really do, and the README's table is what it says today."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from torch import Tensor

from model.errors import UsageError
from model.finetune import load_method
from model.finetune.technique import Augmentation, Codes, GeneratorPass, Networks, Technique
from model.networks.discriminator import DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from pipeline import cli
from stages.explain import __main__ as command
from stages.explain import dry_run as trial
from stages.explain.dry_run import CASES, Explanation, dry_run
from stages.explain.show import as_markdown, as_text
from tests.finetune.test_techniques import COMPAT, METHODS, RGB_16, full_networks
from tests.stages.training import write_params, write_source
from tests.tiny import CONFIG, tiny_trainer

ROOT = Path(__file__).resolve().parents[2]
TINY = (GeneratorConfig(32, 8, 8, 2, 256, 16), DiscriminatorConfig(32, 256, 16))
TWO_CODES = ("D step of two codes", "G step of two codes")


def tried(techniques: dict[str, dict[str, Any]], **changes: Any) -> Explanation:
    return dry_run("mine", techniques, TINY, dataclasses.replace(CONFIG, **changes))


@pytest.mark.parametrize(
    "techniques", [*METHODS.values(), {"compat": {**COMPAT, "freeze_d": 1, "freeze_g": 2}}], ids=lambda t: "+".join(t)
)
def test_parts_and_counts_are_those_of_a_real_training(techniques: dict[str, dict[str, Any]]) -> None:
    nets = tiny_trainer(load_method(techniques)).nets
    found = tried(techniques)
    for network, module in (("generator", nets.generator), ("discriminator", nets.discriminator)):
        parameters = list(module.parameters())
        trains = sum(p.numel() for p in parameters if p.requires_grad)
        assert found.count(network) == (trains, sum(p.numel() for p in parameters))
    blocks = {part.resolution: part.trained > 0 for part in found.parts if part.network == "generator" and part.rows}
    assert blocks == {
        r: any(p.requires_grad for p in nets.generator.synthesis.block(r).parameters()) for r in (4, 8, 16, 32)
    }


@pytest.mark.parametrize(
    ("techniques", "rows", "mixes"),
    [
        ({"freeze_d": {"train_up_to": 8}}, {}, True),
        ({"freeze_style": {"coarse_ws": 3}}, dict.fromkeys(range(3), tuple(CASES)), True),
        ({"compat": {**COMPAT, "freeze_style": 2}}, dict.fromkeys(range(2), TWO_CODES), False),
        ({"compat": {**COMPAT, "freeze_fc": True}}, dict.fromkeys(range(8), TWO_CODES[:1]), True),
    ],
)
def test_style_rows_are_traced_to_the_source_in_every_kind_of_batch(
    techniques: dict[str, dict[str, Any]], rows: dict[int, tuple[str, ...]], mixes: bool
) -> None:
    found = tried(techniques)
    assert found.source_rows == rows
    assert found.mixes == mixes


@pytest.mark.parametrize(
    ("techniques", "weight", "compared"),
    [
        ({"structure_loss": RGB_16}, 1.0, "RGB of 4, 8 and 16 px"),
        ({"structure_loss": {**RGB_16, "space": "feature", "resolutions": [8], "weight": 2}}, 2.0, "features of 8 px"),
        ({"compat": {**COMPAT, "structure_loss": 2}}, None, "features of up to 16 px, from passes of its own"),
        (
            {"compat": {**COMPAT, "structure_loss": 2, "freeze_g": 1}}, None,
            "features of up to 16 px, from passes of its own",
        ),
    ],
)  # fmt: skip
def test_what_a_loss_compares_is_found_by_its_gradient(
    techniques: dict[str, dict[str, Any]], weight: float | None, compared: str
) -> None:
    (loss,) = tried(techniques).losses
    assert (loss.technique, loss.weight, loss.compared) == (next(iter(techniques)), weight, compared)


def test_path_length_is_what_a_step_ran() -> None:
    assert tried(METHODS["freeze_g"]).path_length
    assert not tried(METHODS["freeze_g"], path_weight=0.0).path_length
    assert not tried({"compat": {**COMPAT, "freeze_g": 0}}).path_length


@dataclass(frozen=True)
class Unheard(Technique):
    """A technique that nothing but this test knows."""

    weight: float

    def freeze(self, nets: Networks) -> None:
        nets.generator.synthesis.const.requires_grad_(False)

    def styles(self, ws: Tensor, codes: Codes) -> Tensor:
        return codes.source_ws if codes.purpose == "use" else ws

    def taps(self, resolutions: tuple[int, ...]) -> tuple[int, ...]:
        return (4, 32)

    def generator_loss(self, nets: Networks, step: GeneratorPass) -> Tensor | None:
        return self.weight * (step.outputs[4].features.mean() + step.outputs[32].rgb.mean())

    def path_length(self) -> bool:
        return False

    def augmentation(self, nets: Networks) -> Augmentation | None:
        return Augmentation(0.1, frozenset({"hue", "flip"}), None)


def test_a_technique_nobody_has_heard_of_is_explained_by_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "load_method", lambda techniques: [Unheard(3.0)])
    found = tried({"unheard": {"weight": 3.0}})
    assert [part.name for part in found.parts if part.trained == 0] == ["constant"]
    assert found.source_rows == dict.fromkeys(range(8), ("in use",))
    assert [(loss.weight, loss.compared) for loss in found.losses] == [(3.0, "features of 4 px and RGB of 32 px")]
    text = as_text(found, "tiny")
    assert re.search(r"^  constant +fixed +0 +of 256$", text, flags=re.M)
    assert re.search(r"^  path length +no$", text, flags=re.M)
    assert re.search(r"^augmentation +flip and hue with probability 0\.1$", text, flags=re.M)
    assert "0-7 (in use)" not in text  # a block shows its own rows only
    assert re.search(r"^  block 8 px .* 1-3 +1-3 \(in use\)$", text, flags=re.M)


def test_the_text_is_aligned_and_names_blocks_losses_and_augmentation() -> None:
    techniques = {**METHODS["freeze_sg"], "structure_loss": RGB_16, "ada": METHODS["baseline"]["ada"]}
    text = as_text(tried(techniques), "tiny ones")
    assert text.startswith("mine: networks of 32 px, tiny ones\n  ada: target 0.6, kimg 0.05, every 2, transforms")
    lines = text.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert {match.end() for line in lines if (match := re.match(r"  .* (trains|fixed) .* of +[\d,]+", line))} == {
        next(match.end() for line in lines if (match := re.match(r"generator .* of +[\d,]+", line)))
    }
    for pattern in (
        r"^  mapping network +trains +\d+ +of +\d+$",
        r"^  block 4 px +fixed +0 +of [\d,]+ +0-1 +0-1$",
        r"^  block 16 px +trains .* 3-5$",
        r"^  from RGB +fixed",
        r"^  head +trains",
        r"^  path length +weight 2, every 2 batches$",
        r"^  structure_loss +RGB of 4, 8 and 16 px against the source's, weight 1$",
        r"^  R1 +weight 1, every 4 batches$",
        r"^style mixing +two codes in 90% of the batches$",
        r"^augmentation +ADA: all 13 transformations, probability from 0, 0\.05 kimg for 0 to 1",
    ):
        assert re.search(pattern, text, flags=re.M), pattern


def test_the_markdown_says_once_what_all_methods_share() -> None:
    table = as_markdown([dry_run(name, method, TINY, CONFIG) for name, method in METHODS.items()])
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    rows = {line.split("`")[1]: [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    assert set(rows) == set(METHODS)
    assert rows["freeze_g"][:2] == [
        "generator: blocks of 16 and 32 px; discriminator: blocks of 8 and 16 px and head",
        "mapping network, constant and blocks of 4 and 8 px of the generator",
    ]
    assert rows["freeze_sg"][1].endswith("style rows 0-2 of every image")
    assert rows["structure_loss"][2] == "structure loss (RGB of 4, 8 and 16 px held near the source's, weight 1)"
    assert rows["baseline"][1:3] == ["the starting weights alone", "–"]  # noqa: RUF001
    assert table.count("path length") == table.count("R1") == 1
    alone = as_markdown([tried({"augment": {"p": 0.2, "transforms": "c"}})])
    assert "augmentation (brightness, contrast, luma_flip, hue and saturation with probability 0.2)" in alone


# the command


def test_the_architecture_is_the_sources_once_it_is_made_else_config_f(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml")
    (found,), where = command.explain(Path("params.yaml"), ["freeze_g"])
    assert where == "config-f, as source.safetensors is not here yet"
    assert found.count("generator")[1] == sum(
        p.numel() for p in Generator(GeneratorConfig(32, 512, 512, 8, 32768, 512)).parameters()
    )
    write_source(tmp_path / "work" / "test" / "source")
    (found,), where = command.explain(Path("params.yaml"), ["freeze_g"])
    assert where == "as in work/test/source/networks.safetensors"
    assert found.count("generator")[1] == sum(p.numel() for p in tiny_trainer([]).nets.generator.parameters())
    assert command.main(["--params", "params.yaml", "freeze_g", "baseline"]) == 0
    assert re.findall(r"^(\w+): networks", capsys.readouterr().out, flags=re.M) == ["freeze_g", "baseline"]


def test_an_unknown_method_or_one_that_does_not_fit_is_told_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", methods={"large": {"freeze_g": {"train_from": 64}}, "none": None})
    for name, said in (
        ("larg", "params.yaml: unknown method 'larg', expected one of ['large', 'none']; did you mean 'large'?"),
        ("large", "methods: freeze_g.train_from: found 64 px, expected one of [4, 8, 16, 32] for 32 px networks"),
        ("none", "params.yaml: methods.none: found None, expected a mapping of techniques to settings"),
    ):
        assert command.main(["--params", "params.yaml", name]) == 2
        assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize(("profile", "params"), [(None, "params.yaml"), ("paper", "profiles/paper/params.yaml")])
def test_the_pipelines_command_hands_over_the_profiles_params_file(
    profile: str | None, params: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: seen.append(arguments))
    monkeypatch.chdir(ROOT)
    cli.main(["--root", str(ROOT), "explain", "freeze_sg", *(["--profile", profile] if profile else [])])
    assert seen == [[sys.executable, "-m", "stages.explain", "--params", params, "--format", "text", "--", "freeze_sg"]]


@pytest.mark.slow
def test_the_command_explains_a_method_of_another_profile(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "--root", str(ROOT), "explain", "--profile", "paper", "freeze_g"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("freeze_g: networks of 256 px")
    assert re.search(r"^generator +14,019,988 +of 30,034,338$", done.stdout, flags=re.M)


# the README


def test_the_readmes_table_of_methods_is_what_the_code_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    copy = tmp_path / "README.md"
    copy.write_bytes((ROOT / "README.md").read_bytes())
    assert command.main(["--params", "params.yaml", "--readme", str(copy)]) == 0
    assert copy.read_text() == (ROOT / "README.md").read_text(), "run `make readme`"


def test_a_readme_without_the_markers_is_left_alone(tmp_path: Path) -> None:
    for text in ("no markers", f"{command.END}\n{command.BEGIN}", f"{command.BEGIN}{command.BEGIN}{command.END}"):
        readme = tmp_path / "README.md"
        readme.write_text(text)
        with pytest.raises(UsageError, match="once each"):
            command.rewrite(readme, "table")
        assert readme.read_text() == text


def test_the_readmes_published_flags_are_methods_of_256_px_networks() -> None:
    (block,) = re.findall(r"```yaml\n(methods:.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    methods = YAML(typ="safe").load(block)["methods"]
    assert len(methods) == 3
    nets = full_networks(256)
    for method in methods.values():
        for technique in load_method(method):
            technique.check(256, nets.generator.num_ws)
