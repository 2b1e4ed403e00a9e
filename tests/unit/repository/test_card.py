"""The card's schema: what it takes, what it refuses, in which words, and that nothing is lost on the way to disk."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.core.errors import BadModel
from service.repository.card import CARD_LIMIT_BYTES, SCHEMA, Card, read_card

SHA = "ab" * 32
TOP_LEVEL = [
    "schema",
    "model",
    "version",
    "variant_of",
    "parent",
    "files",
    "licence",
    "golden",
    "recipe",
    "data",
    "graph",
    "size",
    "quality",
    "batching",
    "speed",
    "speed_notes",
    "gain_kind",
    "verdict",
    "reasons",
    "not_verified",
    "produced_by",
]


def quality(**changes: Any) -> dict[str, Any]:
    return {
        "provider": "cpu",
        "cpu_class": "avx512_vnni",
        "task": "classification",
        "n": 4,
        "accuracy": 0.75,
        "macro_precision": 0.75,
        "macro_recall": 0.75,
        "macro_f1": 0.75,
        "support_by_class": [2, 2],
        "recall_by_class": [1.0, 0.5],
        "non_finite_rows": 0,
        "deterministic": True,
        "paired": {
            "full_accuracy": 0.75,
            "full_recall_by_class": [1.0, 0.5],
            "b": 0,
            "c": 0,
            "delta": 0.0,
            "delta_interval_95": [-0.4, 0.4],
            "delta_lower_95": -0.3,
            "mcnemar_p": 1.0,
            "agreement": 1.0,
            "flips": 0,
            "mean_kl": 0.001,
            "max_abs_dp": 0.01,
            "full_macro_f1": 0.75,
            "macro_f1_lower_95": -0.3,
            "macro_f1_upper_95": 0.3,
        },
        "verdict": "pass",
    } | changes


def full() -> dict[str, Any]:
    """The least that a card may say."""
    return {
        "schema": SCHEMA,
        "model": "digits",
        "version": "1",
        "files": {"model.onnx": {"sha256": SHA, "bytes": 10}},
    }


def variant(**changes: Any) -> dict[str, Any]:
    """Every key, filled."""
    timing = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "rows_per_s": 1000.0}
    return (
        full()
        | {
            "version": "1-int8",
            "variant_of": "1",
            "parent": {"version": "1", "sha256": SHA},
            "licence": "Apache-2.0",
            "golden": {"tolerances": [{"provider": "cpu", "cpu_class": "avx2", "max_abs": 0.01}], "top1": True},
            "recipe": {
                "name": "int8-static",
                "seed": 0,
                "steps": [{"technique": "t", "arguments": {"a": 1, "b": 0.5, "c": True, "d": None, "e": ["x", 2]}}],
            },
            "data": {
                "name": "digits",
                "source": "scikit-learn",
                "splits": {"test": {"n": 600, "sha256": SHA}},
                "overlaps_removed": 0,
            },
            "graph": {
                "opset": {"": 18},
                "op_counts": {"Conv": 2},
                "parent_op_counts": {"Conv": 2},
                "parameters": 10,
                "non_zero_parameters": 9,
                "needs": ["avx512_vnni"],
            },
            "size": {"file_bytes": 10, "parent_file_bytes": 40, "coded_bytes": None, "resident_bytes": 99},
            "quality": [quality()],
            "batching": {"mode": "any", "sensitivity": 0.0, "reason": None},
            "speed": [
                {
                    "provider": "cpu",
                    "cpu_class": "avx2",
                    "threads": 1,
                    "rows": 8,
                    "runs": 50,
                    "load_ms": 1.0,
                    "first_run_ms": 1.0,
                    "own": timing,
                    "full": timing,
                    "speedup": 2.0,
                    "speedup_interval_95": [1.9, 2.1],
                    "speedup_joint_interval_95": [1.8, 2.2],
                }
            ],
            "speed_notes": ["Most of it goes into Conv nodes."],
            "gain_kind": "speed",
            "verdict": "pass",
            "reasons": ["agreement 1.0 >= 0.98"],
            "not_verified": ["CUDA"],
            "produced_by": {"retort": "0.1.0", "libraries": {"onnx": "1.23.2"}, "machine": "a CPU"},
        }
        | changes
    )


def read(document: Any) -> Card:
    return read_card(json.dumps(document).encode())


def refusal(data: bytes) -> str:
    with pytest.raises(BadModel) as caught:
        read_card(data)
    return str(caught.value)


def test_the_least_card_is_a_full_version_with_nothing_claimed() -> None:
    card = read(full())
    assert (card.model, card.version, card.variant_of, card.verdict) == ("digits", "1", None, None)
    assert (card.quality, card.speed, card.golden, card.batching) == ((), (), None, None)


@pytest.mark.parametrize("document", [full(), variant()], ids=["full", "variant"])
def test_what_is_written_is_read_back_equal(document: dict[str, Any]) -> None:
    card = read(document)
    assert read_card(card.to_json()) == card
    assert card.to_json().endswith(b"}\n")


def test_json_has_exactly_the_published_keys_in_their_order() -> None:
    assert list(json.loads(read(full()).to_json())) == TOP_LEVEL


def test_a_full_card_loses_no_value_on_the_way() -> None:
    assert json.loads(read(variant()).to_json()) == variant()


def test_floats_survive_to_the_last_bit() -> None:
    value = 0.1 + 0.2
    card = read(variant(quality=[quality(accuracy=value)]))
    assert read_card(card.to_json()).quality[0].accuracy == value


def test_a_card_cannot_be_changed() -> None:
    card = read(full())
    with pytest.raises(ValidationError, match="frozen"):
        card.verdict = "pass"  # type: ignore[misc]


@pytest.mark.parametrize("key", [key for key in TOP_LEVEL if key in ("model", "version", "files")])
def test_a_missing_key_is_named(key: str) -> None:
    document = full()
    del document[key]
    assert refusal(json.dumps(document).encode()) == f"card.json is not a card, at {key}: Field required."


def spoilt(path: str, value: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(variant()))
    *parents, last = path.split("/")
    place: Any = document
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    place[last] = value
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("zzz", 1, "zzz: unknown key"),
        ("quality/0/zzz", 1, "quality.0.zzz: unknown key"),
        ("quality/0/paired/zzz", 1, "quality.0.paired.zzz: unknown key"),
        ("speed/0/zzz", 1, "speed.0.zzz: unknown key"),
        ("size/zzz", 1, "size.zzz: unknown key"),
        ("schema", "retort.card/2", "at schema: Input should be 'retort.card/1'"),
        ("model", "", "at model:"),
        ("model", "x" * 256, "at model:"),
        ("licence", 3, "at licence: Input should be a valid string"),
        ("size/file_bytes", "10", "at size.file_bytes: Input should be a valid integer"),
        ("size/file_bytes", -1, "at size.file_bytes:"),
        ("size/file_bytes", 1.0, "at size.file_bytes:"),
        ("quality/0/accuracy", 1.01, "at quality.0.accuracy:"),
        ("quality/0/deterministic", 1, "at quality.0.deterministic: Input should be a valid boolean"),
        ("quality/0/support_by_class", [2, 3], "support_by_class must sum to n"),
        ("quality/0/recall_by_class", [1.0], "support_by_class must sum to n and match recall_by_class"),
        ("quality/0/verdict", None, "paired and verdict come together"),
        ("batching/mode", "sometimes", "at batching.mode:"),
        ("gain_kind", "faith", "at gain_kind:"),
        ("parent/sha256", "AB" * 32, "at parent.sha256:"),
        ("parent/version", "2", "parent.version must be variant_of"),
        ("variant_of", None, "come together or not at all"),
        ("parent", None, "come together or not at all"),
        ("verdict", None, "come together or not at all"),
        ("verdict", "fail", "verdict must be the worst of quality's, 'pass'"),
        ("quality/0/verdict", "fail", "verdict must be the worst of quality's, 'fail'"),
        ("recipe/steps/0/arguments/deep", {"a": 1}, "at recipe.steps.0.arguments.deep"),
    ],
)
def test_what_breaks_the_schema_is_refused_and_located(path: str, value: Any, where: str) -> None:
    message = refusal(json.dumps(spoilt(path, value)).encode())
    assert where in message
    assert message.startswith("card.json is not a card")


@pytest.mark.parametrize("path", ["quality/0/accuracy", "speed/0/speedup", "batching/sensitivity"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused(path: str, value: float) -> None:
    assert path.replace("/", ".") in refusal(json.dumps(spoilt(path, value)).encode())


def test_nan_is_refused_in_free_arguments_and_as_an_overflow_too() -> None:
    data = json.dumps(spoilt("recipe/steps/0/arguments/a", float("nan"))).encode()
    assert "arguments.a" in refusal(data)
    assert "arguments.a" in refusal(data.replace(b"NaN", b"1e999"))


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../b", "/etc/passwd", "a//b", "a/", ".", "..", "a\\b", "a\0b", "a\nb", "x" * 256],
)
def test_a_file_name_that_leaves_the_folder_is_refused(name: str) -> None:
    files = full()["files"] | {name: {"sha256": SHA, "bytes": 1}}
    message = refusal(json.dumps(full() | {"files": files}).encode())
    assert "no name inside the version's folder" in message
    assert message.isprintable()


@pytest.mark.parametrize("name", ["golden.npz", "weights/part-1.bin", "model.onnx_data", "a b", "..data"])
def test_an_honest_file_name_is_taken(name: str) -> None:
    assert name in read(full() | {"files": full()["files"] | {name: {"sha256": SHA, "bytes": 1}}}).files


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"3", b"\xff\xfe", b"NaN", b"[" * 500_000, b'{"a":' * 200_000, b'{"model":"\\ud800"}'],
    ids=["empty", "open", "null", "list", "number", "not-utf8", "nan", "deep-list", "deep-object", "surrogate"],
)
def test_hostile_bytes_are_refused_in_one_short_sentence(data: bytes) -> None:
    message = refusal(data)
    assert len(message) < 300
    assert message.isprintable()
    assert message.endswith(".")


def test_size_is_bounded_before_anything_is_parsed() -> None:
    padded = json.dumps(full()).encode()
    padded += b" " * (CARD_LIMIT_BYTES - len(padded))
    assert read_card(padded).model == "digits"
    assert f"{CARD_LIMIT_BYTES + 1} bytes" in refusal(padded + b" ")


def test_a_hostile_key_is_quoted_short_and_printable() -> None:
    message = refusal(json.dumps(full() | {"k\n" * 5000: 1}).encode())
    assert len(message) < 300
    assert message.isprintable()


def test_the_worst_quality_decides_the_verdict() -> None:
    entries = [quality(), quality(cpu_class="avx2", verdict="insufficient-data")]
    assert read(variant(quality=entries, verdict="insufficient-data")).verdict == "insufficient-data"
    entries.append(quality(cpu_class="neon", verdict="fail"))
    assert read(variant(quality=entries, verdict="fail")).verdict == "fail"


def test_a_full_version_has_quality_without_a_verdict() -> None:
    card = read(full() | {"quality": [quality(paired=None, verdict=None)]})
    assert card.quality[0].agreement is None


def test_figures_are_found_by_provider_and_cpu_class() -> None:
    card = read(variant())
    measured = card.quality_on("cpu", "avx512_vnni")
    assert measured is not None
    assert measured.agreement == 1.0
    assert card.quality_on("cpu", "avx2") is None
    assert card.quality_on("cuda", "avx512_vnni") is None
    assert card.golden_tolerance("cpu", "avx2") == 0.01
    assert card.golden_tolerance("cpu", "neon") is None
    assert read(full()).golden_tolerance("cpu", "avx2") is None
