"""A test skips for want of real data only where that is missing as a whole."""

from pathlib import Path

import pytest

from tests.support.real_data import real_data


def test_without_the_variable_the_test_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_DATA", raising=False)
    with pytest.raises(pytest.skip.Exception, match="TEST_DATA is not set; its mnist/ is wanted"):
        real_data("mnist")


def test_a_folder_that_is_not_there_skips_and_one_that_is_there_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEST_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="TEST_DATA holds no sst2/"):
        real_data("sst2")
    (tmp_path / "sst2").mkdir()
    assert real_data("sst2") == tmp_path / "sst2"


def test_a_name_that_is_none_fails_instead_of_skipping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_DATA", raising=False)
    with pytest.raises(ValueError, match="'mnst' is none of banking77, cifar10"):
        real_data("mnst")
