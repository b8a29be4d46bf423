"""Reference implementations of the signal operators of TensorFlow Lite Micro.

They compute with Python integers, sample by sample, and share no code with the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Pair = tuple[int, int]


def wrapped(number: int, bits: int) -> int:
    """The low bits of a number as a signed number."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def unsigned(number: int, bits: int = 32) -> int:
    return number & ((1 << bits) - 1)


def window(samples: Sequence[int], weights: Sequence[int], shift: int) -> list[int]:
    return [
        max(-(2**15), min(2**15 - 1, s * w >> shift)) for s, w in zip(samples, weights, strict=True)
    ]


def auto_scale(samples: Sequence[int]) -> tuple[list[int], int]:
    loudest = max(abs(s) for s in samples)
    bits = max(0, 15 - (loudest.bit_length() or 32))
    return [wrapped(s << bits, 16) for s in samples], bits


def energy(spectrum: Sequence[Pair]) -> list[int]:
    return [unsigned(real * real + imaginary * imaginary) for real, imaginary in spectrum]


def filter_bank(
    energies: Sequence[int],
    weights: Sequence[int],
    unweights: Sequence[int],
    places: Sequence[tuple[int, int, int]],
) -> list[int]:
    """`places` has (frequency start, weight start, width) per channel, after one extra entry."""
    sums, left = [], 0
    for frequency, weight, width in places:
        total, left = left, 0
        for j in range(width):
            total += weights[weight + j] * energies[frequency + j]
            left += unweights[weight + j] * energies[frequency + j]
        sums.append(unsigned(total, 64))
    return sums[1:]


def square_root(number: int) -> int:
    root = math.isqrt(number)
    largest = 0xFFFF if number < 1 << 32 else 0xFFFFFFFF
    return root + 1 if number - root * root > root and root != largest else root


@dataclass
class Subtraction:
    """Subtraction of an estimate of each channel's noise, which follows the numbers slowly."""

    smoothing: tuple[int, int]  # for even and for odd channels
    least: int
    smoothing_bits: int
    bits: int
    clamping: bool
    noise: list[int] = field(default_factory=list)

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.noise = self.noise or [0] * len(numbers)
        results = []
        for i, number in enumerate(numbers):
            factor = self.smoothing[i % 2]
            scaled = unsigned(number << self.smoothing_bits)
            kept = self.noise[i] * ((1 << self.bits) - factor)
            estimate = unsigned((scaled * factor + kept) >> self.bits)
            self.noise[i] = estimate
            if estimate > scaled:
                estimate = scaled
                if self.clamping:
                    self.noise[i] = scaled
            floor = unsigned(number * self.least >> self.bits)
            results.append(max(scaled - estimate >> self.smoothing_bits, floor))
        return results


def gain(number: int, table: Sequence[int]) -> int:
    if number <= 2:
        return table[number]
    interval = number.bit_length()
    first, second, third = table[4 * interval - 6 : 4 * interval - 3]
    short = interval < 11
    fraction = (number << (11 - interval) if short else number >> (interval - 11)) & 0x3FF
    value = (third * fraction >> 5) + (second << 5)
    value = wrapped(wrapped(value, 32) * fraction, 32)
    return wrapped((value + (1 << 14) >> 15) + first, 16)


def gain_control(
    numbers: Sequence[int], noise: Sequence[int], table: Sequence[int], shift: int
) -> list[int]:
    results = []
    for number, estimate in zip(numbers, noise, strict=True):
        ratio = unsigned(number * unsigned(gain(estimate, table)) >> shift)
        small = ratio < 2 << 12
        results.append(unsigned(ratio * ratio) >> 20 if small else unsigned((ratio >> 6) - 64))
    return results


