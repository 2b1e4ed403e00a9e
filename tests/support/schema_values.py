"""Values for a JSON Schema of the OpenAPI document: some that it allows, and some that are wrong in one place.

Knows the keywords that the document uses; what it does not know it takes as allowing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]

_MOST = 4
_TEXTS = st.text(max_size=20)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=_MOST) | st.dictionaries(_TEXTS, inner, max_size=_MOST),
    max_leaves=10,
)


def values(schema: Schema, schemas: Mapping[str, Schema], wrong: bool = True) -> st.SearchStrategy[Any]:
    """Values that `schema` allows, or nearly.

    Args:
        schema: of the document.
        schemas: those under `components`.
        wrong: whether a part may be replaced by anything at all.
    """
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    fitting = _fitting(schema, schemas, wrong)
    return st.integers(0, 19).flatmap(lambda draw: ANYTHING if draw == 0 else fitting) if wrong else fitting


def _fitting(schema: Schema, schemas: Mapping[str, Schema], wrong: bool) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("type", [])
    found = [_of_kind(kind, schema, schemas, wrong) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    return st.one_of(found) if found else ANYTHING


def _of_kind(kind: str, schema: Schema, schemas: Mapping[str, Schema], wrong: bool) -> st.SearchStrategy[Any]:
    if kind == "object":
        return _objects(schema, schemas, wrong)
    if kind == "array":
        items = values(schema.get("items", {}), schemas, wrong)
        return st.lists(items, min_size=schema.get("minItems", 0), max_size=min(schema.get("maxItems", _MOST), _MOST))
    if kind == "integer":
        return st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1))
    if kind == "number":
        return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
    if kind == "string":
        return st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 20), 20))
    return st.booleans() if kind == "boolean" else st.none()


def _objects(schema: Schema, schemas: Mapping[str, Schema], wrong: bool) -> st.SearchStrategy[Any]:
    properties = {name: values(part, schemas, wrong) for name, part in schema.get("properties", {}).items()}
    required = {name: properties[name] for name in schema.get("required", []) if name in properties}
    optional = {name: part for name, part in properties.items() if name not in required}
    known = st.fixed_dictionaries(required, optional=optional)
    if not wrong:
        return known
    more = st.dictionaries(_TEXTS, ANYTHING, max_size=1)
    lacking = st.sampled_from([None, *required]) if required else st.none()
    return st.tuples(known, more, st.booleans(), lacking).map(_changed)


def _changed(drawn: tuple[dict[str, Any], dict[str, Any], bool, str | None]) -> dict[str, Any]:
    known, more, grown, lacking = drawn
    return {name: value for name, value in (known | more if grown else known).items() if name != lacking}
