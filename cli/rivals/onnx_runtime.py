"""ONNX Runtime as a rival: the fastest of its settings, found by trying them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ort_layers import load_named, owners, read_profile, seconds_by_layer
from .rival import Case, Rival, RivalError
from .trial import fastest

PROFILE_SECONDS, PROFILE_RUNS, MOST_PROFILE_RUNS = 0.3, 5, 1000


@dataclass(frozen=True)
class Settings:
    """What is tried; everything else is fixed by `_options`.

    Attributes
    ----------
    level : str
        Graph optimization: "all", or "extended", which leaves out the blocked layout that costs
        small networks more than it gains.
    blocks : int
        `session.dynamic_block_base`: how finely threads share work; 0 is its default.
    bound : bool
        Inputs and outputs are bound once (IOBinding) instead of passed with each run.
    """

    level: str = "all"
    blocks: int = 0
    bound: bool = False


def as_given(case: Case) -> Rival:
    """Return ONNX Runtime on the model as it was given."""
    _check_installed()
    return OnnxRuntime("ort", case, case.model, "float32" if case.network.was_float else "int8")


def quantized(case: Case) -> Rival | None:
    """Return ONNX Runtime on its own int8 version of a float model; None for one that is int8."""
    if not case.network.was_float:
        return None
    _check_installed()
    from .ort_int8 import quantize

    return OnnxRuntime("ort-int8", case, lambda: quantize(case), "int8")


def _check_installed() -> None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime"
        what = "not installed" if missing else f"cannot be imported ({error})"
        raise RivalError(f"{what}: pip install onnxruntime") from None


class OnnxRuntime:
    """A session of ONNX Runtime on the CPU; see `rival.Rival`.

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
        self._settings = Settings()
        self._call: _Call | None = None

    @property
    def name(self) -> str:
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}"

    @property
    def detail(self) -> dict[str, str]:
        """Its settings; what was chosen by trying comes first."""
        chosen = self._settings
        found = {
            "graph optimization": chosen.level,
            "inputs and outputs": "bound once" if chosen.bound else "passed with each run",
            "execution": "sequential, inter-op threads 1",
            "intra-op threads": str(self._case.threads),
        }
        if self._case.threads > 1:
            found["dynamic block base"] = str(chosen.blocks or "default")
            found["idle threads"] = "spin"
        return found

    def prepare(self) -> None:
        """Open a session with each setting, try them in turn, and keep the fastest.

        Raises
        ------
        RivalError
            When ONNX Runtime cannot run the model.
        """
        source = self._source
        self._model = str(source) if isinstance(source, Path) else source()
        try:
            calls = [
                (replace(chosen, bound=kind is _Bound), kind(session, self._case.inputs))
                for chosen in self._choices()
                for session in (self._open(chosen),)
                for kind in (_Passed, _Bound)
            ]
            best = fastest([call.run for _, call in calls])
        except Exception as error:  # onnxruntime raises classes of its own that share no base
            raise RivalError(f"ONNX Runtime could not run {self._case.model}: {error}") from None
        self._settings, self._call = calls[best]

    def run(self) -> float:
        """Infer once; the seconds are those of the call alone."""
        assert self._call is not None
        begun = perf_counter()
        self._call.run()
        return perf_counter() - begun

    def layers(self) -> Mapping[str, float]:
        """Run in a session that profiles, and give the time of each operator to a layer."""
        model, proto = load_named(self._model)
        with tempfile.TemporaryDirectory() as folder:
            session = self._open(self._settings, model, profile=Path(folder))
            call = _Passed(session, self._case.inputs)
            spent, runs = 0.0, 0
            while runs < PROFILE_RUNS or (spent < PROFILE_SECONDS and runs < MOST_PROFILE_RUNS):
                begun = perf_counter()
                call.run()
                spent += perf_counter() - begun
                runs += 1
            events = read_profile(Path(session.end_profiling()))
        return seconds_by_layer(events, owners(proto, self._case.layers))

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs of the last inference."""
        assert self._call is not None
        return self._call.outputs()

    def close(self) -> None:
        """End the session and its threads."""
        self._call = None

    def _choices(self) -> list[Settings]:
        blocks = (0, 4) if self._case.threads > 1 else (0,)
        return [Settings(*one) for one in product(("all", "extended"), blocks)]

    def _open(
        self, chosen: Settings, model: str | bytes | None = None, profile: Path | None = None
    ) -> Any:
        """Return a session for the model, or for another form of it."""
        import onnxruntime

        return onnxruntime.InferenceSession(
            self._model if model is None else model,
            self._options(chosen, profile),
            providers=["CPUExecutionProvider"],
        )

    def _options(self, chosen: Settings, profile: Path | None) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = {
            "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
            "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        }[chosen.level]
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = self._case.threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = True
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        if chosen.blocks:
            options.add_session_config_entry("session.dynamic_block_base", str(chosen.blocks))
        if len(self._case.cpus) > 1:  # it counts from 1, and the caller's thread is not its own
            workers = ";".join(str(cpu + 1) for cpu in self._case.cpus[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", workers)
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile / "profile")
        return options


class _Call:
    """A session with its arrays."""

    def __init__(self, session: Any, inputs: Mapping[str, NDArray[Any]]) -> None:
        self.session = session
        self.names: list[str] = [output.name for output in session.get_outputs()]
        self.inputs = dict(inputs)

    def run(self) -> None:
        raise NotImplementedError

    def outputs(self) -> dict[str, NDArray[Any]]:
        raise NotImplementedError


class _Passed(_Call):
    """Passes arrays with each run, and gets new ones."""

    def __init__(self, session: Any, inputs: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(session, inputs)
        self.last: list[Any] = []

    def run(self) -> None:
        self.last = self.session.run(self.names, self.inputs)

    def outputs(self) -> dict[str, NDArray[Any]]:
        return {name: np.asarray(value) for name, value in zip(self.names, self.last, strict=True)}


class _Bound(_Call):
    """Has bound its inputs, and arrays for its outputs, once."""

    def __init__(self, session: Any, inputs: Mapping[str, NDArray[Any]]) -> None:
        import onnxruntime

        super().__init__(session, inputs)
        self.binding = session.io_binding()
        self.arrays: dict[str, Any] = {}
        for name, array in inputs.items():
            self.arrays[name] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            self.binding.bind_ortvalue_input(name, self.arrays[name])
        for name, value in zip(self.names, session.run(self.names, self.inputs), strict=True):
            self.arrays[name] = onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(value))
            self.binding.bind_ortvalue_output(name, self.arrays[name])

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def outputs(self) -> dict[str, NDArray[Any]]:
        return {name: self.arrays[name].numpy() for name in self.names}
