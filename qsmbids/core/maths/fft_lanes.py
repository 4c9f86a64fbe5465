"""Machine code for sixteen transforms side by side, one in each lane of vector registers.

The butterflies of a transform read and write many streams of the same memory. A compiler that
cannot see that these are apart leaves such a loop scalar, so the vector instructions are written
down here, for LLVM to fit to the processor at hand. All else of a transform are plain loops
(:mod:`qsmbids.core.maths.fft_loops`).

Every function takes flat float32 arrays and offsets into them, and works on :data:`LANES`
neighbours of each.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

__all__ = ["LANES", "RADICES", "butterfly", "join", "move", "pack", "split", "transpose", "unpack"]

#: Transforms side by side.
LANES = 16
_FLOAT, _INT32 = ir.FloatType(), ir.IntType(32)
_VECTOR, _PAIRS = ir.VectorType(_FLOAT, LANES), ir.VectorType(_FLOAT, 2 * LANES)


class _Complex:
    """A vector of complex numbers while code is written for it."""

    def __init__(self, builder: Any, re: Any, im: Any) -> None:
        self.builder, self.re, self.im = builder, re, im

    def _do(self, name: str, a: Any, b: Any) -> Any:
        return getattr(self.builder, name)(a, b, flags=("fast",))

    def __add__(self, other: "_Complex") -> "_Complex":
        re, im = self._do("fadd", self.re, other.re), self._do("fadd", self.im, other.im)
        return _Complex(self.builder, re, im)

    def __sub__(self, other: "_Complex") -> "_Complex":
        re, im = self._do("fsub", self.re, other.re), self._do("fsub", self.im, other.im)
        return _Complex(self.builder, re, im)

    def __rmul__(self, number: float) -> "_Complex":
        factor = ir.Constant(_VECTOR, [ir.Constant(_FLOAT, float(number))] * LANES)
        re, im = self._do("fmul", self.re, factor), self._do("fmul", self.im, factor)
        return _Complex(self.builder, re, im)

    def times(self, re: Any, im: Any) -> "_Complex":
        """Return the product with complex numbers."""
        real = self._do("fsub", self._do("fmul", self.re, re), self._do("fmul", self.im, im))
        imag = self._do("fadd", self._do("fmul", self.re, im), self._do("fmul", self.im, re))
        return _Complex(self.builder, real, imag)

    def over_i(self) -> "_Complex":
        """Return the product with -i."""
        return _Complex(self.builder, self.im, self.builder.fneg(self.re))


def _two(a: list[_Complex]) -> list[_Complex]:
    return [a[0] + a[1], a[0] - a[1]]


def _three(a: list[_Complex]) -> list[_Complex]:
    both, side = a[1] + a[2], math.sin(math.pi / 3) * (a[1] - a[2]).over_i()
    middle = a[0] - 0.5 * both
    return [a[0] + both, middle + side, middle - side]


def _four(a: list[_Complex]) -> list[_Complex]:
    even, even_off = a[0] + a[2], a[0] - a[2]
    odd, odd_off = a[1] + a[3], (a[1] - a[3]).over_i()
    return [even + odd, even_off + odd_off, even - odd, even_off - odd_off]


def _five(a: list[_Complex]) -> list[_Complex]:
    c1, c2, s1, s2 = (f(n * math.pi / 5) for f in (math.cos, math.sin) for n in (2, 4))
    near, far = a[1] + a[4], a[2] + a[3]
    near_off, far_off = (a[1] - a[4]).over_i(), (a[2] - a[3]).over_i()
    first, second = a[0] + c1 * near + c2 * far, a[0] + c2 * near + c1 * far
    side, other = s1 * near_off + s2 * far_off, s2 * near_off - s1 * far_off
    return [a[0] + near + far, first + side, second + other, second - other, first - side]


#: Transforms of so many numbers.
RADICES: dict[int, Callable[[list[_Complex]], list[_Complex]]] = {
    2: _two, 3: _three, 4: _four, 5: _five,
}  # fmt: skip


class _Code:
    """Loads and stores of vectors in the arrays that an intrinsic gets."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> None:
        self.builder = builder
        self.args = [
            context.make_array(kind)(context, builder, arg).data
            if isinstance(kind, types.Array)
            else arg
            for kind, arg in zip(signature.args, args, strict=True)
        ]

    def at(self, array: Any, offset: Any, kind: Any = _VECTOR) -> Any:
        pointer = self.builder.gep(array, [offset])
        return self.builder.bitcast(pointer, kind.as_pointer())

    def load(self, array: Any, offset: Any, kind: Any = _VECTOR) -> Any:
        return self.builder.load(self.at(array, offset, kind), align=4)

    def store(self, value: Any, array: Any, offset: Any, kind: Any = _VECTOR) -> None:
        self.builder.store(value, self.at(array, offset, kind), align=4)

    def step(self, offset: Any, n: int, stride: Any) -> Any:
        """Return offset + n stride."""
        return self.builder.add(offset, self.builder.mul(stride, ir.Constant(stride.type, n)))

    def spread(self, array: Any, offset: Any) -> Any:
        """Return a vector of one number."""
        number = self.builder.load(self.builder.gep(array, [offset]))
        empty = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(empty, number, ir.Constant(_INT32, 0))
        return self.pick(first, empty, [0] * LANES)

    def pick(self, a: Any, b: Any, order: Sequence[int]) -> Any:
        """Return numbers of a, followed by b, in some order."""
        mask = ir.Constant(
            ir.VectorType(_INT32, len(order)), [ir.Constant(_INT32, n) for n in order]
        )
        return self.builder.shuffle_vector(a, b, mask)


