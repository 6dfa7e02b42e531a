"""Watching: what changed gets into git once, and is asked for until it has been retrained, whoever dies when."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import ParamsError
from pipeline.watching import digests, looks
from pipeline.watching.asking import AskError
from pipeline.watching.contents import ContentError, bring_content
from pipeline.watching.digests import Change
from pipeline.watching.looks import Finding, GivenUpError, look, read_watch, settle
from pipeline.watching.manifests import BusyError, ManifestError, Post, open_post
from tests.pipeline.watched import WATCH, Book, Project, dvc, git, write

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Book:
    made = Book()
    for name in ("known", "settle", "under_way", "failures"):
        monkeypatch.setattr(digests, name, getattr(made, name))
    monkeypatch.setattr(digests, "emit", made.events.append)
    return made


def see(project: Project, dataset: str, branch: str | None = None, root: Path | None = None) -> Finding:
    home = root or project.root
    watch = read_watch(home / "params.yaml")
    assert watch is not None
    with open_post(home, "demo", branch, None) as post:
        return look(post, "demo", dataset, watch, None)


def test_a_new_episode_is_committed_once_and_asked_for_until_it_is_retrained(project: Project, book: Book) -> None:
    settle(project.root, "demo", "comics", git(project.root, "rev-parse", "HEAD:data/comics"))
    assert see(project, "comics").state == "unchanged"
    project.appear("comics", "one", "two")
    found = see(project, "comics")
    head = project.head()
    assert (found.state, found.said) == ("changed", "new: two")
    assert found.change == Change("demo", "comics", git(project.root, "rev-parse", "HEAD:data/comics"), head)
    assert git(project.root, "show", "--name-only", "--format=%B", head).split("\n") == [
        "New data of comics (webtoon) in demo", "", "new: two", "", "", "data/comics/episodes.json"
    ]  # fmt: skip
    assert (project.root / "data/comics/episodes.json").read_text() == "one\ntwo\n"
    assert see(project, "comics").state == "changed"  # nobody has begun
    book.running = list(book.events)
    assert see(project, "comics").state == "under way"
    assert [event.digest for event in book.events] == [found.change.digest] * 2
    book.running = []
    settle(project.root, "demo", "comics", found.change.digest)
    assert see(project, "comics").state == "unchanged"
    assert len(book.events) == 2
    assert project.head() == head


class Killed(BaseException):
    """kill -9, as far as this process is concerned: nothing is handled."""


def kill(*_: Any) -> None:
    raise Killed


def kill_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> None:
        function(*arguments)
        raise Killed

    return call


@pytest.mark.parametrize("moment", ["asked", "committed", "on the branch", "emitted"])
def test_a_look_that_dies_anywhere_is_repeated_by_the_next_one(
    project: Project, book: Book, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    settle(project.root, "demo", "comics", git(project.root, "rev-parse", "HEAD:data/comics"))
    project.appear("comics", "one", "two")
    with monkeypatch.context() as patch:
        if moment == "asked":
            patch.setattr(Post, "commit", kill)
        elif moment == "committed":
            patch.setattr(Post, "publish", kill)
        elif moment == "on the branch":
            patch.setattr(Post, "publish", kill_after(Post.publish))
        else:
            patch.setattr(digests, "emit", kill_after(digests.emit))
        with pytest.raises(Killed):
            see(project, "comics")
    (project.root / "scratch/watcher/demo/.git/index.lock").touch()  # git died too
    assert see(project, "comics").state == "changed"
    assert len(book.events) == (2 if moment == "emitted" else 1)
    assert {event.digest for event in book.events} == {git(project.root, "rev-parse", "HEAD:data/comics")}
    assert project.subjects() == ["New data of comics (webtoon) in demo", "start"]


def test_what_people_change_in_the_working_tree_stays_and_what_is_in_the_way_is_named(
    project: Project, book: Book
) -> None:
    (project.root / "code/draw.py").write_text("2\n")
    project.appear("comics", "one", "two")
    see(project, "comics")
    assert (project.root / "code/draw.py").read_text() == "2\n"
    project.appear("comics", "one", "two", "three")
    (project.root / "data/comics/episodes.json").write_text("mine\n")
    with pytest.raises(ManifestError, match=r"the branch main does not take the new manifest .* the next look tries"):
        see(project, "comics")
    assert (project.root / "data/comics/episodes.json").read_text() == "mine\n"
    git(project.root, "checkout", "--", "data")
    assert see(project, "comics").state == "changed"
    assert (project.root / "data/comics/episodes.json").read_text() == "one\ntwo\nthree\n"


def test_a_commit_of_somebody_else_meanwhile_stays_below_the_new_manifest(
    project: Project, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.appear("comics", "one", "two")
    publish = Post.publish

    def late(post: Post, commit: str) -> str:
        project.commit("theirs")
        return publish(post, commit)

    monkeypatch.setattr(Post, "publish", late)
    found = see(project, "comics")
    assert project.subjects() == ["New data of comics (webtoon) in demo", "theirs", "start"]
    assert found.change is not None
    assert found.change.rev == project.head()


def test_for_review_a_manifest_waits_on_a_branch_of_its_own_and_is_retrained_when_merged(
    project: Project, book: Book
) -> None:
    project.set(watch=WATCH | {"datasets": {"comics": {"publish": "review", "list": None}}})
    settle(project.root, "demo", "comics", git(project.root, "rev-parse", "HEAD:data/comics"))
    assert see(project, "comics").state == "unchanged"
    head = project.head()
    project.appear("comics", "one", "two")
    for said in ("new: two", ""):
        found = see(project, "comics")
        assert found.state == "proposed"
        assert ("new: two" in found.said) == bool(said)
    project.appear("comics", "one", "two", "three")
    assert "new: three" in see(project, "comics").said
    assert book.events == []
    assert project.head() == head
    branches = git(project.root, "for-each-ref", "--format=%(refname:short)", "refs/heads/watch/demo/comics").split()
    assert len(branches) == 2
    last = found.said.partition(" ")[0]
    (newest,) = set(branches) - {last}
    assert git(project.root, "show", f"{newest}:data/comics/episodes.json") == "one\ntwo\nthree"
    assert newest.rpartition("/")[2] == git(project.root, "rev-parse", f"{newest}:data/comics")[:8]
    git(project.root, "merge", "--quiet", "--squash", newest)
    project.commit("Take in the new episodes")
    assert see(project, "comics").state == "changed"
    assert [event.rev for event in book.events] == [project.head()]
    assert see(project, "comics").said == "was not retrained yet"  # the branches are no proposal any more


def state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_mode, found.st_nlink, found.st_mtime_ns, found.st_ctime_ns


def test_a_folder_is_kept_by_dvc_and_read_again_only_after_a_change(
    project: Project, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = project.root / "data/pages"
    before = {path: state(path) for path in pages.rglob("*")}
    first = see(project, "pages")
    assert first.state == "changed"
    assert {path: state(path) for path in pages.rglob("*")} == before  # nothing is linked, nothing made read-only
    assert git(project.root, "ls-files", "data/pages.dvc")
    with monkeypatch.context() as patch:
        patch.setattr(looks, "take_in", kill)
        assert see(project, "pages").change == first.change
    os.utime(pages / "a.png", (1, 1))  # touched, not changed
    assert see(project, "pages").change == first.change
    (pages / "more/b.png").unlink()
    second = see(project, "pages")
    write(pages, {"more/b.png": "b\n"})
    third = see(project, "pages")
    assert first.change and second.change and third.change
    assert first.change.digest == third.change.digest != second.change.digest


def test_stages_in_another_clone_read_the_content_that_was_taken_in(
    project: Project, book: Book, tmp_path: Path
) -> None:
    see(project, "pages")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(project.root), str(clone))
    dvc(clone, "config", "--local", "cache.dir", str(project.root / ".dvc/cache"))
    assert bring_content(clone, None) == ["data/pages.dvc"]
    dvc(clone, "repro", "-q", "crawl@pages")
    assert (clone / "work/pages.raw").read_text() == "a\nb\n"
    (clone / "data/pages/a.png").unlink()
    (clone / "data/pages/a.png").write_text("by mistake\n")
    bring_content(clone, None)
    assert (clone / "data/pages/a.png").read_text() == "a\n"


def test_content_reaches_another_machine_through_a_remote(project: Project, book: Book, tmp_path: Path) -> None:
    write(
        project.root, {".dvc/config": f"[core]\n    analytics = false\n['remote \"far\"']\n    url = {tmp_path}/far\n"}
    )
    project.commit("a remote")
    watch = read_watch(project.root / "params.yaml")
    assert watch is not None
    with open_post(project.root, "demo", None, "far") as post:
        look(post, "demo", "pages", watch, "far")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(project.root), str(clone))
    with pytest.raises(ContentError, match=r"`dvc checkout` failed"):
        bring_content(clone, None)
    bring_content(clone, "far")
    assert (clone / "data/pages/more/b.png").read_text() == "b\n"


def test_a_folder_that_is_being_written_to_is_looked_at_later(
    project: Project, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.set(watch=WATCH | {"quiet_s": 600.0})
    found = see(project, "pages")
    assert (found.state, found.change) == ("unchanged", None)
    assert "data/pages is being written to; looked at later" in found.said
    project.set(watch=WATCH)
    take_in = looks.take_in

    def slow(*arguments: Any) -> Path:
        made = take_in(*arguments)
        write(project.root, {"data/pages/late.png": "late\n"})
        return made

    monkeypatch.setattr(looks, "take_in", slow)
    assert "was written to meanwhile" in see(project, "pages").said
    monkeypatch.undo()
    assert git(project.root, "ls-files", "data/pages.dvc") == ""


def test_code_changes_a_dataset_by_commits_alone(project: Project, book: Book) -> None:
    first = see(project, "drawn")
    assert first.change is not None
    settle(project.root, "demo", "drawn", first.change.digest)
    (project.root / "code/draw.py").write_text("2\n")
    assert see(project, "drawn").state == "unchanged"
    project.commit("Draw otherwise")
    assert see(project, "drawn").state == "changed"


def test_what_dvc_lock_proves_is_not_asked_for(project: Project, book: Book) -> None:
    project.set(datasets={name: project.values["datasets"][name] for name in ("comics", "drawn")})
    dvc(project.root, "repro", "-q", "crawl@comics", "train@comics", "crawl@drawn", "train@drawn")
    project.commit("no comparison yet")
    assert see(project, "comics").state == "changed"
    dvc(project.root, "repro", "-q")
    project.commit("all of it")
    book.events.clear()
    for dataset in ("comics", "drawn"):
        assert see(project, dataset).said == "dvc.lock has it already"
    assert book.events == []
    assert book.retrained["demo", "comics"] == git(project.root, "rev-parse", "HEAD:data/comics")
    project.appear("comics", "one", "two")
    assert see(project, "comics").state == "changed"
    dvc(project.root, "repro", "-q", "crawl@comics")
    project.commit("crawled")
    assert see(project, "comics").state == "changed"  # trained on the old ones
    dvc(project.root, "repro", "-q", "train@comics")
    project.commit("trained")
    assert see(project, "comics").state == "changed"  # not compared
    dvc(project.root, "repro", "-q")
    project.commit("compared")
    assert see(project, "comics").state == "unchanged"


def test_content_kept_by_dvc_is_proved_by_its_hash(project: Project, book: Book) -> None:
    see(project, "pages")
    dvc(project.root, "repro", "-q")
    project.commit("all of it")
    assert see(project, "pages").said == "dvc.lock has it already"
    write(project.root, {"data/pages/c.png": "c\n"})
    assert see(project, "pages").state == "changed"


def test_a_version_that_fails_to_train_is_left_to_people_until_something_is_committed(
    project: Project, book: Book
) -> None:
    for attempt in range(3):
        found = see(project, "comics")
        assert found.state == "changed"
        assert found.change is not None
        book.failed.append((found.change, datetime.now().astimezone()))
        assert len(book.events) == attempt + 1
    with pytest.raises(GivenUpError, match=r"retraining .* has failed 3 times .*--profile demo --dataset comics"):
        see(project, "comics")
    book.failed = [(change, datetime(2020, 1, 1).astimezone()) for change, _ in book.failed]  # before the last commit
    assert see(project, "comics").state == "changed"


def test_failures_name_the_dataset_and_the_remedy(project: Project, book: Book, tmp_path: Path) -> None:
    project.fail("comics", 6, "www.webtoons.com: HTTP 503, after 6 tries")
    with pytest.raises(AskError, match=r"^www.webtoons.com: HTTP 503") as caught:
        see(project, "comics")
    assert caught.value.exit_code == 6
    far = {"source": "folder", "where": str(tmp_path / "far")}
    absent = {"source": "folder", "where": "data/absent"}
    private = {"source": "webtoon", "where": "data/private"}
    project.set(datasets=project.values["datasets"] | {"far": far, "absent": absent, "private": private})
    with pytest.raises(ManifestError, match=r"datasets\.far\.where: .*/far: outside the project.*move it into"):
        see(project, "far")
    with pytest.raises(ContentError, match=r"datasets\.absent\.where: .*data/absent: no such file or folder"):
        see(project, "absent")
    write(project.root, {"data/private/permission.yaml": "mine\n"})
    with pytest.raises(AskError, match=r"not in git.*`git add --force data/private` there"):
        see(project, "private")
    project.fail("drawn", 1, "bug")
    with pytest.raises(AskError, match=r"^bug$"):
        see(project, "drawn")


def test_a_branch_of_origin_is_watched_from_an_agents_clone(project: Project, book: Book, tmp_path: Path) -> None:
    bare, clone = tmp_path / "bare.git", tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--bare", str(project.root), str(bare))
    git(tmp_path, "clone", "--quiet", str(bare), str(clone))
    git(clone, "checkout", "--quiet", "--detach")
    with pytest.raises(ManifestError, match="no branch is checked out here"):
        see(project, "comics", root=clone)
    project.appear("comics", "one", "two")
    found = see(project, "comics", "main", clone)
    assert found.change is not None
    assert found.change.rev == git(bare, "rev-parse", "main")
    assert git(bare, "show", "main:data/comics/episodes.json") == "one\ntwo"
    assert git(clone, "status", "--porcelain") == ""


def test_two_looks_at_once_are_one(project: Project, book: Book) -> None:
    with open_post(project.root, "demo", None, None), pytest.raises(BusyError, match="another look"):
        see(project, "comics")


def test_the_section_is_checked_and_may_be_absent(project: Project) -> None:
    params = project.root / "params.yaml"
    project.set(watch=WATCH | {"datasets": {"commics": {"publish": "off", "list": None}}})
    with pytest.raises(ParamsError, match=r"watch\.datasets: commics: no such dataset"):
        read_watch(params)
    for change, said in (
        ({"attempts": 0}, "attempts must be"),
        ({"quiet_s": -1.0}, "quiet_s must"),
        ({"publish": "x"}, "publish: expected one of"),
    ):
        project.set(watch=WATCH | change)
        with pytest.raises(ParamsError, match=said):
            read_watch(params)
    del project.values["watch"]
    project.set()
    assert read_watch(params) is None


def test_a_dataset_that_is_off_is_left_alone(project: Project, book: Book) -> None:
    project.set(watch=WATCH | {"datasets": {"comics": {"publish": "off", "list": None}}})
    project.appear("comics", "one", "two")
    assert see(project, "comics").said == "not watched (watch.publish: off)"
    assert project.subjects()[0] == "other params"


def test_every_profile_here_has_a_section_that_is_right() -> None:
    root = Path(__file__).resolve().parents[2]
    for path in (root / "params.yaml", *(root / "profiles").glob("*/params.yaml")):
        if path.parent.name != "assets":
            assert read_watch(path) is not None, path
