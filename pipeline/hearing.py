"""The hearing of one dataset's candidate: which one it is, whether it takes the champion's place, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.candidates import Candidate, Contest, Numbers, Scale
from pipeline.models import CHAMPION, SHA256, Model
from pipeline.recipes import describe, register_files

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

REVERTED = "reverted"  # tag of a version that an operator took back: not promoted again by itself
_VERDICT, _WHY = "verdict", "why"  # tags of a version; without a verdict, its hearing was cut short
_CONSIDERED = "considered"  # tag of the model, and of versions: the comparison, rules included, that was heard last
_CHANGED = {"kid": "KID", "similarity": "similarity", "images": "dataset", "source": "source generator"}

State = Literal["first", "promoted", "kept", "incomparable", "unchanged", "none"]


@dataclass(frozen=True)
class ChampionParams:
    """Section ``champion``."""

    gates: tuple[Literal["pass", "alarm"], ...]  # verdicts that a champion may have
    min_gain: float  # of worth, which is 0 for the untuned source and 1 for a perfect cartoonist
    sigmas: float  # standard errors by which a gain must exceed 0
    max_kid_ratio: float  # of a new champion's KID on held-out images to the old one's
    max_similarity_loss: float  # against the old one
    when_changed: Literal["keep", "promote"]  # images or instruments changed, so that numbers cannot be compared

    def __post_init__(self) -> None:
        """Refuse rules that could promote what is worse; ValueError."""
        if not self.gates:
            raise ValueError("gates: found none, expected pass, or pass and alarm")
        if self.min_gain < 0 or self.sigmas < 0 or self.max_similarity_loss < 0:
            raise ValueError("min_gain, sigmas and max_similarity_loss: expected 0 or more")
        if self.max_kid_ratio < 1:
            raise ValueError(f"max_kid_ratio: found {self.max_kid_ratio}, expected 1 or more")


@dataclass(frozen=True)
class Verdict:
    """What became of a dataset's candidate."""

    dataset: str
    model: str  # its name in the registry
    state: State
    why: str  # one sentence with the numbers
    version: int | None = None  # of the candidate
    champion: int | None = None  # version that is champion now
    title: str = ""  # of the candidate, else of the champion


@dataclass(frozen=True)
class Judgement:
    """Whether a generator takes another's place."""

    better: bool
    near: bool  # it gives up neither style nor likeness beyond what is allowed
    why: str


def judge(new: Numbers, old: Numbers, scale: Scale, rules: ChampionParams) -> Judgement:
    """Compare two generators that were measured alike."""
    gain = scale.worth(new) - scale.worth(old)
    error = (scale.error(new) ** 2 + scale.error(old) ** 2) ** 0.5
    needed = max(rules.min_gain, rules.sigmas * error)
    losses = []
    if new.kid > rules.max_kid_ratio * max(old.kid, scale.floor):
        losses.append(f"its KID is more than {rules.max_kid_ratio:g} times as large")
    if new.similarity < old.similarity - rules.max_similarity_loss:
        losses.append(f"it loses more than {rules.max_similarity_loss:g} of similarity")
    short = [] if gain > needed else [f"{needed:.3f} is needed"]
    numbers = (
        f"Worth {scale.worth(new):.3f} against {scale.worth(old):.3f} ({gain:+.3f} ± {error:.3f}): KID on held-out "
        f"images {new.kid:.1f} against {old.kid:.1f}, similarity {new.similarity:.3f} against {old.similarity:.3f}"
    )
    why = "; ".join([numbers, *short, *losses])
    return Judgement(not short and not losses, not losses, why)


