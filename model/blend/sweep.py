"""Pictures of many exchanges in one pass: what they share is computed once, with the bits of separate passes.

A *state*, features or accumulated RGB, says by which block it was made and from what. Pictures that agree so far share
states, whatever kinds of exchange they belong to: hard-swapped weights and handed-over features are the same chain of
convolutions of the two parents, so no blended network runs for them, and another RGB skip costs no convolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.blend.kinds import FeatureExchange, Kind, Side, check_level, other
from model.blend.weights import check_pair
from model.networks.generator import Generator, Noise, Synthesis

SHARES: dict[Side, float] = {"source": 0.0, "target": 1.0}


@dataclass(frozen=True)
class Features:
    """What the convolutions of a block of ``resolution`` px make from the features of ``below``."""

    resolution: int  # px
    share: float  # of the target in the weights
    w: Side  # whose style vectors they read
    below: Features | None  # None at 4 px: the constant


@dataclass(frozen=True)
class Rgb:
    """What a block's ToRGB reads in ``features``, added to the RGB accumulated ``below``."""

    features: Features
    share: float  # of the target in the weights
    w: Side  # whose style vector it reads
    below: Rgb | None  # None at 4 px

    @property
    def resolution(self) -> int:
        """Size, px."""
        return self.features.resolution


State = Features | Rgb
Step = tuple[int, float, Side]  # px, the target's share, whose w


def whole(side: Side, w: Side, resolutions: Sequence[int]) -> Rgb:
    """Return the picture of one generator from the w of either."""
    return _picture([(r, SHARES[side], w) for r in resolutions])


def picture(kind: Kind, at: int, resolutions: Sequence[int], w: Side | None = None) -> Rgb:
    """Return the picture of an exchange.

    Args:
        kind: the exchange.
        at: its level, px; 0 for a schedule.
        resolutions: sizes of the generators' blocks, px.
        w: whose style vectors everything reads; None: a blended generator those of the mapping network that it has,
            handed-over features those of the generator that draws.

    Raises: ValueError for a level that does not exist, or a schedule that does not name every block.
    """
    if not isinstance(kind, FeatureExchange):
        blend = kind.blend(at, resolutions)
        return _picture([(r, share, w or blend.mapping) for r, share in blend.blocks.items()])
    check_level(at, resolutions)
    low, high = kind.low, other(kind.low)
    if at in (0, resolutions[-1]):
        side = low if at else high
        return whole(side, w or side, resolutions)
    sides = [low if r <= at else high for r in resolutions]
    steps: list[Step] = [(r, SHARES[side], w or side) for r, side in zip(resolutions, sides, strict=True)]
    if kind.rgb_skip == low:
        return _picture(steps)
    rgb = whole(high, w or high, [r for r in resolutions if r < at]) if at > resolutions[0] else None
    for features in _features(steps)[resolutions.index(at) :]:
        rgb = Rgb(features, SHARES[high], w or high, rgb)
    assert rgb is not None
    return rgb


def _features(steps: Iterable[Step]) -> list[Features]:
    made: list[Features] = []
    for resolution, share, w in steps:
        made.append(Features(resolution, share, w, made[-1] if made else None))
    return made


def _picture(steps: Sequence[Step]) -> Rgb:
    """Return the picture whose every block draws its own RGB."""
    rgb: Rgb | None = None
    for features in _features(steps):
        rgb = Rgb(features, features.share, features.w, rgb)
    assert rgb is not None
    return rgb


class Sweep:
    """Draws pictures of exchanges between two generators.

    Args:
        source: the generator that was fine-tuned from.
        target: the fine-tuned generator, same architecture.
        mixed: by block (px) and the target's share in it, a generator that has the block; see :func:`mixtures`.

    Raises: ValueError for two architectures.
    """

    def __init__(
        self, source: Generator, target: Generator, mixed: Mapping[tuple[int, float], Generator] | None = None
    ) -> None:
        check_pair(source, target)
        self.source, self.target, self.mixed = source, target, dict(mixed or {})
        self.resolutions = source.config.resolutions
        blocks = {r: (source.synthesis.block(r), target.synthesis.block(r)) for r in self.resolutions}
        constant = torch.equal(source.synthesis.const, target.synthesis.const)
        # Noise maps do not count: they are given to both.
        self.same_convs = {
            r for r, pair in blocks.items() if (r > 4 or constant) and _equal(*(block.convs() for block in pair))
        }
        self.same_to_rgb = {r for r, pair in blocks.items() if _equal(*([block.to_rgb] for block in pair))}

    def draw(self, wanted: Sequence[Rgb], ws: Mapping[Side, Tensor], noise: Noise) -> Iterator[Tensor]:
        """Draw pictures, each as it is asked for; a state is kept no longer than another one needs it.

        Args:
            wanted: what to draw, from :func:`whole` and :func:`picture`.
            ws: style vectors ``[N, num_ws, w_dim]`` by whose they are.
            noise: one map per convolution, shared by all.

        Yields: images ``[N, 3, R, R]`` in the order of ``wanted``; the same tensor for pictures that are the same.
        """
        names = _Names(self, ws)
        pictures = [names.rgb(one) for one in wanted]
        run = _Run(self, ws, noise, pictures)
        for one in pictures:
            yield run.rgb(one)
            run.release(one)

    def generator(self, resolution: int, share: float) -> Generator:
        """Return a generator whose block of ``resolution`` px has ``share`` of the target."""
        if share in (0.0, 1.0):
            return self.target if share else self.source
        if (resolution, share) not in self.mixed:
            raise ValueError(f"no generator was given whose block of {resolution} px has {share} of the target")
        return self.mixed[resolution, share]

    def rows(self, resolution: int) -> slice:
        """Return which style vectors a block reads: one per convolution, the last by its ToRGB."""
        block = self.source.synthesis.block(resolution)
        return slice(block.first_row, block.first_row + len(block.convs()) + 1)


