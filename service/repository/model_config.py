"""What model.yaml may say about a model, with its defaults; refuses by name whatever does not work.

Knows nothing of the versions there are, nor of what a provider makes of its options.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from service.core.errors import BadModel
from service.repository.config_sections import (
    DynamicBatching,
    Isolation,
    Pad,
    ResponseCache,
    Runner,
    Section,
    Sequences,
)
from service.repository.config_tensors import Input, Latest, Output, Session, WarmupSample
from service.repository.names import is_name
from service.repository.suggest import did_you_mean, quoted
from service.repository.yaml_text import Unreadable, read_yaml

MODEL_YAML_LIMIT_BYTES = 64 << 10
# Pydantic's own words for these name a Python type or class.
_WORDS = {
    "model_type": "must hold keys and values",
    "dict_type": "must hold keys and values",
    "tuple_type": "must be a list",
}


def _version_id(value: Any) -> Any:
    # Python callers may write 1 for "1"; model.yaml's are text already. True is an int to Python, but no version.
    text = str(value) if type(value) is int else value
    if isinstance(text, str) and not is_name(text):
        raise ValueError("a version's id has letters, digits, '.', '_' and '-' only")
    return text


def _residency(value: Any) -> Any:
    if isinstance(value, Latest) or value in ("all", "active"):
        return value
    if isinstance(value, Mapping) and value.keys() == {"latest"}:
        return _latest(value["latest"])
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be all, active, latest with a number, or a list of version ids")
    return tuple(_version_id(item) for item in value)


def _latest(number: Any) -> Latest:
    try:
        return Latest(latest=number)
    except ValidationError:
        raise ValueError("latest takes a whole number of versions, 1 or more") from None


VersionId = Annotated[str, BeforeValidator(_version_id)]
Residency = Annotated[Literal["all", "active"] | Latest | tuple[str, ...], BeforeValidator(_residency)]
OptionValues = dict[str, str | int | float | bool]


class ModelConfig(Section):
    """model.yaml.

    Attributes:
        versions: which versions are resident: "all", only the "active" one, the latest few, or those of a list of ids.
        batched: True makes the first axis of every tensor the batch, whatever the graph calls it; False none; None
            finds out.
        max_batch_size: rows of one run at most; a larger request is split.
        instances: runners of one version that work side by side.
        threads: threads inside one run of one instance; None shares the usable cores among the instances.
        provider: None for the server's; "auto-tensorrt" takes TensorRT where it works, then CUDA, then the CPU.
        devices: the accelerator of each instance, in turn; () for the first one.
        active: the version that answers when the client names none; None for the highest numeric id.
        labels: names of the classes, in the order of the scores.
        warmup: whether a version runs every batch size once before it answers.
        gate: "strict" also refuses what was measured on other hardware.
        finite_outputs: whether NaN or infinity in a row is an error of that row.
        provider_options: the execution provider's own, as ONNX Runtime names them.
        accelerator_options: the same, that count only where an accelerator runs the model.
        session: how ONNX Runtime sets up the sessions.
        onnx_file: the ONNX file's name in a version's folder.
        inputs: what clients send, where it is not simply what the graph takes; () for that.
        outputs: what clients get; () for all that the graph gives.
        warmup_samples: requests that are run before the version answers.
        pad: the axis on which requests of different sizes may share a batch; None: they may not.
        response_cache: None keeps no answers.
        sequences: None for a model without state.
        runner: None runs the version's own files here.
        isolation: None runs them in the server's own process.
    """

    versions: Residency = "all"
    max_batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    instances: Annotated[int, Field(ge=1, le=256)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    batched: bool | None = None
    provider: Literal["auto", "auto-tensorrt", "cpu", "cuda", "tensorrt"] | None = None
    devices: tuple[Annotated[int, Field(ge=0, le=255)], ...] = ()
    active: VersionId | None = None
    labels: tuple[str, ...] | None = None
    dynamic_batching: DynamicBatching = DynamicBatching()
    warmup: bool = True
    gate: Literal["default", "strict"] = "default"
    finite_outputs: bool = False
    provider_options: OptionValues = Field(default_factory=dict)
    accelerator_options: OptionValues = Field(default_factory=dict)
    session: Session = Session()
    onnx_file: VersionId = "model.onnx"
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    warmup_samples: tuple[WarmupSample, ...] = ()
    pad: Pad | None = None
    response_cache: ResponseCache | None = None
    sequences: Sequences | None = None
    runner: Runner | None = None
    isolation: Isolation | None = None
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each thing that the configuration says and that has no effect here."""
        return self._warnings

    @property
    def max_queue_delay_s(self) -> float:
        """How long a batch that could still grow waits: as `sequences` says in a model with state."""
        return (self.sequences or self.dynamic_batching).max_queue_delay_microseconds / 1e6

    def labels_of(self, output: str) -> tuple[str, ...] | None:
        """Names of the classes that `output` scores: its own; the model's where no output has its own; None without."""
        own = {declared.name: declared.labels for declared in self.outputs if declared.labels is not None}
        return own.get(output) if own else self.labels

    def absent(self, versions: Collection[str]) -> list[str]:
        """What `active` and `versions` name and is not among `versions`, those that the model has."""
        named = (self.active or "", *(self.versions if isinstance(self.versions, tuple) else ()))
        return [version for version in dict.fromkeys(named) if version and version not in versions]

    @model_validator(mode="after")
    def _preferred_sizes_fit(self) -> ModelConfig:
        if any(rows > self.max_batch_size for rows in self.dynamic_batching.preferred_batch_size):
            raise ValueError("a preferred_batch_size is larger than max_batch_size")
        return self

    @model_validator(mode="after")
    def _runs_in_one_place(self) -> ModelConfig:
        for key in ("provider", "threads", "provider_options", "devices", "accelerator_options", "isolation"):
            if self.runner is not None and getattr(self, key):
                raise ValueError(f"{key} says how a model runs here, and runner that it runs elsewhere")
        return self


