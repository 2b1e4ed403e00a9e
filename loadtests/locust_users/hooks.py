"""What Locust calls when its options are read, when it starts and when a test begins."""

from __future__ import annotations

import logging
from typing import Any

import gevent
from locust import User, constant_throughput, events
from locust.env import Environment
from locust.runners import MasterRunner

from loadtests.locust_users.material import Material, prepare
from loadtests.locust_users.options import add_options, data_of
from loadtests.rows import BadRows
from loadtests.server import CannotLoad

NOT_PREPARED = 1
STOP_AFTER_S = 0.2


def listen() -> None:
    """Registers everything below."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for each reference answer
    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(choose_users)
    events.init.add_listener(make_ready_early)
    events.test_start.add_listener(make_ready)


def choose_users(environment: Environment, **_: Any) -> None:
    """With --tags or --exclude-tags, leaves out the users that would have no task."""
    options: Any = environment.parsed_options
    wanted, unwanted = set(options.tags or ()), set(options.exclude_tags or ())
    if not (wanted or unwanted):
        return
    kept = [one for one in environment.user_classes if _chosen(_tags(one), wanted, unwanted)]
    environment.user_classes[:] = kept or environment.user_classes


def make_ready_early(environment: Environment, **_: Any) -> None:
    """Without the web page the host is known from the start: the test's time then begins when all is ready."""
    options: Any = environment.parsed_options
    if not options.headless or options.worker:
        return
    make_ready(environment)
    if environment.process_exit_code == NOT_PREPARED:
        raise SystemExit(NOT_PREPARED)


def make_ready(environment: Environment, **_: Any) -> None:
    """Asks the server and prepares the requests; what is in the way is logged in a sentence, and ends the test."""
    options: Any = environment.parsed_options
    headless = options.headless and not options.worker
    if isinstance(environment.runner, MasterRunner) or (headless and getattr(environment, "material", None)):
        return
    environment.material = None  # type: ignore[attr-defined]
    try:
        material = prepare(environment.host or "", options.model, options.model_version, data_of(options), options.key)
    except (CannotLoad, BadRows) as error:
        logging.error("the load test cannot begin: %s", error)
        environment.process_exit_code = NOT_PREPARED
        if environment.runner is not None and not headless:
            gevent.spawn_later(STOP_AFTER_S, environment.runner.stop)  # it is about to start its users
        return
    logging.info("%s: %d rows of %s", material.name, len(material.rows), material.rows.source)
    environment.material = material  # type: ignore[attr-defined]


def material_of(user: User) -> Material:
    """What was made ready; without it a user waits for the end, which has been ordered."""
    material: Material | None = getattr(user.environment, "material", None)
    while material is None:
        gevent.sleep(STOP_AFTER_S)
    return material


def wait(user: User) -> float:
    """Locust's wait time of a user: as many requests a second as asked for, at most."""
    options: Any = user.environment.parsed_options
    return float(constant_throughput(options.rate_per_user)(user)) if options.rate_per_user > 0 else 0.0


def _tags(user: type[User]) -> set[str]:
    return set().union(*(getattr(task, "locust_tag_set", set()) for task in user.tasks))


def _chosen(tags: set[str], wanted: set[str], unwanted: set[str]) -> bool:
    return (not wanted or bool(tags & wanted)) and not tags & unwanted
