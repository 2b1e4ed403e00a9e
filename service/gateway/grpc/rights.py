"""What each gRPC method asks of a key, and where a call brings one. A method that is not listed asks for the most."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.gateway.keyring import key_in
from service.gateway.rights import Right

RIGHTS: Mapping[str, Right] = MappingProxyType(
    {
        **dict.fromkeys(("ServerLive", "ServerReady"), Right.OPEN),
        **dict.fromkeys(
            (
                *("ModelInfer", "ModelStreamInfer", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig"),
                *("ModelStatistics", "RepositoryIndex"),
            ),
            Right.INFER,
        ),
        **dict.fromkeys(
            (
                *("RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting", "LogSettings"),
                *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
                *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
            ),
            Right.ADMIN,
        ),
    }
)


def right_of(method: str) -> Right:
    """What `method` of the inference service asks for."""
    return RIGHTS.get(method, Right.ADMIN)


def key_of(metadata: Mapping[str, str]) -> bytes | None:
    """The key in a call's metadata, under the names that HTTP's headers have."""
    authorization, api_key = metadata.get("authorization"), metadata.get("x-api-key")
    return key_in(
        None if authorization is None else authorization.encode(), None if api_key is None else api_key.encode()
    )
