"""cli.doctor: what this machine has."""

import json
import sys
from typing import Any

import numpy as np
import pytest
from vtakit.runtime.cuda.gpu import driver_version


def test_what_is_here_is_found(vtakit: Any) -> None:
    found = json.loads(vtakit("doctor", "--json").out)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    packages = {row["name"]: row["found"] for row in found["packages"]}
    assert packages["numpy"] == np.__version__
    engines = {row["name"]: row["found"] for row in found["engines"]}
    assert engines["sim"] == engines["functional"] == "runs"
    assert "verilator" in engines["rtl"]
    assert engines["cpu"].startswith("runs, as code for ")
    assert (engines["cuda"] is None) is (driver_version() is None)


def test_what_is_missing_comes_with_how_to_get_it(
    vtakit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    found = json.loads(vtakit("doctor", "--json").out)
    programs = {row["name"]: row for row in found["programs"]}
    assert programs["make"]["found"] is None
    assert programs["make"]["get"] == "apt install make"
    rtl = next(row for row in found["engines"] if row["name"] == "rtl")
    assert (rtl["found"], rtl["get"]) == (
        None,
        "the rtl engine needs c++, which is not on PATH: apt install g++",
    )
    for section in ("engines", "packages", "programs", "machine"):
        for row in found[section]:
            assert row["found"] or row["get"], row


def test_the_table_shows_the_same(vtakit: Any) -> None:
    out = vtakit("doctor").out
    assert "numpy" in out
    assert np.__version__ in out
    assert "get it: a machine with an NVIDIA GPU and its driver" in out