def logarithm(number: int, scale: int, correction: int) -> int:
    number = unsigned(number << correction)
    if number <= 1:
        return 0
    exponent = number.bit_length() - 1
    rest = number - (1 << exponent)
    fraction = rest << (16 - exponent) if exponent < 16 else rest >> (exponent - 16)
    segment = fraction >> 9
    here, after = (
        round((math.log2(1 + i / 128) - i / 128) * 65536) for i in (segment, segment + 1)
    )
    between = (after - here) * (fraction - (segment << 9)) >> 16
    log2 = (exponent << 16) + fraction + here + between
    natural = unsigned(45426 * log2 + 32768 >> 16)
    return min(unsigned(scale * natural + 32768) >> 16, 2**15 - 1)


# --- streams -------------------------------------------------------------------------------------


@dataclass
class Queue:
    """A circular buffer that behaves like that of the kernels."""

    samples: list[int] = field(default_factory=list)

    def taken(self, count: int, dropped: int) -> list[int] | None:
        """Return the oldest `count` samples, and remove `dropped`; None if there are too few."""
        if len(self.samples) < count:
            return None
        first = self.samples[:count]
        del self.samples[:dropped]
        return first


@dataclass
class Framer:
    """The frames of a row; missing samples are 0."""

    size: int
    step: int
    prefill: bool
    queue: Queue = field(default_factory=Queue)

    def __post_init__(self) -> None:
        if self.prefill:
            self.queue.samples += [0] * (self.size - self.step)

    def __call__(self, samples: Sequence[int]) -> tuple[list[int], bool]:
        frames: list[int] = []
        valid = True
        for start in range(0, len(samples), self.step):
            self.queue.samples += samples[start : start + self.step]
            frame = self.queue.taken(self.size, self.step)
            valid = valid and frame is not None
            frames += frame or [0] * self.size
        return frames, valid


@dataclass
class Stacker:
    """Concatenated frames; zeros as long as there are too few frames."""

    left: int
    right: int
    step: int
    started: bool = False
    queue: Queue = field(default_factory=Queue)

    def __call__(self, frame: Sequence[int]) -> tuple[list[int], bool]:
        self.queue.samples += [*frame] * (1 if self.started else self.left + 1)
        self.started = True
        size = len(frame) * (self.left + self.right + 1)
        stack = self.queue.taken(size, self.step * len(frame))
        return stack or [0] * size, stack is not None


@dataclass
class Delay:
    """The samples of a row, delayed."""

    length: int
    queue: Queue = field(default_factory=Queue)

    def __post_init__(self) -> None:
        self.queue.samples += [0] * self.length

    def __call__(self, samples: Sequence[int]) -> list[int]:
        self.queue.samples += samples
        return self.queue.taken(len(samples), len(samples)) or []


@dataclass
class OverlapAdd:
    """The overlapping frames of a row, added in 16 bits."""

    step: int
    buffer: list[int] = field(default_factory=list)

    def __call__(self, frames: Sequence[Sequence[int]]) -> list[int]:
        results = []
        for frame in frames:
            held = self.buffer or [0] * len(frame)
            sums = [max(-(2**15), min(2**15 - 1, a + b)) for a, b in zip(frame, held, strict=True)]
            results += sums[: self.step]
            self.buffer = sums[self.step :] + [0] * self.step
        return results


