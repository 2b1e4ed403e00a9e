"""Traces: both forms, packed and not, real ones, and files that are none."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
from pathlib import Path

import pytest

from loadtests.traces import BadTrace, read_trace
from tests.support.real_data import real_data


def archive(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"3\n0\n5\n",
        bz2.compress(b"3\n0\n5\n"),
        gzip.compress(b"3 0 5", mtime=0),
        bz2.compress(archive(("t.txt", b"3\n0\n5"))),
        archive(("t.txt", b"3\n0\n5")),
        b"time,size\n0.0,1\n0.2,1\n0.9,1\n2.0,4\n2.1,4\n2.2,4\n2.3,4\n2.9,4\n",
        b"TIMESTAMP,Tokens\n2023-11-16 18:15:46.1000000,1\n2023-11-16 18:15:46.2,1\n2023-11-16 18:15:46.9000001,1\n"
        + b"2023-11-16 18:15:48.6805900,1\n" * 5,
    ],
)
def test_a_trace_in_any_form(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trace").write_bytes(content)
    assert read_trace(tmp_path / "trace").tolist() == [3, 0, 5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no request"),
        (b"0\n0\n", "holds no request"),
        (b"1\n-2\n", "negative number of requests, in line 2"),
        (b"1\n2.5\n", "no list of whole numbers"),
        (b"99999999999999999999999\n", "no list of whole numbers"),
        (b"what is this\n", "no list of whole numbers"),
        (b"a,b\n1,2\n", "no column named"),
        (b"time,b\n", "holds no request"),
        (b"time,b\nyesterday,2\n", "cannot be read: 'yesterday'"),
        (b"time,b\n,2\n", "cannot be read"),
        (bz2.compress(b"1\n2\n")[:-8], "cannot be unpacked|no request"),
        (b"\x1f\x8b broken", "cannot be unpacked"),
        (archive(("a", b"1"), ("b", b"2")), "archive of 2 files"),
        (b"\x00\xff\xfe" * 100, "no list of whole numbers"),
    ],
)
def test_a_file_that_is_no_trace_is_told_in_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "trace").write_bytes(content)
    with pytest.raises(BadTrace, match=said):
        read_trace(tmp_path / "trace")


def test_a_file_that_grows_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.traces.LIMIT_BYTES", 1000)
    (tmp_path / "trace").write_bytes(gzip.compress(b"1\n" * 5000))
    with pytest.raises(BadTrace, match="more than 1000 bytes"):
        read_trace(tmp_path / "trace")


def test_the_twitter_trace() -> None:
    counts = read_trace(real_data("traces") / "twitter_trace.workload.tbz2")
    assert len(counts) > 3600 and counts.mean() > 1


def test_the_azure_trace() -> None:
    counts = read_trace(real_data("traces") / "AzureLLMInferenceTrace_conv.csv")
    assert len(counts) > 600 and counts.sum() > 10_000


def test_a_trace_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match=r"/none\.txt cannot be read: No such file or directory\.$"):
        read_trace(tmp_path / "none.txt")
