"""Weights by the lock: from servers that misbehave, by hand, and checked whatever came."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from model.errors import CorruptInputError, LockedError, MissingInputError, NetworkError, UsageError
from model.metrics.extractors.catalogue import KINDS
from pipeline.params import ParamsError
from stages.fetch import download as downloading
from stages.fetch import pages
from stages.fetch.weights import adopt, damaged, ensure, read_lock, state_of
from stages.web.client import Limits
from tests.stages.misbehaving import CONTENT, Server, misbehaving

ROOT = Path(__file__).resolve().parents[2]
DIGEST = hashlib.sha256(CONTENT).hexdigest()
LIMITS = Limits(connect_s=5, read_s=5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with misbehaving() as made:
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", made.place)
        monkeypatch.delenv("CARTOON_OFFLINE", raising=False)
        yield made


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the downloads would have waited."""
    slept: list[float] = []
    monkeypatch.setattr(downloading.download, "__defaults__", (slept.append,))
    return slept


def written(folder: Path, *addresses: str, size: int | None = None, digest: str | None = None) -> Path:
    lock = folder / "weights.lock.yaml"
    entry = {
        "file": "weights/net.pt", "addresses": list(addresses), "bytes": size, "sha256": digest, "licence": "CC0-1.0",
        "about": "a test",
    }  # fmt: skip
    with lock.open("w") as file:
        file.write("# a comment that stays\n")
        YAML().dump({"weights": {"net": entry}}, file)
    return lock


def nothing_left(folder: Path) -> bool:
    return [path.name for path in (folder / "weights").iterdir() if not path.name.endswith(".lock")] == ["net.pt"]


@pytest.mark.parametrize("path", ["ok", "redirect", "cut", "cut-changing", "cut-nameless", "busy-once"])
def test_the_file_arrives_whole_and_is_pinned(tmp_path: Path, server: Server, waits: list[float], path: str) -> None:
    lock = written(tmp_path, server.url(path))
    assert ensure("net", lock, LIMITS).read_bytes() == CONTENT
    assert nothing_left(tmp_path)
    entry = read_lock(lock)["net"]
    assert (entry.bytes, entry.sha256) == (len(CONTENT), DIGEST)
    assert lock.read_text().startswith("# a comment that stays\n")
    assert state_of(entry, lock) == "here"
    if path == "cut":  # continued three times where it broke off
        assert server.ranges == ["", "bytes=50000-", "bytes=100000-", "bytes=150000-"]
    if path == "cut-changing":  # another file by now: begun anew
        assert server.ranges == ["", "bytes=100000-"]
    if path == "cut-nameless":  # nothing says that it is the same file: begun anew
        assert server.ranges == ["", ""]
    assert waits == {"cut": [0.5, 1.0, 2.0], "busy-once": [7.0]}.get(path, [0.5] if "cut" in path else [])


def test_a_file_that_is_here_is_checked_and_not_fetched(tmp_path: Path, server: Server) -> None:
    lock = written(tmp_path, server.url("ok"), size=len(CONTENT), digest=DIGEST)
    path = ensure("net", lock, LIMITS)
    ensure("net", lock, LIMITS)
    assert server.asked["ok"] == 1
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(CorruptInputError, match=rf"net\.pt: found sha256 .*, expected {DIGEST}.*remove the file"):
        ensure("net", lock, LIMITS)
    assert damaged(lock)[0] == []
    assert len(damaged(lock)[1]) == 1
    path.write_bytes(CONTENT)
    assert damaged(lock) == (["net"], [])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("absent", "HTTP 404, the file does not exist"),
        ("busy-long", "HTTP 429, the server is busy"),
        ("page", "Google Drive's quota page"),
        ("hidden-page", "Google Drive's quota page"),
        ("other", "expected " + DIGEST),
        ("cut-always", "broke off after 50000 of 256000 bytes"),
        ("loop", "more than 10 redirects"),
        ("inward", "localhost: leads to .*, which is not on the public network"),
        ("plain", r"http://example\.org: expected https"),
        ("packed", "the server sends the file compressed"),
    ],
)
def test_a_bad_address_is_named_with_its_reason_and_the_next_one_is_tried(
    tmp_path: Path, server: Server, waits: list[float], path: str, reason: str
) -> None:
    lock = written(tmp_path, server.url(path), digest=DIGEST)
    with pytest.raises(
        NetworkError, match=rf"net\.pt: not here, and could not be fetched \(.*/{path}: .*{reason}"
    ) as caught:
        ensure("net", lock, LIMITS)
    assert "`cartoon-pipeline weights import net FILE`" in str(caught.value)
    assert not (tmp_path / "weights" / "net.pt").exists()
    assert sum(waits) < 30
    lock = written(tmp_path, server.url(path), server.url("ok"), digest=DIGEST)
    assert ensure("net", lock, LIMITS).read_bytes() == CONTENT
    assert nothing_left(tmp_path)


