"""Results travel between clones whose caches have nothing in common, through a folder and through S3."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.running import exchange as module
from pipeline.running.exchange import Exchange
from pipeline.running.places import bare, folder_id
from pipeline.running.trouble import ExchangeError
from tests.running.projects import Clone, add_remote, environment, origin
from tests.running.s3 import KEYS, S3

pytestmark = pytest.mark.slow
BIG = """
stages:
  big:
    cmd: mkdir big; for n in $(seq 400); do (echo $n; head -c 60000 /dev/zero) > big/$n; done
    deps: [in]
    outs: [big]
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        server = S3()
        yield server
        server.stop()


@dataclass
class Store:
    """A remote, how to look into it, and how to break it."""

    url: str
    endpoint: str | None
    objects: Callable[[], dict[str, bytes]]  # key or path -> content
    put: Callable[[str, bytes], object]
    down: Callable[[], object]
    up: Callable[[], object]


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        place = f"{tmp_path.name}/store"
        return Store(
            f"s3://bucket/{place}",
            server.url,
            lambda: server.objects(f"{place}/files/md5/"),
            server.put,
            server.stop,
            server.start,
        )
    folder, away = tmp_path / "store", tmp_path / "unmounted"
    folder.mkdir()

    def objects() -> dict[str, bytes]:
        found = sorted((folder / "files" / "md5").glob("??/*"))
        return {str(path): path.read_bytes() for path in found if not path.name.endswith(".tmp")}

    def put(name: str, content: bytes) -> None:
        Path(name).chmod(0o644)
        Path(name).write_bytes(content)

    return Store(str(folder), None, objects, put, lambda: folder.rename(away), lambda: away.rename(folder))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,))


def project_with(store: Store, folder: Path, stages: str | None = None) -> Clone:
    made = origin(folder, stages) if stages else origin(folder)
    add_remote(made, "store", store.url, store.endpoint)
    return made


def always() -> bool:
    return True


def wrong(objects: dict[str, bytes]) -> list[str]:
    """Objects whose content is not what their name says."""
    return [
        key
        for key, content in objects.items()
        if hashlib.md5(content).hexdigest() != "".join(key.split("/")[-2:]).removesuffix(".dir")
    ]


def test_what_two_agents_made_a_third_machine_takes_without_executing_anything(store: Store, tmp_path: Path) -> None:
    project = project_with(store, tmp_path)
    one, two, three = (project.clone(name, "store") for name in ("one", "two", "three"))
    ways = {clone.root.name: Exchange.of(clone.root, "store") for clone in (one, two, three)}
    assert len({way.identity() for way in ways.values()}) == 1
    one.dvc("repro", "b@x")
    ways["one"].push(["a", "b@x"], always)
    ways["two"].fetch(["c"])
    two.dvc("repro", "c")
    ways["two"].push(["b@y", "c"], always)
    assert (one.executed(), two.executed()) == (["a", "b@x"], ["b@y", "c"])
    ways["three"].fetch()
    assert three.executed() == []
    refused = three.dvc("repro", "c", SHELL="/bin/false")
    assert "Running stage" not in refused.stdout
    assert (three.root / "c").read_text() == "1\n1\nmore\n"
    assert (three.root / "dvc.lock").read_text() == (two.root / "dvc.lock").read_text()
    three.dvc("repro")
    assert three.executed() == ["last"]  # git keeps what it makes, so it is everybody's own


