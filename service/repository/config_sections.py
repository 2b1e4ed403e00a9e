"""The sections of a model's configuration: queueing, padding, response cache, sequences, who runs it and where.

Values only, checked one by one; whether they fit the model's inputs shows when a version is loaded. Names that Triton's
model_config.proto has are its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_MICROSECONDS_LIMIT = 3_600_000_000
_PRIORITIES_LIMIT = 64
_MIB = 1 << 20
_PORTS = 1 << 16
_HOST_PORT = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")

Microseconds = Annotated[int, Field(ge=0, le=_MICROSECONDS_LIMIT)]
QueueSize = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=1024)]


class Section(BaseModel):
    """A part of a configuration: frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class QueuePolicy(Section):
    """How the requests of one priority level wait.

    Attributes:
        max_queue_size: requests that may wait; one more is rejected.
        max_queue_wait_microseconds: a request that would wait longer is rejected, and once the queue has stood for so
            long, one that would wait a quarter of it; 0 is a time that fits the cost of a run.
        default_timeout_microseconds: how long a request without a timeout of its own may wait; 0 is for ever.
        allow_timeout_override: whether a request's own timeout counts, where it is shorter than the default.
        timeout_action: what becomes of a request whose time is over: REJECT ends it, DELAY lets it wait behind all
            others of its level.
    """

    max_queue_size: QueueSize = 1024
    max_queue_wait_microseconds: Microseconds = 0
    default_timeout_microseconds: Microseconds = 0
    allow_timeout_override: bool = True
    timeout_action: Literal["REJECT", "DELAY"] = "REJECT"


class DynamicBatching(QueuePolicy):
    """How requests wait for one another; the queue policy in it is that of every level without one of its own.

    Attributes:
        max_queue_delay_microseconds: how long a batch that could still grow waits for it while a runner is idle.
        preferred_batch_size: rows at which a batch goes at once.
        priority_levels: how many there are, 1 served first; 0 for one level, and priorities are then ignored.
        default_priority_level: of a request without a priority; 0 for the middle one.
        priority_queue_policy: level -> its own policy.
        preserve_ordering: whether answers leave in the order in which requests came.
    """

    max_queue_delay_microseconds: Microseconds = 0
    preferred_batch_size: tuple[Annotated[int, Field(ge=1)], ...] = ()
    priority_levels: Annotated[int, Field(ge=0, le=_PRIORITIES_LIMIT)] = 0
    default_priority_level: Annotated[int, Field(ge=0, le=_PRIORITIES_LIMIT)] = 0
    priority_queue_policy: dict[Annotated[int, Field(ge=1, le=_PRIORITIES_LIMIT)], QueuePolicy] = Field(
        default_factory=dict
    )
    preserve_ordering: bool = False

    @model_validator(mode="after")
    def _levels_exist(self) -> DynamicBatching:
        for key, levels in (
            ("default_priority_level", (self.default_priority_level,)),
            ("priority_queue_policy", tuple(self.priority_queue_policy)),
        ):
            if max(levels, default=0) > self.priority_levels:
                raise ValueError(f"{key} names level {max(levels)}, and priority_levels is {self.priority_levels}")
        return self


class Pad(Section):
    """One variable axis, such as a text's length, on which requests of one batch are filled up to the longest.

    Attributes:
        axis: of the inputs below, 1 or more; 0 is the batch.
        inputs: input name -> the value that fills it; an attention mask's is 0.
        max_waste: the largest share of a batch that may be filler; two requests alone never reach a half. A large
            model computes filler as slowly as anything, so the default keeps lengths near.
    """

    axis: Annotated[int, Field(ge=1, le=31)] = 1
    inputs: Annotated[dict[Name, int | float], Field(min_length=1)]
    max_waste: Annotated[float, Field(ge=0, lt=1)] = 0.2


class ResponseCache(Section):
    """Answers that are kept for requests with exactly the same inputs.

    Attributes:
        max_bytes: of all kept answers of one version, books included.
    """

    max_bytes: Annotated[int, Field(ge=1, le=1 << 40)] = 64 * _MIB


