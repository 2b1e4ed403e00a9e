"""What the settings name is read at once, and again together."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.gateway.credentials import Credentials
from service.gateway.key_file import KeysRefused
from service.gateway.tls import CertificateRefused
from service.observe import logs
from tests.fakes import ManualClock
from tests.support.certificates import make_pair
from tests.support.keys import write_keys
from tests.support.logs import capture_logs

LOG = logs.logger("test")


def test_nothing_is_named_and_nothing_is_read() -> None:
    none = Credentials(None, None, ManualClock(), LOG)
    assert (none.keyring, none.certificate, none.context, none.renewal) == (None, None, None, None)


def test_everything_that_is_named_is_read_again_together(tmp_path: Path) -> None:
    keys, pair = write_keys(tmp_path / "keys"), make_pair(tmp_path)
    both = Credentials(keys, (pair.chain, pair.key), ManualClock(), LOG)
    assert both.certificate is not None and both.context is both.certificate.context
    assert both.keyring is not None and both.renewal is not None
    with capture_logs() as lines:
        both.renewal.read_all()
    assert [line["event"] for line in lines] == ["keys read again", "certificate read again"]


def test_only_what_changed_is_read_by_itself(tmp_path: Path) -> None:
    keys, pair = write_keys(tmp_path / "keys"), make_pair(tmp_path)
    both = Credentials(keys, (pair.chain, pair.key), ManualClock(), LOG)
    assert both.renewal is not None
    keys.write_text("nonsense and more of it")
    with capture_logs() as lines:
        both.renewal.read_changed()
    assert [line["event"] for line in lines] == ["keys not read again, the old ones hold"]


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysRefused):
        Credentials(tmp_path / "none", None, ManualClock(), LOG)
    with pytest.raises(CertificateRefused):
        Credentials(None, (tmp_path / "none", tmp_path / "none"), ManualClock(), LOG)
