"""model.yaml: its defaults, the traps of YAML that it avoids, and the words it refuses with."""

import pytest
from pydantic import ValidationError

from service.core.errors import BadModel
from service.repository.config_sections import Isolation, OwnProcess
from service.repository.model_config import MODEL_YAML_LIMIT_BYTES, DynamicBatching, ModelConfig, read_model_config

WHERE = "digits/model.yaml"


def read(text: str | bytes) -> ModelConfig:
    return read_model_config(text if isinstance(text, bytes) else text.encode(), WHERE)


def refusal(text: str | bytes) -> str:
    with pytest.raises(BadModel) as caught:
        read(text)
    sentence = str(caught.value)
    assert (
        sentence.startswith(WHERE) and sentence.endswith((".", "?")) and sentence.isprintable() and len(sentence) < 300
    )
    assert "DynamicBatching" not in sentence and "ModelConfig" not in sentence
    return sentence.removeprefix(f"{WHERE}: ")


@pytest.mark.parametrize("text", ["process", "{process: }", "{process: {}}"])
def test_isolation_has_a_short_form(text: str) -> None:
    assert read(f"isolation: {text}").isolation == Isolation(process=OwnProcess(memory_bytes=None))
    assert read("isolation: {process: {memory_bytes: 1073741824, spare: true}}").isolation == Isolation(
        process=OwnProcess(memory_bytes=1 << 30, spare=True)
    )


@pytest.mark.parametrize("text", ["", "# nothing", "{}"])
def test_an_empty_file_is_the_defaults(text: str) -> None:
    config = read(text)
    assert config == ModelConfig()
    assert (config.versions, config.max_batch_size, config.instances, config.threads) == ("all", 32, 1, None)
    assert (config.provider, config.active, config.labels, config.warmup) == (None, None, None, True)
    assert (config.gate, config.finite_outputs, config.provider_options) == ("default", False, {})
    assert config.dynamic_batching == DynamicBatching(
        max_queue_delay_microseconds=0, preferred_batch_size=(), max_queue_size=1024, default_timeout_microseconds=0
    )


def test_reads_every_key() -> None:
    config = read(
        """
        versions: [1, 1-int8]
        max_batch_size: 16
        instances: 2
        threads: 1
        provider: cuda
        active: 1-int8
        labels: [zero, one]
        dynamic_batching:
          max_queue_delay_microseconds: 500
          preferred_batch_size: [4, 8]
          max_queue_size: 64
          default_timeout_microseconds: 1000000
        warmup: false
        gate: strict
        finite_outputs: true
        provider_options: {arena_extend_strategy: kSameAsRequested, gpu_mem_limit: 1073741824}
        """
    )
    assert config == ModelConfig(
        versions=("1", "1-int8"),
        max_batch_size=16,
        instances=2,
        threads=1,
        provider="cuda",
        active="1-int8",
        labels=("zero", "one"),
        dynamic_batching=DynamicBatching(
            max_queue_delay_microseconds=500,
            preferred_batch_size=(4, 8),
            max_queue_size=64,
            default_timeout_microseconds=1_000_000,
        ),
        warmup=False,
        gate="strict",
        finite_outputs=True,
        provider_options={"arena_extend_strategy": "kSameAsRequested", "gpu_mem_limit": "1073741824"},
    )


@pytest.mark.parametrize("version", ["1", "010", "1.10", "1_0", "0x10", "1e3", "no", "2024-01-01", "1-int8", "null"])
def test_a_version_is_what_was_written(version: str) -> None:
    quoted = f"'{version}'" if version == "null" else version
    assert read(f"active: {quoted}").active == version
    assert read(f"versions: [{quoted}]").versions == (version,)


@pytest.mark.parametrize("residency", ["all", "active"])
def test_a_word_says_which_versions_are_resident(residency: str) -> None:
    assert read(f"versions: {residency}").versions == residency
    assert read(f"versions: [{residency}]").versions == (residency,)


def test_labels_are_what_was_written() -> None:
    assert read("labels: [no, yes, 1, 1.0, ~x]").labels == ("no", "yes", "1", "1.0", "~x")


@pytest.mark.parametrize("key", ["threads", "provider", "active", "labels"])
@pytest.mark.parametrize("null", ["", "~", "null"])
def test_null_leaves_the_choice_to_the_server(key: str, null: str) -> None:
    assert getattr(read(f"{key}: {null}"), key) is None


