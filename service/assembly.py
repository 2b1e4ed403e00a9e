"""Makes the parts of one server as its settings say: the only file that knows every layer.

What cannot be made ends the start with one sentence. Knows nothing of when the parts start and stop: that is `app`'s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path

from service.core.clock import Clock
from service.core.errors import ProviderMissing
from service.core.supervise import Supervisor
from service.gateway.controls import Controls
from service.gateway.credentials import Credentials
from service.gateway.fronts import AddressRefused, Fronts, Listening
from service.gateway.http.limits import raise_descriptor_limit
from service.gateway.key_file import KeysRefused
from service.gateway.tls import CertificateRefused
from service.observe.logs import Log
from service.observe.opentelemetry_setup import BadVariable
from service.observe.trace_outlets import TraceOutlets
from service.repository.layout import Repositories, SingleFile, Source
from service.repository.overlay import Overlay
from service.repository.state_file import StateFile
from service.runtime import memory, trial_memory
from service.runtime.devices import find_obstacles
from service.runtime.providers import Provider, choose_provider
from service.runtime.trial_memory import TrialMemory
from service.runtime.trial_process import TrialAhead, limits_within
from service.serving.catalog import Catalog
from service.serving.comeback import Comeback
from service.serving.lifecycle import Lifecycle
from service.serving.load_options import LoadOptions
from service.serving.loader import Loader
from service.serving.readiness import Health
from service.serving.trial import FirstTrial, no_trial
from service.settings import Settings

_OF_MEMORY = 4  # a quarter of it for requests and answers in flight


class CannotStart(Exception):
    """There is no use in starting: one sentence says why, and what to do."""


def source_of(settings: Settings) -> Source:
    """Where versions are read from: the repositories, or the one file that was named."""
    if settings.single_file is not None:
        return SingleFile(settings.single_file, max_bytes=settings.max_model_bytes)
    return Repositories(settings.repository, max_bytes=settings.max_model_bytes)


def loader_of(
    settings: Settings,
    source: Source,
    obstacles: Mapping[Provider, str],
    *,
    clock: Clock,
    report: Callable[[str], None],
    on_fatal: Callable[[str], None],
    ahead: TrialAhead | None = None,
) -> Loader:
    """What loads versions as the settings say; without a state folder it keeps neither trials nor engines."""
    state_dir = settings.state_dir
    options = LoadOptions(
        settings.provider,
        settings.threads,
        settings.load_timeout_s,
        settings.run_timeout_s,
        obstacles,
        state_dir / "engines" if state_dir else None,
    )
    limits = limits_within(settings.load_timeout_s, settings.trial_memory_bytes)
    passed = TrialMemory(state_dir / trial_memory.FILE if state_dir else None, report)
    trial = FirstTrial(passed, limits, ahead) if settings.trial_memory_bytes else no_trial
    return Loader(source, options, trial=trial, clock=clock, report=report, on_fatal=on_fatal)


def state_path(settings: Settings) -> Path | None:
    """Where active versions are remembered: one file for each set of repositories; None for a single file.

    The set is known by its paths as they were given: in whatever order, and wherever a link among them points today.
    """
    if settings.state_dir is None or settings.single_file is not None:
        return None
    roots = sorted({os.fsencode(os.path.abspath(folder)) for folder in settings.repository})
    return settings.state_dir / hashlib.sha256(b"\0".join(roots)).hexdigest()[:16] / "active.json"


def catalog_of(
    settings: Settings, clock: Clock, log: Log, on_fatal: Callable[[str], None], ahead: TrialAhead | None = None
) -> Catalog:
    """Which models there are and which version of each answers; nothing is loaded yet.

    The first trial of a new file takes the process that waits `ahead`.

    Raises:
        CannotStart: the provider that was asked for is not to be had.
    """
    source = source_of(settings)
    for hidden in source.hidden() if isinstance(source, Repositories) else ():
        log.warning("model in two repositories, served from the first", model=hidden)
    overlay = Overlay(source, max_bytes=settings.max_model_bytes, max_request_bytes=settings.max_body_bytes)
    obstacles = find_obstacles()
    try:
        log.info("provider", **asdict(choose_provider(settings.provider, obstacles)))
    except ProviderMissing as error:
        raise CannotStart(str(error)) from error
    loader = loader_of(settings, overlay, obstacles, clock=clock, report=log.warning, on_fatal=on_fatal, ahead=ahead)
    state = StateFile(state_path(settings))
    if state.problem:
        log.warning("state not read", reason=state.problem)
    return Catalog(overlay, Lifecycle(overlay, loader, state, log), log)


def traces_of(settings: Settings) -> TraceOutlets:
    """Where traces go.

    Raises:
        CannotStart: an `OTEL_*` variable has a value that cannot be followed.
    """
    try:
        return TraceOutlets(os.environ, settings.trace_file, installed_version("retort"))
    except BadVariable as error:
        raise CannotStart(str(error)) from error


def credentials_of(settings: Settings, clock: Clock, log: Log) -> Credentials:
    """The keys and the certificate that the settings name.

    Raises:
        CannotStart: they cannot be used.
    """
    pair = (settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    try:
        return Credentials(settings.keys, pair, clock, log)
    except (KeysRefused, CertificateRefused) as error:
        raise CannotStart(str(error)) from error


def fronts_of(
    settings: Settings,
    catalog: Catalog,
    health: Health,
    clock: Clock,
    controls: Controls,
    credentials: Credentials,
) -> Fronts:
    """HTTP and gRPC, bound to their addresses; as many descriptors may be open from now on as the system allows.

    Raises:
        CannotStart: an address is taken.
    """
    listening = Listening(
        host=settings.host,
        http_port=settings.http_port,
        grpc_port=settings.grpc_port,
        max_body_bytes=settings.max_body_bytes,
        drain_timeout_s=settings.drain_timeout_s,
        max_in_flight_bytes=settings.max_in_flight_bytes or memory.whole_bytes() // _OF_MEMORY,
        descriptors=raise_descriptor_limit(),
        access_log=settings.access_log,
        cors_origins=settings.cors_origins,
        shared_memory=settings.shared_memory,
    )
    try:
        return Fronts(catalog, health, listening, clock, controls, credentials)
    except AddressRefused as error:
        raise CannotStart(str(error)) from error


def watchers_of(
    catalog: Catalog,
    health: Health,
    clock: Clock,
    log: Log,
    on_fatal: Callable[[str], None],
    credentials: Credentials,
) -> list[Supervisor]:
    """What goes on beside serving: readiness's probe, loading what was away at its load, reading new credentials."""
    probe = Supervisor(
        "probe",
        health.probe,
        clock=clock,
        on_crash=lambda error: log.error("probe crashed", exc_info=error),
        on_give_up=lambda error: on_fatal(f"the readiness probe gave up: {error}"),
    )
    comeback = Supervisor(
        "comeback",
        Comeback(catalog.entries, catalog.load, clock).watch,
        clock=clock,
        on_crash=lambda error: log.error("loading again crashed", exc_info=error),
        on_give_up=lambda error: log.error("loading again gave up", exc_info=error),
    )
    return [probe, comeback, *_watchers_of_credentials(credentials, clock, log)]


def _watchers_of_credentials(credentials: Credentials, clock: Clock, log: Log) -> list[Supervisor]:
    watches = {}
    if credentials.renewal is not None:
        watches["looking for new credentials"] = credentials.renewal.watch
    if credentials.certificate is not None:
        watches["watching the certificate's end"] = credentials.certificate.watch
    return [
        Supervisor(
            name,
            watch,
            clock=clock,
            on_crash=partial(_tell, log, f"{name} crashed"),
            on_give_up=partial(_tell, log, f"{name} gave up"),
        )
        for name, watch in watches.items()
    ]


def _tell(log: Log, event: str, error: Exception) -> None:
    log.error(event, exc_info=error)
