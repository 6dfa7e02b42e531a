"""Working copies in which DVC was killed while it wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from pipeline.running.mend import mend, working_copy
from tests.running.toys import Toy

DEAD = "4194399-1-x"  # no process has this id


def entry(name: str, digest: str) -> str:
    md5 = digest * 8
    return (
        f"  {name}:\n    cmd: python -m {name} --long\n      --and-wrapped\n"
        f"    deps:\n    - path: in\n      hash: md5\n      md5: {md5}\n      size: 2\n"
        f"    outs:\n    - path: {name}.txt\n      hash: md5\n      md5: {md5}\n"
    )


HEAD = "schema: '2.0'\nstages:\n"
BEFORE = HEAD + entry("a", "aaaa") + entry("train@x", "bbbb") + entry("c", "cccc")
AFTER = HEAD + entry("a", "aaaa") + entry("train@x", "0123") + entry("c", "4567") + entry("new", "89ab")


def left_behind(root: Path, before: str, lock: str = "dvc.lock") -> None:
    copy = root / ".dvc" / "tmp" / "jobs" / DEAD / "before" / lock
    copy.parent.mkdir(parents=True)
    copy.write_text(before)


def test_wherever_the_lock_was_cut_what_is_left_is_whole_and_nothing_known_is_lost(tmp_path: Path) -> None:
    known = {**yaml.safe_load(BEFORE)["stages"]}
    made = yaml.safe_load(AFTER)["stages"]
    for cut in range(0, len(AFTER) + 1, 3):
        root = tmp_path / str(cut)
        left_behind(root, BEFORE)
        (root / "dvc.lock").write_text(AFTER[:cut])
        with working_copy(root, ["dvc.yaml"]):
            pass
        found = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
        assert found.keys() >= known.keys()
        assert all(one in (known.get(name), made.get(name)) for name, one in found.items()), cut


@pytest.mark.parametrize("text", ["", "schema", HEAD, HEAD + entry("a", "aaaa")[:90]])
def test_a_first_lock_that_was_cut_is_begun_anew(tmp_path: Path, text: str) -> None:
    left_behind(tmp_path, "")
    (tmp_path / "dvc.lock").write_text(text)
    with working_copy(tmp_path, ["dvc.yaml"]):
        assert not (tmp_path / "dvc.lock").exists()


def test_each_profiles_lock_is_mended_from_its_own_past_whichever_runs_next(tmp_path: Path) -> None:
    other = Path("profiles") / "other" / "dvc.lock"
    left_behind(tmp_path, BEFORE, str(other))
    (tmp_path / other).parent.mkdir(parents=True)
    (tmp_path / other).write_text(AFTER[:40])
    (tmp_path / "dvc.lock").write_text(HEAD + entry("mine", "ffff"))
    mend(tmp_path)
    assert (tmp_path / other).read_text() == BEFORE
    assert (tmp_path / "dvc.lock").read_text() == HEAD + entry("mine", "ffff")


def test_a_lock_that_nobody_was_killed_over_is_left_as_it_is(tmp_path: Path) -> None:
    text = "# mine\n" + AFTER
    (tmp_path / "dvc.lock").write_text(text)
    with working_copy(tmp_path, ["dvc.yaml"]), working_copy(tmp_path, ["dvc.yaml"]):  # two at once: both live
        pass
    assert (tmp_path / "dvc.lock").read_text() == text
    assert list((tmp_path / ".dvc" / "tmp" / "jobs").iterdir()) == []


@pytest.mark.parametrize("torn", ["", '{"write": {"/a', "[]", "4"])
def test_what_a_killed_dvc_noted_about_readers_does_not_stop_the_next(toy: Toy, torn: str) -> None:
    toy.stages(a="in:")
    (toy.root / ".dvc" / "tmp").mkdir(exist_ok=True)
    (toy.root / ".dvc" / "tmp" / "rwlock").write_text(torn)
    assert toy.run()["a"].state == "ran"


def test_a_reader_whose_process_id_means_another_process_now_does_not_stop_the_next(toy: Toy) -> None:
    toy.stages(a="in:")
    (toy.root / ".dvc" / "tmp").mkdir(exist_ok=True)
    note = {"pid": os.getpid(), "cmd": "/usr/bin/dvc --wait-for-lock repro a"}
    out = str(toy.root / "a.txt")
    (toy.root / ".dvc" / "tmp" / "rwlock").write_text(json.dumps({"write": {out: note}, "read": {}}))
    assert toy.run()["a"].state == "ran"
