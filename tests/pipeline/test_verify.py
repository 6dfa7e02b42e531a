"""What is damaged is found, nothing else is, and it comes back by the commands that are named."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.graph import cache_folder, read_outputs
from pipeline.verify import Cache, Damage, verify_cache, verify_outputs, verify_project
from tests.running.projects import Clone, add_remote, origin

MAKE = """
import hashlib, json, os, sys
from pathlib import Path
name, count = sys.argv[1], int(sys.argv[2])
with open(os.environ["EXECUTED"], "a") as log:
    log.write(name + " ")
out = Path("work/demo") / name
out.mkdir(parents=True)
files = {f"{n}.bin": f"{name} {n}".encode() * 50 for n in range(count)}
for file, content in files.items():
    (out / file).write_bytes(content)
entries = {f: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for f, c in files.items()}
(out / "MANIFEST.json").write_text(json.dumps({"format": 1, "files": entries}))
"""
STAGES = """
stages:
  crops: {cmd: python make.py crops 40, deps: [in, make.py], outs: [work/demo/crops]}
  train: {cmd: python make.py train 30, deps: [in, make.py, work/demo/crops], outs: [work/demo/train]}
  plan: {cmd: 'echo plan >> "$EXECUTED"; mkdir -p work/demo/plan; cp in work/demo/plan/a.json', deps: [in],
         outs: [work/demo/plan/a.json]}
  page: {cmd: 'echo page >> "$EXECUTED"; mkdir -p reports/demo; cat in work/demo/plan/a.json > reports/demo/index.html',
         deps: [in, work/demo/plan/a.json], outs: [reports/demo/index.html]}
  publish: {cmd: 'cp reports/demo/index.html reports/demo/table.md', deps: [reports/demo/index.html],
            outs: [reports/demo/table.md: {cache: false}]}
"""


def publish(folder: Path, **files: bytes) -> None:
    folder.mkdir(parents=True)
    entries = {}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        entries[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "MANIFEST.json").write_text(json.dumps({"format": 1, "files": entries}))


def test_every_file_that_differs_from_its_manifest_is_named(tmp_path: Path) -> None:
    work = tmp_path / "work"
    publish(work / "good", a=b"1")
    publish(work / "bad", same=b"1", edited=b"22", short=b"333", gone=b"4")
    (work / "bad" / "edited").write_bytes(b"2x")
    (work / "bad" / "short").write_bytes(b"3")
    (work / "bad" / "gone").unlink()
    publish(work / "torn", a=b"1")
    (work / "torn" / "MANIFEST.json").write_text('{"files": {"a"')
    results = list(verify_outputs(work))
    damaged = {item.path.relative_to(work).as_posix() for item in results if isinstance(item, Damage)}
    assert damaged == {"bad/edited", "bad/short", "bad/gone", "torn/MANIFEST.json"}
    assert [item for item in results if isinstance(item, Path)] == [work / "good"]


def test_a_flipped_byte_in_the_cache_is_found(tmp_path: Path) -> None:
    content = b"weights"
    name = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = tmp_path / "files" / "md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert list(verify_cache(Cache(tmp_path))) == []
    path.write_bytes(b"weightz")
    assert [damage.path for damage in verify_cache(Cache(tmp_path))] == [path]


@pytest.fixture
def made(tmp_path: Path) -> Clone:
    """A project that is up to date, with outputs of every kind."""
    project = origin(tmp_path, STAGES)
    (project.root / "make.py").write_text(MAKE)
    return project


def repro(project: Clone, links: str = "copy") -> dict[Path, bytes]:
    """Bring it up to date and return every output and object."""
    with project.settings() as settings:
        settings["cache"]["type"] = [links]
    project.dvc("repro")
    return contents(project)


def contents(project: Clone) -> dict[Path, bytes]:
    cache = project.root / ".dvc" / "cache" / "files"
    folders = [project.root / "work", project.root / "reports", cache]
    return {path: path.read_bytes() for folder in folders for path in sorted(folder.rglob("[!.]*")) if path.is_file()}


def flip(path: Path, rng: random.Random) -> None:
    """Change one bit, as a failing disk does: size, times and permissions stay."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(data)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def find(project: Clone) -> dict[Path, Damage]:
    root = project.root
    cache = Cache(cache_folder(root))
    _, damages = verify_project([root / "work", root / "reports"], read_outputs(root), cache)
    assert len({damage.path for damage in damages}) == len(damages)
    return {damage.path: damage for damage in damages}


