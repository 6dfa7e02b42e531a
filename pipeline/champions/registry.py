"""Champions: per profile and dataset the best generator so far, as a registered model in MLflow.

``cartoon-<profile>-<dataset>`` has a version for every generator that was considered: its weights, what it is and how
to use it, as plain files of an MLflow run. The alias ``champion`` names the one to use, ``previous`` the one before.

A comparison is considered once. Its candidate is the cell of highest worth (likeness kept minus style lost, see
:class:`pipeline.champions.candidates.Scale`) among those that give up little of what the champion has, if there are
any. It takes the champion's place if it is worth more by ``min_gain`` and by ``sigmas`` standard errors, and gives up
neither style nor likeness beyond ``max_kid_ratio`` and ``max_similarity_loss``. Numbers taken on other held-out
images, by other instruments or from another source cannot be compared; ``when_changed`` says what happens then. With
``measure`` the champion is measured again on today's, once, and stays champion if that fails; one that a gate bars
now, or that no longer looks drawn beside today's images, gives way. What an operator has reverted is not promoted
again, except by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.champions.candidates import read_contests
from pipeline.champions.hearing import REVERTED, ChampionParams, Hearing
from pipeline.champions.hearing import Verdict as Verdict
from pipeline.champions.models import CHAMPION, PREVIOUS, Model, Move
from pipeline.champions.models import RegistryError as RegistryError
from pipeline.champions.recipes import fetch_files
from pipeline.champions.remeasuring import measure_again
from pipeline.journal import tracking_folder
from pipeline.locks import held
from pipeline.mirror import is_server, store_address, tracking_uri
from pipeline.params import read_params, read_section
from pipeline.profiles import dvcfile_of
from pipeline.publish import publisher_lock

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

SECTION = "champion"
_LOCK_WAIT = 120.0  # s


def model_name(profile: str, dataset: str) -> str:
    """Return the name under which a dataset's champions are registered."""
    return f"cartoon-{profile}-{dataset}"


def consider(root: Path, profile: str) -> list[Verdict]:
    """Compare the candidates of a profile's comparison with the registered champions; repeating it changes nothing.

    Args:
        root: the project, with the outputs of its stages.
        profile: a name of a profile.

    Returns: a verdict per dataset; none for a profile without the section ``champion``.
    Raises: NoComparisonError, CandidateError, ParamsError; RegistryError if MLflow does not answer.
    """
    params = (root / dvcfile_of(root, profile)).with_name("params.yaml")
    if SECTION not in read_params(params):
        return []
    rules = read_section(params, SECTION, ChampionParams)
    contests = read_contests(root, profile, rules.gates)
    with opened(root) as client:
        hearings = [Hearing(root, Model(client, model_name(profile, one.dataset)), one, rules) for one in contests]
        unmeasured = [hearing.to_measure() for hearing in hearings]
        if not any(unmeasured):
            return [hearing.verdict() for hearing in hearings]
    # Others may use the registry while a champion is measured.
    again = [
        None if version is None else measure_again(root, contest, client, version)
        for contest, version in zip(contests, unmeasured, strict=True)
    ]
    with opened(root):
        return [hearing.verdict(found) for hearing, found in zip(hearings, again, strict=True)]


@contextmanager
def opened(root: Path) -> Iterator[MlflowClient]:
    """Connect to the registry, alone among the processes of this project.

    Raises: RegistryError if the server does not answer, or another process does not finish.
    """
    _check_answers(root)
    with held(tracking_folder(root) / "registry.lock", _LOCK_WAIT) as mine:
        if not mine:
            raise RegistryError(f"another process has held the registry for {_LOCK_WAIT:.0f} s; try again later", 9)
        from mlflow.tracking import MlflowClient

        address = store_address(root)
        if address.startswith("sqlite:") and not Path(address.removeprefix("sqlite:///")).is_file():
            (root / "mlruns").mkdir(exist_ok=True)
            with publisher_lock(root, _LOCK_WAIT):  # two processes that make its tables at once fail
                MlflowClient(address).search_registered_models(max_results=1)
        yield MlflowClient(address, registry_uri=address)


