"""Every knob of the server, read once at start from `RETORT_*` variables and the command line, then frozen.

A variable that no setting has is refused with the nearest name, so that a typing error never becomes a default.
Knows nothing of what the settings do: `app` hands each to the part that wants it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "RETORT_"
DEFAULT_REPOSITORY = Path("models/repository")

_MIB = 1024**2
_GIB = 1024**3
# RETORT_URL, RETORT_KEY and RETORT_CA are the client commands'.
_OTHERS = frozenset({"RETORT_URL", "RETORT_KEY", "RETORT_CA"})
# Former settings, and what does the same now.
_GONE = {
    "RETORT_MODEL_FILE": "RETORT_REPOSITORY may name one model file",
    "RETORT_TRIAL": "RETORT_TRIAL_MEMORY_BYTES=0 loads without a trial",
    "RETORT_TRIAL_TIMEOUT_S": "a trial has nine tenths of RETORT_LOAD_TIMEOUT_S",
}
# Kubernetes injects these into every pod beside a service that is called "retort".
_KUBERNETES = ("RETORT_SERVICE_", "RETORT_PORT_")

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_MODEL_FILES = (".onnx", ".deep")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+")


class SettingsError(ValueError):
    """The settings are wrong; one sentence a line, each naming the variable or option."""


def default_state_dir() -> Path | None:
    """Where the active versions are remembered: XDG's state folder, None where the user has no home."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    try:
        home = Path(chosen) if os.path.isabs(chosen) else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return home / "retort"


class Settings(BaseSettings):
    """What the server runs with; the README's table says the same to its operator.

    Attributes:
        repository: the folders of models; a name that is in two of them is served from the first. Or one ONNX file.
        host: the address to listen on.
        http_port: 0 chooses a free one.
        grpc_port: 0 chooses a free one, -1 none: then there is no gRPC.
        provider: what runs the models; auto takes the best that this machine has.
        state_dir: the folder that remembers the active versions over a restart; None remembers nothing.
        threads: intra-op threads of one instance of a model; None shares out the usable cores.
        log_level: the least severe line that is written.
        log_format: one JSON object a line, or text for a person.
        access_log: a line for each request.
        cors_origins: whose web pages may use the service, such as `https://app.example.com`; `*` for everyone's.
        max_body_bytes: the largest request body, counted as it arrives.
        max_in_flight_bytes: requests and answers in flight, all together; None: a quarter of the memory there is.
        max_model_bytes: the largest version, all its files together.
        load_timeout_s: a load that takes longer is given up.
        run_timeout_s: a run that takes longer is stopped.
        drain_delay_s: after SIGTERM, how long the server answers on while it already says "not ready".
        drain_timeout_s: how long the requests in flight may take to end after that.
        required_models: those that readiness waits for; None: those that were ready at start.
        trial_memory_bytes: of the child process that loads a file new to this machine first; 0: without a child.
        trace_file: where traces in Triton's own form are written, once a client or its operator asks for them.
        keys: the file of keys; None: no client needs one, and only this machine changes what is served.
        tls_cert: the chain of certificates that clients see, as PEM; None for plain connections.
        tls_key: the private key to it.
        shared_memory: clients on this machine may register regions of system shared memory for tensors.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    repository: Annotated[tuple[Path, ...], NoDecode] = (DEFAULT_REPOSITORY,)
    host: str = "127.0.0.1"
    http_port: Port = 8000
    grpc_port: Annotated[int, Field(ge=-1, le=65535)] = 8001
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    state_dir: Path | None = Field(default_factory=default_state_dir)
    threads: PositiveInt | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    access_log: bool = False
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    max_body_bytes: PositiveInt = 64 * _MIB
    max_in_flight_bytes: PositiveInt | None = None
    max_model_bytes: PositiveInt = 4 * _GIB
    load_timeout_s: Limit = 60.0
    run_timeout_s: Limit = 30.0
    drain_delay_s: Seconds = 0.0
    drain_timeout_s: Seconds = 30.0
    required_models: Annotated[tuple[str, ...] | None, NoDecode] = None
    trial_memory_bytes: NonNegativeInt = 4 * _GIB
    trace_file: Path | None = None
    shared_memory: bool = False
    keys: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @field_validator("repository", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        return _split(value, (os.pathsep, ","))

    @field_validator("repository")
    @classmethod
    def _folders_or_one_file(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if len(value) > 1 and any(is_model_file(path) for path in value):
            raise ValueError("a model file is served alone, without any repository beside it")
        return value

    @field_validator("required_models", "cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return _split(value, (",",))

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in value):
            raise ValueError("an origin is * or scheme://host[:port], without a path")
        return value

    @property
    def single_file(self) -> Path | None:
        """The one ONNX file that is served in place of repositories; None where folders are."""
        return next((path for path in self.repository if is_model_file(path)), None)

    @classmethod
    def read(cls, given: Mapping[str, Any] | None = None) -> Settings:
        """The settings of this process.

        Args:
            given: field name -> value from the command line; wins over the environment. None values count as not given.

        Raises:
            SettingsError: a variable that no setting has, or a value out of its range.
        """
        chosen = {name: value for name, value in (given or {}).items() if value is not None}
        problems = unknown_variables(os.environ)
        if problems:
            raise SettingsError("\n".join(problems))
        try:
            settings = cls(**chosen)
        except ValidationError as error:
            raise SettingsError("\n".join(_sentences(error, chosen))) from None
        if (settings.tls_cert is None) != (settings.tls_key is None):
            missing = "--tls-key, its private key," if settings.tls_cert else "--tls-cert, its certificate,"
            raise SettingsError(f"{missing} is missing: TLS needs --tls-cert and --tls-key together.")
        return settings


def is_model_file(path: Path) -> bool:
    """Whether `path` names a model, not a folder of models: by its ending alone, whatever lies there."""
    return path.suffix in _MODEL_FILES


def unknown_variables(names: Iterable[str]) -> list[str]:
    """One sentence for each `RETORT_*` name that is no setting; pydantic-settings ignores these without a word."""
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    return [_unknown(name, known) for name in sorted(names) if _is_ours(name.upper()) and name.upper() not in known]


def _is_ours(name: str) -> bool:
    injected = name == "RETORT_PORT" or name.startswith(_KUBERNETES)
    return name.startswith(PREFIX) and name not in _OTHERS and not injected


def _unknown(name: str, known: set[str]) -> str:
    if name.upper() in _GONE:
        return f"{name} is gone: {_GONE[name.upper()]}."
    longer = sorted(field for field in known if field.startswith(f"{name.upper()}_"))
    nearest = get_close_matches(name.upper(), longer or sorted(known), n=1, cutoff=0.0)[0]
    return f"{name} is not a setting of retort; the nearest one is {nearest}."


def _split(value: object, separators: tuple[str, ...]) -> object:
    """A list as environment variables write it; empty entries do not count."""
    if not isinstance(value, str):
        return value
    for separator in separators[1:]:
        value = value.replace(separator, separators[0])
    return tuple(part.strip() for part in value.split(separators[0]) if part.strip())


def _sentences(error: ValidationError, given: Mapping[str, object]) -> list[str]:
    """What is wrong with each value, under the name that its giver used."""
    sentences = []
    for problem in error.errors(include_url=False):
        field = str(problem["loc"][0])
        name = f"--{field.replace('_', '-')}" if field in given else PREFIX + field.upper()
        message = problem["msg"].removeprefix("Value error, ")
        sentences.append(f"{name} is {str(problem['input'])!r}: {message[:1].lower()}{message[1:]}.")
    return sentences
