"""What compiled twins of the element-wise ops could bring to a training iteration; they bring too little to keep.

    python -m benchmarks.twins --repeats 15

Builds a C++ epilogue (demodulation, noise, bias, leaky ReLU in one pass; its backward in one
pass), and times it against the pure ops at every layer of the 64 px configuration. The result is
set against the D and G phases of ``train_step.py`` in the same process. Needs g++. One thread, processor time, minimum.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.train_step import CONFIGS, Side, processor_seconds
from model.ops.fir import low_pass
from model.ops.memory import keep_freed_memory

SOURCE = """
#include <cstring>
extern "C" void forward(const float* __restrict x, const float* __restrict scale, const float* __restrict noise,
                        const float* __restrict bias, float* __restrict y, long N, long P, long C) {
  for (long n = 0; n < N; n++) for (long p = n * P; p < (n + 1) * P; p++) {
    const float *a = x + p * C, *s = scale + n * C; float *o = y + p * C, z = noise[p];
    for (long c = 0; c < C; c++) { float v = a[c] * s[c] + (bias[c] + z); o[c] = v > 0.f ? v : 0.2f * v; }
  }
}
// Gradient by x, and three sums [N, C] from which those by scale, bias and strength follow.
extern "C" void backward(const float* __restrict g, const float* __restrict y, const float* __restrict scale,
                         const float* __restrict noise, float* __restrict gx, float* sums, long N, long P, long C) {
  for (long n = 0; n < N; n++) {
    float a[1024] = {0}, b[1024] = {0}, d[1024] = {0};
    for (long p = n * P; p < (n + 1) * P; p++) {
      const float *G = g + p * C, *Y = y + p * C, *s = scale + n * C; float *X = gx + p * C, z = noise[p];
      for (long c = 0; c < C; c++) {
        float q = Y[c] > 0.f ? G[c] : 0.2f * G[c];
        a[c] += G[c] * Y[c]; b[c] += q; d[c] += q * z; X[c] = q * s[c];
      }
    }
    std::memcpy(sums + n * C, a, 4 * C); std::memcpy(sums + (N + n) * C, b, 4 * C);
    std::memcpy(sums + (2 * N + n) * C, d, 4 * C);
  }
}
"""


def build() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "twins.cpp", Path(folder) / "twins.so"
        source.write_text(SOURCE)
        flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
        subprocess.run(["g++", *flags, str(source), "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


def fastest(work: Callable[[], object], repeats: int) -> float:
    work()
    return min(processor_seconds(work) for _ in range(repeats))


def pure(x: Tensor, scale: Tensor, noise: Tensor, bias: Tensor, strength: Tensor) -> Tensor:
    """The chain of ``ModulatedConv.forward``."""
    x = torch.addcmul(bias[None, :, None, None], x, scale[:, :, None, None])
    return F.leaky_relu(x + noise * strength, 0.2, inplace=True)


class Layer:
    """One layer's epilogue, pure and compiled, on random features ``[n, channels, size, size]``."""

    def __init__(self, library: ctypes.CDLL, n: int, channels: int, size: int) -> None:
        self.library, self.shape = library, (n, size * size, channels)
        order = {"memory_format": torch.channels_last}
        self.x, self.gradient = (torch.randn(n, channels, size, size).contiguous(**order) for _ in range(2))
        self.scale, self.bias = torch.rand(n, channels) + 0.5, torch.randn(channels)
        self.noise, self.strength = torch.randn(n, 1, size, size), torch.tensor(1.0)
        self.y = self.compiled_forward()
        torch.testing.assert_close(self.y, self.pure_forward(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(self.compiled_backward(), self.pure_both()[0], rtol=1e-5, atol=1e-5)

    def call(self, name: str, *tensors: Tensor) -> None:
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in tensors]
        getattr(self.library, name)(*pointers, *(ctypes.c_long(size) for size in self.shape))

    def pure_forward(self) -> Tensor:
        return pure(self.x, self.scale, self.noise, self.bias, self.strength)

    def pure_both(self) -> tuple[Tensor, ...]:
        inputs = [t.detach().requires_grad_() for t in (self.x, self.scale, self.bias, self.strength)]
        y = pure(inputs[0], inputs[1], self.noise, inputs[2], inputs[3])
        return torch.autograd.grad(y, inputs, self.gradient)

    def compiled_forward(self) -> Tensor:
        y = torch.empty_like(self.x)
        self.call("forward", self.x, self.scale, self.noise, self.bias, y)
        return y

    def compiled_backward(self) -> Tensor:
        by_x, sums = torch.empty_like(self.x), torch.empty(3, self.shape[0], self.shape[2])
        self.call("backward", self.gradient, self.y, self.scale, self.noise, by_x, sums)
        return by_x


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    keep_freed_memory()
    library, config = build(), CONFIGS["64"]
    side = Side("ours", config)
    phases = {name: fastest(side.phases()[name], repeats) for name in ("d", "g")}
    saved, whole, filters = {"d": 0.0, "g": 0.0}, {"d": 0.0, "g": 0.0}, 0.0
    print("| px | channels | pure forward, ms | compiled | pure forward and backward | compiled | filter alone |")
    print("|---|---|---|---|---|---|---|")
    for conv in side.g.synthesis.convs():
        size, channels = conv.noise_const.shape[-1], conv.weight.shape[0]
        layer = Layer(library, config.batch, channels, size)
        forward, both = fastest(layer.pure_forward, repeats), fastest(layer.pure_both, repeats)
        fast = fastest(layer.compiled_forward, repeats)
        fast_both = fast + fastest(layer.compiled_backward, repeats)
        filtered = fastest(lambda x=layer.x: low_pass(x, 2, gain=4.0), repeats) if conv.up else 0.0
        filters += 2 * filtered
        for phase, (now, then) in {"d": (forward, fast), "g": (both, fast_both)}.items():
            saved[phase] += now - then
            whole[phase] += now
        row = (forward, fast, both, fast_both, filtered)
        print(f"| {size} | {channels} | " + " | ".join(f"{1e3 * value:.2f}" for value in row) + " |")
    total, gain = sum(phases.values()), sum(saved.values())
    print(f"\nD + G: {total:.3f} s; the twins save {gain:.4f} s of it: x{total / (total - gain):.3f}")
    free = sum(whole.values()) + filters
    print(f"Were these epilogues and the generator's filters free: x{total / (total - free):.3f}")


if __name__ == "__main__":
    main()
