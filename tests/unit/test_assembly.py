"""What the settings are made into."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from service.assembly import (
    CannotStart,
    catalog_of,
    credentials_of,
    loader_of,
    source_of,
    state_path,
    traces_of,
    watchers_of,
)
from service.core.clock import MonotonicClock
from service.gateway.credentials import Credentials
from service.gateway.rights import Right
from service.gateway.tls import Certificate
from service.observe import logs
from service.repository.layout import Repositories, SingleFile
from service.repository.model_config import ModelConfig
from service.serving.readiness import Health
from tests.support.certificates import make_pair
from tests.support.keys import line_of, write_keys
from tests.support.logs import capture_logs
from tests.unit.server_parts import OBSTACLES, one_model, settings
from tests.unit.serving import models


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return one_model(tmp_path)


def test_models_come_from_every_repository(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "n" / "1").mkdir(parents=True)
    source = source_of(settings(repository, other))
    assert isinstance(source, Repositories)
    assert source.models() == ["m", "n"]


def test_one_file_is_a_model_of_its_own(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "scales.onnx"
    file.write_bytes(models.scales(2.0))
    source = source_of(settings(file))
    assert isinstance(source, SingleFile)
    assert source.models() == ["scales"]


def test_the_size_limit_reaches_the_reader(repository: Path) -> None:
    with pytest.raises(Exception, match="more than"):
        source_of(settings(repository, max_model_bytes=10)).read_version("m", "1")


def test_each_set_of_repositories_remembers_its_own(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    paths = [
        state_path(settings(repository)),
        state_path(settings(other)),
        state_path(settings(repository, other)),
    ]
    assert len(set(paths)) == 3
    assert all(path is not None and path.is_relative_to(tmp_path / "state") for path in paths)
    assert all(path is not None and path.name == "active.json" for path in paths)


def test_the_order_of_the_repositories_is_no_part_of_the_set(tmp_path: Path) -> None:
    repositories = [tmp_path / str(number) for number in range(20)]
    here = state_path(settings(*repositories))
    assert state_path(settings(*reversed(repositories))) == here
    assert state_path(settings(*repositories, repositories[0])) == here


def test_a_link_that_points_elsewhere_is_the_same_repository(repository: Path, tmp_path: Path) -> None:
    current = tmp_path / "current"
    current.symlink_to(repository)
    before = state_path(settings(current))
    current.unlink()
    current.symlink_to(tmp_path / "release-2")
    assert state_path(settings(current)) == before


def test_a_repository_may_be_named_relative_to_where_the_server_starts(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state"
    here = state_path(settings(repository, state_dir=state))
    assert state_path(settings(Path("repository"), state_dir=state)) == here
    assert state_path(settings(repository / "m" / "..", state_dir=state)) == here


def test_a_repository_whose_path_is_no_utf8_is_remembered_too(tmp_path: Path) -> None:
    strange = state_path(settings(Path(os.fsdecode(bytes(tmp_path) + b"/\xff")), state_dir=tmp_path))
    assert strange is not None and strange != state_path(settings(tmp_path / "y", state_dir=tmp_path))


def test_nothing_is_remembered_without_a_folder_or_of_a_single_file(repository: Path, tmp_path: Path) -> None:
    assert state_path(settings(repository, state_dir=None)) is None
    assert state_path(settings(tmp_path / "scales.onnx")) is None


@pytest.mark.parametrize("state", [True, False])
async def test_the_loader_tries_a_version_once_and_writes_that_down_where_it_may(
    repository: Path, tmp_path: Path, state: bool
) -> None:
    chosen = settings(repository, trial_memory_bytes=2**32, **({} if state else {"state_dir": None}))
    said: list[str] = []
    made = loader_of(
        chosen,
        source_of(chosen),
        OBSTACLES,
        clock=MonotonicClock(),
        report=said.append,
        on_fatal=said.append,  # type: ignore[arg-type]
    )
    servable = await made.load("m", "1", ModelConfig())
    assert servable is not None
    await servable.retire()
    assert (tmp_path / "state" / "trials.json").exists() is state
    assert said == []


def test_what_an_operator_should_know_of_the_disk_is_logged_at_the_start(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "m" / "1").mkdir(parents=True)
    chosen = settings(repository, other)
    path = state_path(chosen)
    assert path is not None
    path.parent.mkdir(parents=True)
    path.write_text("damaged")
    with capture_logs() as lines:
        catalog_of(chosen, MonotonicClock(), logs.logger("service"), pytest.fail)
    told = {line["event"]: line for line in lines if line["log_level"] == "warning"}
    assert told["model in two repositories, served from the first"]["model"] == "m"
    assert "damaged" in told["state not read"]["reason"]


@pytest.mark.parametrize(("asked", "reason"), [("auto", "no CUDA: this is a test"), ("cpu", "asked for")])
def test_the_log_says_which_provider_serves(
    repository: Path, monkeypatch: pytest.MonkeyPatch, asked: str, reason: str
) -> None:
    monkeypatch.setattr("service.assembly.find_obstacles", lambda: OBSTACLES)
    with capture_logs() as lines:
        catalog_of(settings(repository, provider=asked), MonotonicClock(), logs.logger("service"), pytest.fail)
    [line] = [line for line in lines if line["event"] == "provider"]
    assert (line["log_level"], line["provider"]) == ("info", "cpu")
    assert line["reason"].startswith(reason)


def test_a_provider_that_was_asked_for_and_cannot_be_had_stops_the_start(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.assembly.find_obstacles", lambda: OBSTACLES)
    with pytest.raises(CannotStart, match="the cuda provider cannot be had here: this is a test"):
        catalog_of(settings(repository, provider="cuda"), MonotonicClock(), logs.logger("service"), pytest.fail)


async def test_keys_that_change_are_read_by_a_server_that_nobody_told(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = write_keys(tmp_path / "keys")
    chosen, clock, log = settings(repository, keys=keys), MonotonicClock(), logs.logger("service")
    credentials = credentials_of(chosen, clock, log)
    assert credentials.renewal is not None and credentials.keyring is not None
    credentials.renewal._look_every_s = 0.001
    catalog = catalog_of(chosen, clock, log, pytest.fail)
    *others, renewing = watchers_of(catalog, Health(catalog, None), clock, log, pytest.fail, credentials)
    assert len(others) == len(
        watchers_of(catalog, Health(catalog, None), clock, log, pytest.fail, Credentials(None, None, clock, log))
    )
    came, read_again = asyncio.Event(), credentials.keyring._use
    monkeypatch.setattr(credentials.keyring, "_use", lambda holders: (read_again(holders), came.set()))
    renewing.start()
    keys.write_text(line_of("app", "new-key", "infer"))
    await asyncio.wait_for(came.wait(), 20)
    await renewing.stop()
    assert credentials.keyring.identify(b"new-key", Right.INFER).name == "app"


def test_without_keys_and_certificate_there_is_nothing_to_read_again(repository: Path) -> None:
    assert credentials_of(settings(repository), MonotonicClock(), logs.logger("service")).renewal is None


async def test_the_end_of_a_certificate_is_watched(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside its files, and from the start on."""
    pair, clock, log = make_pair(tmp_path), MonotonicClock(), logs.logger("service")
    began = asyncio.Event()

    async def watch(_certificate: Certificate) -> None:
        began.set()

    monkeypatch.setattr(Certificate, "watch", watch)
    catalog = catalog_of(settings(repository), clock, log, pytest.fail)
    credentials = Credentials(None, (pair.chain, pair.key), clock, log)
    *_, watching = watchers_of(catalog, Health(catalog, None), clock, log, pytest.fail, credentials)
    watching.start()
    await asyncio.wait_for(began.wait(), 10)
    await watching.stop()


def test_a_trace_file_without_a_folder_stops_the_start(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"^RETORT_TRACE_FILE: .*/none is no folder that can be written to\.$"):
        traces_of(settings(repository, trace_file=tmp_path / "none" / "traces.json"))
    assert traces_of(settings(repository, trace_file=tmp_path / "traces.json")).open
