"""The accelerator as Verilog text."""

from amaranth.back import verilog
from amaranth.hdl import Value

from ..isa.config import Config
from .core import Core
from .ports import Interface

TOP = "vta"
"""The name of the module."""


def write_verilog(config: Config) -> str:
    """Return the machine as one Verilog file, the same text for the same configuration.

    Its ports are `clk`, `rst` (synchronous), an AXI4 master `m_axi_...`, an AXI4-Lite slave
    `s_axil_...`, `irq`, and `trace_running`, `trace_start`, `trace_end`; see `Core`.
    """
    core = Core(config)
    ports = {
        **_channel("m_axi", core.read),
        **_channel("m_axi", core.write),
        **_channel("s_axil", core.registers),
        "irq": core.interrupt,
        "trace_running": core.running,
        "trace_start": core.starts,
        "trace_end": core.ends,
    }
    return verilog.convert(
        core,
        name=TOP,
        ports={name: (value, None) for name, value in ports.items()},
        emit_src=False,
        strip_internal_attrs=True,
    )


def _channel(prefix: str, interface: Interface) -> dict[str, Value]:
    """Return the signals of a bus by the names of its ports."""
    return {f"{prefix}_{name}": getattr(interface, name) for name in interface.signature.members}
