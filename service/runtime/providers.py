"""Which execution provider runs a version, and with which options: pure tables and pure functions.

Precision is baked into the graph, so no option here may change it; and none may hand ONNX Runtime a path, a library
or an address. Option names were read from the provider libraries of ONNX Runtime 1.31. Knows nothing of sessions.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from service.core.contract import TensorSpec
from service.core.errors import BadModel, ProviderMissing
from service.runtime.provider_tables import BAKED_IN, OPTIONS, OptionKind

Provider = Literal["cpu", "cuda", "tensorrt"]
OptionValue = str | int | float | bool

ORT_NAMES: Mapping[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
INSTALL: Mapping[Provider, str] = {
    "cpu": "pip install onnxruntime",
    "cuda": "pip install '.[cuda]' in Retort's folder",
    "tensorrt": "pip install '.[cuda,tensorrt]' in Retort's folder",
}


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How one runner of a version is built.

    Attributes:
        provider: decided already, see `choose_provider`.
        threads: inside one operator, at least 1.
        max_batch_size: rows of the largest batch; TensorRT builds its engine for 1 to that many.
        cache_dir: where TensorRT keeps built engines; None builds them at each load, which takes minutes.
        memory_limit_bytes: of the accelerator's memory, for this runner; None is no limit.
        provider_options: from model.yaml; they win over ours.
        device_id: which accelerator.
        session: what differs from the session options that every version gets; see `session_options`.
    """

    provider: Provider = "cpu"
    threads: int = 1
    max_batch_size: int = 32
    cache_dir: Path | None = None
    memory_limit_bytes: int | None = None
    provider_options: Mapping[str, OptionValue] = field(default_factory=dict)
    device_id: int = 0
    session: Mapping[str, OptionValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which provider was chosen, and why, as one clause for the log."""

    provider: Provider
    reason: str


def choose_provider(asked: str, obstacles: Mapping[Provider, str]) -> Choice:
    """Decides what "auto" means here, and whether what was asked for is to be had.

    "auto" is CUDA where it works and the CPU elsewhere, never TensorRT, whose engines take minutes to build.
    "auto-tensorrt" is TensorRT where it works, and "auto" elsewhere.

    Args:
        asked: "auto", "auto-tensorrt" or a provider.
        obstacles: why each provider is not to be had on this machine, "" where nothing is in its way
            (`devices.find_obstacles`).

    Raises:
        ProviderMissing: it was asked for by name and something is in its way; says what to install.
    """
    if asked == "auto-tensorrt" and not obstacles["tensorrt"]:
        return Choice("tensorrt", "it works here")
    if asked in ("auto", "auto-tensorrt"):
        obstacle = obstacles["cuda"]
        return Choice("cpu", f"no CUDA: {obstacle}") if obstacle else Choice("cuda", "a CUDA device is there")
    for provider in get_args(Provider):
        if provider == asked:
            if obstacles[provider]:
                raise provider_missing(provider, obstacles[provider])
            return Choice(provider, "asked for")
    raise ProviderMissing(f"there is no provider '{asked}': take auto, cpu, cuda or tensorrt")


def provider_missing(provider: Provider, obstacle: str) -> ProviderMissing:
    """The error for a provider that cannot be had: why, and what to install."""
    return ProviderMissing(f"the {provider} provider cannot be had here: {obstacle}; try: {INSTALL[provider]}")


def options_for(provider: Provider, given: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Those of an accelerator's options that `provider` reads; TensorRT's are of no use to CUDA alone."""
    others = OPTIONS["tensorrt"].keys() - OPTIONS["cuda"].keys() if provider == "cuda" else frozenset()
    return {name: value for name, value in given.items() if name not in others}


def session_entries(options: RunnerOptions) -> dict[str, str]:
    """Session configuration entries that the provider's options turn into; only the CPU's do."""
    if options.provider != "cpu":
        return {}
    given = _checked_options(options)
    return {"session.intra_op.allow_spinning": given.get("allow_spinning", "0")}


def provider_list(
    options: RunnerOptions, inputs: Sequence[TensorSpec], engine_dir: Path | None
) -> list[tuple[str, dict[str, str]]]:
    """What a session is built with: providers in order of preference, each with its options as text.

    Args:
        options: of the runner.
        inputs: of the version; only TensorRT looks at them.
        engine_dir: where TensorRT keeps the engines of these very weights; None keeps none.

    Raises:
        BadModel: `provider_options` holds a name or a value that the provider does not take.
    """
    given = _checked_options(options)
    cuda = _cuda_options(options) | {name: given[name] for name in given if name in OPTIONS["cuda"]}
    tensorrt = _tensorrt_options(options, inputs, engine_dir) | {
        name: given[name] for name in given if name in OPTIONS["tensorrt"]
    }
    chain: dict[Provider, dict[str, str]] = {"tensorrt": tensorrt, "cuda": cuda, "cpu": {}}
    order = list(chain)
    return [(ORT_NAMES[provider], chain[provider]) for provider in order[order.index(options.provider) :]]


def _cuda_options(options: RunnerOptions) -> dict[str, str]:
    """Ours for CUDA.

    HEURISTIC, because the default measures every convolution anew for each batch size it has not met, in the middle
    of serving. kSameAsRequested, because doubling the arena takes memory from the versions beside. TF32 would round
    float32 products to 10 bits of mantissa.
    """
    ours = {
        "device_id": str(options.device_id),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "1",
        "use_tf32": "0",
    }
    if options.memory_limit_bytes is not None:
        ours["gpu_mem_limit"] = str(options.memory_limit_bytes)
    return ours


def _tensorrt_options(options: RunnerOptions, inputs: Sequence[TensorSpec], engine_dir: Path | None) -> dict[str, str]:
    """Ours for TensorRT; fp16 and int8 stay off, since the graph says where it wants them."""
    ours = {"device_id": str(options.device_id)} | profile_shapes(inputs, options.max_batch_size)
    if options.memory_limit_bytes is not None:
        ours["trt_max_workspace_size"] = str(options.memory_limit_bytes)
    if engine_dir is not None:
        ours |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(engine_dir),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(engine_dir.parent),
        }
    return ours


