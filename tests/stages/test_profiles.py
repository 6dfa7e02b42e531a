"""The profiles that ship: every number is one a stage accepts, the graph is whole, and what is absent is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.finetune import load_method
from model.metrics.extractors.catalogue import kind_of
from pipeline.champions.hearing import ChampionParams
from pipeline.graph import read_graph
from pipeline.params import read_params, read_section
from pipeline.scheduling import Scheduling
from pipeline.watching.looks import Watch
from stages.build_lmdb import LmdbParams
from stages.compare import CompareParams
from stages.crop import CropParams
from stages.fetch.weights import entry_of
from stages.measuring.settings import EvaluateParams
from stages.page import PageParams
from stages.pretrained import PretrainedParams
from stages.session import TrainParams
from stages.snapshots import SnapshotParams
from stages.sources.settings import Web, read_source
from stages.swap import SwapParams
from tests.project import ROOT, copy_project

PROFILES = {"demo": Path(), "showcase": Path("profiles/showcase"), "paper": Path("profiles/paper")}
SECTIONS = {
    "crawl": Web, "crop": CropParams, "lmdb": LmdbParams, "pretrained": PretrainedParams, "train": TrainParams,
    "snapshots": SnapshotParams, "swap": SwapParams, "evaluate": EvaluateParams, "compare": CompareParams,
    "page": PageParams, "champion": ChampionParams, "scheduling": Scheduling, "watch": Watch,
}  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_every_section_is_what_its_stage_reads(profile: str) -> None:
    path = ROOT / PROFILES[profile] / "params.yaml"
    params = read_params(path)
    assert (params["profile"], params["root"]) == (profile, "." if profile == "demo" else "../..")
    assert params["params_file"] == (PROFILES[profile] / "params.yaml").as_posix()
    sections = {name: read_section(path, name, kind) for name, kind in SECTIONS.items()}
    assert set(params) == {*sections, "profile", "root", "params_file", "datasets", "methods", "seeds"}
    crop, pretrained = sections["crop"], sections["pretrained"]
    assert isinstance(crop, CropParams)
    assert isinstance(pretrained, PretrainedParams)
    for dataset in params["datasets"]:
        assert read_source(path, dataset).face in {*crop.faces, "none"}
    for techniques in params["methods"].values():
        assert {technique.__class__.__name__ for technique in load_method(techniques)}
    assert params["compare"]["baseline"] in params["methods"]
    assert crop.resolution == max(params["lmdb"]["sizes"]) == pretrained.resolution
    if pretrained.weights.startswith("lock:"):
        assert entry_of(pretrained.weights.removeprefix("lock:"), ROOT / "weights.lock.yaml").licence
    assert all(level < pretrained.resolution for level in params["swap"]["levels"])
    measuring = sections["evaluate"]
    assert isinstance(measuring, EvaluateParams)
    for network in (*measuring.style, *measuring.likeness, measuring.diversity):
        assert all(entry_of(name, ROOT / "weights.lock.yaml").sha256 for name in kind_of(network).needs)


def test_the_paper_profile_holds_the_papers_methods_and_datasets() -> None:
    params = read_params(ROOT / "profiles" / "paper" / "params.yaml")
    assert set(params["methods"]) == {"baseline", "freeze_g", "freeze_sg", "structure_loss"}
    assert {"naver_webtoon", "disney", "metfaces", "danbooru"} <= set(params["datasets"])
    assert all(source["license"] for source in params["datasets"].values())
    assert params["pretrained"]["licence"].startswith("CC BY-NC-SA")
    showcase = read_params(ROOT / "profiles" / "showcase" / "params.yaml")
    assert (len(showcase["methods"]), len(showcase["datasets"]), len(showcase["seeds"])) == (4, 2, 3)


@pytest.mark.slow
def test_the_graph_of_each_profile_is_whole(tmp_path: Path) -> None:
    copy_project(tmp_path)
    graph = read_graph(tmp_path)
    for profile, folder in PROFILES.items():
        params = read_params(ROOT / folder / "params.yaml")
        prefix = "" if profile == "demo" else f"{folder.as_posix()}/dvc.yaml:"
        cells = [f"{m}-{d}-{s}" for m in params["methods"] for d in params["datasets"] for s in params["seeds"]]
        expected = {f"{stage}@{cell}" for stage in ("train", "swap", "evaluate") for cell in cells}
        of_datasets = ("crawl", "crop", "lmdb", "reference")
        expected |= {f"{stage}@{dataset}" for stage in of_datasets for dataset in params["datasets"]}
        expected |= {f"plan@{method}" for method in params["methods"]} | {"pretrained", "compare", "page", "publish"}
        own = {name for name in graph if name.startswith(prefix) and (prefix or "profiles/" not in name)}
        assert own == {prefix + name for name in expected}
        drawn = subprocess.run(
            [sys.executable, "-m", "dvc", "dag", "--md", (folder / "dvc.yaml").as_posix()],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert drawn.startswith("```mermaid")
        assert all(prefix + name in drawn for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "flags", "code", "said"),
    [
        ("pretrained", ("--out", "o"), 6, ("weights/ffhq256.pt: not here", "OFFLINE=1", "import ffhq256 FILE")),
        ("crawl", ("--dataset", "disney", "--scratch", "s", "--out", "o"), 3, ("data/disney", "datasets.disney")),
        ("crawl", ("--dataset", "danbooru", "--scratch", "s", "--out", "o"), 3, ("data/danbooru", "datasets.danbooru")),
    ],
)  # fmt: skip
def test_what_the_paper_profile_lacks_is_named_with_the_remedy(
    tmp_path: Path, stage: str, flags: tuple[str, ...], code: int, said: tuple[str, ...]
) -> None:
    copy_project(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", "--params", "profiles/paper/params.yaml", *flags],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path), "CARTOON_OFFLINE": "1"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr
    assert not (tmp_path / "o").exists()
