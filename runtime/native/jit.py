"""LLVM inside this process: what the CPU is, and object code linked into memory."""
# pyright: basic
# (llvmlite has no types)

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import NativeError


@dataclass(frozen=True)
class Cpu:
    """A processor and its system, by LLVM's names.

    Attributes
    ----------
    triple : str
        `x86_64-unknown-linux-gnu`.
    name : str
        `znver4`.
    features : str
        What it has and has not: `+avx2,-avx512f,...`.
    """

    triple: str
    name: str
    features: str

    @property
    def architecture(self) -> str:
        """The first part of the triple; one name for each architecture."""
        return architecture_of(self.triple)


def architecture_of(triple: str) -> str:
    """Return the first part of a triple, as `x86_64` or `aarch64` for what has several names."""
    name = triple.partition("-")[0].lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


@functools.cache
def this_cpu() -> Cpu:
    """Return the processor that this process runs on."""
    from llvmlite import binding

    features = binding.get_host_cpu_features().flatten()
    return Cpu(binding.get_process_triple(), binding.get_host_cpu_name(), features)


def target_machine(cpu: Cpu) -> Any:
    """Return LLVM's code generator for this architecture, for position-independent code."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_triple(cpu.triple).create_target_machine(
        cpu=cpu.name, features=cpu.features, opt=3, reloc="pic", codemodel="small"
    )


class Linked:
    """Object code in this process's memory, until closed.

    Each has a linker of its own, so that closing gives all memory back. Of LLVM's linkers it is
    JITLink, which takes least memory, and answers code it cannot link with an error.

    Parameters
    ----------
    object_code : bytes
        As an object file.
    imports : mapping of str to int
        Addresses of what it lacks.
    exports : iterable of str
        The functions wanted.

    Raises
    ------
    NativeError
        When LLVM cannot link it.
    """

    def __init__(
        self, object_code: bytes, imports: Mapping[str, int], exports: Iterable[str]
    ) -> None:
        from llvmlite import binding

        builder = binding.JITLibraryBuilder().add_object_img(object_code)
        for name, where in imports.items():
            builder.import_symbol(name, where)
        exports = tuple(exports)
        for name in exports:
            builder.export_symbol(name)
        self._linker = binding.create_lljit_compiler(
            target_machine(this_cpu()), use_jit_link=True, suppress_errors=True
        )
        try:
            self._library = builder.link(self._linker, "native")
        except RuntimeError as error:
            self._linker.close()
            raise NativeError(f"native code cannot be linked: {error}") from None
        self.addresses: dict[str, int] = {name: self._library[name] for name in exports}

    def close(self) -> None:
        """Give the memory back; may be called again."""
        self.addresses.clear()
        self._library.close()
        self._linker.close()
