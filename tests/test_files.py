"""Published folders: whole or absent, checked by their manifest, no litter of killed processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model.errors import CorruptInputError
from model.files import MANIFEST, _lock, publish_folder, remove_folder, verify_manifest

ROOT = Path(__file__).parents[1]
CHILD = """
import sys, time
from pathlib import Path
from model.files import publish_folder
with publish_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("x")
    sys.stdout.write("inside"); sys.stdout.flush()
    time.sleep(600)
"""


def writer(out: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(out)], stdout=subprocess.PIPE, cwd=ROOT, env=env)
    assert process.stdout is not None
    assert process.stdout.read(6) == b"inside"
    return process


def publish(out: Path, text: str = "whole") -> None:
    with publish_folder(out) as folder:
        (folder / "file").write_text(text)


def test_what_a_killed_writer_left_goes_with_the_next_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    out, neighbour = tmp_path / "out", tmp_path / "out.b"
    dead, living, other = writer(out), writer(out), writer(neighbour)
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait(timeout=60)
        other.send_signal(signal.SIGKILL)
        other.wait(timeout=60)
        assert len(list(tmp_path.glob(".out.*"))) == 3
        publish(out)
        left = sorted(path.name.count(".") for path in tmp_path.glob(".out.*"))
        assert left == [3, 4]  # the living one's, and the neighbour's, which is the neighbour's to sweep
        publish(neighbour)
        assert len(list(tmp_path.glob(".out.*"))) == 1
    finally:
        living.kill()
        living.wait(timeout=60)
    publish(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.b"]
    verify_manifest(out)


def test_a_folder_moved_aside_by_a_killed_writer_goes_too(tmp_path: Path) -> None:
    publish(tmp_path / "out", "old")
    aside = tmp_path / ".out.abcdefgh.old"
    aside.mkdir()
    (tmp_path / "out").replace(aside / "out")  # killed between the two renames
    publish(tmp_path / "out", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("content", [b"", b'{"format": 1, "files"', b"\x00" * 64, b"\xff\xfe"])
def test_a_manifest_that_is_no_json_is_named_as_damaged(tmp_path: Path, content: bytes) -> None:
    publish(tmp_path / "out")
    (tmp_path / "out" / MANIFEST).write_bytes(content)
    with pytest.raises(CorruptInputError, match=rf"{MANIFEST}: not readable as JSON .* make .* again"):
        verify_manifest(tmp_path / "out")


def test_the_lock_of_a_writer_ends_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), publish_folder(tmp_path / "out") as failed:
        handle = os.open(failed, os.O_RDONLY)
        assert not _lock(handle)
        raise KeyError
    assert _lock(handle)
    os.close(handle)
    assert list(tmp_path.iterdir()) == []


def test_a_removed_folder_is_gone_from_its_place_before_the_first_of_its_files_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyError):
            remove_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    publish(tmp_path / "out")
    remove_folder(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def killed(*_: object, **__: object) -> None:
    raise KeyError
