"""When a chain of certificates ends: the moment after which clients refuse it, read from its PEM text.

Follows DER (X.690) as far as the field `validity` of RFC 5280, 4.1.2.5. Whether anything else in it is right is
OpenSSL's affair, and what time it is the caller's.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_BEFORE_VALIDITY = 3  # the serial number, the algorithm and the issuer
_LONG = 0x80
_PIVOT_YEAR = 50  # RFC 5280: two digits from 50 on are of the last century
# RFC 5280 says how long "for ever" is written: a year that not every clock can add to.
_FOR_EVER = "99991231235959Z"


def end_of(chain: bytes) -> float:
    """Seconds since the epoch at which the first of the chain's certificates ends; infinity where none does.

    Raises:
        ValueError: there is no certificate, or the end of one cannot be read.
    """
    blocks = _BLOCK.findall(chain.decode("ascii", "replace"))
    if not blocks:
        raise ValueError("no certificate")
    return min(_end_s(ssl.PEM_cert_to_DER_cert(block)) for block in blocks)


def _end_s(der: bytes) -> float:
    _, certificate, _ = _element(der, _SEQUENCE)
    _, signed, _ = _element(certificate, _SEQUENCE)
    tag, _, rest = _element(signed)
    if tag == _VERSION:
        _, _, rest = _element(rest)
    for _ in range(_BEFORE_VALIDITY - 1):
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest, _SEQUENCE)
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    return _moment(tag, text.decode("ascii"))


def _moment(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _PIVOT_YEAR else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    if text == _FOR_EVER:
        return float("inf")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(data: bytes, wanted: int | None = None) -> tuple[int, bytes, bytes]:
    """The first element: its tag, what it holds, and what follows it."""
    if len(data) < 2 or (wanted is not None and data[0] != wanted):  # noqa: PLR2004 - tag and length
        raise ValueError("not the DER of a certificate")
    start, length = 2, data[1]
    if length & _LONG:
        start += length & ~_LONG
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("the DER ends early")
    return data[0], data[start : start + length], data[start + length :]