def test_a_file_of_another_size_is_not_even_fetched(tmp_path: Path, server: Server) -> None:
    lock = written(tmp_path, server.url("ok"), size=len(CONTENT) - 1)
    with pytest.raises(NetworkError, match="has 256000 bytes, expected 255999"):
        ensure("net", lock, LIMITS)
    assert not (tmp_path / "weights" / "net.pt.part").exists()


def test_an_interrupted_download_is_continued_by_the_next_process(
    tmp_path: Path, server: Server, waits: list[float]
) -> None:
    lock = written(tmp_path, server.url("cut-always"))
    with pytest.raises(NetworkError):
        ensure("net", lock, LIMITS)
    assert (tmp_path / "weights" / "net.pt.part").stat().st_size == 50_000
    asked = len(server.ranges)
    with pytest.raises(NetworkError, match="broke off after 100000 of 256000"):
        ensure("net", lock, LIMITS)
    assert server.ranges[asked] == "bytes=50000-"


def test_drives_confirmation_is_given(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "DRIVE", server.url("download"))
    lock = written(tmp_path, "drive:x")
    assert ensure("net", lock, LIMITS).read_bytes() == CONTENT
    assert server.asked["download"] == 2
    assert pages.confirmed('<form id="download-form" action="https://elsewhere.example/x"></form>') is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://127.0.0.1:1/x", "not on the public network"),
        ("https://10.0.0.1/x", "not on the public network"),
        ("https://[::1]/x", "not on the public network"),
        ("https://169.254.169.254/latest", "not on the public network"),
        ("file:///etc/passwd", "expected https"),
        ("ftp://example.org/x", "expected https"),
        ("https://me:secret@example.org/x", "a password is never asked"),
        ("https://no-such-host.invalid/x", "cannot be resolved"),
    ],
)
def test_addresses_that_may_not_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    monkeypatch.delenv("CARTOON_OFFLINE", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NetworkError, match=reason):
        ensure("net", written(tmp_path, address), LIMITS)


def test_a_server_that_is_not_there_and_no_network_at_all_fail_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    with misbehaving() as gone:
        address, place = gone.url("ok"), gone.place
    monkeypatch.setenv("CARTOON_ALLOW_LOCAL", place)
    monkeypatch.setenv("CARTOON_OFFLINE", "")
    with pytest.raises(NetworkError, match="ConnectError"):
        ensure("net", written(tmp_path, address), LIMITS)
    monkeypatch.setenv("CARTOON_OFFLINE", "1")
    with pytest.raises(NetworkError, match="CARTOON_OFFLINE=1 forbids downloads"):
        ensure("net", written(tmp_path, address), LIMITS)
    with pytest.raises(NetworkError, match="the lock has no address for it"):
        ensure("net", written(tmp_path), LIMITS)
    assert waits == []  # nothing to wait for


