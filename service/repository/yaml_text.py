"""Reads YAML with every scalar as the text it was written in, so that `no`, `010`, `1.10` and `12:30` mean themselves.

What a text means is decided by the type of the field that takes it. Refuses anchors, aliases, tags, keys given
twice and deep nesting. Knows no schema.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import yaml

from service.repository.suggest import quoted

YamlText: TypeAlias = "str | list[YamlText] | dict[str, YamlText] | None"

_DEPTH_LIMIT = 16
_NULLS = ("", "~", "null", "Null", "NULL")


class Unreadable(ValueError):
    """The bytes are not plain YAML; the message says why, in one line, and where if that is known."""


def read_yaml(data: bytes) -> YamlText:
    """Reads one document.

    Args:
        data: UTF-8 text, of a size that the caller has bounded.

    Returns:
        Nested lists and dicts of strings, None for a null or for nothing at all.

    Raises:
        Unreadable: not one document of plain YAML.
    """
    try:
        _check_events(data)
        node = yaml.compose(data, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise Unreadable(f"{error.problem or error.context}{_place(error.problem_mark)}") from None
    except (yaml.YAMLError, UnicodeError):
        raise Unreadable("it is not UTF-8 text") from None
    except Unreadable:
        raise
    except (ValueError, OverflowError):  # PyYAML's own, of "\UFFFFFFFF" for one
        raise Unreadable("an escape in it stands for no character") from None
    return None if node is None else _value(node)


def _check_events(data: bytes) -> None:
    # Before anything is composed: an alias of an alias grows without bound, and composing recurses.
    depth = 0
    for event in yaml.parse(data, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            raise Unreadable(f"anchors and aliases are not read{_place(event.start_mark)}")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
            raise Unreadable(f"tags are not read{_place(event.start_mark)}")
        if isinstance(event, yaml.ScalarEvent):
            event.value.encode()  # an escape may stand for half a character, which no answer could hold
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_LIMIT:
            raise Unreadable(f"it is nested deeper than {_DEPTH_LIMIT}{_place(event.start_mark)}")


def _value(node: yaml.Node) -> YamlText:
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    text: str = node.value
    # A quoted scalar has a style; only a bare one can be a null.
    return None if getattr(node, "style", None) is None and text in _NULLS else text


def _mapping(node: yaml.MappingNode) -> dict[str, YamlText]:
    found: dict[str, YamlText] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise Unreadable(f"a key must be a plain word{_place(key.start_mark)}")
        if key.value in found:
            raise Unreadable(f"the key {quoted(key.value)} is given twice{_place(key.start_mark)}")
        found[key.value] = _value(value)
    return found


def _place(mark: Any) -> str:
    return f", at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