class _Names:
    """Gives states that must be equal one name: where weights never trained, where style vectors are equal."""

    def __init__(self, sweep: Sweep, ws: Mapping[Side, Tensor]) -> None:
        self.sweep = sweep
        same = (ws["source"] == ws["target"]).flatten(2).all(2).all(0).tolist()  # by row
        self.same_w = {r: same[sweep.rows(r)] for r in sweep.resolutions}

    def features(self, state: Features) -> Features:
        r = state.resolution
        share = 0.0 if r in self.sweep.same_convs else state.share
        w: Side = "source" if all(self.same_w[r][:-1]) else state.w
        return Features(r, share, w, state.below and self.features(state.below))

    def rgb(self, state: Rgb) -> Rgb:
        r = state.resolution
        share = 0.0 if r in self.sweep.same_to_rgb else state.share
        w: Side = "source" if self.same_w[r][-1] else state.w
        return Rgb(self.features(state.features), share, w, state.below and self.rgb(state.below))


class _Run:
    """The states of one batch that are still needed.

    Every RGB is read as soon as its features exist, whenever its picture is asked for: RGB is small, features are not.
    """

    def __init__(self, sweep: Sweep, ws: Mapping[Side, Tensor], noise: Noise, wanted: Sequence[Rgb]) -> None:
        self.sweep, self.ws, self.noise = sweep, ws, noise
        self.kept: dict[State, Tensor] = {}
        self.uses: Counter[State] = Counter(wanted)
        self.readers: dict[Features, list[Rgb]] = {}
        seen: set[State] = set()
        queue: list[State] = list(wanted)
        while queue:
            state = queue.pop()
            if state in seen:
                continue
            seen.add(state)
            if isinstance(state, Rgb):
                self.readers.setdefault(state.features, []).append(state)
            inputs = (state.below,) if isinstance(state, Features) else (state.features, state.below)
            queue += [one for one in inputs if one is not None]
            self.uses.update(one for one in inputs if one is not None)

    def rgb(self, state: Rgb) -> Tensor:
        if state not in self.kept:
            self._features(state.features)
        return self.kept[state]

    def release(self, state: State | None) -> None:
        if state is not None:
            self.uses[state] -= 1
            if not self.uses[state]:
                del self.kept[state]

    def _features(self, state: Features) -> Tensor:
        if state in self.kept:
            return self.kept[state]
        synthesis, ws = self._drawer(state)
        x = synthesis.constant(len(ws)) if state.below is None else self._features(state.below)
        block = synthesis.block(state.resolution)
        noise = self.noise[block.first_row : block.first_row + len(block.convs())]
        made = self.kept[state] = block.features(x, ws, noise)
        del x  # the next lines may free it
        self.release(state.below)
        for reader in self.readers.get(state, ()):
            below = None if reader.below is None else self.rgb(reader.below)
            synthesis, ws = self._drawer(reader)
            self.kept[reader] = synthesis.block(state.resolution).add_rgb(made, below, ws)
            self.release(reader.below)
            self.release(state)
        return made

    def _drawer(self, state: State) -> tuple[Synthesis, Tensor]:
        synthesis = self.sweep.generator(state.resolution, state.share).synthesis
        return synthesis, self.ws[state.w][:, self.sweep.rows(state.resolution)]


def inject_features(
    source: Generator,
    target: Generator,
    ws: Mapping[Side, Tensor],
    noise: Noise,
    *,
    at: int,
    low: Side = "source",
    rgb_skip: Side,
) -> Tensor:
    """Draw with one generator up to ``at`` px and let the other go on from its features. No weight changes.

    Args:
        source: the generator that was fine-tuned from.
        target: the fine-tuned generator, same architecture.
        ws: style vectors ``[N, num_ws, w_dim]`` by the generator that reads them; usually of the same z.
        noise: one map per convolution, shared by both.
        at: px; 0 gives the picture of the other generator, the resolution that of ``low``.
        low: who draws the coarse blocks.
        rgb_skip: whose RGB goes on at ``at`` px, see :class:`model.blend.kinds.FeatureExchange`.

    Returns: images ``[N, 3, R, R]``.
    Raises: ValueError for a level that does not exist, another ``low`` or ``rgb_skip``, or two architectures.
    """
    wanted = picture(FeatureExchange("features", low, rgb_skip), at, source.config.resolutions)
    return next(Sweep(source, target).draw([wanted], ws, noise))


def _equal(ours: Sequence[nn.Module], theirs: Sequence[nn.Module]) -> bool:
    pairs = (
        (a, b)
        for one, two in zip(ours, theirs, strict=True)
        for a, b in zip(one.parameters(), two.parameters(), strict=True)
    )
    return all(torch.equal(a, b) for a, b in pairs)
