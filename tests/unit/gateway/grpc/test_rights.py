"""Every method of the service is in one scope, and what is forgotten is closed."""

from __future__ import annotations

import pytest
from tritonclient.grpc import service_pb2

from service.gateway.grpc.rights import RIGHTS, key_of, right_of
from service.gateway.rights import Right

METHODS = {method.name for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}


def test_every_method_asks_for_something_that_was_decided() -> None:
    assert RIGHTS.keys() == METHODS


@pytest.mark.parametrize(
    ("method", "right"),
    [
        ("ServerLive", Right.OPEN),
        ("ModelInfer", Right.INFER),
        ("ModelStreamInfer", Right.INFER),
        ("RepositoryModelLoad", Right.ADMIN),
        ("LogSettings", Right.ADMIN),
        ("SystemSharedMemoryStatus", Right.ADMIN),
        ("MethodOfTomorrow", Right.ADMIN),
        ("", Right.ADMIN),
    ],
)
def test_what_a_method_asks_for(method: str, right: Right) -> None:
    assert right_of(method) is right


@pytest.mark.parametrize(
    ("metadata", "key"),
    [
        ({}, None),
        ({"authorization": "Bearer k"}, b"k"),
        ({"x-api-key": "k"}, b"k"),
        ({"authorization": "Bearer k", "x-api-key": "other"}, b"k"),
        ({"authorization": "k"}, None),
        ({"x-api-key": "\u00e9"}, "\u00e9".encode()),
    ],
)
def test_a_call_brings_its_key_under_the_names_of_http(metadata: dict[str, str], key: bytes | None) -> None:
    assert key_of(metadata) == key
