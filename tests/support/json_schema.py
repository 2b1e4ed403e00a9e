"""As much of JSON Schema as the OpenAPI document uses: what a value has that its schema does not say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
}
_KNOWN = frozenset(
    {"$ref", "type", "enum", "properties", "required", "additionalProperties", "items", "minimum", "maximum"}
    | {"minItems", "maxItems", "minLength", "maxLength", "description", "format"}
)


def violations(value: Any, schema: Schema, schemas: Mapping[str, Schema], at: str = "$") -> Iterator[str]:
    """What is wrong with `value`, a sentence each; a key that an object's schema does not list is wrong too.

    Args:
        value: as parsed from JSON.
        schema: of the document; keywords that are not known here raise.
        schemas: those under `components`.
        at: where the value stands.
    """
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    unknown = schema.keys() - _KNOWN
    if unknown:
        raise ValueError(f"{at}: the keywords {sorted(unknown)} are not checked here")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_KINDS[kind](value) for kind in kinds):
        yield f"{at} is {value!r}, no {' or '.join(kinds)}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}, none of {schema['enum']}"
    elif isinstance(value, dict):
        yield from _of_object(value, schema, schemas, at)
    elif isinstance(value, list):
        yield from _of_list(value, schema, schemas, at)
    elif isinstance(value, int | float) and "minimum" in schema and value < schema["minimum"]:
        yield f"{at} is {value}, below {schema['minimum']}"


def _of_object(value: dict[str, Any], schema: Schema, schemas: Mapping[str, Schema], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f"{at} lacks {name}" for name in schema.get("required", []) if name not in value)
    for name, part in value.items():
        if name in properties:
            yield from violations(part, properties[name], schemas, f"{at}.{name}")
        elif isinstance(more := schema.get("additionalProperties"), dict):
            yield from violations(part, more, schemas, f"{at}.{name}")
        elif "properties" in schema and schema.get("additionalProperties") is not True:
            yield f"{at}.{name} is not told"


def _of_list(value: list[Any], schema: Schema, schemas: Mapping[str, Schema], at: str) -> Iterator[str]:
    if len(value) > schema.get("maxItems", len(value)) or len(value) < schema.get("minItems", 0):
        yield f"{at} has {len(value)} items"
    for number, part in enumerate(value):
        yield from violations(part, schema.get("items", {}), schemas, f"{at}[{number}]")


def path_of(template: str, names: Mapping[str, str]) -> str:
    """`template` with its names replaced."""
    return re.sub(r"{(\w+)}", lambda found: names[found[1]], template)
