"""Promise K1: what the manifests, the compose file and the Dockerfile say of users, rights, limits, probes and ends.

Structure, not a cluster: each rule is a function over the manifest, and a manifest with the rule broken fails it.
"""

from __future__ import annotations

import copy
import fnmatch
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings, unknown_variables
from tests.support.certificates import make_pair
from tests.support.process import ServerProcess

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "k8s" / "retort.yaml"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(FILE.read_text()))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
USER = 10001

Documents = list[dict[str, Any]]


def of_kind(documents: Documents, kind: str) -> dict[str, Any]:
    [found] = [document for document in documents if document["kind"] == kind]
    return found


def pod(documents: Documents) -> dict[str, Any]:
    found: dict[str, Any] = of_kind(documents, "Deployment")["spec"]["template"]["spec"]
    return found


def container(documents: Documents) -> dict[str, Any]:
    [found] = pod(documents)["containers"]
    return dict(found)


def variables(documents: Documents) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(documents)["env"]}


def is_not_root(documents: Documents) -> None:
    context = pod(documents)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == USER
    assert "runAsUser" not in container(documents)["securityContext"], "one place says who it is"


def has_no_rights(documents: Documents) -> None:
    context = container(documents)["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context.get("privileged", False) is False
    assert pod(documents)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(documents).keys()


def has_no_token(documents: Documents) -> None:
    assert pod(documents)["automountServiceAccountToken"] is False
    assert of_kind(documents, "ServiceAccount")["automountServiceAccountToken"] is False


def is_read_only(documents: Documents) -> None:
    assert container(documents)["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {m["mountPath"] for m in container(documents)["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/var/lib/retort", "/tmp"}
    for volume in pod(documents)["volumes"]:
        assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]


def has_limits(documents: Documents) -> None:
    resources = container(documents)["resources"]
    assert set(resources["limits"]) == set(resources["requests"]) == {"cpu", "memory"}


def is_probed(documents: Documents) -> None:
    paths = {
        probe: container(documents)[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/v2/health/live",
        "livenessProbe": "/v2/health/live",
        "readinessProbe": "/v2/health/ready",
    }
    scheme = "HTTPS" if "RETORT_TLS_CERT" in variables(documents) else "HTTP"
    ports = {port["name"] for port in container(documents)["ports"]}
    for probe in paths:
        assert container(documents)[probe]["httpGet"]["scheme"] == scheme
        assert container(documents)[probe]["httpGet"]["port"] in ports


def ends_in_time(documents: Documents) -> None:
    command = container(documents)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    told = variables(documents)
    delay_s = float(told.get("RETORT_DRAIN_DELAY_S", "0"))
    drain_s = float(told["RETORT_DRAIN_TIMEOUT_S"])
    assert pod(documents)["terminationGracePeriodSeconds"] >= float(command[1]) + delay_s + drain_s + 5


def survives_an_eviction(documents: Documents) -> None:
    budget, deployment = of_kind(documents, "PodDisruptionBudget")["spec"], of_kind(documents, "Deployment")["spec"]
    assert budget["selector"] == deployment["selector"]
    assert 1 <= budget["maxUnavailable"] < deployment["replicas"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def is_reached(documents: Documents) -> None:
    labels = of_kind(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = of_kind(documents, "Service")["spec"]
    assert service["selector"].items() <= labels.items()
    assert of_kind(documents, "Deployment")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert {p["targetPort"] for p in service["ports"]} == {p["name"] for p in container(documents)["ports"]}
    assert [port["containerPort"] for port in container(documents)["ports"]] == [8000, 8001]


def has_its_secrets(documents: Documents) -> None:
    mounts = {mount["name"]: mount for mount in container(documents)["volumeMounts"]}
    secrets = {volume["name"]: volume["secret"] for volume in pod(documents)["volumes"] if "secret" in volume}
    assert set(secrets) == {"keys", "tls"}
    for name, secret in secrets.items():
        assert secret["defaultMode"] == 0o440, "no other user reads it"
        assert mounts[name]["readOnly"] is True
        assert "subPath" not in mounts[name], "which is never renewed"
    files = [Path(value) for name, value in variables(documents).items() if name != "RETORT_DRAIN_TIMEOUT_S"]
    assert len(files) == 3
    assert {str(file.parent) for file in files} == {mounts[name]["mountPath"] for name in secrets}


def sets_what_there_is(documents: Documents) -> None:
    told = variables(documents)
    assert unknown_variables(told) == []
    Settings(**{name.removeprefix("RETORT_").lower(): value for name, value in told.items()})  # type: ignore[arg-type]


def breaks(path: str, value: Any) -> Callable[[Documents], None]:
    """Sets what lies at `path` below the document of the kind that the path begins with."""

    def change(documents: Documents) -> None:
        kind, *keys = path.split("/")
        place: Any = of_kind(documents, kind)
        for key in keys[:-1]:
            place = place[int(key) if key.isdigit() else key]
        place[keys[-1]] = value

    return change


POD = "Deployment/spec/template/spec"
ONE = f"{POD}/containers/0"
RULES: list[tuple[Callable[[Documents], None], list[Callable[[Documents], None]]]] = [
    (is_not_root, [breaks(f"{POD}/securityContext", {}), breaks(f"{POD}/securityContext/runAsUser", 0)]),
    (
        has_no_rights,
        [
            breaks(f"{ONE}/securityContext/allowPrivilegeEscalation", True),
            breaks(f"{ONE}/securityContext/capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            breaks(f"{ONE}/securityContext/privileged", True),
            breaks(f"{POD}/hostNetwork", True),
        ],
    ),
    (has_no_token, [breaks(f"{POD}/automountServiceAccountToken", True)]),
    (
        is_read_only,
        [
            breaks(f"{ONE}/securityContext/readOnlyRootFilesystem", False),
            breaks(f"{ONE}/volumeMounts/0/readOnly", False),
        ],
    ),
    (has_limits, [breaks(f"{ONE}/resources/limits", {"cpu": "2"})]),
    (
        is_probed,
        [
            breaks(f"{ONE}/livenessProbe/httpGet/path", "/v2/health/ready"),
            breaks(f"{ONE}/readinessProbe/httpGet/path", "/v2/health/live"),
            breaks(f"{ONE}/readinessProbe/httpGet/scheme", "HTTP"),
        ],
    ),
    (ends_in_time, [breaks(f"{POD}/terminationGracePeriodSeconds", 30)]),
    (
        survives_an_eviction,
        [breaks("PodDisruptionBudget/spec/maxUnavailable", 2), breaks("Deployment/spec/replicas", 1)],
    ),
    (is_reached, [breaks("Service/spec/selector", {"app": "other"})]),
    (has_its_secrets, [breaks(f"{POD}/volumes/0/secret/defaultMode", 0o444)]),
    (sets_what_there_is, [breaks(f"{ONE}/env/3/name", "RETORT_DRAIN_TIMEOUT"), breaks(f"{ONE}/env/3/value", "soon")]),
]


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES], ids=lambda rule: rule.__name__)
def test_the_manifests_keep_the_rule(rule: Callable[[Documents], None]) -> None:
    rule(DOCUMENTS)


@pytest.mark.parametrize(
    ("rule", "breach"),
    [(rule, breach) for rule, breaches in RULES for breach in breaches],
    ids=lambda part: part.__name__,
)
def test_a_manifest_that_breaks_the_rule_is_found(
    rule: Callable[[Documents], None], breach: Callable[[Documents], None]
) -> None:
    """The negative control of each rule."""
    broken = copy.deepcopy(DOCUMENTS)
    breach(broken)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        rule(broken)


def test_the_manifests_are_of_kinds_and_versions_that_clusters_know() -> None:
    told = {document["kind"]: document["apiVersion"] for document in DOCUMENTS}
    assert told == {
        "ServiceAccount": "v1",
        "Deployment": "apps/v1",
        "Service": "v1",
        "PodDisruptionBudget": "policy/v1",
    }
    assert {document["metadata"]["name"] for document in DOCUMENTS} == {"retort"}


def test_the_image_is_of_the_same_user_and_needs_nothing_else() -> None:
    [user] = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user == f"{USER}:{USER}"
    assert f"--uid {USER}" in DOCKERFILE
    assert not re.search(r"^(ADD|.*\b(sudo|setcap|chmod \+s)\b)", DOCKERFILE, re.MULTILINE)
    after = DOCKERFILE.split("\nUSER ", 1)[1]
    assert not re.search(r"^(RUN|COPY|USER)", after, re.MULTILINE), "nothing is done as root after it"
    assert unknown_variables(re.findall(r"(RETORT_[A-Z_]+)=", DOCKERFILE)) == []


@pytest.mark.parametrize("tls", [False, True])
def test_the_health_checks_ask_a_server_with_tls_too(tmp_path: Path, tls: bool) -> None:
    pair = make_pair(tmp_path)
    [image] = re.findall(r"^    CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    checks = [json.loads(image)[2], COMPOSE["services"]["retort"]["healthcheck"]["test"][3]]

    def ended() -> list[bool]:
        env = {"RETORT_HTTP_PORT": str(server.port), "PATH": "/bin"} | ({"RETORT_TLS_CERT": "x"} if tls else {})
        commands = [[sys.executable, "-c", code.replace(":8000", f":{server.port}")] for code in checks]
        done = [subprocess.run(command, env=env, check=False, capture_output=True) for command in commands]
        return [one.returncode == 0 for one in done]

    (tmp_path / "repository").mkdir()
    arguments = ["--repository", str(tmp_path / "repository"), *(pair.options if tls else [])]
    with ServerProcess(arguments, tmp_path, ca=pair.chain if tls else None) as server:
        assert ended() == [True, True]
    assert ended() == [False, False]


def test_what_the_image_copies_gets_into_its_build() -> None:
    let_in = [line[1:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_in), source
        assert (ROOT / source).exists(), source


def test_compose_gives_the_container_no_more() -> None:
    service = COMPOSE["services"]["retort"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"cpus", "mem_limit", "pids_limit", "healthcheck"} <= service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    grace_s = float(service["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings().drain_timeout_s