def _check_answers(root: Path) -> None:
    """Fail in seconds where MLflow's client would try for minutes."""
    import httpx

    address = store_address(root)
    if not is_server(address):
        return
    try:
        httpx.get(f"{address.rstrip('/')}/health", timeout=5).raise_for_status()
    except httpx.HTTPError as error:
        raise RegistryError(
            f"MLflow at {tracking_uri(root)} does not answer ({type(error).__name__}); nothing is lost: start it, then "
            "`cartoon-pipeline champion consider`",
            6,
        ) from error


@dataclass(frozen=True)
class Standing:
    """A registered model, for people."""

    dataset: str
    model: str
    champion: int | None
    previous: int | None
    versions: list[ModelVersion]
    history: list[Move]


def standings(root: Path, profile: str) -> list[Standing]:
    """Return what is registered for a profile's datasets, in the order of its params file."""
    params = read_params((root / dvcfile_of(root, profile)).with_name("params.yaml"))
    with opened(root) as client:
        models = {name: Model(client, model_name(profile, name)) for name in params.get("datasets") or {}}
        return [
            Standing(name, one.name, one.alias(CHAMPION), one.alias(PREVIOUS), one.versions(), one.history())
            for name, one in models.items() if one.exists()
        ]  # fmt: skip


def promote(root: Path, profile: str, dataset: str, version: int, why: str) -> int | None:
    """Make a version the champion by an operator's decision; recorded, and what it replaces stays as ``previous``.

    Returns: the version that was champion before.
    Raises: RegistryError if there is no such version.
    """
    with opened(root) as client:
        model = _model(client, profile, dataset)
        if model.version(version) is None:
            known = ", ".join(str(one.version) for one in model.versions())
            raise RegistryError(f"{model.name}: no version {version}; there are: {known or 'none'}")
        before = model.alias(CHAMPION)
        if before != version:
            model.mark(version, {REVERTED: "false"})
            model.move("promoted", version, why, {})
        return before


def revert(root: Path, profile: str, dataset: str, why: str) -> tuple[int, int]:
    """Make the previous champion the champion again; the one that it replaces is not promoted again by itself.

    Returns: the version that was champion, and the one that is.
    Raises: RegistryError if there was no champion before this one.
    """
    with opened(root) as client:
        model = _model(client, profile, dataset)
        now, before = model.alias(CHAMPION), model.alias(PREVIOUS)
        if now is None or before is None:
            raise RegistryError(f"{model.name}: there was no champion before version {now}; nothing to go back to")
        model.mark(now, {REVERTED: "true"})
        model.mark(before, {REVERTED: "false"})
        model.move("reverted", before, why, {})
        return now, before


def export(root: Path, profile: str, dataset: str, out: Path) -> int:
    """Fetch the champion's generator, with the manifest that ``cartoon`` checks it by; replaces what is there.

    Returns: its version.
    Raises: RegistryError without a champion, or if its weights are not those that were registered.
    """
    if out.suffix != ".safetensors":
        raise RegistryError(f"--out {out}: expected a name ending in .safetensors")
    with opened(root) as client:
        model = _model(client, profile, dataset)
        version = model.champion()
        if version is None:
            raise RegistryError(
                f"{model.name}: no champion yet; `cartoon-pipeline champion list` shows its versions", 3
            )
        fetch_files(client, version, out)
        return int(version.version)


def _model(client: MlflowClient, profile: str, dataset: str) -> Model:
    model = Model(client, model_name(profile, dataset))
    if not model.exists():
        raise RegistryError(
            f"{model.name}: nothing is registered under this name; `cartoon-pipeline champion consider` after a "
            "finished run registers the first one",
            3,
        )
    model.settle()
    return model
