"""When real certificates end, held against what the `openssl` program says of them."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from service.gateway.certificate_end import end_of
from tests.support.certificates import make_pair


def openssl_says(chain: Path) -> float:
    asked = ["openssl", "x509", "-in", str(chain), "-noout", "-enddate"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    return float(ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter=")))


@pytest.mark.parametrize("days", [1, 90, 20_000])  # the last one ends after 2049: written in another form
def test_the_end_is_the_one_that_openssl_reads(tmp_path: Path, days: int) -> None:
    chain = make_pair(tmp_path, days=days).chain
    assert end_of(chain.read_bytes()) == openssl_says(chain)


def test_a_chain_ends_with_the_first_of_its_certificates(tmp_path: Path) -> None:
    long, short = (make_pair(tmp_path, name, days=days).chain for name, days in (("long", 90), ("short", 5)))
    both = long.read_bytes() + b"# an authority\n" + short.read_bytes()
    assert end_of(both) == openssl_says(short)


@pytest.mark.parametrize("taken", [1, 40, 100])
def test_what_is_no_certificate_has_no_end(tmp_path: Path, taken: int) -> None:
    der = ssl.PEM_cert_to_DER_cert(make_pair(tmp_path).chain.read_text())
    for text in ("", ssl.DER_cert_to_PEM_cert(der[:taken])):
        with pytest.raises(ValueError, match=r"certificate|DER"):
            end_of(text.encode())
