"""The training loop, as an iterator of reports: it prints nothing, tracks nothing and knows no file or method name."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.errors import BudgetError, DivergenceError, UsageError
from model.finetune.technique import Codes, GeneratorPass, Networks, Technique, augmentation_of
from model.networks.generator import BlockOutput
from model.training.augment import AdaController, augment
from model.training.losses import discriminator_loss, generator_loss, path_lengths, r1_penalty
from model.training.parts import Means, adam, descend
from model.training.randomness import stream


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training; they stand in params.yaml."""

    kimg: float  # thousands of real images shown to D in total
    batch: int  # images
    tick_kimg: float  # thousands of images between reports
    lr_g: float  # Adam's learning rate of the generator, before the lazy correction
    lr_d: float  # ... of the discriminator
    r1_gamma: float  # weight of R1; 0 turns it off
    r1_every: int  # batches between R1 steps
    path_weight: float  # weight of path-length regularisation; 0 turns it off
    path_every: int  # batches between path-length steps
    path_shrink: int  # its batch is batch // path_shrink
    path_decay: float  # of the running mean path length
    mixing_prob: float  # share of batches drawn from two z (style mixing)
    ema_kimg: float  # half-life of the averaged generator, thousands of images

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name in TrainConfig.__dataclass_fields__:
            value = getattr(self, name)
            low = 0 if name in {"r1_gamma", "path_weight", "mixing_prob", "path_decay"} else 1e-12
            high = 1 if name in {"mixing_prob", "path_decay"} else math.inf
            if not low <= value <= high:
                raise UsageError(
                    f"train.{name}: found {value}, expected {'0 to' if low == 0 else 'more than 0, up to'} {high}"
                )


@dataclass(frozen=True)
class Report:
    """One tick of the training, averages since the last one."""

    kimg: float  # thousands of images seen
    d_loss: float
    g_loss: float
    technique_loss: float  # what techniques add to the generator's loss
    r1: float  # mean squared gradient norm on real images
    path_length: float  # running mean
    real_sign: float  # mean sign of D on real images, (-1, 1)
    ada_p: float
    seconds_per_kimg: float


class Images(Protocol):
    """Training images: ``[i]`` gives ``[3, R, R]`` in [-1, 1]."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return ``[len(indices), 3, R, R]`` in [-1, 1]."""
        ...


