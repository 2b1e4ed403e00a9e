"""From an order to the versions that are compared: which there are, what is sent to each, and what each should answer.

Everything is asked for before any load: a mistake costs no minutes.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from loadtests.comparison import Contender
from loadtests.grpc_messages import messages_of
from loadtests.order import Order
from loadtests.outcome import Card, Entry
from loadtests.peers import label_of, versions_at
from loadtests.pools import Pool, Rows, Signature, infer_path, requests_of
from loadtests.rows import rows_for, with_reference
from loadtests.server import CannotLoad, Server, signature_of

_REACHED_S = 5.0


@dataclass(frozen=True, slots=True)
class Field:
    """Who takes part.

    Attributes:
        contenders: in the order asked for.
        entries: the same, as the report knows them.
        rows: that all are asked.
    """

    contenders: tuple[Contender, ...]
    entries: tuple[Entry, ...]
    rows: Rows


def gather(order: Order, servers: Sequence[Server]) -> Field:
    """Asks the servers for the versions, and each version for what it answers to every row when it is asked alone.

    Raises:
        CannotLoad: a server or a version does not answer, none tells its inputs and outputs, or these differ.
        BadRows: the rows do not fit the model.
    """
    pairs = versions_at(order, servers)
    told = [server.metadata(order.model, version) for server, version in pairs]
    known = next((one for one in told if one.get("inputs") and one.get("outputs")), None)
    if known is None:
        raise CannotLoad(f"{servers[0].url} does not tell the inputs and outputs of {order.model}.")
    rows = rows_for(order.model, known, order.data, seed=order.seed)
    contenders = tuple(
        _contender(order, label, *pair, rows, signature_of(one) or signature_of(known))
        for label, pair, one in zip(_labels(pairs, several=len(servers) > 1), pairs, told, strict=True)
    )
    inputs = contenders[0].pool.signature.inputs
    for one in contenders:
        if one.pool.signature.inputs != inputs:
            raise CannotLoad(
                f"{one.label} takes the inputs {dict(one.pool.signature.inputs)}, the first {dict(inputs)}."
            )
    return Field(contenders, _entries(order, contenders), rows)


def _contender(order: Order, label: str, server: Server, version: str, rows: Rows, signature: Signature) -> Contender:
    known = with_reference(rows, server, order.model, version, signature)
    return Contender(label, server, order.model, version, pool_of(order, server, version, known, signature))


def pool_of(order: Order, server: Server, version: str, rows: Rows, signature: Signature) -> Pool:
    """The requests of these rows to a version at a server, in the order's encoding; "" names no version."""
    output = next(iter(signature.outputs))
    if order.encoding == "grpc":
        host, _, port = order.grpc[order.urls.index(server.url)].rpartition(":")
        messages = messages_of(rows, signature, model=order.model, version=version)
        key = (("authorization", f"Bearer {order.key}"),) if order.key else ()
        address = (host.strip("[]"), int(port))
        _reach(address)
        return Pool(address, messages, rows, signature, output, version, protocol="grpc", metadata=key, tls=server.tls)
    requests = requests_of(
        rows,
        signature,
        host=":".join(map(str, server.address)),
        path=infer_path(order.model, version),
        encoding=order.encoding,
        headers=server.headers,
    )
    return Pool(server.address, requests, rows, signature, output, version, tls=server.tls)


def _reach(address: tuple[str, int]) -> None:
    """Raises CannotLoad where nobody listens for gRPC: what is asked before the traffic is asked over HTTP."""
    try:
        socket.create_connection(address, timeout=_REACHED_S).close()
    except OSError as error:
        raise CannotLoad(f"no gRPC server listens at {address[0]}:{address[1]}: {error.strerror or error}.") from None


def _labels(pairs: Sequence[tuple[Server, str]], *, several: bool) -> list[str]:
    """The version's id; with the server's address where there are several, and a number from the second alike on."""
    names = [label_of(server, version, several=several) for server, version in pairs]
    seen: Counter[str] = Counter()
    labels = []
    for name in names:
        seen[name] += 1
        labels.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return labels


def _entries(order: Order, contenders: Sequence[Contender]) -> tuple[Entry, ...]:
    told = {one.server.url: one.server.summaries(order.model) for one in contenders}
    entries = tuple(
        Entry(one.label, one.server.url, one.version, card=_card_of(one, told[one.server.url])) for one in contenders
    )
    return tuple(replace(entry, full=_full(entry, entries)) for entry in entries)


def _full(entry: Entry, entries: Sequence[Entry]) -> str | None:
    """What a version is held against: its full version at the same server, else the first of all."""
    beside = (one for one in entries if one.url == entry.url and one.version == entry.card.variant_of)
    found = next(beside, entries[0])
    return None if found.label == entry.label else found.label


def _card_of(one: Contender, summaries: Sequence[dict[str, Any]]) -> Card:
    told = next((each for each in summaries if str(each.get("version")) == one.version), None)
    if told is None:
        return Card()
    reasons = one.server.card(one.model, one.version).get("reasons") if told.get("verdict") else None
    return _card(told, tuple(reasons or ()))


def _card(told: dict[str, Any], reasons: tuple[str, ...] = ()) -> Card:
    measured = told.get("quality") or [{}]
    return Card(
        variant_of=told.get("variant_of"),
        recipe=told.get("recipe"),
        size_bytes=told.get("bytes"),
        accuracy=told.get("accuracy"),
        agreement=told.get("agreement"),
        task=measured[0].get("task"),
        verdict=told.get("verdict"),
        reasons=reasons,
    )
