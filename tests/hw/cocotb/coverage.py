"""What programs on the simulated core have come by: the bins, how often each was hit, the table."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from vtakit.isa.instructions import Alu, AluOp, Gemm, Instruction, Load, Memory, Unit

TOKENS = ("pop_prev", "pop_next", "push_prev", "push_next")
PADS = ("none", "x", "y", "both")
CHANNELS = ("AR", "R", "AW", "W", "B")
PRESSURES = ("none", *CHANNELS)
LOADED = tuple(memory for memory in Memory if memory is not Memory.OUT)
_LOADS = {f"LOAD {memory.name}": memory for memory in LOADED}
KINDS = (
    *_LOADS,
    "STORE",
    "GEMM",
    "GEMM reset",
    *(f"{operation.name} {operand}" for operation in AluOp for operand in ("imm", "tensor")),
    "FINISH",
)


@dataclass(frozen=True, order=True)
class Bin:
    """An instruction as it ran: its kind, its pads, its token flags, how the bus was kept waiting.

    `tokens` names the flags that are set, in the order of `TOKENS`, or is "none".
    """

    kind: str
    pads: str
    tokens: str
    pressure: str

    def __str__(self) -> str:
        return "|".join(getattr(self, field.name) for field in fields(self))

    @classmethod
    def parse(cls, text: str) -> "Bin":
        """Read what `str` gave."""
        return cls(*text.split("|"))


def kind_of(insn: Instruction) -> str:
    """Return the kind of an instruction."""
    match insn:
        case Load():
            return f"LOAD {insn.memory.name}"
        case Gemm():
            return "GEMM reset" if insn.reset else "GEMM"
        case Alu():
            return f"{insn.alu_opcode.name} {'imm' if insn.use_imm else 'tensor'}"
        case _:
            return insn.opcode.name


def pads_of(insn: Instruction) -> str:
    """Return which pads an instruction has."""
    if not isinstance(insn, Load):
        return "none"
    x, y = insn.x_pad_0 + insn.x_pad_1, insn.y_pad_0 + insn.y_pad_1
    return PADS[bool(x) + 2 * bool(y)]


def tokens_of(insn: Instruction) -> str:
    """Return which token flags an instruction has."""
    return _join(flag for flag in TOKENS if getattr(insn, flag))


def pads_for(kind: str) -> tuple[str, ...]:
    """Return the pads that a kind can have."""
    return PADS if kind in _LOADS else PADS[:1]


def tokens_for(kind: str) -> list[str]:
    """Return the patterns of token flags that a kind can have: its unit's neighbours decide."""
    unit = unit_of(kind)
    flags = [
        flag
        for flag in TOKENS
        if not (unit is Unit.LOAD and flag.endswith("prev"))
        and not (unit is Unit.STORE and flag.endswith("next"))
    ]
    return [
        _join(flag for i, flag in enumerate(flags) if pattern >> i & 1)
        for pattern in range(1 << len(flags))
    ]


def unit_of(kind: str) -> Unit:
    """Return the unit that executes a kind."""
    if _LOADS.get(kind) in (Memory.INP, Memory.WGT):
        return Unit.LOAD
    return Unit.STORE if kind == "STORE" else Unit.COMPUTE


def all_bins() -> Iterator[Bin]:
    """Give every bin that there is."""
    for kind in KINDS:
        for pads in pads_for(kind):
            for tokens in tokens_for(kind):
                for pressure in PRESSURES:
                    yield Bin(kind, pads, tokens, pressure)


def _join(flags: Iterable[str]) -> str:
    return " ".join(flags) or "none"


class Coverage:
    """How often each bin was hit."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(all_bins(), 0)
        self._projections: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}

    def add(self, insns: Iterable[Instruction], pressures: Iterable[str]) -> None:
        """Count the instructions of a program that ran under these kinds of back-pressure."""
        pressures = list(pressures)
        for insn in insns:
            kind, pads, tokens = kind_of(insn), pads_of(insn), tokens_of(insn)
            for pressure in pressures:
                self._count(Bin(kind, pads, tokens, pressure), 1)

    def update(self, counts: Mapping[str, int]) -> None:
        """Add what another one's `to_json` gave."""
        for text, count in counts.items():
            self._count(Bin.parse(text), count)

    def to_json(self) -> dict[str, int]:
        """Return the hits by bin, without those that were not hit."""
        return {str(one): count for one, count in self.counts.items() if count}

    def along(self, *axes: str) -> Mapping[tuple[str, ...], int]:
        """Return the hits by the values of some fields of a bin; of all that there are."""
        if axes not in self._projections:
            self._projections[axes] = {}
            for one, count in self.counts.items():
                self._project(axes, one, count)
        return self._projections[axes]

    def _count(self, one: Bin, count: int) -> None:
        self.counts[one] += count
        for axes in self._projections:
            self._project(axes, one, count)

    def _project(self, axes: tuple[str, ...], one: Bin, count: int) -> None:
        hits, values = self._projections[axes], tuple(getattr(one, axis) for axis in axes)
        hits[values] = hits.get(values, 0) + count

    def flags(self) -> dict[str, int]:
        """Return hits by token flag."""
        patterns = self.along("tokens")
        return {
            flag: sum(count for (pattern,), count in patterns.items() if flag in pattern.split())
            for flag in TOKENS
        }

    def missed(self, *axes: str) -> list[str]:
        """Return the values of some fields of which no bin was hit."""
        return [" / ".join(values) for values, count in self.along(*axes).items() if not count]

    def summary(self) -> list[str]:
        """Return a line for each of some projections of the bins: how many were hit, and misses."""
        lines: list[str] = []
        for axes in _PROJECTIONS:
            total, missed = len(self.along(*axes)), self.missed(*axes)
            shown = ", ".join(missed[:4]) + (", ..." if len(missed) > 4 else "")
            line = f"{' x '.join(axes)}: {total - len(missed)} of {total} bins hit"
            lines.append(f"{line}; not {shown}" if missed else line)
        return lines

    def table(self) -> str:
        """Return the table: hits by kind and each other field, and what was missed."""
        lines = ["# Instructions run on the simulated core, by what is special about them", ""]
        lines += self.summary()
        for axis, values in (
            ("pads", PADS),
            ("pressure", PRESSURES),
            ("tokens", tokens_for("GEMM")),
        ):
            hits = self.along("kind", axis)
            width = max(map(len, KINDS))
            lines += ["", f"{axis}: {', '.join(f'[{i}] {v}' for i, v in enumerate(values))}", ""]
            head = "".join(f"{f'[{i}]':>7}" for i in range(len(values)))
            lines.append(f"{'kind':{width}}{head}")
            for kind in KINDS:
                cells = (hits.get((kind, value), "-") for value in values)
                lines.append(f"{kind:{width}}" + "".join(f"{cell:>7}" for cell in cells))
        missed = [str(one) for one in all_bins() if not self.counts[one]]
        lines += ["", f"not hit, kind|pads|tokens|pressure: {len(missed)}", *missed, ""]
        return "\n".join(lines)


_PROJECTIONS = (
    ("kind", "pads"),
    ("kind", "tokens"),
    ("kind", "pressure"),
    ("kind", "pads", "tokens", "pressure"),
)
