"""`vtakit verilog`: a file whole or none, the same for the same machine."""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from vtakit.isa.config import PRESETS

PORTS = {
    "input": {"clk", "rst", "s_axil_awaddr", "s_axil_wdata", "m_axi_rdata", "m_axi_bresp"},
    "output": {"m_axi_araddr", "m_axi_wdata", "m_axi_wstrb", "irq", "trace_start"},
}


def test_the_file_has_the_module_and_its_ports(vtakit: Any, tmp_path: Path) -> None:
    path = tmp_path / "vta.v"
    result = vtakit("verilog", "--config", "tiny", "-o", path, "--json")
    assert result.status == 0
    document = json.loads(result.out)
    text = path.read_bytes()
    assert document["sha256"] == hashlib.sha256(text).hexdigest()
    assert document["config"] == PRESETS["tiny"].to_json()
    top = re.search(r"^module vta\(.*?^endmodule", text.decode(), re.MULTILINE | re.DOTALL)
    assert top
    for direction, names in PORTS.items():
        declared = re.findall(rf"^  {direction} (?:\[\d+:0\] )?(\w+);", top[0], re.MULTILINE)
        assert names <= set(declared)


def test_the_same_machine_gives_the_same_text(vtakit: Any, tmp_path: Path) -> None:
    for name in ("one.v", "two.v"):
        assert vtakit("verilog", "--config", "tiny", "-o", tmp_path / name).status == 0
    assert (tmp_path / "one.v").read_bytes() == (tmp_path / "two.v").read_bytes()


@pytest.mark.parametrize("name", ["tiny", "small", "banked"])
def test_signals_have_names(vtakit: Any, tmp_path: Path, name: str) -> None:
    """But registers that hold a value within an expression, which are numbers."""
    path = tmp_path / "vta.v"
    assert vtakit("verilog", "--config", name, "-o", path).status == 0
    text = path.read_text()
    assert r"\$signal" not in text
    declared = r"^  reg (?:signed )?(?:\[\d+:0\] )?(\S+)"
    registers = re.findall(declared, text, re.MULTILINE)
    assert len(registers) > 200
    inferred = {one for one in registers if re.match(r"\\\$(?!auto)[a-z]", one)}
    assert not inferred


def test_a_folder_that_is_missing_is_named_and_nothing_is_written(
    vtakit: Any, tmp_path: Path
) -> None:
    result = vtakit("verilog", "--config", "tiny", "-o", tmp_path / "none" / "vta.v")
    assert result.status == 2
    assert "none" in result.err
    assert result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_amaranth_it_says_what_to_install(
    vtakit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("vtakit.hw")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amaranth.back", None)
    result = vtakit("verilog", "--config", "tiny", "-o", tmp_path / "vta.v")
    assert result.status == 2
    assert "pip install 'vtakit[hw]'" in result.err
    assert not list(tmp_path.iterdir())
