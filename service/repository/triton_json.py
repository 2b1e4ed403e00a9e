"""Reads Triton's ModelConfig message from the JSON of a load request.

Whatever the text is, what comes out is a message or a `BadModel` that says where it is wrong, what stands there and
what was expected. Knows nothing of what the fields mean. Source: ProtoJSON, protobuf's mapping of messages to JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from service.core.errors import BadModel
from service.repository.suggest import did_you_mean, quoted
from service.repository.triton_text import new_message, text_of

_KINDS = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}
_SHOWN = 64  # characters
_INT32, _INT64, _UINT32, _UINT64, _BOOL, _ENUM, _STRING = 1, 2, 3, 4, 7, 8, 9  # `cpp_type` of a field
_WHOLE = {
    _INT32: (range(-(1 << 31), 1 << 31), "a whole number of 32 bits."),
    _INT64: (range(-(1 << 63), 1 << 63), "a whole number of 64 bits."),
    _UINT32: (range(1 << 32), "a whole number of 0 or more, and of 32 bits."),
    _UINT64: (range(1 << 64), "a whole number of 0 or more, and of 64 bits."),
}


def read_config_json(data: str, where: str) -> Any:
    """The ModelConfig message that `data` is.

    Raises:
        BadModel: too large, no JSON, or not the message.
    """
    from google.protobuf import json_format  # noqa: PLC0415 - takes a while, and most loads bring no configuration

    document = _document(text_of(data.encode("utf-8", "surrogatepass"), where), where)
    message = new_message()
    if type(document) is not dict:  # protobuf takes an empty list or text for an empty message
        raise BadModel(f"{where}: {_told(document, '', 'an object.')}")
    try:
        return json_format.ParseDict(document, message)
    except (json_format.ParseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        told = _in_message(document, message.DESCRIPTOR, "") or "it is not Triton's ModelConfig as JSON."
        raise BadModel(f"{where}: {told}") from None


def _document(text: str, where: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise BadModel(f"{where}: {quoted(name)} is given twice.")
            found[name] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise BadModel(f"{where}, line {error.lineno}: it is not valid JSON at character {error.colno}.") from None
    except RecursionError:
        raise BadModel(f"{where}: it is nested too deeply.") from None
    except ValueError:  # Python reads no number of more than some thousand digits
        raise BadModel(f"{where}: it holds a number that is too long.") from None


def _in_message(value: Any, kind: Any, at: str) -> str:
    """What is wrong with `value` as a message of that kind, which stands at `at`; "" where nothing is found."""
    if type(value) is not dict:
        return _told(value, at, "an object.")
    fields = {name: field for field in kind.fields for name in (field.name, field.json_name)}
    chosen: dict[Any, str] = {}
    for name, held in value.items():
        field = fields.get(name)
        if field is None:
            prefix = f"{at}: " if at else ""
            return f"{prefix}{kind.name} has no field {quoted(name)}{did_you_mean(name, kind.fields_by_name)}"
        other = chosen.setdefault(field.containing_oneof, name)
        if field.containing_oneof is not None and other != name:
            return f"{at or 'it'} has both '{other}' and '{name}', expected one of them."
        told = "" if held is None else _in_field(held, field, f"{at}.{name}" if at else name)
        if told:
            return told
    return ""


def _in_field(value: Any, field: Any, at: str) -> str:
    if not field.is_repeated:
        return _in_value(value, field, at)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if type(value) is not dict:
            return _told(value, at, "an object.")
        return _first(value.items(), field.message_type.fields_by_name["value"], at)
    if type(value) is not list:
        return _told(value, at, "a list.")
    return _first(enumerate(value), field, at)


def _first(items: Iterable[tuple[int | str, Any]], field: Any, at: str) -> str:
    told = (_in_value(one, field, f"{at}[{quoted(key) if type(key) is str else key}]") for key, one in items)
    return next(filter(None, told), "")


def _in_value(value: Any, field: Any, at: str) -> str:
    if field.message_type is not None:
        return _in_message(value, field.message_type, at)
    expected = _expected(value, field)
    return _told(value, at, expected) if expected else ""


def _expected(value: Any, field: Any) -> str:
    """What a plain field takes in place of `value`; "" where it takes that."""
    kind = field.cpp_type
    if kind == _STRING:
        return "" if type(value) is str else "text."
    if kind == _BOOL:
        return "" if type(value) is bool else "true or false."
    if kind == _ENUM:
        names = [one.name for one in field.enum_type.values]
        close = did_you_mean(value, names) if type(value) is str else "."
        return "" if value in names or type(value) is int else f"a name of {field.enum_type.name}{close}"
    if kind in _WHOLE:
        allowed, words = _WHOLE[kind]
        return "" if _is_whole(value, allowed) else words
    return "" if type(value) in (int, float, str) else "a number."


def _is_whole(value: Any, allowed: range) -> bool:
    try:
        number = int(value) if type(value) in (int, float, str) else None
    except (ValueError, OverflowError):
        return False
    return number is not None and number in allowed and (type(value) is str or number == value)


def _told(value: Any, at: str, expected: str) -> str:
    shown = quoted(value) if type(value) is str else _KINDS.get(type(value)) or str(value)[:_SHOWN]
    return f"{at or 'it'} is {shown}, expected {expected}"