def differing(project: Clone, before: dict[Path, bytes]) -> set[Path]:
    return {path for path, content in before.items() if path.read_bytes() != content}


def chosen(paths: Iterable[Path], rng: random.Random) -> list[Path]:
    """50 files, one of every folder's listing and manifest among them; each byte of the disk once."""
    by_inode = {path.stat().st_ino: path for path in paths}
    special = [path for path in by_inode.values() if path.suffix in (".dir", ".json", ".html", ".md")]
    rest = [path for path in by_inode.values() if path not in special]
    return special + rng.sample(rest, 50 - len(special))


@pytest.mark.slow
@pytest.mark.parametrize("links", ["copy", "hardlink", "symlink"])
def test_50_flipped_files_are_found_none_is_invented_and_quarantine_brings_all_back(
    made: Clone, links: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = repro(made, links)
    lock = (made.root / "dvc.lock").read_text()
    assert find(made) == {}
    rng = random.Random(7)
    flipped = chosen(before, rng)
    assert any(path.suffix == ".dir" for path in flipped)
    assert any(not path.stat().st_mode & 0o222 for path in flipped)
    for path in flipped:
        flip(path, rng)
    wrong = differing(made, before)
    assert len({path.stat().st_ino for path in wrong}) == 50
    found = find(made)
    assert found.keys() == wrong
    assert all("`" in damage.remedy for damage in found.values())
    main(["--root", str(made.root), "verify", "--quarantine"])
    assert f"{len(wrong)} files moved to " in capsys.readouterr().out
    made.dvc("repro")
    assert (made.root / "dvc.lock").read_text() == lock
    assert find(made) == {}
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_dvc_alone_restores_a_flipped_object_and_after_quarantine_it_makes_it_again(made: Clone) -> None:
    repro(made)
    output = made.root / "work" / "demo" / "plan" / "a.json"
    flip(Cache(made.root / ".dvc" / "cache").path(hashlib.md5(output.read_bytes()).hexdigest()), random.Random(1))
    good = output.read_bytes()
    output.unlink()
    made.dvc("repro", "plan")
    assert output.read_bytes() != good  # why objects have to be moved aside
    main(["--root", str(made.root), "verify", "--quarantine"])
    made.dvc("repro", "plan")
    assert output.read_bytes() == good


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["output", "object", "git's"])
def test_the_command_that_is_named_brings_it_back(made: Clone, kind: str) -> None:
    before = repro(made)
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "all")
    root, rng = made.root, random.Random(3)
    path = {
        "output": root / "work" / "demo" / "train" / "3.bin",
        "object": next(path for path in before if path.suffix == ".dir"),
        "git's": root / "reports" / "demo" / "table.md",
    }[kind]
    flip(path, rng)
    ((damaged, damage),) = find(made).items()
    assert damaged == path
    commands = [word for n, word in enumerate(damage.remedy.split("`")) if n % 2]
    if kind == "object":  # of the two it names, the one for projects without a remote
        assert commands[0] == "cartoon-pipeline verify --quarantine"
        assert commands[1].startswith("dvc fetch ")
        main(["--root", str(root), "verify", "--quarantine"])
        del commands[:2]
    for command in commands[:1]:
        made.run("sh", "-c", command)
    assert find(made) == {}
    assert path.exists()
    assert differing(made, before) == set()


