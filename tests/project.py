"""A copy of the project to run DVC in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from model.checkpoint.native import save_networks
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from pipeline.params import read_params
from tests.tiny import tiny_generator

ROOT = Path(__file__).resolve().parents[1]
CODE = ("model/", "stages/", "pipeline/", "profiles/")
COPIED = (*CODE, "exclusions/", ".dvc", "dvc.yaml", "params.yaml", "weights.lock.yaml")
RGB_16 = {"space": "rgb", "resolutions": [4, 8, 16], "weight": 1.0, "reduction": "sum"}
METHODS = {
    "freeze_g": {"freeze_d": {"train_up_to": 16}, "freeze_g": {"train_from": 16}, "freeze_mapping": {}},
    "structure_loss": {"freeze_d": {"train_up_to": 16}, "structure_loss": RGB_16},
}


def copy_project(home: Path) -> None:
    """Copy what `dvc repro` needs to ``home``, and make it a git repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    for name in names:
        if name.startswith(COPIED):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, home / name)
    subprocess.run(["git", "init", "-q"], cwd=home, check=True)


def shrink(home: Path) -> None:
    """Make a copied project's params.yaml and source generator so small that every stage takes seconds."""
    judge = Discriminator(DiscriminatorConfig(32, 256, 16))
    save_networks(home / "source.safetensors", generator=tiny_generator(), discriminator=judge, provenance={})
    params = read_params(ROOT / "params.yaml")
    params["datasets"]["flat"]["pages"] = 10
    params["methods"] = METHODS
    params["crop"]["resolution"], params["lmdb"]["sizes"] = 32, [32]
    params["lmdb"]["min_heldout"] = 4
    params["pretrained"] |= {"weights": "source.safetensors", "resolution": 32}
    params["train"] |= {"kimg": 0.064, "batch": 8, "tick_kimg": 0.032, "sample_kimg": 0.032, "state_kimg": 0.032}
    params["snapshots"] |= {"kimg": 0.032, "images": 16}
    params["swap"] |= {"levels": [8, 16], "snapshots": ["kept", 0.032], "faces": 4}
    params["compare"]["baseline"] = "freeze_g"
    params["evaluate"] |= {"images": 128, "pairs": 64, "path_length": 8, "tiles": {"first": 8, "random": 4, "worst": 4}}
    with (home / "params.yaml").open("w") as file:
        YAML().dump(params, file)


def repro(home: Path, *arguments: str) -> str:
    tools = Path(sys.executable).parent  # of this environment, activated or not
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(home), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        ["dvc", "repro", *arguments], cwd=home, env=env, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout


def ran(output: str) -> set[str]:
    """Return the stages that DVC says it executed."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}
