"""The processor's class, from texts as kernels print them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from service.core.cpu import cpu_class, parse_cpu_class

AVX512 = "avx512f avx512bw avx512dq avx512vl"


def intel(flags: str, processors: int = 1) -> str:
    block = (
        f"processor\t: 0\nmodel name\t: Some (R) CPU @ 2.1GHz: fast\nflags\t\t: fpu sse2 {flags}\nbugs\t\t: spectre\n\n"
    )
    return block * processors


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (f"avx2 {AVX512} avx512_vnni", "avx512_vnni"),
        (f"avx2 {AVX512} avx512_vnni avx_vnni amx_int8", "avx512_vnni"),
        ("avx2 avx_vnni", "avx_vnni"),
        (f"avx2 {AVX512}", "avx512"),
        ("avx2 avx512f", "avx2"),  # Knights Landing: not what the kernels need
        ("avx2 avx512_vnni", "avx2"),  # VNNI that a hypervisor shows without the rest of AVX-512
        ("avx2", "avx2"),
        ("avx", "other"),
        ("", "other"),
        ("avx2x notavx512f", "other"),  # whole words only
    ],
)
def test_flags_decide_the_class(flags: str, expected: str) -> None:
    assert parse_cpu_class(intel(flags, processors=2)) == expected


def test_arm_is_neon() -> None:
    assert parse_cpu_class("processor\t: 0\nFeatures\t: fp asimd evtstrm aes\n") == "neon"
    assert parse_cpu_class("processor\t: 0\nFeatures\t: half thumb neon vfpv4\n") == "neon"


def test_unlike_processors_count_by_what_they_share() -> None:
    assert parse_cpu_class(intel("avx2 avx_vnni") + intel("avx2")) == "avx2"


@pytest.mark.parametrize("text", ["", "flags", "nonsense\n\0\n", "flags avx2 without a colon"])
def test_a_text_without_flags_is_other(text: str) -> None:
    assert parse_cpu_class(text) == "other"


def test_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(intel("avx2"))
    assert cpu_class(path) == "avx2"


@pytest.mark.parametrize(("machine", "expected"), [("arm64", "neon"), ("aarch64", "neon"), ("x86_64", "other")])
def test_without_the_file_only_arm_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, expected: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert cpu_class(tmp_path / "missing") == expected


def test_this_machine_has_a_class() -> None:
    assert cpu_class() in {"avx512_vnni", "avx_vnni", "avx512", "avx2", "neon", "other"}
