"""Profiles: folders that run a copy of dvc.yaml with numbers of their own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import ClassVar

from pipeline.params import read_params

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_RESERVED = ("tracking", "prefect", "coordinator", "watcher")  # folders of scratch/ that are no profile's


class ProfileError(Exception):
    """A profile does not exist, or cannot be made."""

    exit_code: ClassVar[int] = 2


def dvcfile_of(root: Path, profile: str | None) -> str:
    """Path of a profile's dvc.yaml from the root; None or the root's own profile name means the root's.

    Raises: ProfileError naming the profiles there are, or for a profile whose copy of dvc.yaml is out of date.
    """
    known = known_profiles(root)
    if profile is None:
        return "dvc.yaml"
    if profile not in known:
        raise ProfileError(f"{profile}: no such profile; there are: {', '.join(known)}")
    if known[profile] in outdated_copies(root):
        raise ProfileError(
            f"{known[profile]} is a copy of another version of dvc.yaml, so it would not run the stages of today; "
            f"bring it up to date with `cp dvc.yaml {known[profile]}` "
            "(or delete its first line, if it is meant to be a pipeline of its own)"
        )
    return known[profile]


def name_of(root: Path, profile: str | None) -> str:
    """Name of a profile; None means the root's own.

    Raises: ProfileError naming the profiles there are.
    """
    known = known_profiles(root)
    if profile is not None and profile not in known:
        raise ProfileError(f"{profile}: no such profile; there are: {', '.join(known)}")
    return profile if profile is not None else next(iter(known))


def outdated_copies(root: Path) -> list[str]:
    """The profiles' dvc.yaml that begin like the root's, so are copies of it, but differ from it.

    A link would not get out of date, but DVC reads files of older commits through git, which does not follow links:
    `dvc params diff`, `metrics diff` and `exp show` would all fail.
    """
    own = (root / "dvc.yaml").read_bytes()
    texts = {path: (root / path).read_bytes() for path in known_profiles(root).values()}
    return [path for path, text in texts.items() if text != own and text.splitlines()[:1] == own.splitlines()[:1]]


def known_profiles(root: Path) -> dict[str, str]:
    """Name of every profile -> its dvc.yaml, the root's first."""
    own = read_params(root / "params.yaml").get("profile", "default")
    known = {str(own): "dvc.yaml"}
    for folder in sorted((root / "profiles").glob("*")):
        if (folder / "dvc.yaml").exists():
            known.setdefault(folder.name, f"profiles/{folder.name}/dvc.yaml")
    return known


def new_profile(root: Path, name: str) -> Path:
    """Make ``profiles/NAME`` with copies of dvc.yaml and of params.yaml, which names the profile.

    Returns: the new folder.
    Raises: ProfileError for a bad name, an existing profile, or a params.yaml without the three lines to set.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise ProfileError(
            f"{name!r} cannot name a profile: use small letters, digits, - and _ (at most 40), like my-faces"
        )
    folder = root / "profiles" / name
    if folder.exists() or folder.is_symlink():
        raise ProfileError(f"{folder} exists already; edit {folder / 'params.yaml'} or choose another name")
    if name in known_profiles(root):
        raise ProfileError(f"{name!r} is the name of the root's own profile; choose another")
    text = (root / "params.yaml").read_text(encoding="utf-8")
    for key, value in (("profile", name), ("root", "../.."), ("params_file", f"profiles/{name}/params.yaml")):
        text = _set_line(text, key, value)
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    shutil.copyfile(root / "dvc.yaml", folder / "dvc.yaml")
    return folder


def _set_line(text: str, key: str, value: str) -> str:
    """Replace the value of a top-level ``key: value  # comment`` line and keep the comment where it stood."""
    line = re.compile(rf"^{key}:[ \t]*(?P<old>[^#\n]*?)(?P<gap>[ \t]*)(?P<comment>#[^\n]*)?$", re.MULTILINE)
    match = line.search(text)
    if match is None:
        raise ProfileError(f"params.yaml has no line '{key}: ...'; add it, every profile names its {key}")
    new = f"{key}: {value}"
    if match["comment"]:
        width = match.start("comment") - match.start()
        new = new.ljust(max(width, len(new) + 2)) + match["comment"]
    return text[: match.start()] + new + text[match.end() :]