# --- KISS FFT ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FixedFft:
    """Fixed-point transforms of real signals; numbers have `bits` bits."""

    bits: int

    def spectrum(self, samples: Sequence[int]) -> list[Pair]:
        half = len(samples) // 2
        mixed = self._transform(list(zip(samples[::2], samples[1::2], strict=True)), half)
        first = self._divided(mixed[0], 2)
        results = [(0, 0)] * (half + 1)
        results[0] = self._kept(first[0] + first[1], 0)
        results[half] = self._kept(first[0] - first[1], 0)
        for k in range(1, half // 2 + 1):
            real, imaginary = mixed[half - k]
            front, back = self._divided(mixed[k], 2), self._kept(real, -imaginary)
            back = self._divided(back, 2)
            f1 = self._kept(front[0] + back[0], front[1] + back[1])
            f2 = self._kept(front[0] - back[0], front[1] - back[1])
            tw = self._product(f2, self._turn(-math.pi * (k / half + 0.5)))
            results[k] = self._half(f1[0] + tw[0], f1[1] + tw[1])
            results[half - k] = self._half(f1[0] - tw[0], tw[1] - f1[1])
        return results

    def signal(self, spectrum: Sequence[Pair]) -> list[int]:
        half = len(spectrum) - 1
        first, last = spectrum[0][0], spectrum[half][0]
        mixed = [self._divided(self._kept(first + last, first - last), 2)] * half
        for k in range(1, half // 2 + 1):
            real, imaginary = spectrum[half - k]
            front = self._divided(spectrum[k], 2)
            back = self._divided(self._kept(real, -imaginary), 2)
            f1 = self._kept(front[0] + back[0], front[1] + back[1])
            f2 = self._kept(front[0] - back[0], front[1] - back[1])
            tw = self._product(f2, self._turn(math.pi * (k / half + 0.5)))
            mixed[k] = self._kept(f1[0] + tw[0], f1[1] + tw[1])
            mixed[half - k] = self._kept(f1[0] - tw[0], tw[1] - f1[1])
        pairs = self._transform(mixed, half, inverse=True)
        return [number for pair in pairs for number in pair]

    def _transform(self, x: list[Pair], whole: int, *, inverse: bool = False) -> list[Pair]:
        if len(x) == 1:
            return x
        radix = 4 if len(x) % 4 == 0 else 2
        parts = [self._transform(x[q::radix], whole, inverse=inverse) for q in range(radix)]
        way = 2 if inverse else -2
        size = len(x) // radix
        results = [(0, 0)] * len(x)
        for k in range(size):
            first, *rest = (self._divided(part[k], radix) for part in parts)
            turned = [
                self._product(v, self._turn(way * math.pi * (k * q * whole // len(x)) / whole))
                for q, v in enumerate(rest, 1)
            ]
            made = self._butterfly(first, turned)
            if inverse:  # the factors turn in the opposite direction
                made[1:] = made[:0:-1]
            for q, value in enumerate(made):
                results[k + q * size] = value
        return results

    def _butterfly(self, a: Pair, turned: list[Pair]) -> list[Pair]:
        if len(turned) == 1:
            (b,) = turned
            return [self._kept(a[0] + b[0], a[1] + b[1]), self._kept(a[0] - b[0], a[1] - b[1])]
        b, c, d = turned
        low, high = self._kept(a[0] + c[0], a[1] + c[1]), self._kept(a[0] - c[0], a[1] - c[1])
        both, apart = self._kept(b[0] + d[0], b[1] + d[1]), self._kept(b[0] - d[0], b[1] - d[1])
        return [
            self._kept(low[0] + both[0], low[1] + both[1]),
            self._kept(high[0] + apart[1], high[1] - apart[0]),
            self._kept(low[0] - both[0], low[1] - both[1]),
            self._kept(high[0] - apart[1], high[1] + apart[0]),
        ]

    def _turn(self, phase: float) -> Pair:
        scale = 2 ** (self.bits - 1) - 1
        return math.floor(0.5 + scale * math.cos(phase)), math.floor(0.5 + scale * math.sin(phase))

    def _kept(self, real: int, imaginary: int) -> Pair:
        return wrapped(real, self.bits), wrapped(imaginary, self.bits)

    def _rounded(self, real: int, imaginary: int) -> Pair:
        half, point = 1 << (self.bits - 2), self.bits - 1
        return self._kept(real + half >> point, imaginary + half >> point)

    def _divided(self, x: Pair, count: int) -> Pair:
        share = (2 ** (self.bits - 1) - 1) // count
        return self._rounded(x[0] * share, x[1] * share)

    def _product(self, x: Pair, y: Pair) -> Pair:
        return self._rounded(x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0])

    def _half(self, real: int, imaginary: int) -> Pair:
        return self._kept(wrapped(real, 32) >> 1, wrapped(imaginary, 32) >> 1)
