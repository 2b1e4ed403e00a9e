from __future__ import annotations

import pytest

from service.gateway.http.hosts import names_hosts


@pytest.mark.parametrize(("hosts", "more"), [((), False), ((b"x",), False), ((b"x", b"x"), True), ((b"x", b"y"), True)])
def test_more_than_one_is_seen(hosts: tuple[bytes, ...], more: bool) -> None:
    headers = [(b"accept", b"*/*"), *((b"host", host) for host in hosts), (b"x-host", b"x")]
    assert names_hosts(headers) is more