class Trainer:
    """Train ``nets`` on ``images``.

    Args:
        nets: the networks; changed in place.
        images: the training images.
        config: numbers.
        techniques: what makes the method; applied in the given order.
        seed: of every random draw.

    Raises: BudgetError if there are fewer images than one batch; UsageError if a technique does not fit the networks.
    """

    def __init__(
        self, nets: Networks, images: Images, config: TrainConfig, techniques: Sequence[Technique], seed: int
    ) -> None:
        if len(images) < config.batch:
            raise BudgetError(
                f"train.batch: {config.batch} images, but the dataset has {len(images)}; "
                f"lower train.batch or add images"
            )
        self.nets, self.images, self.config, self.techniques, self.seed = nets, images, config, list(techniques), seed
        generator = nets.generator
        for technique in self.techniques:
            technique.check(generator.config.resolution, generator.num_ws)
            technique.freeze(nets)
        asked = augmentation_of(self.techniques, nets)
        self.ada = None if asked is None else AdaController(asked)
        self.g_params = [p for p in generator.parameters() if p.requires_grad]
        self.d_params = [p for p in nets.discriminator.parameters() if p.requires_grad]
        self.g_optimizer = adam(self.g_params, config.lr_g, config.path_every if config.path_weight else 0)
        self.d_optimizer = adam(self.d_params, config.lr_d, config.r1_every if config.r1_gamma else 0)
        self.iteration = 0
        self.stop = False  # set it to end the iteration after the current batch
        self.mean_path = torch.zeros((), device=self.device)
        self.means = Means()
        self._permutation: tuple[int, list[int]] = (-1, [])
        tapped = {r for t in self.techniques for r in t.taps(generator.config.resolutions)}
        self._tapped = sorted(tapped)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.nets.generator.w_avg.device

    @property
    def kimg(self) -> float:
        """Thousands of images seen so far."""
        return self.iteration * self.config.batch / 1000

    @property
    def total_iterations(self) -> int:
        """Batches of the whole training."""
        return max(1, math.ceil(self.config.kimg * 1000 / self.config.batch))

    def __iter__(self) -> Iterator[Report]:
        """Train to the end, one report per tick."""
        per_tick = max(1, round(self.config.tick_kimg * 1000 / self.config.batch))
        begun, first = time.monotonic(), self.iteration
        while self.iteration < self.total_iterations and not self.stop:
            self.step()
            if self.iteration % per_tick == 0 or self.iteration == self.total_iterations:
                elapsed, images = time.monotonic() - begun, (self.iteration - first) * self.config.batch
                yield self._report(elapsed / images * 1000)
                begun, first = time.monotonic(), self.iteration

    def step(self) -> None:
        """Train on one batch."""
        config, i = self.config, self.iteration
        reals = self.real_batch(i)
        self._d_main(reals)
        if config.r1_gamma and i % config.r1_every == 0:
            self._d_r1(reals)
        self._g_main()
        if config.path_weight and i % config.path_every == 0 and all(t.path_length() for t in self.techniques):
            self._g_path()
        self._average()
        self.iteration += 1
        if self.ada is not None:
            self.ada.update(self.iteration, config.batch)

    def real_batch(self, iteration: int) -> Tensor:
        """Return the real images of an iteration: seeded permutations, each image mirrored with probability 1/2."""
        n, batch = len(self.images), self.config.batch
        picked = []
        for position in range(iteration * batch, (iteration + 1) * batch):
            epoch = position // n
            if self._permutation[0] != epoch:
                order = torch.randperm(n, generator=stream(self.seed, "data", epoch))
                self._permutation = (epoch, order.tolist())
            picked.append(self._permutation[1][position % n])
        reals = self.images.batch(picked).to(self.device)
        mirrored = torch.rand(batch, generator=stream(self.seed, "mirror", iteration)).to(self.device) < 0.5
        return torch.where(mirrored[:, None, None, None], reals.flip(3), reals)

    def make_pass(self, purpose: str, n: int) -> GeneratorPass:
        """Draw z, mixing crossover and noise for ``n`` images and apply the techniques' styles."""
        nets, random = self.nets, stream(self.seed, purpose, self.iteration)
        generator = nets.generator
        z = torch.randn(2, n, generator.config.z_dim, generator=random).to(self.device)
        mixed = float(torch.rand((), generator=random)) < self.config.mixing_prob
        crossover = int(torch.randint(1, generator.num_ws, (), generator=random)) if mixed else generator.num_ws
        noise = generator.synthesis.random_noise(n, random)
        used = z.unbind() if mixed else z[:1].unbind()

        def make_source() -> tuple[Tensor, ...]:
            with torch.no_grad():
                source = nets.loaded_source("a technique")
                return tuple(source.mapping(code) for code in used)

        target = tuple(generator.mapping(code) for code in used)
        codes = Codes(purpose, target, make_source, crossover, generator.num_ws, random)
        made = GeneratorPass(codes.ws, noise, {}, codes)
        for technique in self.techniques:
            made.ws = technique.styles(made.ws, codes)
        return made

    def render(self, step: GeneratorPass) -> Tensor:
        """Run the synthesis of a pass, keeping the block outputs that techniques asked for."""
        out: BlockOutput | None = None
        for out in self.nets.generator.synthesis.walk(step.ws, step.noise):
            if out.resolution in self._tapped:
                step.outputs[out.resolution] = out
        assert out is not None
        return out.rgb

    def logits(self, images: Tensor, purpose: str) -> Tensor:
        """Run D on (augmented) images."""
        if self.ada is not None and self.ada.p > 0:
            random = stream(self.seed, f"augment/{purpose}", self.iteration)
            images = augment(images, self.ada.p, random, allowed=self.ada.transforms)
        logits: Tensor = self.nets.discriminator(images)
        return logits

    def _d_main(self, reals: Tensor) -> None:
        self._train_discriminator(True)
        with torch.no_grad():
            fakes = self.render(self.make_pass("d", len(reals)))
        fake_logits, real_logits = self.logits(fakes, "d/fake"), self.logits(reals, "d/real")
        loss = discriminator_loss(real_logits, fake_logits)
        descend(self.d_optimizer, loss)
        self.means.add("d_loss", loss)
        self.means.add("real_sign", real_logits.sign().mean())
        if self.ada is not None:
            self.ada.observe(real_logits.detach())

    def _d_r1(self, reals: Tensor) -> None:
        images = reals.detach().requires_grad_(True)
        penalty = r1_penalty(self.logits(images, "r1"), images)
        descend(self.d_optimizer, penalty * (self.config.r1_gamma / 2 * self.config.r1_every))
        self.means.add("r1", penalty)

    def _g_main(self) -> None:
        self._train_discriminator(False)
        step = self.make_pass("g", self.config.batch)
        loss = generator_loss(self.logits(self.render(step), "g"))
        self.means.add("g_loss", loss)
        for technique in self.techniques:
            extra = technique.generator_loss(self.nets, step)
            if extra is not None:
                self.means.add("technique_loss", extra)
                loss = loss + extra
        descend(self.g_optimizer, loss)

    def _g_path(self) -> None:
        config = self.config
        n = max(1, config.batch // config.path_shrink)
        step = self.make_pass("path", n)
        if not step.ws.requires_grad:
            step.ws = step.ws.detach().requires_grad_(
                True
            )  # a frozen mapping network: lengths are still measured at ws
        images = self.render(step)
        noise = torch.randn(images.shape, generator=stream(self.seed, "path/pixels", self.iteration)).to(images)
        lengths = path_lengths(images, step.ws, noise)
        with torch.no_grad():
            self.mean_path.lerp_(lengths.mean(), config.path_decay)
        penalty = (lengths - self.mean_path).square().mean()
        descend(self.g_optimizer, penalty * (config.path_weight * config.path_every))

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average towards the generator, one fused call; equal tensors stay bit-identical."""
        beta = 0.5 ** (self.config.batch / (self.config.ema_kimg * 1000))
        average: list[Tensor] = [
            e
            for e, p in zip(self.nets.ema.parameters(), self.nets.generator.parameters(), strict=True)
            if p.requires_grad
        ]
        torch._foreach_lerp_(average, list[Tensor](self.g_params), 1 - beta)

    def _train_discriminator(self, on: bool) -> None:
        for parameter in self.d_params:
            parameter.requires_grad_(on)

    def _report(self, seconds_per_kimg: float) -> Report:
        take = self.means.take
        report = Report(
            kimg=self.kimg, d_loss=take("d_loss"), g_loss=take("g_loss"), technique_loss=take("technique_loss"),
            r1=take("r1"), path_length=float(self.mean_path), real_sign=take("real_sign"),
            ada_p=self.ada.p if self.ada else 0.0, seconds_per_kimg=seconds_per_kimg,
        )  # fmt: skip
        if not all(math.isfinite(value) for value in asdict(report).values()):
            raise DivergenceError(
                f"training diverged at {report.kimg:.1f} kimg: {report}; "
                f"lower train.lr_g and train.lr_d, or raise train.r1_gamma"
            )
        return report