def profile_shapes(inputs: Sequence[TensorSpec], max_batch_size: int) -> dict[str, str]:
    """The range of shapes that a TensorRT engine is built for, so that no batch size triggers another build.

    A variable first axis runs from 1 to `max_batch_size` and is tuned for the latter; to 2 at least, since a load
    looks whether two rows can share a run. Another variable axis has no known range: then there is no profile, and
    TensorRT learns shapes as they come (or from `provider_options`).

    Returns:
        The three `trt_profile_*_shapes` options as `name:1x3x224x224,...`; empty where none is needed or possible.
    """
    variable = [spec for spec in inputs if -1 in spec.shape]
    if not variable or any(-1 in spec.shape[1:] or {":", ","} & set(spec.name) for spec in variable):
        return {}

    def shapes(rows: int) -> str:
        return ",".join(f"{spec.name}:{'x'.join(map(str, (rows, *spec.shape[1:])))}" for spec in variable)

    most = max(1, max_batch_size)
    return {
        "trt_profile_min_shapes": shapes(1),
        "trt_profile_opt_shapes": shapes(most),
        "trt_profile_max_shapes": shapes(max(2, most)),
    }


def _checked_options(options: RunnerOptions) -> dict[str, str]:
    """`provider_options` as text, each name and value held against the provider's table."""
    known = OPTIONS[options.provider] | (OPTIONS["cuda"] if options.provider == "tensorrt" else {})
    return {
        name: _checked_value(name, _known_kind(name, known, options.provider), value)
        for name, value in options.provider_options.items()
    }


def _known_kind(name: str, known: Mapping[str, OptionKind], provider: Provider) -> OptionKind:
    if name in known:
        return known[name]
    if name in BAKED_IN:
        raise BadModel(f"provider_options: '{name}' is refused, since precision is baked into the graph")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise BadModel(f"provider_options: the {provider} provider knows no option '{name}'; the nearest is '{near[0]}'")


def _checked_value(name: str, kind: OptionKind, value: OptionValue) -> str:
    if kind == "bool" and isinstance(value, bool):
        return "1" if value else "0"
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if kind == "text" and isinstance(value, str):
        return value
    if isinstance(kind, tuple) and value in kind:
        return str(value)
    expected = {"bool": "true or false", "int": "a whole number", "text": "text"}
    wanted = " or ".join(kind) if isinstance(kind, tuple) else expected[kind]
    raise BadModel(f"provider_options: '{name}' takes {wanted}, not {value!r}")
