"""The real dvc.yaml and params.yaml with stages that only touch their outputs: what runs when, what DVC can show."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.profiles import new_profile

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "dvc.yaml", "params.yaml", "weights.lock.yaml", "exclusions/none.txt", ".dvcignore", ".gitignore", ".dvc/config",
    ".dvc/.gitignore", ".dvc/plots/curves.json", ".dvc/plots/points.json",
)  # fmt: skip
pytestmark = pytest.mark.slow

FAKE = """
import json, sys
from pathlib import Path
name, flags = Path(__file__).stem, dict(zip(sys.argv[1::2], sys.argv[2::2]))
out = Path(flags["--out"])
files = {
    "plan": None,
    "train": ["generator.safetensors", "generator.safetensors.json", "discriminator.safetensors",
              "discriminator.safetensors.json", "MANIFEST.json", "samples/00000000.png",
              "snapshots/00001000.safetensors"],
    "evaluate": ["metrics.json"],
    "compare": ["MANIFEST.json", "table.parquet", "table.csv", "table.md", "pictures/a.png"],
    "publish": ["table.md"],
    "page": ["index.html", "study.html", "hero.png", "figures/a.png", "sheets/b.png"],
}.get(name, ["MANIFEST.json"])
if files is None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"method": flags["--method"]}))
if "--card" in flags:
    Path(flags["--card"]).mkdir(parents=True, exist_ok=True)
    (Path(flags["--card"]) / "card.md").write_text(f"{name} {flags}")
for file in files or []:
    (out / file).parent.mkdir(parents=True, exist_ok=True)
    (out / file).write_text(f"{name} {flags}")
if name == "train":
    (out / "generator.safetensors").write_text(Path(flags["--params"]).read_text())
    (out / "stats.csv").write_text("kimg,d_loss\\n0.5,1.2\\n1,1.1\\n")
    (out / "snapshots.csv").write_text("kimg,kid\\n0.5,0.2\\n1,0.1\\n")
if name in ("compare", "publish"):
    (out / "metrics.json").write_text(json.dumps({"flat": {"baseline": {"fid": 12.5}}}))
if name == "compare":
    (out / "table.parquet").write_text(str(sorted(path.name for path in Path(flags["--evaluated"]).iterdir())))
    (out / "pareto.csv").write_text("dataset,method,similarity,kid\\nflat,a,0.5,30\\n")
    (out / "levels.csv").write_text("series,dataset,method,level,similarity\\nflat a,flat,a,8,0.5\\n")
    (out / "kimg.csv").write_text("series,dataset,method,kimg,kid\\nflat a,flat,a,4,0.5\\n")
with Path("executed.txt").open("a") as log:
    log.write(f"{name} {out.stem}\\n")
"""


def keep_methods(params: Path, names: tuple[str, ...]) -> None:
    """Drop the other methods: what holds for two columns of the grid holds for more."""
    yaml = YAML()
    values = yaml.load(params)
    for name in set(values["methods"]) - set(names):
        del values["methods"][name]
    yaml.dump(values, params)


class Project:
    """A git repository with the real pipeline definition and fake code."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in COPIED:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
        keep_methods(root / "params.yaml", ("baseline", "freeze_sg"))
        text = (root / "dvc.yaml").read_text() + (root / "params.yaml").read_text()
        for dep in set(re.findall(r"(?:stages|model)/[a-z_/]+(?:\.py)?", text)):
            path = root / dep if dep.endswith(".py") else root / dep / "code.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("# code\n")
        for stage in set(re.findall(r"python -m stages\.([a-z_]+)", text)):
            (root / "stages" / f"{stage}.py").write_text(FAKE)
        (root / "stages" / "__init__.py").touch()
        (root / ".gitignore").write_text((root / ".gitignore").read_text() + "\nexecuted.txt\n")
        self.git("init", "-q")
        self.commit()

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "x")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True)

    def dvc(self, *arguments: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
                       "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org"}  # fmt: skip
        command = [sys.executable, "-m", "dvc", *arguments]
        result = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
        return result.stdout

    def executed(self) -> list[str]:
        log = self.root / "executed.txt"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"))
    made.dvc("repro")
    return made


