"""OpenVINO as a rival: the fastest of its settings, found by trying them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .cpus import pinned
from .ort_layers import load_named, owners
from .rival import OTHER, Case, Rival, RivalError
from .trial import fastest

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROFILE_SECONDS, PROFILE_RUNS, MOST_PROFILE_RUNS = 0.3, 5, 1000


def openvino_as_given(case: Case) -> Rival:
    """Return OpenVINO on the model as it was given."""
    _check_installed()
    arithmetic = "float32" if case.network.was_float else "int8"
    return OpenVino("openvino", case, case.model, arithmetic)


def openvino_quantized(case: Case) -> Rival | None:
    """Return OpenVINO on the int8 version of a float model that ONNX Runtime runs too."""
    if not case.network.was_float:
        return None
    _check_installed()
    from .ort_int8 import quantize

    return OpenVino("openvino-int8", case, lambda: quantize(case), "int8")


@functools.cache
def _core() -> Any:
    """Return OpenVINO's core, the only one in the process.

    Its CPU plugin gives the thread that loads it a stack for signal handlers, and the one before
    it back when it goes. Of several, the last to go leaves one that another has freed.
    """
    import openvino

    return openvino.Core()


def _check_installed() -> None:
    try:
        import openvino  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "openvino"
        what = "not installed" if missing else f"cannot be imported ({error})"
        raise RivalError(f"{what}: pip install openvino") from None


class OpenVino:
    """A compiled model of OpenVINO's CPU plugin and a request; see `rival.Rival`.

    Parameters
    ----------
    key : str
    case : Case
    model : Path, or a function that returns the bytes of a model
        The function is called by `prepare`.
    arithmetic : str
    """

    ours = exact = False

    def __init__(
        self, key: str, case: Case, model: Path | Callable[[], bytes], arithmetic: str
    ) -> None:
        self.key = key
        self.arithmetic = arithmetic
        self._case = case
        self._source = model
        self._model: str | bytes = b""
        self._settings: dict[str, Any] = {}
        self._request: Any = None

    @property
    def name(self) -> str:
        import openvino

        return f"OpenVINO {openvino.__version__.partition('-')[0]}"

    @property
    def detail(self) -> dict[str, str]:
        """Its settings; what was chosen by trying comes first."""
        chosen = self._settings
        return {
            "pins its threads": "yes" if chosen.get("ENABLE_CPU_PINNING") else "no",
            "performance hint": str(chosen.get("PERFORMANCE_HINT", "")).lower(),
            "inputs and outputs": "bound once",
            "floats": "float32",
            "streams": "1",
            "threads": str(self._case.threads),
        }

    def prepare(self) -> None:
        """Compile the model with each setting, try them in turn, and keep the fastest.

        Raises
        ------
        RivalError
            When OpenVINO cannot run the model.
        """
        source = self._source
        self._model = str(source) if isinstance(source, Path) else source()
        try:
            with pinned(self._case.cpus):  # threads that it starts stay where they are let
                ready = [(chosen, self._open(chosen)) for chosen in self._choices()]
            best = fastest([lambda request=request: request.infer() for _, request in ready])
        except RuntimeError as error:
            raise RivalError(f"OpenVINO could not run {self._case.model}: {error}") from None
        self._settings, self._request = ready[best]

    def run(self) -> float:
        """Infer once; the seconds are those of the call alone."""
        begun = perf_counter()
        self._request.infer(share_outputs=True)
        return perf_counter() - begun

    def layers(self) -> Mapping[str, float]:
        """Run with counters, and give the time of each operator to a layer."""
        model, proto = load_named(self._model)
        with pinned(self._case.cpus):
            request = self._open({**self._settings, "PERF_COUNT": True}, model)
        compiled = request.get_compiled_model()
        parts = {
            node.friendly_name: _original(node)
            for node in compiled.get_runtime_model().get_ordered_ops()
        }
        owner = owners(proto, self._case.layers)
        spent, runs = 0.0, 0
        found: dict[str, float] = {}
        while runs < PROFILE_RUNS or (spent < PROFILE_SECONDS and runs < MOST_PROFILE_RUNS):
            begun = perf_counter()
            request.infer()
            spent += perf_counter() - begun
            runs += 1
            for info in request.profiling_info:
                layer = owner_of([info.node_name, *parts.get(info.node_name, ())], owner)
                found[layer] = found.get(layer, 0.0) + info.real_time.total_seconds()
        return {layer: seconds / runs for layer, seconds in found.items()}

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs of the last inference."""
        compiled = self._request.get_compiled_model()
        return {
            port.get_any_name(): np.array(self._request.get_tensor(port).data)
            for port in compiled.outputs
        }

    def close(self) -> None:
        """Let the model and its threads go."""
        self._request = None

    def _choices(self) -> list[dict[str, Any]]:
        fixed = {
            "INFERENCE_NUM_THREADS": self._case.threads,
            "NUM_STREAMS": "1",
            "INFERENCE_PRECISION_HINT": "f32",  # its default is bfloat16 where CPUs have it
        }
        return [
            {**fixed, "PERFORMANCE_HINT": hint, "ENABLE_CPU_PINNING": pins}
            for hint, pins in product(("LATENCY", "THROUGHPUT"), (False, True))
        ]

    def _open(self, settings: Mapping[str, Any], model: str | bytes | None = None) -> Any:
        """Return a request with the inputs bound, of the model or of another form of it."""
        import openvino

        core = _core()
        read = core.read_model(self._model if model is None else model)
        compiled = core.compile_model(read, "CPU", dict(settings))
        request = compiled.create_infer_request()
        for port in compiled.inputs:
            array = np.ascontiguousarray(self._case.inputs[port.get_any_name()])
            request.set_tensor(port, openvino.Tensor(array, shared_memory=False))
        return request


def _original(node: Any) -> list[str]:
    """Return the names of what an operator was fused from."""
    facts = node.get_rt_info()
    if "originalLayersNames" not in facts:
        return []
    return str(facts["originalLayersNames"].astype(str)).split(",")


def owner_of(names: list[str], owner: Mapping[str, str]) -> str:
    """Return the layer of an operator: of the first of its names that has one.

    conv1/WithoutBiases, Multiply_8, conv1  →  of conv1        conv1_abcd_acdb_conv2  →  OTHER
    """
    for name in names:
        for form in (name, name.partition("/")[0]):
            if form in owner:
                return owner[form]
    return OTHER
