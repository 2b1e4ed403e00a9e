"""What a load or unload of a model asks for, whatever transport carried its parameters.

Triton's `config` and `file:<version>/<path>`, in place of the repository's own; files are bytes, or base64 where the
transport has text only. Source: Triton's model repository extension, "Load".
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from service.core.errors import BadInput, BadModel
from service.gateway.quote import quote
from service.repository.overlay import Override, check_override
from service.repository.suggest import did_you_mean

FILE = "file:"
_CONFIG = "config"
_DEPENDENTS = "unload_dependents"
_FILES_LIMIT = 1000


def read_load_order(model: str, parameters: Mapping[str, Any]) -> Override | None:
    """What is to be served in place of the repository's own; None for nothing.

    Args:
        model: its name.
        parameters: of the request: text, whole numbers, booleans, and bytes where the transport has them.

    Raises:
        BadInput: a parameter that is not known or is of the wrong kind, files without a configuration, or a path that
            leads out of the model's folder.
    """
    files: dict[str, bytes] = {}
    for name, value in parameters.items():
        if name.startswith(FILE):
            files[name.removeprefix(FILE)] = _file(name, value)
        elif name not in (_CONFIG, _DEPENDENTS):
            raise BadInput(f"parameter {quote(name)} of a load is not known{did_you_mean(name, (_CONFIG, FILE))}")
    _check_dependents(parameters)
    if len(files) > _FILES_LIMIT:
        raise BadInput(f"the load has {len(files)} files, expected at most {_FILES_LIMIT}")
    if _CONFIG not in parameters:
        if files:
            raise BadInput("files of a load need the parameter 'config' beside them: they stand for the whole model")
        return None
    override = Override(_config(parameters[_CONFIG]), files)
    try:
        check_override(model, override)
    except BadModel as error:
        raise BadInput(str(error)) from None
    return override


def check_unload_order(parameters: Mapping[str, Any]) -> None:
    """Refuses parameters that an unload does not have; no model has dependents, so that `unload_dependents` is met.

    Raises:
        BadInput: which one.
    """
    for name in parameters:
        if name != _DEPENDENTS:
            raise BadInput(f"parameter {quote(name)} of an unload is not known{did_you_mean(name, (_DEPENDENTS,))}")
    _check_dependents(parameters)


def _check_dependents(parameters: Mapping[str, Any]) -> None:
    value = parameters.get(_DEPENDENTS, False)
    if not isinstance(value, bool):
        raise BadInput(f"parameter '{_DEPENDENTS}' is {quote(value)}, expected true or false")


def _config(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise BadInput("parameter 'config' of a load must be Triton's ModelConfig as JSON, written as a string")
    return value


def _file(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError:
            pass
    raise BadInput(f"parameter {quote(name)} of a load must be the file's bytes in base64")