def test_a_proxy_is_not_used_for_hosts_it_is_not_for(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = server.server_port
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: answer if host == "mirror.test" else real(host, *a, **k)
    )
    monkeypatch.setenv("CARTOON_ALLOW_LOCAL", f"mirror.test:{port}")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "mirror.test")
    assert ensure("net", written(tmp_path, f"http://mirror.test:{port}/ok"), LIMITS).read_bytes() == CONTENT
    monkeypatch.setenv("no_proxy", "elsewhere.test")
    (tmp_path / "weights" / "net.pt").unlink()
    with pytest.raises(NetworkError, match="ConnectError"):  # nobody listens where the proxy should be
        ensure("net", written(tmp_path, f"http://mirror.test:{port}/ok"), LIMITS)
    assert server.asked["ok"] == 1


def test_a_file_fetched_by_hand_is_taken_if_it_is_the_right_one(tmp_path: Path) -> None:
    lock, by_hand = written(tmp_path, digest=DIGEST), tmp_path / "download.bin"
    with pytest.raises(MissingInputError, match=r"download\.bin: no such file"):
        adopt("net", by_hand, lock)
    by_hand.write_bytes(b"something else")
    with pytest.raises(CorruptInputError, match="found sha256"):
        adopt("net", by_hand, lock)
    assert not (tmp_path / "weights" / "net.pt").exists()
    by_hand.write_bytes(CONTENT)
    assert adopt("net", by_hand, lock).read_bytes() == CONTENT
    assert by_hand.read_bytes() == CONTENT
    assert read_lock(lock)["net"].bytes == len(CONTENT)
    assert ensure("net", lock).read_bytes() == CONTENT


def test_the_digits_that_a_file_name_states_are_checked_on_every_way_in(
    tmp_path: Path, server: Server, waits: list[float]
) -> None:
    lock, by_hand = written(tmp_path, server.url("other"), server.url("ok")), tmp_path / "by-hand"
    plain = lock.read_text()
    lock.write_text(plain + "    sha256_prefix: deadbeef\n")
    reason = rf"sha256 is {DIGEST}, expected one that begins with deadbeef \(sha256_prefix\)"
    with pytest.raises(NetworkError, match=reason):
        ensure("net", lock, LIMITS)
    by_hand.write_bytes(CONTENT)
    with pytest.raises(CorruptInputError, match=rf"found sha256 {DIGEST}, expected one that begins with deadbeef"):
        adopt("net", by_hand, lock)
    assert not (tmp_path / "weights" / "net.pt").exists()
    lock.write_text(plain + f"    sha256_prefix: {DIGEST[:8]}\n")
    assert ensure("net", lock, LIMITS).read_bytes() == CONTENT  # the first address gave another file
    entry = read_lock(lock)["net"]
    assert (entry.sha256, entry.sha256_prefix) == (DIGEST, DIGEST[:8])


@pytest.mark.parametrize("prefix", ["xyz", "''", "ABCD"])
def test_digits_that_no_sha256_begins_with_are_named(tmp_path: Path, prefix: str) -> None:
    lock = written(tmp_path)
    lock.write_text(lock.read_text() + f"    sha256_prefix: {prefix}\n")
    with pytest.raises(ParamsError, match=r"weights\.net: sha256_prefix must be 1 to 64 of the digits"):
        read_lock(lock)
    lock = written(tmp_path, digest=DIGEST)
    lock.write_text(lock.read_text() + "    sha256_prefix: ffff\n")
    with pytest.raises(ParamsError, match="does not begin with sha256_prefix ffff"):
        read_lock(lock)


def test_every_measuring_network_finds_its_weights_in_the_lock_pinned() -> None:
    entries = read_lock(ROOT / "weights.lock.yaml")
    for kind in KINDS.values():
        for name in kind.needs:
            assert entries[name].sha256 is not None, name
            assert entries[name].bytes, name
            assert entries[name].addresses, name


