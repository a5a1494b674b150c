"""LLVM IR to object code, for this CPU or another."""
# pyright: basic
# (llvmlite has no types)

from typing import Any

from ...runtime.native.jit import Cpu


def object_code(module: Any, cpu: Cpu) -> bytes:
    """Return a module of LLVM IR as an ELF object file, position independent."""
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple(cpu.triple).create_target_machine(
        cpu=cpu.name, features=cpu.features, opt=3, reloc="pic", codemodel="small"
    )
    module.triple = cpu.triple
    module.data_layout = str(machine.target_data)
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_interleaving = False
    options.loop_unrolling = False
    passes = binding.create_pass_builder(machine, options)
    manager = passes.getModulePassManager()
    manager.run(parsed, passes)
    return machine.emit_object(parsed)
