"""The training loop, as an iterator of reports: it prints nothing, tracks nothing and knows no file or method name."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.errors import DivergenceError
from model.finetune.technique import GeneratorPass, Networks, Technique, augmentation_of
from model.networks.generator import BlockOutput
from model.training.augment import AdaController, augment
from model.training.config import Report, TrainConfig
from model.training.losses import fake_loss, generator_loss, path_lengths, r1_penalty, real_loss
from model.training.parts import Means, adam, descend
from model.training.passes import Draws, draw, make_pass
from model.training.randomness import stream
from model.training.reals import Images, Reals
from model.training.shares import Share, grouped_shares, plain_shares
from model.training.world import ALONE, World

CHECK_EVERY = 16  # batches between looks for numbers that are not finite
COOL_KIMG = 4.0  # thousands of images that train at half the learning rate after a rollback


class Trainer:
    """Train ``nets`` on ``images``.

    Args:
        nets: the networks; changed in place.
        images: the training images.
        config: numbers.
        techniques: what makes the method; applied in the given order.
        seed: of every random draw.
        world: the processes that train together; all make the same calls.

    Raises: BudgetError if there are fewer images than one batch; UsageError if a technique does not fit the networks,
        or the batch cannot be shared by the processes.
    """

    def __init__(
        self, nets: Networks, images: Images, config: TrainConfig, techniques: Sequence[Technique], seed: int,
        world: World = ALONE,
    ) -> None:  # fmt: skip
        self.nets, self.config, self.techniques, self.seed, self.world = nets, config, list(techniques), seed, world
        self.reals = Reals(images, config.batch, self._stream)
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
        self._rates = [o.param_groups[0]["lr"] for o in (self.g_optimizer, self.d_optimizer)]
        self.iteration = 0
        self.rollbacks = 0  # times that the training went back because its numbers were not finite
        self.cool_until = 0  # iteration until which it trains at half the learning rate
        self.stop = False  # set it to end the iteration after the current batch
        self.mean_path = torch.zeros((), device=self.device)
        self.means = Means()
        self._tapped = sorted({r for t in self.techniques for r in t.taps(generator.config.resolutions)})
        self.accumulate = 1
        self.take_in_parts(1)

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

    def take_in_parts(self, parts: int) -> None:
        """Let this process take its share of every batch in ``parts`` steps of less memory (gradient accumulation).

        Results stay the same but for rounding.

        Raises: UsageError, changing nothing, if the batch cannot be shared like that.
        """
        count, rank = self.world.size * parts, self.world.rank
        mine = slice(rank * parts, (rank + 1) * parts)
        shares, path_shares = grouped_shares(self.config.batch, count), plain_shares(self.config.path_batch, count)
        self.accumulate, self.shares, self.path_shares = parts, shares[mine], path_shares[mine]

    def go_back(self, rollbacks: int) -> None:
        """Go on, from the state just loaded, on other draws and for a while more slowly: what led here was fatal."""
        self.rollbacks = rollbacks
        self.reals.forget()
        self.cool_until = self.iteration + math.ceil(COOL_KIMG * 1000 / self.config.batch)

    def __iter__(self) -> Iterator[Report]:
        """Train to the end, one report per tick.

        Raises: DivergenceError, in every process at once, soon after numbers stop being finite.
        """
        per_tick = max(1, round(self.config.tick_kimg * 1000 / self.config.batch))
        begun, first, tick = time.monotonic(), self.iteration, True
        while self.iteration < self.total_iterations and not self._halted(tick):
            self.step()
            tick = self.iteration % per_tick == 0 or self.iteration == self.total_iterations
            if tick or self.iteration % CHECK_EVERY == 0:
                self.check_finite()
            if tick:
                elapsed, images = time.monotonic() - begun, (self.iteration - first) * self.config.batch
                yield self._report(elapsed / images * 1000)
                begun, first = time.monotonic(), self.iteration

    def _halted(self, tick: bool) -> bool:
        """Say whether to end before the next batch; several processes look together, and on GPUs not every time."""
        if self.world.size > 1:
            if not (tick or self.device.type == "cpu" or self.iteration % CHECK_EVERY == 0):
                return False
            self.stop = self.world.any(self.stop, self.device)
        return self.stop

    def check_finite(self) -> None:
        """Raise DivergenceError if a loss was not finite in any process since the last report."""
        if self.world.any(not (self.means.finite() and self.mean_path.isfinite()), self.device):
            raise DivergenceError(
                f"training diverged before {self.kimg:.1f} kimg (a loss is not a finite number); "
                f"lower train.lr_g and train.lr_d, or raise train.r1_gamma"
            )

    def step(self) -> None:
        """Train on one batch."""
        config, i = self.config, self.iteration
        slowly = 0.5 if i < self.cool_until else 1.0
        for optimizer, rate in zip((self.g_optimizer, self.d_optimizer), self._rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * slowly
        reals = self.reals.batch(i, self.shares, self.nets.generator.w_avg)
        self._d_main(reals)
        if config.r1_gamma and i % config.r1_every == 0:
            self._d_r1(reals)
        self._g_main()
        if config.path_weight and i % config.path_every == 0 and all(t.path_length() for t in self.techniques):
            self._g_path()
        self._average()
        self.iteration += 1
        if self.ada is not None:
            self.ada.update(self.iteration, config.batch, self.world)

    def draw(self, purpose: str, n: int) -> Draws:
        """Draw what generating a whole batch of ``n`` images takes."""
        random = self._stream(purpose, self.iteration)
        texture = self._stream(f"{purpose}/noise", self.iteration, on_device=True)
        return draw(self.nets.generator, n, self.config.mixing_prob, purpose, random, texture)

    def make_pass(self, draws: Draws) -> GeneratorPass:
        """Map codes to style vectors, techniques applied."""
        return make_pass(self.nets, self.techniques, draws)

    def render(self, step: GeneratorPass) -> Tensor:
        """Run the synthesis of a pass, keeping the block outputs that techniques asked for."""
        out: BlockOutput | None = None
        for out in self.nets.generator.synthesis.walk(step.ws, step.noise):
            if out.resolution in self._tapped:
                step.outputs[out.resolution] = out
        assert out is not None
        return out.rgb

    def logits(self, images: Tensor, purpose: str, share: Share) -> Tensor:
        """Run D on (augmented) images, a share of the batch."""
        if self.ada is not None and self.ada.p > 0:
            random = self._stream(f"augment/{purpose}", self.iteration)
            images = augment(images, self.ada.p, random, allowed=self.ada.transforms, share=share)
        logits: Tensor = self.nets.discriminator(images)
        return logits

    def _stream(self, purpose: str, index: int, *, on_device: bool = False) -> torch.Generator:
        again = f"/again-{self.rollbacks}" if self.rollbacks else ""
        return stream(self.seed, purpose + again, index, self.device if on_device else "cpu")

    def _d_main(self, reals: Sequence[Tensor]) -> None:
        self._train_discriminator(True)
        draws = self.draw("d", self.config.batch)

        def losses(number: int, share: Share) -> Iterator[Tensor]:
            logits = self.logits(reals[number], "d/real", share)
            self.means.add("real_sign", logits.sign().mean())
            if self.ada is not None:
                self.ada.observe(logits)
            loss = real_loss(logits)
            self.means.add("d_real", loss)
            yield loss
            with torch.no_grad():
                fakes = self.render(self.make_pass(draws.of(share)))
            loss = fake_loss(self.logits(fakes, "d/fake", share))
            self.means.add("d_fake", loss)
            yield loss

        descend(self.d_optimizer, self.shares, losses, self.world)

    def _d_r1(self, reals: Sequence[Tensor]) -> None:
        def losses(number: int, share: Share) -> Iterator[Tensor]:
            images = reals[number].detach().requires_grad_(True)
            penalty = r1_penalty(self.logits(images, "r1", share), images)
            self.means.add("r1", penalty)
            yield penalty * (self.config.r1_gamma / 2 * self.config.r1_every)

        descend(self.d_optimizer, self.shares, losses, self.world)

    def _g_main(self) -> None:
        self._train_discriminator(False)
        draws = self.draw("g", self.config.batch)

        def losses(number: int, share: Share) -> Iterator[Tensor]:
            step = self.make_pass(draws.of(share))
            loss = generator_loss(self.logits(self.render(step), "g", share))
            self.means.add("g_loss", loss)
            for technique in self.techniques:
                extra = technique.generator_loss(self.nets, step)
                if extra is not None:
                    self.means.add("technique_loss", extra)
                    loss = loss + extra
            yield loss

        descend(self.g_optimizer, self.shares, losses, self.world)

    def _g_path(self) -> None:
        """Regularise path lengths towards their running mean *before* this batch.

        The published code compares with the mean one hundredth of the way further, after it; that needs the lengths
        of the whole batch before the first of its shares can be differentiated.
        """
        config, total = self.config, torch.zeros_like(self.mean_path)
        draws = self.draw("path", config.path_batch)
        size = self.nets.generator.config.resolution
        pixels = self._stream("path/pixels", self.iteration, on_device=True)
        noise = torch.randn(config.path_batch, 3, size, size, generator=pixels, device=self.device)

        def losses(number: int, share: Share) -> Iterator[Tensor]:
            step = self.make_pass(draws.of(share))
            if not step.ws.requires_grad:  # a frozen mapping network: lengths are still measured at ws
                step.ws = step.ws.detach().requires_grad_(True)
            images = self.render(step)
            lengths = path_lengths(images, step.ws, share.take(noise).to(images))
            total.add_(lengths.detach().mean() * share.weight)
            yield (lengths - self.mean_path).square().mean() * (config.path_weight * config.path_every)

        descend(self.g_optimizer, self.path_shares, losses, self.world)
        self.mean_path.lerp_(self.world.sum(total), config.path_decay)

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
        means = self.means.gather(self.world)
        return Report(
            kimg=self.kimg, d_loss=means["d_real"] + means["d_fake"], g_loss=means["g_loss"],
            technique_loss=means.get("technique_loss", 0.0), r1=means.get("r1", 0.0), path_length=float(self.mean_path),
            real_sign=means["real_sign"], ada_p=self.ada.p if self.ada else 0.0, seconds_per_kimg=seconds_per_kimg,
        )  # fmt: skip
