"""Small programs in LLVM IR, compiled for this CPU."""

from collections.abc import Callable

import pytest
from llvmlite import binding
from vtakit.runtime.native.code import NativeCode
from vtakit.runtime.native.jit import target_machine, this_cpu

Compile = Callable[..., NativeCode]


@pytest.fixture(scope="session")
def compile_ir() -> Compile:
    """What makes code of LLVM IR and the names of its entries."""

    def compile_ir(text: str, *entries: str) -> NativeCode:
        cpu = this_cpu()
        machine = target_machine(cpu)
        module = binding.parse_assembly(text)
        module.verify()
        return NativeCode(
            object_code=machine.emit_object(module),
            triple=cpu.triple,
            cpu=cpu.name,
            features=cpu.features,
            entries=entries,
            layers=tuple((f"layer of {entry}",) for entry in entries),
        )

    return compile_ir
