from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.tune.model_yaml import BadYaml, edited, only, present_settings, replace_file
from loadtests.tune.settings import Settings
from service.repository.model_config import read_model_config

ALL = Settings(max_batch_size=8, max_queue_delay_microseconds=500, instances=2, threads=3)
COMMENTED = """# What it is for.
active: 1          # the full one
max_batch_size: 64 # tried by hand
labels: ["0", "1"]

dynamic_batching:
  # Waiting rooms.
  max_queue_size: 256
  default_timeout_microseconds: 500000
finite_outputs: true
"""
FORMS = [
    "",
    "# only a comment\n",
    "instances: 4",
    COMMENTED,
    "{active: 1, dynamic_batching: {max_queue_size: 9}}\n",
    "{}\n",
    "dynamic_batching: {}\nlabels: [a]\n",
    "dynamic_batching: {max_queue_delay_microseconds: 7, max_queue_size: 9} # note\n",
    "dynamic_batching:\n    max_queue_delay_microseconds: 7\n    max_queue_size: 9\nthreads: '2'\n",
    "# ä ö ü: characters of two bytes\nmax_batch_size: 16\n",
]


@pytest.mark.parametrize("text", FORMS)
def test_the_server_reads_the_new_values_and_all_others_as_before(text: str) -> None:
    before, after = (read_model_config(one.encode(), "x") for one in (text, edited(text, ALL)))
    assert (after.max_batch_size, after.instances, after.threads) == (8, 2, 3)
    assert after.dynamic_batching.max_queue_delay_microseconds == 500
    same = {"max_batch_size", "instances", "threads", "dynamic_batching"}
    assert after.model_dump(exclude=same) == before.model_dump(exclude=same)
    queue = {"max_queue_delay_microseconds"}
    assert after.dynamic_batching.model_dump(exclude=queue) == before.dynamic_batching.model_dump(exclude=queue)


def test_every_other_byte_stays() -> None:
    text = edited(COMMENTED, ALL)
    assert text == COMMENTED.replace("max_batch_size: 64", "max_batch_size: 8").replace(
        "  max_queue_size: 256", "  max_queue_delay_microseconds: 500\n  max_queue_size: 256"
    ) + ("instances: 2\nthreads: 3\n")
    assert edited(COMMENTED, Settings()) == COMMENTED


def test_the_present_settings_are_read_with_the_server_s_defaults() -> None:
    assert present_settings("") == Settings(32, 0, 1, None)
    assert present_settings("threads: 2\ndynamic_batching: {max_queue_delay_microseconds: 9}") == Settings(32, 9, 1, 2)
    config = read_model_config(b"", "x")
    defaults = present_settings("")
    assert (
        (config.max_batch_size, config.instances, config.threads)
        == (32, 1, None)
        == (
            defaults.max_batch_size,
            defaults.instances,
            defaults.threads,
        )
    )


@pytest.mark.parametrize("text", ["[1, 2]", "a: b: c", "dynamic_batching: [1]\n"])
def test_what_cannot_be_edited_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(BadYaml, match=r"^[^\n]*model\.yaml[^\n]*\.$"):
        edited(text, ALL)


def test_a_version_alone_keeps_every_other_setting() -> None:
    config = read_model_config(only(edited(COMMENTED, ALL), "1-int8").encode(), "x")
    assert (config.versions, config.active) == (("1-int8",), "1-int8")
    assert config.finite_outputs and config.max_batch_size == 8 and config.labels == ("0", "1")


def test_the_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("old")
    file.chmod(0o640)
    replace_file(file, "new\n")
    assert file.read_text() == "new\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["model.yaml"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("loadtests.tune.model_yaml.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace_file(file, "new\n")
    assert file.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["model.yaml"]
