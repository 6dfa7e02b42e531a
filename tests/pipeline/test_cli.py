import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.params import read_params
from pipeline.profiles import ProfileError, dvcfile_of, known_profiles, new_profile, outdated_copies
from pipeline.ui import experiments

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(toy: Path) -> Path:
    (toy / "dvc.yaml").write_text("stages: {}\n")
    return toy


def exit_code(*argv: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_new_profile_is_two_copies_with_its_own_names_and_all_comments(project: Path) -> None:
    folder = new_profile(project, "my-faces")
    assert (folder / "dvc.yaml").read_bytes() == (project / "dvc.yaml").read_bytes()
    assert not (folder / "dvc.yaml").is_symlink()
    text = (folder / "params.yaml").read_text()
    assert text == "profile: my-faces\nroot: ../..  # of the project\nparams_file: profiles/my-faces/params.yaml\n"
    assert known_profiles(project) == {"demo": "dvc.yaml", "my-faces": "profiles/my-faces/dvc.yaml"}


def test_the_real_params_make_a_profile_that_differs_in_three_values_only(tmp_path: Path) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    folder = new_profile(tmp_path, "mine")
    ours, theirs = read_params(tmp_path / "params.yaml"), read_params(folder / "params.yaml")
    assert {key for key in ours if ours[key] != theirs[key]} == {"profile", "root", "params_file"}
    assert theirs["root"] == "../.."
    assert (folder / "params.yaml").read_text().count("#") == (tmp_path / "params.yaml").read_text().count("#")


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "Mine", "tracking", "prefect", "demo", "x" * 41])
def test_a_name_that_cannot_be_a_profile_is_refused(project: Path, name: str) -> None:
    with pytest.raises(ProfileError):
        new_profile(project, name)
    assert not (project / "profiles").exists() or not list((project / "profiles").iterdir())


def test_an_existing_profile_is_not_touched(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--root", str(project), "new-profile", "mine"])
    params = project / "profiles" / "mine" / "params.yaml"
    params.write_text("mine")
    assert "dvc repro profiles/mine/dvc.yaml" in capsys.readouterr().out
    assert exit_code("--root", str(project), "new-profile", "mine") == 2
    assert params.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


def test_an_unknown_profile_is_named_with_those_there_are(project: Path) -> None:
    with pytest.raises(ProfileError, match="papr: no such profile; there are: demo"):
        dvcfile_of(project, "papr")
    assert dvcfile_of(project, None) == "dvc.yaml"


def test_the_profiles_of_this_repository_run_the_pipeline_of_today() -> None:
    assert outdated_copies(ROOT) == []
    for name in ("showcase", "paper"):
        assert (ROOT / "profiles" / name / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()


def test_a_copy_of_an_older_pipeline_is_refused_with_the_remedy_and_an_own_one_is_not(project: Path) -> None:
    (project / "dvc.yaml").write_text("# the pipeline\nstages: {}\n")
    folder = new_profile(project, "mine")
    assert dvcfile_of(project, "mine") == "profiles/mine/dvc.yaml"
    (project / "dvc.yaml").write_text("# the pipeline\nstages: {a: {cmd: echo}}\n")
    with pytest.raises(ProfileError, match=r"`cp dvc\.yaml profiles/mine/dvc\.yaml`"):
        dvcfile_of(project, "mine")
    (folder / "dvc.yaml").write_text("# my own\nstages: {}\n")
    assert dvcfile_of(project, "mine") == "profiles/mine/dvc.yaml"


def test_commands_outside_a_project_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["run"], ["status"], ["republish"], ["verify"], ["ui"], ["new-profile", "x"]):
        assert exit_code("--root", str(tmp_path), *command) == 2
        assert "no dvc.yaml here" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("run", "status", "ui", "republish", "new-profile", "verify"))
    assert exit_code() == 2
    assert exit_code("--version") == 0


def test_gpu_slots_below_one_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--root", str(project), "run", "--gpu-slots", "0") == 2
    assert "--gpu-slots 0: expected 1 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_status_of_a_toy_project(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n  a: {cmd: cp params.yaml a.txt, deps: [params.yaml], outs: [a.txt]}\n"
        "  b: {cmd: cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}\n"
    )
    main(["--root", str(project), "status"])
    text = capsys.readouterr().out
    assert "a: params.yaml modified" in text or "a: params.yaml" in text
    assert text.endswith("0 of 2 stages are up to date.\n")


def test_the_ui_links_to_the_profiles_it_finds_without_loading_mlflow(tmp_path: Path) -> None:
    store = tmp_path / "mlflow.db"
    assert experiments(f"sqlite:///{store}") == []
    with closing(sqlite3.connect(store)) as made:
        made.execute("create table experiments (experiment_id integer, name text, lifecycle_stage text)")
        made.executemany(
            "insert into experiments values (?, ?, ?)",
            [(0, "Default", "active"), (1, "demo", "active"), (2, "gone", "deleted")],
        )
        made.commit()
    assert experiments(f"sqlite:///{store}") == [(1, "demo")]
    store.write_text("no database")
    assert experiments(f"sqlite:///{store}") == []