@pytest.mark.slow
def test_an_edit_of_a_linked_output_is_found_on_both_ends_and_an_unprotected_one_before_it_happens(made: Clone) -> None:
    repro(made, "hardlink")
    linked = made.root / "work" / "demo" / "crops" / "5.bin"
    assert linked.stat().st_nlink == 2
    assert not linked.stat().st_mode & 0o222  # DVC protects what it links
    linked.chmod(0o644)
    ((path, damage),) = find(made).items()
    assert path == linked
    assert "an edit would change both" in damage.what
    linked.write_bytes(b"edited in place")
    assert {path.name for path in find(made)} == {"5.bin", linked_object(made, linked).name}
    main(["--root", str(made.root), "verify", "--quarantine"])
    made.dvc("repro")
    assert find(made) == {}


def linked_object(project: Clone, path: Path) -> Path:
    objects = (project.root / ".dvc" / "cache" / "files" / "md5").glob("??/*")
    return next(found for found in objects if found.samefile(path))


@pytest.mark.slow
def test_another_version_and_what_is_not_checked_out_are_no_damage(made: Clone) -> None:
    repro(made)
    lock = (made.root / "dvc.lock").read_text()
    (made.root / "in").write_text("2\n")
    (made.root / "make.py").write_text(MAKE + "# changed\n")
    made.dvc("repro")
    (made.root / "dvc.lock").write_text(lock)  # as after a checkout of the older commit by git alone
    newer = made.root / "work" / "demo" / "plan" / "a.json"
    assert newer.read_text() == "2\n"
    (made.root / "reports" / "demo" / "index.html").unlink()
    by_hand = {**os.environ, "EXECUTED": os.devnull}
    subprocess.run(["rm", "-r", "work/demo/train"], cwd=made.root, check=True)
    subprocess.run([sys.executable, "make.py", "train", "4"], cwd=made.root, env=by_hand, check=True)
    assert {path.name for path in find(made)} <= {"table.md"}  # git's own business: dvc.lock and file disagree


@pytest.mark.slow
def test_objects_of_a_remote_are_checked_and_pushed_again(made: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    store = made.root.parent / "store"
    store.mkdir()
    repro(made)
    add_remote(made, "store", str(store), default=True)
    made.dvc("push")
    bad = next(path for path in sorted((store / "files" / "md5").glob("??/*")) if not path.name.endswith(".dir"))
    flip(bad, random.Random(2))
    command = ["--root", str(made.root), "verify", "--remote", "store"]
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 4
    assert capsys.readouterr().out.count("\n") == 1
    main([*command, "--quarantine"])
    said = capsys.readouterr().out
    assert not bad.exists()
    made.run("sh", "-c", said.split("`")[-2])
    assert hashlib.md5(bad.read_bytes()).hexdigest() == bad.parent.name + bad.name
    main(command)


@pytest.mark.slow
def test_a_remote_that_cannot_be_hashed_in_place_says_what_can_be_done(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (toy / "dvc.yaml").write_text("stages: {}\n")
    (toy / ".dvc" / "config").write_text(
        (toy / ".dvc" / "config").read_text() + "['remote \"s\"']\n    url = s3://b/x\n"
    )
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(toy), "verify", "--remote", "s"])
    assert caught.value.code == 2
    assert "`dvc config --local remote.s.verify true`" in capsys.readouterr().err


@pytest.mark.slow
def test_verify_says_what_differs_and_exits_with_the_code_of_damage(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (toy / "dvc.yaml").write_text("stages: {}\n")
    publish(toy / "work" / "demo" / "x", a=b"1")
    main(["--root", str(toy), "verify"])
    assert "1 folders and objects are as they were written" in capsys.readouterr().out
    (toy / "work" / "demo" / "x" / "a").write_bytes(b"2")
    with pytest.raises(SystemExit) as caught:
        main(["--root", str(toy), "verify"])
    assert caught.value.code == 4
    captured = capsys.readouterr()
    assert captured.out.startswith("work/demo/x/a: content differs")
    assert "1 damaged files" in captured.err
