"""Datasets that change: notice it, keep the new manifest in git, ask for the retraining of what depends on it.

A look at a dataset has three steps, and may die between any two of them: the new manifest gets onto the branch; the
event ``dataset.changed`` goes out while the branch has a digest that was not retrained; ``settle`` notes the digest
when the retraining is done. The next look finds out where things stand by these facts alone, and repeats what was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from pipeline.params import ParamsError, read_params, read_section
from pipeline.profiles import dvcfile_of
from pipeline.running.clones import git
from pipeline.watching import digests
from pipeline.watching.asking import AskError, ask_source
from pipeline.watching.contents import ContentError, Seen, is_still, stamp, take_in
from pipeline.watching.digests import Change
from pipeline.watching.lockfile import is_reproduced
from pipeline.watching.manifests import ManifestError, Post, inside

Publish = Literal["branch", "review", "off"]
State = Literal["unchanged", "changed", "under way", "proposed", "failed"]
_LISTED = 50  # news in a commit's message


class GivenUpError(Exception):
    """Retraining a version has failed too often to be tried again by itself."""

    exit_code: ClassVar[int] = 7


@dataclass(frozen=True)
class Rules:
    """How one dataset is watched."""

    publish: Publish  # branch: a new manifest is committed there and retrained; review: on a branch of its own; off
    list: str | None  # address of the CSV file that a dataset of urls follows; null = its list is written by hand


@dataclass(frozen=True)
class Watch:
    """The section ``watch`` of a params file; no stage depends on it."""

    publish: Publish  # of datasets that have no rules of their own
    quiet_s: float  # s that nobody has written to a folder or file before it is taken for complete
    attempts: int  # retrainings of one version that may fail before no more is asked for
    datasets: dict[str, Rules]  # name -> rules of its own

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        if self.quiet_s < 0:
            raise ValueError(f"quiet_s must not be below 0, found {self.quiet_s:g}")
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, found {self.attempts}")


@dataclass(frozen=True)
class Finding:
    """What a look at one dataset found."""

    dataset: str
    state: State
    said: str = ""  # for people
    change: Change | None = None  # what the event says, or said


def read_watch(params: Path) -> Watch | None:
    """Read the section ``watch``; None for a project without one, which watches nothing.

    Raises: ParamsError for a section that is wrong, or rules of a dataset that does not exist.
    """
    values = read_params(params)
    if "watch" not in values:
        return None
    watch = read_section(params, "watch", Watch)
    unknown = sorted(watch.datasets.keys() - values.get("datasets", {}).keys())
    if unknown:
        raise ParamsError(f"{params}: watch.datasets: {', '.join(unknown)}: no such dataset in `datasets`")
    return watch


def look(post: Post, profile: str, dataset: str, watch: Watch, remote: str | None) -> Finding:
    """Look at one dataset: take in what is new, say whether the branch has what was not retrained, and ask for it.

    Args:
        post: the watcher's clone.
        profile: whose dataset.
        dataset: its name.
        watch: the settings.
        remote: DVC remote that new content goes to; None if the cache is shared.

    Raises: AskError, ManifestError, ContentError, CloneError, GivenUpError: exceptions with an ``exit_code`` and one
        message. What was committed before stays.
    """
    rules = watch.datasets.get(dataset, Rules(watch.publish, None))
    if rules.publish == "off":
        return Finding(dataset, "unchanged", "not watched (watch.publish: off)")
    visit = _Visit(post, profile, dataset, watch.quiet_s, remote)
    rev, notes = visit.take_over(rules) if rules.publish == "branch" else visit.take_aside(rules)
    version = post.version(rev, visit.where)
    if version is not None:
        return _ask(visit, Change(profile, dataset, version.digest, rev), watch.attempts, notes)
    if not notes:
        raise ManifestError(f"{visit.key}.where: {post.branch} has no {visit.where}{visit.hint()}")
    return Finding(dataset, visit.quiet, "; ".join(notes))


def settle(root: Path, profile: str, dataset: str, digest: str) -> None:
    """Note that the stages of a version of a dataset have run; called when a retraining is done, never before.

    Args:
        root: the project.
        profile: name of the profile.
        dataset: name of the dataset.
        digest: what the event said.
    """
    del root  # Prefect's server is one for all clones
    digests.settle(profile, dataset, digest)


def _ask(visit: _Visit, change: Change, attempts: int, notes: list[str]) -> Finding:
    """Emit the event unless the version is retrained, is being retrained, or cannot be."""
    said = "; ".join(notes)
    if digests.known(change.profile, change.dataset) == change.digest:
        return Finding(change.dataset, visit.quiet, said, change)
    run = digests.under_way(change)
    if run is not None:
        return Finding(change.dataset, "under way", f"{run} retrains it", change)
    if visit.is_reproduced(change.rev):
        digests.settle(change.profile, change.dataset, change.digest)
        return Finding(change.dataset, visit.quiet, said or "dvc.lock has it already", change)
    committed = datetime.fromisoformat(git(visit.post.folder, "show", "--no-patch", "--format=%cI", change.rev))
    failed = digests.failures(change, committed)
    if failed >= attempts:
        raise GivenUpError(
            f"retraining {change.digest[:8]} has failed {failed} times (watch.attempts); look at the "
            f"runs, then `cartoon-pipeline run --profile {change.profile} --dataset {change.dataset}`; any new commit "
            "on the branch starts the counting anew"
        )
    digests.emit(change)
    return Finding(change.dataset, "changed", said or "was not retrained yet", change)


class _Visit:
    """One dataset at one post."""

    def __init__(self, post: Post, profile: str, dataset: str, quiet_s: float, remote: str | None) -> None:
        self.post, self.profile, self.dataset, self.quiet_s, self.remote = post, profile, dataset, quiet_s, remote
        self.rev = post.refresh()
        self.dvcfile = dvcfile_of(post.folder, profile)
        self.key = f"datasets.{dataset}"
        entry = read_params((post.folder / self.dvcfile).with_name("params.yaml")).get("datasets", {}).get(dataset)
        if not isinstance(entry, dict) or not isinstance(entry.get("where"), str):
            raise ManifestError(f"{self.key}: {post.branch} has no such dataset with a `where`; commit it there first")
        self.where = inside(entry["where"], self.key)
        self.quiet: State = "unchanged"  # what is said if the branch has nothing to retrain

    def take_over(self, rules: Rules) -> tuple[str, list[str]]:
        """Get what is new onto the branch; return the branch's commit and notes for people."""
        news, commit = self._new_commit(rules)
        if commit is None:
            return self.rev, news
        return self.post.publish(commit), news

    def take_aside(self, rules: Rules) -> tuple[str, list[str]]:
        """Get what is new onto a branch of its own; the branch that is watched stays where it is."""
        prefix = f"watch/{self.profile}/{self.dataset}"
        waiting = self.post.proposal(prefix, self.rev, self.where)
        before = self.post.version(waiting, self.where) if waiting else None
        if waiting and before:  # only what came after it is asked for
            git(self.post.folder, "checkout", "--quiet", waiting, "--", before.path)
        news, commit = self._new_commit(rules)
        after = self.post.version(commit, self.where) if commit else before
        if after is None:
            return self.rev, news
        self.quiet = "proposed"
        name = f"{prefix}/{after.digest[:8]}"
        if commit and after != before:
            self.post.propose(commit, name)
        return self.rev, [f"{name} waits to be merged into {self.post.branch}", *news]

    def is_reproduced(self, rev: str) -> bool:
        """Whether dvc.lock at a commit says that everything was made from what the commit has."""
        git(self.post.folder, "checkout", "--quiet", "--force", "--detach", rev)
        return is_reproduced(self.post.folder, self.dvcfile, self.dataset, self.where)

    def _new_commit(self, rules: Rules) -> tuple[list[str], str | None]:
        """Ask for news and commit them in the clone; None if the manifest is as it was."""
        try:
            found = ask_source(self.post.folder, self.profile, self.dataset, rules.list)
        except AskError as error:
            raise AskError(f"{error}{self.hint()}", error.exit_code) from error
        if found.kept == "code":
            return [], None
        news, paths = found.news, [str(found.manifest)]
        if found.kept == "dvc":
            paths, news = self._content(news)
        paths = [path for path in paths if (self.post.folder / path).exists()]
        if not paths:
            return news, None
        subject = f"New data of {self.dataset} ({found.source}) in {self.profile}"
        return news, self.post.commit(paths, "\n".join([subject, "", *news[:_LISTED]]).rstrip())

    def hint(self) -> str:
        """Say so if what the branch does not have lies in the project, where git does not see it."""
        if (self.post.project / self.where).exists() and self.post.version(self.rev, self.where) is None:
            return (
                f" (it is in {self.post.project}, but not in git, which alone agents get it from: `git add --force "
                f"{self.where}` there, and commit it)"
            )
        return ""

    def _content(self, news: list[str]) -> tuple[list[str], list[str]]:
        """Take a folder or file into the cache if it has changed; return the manifest's path and notes."""
        manifest = self.post.folder / f"{self.where}.dvc"
        place = self.post.project / self.where
        current = self.post.version(self.rev, self.where)
        if current is not None and current.path == self.where:
            return [], news  # git itself keeps the content: it changes by commits
        if not place.exists():
            if current is None:
                raise ContentError(f"{self.key}.where: {place}: no such file or folder; put the data there")
            return [], news  # another machine has it, and git and the cache know which
        found = stamp(place)
        seen = Seen(self.post.folder.with_name(f"{self.profile}.json"))
        if seen.knows(self.dataset, found, manifest):
            return [f"{self.where}.dvc"], news
        if not is_still(found, self.quiet_s):
            return [], [*news, f"{self.where} is being written to; looked at later (watch.quiet_s)"]
        take_in(self.post.folder, place, self.where, self.remote)
        if stamp(place) != found:
            return [], [*news, f"{self.where} was written to meanwhile; looked at later"]
        seen.note(self.dataset, found, manifest)
        ignore = Path(self.where).parent / ".gitignore"
        return [f"{self.where}.dvc", *([ignore.as_posix()] if self._is_new(ignore) else [])], news

    def _is_new(self, path: Path) -> bool:
        """Whether DVC wrote a file that git would keep."""
        return bool(git(self.post.folder, "status", "--porcelain", "--", path.as_posix()))


def datasets_of(params: Path, dataset: str | None) -> Iterator[str]:
    """Yield the names of a profile's datasets, or the one that is asked for.

    Raises: ManifestError if there is no such dataset.
    """
    names = list(read_params(params).get("datasets", {}))
    if dataset is not None and dataset not in names:
        raise ManifestError(f"{dataset}: no such dataset in {params}; there are: {', '.join(names) or 'none'}")
    yield from names if dataset is None else [dataset]
