"""Reads Triton's ModelConfig message from the text of config.pbtxt.

Whatever the bytes are, what comes out is a message or a `BadModel` that says the line. Knows nothing of what the
fields mean. Source: Triton's model_config.proto, as the `tritonclient` package carries it.
"""

from __future__ import annotations

import re
from typing import Any

from service.core.errors import BadModel
from service.repository.suggest import did_you_mean, quoted

CONFIG_LIMIT_BYTES = 256 << 10
_LIMIT = 200  # characters of the parser's own words
_PLACE = re.compile(r"(\d+):(\d+) : ")
_OF_PYTHON = re.compile(r"\b[A-Za-z]+Error: |\bobject (is|has) n|\bNoneType\b")  # words that tell nobody what to do
_NO_FIELD = re.compile(r'Message type "(?:\w+\.)*(\w+)" has no field named "([^"]{0,200})')


def read_pbtxt(data: bytes, where: str) -> Any:
    """The ModelConfig message of a config.pbtxt.

    Raises:
        BadModel: too large, no UTF-8, not the text form of the message, or a field that it does not have.
    """
    from google.protobuf import text_format  # noqa: PLC0415 - takes a while, and most models have no config.pbtxt

    text = text_of(data, where)
    try:
        return text_format.Parse(text, new_message())
    except (text_format.ParseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadModel(_sentence(where, str(error))) from None


def new_message() -> Any:
    """A ModelConfig that says nothing."""
    from tritonclient.grpc import model_config_pb2  # noqa: PLC0415 - as above

    return model_config_pb2.ModelConfig()


def text_of(data: bytes, where: str) -> str:
    """What a configuration's bytes say. Raises BadModel: too large, or no UTF-8."""
    if len(data) > CONFIG_LIMIT_BYTES:
        raise BadModel(f"{where} has {len(data)} bytes, more than the limit of {CONFIG_LIMIT_BYTES}.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadModel(f"{where}, line {line}: it is not UTF-8 text.") from None


def _sentence(where: str, problem: str) -> str:
    place = _PLACE.match(problem)
    line = f", line {place[1]}" if place else ""
    unknown = _NO_FIELD.search(problem)
    if unknown is None:
        told = "" if _OF_PYTHON.search(problem) else problem[place.end() if place else 0 :]
        # Not `ascii`, which puts a backslash before the quotes of a text that holds both kinds.
        words = told[:_LIMIT].encode("unicode_escape").decode().rstrip(".")
        return f"{where}{line}: {words or 'it cannot be read'}."
    message, field = unknown.groups()
    return f"{where}{line}: {message} has no field {quoted(field)}{did_you_mean(field, _fields_of(message))}"


def _fields_of(message: str) -> list[str]:
    """The fields of the message type of that name, wherever it is nested."""
    waiting = [new_message().DESCRIPTOR]
    seen: set[str] = set()
    while waiting:
        kind = waiting.pop()
        if kind.name == message:
            return [field.name for field in kind.fields]
        seen.add(kind.full_name)
        below = (field.message_type for field in kind.fields if field.message_type is not None)
        waiting += [found for found in below if found.full_name not in seen]
    return []
