"""PTX as text taken apart: kernels, their instructions, labels, registers and arrays."""

import re
from dataclasses import dataclass, field

_LABEL = re.compile(r"^(\$?\w+):$")
_OPERANDS = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*")
_DECLARED = re.compile(r"\.reg \.(\w+)\s+%([A-Za-z]+)(<\d+>)?;")
_ARRAY = re.compile(r"\.(shared|local) \.align \d+ \.b8\s+([\w$]+)\[(\d+)\]")
_HALF = re.compile(r"\{ *\.reg \.b(16|32) tmp; *mov\.b\d+ *\{([^}]*)\}, *([^;]*); *\}")
_ENTRY = re.compile(r"\.entry (\w+)\((.*?)\)(.*?)\n\{(.*?)\n\}", re.DOTALL)


@dataclass(frozen=True)
class Instruction:
    """One line: a guard (register, wanted value), the name at its dots, the operands."""

    text: str
    guard: tuple[str, bool] | None
    parts: tuple[str, ...]
    operands: tuple[str, ...]


@dataclass
class Kernel:
    """A kernel of a PTX module."""

    name: str
    parameters: list[str]
    threads: int
    code: list[Instruction] = field(default_factory=list[Instruction])
    labels: dict[str, int] = field(default_factory=dict[str, int])
    kinds: dict[str, str] = field(default_factory=dict[str, str])
    arrays: dict[str, tuple[str, int, int]] = field(default_factory=dict[str, tuple[str, int, int]])
    """Of each array: its memory, where it begins there, and how large it is."""


def kernels(text: str) -> dict[str, Kernel]:
    """Return the kernels of a PTX module by name."""
    return {found[1]: _kernel(found) for found in _ENTRY.finditer(text)}


def _kernel(found: "re.Match[str]") -> Kernel:
    parameters = re.findall(r"\w+_param_\d+", found[2])
    most = re.search(r"\.maxntid (\d+)", found[3])
    assert most, f"{found[1]} does not say how many threads it has"
    kernel = Kernel(found[1], parameters, int(most[1]))
    used = {"shared": 0, "local": 0}
    for line in _lines(found[4]):
        if declared := _DECLARED.match(line):
            kernel.kinds[declared[2]] = declared[1]
        elif array := _ARRAY.match(line):
            begin = -(-used[array[1]] // 16) * 16
            kernel.arrays[array[2]] = array[1], begin, int(array[3])
            used[array[1]] = begin + int(array[3])
        elif label := _LABEL.match(line):
            kernel.labels[label[1]] = len(kernel.code)
        else:
            kernel.code.append(_instruction(line.rstrip(";")))
    return kernel


def _lines(body: str) -> list[str]:
    """Return labels, declarations and instructions, each in one line."""
    found: list[str] = [""]
    body = _HALF.sub(r"mov.b\1 {\2}, \3;", body)
    for line in (part.split("//")[0].strip() for part in body.splitlines()):
        found[-1] += line if not found[-1] else f" {line}"
        if line.endswith((";", ":")):
            found.append("")
    assert not found[-1], found[-1]
    return found[:-1]


def _instruction(line: str) -> Instruction:
    guard = None
    if line.startswith("@"):
        at, line = line.split(None, 1)
        guard = at.lstrip("@!"), "!" not in at
    name, _, rest = line.partition("\t") if "\t" in line else line.partition(" ")
    operands = tuple(part.strip() for part in _OPERANDS.findall(rest))
    return Instruction(line, guard, tuple(name.strip().split(".")), operands)