def _function(write: Callable[..., None], *kinds: Any) -> Any:
    """Return what numba wants of an intrinsic: the kinds of its arguments, and its code."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Code(context, builder, signature, args)
        write(code, *code.args)
        return context.get_dummy_value()

    return types.void(*kinds), generate


def butterfly(radix: int) -> Any:
    """Return the function that combines ``radix`` numbers, and turns them by powers of a twiddle.

    It reads at i, i + di, ... of (ar, ai) and writes at o, o + do, ... of (br, bi); number n is
    turned by entry n e of (cos, sin).
    """

    def write(code, ar, ai, br, bi, cos, sin, i, di, o, do, e):  # type: ignore[no-untyped-def]
        places = [code.step(i, n, di) for n in range(radix)]
        numbers = [_Complex(code.builder, code.load(ar, p), code.load(ai, p)) for p in places]
        for n, number in enumerate(RADICES[radix](numbers)):
            angle = code.step(ir.Constant(e.type, 0), n, e)
            turned = (
                number.times(code.spread(cos, angle), code.spread(sin, angle)) if n else number
            )
            code.store(turned.re, br, code.step(o, n, do))
            code.store(turned.im, bi, code.step(o, n, do))

    @intrinsic
    def combine(context, ar, ai, br, bi, cos, sin, i, di, o, do, e):  # type: ignore[no-untyped-def]
        return _function(write, ar, ai, br, bi, cos, sin, i, di, o, do, e)

    return combine


@intrinsic
def move(context, source, i, target, o):  # type: ignore[no-untyped-def]
    """Copy sixteen numbers."""

    def write(code, source, i, target, o):  # type: ignore[no-untyped-def]
        code.store(code.load(source, i), target, o)

    return _function(write, source, i, target, o)


@intrinsic
def split(context, spectrum, i, re, im, o):  # type: ignore[no-untyped-def]
    """Write the two parts of sixteen complex numbers, which lie in turn, apart."""

    def write(code, spectrum, i, re, im, o):  # type: ignore[no-untyped-def]
        both = code.load(spectrum, i, _PAIRS)
        for part, target in enumerate((re, im)):
            code.store(code.pick(both, both, range(part, 2 * LANES, 2)), target, o)

    return _function(write, spectrum, i, re, im, o)


@intrinsic
def join(context, re, im, i, spectrum, o):  # type: ignore[no-untyped-def]
    """Write sixteen complex numbers, of which the two parts lie apart."""
    order = [n for lane in range(LANES) for n in (lane, lane + LANES)]

    def write(code, re, im, i, spectrum, o):  # type: ignore[no-untyped-def]
        both = code.pick(code.load(re, i), code.load(im, i), order)
        code.store(both, spectrum, o, _PAIRS)

    return _function(write, re, im, i, spectrum, o)


@intrinsic
def transpose(context, source, i, di, target, o, do):  # type: ignore[no-untyped-def]
    """Write sixteen rows of sixteen numbers, di apart, as columns of rows that are do apart."""

    def write(code, source, i, di, target, o, do):  # type: ignore[no-untyped-def]
        rows = [code.load(source, code.step(i, n, di)) for n in range(LANES)]
        size = LANES // 2
        while size:  # exchange the off-diagonal squares of this size
            low, high = [], []
            for lane in range(LANES):
                off = lane & size
                low.append(lane - size + LANES if off else lane)
                high.append(lane + LANES if off else lane + size)
            for n in range(LANES):
                if not n & size:
                    a, b = rows[n], rows[n + size]
                    rows[n], rows[n + size] = code.pick(a, b, low), code.pick(a, b, high)
            size //= 2
        for n, row in enumerate(rows):
            code.store(row, target, code.step(o, n, do))

    return _function(write, source, i, di, target, o, do)


@intrinsic
def unpack(context, re, im, i, mirrored, ar, ai, br, bi):  # type: ignore[no-untyped-def]
    """Write the spectra of a and b at a frequency, of that of a + ib there and mirrored."""

    def write(code, re, im, i, mirrored, ar, ai, br, bi):  # type: ignore[no-untyped-def]
        there = _Complex(code.builder, code.load(re, i), code.load(im, i))
        back = _Complex(code.builder, code.load(re, mirrored), code.load(im, mirrored))
        both, off = 0.5 * (there + back), 0.5 * (there - back)
        for value, target in ((both.re, ar), (off.im, ai), (both.im, br)):
            code.store(value, target, i)
        code.store(code.builder.fneg(off.re), bi, i)

    return _function(write, re, im, i, mirrored, ar, ai, br, bi)


@intrinsic
def pack(context, ar, ai, br, bi, i, scale, re, im, mirrored):  # type: ignore[no-untyped-def]
    """Write the spectrum of a + ib at a frequency and mirrored, times ``scale[0]``, of theirs."""

    def write(code, ar, ai, br, bi, i, scale, re, im, mirrored):  # type: ignore[no-untyped-def]
        a = _Complex(code.builder, code.load(ar, i), code.load(ai, i))
        b = _Complex(code.builder, code.load(br, i), code.load(bi, i))
        factor = code.spread(scale, ir.Constant(i.type, 0))
        zero = ir.Constant(_VECTOR, [ir.Constant(_FLOAT, 0.0)] * LANES)
        there = _Complex(code.builder, a.re, a.im) - b.over_i()  # a + ib
        a_back = _Complex(code.builder, a.re, code.builder.fneg(a.im))
        b_back = _Complex(code.builder, b.re, code.builder.fneg(b.im))
        for number, place in ((there, i), (a_back - b_back.over_i(), mirrored)):
            scaled = number.times(factor, zero)
            code.store(scaled.re, re, place)
            code.store(scaled.im, im, place)

    return _function(write, ar, ai, br, bi, i, scale, re, im, mirrored)