def test_a_killed_push_leaves_nothing_that_is_taken_for_good(store: Store, tmp_path: Path) -> None:
    project = project_with(store, tmp_path, BIG)
    one, two = project.clone("one", "store"), project.clone("two", "store")
    one.dvc("repro")
    push = subprocess.Popen(
        [sys.executable, "-m", "dvc", "push", "--run-cache"], cwd=one.root, env=environment(one.executions),
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(store.objects()) < 5:
        assert push.poll() is None
        time.sleep(0.01)
    os.killpg(push.pid, signal.SIGKILL)
    push.wait()
    half = store.objects()
    assert 5 <= len(half) < 401
    assert wrong(half) == []
    Exchange.of(two.root, "store").fetch()
    assert two.dvc("repro", check=False, SHELL="/bin/false").returncode != 0  # it is not there, and nothing says it is
    Exchange.of(one.root, "store").push(["big"], always)
    assert len(store.objects()) == 401
    Exchange.of(two.root, "store").fetch()
    two.dvc("repro", SHELL="/bin/false")
    assert (two.root / "big" / "400").read_bytes() == b"400\n" + b"\0" * 60000


def test_an_object_that_is_damaged_on_the_remote_is_not_taken(store: Store, tmp_path: Path) -> None:
    project = project_with(store, tmp_path)
    one, two = project.clone("one", "store"), project.clone("two", "store")
    one.dvc("repro", "b@x")
    Exchange.of(one.root, "store").push(["a", "b@x"], always)
    ((name, content),) = [(name, content) for name, content in store.objects().items() if content == b"1\n"]
    store.put(name, b"2\n")
    Exchange.of(two.root, "store").fetch(["b@x"])
    assert two.dvc("repro", "b@x", check=False, SHELL="/bin/false").returncode != 0
    two.dvc("repro", "b@x")
    assert two.executed() == ["a"]  # whose output has the same content as the other's
    assert (two.root / "b-x").read_bytes() == content


def test_what_a_remote_has_lost_is_pushed_again(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    project = origin(tmp_path)
    add_remote(project, "store", str(tmp_path / "store"), None)
    project.dvc("repro", "b@y")
    way = Exchange.of(project.root, "store")
    way.push(["b@y"], always)
    (lost,) = (tmp_path / "store" / "files" / "md5").glob("??/*")
    lost.unlink()
    way.push(["b@y"], always)
    assert lost.exists()


def test_a_remote_that_is_down_is_network_trouble_and_nothing_is_lost(store: Store, tmp_path: Path) -> None:
    project = project_with(store, tmp_path)
    one, two = project.clone("one", "store"), project.clone("two", "store")
    one.dvc("repro", "a")
    sender, receiver = Exchange.of(one.root, "store"), Exchange.of(two.root, "store")
    sender.push(["a"], always)  # from now on DVC believes to know what is there
    store.down()
    for trying in (lambda: sender.push(["a"], always), lambda: receiver.fetch(["a"])):
        with pytest.raises(ExchangeError, match="remote store: ") as caught:
            trying()
        assert caught.value.exit_code == 6
    store.up()
    one.dvc("repro", "b@x")
    sender.push(["b@x"], always)
    receiver.fetch(["b@x"])
    assert (two.root / "b-x").read_text() == "1\n"
    assert (one.executed(), two.executed()) == (["a", "b@x"], [])


def test_a_push_goes_on_when_the_network_comes_back(s3: S3, tmp_path: Path) -> None:
    project = origin(tmp_path)
    add_remote(project, "store", "s3://bucket/back", s3.url)
    project.dvc("repro", "a")
    s3.stop()
    asked: list[bool] = []

    def allowed() -> bool:
        if asked:
            s3.start()
        asked.append(True)
        return True

    Exchange.of(project.root, "store").push(["a"], allowed)
    assert len(asked) == 2
    assert len(s3.objects("back/files/md5/")) == 3


def test_a_run_that_was_given_up_pushes_nothing(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    project = origin(tmp_path)
    add_remote(project, "store", str(tmp_path / "store"), None)
    project.dvc("repro", "a")
    with pytest.raises(ExchangeError, match="given up") as caught:
        Exchange.of(project.root, "store").push(["a"], lambda: False)
    assert caught.value.exit_code == 9
    assert list((tmp_path / "store").iterdir()) == []


def test_results_that_are_gone_from_the_cache_are_not_called_pushed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    project = origin(tmp_path)
    add_remote(project, "store", str(tmp_path / "store"), None)
    project.dvc("repro", "b@x")
    for path in (project.root / ".dvc" / "cache" / "files" / "md5").glob("??/*"):
        path.unlink()
    with pytest.raises(ExchangeError, match="neither in the cache nor there; `cartoon-pipeline verify`") as caught:
        Exchange.of(project.root, "store").push(["b@x"], always)
    assert caught.value.exit_code == 4


def test_missing_keys_are_one_message_about_settings(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = origin(tmp_path)
    add_remote(project, "store", "s3://bucket/keys", s3.url)
    project.dvc("repro", "a")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ExchangeError, match="AWS_ACCESS_KEY_ID") as caught:
        Exchange.of(project.root, "store").push(["a"], always)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, "knows no remote 'store'; `dvc remote add store URL`"),
        ("https://user:hunter2@example.org/x?sig=hunter2", "does not exchange runs over https://example.org/x"),
        ("s3://bucket/x", "not DVC's default here; `dvc config --local core.remote store`"),
    ],
)
def test_a_remote_that_cannot_serve_is_refused_before_anything_is_sent(
    url: str | None, words: str, tmp_path: Path
) -> None:
    project = origin(tmp_path)
    if url:
        add_remote(project, "store", url)
    with pytest.raises(ExchangeError, match=words.replace("?", r"\?")) as caught:
        Exchange.of(project.root, "store").fetch()
    assert caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value)


def test_identities_differ_by_place_and_tell_no_secret(tmp_path: Path) -> None:
    project = origin(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        add_remote(project, name, str(tmp_path / name))
    endpoint = "https://key:hunter2@minio.example.org:9000?token=hunter2"
    add_remote(project, "cloud", "s3://user:hunter2@Bucket/x/", endpoint)
    found = {name: Exchange.of(project.root, name).identity() for name in (None, "one", "two", "cloud")}
    assert len(set(found.values())) == 4
    assert found["cloud"] == "remote s3://bucket/x at https://minio.example.org:9000"
    assert found[None] == Exchange.of(project.root, None).identity()  # asked again, the same


def test_clones_with_one_cache_have_one_identity_and_others_have_others(tmp_path: Path) -> None:
    project = origin(tmp_path)
    shared = tmp_path / "shared"
    one, two, own = project.clone("one", cache=shared), project.clone("two", cache=shared), project.clone("own")
    ways = [Exchange.of(clone.root, None) for clone in (one, two, own)]
    assert ways[0].identity() == ways[1].identity() != ways[2].identity()
    one.dvc("repro", "c")
    ways[0].push(["c"], always)
    ways[1].fetch(["c"])
    two.dvc("repro", "c", SHELL="/bin/false")
    assert (two.root / "c").read_text() == "1\n1\nmore\n"


def test_many_who_ask_at_once_find_one_name(tmp_path: Path) -> None:
    code = f"import sys; from pathlib import Path; from pipeline.running.places import folder_id; " \
           f"sys.stdout.write(folder_id(Path({str(tmp_path / 'cache')!r})))"  # fmt: skip
    asked = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert {process.communicate()[0] for process in asked} == {folder_id(tmp_path / "cache")}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["exchange-id"]


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "exchange-id").write_text("")
    with pytest.raises(ExchangeError, match="found '', expected 16 hex digits; delete it"):
        folder_id(tmp_path)


def test_an_address_is_shown_without_what_must_stay_secret() -> None:
    assert bare("ssh://me:pw@Host:22/data/?q#f") == "ssh://host:22/data"