class Hearing:
    """One dataset's."""

    def __init__(self, root: Path, model: Model, contest: Contest, rules: ChampionParams) -> None:
        self._root = root
        self._model = model
        self._contest = contest
        self._rules = rules
        self._digest = contest.digest(rules)

    def verdict(self) -> Verdict:
        """Hear the candidate; what an earlier call left undone is done first."""
        model = self._model
        model.create(*describe(self._contest))
        model.settle()
        versions = model.versions()
        if pending := [one for one in versions if SHA256 in one.tags and _VERDICT not in one.tags]:
            return self._decide(pending[-1])
        if model.tag(_CONSIDERED) == self._digest:
            return self._said("unchanged", "This comparison was considered before")
        taken_back = {one.tags.get(SHA256) for one in versions if one.tags.get(REVERTED) == "true"}
        candidates = [one for one in self._contest.candidates if one.sha256 not in taken_back]
        if not candidates:
            return self._close("none", f"No generator may be champion: {self._barred(len(taken_back))}")
        chosen = self._choose(candidates, versions)
        known = next((one for one in versions if one.tags.get(SHA256) == chosen.sha256), None)
        if known is not None:
            return self._close(
                "unchanged", f"Its best generator, {chosen.title}, was considered before", known, chosen.title
            )
        run_id, source = register_files(self._root, self._contest, chosen)
        return self._decide(model.add(source, run_id, self._tags(chosen), chosen.title))

    def _choose(self, candidates: Sequence[Candidate], versions: Sequence[ModelVersion]) -> Candidate:
        """Return the best one that gives up little of what the champion has, else the best one."""
        scale, champion = self._contest.scale, self._champion(versions)
        near = candidates
        if champion is not None and not self._changes(champion):
            numbers = _numbers(champion)
            near = [one for one in candidates if judge(one.numbers, numbers, scale, self._rules).near]
        return max(near or candidates, key=lambda one: (scale.worth(one.numbers), one.title))

    def _decide(self, version: ModelVersion) -> Verdict:
        """Judge a version that has no verdict yet, whoever added it."""
        number = int(version.version)
        champion = self._champion(self._model.versions())
        last = self._model.history()[-1:]
        state: State
        if champion is not None and int(champion.version) == number:  # cut short after the promotion
            state, why = ("first" if last[0].before is None else "promoted"), last[0].why
        else:
            state, why = self._judged(version, champion)
            if state in ("first", "promoted"):
                tags = {"new": version.tags, "old": champion.tags if champion else {}}
                numbers = {name: json.loads(of["numbers"]) for name, of in tags.items() if "numbers" in of}
                self._model.move("promoted", number, why, numbers)
        self._model.describe(number, f"{version.tags['title']}\n\n**{state}**: {why}")
        self._model.mark(number, {_WHY: why, _VERDICT: state})  # last: until then, the hearing is not over
        self._model.set_tag(_CONSIDERED, version.tags[_CONSIDERED])
        return self._said(state, why, version, version.tags["title"])

    def _judged(self, version: ModelVersion, champion: ModelVersion | None) -> tuple[State, str]:
        new, scale = _numbers(version), self._contest.scale
        alone = f"KID on held-out images {new.kid:.1f}, similarity {new.similarity:.3f}"
        if champion is None:
            return "first", f"The first one that passes the gates: {alone}"
        changed = self._changes(champion, version)
        if changed:
            what = f"{alone}; version {champion.version} was measured with another {' and '.join(changed)}"
            if self._rules.when_changed == "promote":
                return "promoted", f"{what}; promoted because champion.when_changed says so"
            return "incomparable", (
                f"{what}, so its numbers say nothing beside these; `cartoon-pipeline champion promote "
                f"{self._contest.dataset} {version.version}` if the pictures are better"
            )
        found = judge(new, _numbers(champion), scale, self._rules)
        return ("promoted" if found.better else "kept"), found.why

    def _champion(self, versions: Sequence[ModelVersion]) -> ModelVersion | None:
        number = self._model.alias(CHAMPION)
        return next((one for one in versions if int(one.version) == number), None)

    def _changes(self, champion: ModelVersion, version: ModelVersion | None = None) -> list[str]:
        """Return what keeps a champion's numbers from being compared, in words."""
        if "basis" not in champion.tags:
            return ["program, or not at all"]  # somebody registered it by hand
        theirs: dict[str, str] = json.loads(champion.tags["basis"])
        ours: Mapping[str, str] = self._contest.basis if version is None else json.loads(version.tags["basis"])
        return [_CHANGED[name] for name, value in ours.items() if theirs.get(name) != value]

    def _tags(self, one: Candidate) -> dict[str, str]:
        """Return everything that later hearings and people need to know of a version."""
        plain: dict[str, Any] = {name: getattr(one, name) for name in ("method", "seed", "snapshot", "swap", "level")}
        plain |= {f"gate_{name}": value for name, value in one.gates.items()}
        plain |= {
            "kid": f"{one.numbers.kid:.4g}",
            "similarity": f"{one.numbers.similarity:.4g}",
            "kimg": f"{one.kimg:g}",
        }
        exact = {"numbers": asdict(one.numbers), "basis": self._contest.basis}
        return {
            **{key: str(value) for key, value in plain.items()},
            **{key: json.dumps(value, sort_keys=True) for key, value in exact.items()},
            SHA256: one.sha256, "title": one.title, _CONSIDERED: self._digest,
        }  # fmt: skip

    def _barred(self, taken_back: int) -> str:
        reasons = [f"{why} ({count})" for why, count in self._contest.barred.items()]
        reasons += [f"taken back by an operator ({taken_back})"] if taken_back else []
        return "; ".join(reasons) or "nothing was measured"

    def _close(self, state: State, why: str, version: ModelVersion | None = None, title: str = "") -> Verdict:
        self._model.set_tag(_CONSIDERED, self._digest)
        return self._said(state, why, version, title)

    def _said(self, state: State, why: str, version: ModelVersion | None = None, title: str = "") -> Verdict:
        number = None if version is None else int(version.version)
        champion = self._champion(self._model.versions())
        if champion is not None and not title:
            title = champion.tags.get("title", "")
        now = None if champion is None else int(champion.version)
        return Verdict(self._contest.dataset, self._model.name, state, why, number, now, title)


def _numbers(version: ModelVersion) -> Numbers:
    return Numbers(**json.loads(version.tags["numbers"]))