def test_python_callers_may_write_numbers() -> None:
    assert ModelConfig(versions=[1, 2], active=1) == ModelConfig(versions=("1", "2"), active="1")
    assert ModelConfig(provider_options={"a": 1, "b": True}).provider_options == {"a": 1, "b": True}
    with pytest.raises(ValidationError):
        ModelConfig(active=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("max_batchsize: 4", "unknown key 'max_batchsize'; did you mean 'max_batch_size'?"),
        (
            "dynamic_batching: {max_queue: 4}",
            "unknown key 'max_queue' in 'dynamic_batching'; did you mean 'max_queue_size'?",
        ),
        ("pad: true", "'pad': must hold keys and values."),
        ("sandbox: process", "unknown key 'sandbox'."),
        ("isolation: thread", "'isolation': must be process, or process with its limits."),
        ("isolation: [process]", "'isolation': must hold keys and values."),
        ("isolation: {}", "'isolation.process': Field required."),
        (
            "isolation: {process: {memory: 5}}",
            "unknown key 'memory' in 'isolation.process'; did you mean 'memory_bytes'?",
        ),
        ("isolation: {proces: {}}", "unknown key 'proces' in 'isolation'; did you mean 'process'?"),
        ("isolation: {process: {}, thread: {}}", "unknown key 'thread' in 'isolation'."),
        (
            "isolation: {process: {memory_bytes: 5}}",
            "'isolation.process.memory_bytes': Input should be greater than or equal to 16777216.",
        ),
        (
            "isolation: process\nrunner: {triton: {url: 'x:1'}}",
            "isolation says how a model runs here, and runner that it runs elsewhere.",
        ),
        ("runner: {triton: {url: 'x:1', modell: y}}", "unknown key 'modell' in 'runner.triton'; did you mean 'model'?"),
        *(
            (
                f"runner: {{triton: {{url: '{url}'}}}}",
                "'runner.triton.url': must be host:port, such as triton.local:8001.",
            )
            for url in ("x", "x:", ":1", "http://x:1", "x:0", "x:65536", "unix:/tmp/x:1", "a b:1", "[::1]", "x:\u0661")
        ),
        *(
            (
                f"{key}: {value}\nrunner: {{triton: {{url: 'x:1'}}}}",
                f"{key} says how a model runs here, and runner that it runs elsewhere.",
            )
            for key, value in (("provider", "cpu"), ("threads", "2"), ("provider_options", "{a: 1}"))
        ),
        (
            "dynamic_batching: {default_priority_level: 3}",
            "'dynamic_batching': default_priority_level names level 3, and priority_levels is 0.",
        ),
        ("model_config: 1", "unknown key 'model_config'."),
        ('"a\\nb": 1', "unknown key 'a\\nb'."),
        ("max_batch_size: 0", "'max_batch_size': Input should be greater than or equal to 1."),
        (
            "max_batch_size: lots",
            "'max_batch_size': Input should be a valid integer, unable to parse string as an integer.",
        ),
        ("max_batch_size:", "'max_batch_size': Input should be a valid integer."),
        ("provider: gpu", "'provider': Input should be 'auto', 'auto-tensorrt', 'cpu', 'cuda' or 'tensorrt'."),
        ("gate: off", "'gate': Input should be 'default' or 'strict'."),
        ("versions: some", "'versions': must be all, active, latest with a number, or a list of version ids."),
        ("versions: {a: b}", "'versions': must be all, active, latest with a number, or a list of version ids."),
        ("versions: {latest: 0}", "'versions': latest takes a whole number of versions, 1 or more."),
        ("versions: [../2]", "'versions': a version's id has letters, digits, '.', '_' and '-' only."),
        ("active: a/b", "'active': a version's id has letters, digits, '.', '_' and '-' only."),
        ("labels: cat", "'labels': must be a list."),
        ("labels: [[a]]", "'labels.0': Input should be a valid string."),
        ("provider_options: [a]", "'provider_options': must hold keys and values."),
        ("dynamic_batching: 5", "'dynamic_batching': must hold keys and values."),
        (
            "{max_batch_size: 4, dynamic_batching: {preferred_batch_size: [8]}}",
            "a preferred_batch_size is larger than max_batch_size.",
        ),
        (
            "dynamic_batching: {max_queue_size: 0}",
            "'dynamic_batching.max_queue_size': Input should be greater than or equal to 1.",
        ),
    ],
)
def test_says_what_is_wrong(text: str, sentence: str) -> None:
    assert refusal(text) == sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "must hold keys and values"),
        ("just text", "must hold keys and values"),
        ("a: [1", "cannot be read: "),
        ("a: 1\na: 2", "the key 'a' is given twice, at line 2"),
        (b"\xff", "cannot be read: it is not UTF-8 text"),
        (f"{'k' * 1000}: 1", "unknown key 'kkk"),
        (b"#" * (MODEL_YAML_LIMIT_BYTES + 1), "more than the limit of 65536"),
    ],
)
def test_says_what_cannot_be_read(text: str | bytes, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize("url", ["triton.local:8001", "127.0.0.1:1", "[::1]:65535", "a_b-c:80"])
def test_a_remote_is_named_by_host_and_port(url: str) -> None:
    config = read_model_config(f"runner: {{triton: {{url: '{url}', model: n, version: 2}}}}".encode(), "m/model.yaml")
    assert config.runner is not None
    remote = config.runner.triton
    assert (remote.url, remote.model, remote.version, remote.timeout_s) == (url, "n", "2", 30.0)