def test_the_demo_runs_every_stage_once_and_then_none(project: Project) -> None:
    first = project.executed()
    assert len(first) == len(set(first)) == len(project.dvc("stage", "list", "--name-only").split())
    project.dvc("repro")
    assert project.executed() == []
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project.root, capture_output=True, text=True, check=True
    )
    new = {line[3:] for line in status.stdout.splitlines()}
    assert new == {"dvc.lock", "reports/"}
    project.commit()
    tracked = subprocess.run(
        ["git", "ls-files", "reports"], cwd=project.root, capture_output=True, text=True, check=True
    )
    assert set(tracked.stdout.split()) == {"reports/demo/metrics.json", "reports/demo/table.md"}


def test_a_comment_in_a_technique_retrains_nothing_and_left_over_temporary_folders_neither(project: Project) -> None:
    project.executed()
    (project.root / "model" / "finetune" / "code.py").write_text("# another comment\n")
    left = project.root / "work" / "demo" / "evaluate" / ".a-b-s0.x1y2.tmp"
    left.mkdir()
    (left / "half.png").write_text("x")
    project.dvc("repro")
    assert {line.split()[0] for line in project.executed()} == {"plan"}


def test_a_new_method_adds_its_column_only(project: Project) -> None:
    project.executed()
    params = project.root / "params.yaml"
    params.write_text(
        re.sub(r"^methods:.*$", "methods:\n  extra: {freeze_d: {train_up_to: 16}}", params.read_text(), flags=re.M)
    )
    project.dvc("repro")
    ran = project.executed()
    assert {line.split()[0] for line in ran} == {"plan", "train", "swap", "evaluate", "compare", "page"}
    assert all("extra" in line for line in ran if not line.startswith(("compare", "page")))


def test_dvc_shows_metrics_plots_and_changed_numbers(project: Project) -> None:
    shown = json.loads(project.dvc("metrics", "show", "--json"))
    assert shown[""]["data"]["reports/demo/metrics.json"]["data"] == {"flat": {"baseline": {"fid": 12.5}}}
    page = Path(project.dvc("plots", "show", "--out", str(project.root / "dvc_plots")).split("file://")[1].strip())
    assert "loss of the discriminator" in page.read_text()
    assert "KID of snapshots to held-out images" in page.read_text()
    assert "samples_00000000.png" in page.read_text()
    params = project.root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("\n  kimg: ", "\n  kimg: 7", 1))
    assert "train.kimg" in project.dvc("params", "diff")
    params.write_text(before)
    assert project.dvc("dag", "--md").startswith("```mermaid")


def test_an_experiment_with_another_number_runs_only_what_reads_it(project: Project) -> None:
    project.commit()
    project.executed()
    project.dvc("exp", "run", "-S", "train.kimg=3.5")
    assert {line.split()[0] for line in project.executed()} == {
        "train",
        "swap",
        "evaluate",
        "compare",
    }  # the table is the same
    project.git("checkout", "-q", ".")
    project.dvc("checkout", "-q")


def test_differences_from_a_commit_with_profiles_are_found_without_a_word_of_failure(project: Project) -> None:
    new_profile(project.root, "other")
    project.commit()
    params = project.root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("\n  batch: ", "\n  batch: 7", 1))
    changed = json.loads(project.dvc("params", "diff", "--json"))
    assert {path: list(values) for path, values in changed.items()} == {"params.yaml": ["train.batch"]}
    params.write_text(before)
    shutil.rmtree(project.root / "profiles" / "other")


def test_a_profile_runs_beside_the_demo_and_touches_none_of_it(project: Project) -> None:
    project.executed()
    new_profile(project.root, "mine")
    project.dvc("repro", "profiles/mine/dvc.yaml")
    ran = project.executed()
    assert (project.root / "reports" / "mine" / "metrics.json").exists()
    assert (project.root / "profiles" / "mine" / "dvc.lock").exists()
    assert len(ran) == len(set(ran))
    assert json.loads(project.dvc("status", "--json")) == {}