def read_model_config(data: bytes, where: str) -> ModelConfig:
    """Reads model.yaml; an empty file gives the defaults.

    Args:
        data: the whole file.
        where: what messages call it, such as `digits/model.yaml`.

    Raises:
        BadModel: not plain YAML, an unknown key, or a value of the wrong kind; says the first thing that is wrong.
    """
    return config_of(read_yaml_values(data, where), where)


def read_yaml_values(data: bytes, where: str) -> dict[str, Any]:
    """The keys and values of model.yaml, not checked any further. Raises BadModel."""
    if len(data) > MODEL_YAML_LIMIT_BYTES:
        raise BadModel(f"{where} has {len(data)} bytes, more than the limit of {MODEL_YAML_LIMIT_BYTES}.")
    try:
        values = read_yaml(data)
    except Unreadable as error:
        raise BadModel(f"{where} cannot be read: {error}.") from None
    if not isinstance(values, dict | None):
        raise BadModel(f"{where} must hold keys and values.")
    return values or {}


def config_of(
    values: Mapping[str, Any], where: str, *, sources: Mapping[str, str] | None = None, warnings: Sequence[str] = ()
) -> ModelConfig:
    """The configuration that these keys and values are.

    Args:
        values: by the keys of model.yaml.
        where: what messages call their source.
        sources: key -> what messages call its source in place of `where`.
        warnings: what the configuration then tells.

    Raises:
        BadModel: says one thing that is wrong.
    """
    try:
        config = ModelConfig.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        # A mistyped key first: it is why another one is missing.
        problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    else:
        config._warnings = tuple(warnings)
        return config
    key = str(problem["loc"][0]) if problem["loc"] else ""
    raise BadModel(f"{(sources or {}).get(key, where)}: {_sentence(problem)}")


def _sentence(problem: ErrorDetails) -> str:
    *sections, key = problem["loc"] or ("",)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(sections)
        where = f" in {quoted('.'.join(str(part) for part in sections))}" if sections else ""
        return f"unknown key {quoted(str(key))}{where}{did_you_mean(str(key), known)}"
    what = _WORDS.get(problem["type"], problem["msg"])
    path = ".".join(str(part) for part in (*sections, key))
    return (
        f"{quoted(path)}: {what.removeprefix('Value error, ')}." if path else f"{what.removeprefix('Value error, ')}."
    )


def _fields_at(sections: Sequence[int | str]) -> list[str]:
    """The keys that are known under a path of sections; none where the path leads into a list or a table."""
    kind: Any = ModelConfig
    for section in sections:
        field = kind.model_fields.get(section)
        found = [k for k in _kinds(field.annotation) if isinstance(k, type)] if field is not None else []
        kind = next((k for k in found if issubclass(k, Section)), None)
        if kind is None:
            return []
    return list(kind.model_fields)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the one type."""
    return get_args(annotation) or (annotation,)