class State(Section):
    """A recurrent state: an output that is the next request's input.

    Attributes:
        input: the graph's input that takes it.
        output: the graph's output that gives it.
        shape: of the initial state, without the batch axis where the model has one; None for the input's own, with
            every variable axis 1.
        initial: the value that fills the initial state.
    """

    input: Name
    output: Name
    shape: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    initial: int | float = 0


class Control(Section):
    """An input that the server fills in, not the client.

    Attributes:
        input: the graph's input.
        kind: what it tells: that the sequence starts, ends, that the row is a live one, or the sequence's id.
        false_value: what start, end or ready is when it does not hold.
        true_value: what it is when it holds.
    """

    input: Name
    kind: Literal["start", "end", "ready", "corrid"]
    false_value: int | float = 0
    true_value: int | float = 1


class Sequences(Section):
    """Makes a model stateful: requests of one `sequence_id` run one after the other, with the state of the one before.

    Attributes:
        strategy: `direct` gives each sequence a place of its own, so at most `max_batch_size` x `instances` are open
            at once; `oldest` batches the sequences that began first, `max_candidate_sequences` at once.
        max_sequence_idle_microseconds: a sequence without a request for so long is forgotten.
        max_candidate_sequences: open sequences of one instance under `oldest`; more wait for a place.
        max_queue_delay_microseconds: how long a batch that could still grow waits for other sequences.
        max_waiting_sequences: that may wait for a place; one more is rejected.
        states: what is carried from one request to the next.
        controls: inputs that the server fills in.
    """

    strategy: Literal["direct", "oldest"] = "oldest"
    max_sequence_idle_microseconds: Annotated[int, Field(ge=1, le=24 * _MICROSECONDS_LIMIT)] = 60_000_000
    max_candidate_sequences: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    max_queue_delay_microseconds: Microseconds = 0
    max_waiting_sequences: Annotated[int, Field(ge=0, le=1_000_000)] = 1024
    states: tuple[State, ...] = ()
    controls: tuple[Control, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Sequences:
        inputs = [state.input for state in self.states] + [control.input for control in self.controls]
        outputs = [state.output for state in self.states]
        if len(set(inputs)) < len(inputs) or len(set(outputs)) < len(outputs):
            raise ValueError("an input or output is named twice by states and controls")
        return self


class RemoteTriton(Section):
    """A model of another Open Inference Protocol server, reached over gRPC.

    Attributes:
        url: host:port, an IPv6 address in brackets.
        model: its name there; None for the same name.
        version: its version there; None for what answers there.
        timeout_s: of one call.
    """

    url: Annotated[str, Field(min_length=1, max_length=255)]
    model: Name | None = None
    version: Name | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0

    @field_validator("url")
    @classmethod
    def _host_and_port(cls, url: str) -> str:
        if _HOST_PORT.fullmatch(url) is None or not 0 < int(url.rpartition(":")[2]) < _PORTS:
            raise ValueError("must be host:port, such as triton.local:8001")
        return url


class Runner(Section):
    """Who computes the answers; here, unless `triton` names another server."""

    triton: RemoteTriton


class OwnProcess(Section):
    """Bounds of each process of a version.

    Attributes:
        memory_bytes: that one may take beside what an empty one does; None for what is free when it starts.
        spare: whether each instance keeps a second process loaded, to take the place of the first at once.
    """

    memory_bytes: Annotated[int, Field(ge=16 * _MIB, le=1 << 46)] | None = None
    spare: bool = False


class Isolation(Section):
    """Sessions live apart from the server, each in a process of its own; `process` alone is short for its defaults."""

    process: OwnProcess

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, value: Any) -> Any:
        if value == "process" or (isinstance(value, Mapping) and value.keys() == {"process"} and not value["process"]):
            return {"process": {}}
        if isinstance(value, str):
            raise ValueError("must be process, or process with its limits")
        return value
