"""PTX kernels run on NumPy: every thread of a grid at once, as NVIDIA's manual has it.

Warps are put into two parts at random; one goes on to where threads meet, then the other: code in
which a thread relies on another without meeting it gives wrong results. An access outside of
memory or at a wrong alignment, a barrier that not all threads of a block reach, or a
multiplication by a warp that is not whole is an error.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .ptx_memory import Memory
from .ptx_module import Instruction, Kernel
from .ptx_values import Array, compute, dtype

WARP = 32
Indices = NDArray[np.int64]


class Threads:
    """All threads of one launch.

    Parameters
    ----------
    kernel : Kernel
    blocks, threads : int
    arguments : sequence of int
        Addresses in `memory`.
    memory : Memory
    seed : int
        Chooses which warps go first.
    """

    def __init__(
        self,
        kernel: Kernel,
        blocks: int,
        threads: int,
        arguments: Sequence[int],
        memory: Memory,
        seed: int,
    ) -> None:
        assert threads == kernel.threads, f"{kernel.name} has {kernel.threads} threads"
        self.kernel, self.threads, self.count = kernel, threads, blocks * threads
        self.arguments = dict(zip(kernel.parameters, arguments, strict=True))
        self.random = np.random.default_rng(seed)
        number = np.arange(self.count)
        self.special = {
            "%ctaid.x": (number // threads).astype(np.uint32),
            "%tid.x": (number % threads).astype(np.uint32),
        }
        self.registers: dict[str, Array] = {}
        self.memories = {"global": memory}
        self.sizes: dict[str, int] = {}
        for space, many in (("shared", blocks), ("local", self.count)):
            ends = [begin + size for place, begin, size in kernel.arrays.values() if place == space]
            self.sizes[space] = -(-max(ends, default=0) // 16) * 16
            self.memories[space] = Memory(self.sizes[space] * many)
        self.owner = {"shared": number // threads, "local": number}

    def run(self) -> None:
        """Run the kernel to its end."""
        warp = np.arange(self.count) // WARP
        first = self.random.integers(0, 2, int(warp[-1]) + 1).astype(bool)[warp]
        waiting: list[tuple[int, Indices]] = [
            (0, np.flatnonzero(part)) for part in (first, ~first) if part.any()
        ]
        while waiting:
            met: list[tuple[int, Indices]] = []
            for place, threads in waiting:
                met.extend(self.advance(place, threads))
            if met:
                arrived = np.bincount(
                    np.concatenate([threads for _, threads in met]) // self.threads
                )
                assert set(arrived.tolist()) <= {0, self.threads}, (
                    f"{self.kernel.name}: some threads of a block wait for others that never come"
                )
            waiting = met

    def advance(self, place: int, threads: Indices) -> list[tuple[int, Indices]]:
        """Run threads from an instruction on to where they meet others, or to their end."""
        ready = {place: threads}
        met: list[tuple[int, Indices]] = []
        while ready:
            place = min(ready)
            threads = ready.pop(place)
            while True:
                line = self.kernel.code[place]
                here = threads
                if line.guard is not None:
                    register, wanted = line.guard
                    here = threads[self.registers[register][threads] == wanted]
                place += 1
                match line.parts[0]:
                    case "ret" | "exit":
                        threads = np.setdiff1d(threads, here, assume_unique=True)
                    case "bra":
                        target = self.kernel.labels[line.operands[0]]
                        if here.size:
                            ready[target] = _joined(ready.get(target), here)
                        threads = np.setdiff1d(threads, here, assume_unique=True)
                    case "bar" | "barrier":
                        if here.size:
                            met.append((place, here))
                        threads = np.setdiff1d(threads, here, assume_unique=True)
                    case _ if here.size:
                        self.execute(line, here)
                    case _:
                        pass
                if not threads.size:
                    break
                if ready and min(ready) <= place:
                    ready[place] = _joined(ready.get(place), threads)
                    break
        return met

    def execute(self, line: Instruction, threads: Indices) -> None:
        """Run an instruction that neither branches nor waits."""
        name, *modifiers = line.parts
        match name:
            case "ld" if "param" in modifiers:
                value = np.uint64(self.arguments[line.operands[1].strip("[]")])
                self.put(line.operands[0], np.full(threads.size, value), threads)
            case "ld":
                self.load(line, threads)
            case "st":
                self.store(line, threads)
            case "mma":
                self.multiply(line, threads)
            case "mov" if "{" in "".join(line.operands):
                to, source = line.operands
                self.pack(to, source, threads)
            case "mov" | "cvta":
                to, source = line.operands
                self.put(to, self.get(source, threads, modifiers[-1]), threads)
            case _:
                to, *sources = line.operands
                kinds = self.operand_kinds(line.parts, len(sources))
                values = [
                    self.get(source, threads, kind)
                    for source, kind in zip(sources, kinds, strict=True)
                ]
                self.put(to, compute(line.parts, values), threads)

    def pack(self, to: str, source: str, threads: Indices) -> None:
        """Put registers together into one of twice the width, or take one apart."""
        if source.startswith("{"):
            parts = [self.registers[name][threads] for name in _listed(source)]
            wide = np.stack(parts, 1).view(f"u{2 * parts[0].itemsize}").reshape(-1)
            self.put(to, wide, threads)
            return
        wide = self.registers[source][threads]
        for name, part in zip(
            _listed(to), wide.view(f"u{wide.itemsize // 2}").reshape(-1, 2).T, strict=True
        ):
            if name not in ("tmp", "_"):
                self.put(name, part, threads)

    def operand_kinds(self, parts: Sequence[str], count: int) -> list[str]:
        """Return the types as which an instruction's operands are read."""
        kind = parts[-1]
        match parts[0]:
            case "selp":
                return [kind, kind, "pred"]
            case "shl" | "shr":
                return [kind, "u32"]
            case "bfe":
                return [kind, "u32", "u32"]
            case "mad" if "wide" in parts:
                return [kind, kind, f"{kind[0]}{int(kind[1:]) * 2}"]
            case "dp4a":
                return ["b32"] * 3
            case _:
                return [kind] * count

    def get(self, operand: str, threads: Indices, kind: str) -> Array:
        """Return the bits of an operand: a register's, a constant's or an array's address."""
        if operand in self.special:
            return self.special[operand][threads]
        if operand.startswith("%"):
            return self.registers[operand][threads]
        if operand in self.kernel.arrays:
            return np.full(threads.size, self.kernel.arrays[operand][1], np.uint64)
        bits = dtype("u8" if kind == "pred" else f"u{kind[1:]}")
        if re.match(r"0[fd][0-9A-F]+$", operand):
            number = int(operand[2:], 16)
        else:
            number = int(operand, 0) & ((1 << bits.itemsize * 8) - 1)
        found = np.full(threads.size, number, bits)
        return found != 0 if kind == "pred" else found

    def put(self, register: str, value: Array, threads: Indices) -> None:
        """Write a register of these threads; what is too narrow is extended by its sign."""
        name = register.strip("%")
        kind = self.kernel.kinds.get(name.rstrip("0123456789"), "b64")
        held = self.registers.get(register)
        if held is None:
            width = np.dtype(bool) if kind == "pred" else dtype(f"u{kind[1:]}")
            held = self.registers[register] = np.zeros(self.count, width)
        if value.dtype.kind == "f":
            value = value.view(f"u{value.itemsize}")
        held[threads] = value.astype(held.dtype)

    def address(self, operand: str, space: str, threads: Indices) -> Array:
        """Return where [register + constant] is in a memory."""
        base, _, offset = operand.strip("[]").partition("+")
        address = self.get(base, threads, "u64").astype(np.uint64)
        address = (address + np.uint64(int(offset or 0) & ((1 << 64) - 1))).astype(np.int64)
        if space in self.owner:
            size = self.sizes[space]
            assert np.all((address >= 0) & (address < size)), f"{operand} is outside of {space}"
            address = address + self.owner[space][threads] * size
        return address

    def load(self, line: Instruction, threads: Indices) -> None:
        space = line.parts[1]
        kind = dtype(line.parts[-1])
        address = self.address(line.operands[1], space, threads)
        for number, register in enumerate(_listed(line.operands[0])):
            at = address + number * kind.itemsize
            found = self.memories[space].load(at, kind.itemsize, line.text).view(kind)
            self.put(register, found, threads)

    def store(self, line: Instruction, threads: Indices) -> None:
        space = line.parts[1]
        kind = dtype(line.parts[-1])
        address = self.address(line.operands[0], space, threads)
        for number, register in enumerate(_listed(line.operands[1])):
            values = self.get(register, threads, line.parts[-1]).astype(f"u{kind.itemsize}")
            self.memories[space].store(address + number * kind.itemsize, values, line.text)

    def multiply(self, line: Instruction, threads: Indices) -> None:
        """D = A B + C by whole warps: `mma.m16n8k16` of s8, A by rows and B by columns."""
        assert line.parts[1:] == ("sync", "aligned", "m16n8k16", "row", "col",
                                  "s32", "s8", "s8", "s32"), line.text  # fmt: skip
        warps = threads.reshape(-1, WARP) if threads.size % WARP == 0 else threads[:0]
        assert warps.size, f"{line.text} by warps that are not whole"
        assert np.all(warps == warps[:, :1] + np.arange(WARP)), line.text
        assert not np.any(warps[:, 0] % WARP), line.text
        d, a, b, c = (_listed(operand) for operand in line.operands)
        lane = np.arange(WARP)
        group, inner = lane // 4, lane % 4
        count = len(warps)
        left = np.zeros((count, 16, 16), np.int32)
        right = np.zeros((count, 16, 8), np.int32)
        sums = np.zeros((count, 16, 8), np.int32)

        def bytes_of(register: str) -> Array:
            return self.registers[register][warps].view(np.int8).reshape(count, WARP, 4)

        for number, register in enumerate(a):
            for byte in range(4):
                left[:, group + 8 * number, inner * 4 + byte] = bytes_of(register)[..., byte]
        for byte in range(4):
            right[:, inner * 4 + byte, group] = bytes_of(b[0])[..., byte]
        for number, register in enumerate(c):
            values = self.get(register, threads, "b32").view(np.int32).reshape(count, WARP)
            sums[:, group + 8 * (number // 2), inner * 2 + number % 2] = values
        sums += np.matmul(left, right)
        for number, register in enumerate(d):
            found = sums[:, group + 8 * (number // 2), inner * 2 + number % 2]
            self.put(register, found.reshape(-1), threads)


def _listed(operand: str) -> list[str]:
    return [part.strip() for part in operand.strip("{}").split(",")]


def _joined(a: Indices | None, b: Indices) -> Indices:
    return b if a is None else np.union1d(a, b)
