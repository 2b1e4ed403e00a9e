"""Builds an ONNX Runtime session from bytes alone: follows no path, falls back to nothing, and can be cancelled.

Every version gets the same session options, but for what its configuration changes. What was measured for
them (ONNX Runtime 1.31, 2 shared cores):

- `allow_spinning` off: with 2 threads and a run every 5 ms, spinning threads took 10 ms of CPU per run of a middle
  model (8 layers of 512x512, 32 rows) instead of 3 ms, and 0.5 instead of 0.3 ms for a tiny one, at the same median
  latency. Back to back beside a busy thread it was faster with spinning (8 against 12 ms): hence the provider option
  `allow_spinning` for a machine that does nothing else.
- `enable_mem_pattern` off: it keeps a plan and a block for each batch size met: ResNet-20 at 1 to 32 rows held 80 MiB
  with it and 74 MiB without, at the same speed.
- the arena's growth strategy made no difference to what 60 loads and closes leave behind (see `memory`).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path

from service.core.contract import TensorSpec
from service.core.errors import BadModel, Stuck
from service.runtime import devices, session_options
from service.runtime.failures import load_failure
from service.runtime.onnx_runtime import onnxruntime
from service.runtime.providers import ORT_NAMES, RunnerOptions, provider_list, provider_missing, session_entries
from service.runtime.signature import read_signature
from service.runtime.spare_threads import check_threads, start_thread

_POLL_S = 0.02
_GRACE_S = 2.0
# Only exceptions speak: the log would repeat them, with text that a request may have put there.
_FATAL = 4
# TensorRT's provider, where it takes a graph in parts: an inner tensor is then an input that our profile does not name.
_NO_PROFILE = "has no associated shape profiles"

Providers = list[tuple[str, dict[str, str]]]


def open_session(
    onnx: bytes,
    external: Mapping[str, bytes],
    options: RunnerOptions,
    cancel: threading.Event | None = None,
) -> onnxruntime.InferenceSession:
    """Builds the session; blocks.

    Args:
        onnx: the model file.
        external: external data by the `location` that the graph names it with. It reaches initializers and constants
            of the main graph only: ONNX Runtime reads those of subgraphs and functions from disk, where it is led to
            find nothing. May be dropped afterwards.
        options: of the runner.
        cancel: set from another thread to give up.

    Raises:
        BadModel: the model cannot be loaded, or `provider_options` are wrong.
        ProviderMissing: the provider is not to be had here.
        DoesNotFit: there is not enough memory.
        Unavailable: there are not enough threads.
        Stuck: cancelled. A load that ignores it for 2 s is left to end by itself, in a thread that nobody waits for.
    """
    settings = _session_options(options)
    _attach(external, settings)
    attempts = _providers(onnx, external, options)

    def build() -> onnxruntime.InferenceSession:
        return _build_any(onnx, settings, attempts)

    if cancel is None:
        session = build()
    else:
        session = _cancellable(build, cancel, lambda: settings.set_load_cancellation_flag(True))
    if ORT_NAMES[options.provider] not in session.get_providers():
        raise provider_missing(options.provider, "ONNX Runtime could not start it and fell back to the CPU")
    return session


def _session_options(options: RunnerOptions) -> onnxruntime.SessionOptions:
    onnxruntime.set_default_logger_severity(_FATAL)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _FATAL
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.enable_mem_pattern = False
    session_options.change(settings, options.session)
    for name, value in session_entries(options).items():
        settings.add_session_config_entry(name, value)
    # Otherwise the first bytes decide, and a flatbuffer that nobody checked would be taken.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    # External data that was not handed over is looked for here, where no file can be; else in the working directory.
    settings.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    return settings


def _attach(external: Mapping[str, bytes], settings: onnxruntime.SessionOptions) -> None:
    """Hands external data over by reference: `external` must outlive the build. Any offset will do."""
    if external:
        settings.add_external_initializers_from_files_in_memory(
            list(external), list(external.values()), [len(data) for data in external.values()]
        )


def _build_any(
    onnx: bytes, settings: onnxruntime.SessionOptions, attempts: list[Providers]
) -> onnxruntime.InferenceSession:
    """Builds with the first providers; with the second ones where the profile of the first does not cover the graph."""
    try:
        return _build(onnx, settings, attempts[0])
    except BadModel as error:
        if attempts[1:] == [] or _NO_PROFILE not in str(error.__cause__):
            raise
    return _build(onnx, settings, attempts[1])


def _build(onnx: bytes, settings: onnxruntime.SessionOptions, providers: Providers) -> onnxruntime.InferenceSession:
    check_threads(_threads_of(settings))
    try:
        session = onnxruntime.InferenceSession(onnx, settings, providers=providers, enable_fallback=0)
    except Exception as error:
        raise load_failure(error) from error
    # Kept by ONNX Runtime for a fall back that is off here; it would double what a version holds.
    session._model_bytes = None
    return session


def _threads_of(settings: onnxruntime.SessionOptions) -> int:
    """Those that a session starts beside its caller's, which runs too."""
    side_by_side: int = 1
    if settings.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL:
        side_by_side = settings.inter_op_num_threads or os.cpu_count() or 1  # 0 for one a core
    inside: int = settings.intra_op_num_threads
    return inside - 1 + side_by_side - 1


