"""Machine code as a value, and loaded into this process."""

import weakref
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from . import elf
from .errors import NativeError
from .jit import Cpu, Linked, this_cpu
from .symbols import address

BARRIER = "vtakit_barrier"
"""What code calls to meet the other threads of its team."""

MISSING_SHOWN = 6


@dataclass(frozen=True)
class NativeCode:
    """Object code and what it was made for.

    Attributes
    ----------
    object_code : bytes
        An ELF object file, position independent.
    triple, cpu : str
        The target, as LLVM names it: `x86_64-unknown-linux-gnu`, `znver4`.
    features : str
        Every feature of the CPU that the code may use, as LLVM lists them: `+avx2,+fma,-avx512f`.
    entries : tuple of str
        The functions that a team may run.
    layers : tuple of tuple of str
        Of each entry the layers that it computes, in order.

    Raises
    ------
    NativeError
        When these do not match in number, or two entries have one name.
    """

    object_code: bytes
    triple: str
    cpu: str
    features: str
    entries: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.layers) != len(self.entries):
            raise NativeError(
                f"there are {len(self.entries)} entries and layers of {len(self.layers)}"
            )
        for position, name in enumerate(self.entries):
            if name in self.entries[:position]:
                raise NativeError(f"there are two entries {name!r}")


class LoadedCode:
    """Code in this process's memory, ready to be called, until closed.

    Parameters
    ----------
    code : NativeCode

    Raises
    ------
    NativeError
        When it is for another architecture or a CPU with more features, is damaged, lacks an
        entry, or calls what the runtime does not provide.
    """

    def __init__(self, code: NativeCode) -> None:
        check_target(Cpu(code.triple, code.cpu, code.features), this_cpu())
        symbols = elf.symbols(code.object_code, this_cpu().architecture)
        for name in code.entries:
            if name not in symbols.functions:
                raise NativeError(f"object code has no function {name!r}")
        self.code = code
        self._linked = Linked(
            code.object_code,
            {name: _provided(name) for name in sorted(symbols.undefined)},
            code.entries,
        )
        self._unload = weakref.finalize(self, self._linked.close)
        self._unload.atexit = False  # the process is about to give all memory back

    def address(self, entry: str) -> int:
        """Return where an entry is; a call after `close` would end the process.

        Raises
        ------
        NativeError
            When there is no such entry, or the code is closed.
        """
        if not self._unload.alive:
            raise NativeError(f"the code of {entry!r} is closed")
        if entry not in self._linked.addresses:
            known = ", ".join(self.code.entries)
            raise NativeError(f"there is no entry {entry!r}; there are {known}")
        return self._linked.addresses[entry]

    def close(self) -> None:
        """Give the memory back; nothing may run in it, or will. May be called again."""
        self._unload()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def check_target(made_for: Cpu, here: Cpu) -> None:
    """Check that code for a CPU can run on another one.

    Raises
    ------
    NativeError
        When that has another architecture or lacks a feature.
    """
    if made_for.architecture != here.architecture:
        raise NativeError(
            f"native code is for {made_for.triple}; this process runs {here.architecture}: "
            f"compile again"
        )
    if made_for.architecture not in elf.MACHINES:
        known = ", ".join(elf.MACHINES)
        raise NativeError(
            f"native code cannot be loaded on {made_for.architecture}; only on {known}"
        )
    has = set(here.features.split(","))
    wanted = [name for name in made_for.features.split(",") if name.startswith("+")]
    missing = [name[1:] for name in wanted if name not in has]
    if missing:
        shown = ", ".join(missing[:MISSING_SHOWN])
        more = f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        raise NativeError(
            f"native code is for {made_for.name}; this CPU, {here.name}, lacks {shown}{more}: "
            f"compile again for it"
        )


def _provided(name: str) -> int:
    if name == BARRIER:
        from .team_functions import team_functions

        return team_functions().barrier
    return address(name)
