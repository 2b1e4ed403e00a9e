"""A certificate that is read, refused in a sentence, and read again."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import time
from pathlib import Path

import pytest

from service.gateway.tls import DAY_S, Certificate, CertificateRefused
from service.observe import logs
from tests.support.certificates import Pair, make_pair
from tests.support.logs import capture_logs

LOG = logs.logger("test")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    folder = tmp_path_factory.mktemp("pairs")
    return make_pair(folder, "one"), make_pair(folder, "two")


def shown(certificate: Certificate, trusted: Pair) -> str:
    """Whom a client that trusts `trusted` finds, without any socket; raises where it does not believe it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    believer = ssl.create_default_context(cafile=trusted.chain)
    client = believer.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    subject = client.getpeercert()["subject"]  # type: ignore[index]
    return str(subject[0][0][1])  # type: ignore[index]


def test_a_pair_is_shown_and_its_bytes_are_grpc_s(pairs: tuple[Pair, Pair]) -> None:
    certificate = Certificate(pairs[0].chain, pairs[0].key, LOG)
    assert shown(certificate, pairs[0]) == "one"
    assert certificate.pem == (pairs[0].key.read_bytes(), pairs[0].chain.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(certificate, pairs[1])


def test_nothing_older_than_tls_1_2_is_spoken(pairs: tuple[Pair, Pair]) -> None:
    assert Certificate(pairs[0].chain, pairs[0].key, LOG).context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_pair_that_changed_is_shown_from_then_on(pairs: tuple[Pair, Pair], tmp_path: Path) -> None:
    chain, key = shutil.copy(pairs[0].chain, tmp_path / "chain"), shutil.copy(pairs[0].key, tmp_path / "key")
    certificate = Certificate(chain, key, LOG)
    shutil.copy(pairs[1].chain, chain)
    with capture_logs() as lines:
        certificate.read_again()
    assert "is not that of the certificate" in lines[0]["reason"]
    assert shown(certificate, pairs[0]) == "one", "half a pair changes nothing"
    shutil.copy(pairs[1].key, key)
    with capture_logs() as lines:
        certificate.read_again()
    assert [line["event"] for line in lines] == ["certificate read again"]
    assert shown(certificate, pairs[1]) == "two"
    assert certificate.pem == (pairs[1].key.read_bytes(), pairs[1].chain.read_bytes())


def refusal(chain: Path, key: Path) -> str:
    with pytest.raises(CertificateRefused) as caught:
        Certificate(chain, key, LOG)
    return str(caught.value)


def test_each_way_of_being_wrong_has_its_sentence(pairs: tuple[Pair, Pair], tmp_path: Path) -> None:
    one, two = pairs
    nothing, words = tmp_path / "nothing", tmp_path / "words"
    words.write_text("no certificate")
    assert refusal(nothing, one.key) == f"{nothing} cannot be read: no such file or directory"
    assert refusal(one.chain, nothing) == f"{nothing} cannot be read: no such file or directory"
    assert refusal(tmp_path, one.key) == f"{tmp_path} is no regular file, as keys and certificates must be"
    os.mkfifo(pipe := tmp_path / "pipe")  # nobody writes: to open it would take for ever
    assert refusal(pipe, one.key) == f"{pipe} is no regular file, as keys and certificates must be"
    assert refusal(one.chain, two.key) == f"the key {two.key} is not that of the certificate {one.chain}"
    for chain, key in ((words, one.key), (one.chain, words), (one.key, one.chain)):
        assert refusal(chain, key) == f"{chain} and {key} are no certificate and private key in PEM form"


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, password="hush")
    assert refusal(pair.chain, pair.key) == f"the key {pair.key} has a password: give one without"


@pytest.mark.parametrize(
    ("later_days", "told"),
    [
        (0, []),
        (45, []),
        (47, [("warning", "the certificate ends soon", 12)]),
        (59.5, [("warning", "the certificate ends soon", 0)]),
        (61, [("error", "the certificate has ended: clients refuse it", None)]),
    ],
)
def test_an_end_that_is_near_is_told_at_the_start(
    pairs: tuple[Pair, Pair], later_days: float, told: list[tuple[str, str, int | None]]
) -> None:
    """They last 60 days."""
    with capture_logs() as lines:
        certificate = Certificate(pairs[0].chain, pairs[0].key, LOG, lambda: time.time() + later_days * DAY_S)
    assert [(line["log_level"], line["event"], line.get("whole_days_left")) for line in lines] == told
    assert certificate.left_s() == pytest.approx((60 - later_days) * DAY_S, abs=3600)


async def test_an_end_that_comes_near_is_told_again_until_the_certificate_is_renewed(tmp_path: Path) -> None:
    short, long = make_pair(tmp_path, "short", days=10), make_pair(tmp_path, "long", days=90)
    certificate = Certificate(short.chain, short.key, LOG)
    with capture_logs() as lines:
        watching = asyncio.ensure_future(certificate.watch(0.01))
        while len(lines) < 3:  # noqa: ASYNC110 - the log has no event to wait for
            await asyncio.sleep(0.01)
        shutil.copy(long.chain, short.chain)
        shutil.copy(long.key, short.key)
        certificate.read_again()
        lines.clear()
        await asyncio.sleep(0.1)
        watching.cancel()
    assert lines == []
    assert certificate.left_s() == pytest.approx(90 * DAY_S, abs=3600)


def test_a_pair_that_is_refused_leaves_the_end_of_the_old_one(tmp_path: Path) -> None:
    short, long = make_pair(tmp_path, "short", days=10), make_pair(tmp_path, "long", days=90)
    certificate = Certificate(short.chain, short.key, LOG)
    shutil.copy(long.chain, short.chain)
    certificate.read_again()
    assert certificate.left_s() == pytest.approx(10 * DAY_S, abs=3600)
