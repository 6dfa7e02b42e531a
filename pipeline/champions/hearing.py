"""The hearing of one dataset's candidate: which one it is, whether it takes the champion's place, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.champions.candidates import Candidate, Contest, Numbers, Scale
from pipeline.champions.models import CHAMPION, SHA256, Model
from pipeline.champions.recipes import describe, register_files
from pipeline.champions.remeasuring import Measured, NotMeasured, changes, first_numbers, how_it_draws, now, numbers_on

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

REVERTED = "reverted"  # tag of a version that an operator took back: not promoted again by itself
_VERDICT, _WHY = "verdict", "why"  # tags of a version; without a verdict, its hearing was cut short
_CONSIDERED = "considered"  # tag of the model, and of versions: the comparison, rules included, that was heard last

State = Literal["first", "promoted", "kept", "incomparable", "unchanged", "none"]


@dataclass(frozen=True)
class ChampionParams:
    """Section ``champion``."""

    gates: tuple[Literal["pass", "alarm"], ...]  # verdicts that a champion may have
    min_gain: float  # of worth, which is 0 for the untuned source and 1 for a perfect cartoonist
    sigmas: float  # standard errors by which a gain must exceed 0
    max_kid_ratio: float  # of a new champion's KID on held-out images to the old one's
    max_similarity_loss: float  # against the old one
    # Images, instruments or source changed, so that numbers cannot be compared: measure the champion again, or leave it
    # to an operator, or promote whatever is new.
    when_changed: Literal["measure", "keep", "promote"]

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
        self._again: Measured | NotMeasured | None = None

    def to_measure(self) -> ModelVersion | None:
        """Return the champion if :meth:`verdict` will need numbers of it that only measuring can give."""
        if self._rules.when_changed != "measure" or not self._model.exists():
            return None
        self._model.settle()
        champion, versions = self._model.champion(), self._model.versions()
        if champion is None or numbers_on(champion, self._contest.basis) or self._in_contest(champion):
            return None
        closed = self._model.tag(_CONSIDERED) == self._digest or not self._contest.candidates
        return None if closed and not _pending(versions) else champion

    def verdict(self, again: Measured | NotMeasured | None = None) -> Verdict:
        """Hear the candidate; what an earlier call left undone is done first.

        Args:
            again: what came of measuring the version that :meth:`to_measure` returned.
        """
        model = self._model
        model.create(*describe(self._contest))
        model.settle()
        self._again = again
        self._note()
        versions = model.versions()
        if pending := _pending(versions):
            return self._decide(pending[-1])
        if model.tag(_CONSIDERED) == self._digest:
            return self._said("unchanged", "This comparison was considered before")
        taken_back = {one.tags.get(SHA256) for one in versions if one.tags.get(REVERTED) == "true"}
        candidates = [one for one in self._contest.candidates if one.sha256 not in taken_back]
        if not candidates:
            return self._close("none", f"No generator may be champion: {self._barred(len(taken_back))}")
        chosen = self._choose(candidates)
        known = next((one for one in versions if one.tags.get(SHA256) == chosen.sha256), None)
        if known is None:
            run_id, source = register_files(self._root, self._contest, chosen)
            return self._decide(model.add(source, run_id, self._tags(chosen), chosen.title))
        if not self._is_open(known):
            return self._close(
                "unchanged", f"Its best generator, {chosen.title}, was considered before", known, chosen.title
            )
        return self._decide(self._reopen(int(known.version), chosen))

    def _reopen(self, number: int, chosen: Candidate) -> ModelVersion:
        """Give a version that was heard before its numbers of today, and no verdict yet."""
        self._model.mark(number, {_VERDICT: "incomparable", **self._tags(chosen)})  # killed in between: reopened again
        self._model.unmark(number, _VERDICT)  # killed from here on: heard as one that is new
        version = self._model.version(number)
        assert version is not None
        return version

    def _note(self) -> None:
        """Write down numbers of the champion on today's images that the registry does not have yet."""
        again, champion = self._again, self._model.champion()
        if self._rules.when_changed != "measure" or champion is None:
            return
        number, basis = int(champion.version), self._contest.basis
        if (own := self._in_contest(champion)) and numbers_on(champion, basis) is None:
            again = Measured(number, basis, own.numbers, own.gates, now())
        if isinstance(again, Measured) and again.version == number:
            self._model.mark(number, again.tags())

    def _in_contest(self, champion: ModelVersion) -> Candidate | None:
        """Return the champion's own cell, if it is one of today's: nobody needs to measure it again."""
        return next((one for one in self._contest.candidates if one.sha256 == champion.tags.get(SHA256)), None)

    def _is_open(self, known: ModelVersion) -> bool:
        """Whether a version that has a verdict can be heard again: it could not be compared, or on other images."""
        if self._rules.when_changed != "measure" or int(known.version) == self._model.alias(CHAMPION):
            return False
        return known.tags[_VERDICT] == "incomparable" or json.loads(known.tags["basis"]) != self._contest.basis

    def _choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return the best one that gives up little of what the champion has, else the best one."""
        scale, champion = self._contest.scale, self._model.champion()
        known = None if champion is None else numbers_on(champion, self._contest.basis)
        near = candidates
        if known is not None and not self._gives_way(known):
            near = [one for one in candidates if judge(one.numbers, known.numbers, scale, self._rules).near]
        return max(near or candidates, key=lambda one: (scale.worth(one.numbers), one.title))

    def _gives_way(self, champion: Measured) -> str:
        """Return why a champion that was measured again could not become one today, or nothing."""
        return self._contest.bar(champion.numbers, champion.gates) if champion.when else ""

    def _decide(self, version: ModelVersion) -> Verdict:
        """Judge a version that has no verdict yet, whoever added it."""
        number = int(version.version)
        champion = self._model.champion()
        last = self._model.history()[-1:]
        state: State
        if champion is not None and int(champion.version) == number:  # cut short after the promotion
            state, why = ("first" if last[0].before is None else "promoted"), last[0].why
        else:
            state, why, numbers = self._judged(version, champion)
            if state in ("first", "promoted"):
                self._model.move("promoted", number, why, numbers)
        self._model.describe(number, f"{version.tags['title']}\n\n**{state}**: {why}")
        self._model.mark(number, {_WHY: why, _VERDICT: state})  # last: until then, the hearing is not over
        if not (state == "incomparable" and self._tries_again()):
            self._model.set_tag(_CONSIDERED, version.tags[_CONSIDERED])
        return self._said(state, why, version, version.tags["title"])

    def _tries_again(self) -> bool:
        return self._rules.when_changed == "measure" and not (
            isinstance(self._again, NotMeasured) and self._again.final
        )

    def _judged(
        self, version: ModelVersion, champion: ModelVersion | None
    ) -> tuple[State, str, dict[str, dict[str, float]]]:
        """Return what becomes of a version, why, and the numbers that were compared."""
        basis: dict[str, str] = json.loads(version.tags["basis"])
        new = first_numbers(version)
        alone = f"KID on held-out images {new.kid:.1f}, similarity {new.similarity:.3f}"
        if champion is None:
            return "first", f"The first one that passes the gates: {alone}", {"new": asdict(new)}
        old = numbers_on(champion, basis)
        changed = f"version {champion.version} was measured with another {' and '.join(changes(champion, basis))}"
        if old is None:
            state, why = self._not_compared(f"{alone}; {changed}", version)
            before = {"old": json.loads(champion.tags["numbers"])} if "numbers" in champion.tags else {}
            return state, why, {"new": asdict(new), **before}
        numbers = {"new": asdict(new), "old": asdict(old.numbers)}
        note = f"; {changed}, and again with today's" if old.when else ""
        if barred := self._gives_way(old):
            return "promoted", f"{alone}{note}, where it could not become champion: {barred}", numbers
        found = judge(new, old.numbers, self._contest.scale, self._rules)
        return ("promoted" if found.better else "kept"), f"{found.why}{note}", numbers

    def _not_compared(self, what: str, version: ModelVersion) -> tuple[State, str]:
        if self._rules.when_changed == "promote":
            return "promoted", f"{what}; promoted because champion.when_changed says so"
        by_hand = f"`cartoon-pipeline champion promote {self._contest.dataset} {version.version}`"
        if self._rules.when_changed == "keep":
            return (
                "incomparable",
                f"{what}, so its numbers say nothing beside these; {by_hand} if the pictures are better",
            )
        if isinstance(self._again, NotMeasured):
            why = f"measuring it again failed ({self._again.why})"
        else:
            why = "it was not measured again on these"  # another one was champion when that began
        tries = "`cartoon-pipeline champion consider` tries again, " if self._tries_again() else ""
        return "incomparable", f"{what}, and {why}; {tries}{by_hand} if the pictures are better"

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
            **how_it_draws(one, self._contest),
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
        champion = self._model.champion()
        if champion is not None and not title:
            title = champion.tags.get("title", "")
        at = None if champion is None else int(champion.version)
        return Verdict(self._contest.dataset, self._model.name, state, why, number, at, title)


def _pending(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Return versions whose hearing was cut short."""
    return [one for one in versions if SHA256 in one.tags and _VERDICT not in one.tags]