def _providers(onnx: bytes, external: Mapping[str, bytes], options: RunnerOptions) -> list[Providers]:
    """The providers with their options, once the libraries that they link are loaded.

    Twice for TensorRT: with a profile of ours, and without, where it learns the shapes as they come.
    """
    missing = devices.load_libraries(options.provider)
    if missing:
        raise provider_missing(options.provider, missing)
    if options.provider != "tensorrt":
        return [provider_list(options, (), None)]
    engine_dir = _engine_dir(onnx, external, options.cache_dir) if options.cache_dir else None
    profiled, plain = (provider_list(options, inputs, engine_dir) for inputs in (_inputs(onnx, external), ()))
    return [profiled] if profiled == plain else [profiled, plain]


def _inputs(onnx: bytes, external: Mapping[str, bytes]) -> tuple[TensorSpec, ...]:
    """The inputs, by a plain CPU session: TensorRT wants their shapes before its own session is built."""
    settings = _session_options(RunnerOptions())
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    _attach(external, settings)
    session = _build(onnx, settings, provider_list(RunnerOptions(), (), None))
    return read_signature(session.get_inputs(), session.get_outputs()).inputs


def _engine_dir(onnx: bytes, external: Mapping[str, bytes], cache_dir: Path) -> Path:
    """A folder for the engines of these weights alone.

    TensorRT's provider names an engine by the graph's structure, which a version and its fine-tuned sibling share.
    """
    digest = hashlib.sha256(onnx)
    for name in sorted(external):
        digest.update(external[name])
    folder = cache_dir / digest.hexdigest()[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise BadModel("TensorRT's engines cannot be cached: the cache folder is not writable") from None
    return folder


def _cancellable(
    build: Callable[[], onnxruntime.InferenceSession], cancel: threading.Event, stop: Callable[[], None]
) -> onnxruntime.InferenceSession:
    """Runs `build` in a thread of its own, so that a load that hears no cancellation can be left behind."""
    done: Future[onnxruntime.InferenceSession] = Future()
    start_thread(threading.Thread(target=_settle, args=(done, build), name="retort-load", daemon=True))
    while not wait([done], timeout=_POLL_S).done:
        if cancel.is_set():
            stop()
            wait([done], timeout=_GRACE_S)
            break
    try:
        if cancel.is_set():
            raise Stuck("the load was cancelled")
        return done.result()
    finally:
        del done  # as below


def _settle(done: Future[onnxruntime.InferenceSession], build: Callable[[], onnxruntime.InferenceSession]) -> None:
    try:
        done.set_result(build())
    except Exception as error:
        done.set_exception(error)
    finally:
        # The error's traceback holds this frame: else a failed load is a cycle that holds the model's bytes.
        del done, build