def test_the_inception_network_is_fetched_by_its_name_from_whatever_section(tmp_path: Path, server: Server) -> None:
    lock = tmp_path / "weights.lock.yaml"
    entry = {
        "file": "weights/pt_inception-2015-12-05-6726825d.pth", "addresses": [server.url("ok")], "bytes": len(CONTENT),
        "sha256": DIGEST, "licence": "Apache-2.0", "about": "a stand-in",
    }  # fmt: skip
    with lock.open("w") as file:
        YAML().dump({"weights": {}, "extractors": {"inception_2015": entry}, "detectors": {}}, file)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    whole = [sys.executable, "-m", "pipeline.cli", "--root", str(tmp_path), "weights", "fetch", "inception_2015"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"inception_2015: {entry['file']}, sha256 {DIGEST}\n"
    assert (tmp_path / str(entry["file"])).read_bytes() == CONTENT


def test_two_processes_do_not_fetch_the_same_file(tmp_path: Path, server: Server) -> None:
    lock = written(tmp_path, server.url("ok"))
    (tmp_path / "weights").mkdir()
    with (tmp_path / "weights" / ".net.pt.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="another process is writing it"):
            ensure("net", lock, LIMITS)
    assert ensure("net", lock, LIMITS).read_bytes() == CONTENT


def test_unknown_names_and_broken_locks_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights called 'nett'; there are: net"):
        ensure("nett", written(tmp_path))
    with pytest.raises(ParamsError, match=r"absent\.yaml"):
        read_lock(tmp_path / "absent.yaml")
    lock = tmp_path / "weights.lock.yaml"
    lock.write_text("weights:\n  net: {file: x, adresses: []}\n")
    with pytest.raises(ParamsError, match="adresses"):
        read_lock(lock)


def test_the_projects_own_lock_is_valid_and_names_each_file_once() -> None:
    entries = read_lock(ROOT / "weights.lock.yaml")
    assert {"ffhq256", "disney_freeze_sg", "animeface_cascade"} <= set(entries)
    assert len({entry.file for entry in entries.values()}) == len(entries)
    for entry in entries.values():
        assert entry.file.startswith("weights/")
        assert all(address.startswith(("drive:", "https://")) for address in entry.addresses)
        assert entry.sha256 is None or len(entry.sha256) == 64


def test_the_command_lists_fetches_imports_and_verifies(tmp_path: Path, server: Server) -> None:
    written(tmp_path, server.url("absent"))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "pipeline.cli", "--root", str(tmp_path), "weights", *arguments]
        return subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert "not here" in command("list").stdout
    missing = command("fetch", "net")
    assert (missing.returncode, "Traceback" in missing.stderr) == (6, False)
    assert "HTTP 404" in missing.stderr
    assert command("fetch", "nett").returncode == 2
    (tmp_path / "by-hand").write_bytes(CONTENT)
    assert DIGEST in command("import", "net", "by-hand").stdout
    assert "net   here" in command("list").stdout
    assert command("verify").stdout == "1 files are as the lock says.\n"
    (tmp_path / "weights" / "net.pt").write_bytes(b"x")
    assert command("verify").returncode == 4
    assert read_lock(tmp_path / "weights.lock.yaml")["net"].sha256 == DIGEST


@pytest.mark.parametrize("name", sorted(read_lock(ROOT / "weights.lock.yaml")))
def test_pinning_changes_two_lines_of_the_lock_that_ships_and_it_stays_readable(tmp_path: Path, name: str) -> None:
    shipped, lock = ROOT / "weights.lock.yaml", tmp_path / "weights.lock.yaml"
    lock.write_text(shipped.read_text())
    by_hand = tmp_path / "file"
    by_hand.write_bytes(CONTENT)
    if read_lock(lock)[name].sha256 is not None:
        with pytest.raises(CorruptInputError):
            adopt(name, by_hand, lock)
        assert lock.read_text() == shipped.read_text()
        return
    adopt(name, by_hand, lock)
    old, new = shipped.read_text().splitlines(), lock.read_text().splitlines()
    assert [after.strip() for before, after in zip(old, new, strict=True) if before != after] == [
        f"bytes: {len(CONTENT)}", f"sha256: {DIGEST}",
    ]  # fmt: skip
    assert read_lock(lock)[name].addresses == read_lock(shipped)[name].addresses
