"""Several servers in one run, of whichever make: who they are, which versions each has, and what all understand.

What a server says of itself is believed; where it says nothing it is taken to be like ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from loadtests.order import Order
from loadtests.server import CannotLoad, Server

Pairs = list[tuple[Server, str]]


def in_common(order: Order, servers: Sequence[Server]) -> tuple[Order, list[str]]:
    """(the order in an encoding that all of them take, what is to be said of that and of who they are)."""
    notes = []
    without = [_place(server) for server in servers if not server.takes_binary]
    if without and order.encoding == "binary":
        order = replace(order, encoding="json")
        notes.append(f"{', '.join(without)} takes no binary tensors: all are asked in JSON.")
    if len(servers) > 1:
        notes += [f"{_place(server)} says that it is {server.calls_itself}." for server in servers]
    return order, notes


def versions_at(order: Order, servers: Sequence[Server]) -> Pairs:
    """Each server with each version that is wanted of it, in the order that was asked for.

    A version that only some of several servers name is asked of those. A server that names none takes part with what it
    has, as the version "".

    Raises:
        CannotLoad: none of several servers names one of the versions, or one has no such model.
    """
    if len(servers) == 1:
        return [(servers[0], version) for version in order.versions or servers[0].versions(order.model) or ("",)]
    pairs: Pairs = []
    for server in servers:
        named = server.versions(order.model) or ("",)
        wanted = order.versions if order.versions and named != ("",) else named
        pairs += [(server, version) for version in wanted if version in named]
    missing = [version for version in order.versions if version not in {version for _, version in pairs}]
    if missing:
        raise CannotLoad(f"none of the servers names version {missing[0]} of {order.model}.")
    return pairs


def label_of(server: Server, version: str, *, several: bool) -> str:
    """The version's id, with the server's address where there are several."""
    if not several:
        return version or "unversioned"
    return f"{version}@{_place(server)}" if version else _place(server)


def _place(server: Server) -> str:
    return urlsplit(server.url).netloc
