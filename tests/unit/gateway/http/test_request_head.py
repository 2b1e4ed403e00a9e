from __future__ import annotations

import math

import pytest

from service.core.errors import BadInput
from service.gateway.http.request_head import origin_of, read_head, request_id_of


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"132", 132), (b"007", 7)])
def test_the_json_s_length_is_a_number(value: bytes, length: int) -> None:
    assert read_head({b"inference-header-content-length": value}).header_length == length


def test_without_the_header_there_is_no_length() -> None:
    assert read_head({}).header_length is None


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"ten", b" 1", b"0x10", b"9" * 16, b"\xb2", b"\xd9\xa1"])
def test_a_length_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(BadInput, match="Inference-Header-Content-Length must be a number of bytes"):
        read_head({b"inference-header-content-length": value})


@pytest.mark.parametrize(("header_ms", "at_s"), [(None, math.inf), (b"500", 100.5), (b"1", 100.001)])
def test_the_header_is_the_deadline(header_ms: bytes | None, at_s: float) -> None:
    headers = {} if header_ms is None else {b"retort-timeout-ms": header_ms}
    assert read_head(headers).deadline(100.0).at_s == pytest.approx(at_s)


@pytest.mark.parametrize("value", [b"0", b"-5", b"soon", b"1e3"])
def test_a_timeout_that_is_no_number_above_zero_is_refused(value: bytes) -> None:
    with pytest.raises(BadInput, match=r"Retort-Timeout-Ms .* a whole number of milliseconds above 0"):
        read_head({b"retort-timeout-ms": value})


def test_the_origin_is_the_peer_s_address() -> None:
    assert origin_of({"client": ("10.0.0.1", 5)}) == "10.0.0.1"
    assert origin_of({"client": None}) == origin_of({}) == ""


def test_the_id_of_the_client_is_found_among_its_headers() -> None:
    assert request_id_of({"headers": [(b"host", b"h"), (b"x-request-id", b"abc"), (b"x-request-id", b"d")]}) == b"abc"
    assert request_id_of({"headers": [(b"host", b"h")]}) == b""
