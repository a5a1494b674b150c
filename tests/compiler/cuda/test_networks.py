"""Whole networks for GPUs: kernels assemble, and compute on NumPy what the reference does."""

from pathlib import Path

import pytest

from ..networks import KINDS
from .assembler import assemble
from .networks import check, program

SMALL = ("digits", "lenet5", "mlp", "resnet8")
LARGE = ("mobilenetv2", "resnet18")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_small_networks_compute_what_the_reference_does(name: str, kind: str, folder: Path) -> None:
    check(name, kind, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LARGE)
def test_large_networks_compute_what_the_reference_does(name: str, kind: str, folder: Path) -> None:
    check(name, kind, folder)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL + LARGE)
def test_every_kernel_assembles(name: str, kind: str, architecture: str, folder: Path) -> None:
    made = program(name, kind, folder)
    assembled = assemble(made.ptx, architecture)
    assert set(assembled) == {launch.function for launch in made.launches}
    assert max(kernel.spilled_bytes for kernel in assembled.values()) <= 64


@pytest.mark.parametrize("name", ["digits", "resnet18", "mobilenetv2"])
def test_integers_use_tensor_cores(name: str, folder: Path) -> None:
    assert "mma.sync.aligned.m16n8k16" in program(name, "int8", folder).ptx
