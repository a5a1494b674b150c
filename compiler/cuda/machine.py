"""LLVM IR to PTX, the assembly of NVIDIA GPUs."""
# pyright: basic
# (llvmlite has no types)

from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from ...runtime.cuda.program import CudaError

TRIPLE = "nvptx64-nvidia-cuda"
DEFAULT = "sm_80"
"""The oldest GPU whose tensor cores have `mma.m16n8k16` of int8."""


def assembly(module: Any, architecture: str = DEFAULT) -> str:
    """Return a module of LLVM IR as PTX.

    Raises
    ------
    CudaError
        When it calls functions such as exp and NVIDIA's library of them is not installed.
    """
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple(TRIPLE).create_target_machine(cpu=architecture, opt=3)
    module.triple = TRIPLE
    module.data_layout = str(machine.target_data)
    parsed = binding.parse_assembly(str(module))
    if any(function.name.startswith("__nv_") for function in parsed.functions):
        library = binding.parse_bitcode(_library())
        library.triple, library.data_layout = module.triple, module.data_layout
        own = {f.name for f in parsed.functions if not f.is_declaration}
        parsed.link_in(library)
        for function in parsed.functions:
            if not function.is_declaration and function.name not in own:
                function.linkage = "internal"
    parsed.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    options.slp_vectorization = False
    options.loop_vectorization = False
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_assembly(parsed)


@cache
def _library() -> bytes:
    """Return NVIDIA's functions of floats as bitcode."""
    try:
        found = files("nvidia-nvvm") or []
    except PackageNotFoundError:
        found = []
    for path in found:
        if path.name == "libdevice.10.bc":
            return Path(str(path.locate())).read_bytes()
    raise CudaError(
        "functions such as exp need NVIDIA's libdevice; `pip install 'vtakit[cuda]'` brings it"
    )
