"""Settings: what is read, from where, what is refused, and in which words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import DEFAULT_REPOSITORY, Settings, SettingsError, default_state_dir, unknown_variables


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("RETORT_"):
            monkeypatch.delenv(name)


def refusal(given: dict[str, object] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.read(given)
    return str(caught.value)


def test_defaults_serve_the_shipped_models_on_a_laptop() -> None:
    settings = Settings.read()
    assert settings.repository == (DEFAULT_REPOSITORY,)
    assert (settings.host, settings.http_port, settings.provider) == ("127.0.0.1", 8000, "auto")
    assert settings.drain_delay_s == 0
    assert settings.required_models is None


def test_there_are_no_more_settings_than_the_house_allows() -> None:
    assert len(Settings.model_fields) <= 25


def test_quantities_carry_their_unit_in_their_name() -> None:
    units = ("_bytes", "_s", "_port")
    counts = {"threads"}  # a number of things, not a quantity
    numbers = {
        name
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    }
    assert numbers
    assert all(name.endswith(units) or name in counts for name in numbers)


def test_no_setting_has_a_name_that_kubernetes_injects() -> None:
    assert not [name for name in Settings.model_fields if name == "port" or name.startswith(("service_", "port_"))]


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("RETORT_HTTP_PORT", "0", "http_port", 0),
        ("RETORT_GRPC_PORT", "-1", "grpc_port", -1),
        ("retort_host", "0.0.0.0", "host", "0.0.0.0"),
        ("RETORT_PROVIDER", "cuda", "provider", "cuda"),
        ("RETORT_THREADS", "2", "threads", 2),
        ("RETORT_TRIAL_MEMORY_BYTES", "0", "trial_memory_bytes", 0),
        ("RETORT_ACCESS_LOG", "true", "access_log", True),
        ("RETORT_STATE_DIR", "/var/lib/retort", "state_dir", Path("/var/lib/retort")),
        ("RETORT_REPOSITORY", "/a", "repository", (Path("/a"),)),
        ("RETORT_REPOSITORY", f"/a{os.pathsep}/b", "repository", (Path("/a"), Path("/b"))),
        ("RETORT_REPOSITORY", "/a, /b,", "repository", (Path("/a"), Path("/b"))),
        ("RETORT_REQUIRED_MODELS", "digits,shapes", "required_models", ("digits", "shapes")),
        ("RETORT_REPOSITORY", "m.onnx", "single_file", Path("m.onnx")),
        ("RETORT_REPOSITORY", "m.deep", "single_file", Path("m.deep")),
        ("RETORT_REPOSITORY", "m", "single_file", None),
        ("RETORT_LOAD_TIMEOUT_S", "10", "load_timeout_s", 10.0),
    ],
)
def test_a_variable_sets_its_field(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(Settings.read(), field) == value


def test_an_empty_variable_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_THREADS", "")
    monkeypatch.setenv("RETORT_REPOSITORY", "")
    assert Settings.read().threads is None
    assert Settings.read().repository == (DEFAULT_REPOSITORY,)


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_HTTP_PORT", "9000")
    assert Settings.read({"http_port": 9001}).http_port == 9001


def test_an_option_that_was_not_given_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_HTTP_PORT", "9000")
    assert Settings.read({"http_port": None}).http_port == 9000


def test_settings_are_frozen() -> None:
    settings = Settings.read()
    with pytest.raises(ValidationError):
        settings.http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("RETORT_HTTP_PORT", "-1", ["RETORT_HTTP_PORT is '-1'", "0"]),
        ("RETORT_GRPC_PORT", "-2", ["RETORT_GRPC_PORT is '-2'", "-1"]),
        ("RETORT_HTTP_PORT", "99999", ["RETORT_HTTP_PORT is '99999'", "65535"]),
        ("RETORT_HTTP_PORT", "tcp://10.0.0.1:80", ["RETORT_HTTP_PORT is 'tcp://10.0.0.1:80'", "integer"]),
        ("RETORT_PROVIDER", "rocm", ["RETORT_PROVIDER is 'rocm'", "'cuda'"]),
        ("RETORT_THREADS", "0", ["RETORT_THREADS is '0'", "greater than 0"]),
        ("RETORT_LOAD_TIMEOUT_S", "inf", ["RETORT_LOAD_TIMEOUT_S is 'inf'", "finite"]),
        ("RETORT_RUN_TIMEOUT_S", "0", ["RETORT_RUN_TIMEOUT_S is '0'", "greater than 0"]),
        ("RETORT_DRAIN_DELAY_S", "-1", ["RETORT_DRAIN_DELAY_S is '-1'", "greater than or equal to 0"]),
        ("RETORT_MAX_BODY_BYTES", "64M", ["RETORT_MAX_BODY_BYTES is '64M'", "integer"]),
        ("RETORT_REPOSITORY", "a,m.onnx", ["RETORT_REPOSITORY is ", "a model file is served alone"]),
        ("RETORT_TRIAL_MEMORY_BYTES", "-1", ["RETORT_TRIAL_MEMORY_BYTES is '-1'", "greater than or equal to 0"]),
        ("RETORT_LOG_FORMAT", "xml", ["RETORT_LOG_FORMAT is 'xml'", "'console'"]),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, words: list[str]
) -> None:
    monkeypatch.setenv(variable, text)
    message = refusal()
    assert message.endswith(".")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_wrong_option_is_refused_under_the_name_that_was_typed() -> None:
    assert refusal({"http_port": 99999}).startswith("--http-port is '99999': ")


@pytest.mark.parametrize(
    ("given", "missing"), [("tls_cert", "--tls-key, its private key,"), ("tls_key", "--tls-cert, its certificate,")]
)
def test_a_certificate_and_its_key_come_together(given: str, missing: str) -> None:
    told = refusal({given: Path("x.pem")})
    assert told == f"{missing} is missing: TLS needs --tls-cert and --tls-key together."
    assert Settings.read({"tls_cert": Path("x"), "tls_key": Path("y")}).tls_key == Path("y")


def test_every_wrong_value_gets_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_THREADS", "0")
    monkeypatch.setenv("RETORT_PROVIDER", "tpu")
    assert len(refusal().splitlines()) == 2


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("RETORT_HTTPPORT", "RETORT_HTTP_PORT"),
        ("RETORT_REPOSITORIES", "RETORT_REPOSITORY"),
        ("retort_log_levle", "RETORT_LOG_LEVEL"),
        ("RETORT_MAX_BODY", "RETORT_MAX_BODY_BYTES"),
        ("RETORT_TRIAL_MEMORY", "RETORT_TRIAL_MEMORY_BYTES"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert refusal() == f"{variable} is not a setting of retort; the nearest one is {nearest}."


@pytest.mark.parametrize(
    ("variable", "instead"),
    [
        ("RETORT_MODEL_FILE", "RETORT_REPOSITORY may name one model file"),
        ("RETORT_TRIAL", "RETORT_TRIAL_MEMORY_BYTES=0 loads without a trial"),
        ("retort_trial_timeout_s", "a trial has nine tenths of RETORT_LOAD_TIMEOUT_S"),
    ],
)
def test_a_former_variable_is_refused_with_what_does_the_same(
    monkeypatch: pytest.MonkeyPatch, variable: str, instead: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert refusal() == f"{variable} is gone: {instead}."


def test_an_unknown_variable_far_from_all_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_X", "1")
    assert refusal().startswith("RETORT_X is not a setting of retort; the nearest one is RETORT_")


@pytest.mark.parametrize(
    "name",
    [
        "RETORT_PORT",
        "RETORT_PORT_8000_TCP_ADDR",
        "RETORT_SERVICE_HOST",
        "RETORT_SERVICE_PORT_HTTP",
        "RETORT_URL",
        "RETORT_KEY",
        "RETORT_CA",
        "RETORTING",
        "PATH",
    ],
)
def test_what_kubernetes_and_the_client_commands_set_is_allowed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:8000")
    assert unknown_variables([name]) == []
    Settings.read()


@pytest.mark.parametrize("name", ["RETORT_SERVICES", "RETORT_PORTS", "RETORT_URLS"])
def test_names_that_only_look_like_the_allowed_ones_are_refused(name: str) -> None:
    assert len(unknown_variables([name])) == 1


def test_the_state_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir() == tmp_path / "retort"


def test_a_relative_xdg_folder_is_ignored_as_its_specification_demands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state_dir() == tmp_path / ".local" / "state" / "retort"


def test_a_user_without_a_home_has_no_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert Settings.read().state_dir is None


def test_an_origin_has_a_scheme_and_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_CORS_ORIGINS", "https://a.example, http://localhost:3000,*")
    assert Settings.read().cors_origins == ("https://a.example", "http://localhost:3000", "*")
    for wrong in ("a.example", "https://a.example/", "https://"):
        monkeypatch.setenv("RETORT_CORS_ORIGINS", wrong)
        with pytest.raises(SettingsError, match="an origin is"):
            Settings.read()
