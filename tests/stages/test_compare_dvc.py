"""What ``dvc metrics diff`` and ``dvc plots diff`` tell about two revisions of a comparison."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.stages.evaluations import levels, write_evaluation, write_params

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


class Repository:
    """A git and DVC repository with the real stages ``compare`` and ``publish`` and made-up evaluations."""

    def __init__(self, home: Path) -> None:
        self.home = home
        write_params(home / "params.yaml", ("flat", "ink"), ("baseline", "freeze_g"), ("s0",))
        yaml = YAML()
        stages = yaml.load((ROOT / "dvc.yaml").read_text())["stages"]
        kept = {name: stages[name] for name in ("compare", "publish")}
        for stage in kept.values():
            stage["deps"] = [dep for dep in stage["deps"] if dep.startswith(("work/", "reports/"))]
        yaml.dump({"stages": kept}, home / "dvc.yaml")
        self.run("git", "init", "-q")
        self.run("dvc", "init", "-q")
        shutil.copytree(ROOT / ".dvc" / "plots", home / ".dvc" / "plots")
        (home / ".gitignore").write_text("/work\n/mlruns\n/scratch\n/dvc_plots\n/reports/*/data\n")

    def run(self, *command: str) -> str:
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        names = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "PATH": tools, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def revision(self, similarity: float, kid: float) -> None:
        """Evaluate, compare and commit."""
        work = self.home / "work" / "trial"
        for dataset in ("flat", "ink"):
            for method in ("baseline", "freeze_g"):
                own = similarity if method == "freeze_g" else 0.3
                write_evaluation(work / "evaluate", (method, dataset, "s0"), levels(20, own))
                training = work / "train" / f"{method}-{dataset}-s0"
                training.mkdir(parents=True, exist_ok=True)
                (training / "stats.csv").write_text("kimg,d_loss\n4,1.2\n12,1.1\n")
                (training / "snapshots.csv").write_text(f"kimg,kid,marks\n4,0.3,\n12,{kid},kept\n")
        self.run("dvc", "repro")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", "x")


@pytest.fixture(scope="module")
def two_revisions(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("revisions"))
    made.revision(similarity=0.5, kid=0.1)
    made.revision(similarity=0.625, kid=0.05)
    return made


def test_a_changed_number_is_shown_under_the_same_key(two_revisions: Repository) -> None:
    shown = json.loads(two_revisions.run("dvc", "metrics", "diff", "HEAD~1", "--json"))
    ((path, changes),) = shown["diff"].items() if "diff" in shown else shown.items()
    assert path == "reports/trial/metrics.json"
    found = changes["flat.freeze_g.no_swap.similarity"]
    assert (found["old"], found["new"], found["diff"]) == (0.5, 0.625, pytest.approx(0.125))
    assert changes["flat.freeze_g.against_baseline.no_swap.gain"]["diff"] == pytest.approx(0.125)
    assert not any(name.startswith("flat.baseline.no_swap") for name in changes)


def test_plots_have_a_line_per_method_and_dataset_of_both_revisions(two_revisions: Repository) -> None:
    two_revisions.run("dvc", "plots", "diff", "HEAD~1", "--out", "dvc_plots")
    page = (two_revisions.home / "dvc_plots" / "index.html").read_text()
    specs = [json.loads(text) for text in re.findall(r"var spec = (\{.*?\});\n", page)]
    by_title = {spec["title"]["text"]: spec for spec in specs}
    assert set(by_title) == {"Style against likeness", "Likeness by swap level", "KID to held-out images"}
    for title, x, y, old, new in (
        ("Style against likeness", "similarity", "kid", 0.5, 0.625),
        ("Likeness by swap level", "level", "similarity", 0.5, 0.625),
        ("KID to held-out images", "kimg", "kid", 100.0, 50.0),
    ):
        spec = by_title[title]
        encoding = spec["spec"]["encoding"]
        assert (encoding["x"]["field"], encoding["y"]["field"]) == (x, y)
        assert encoding["color"]["field"] == "method"
        assert spec["facet"]["column"]["field"] == "dataset"
        rows = spec["data"]["values"]
        assert {row["rev"] for row in rows} == {"HEAD~1", "workspace"}
        assert {(row["method"], row["dataset"]) for row in rows} == {
            (method, dataset) for method in ("baseline", "freeze_g") for dataset in ("flat", "ink")
        }
        field = "similarity" if title != "KID to held-out images" else "kid"
        values = {rev: {float(row[field]) for row in rows if row["rev"] == rev} for rev in ("HEAD~1", "workspace")}
        assert old in values["HEAD~1"]
        assert new in values["workspace"]
        assert new not in values["HEAD~1"]


def test_every_line_of_a_plot_is_one_series(two_revisions: Repository) -> None:
    for name in ("levels", "kimg"):
        spec = json.loads((ROOT / ".dvc" / "plots" / "curves.json").read_text())
        assert spec["spec"]["encoding"]["detail"]["field"] == "series"
        text = (two_revisions.home / "reports" / "trial" / "data" / f"{name}.csv").read_text().splitlines()
        assert text[0].startswith("series,dataset,method,")
