"""Edits a few keys of a model.yaml and leaves every other byte as it is: comments, order and style stay.

The places of the values are those that the YAML parser tells. The file is replaced in one step, or not at all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from loadtests.tune.settings import Settings

# Where each setting stands: (section, key); "" is the top.
PLACES: Mapping[str, tuple[str, str]] = {
    "max_batch_size": ("", "max_batch_size"),
    "max_queue_delay_microseconds": ("dynamic_batching", "max_queue_delay_microseconds"),
    "instances": ("", "instances"),
    "threads": ("", "threads"),
}
# What the server takes where nothing is said.
DEFAULTS = Settings(max_batch_size=32, max_queue_delay_microseconds=0, instances=1)


class BadYaml(ValueError):
    """The file cannot be edited; the message says why, in one sentence."""


def present_settings(text: str) -> Settings:
    """What a model.yaml says, with the defaults for what it does not say. Raises BadYaml."""
    root = _root(text)
    found = {}
    for name, (section, key) in PLACES.items():
        mapping = _value(root, section) if section else root
        value = _value(mapping, key) if isinstance(mapping, yaml.MappingNode) else None
        if isinstance(value, yaml.ScalarNode) and value.value.isdecimal():
            found[name] = int(value.value)
    return Settings(**{**DEFAULTS.changes(), **found})


def edited(text: str, settings: Settings) -> str:
    """The text with these settings in it.

    Raises:
        BadYaml: it is no mapping, or a section is none.
    """
    for name, value in settings.changes().items():
        section, key = PLACES[name]
        text = _set_in_section(text, section, key, str(value)) if section else _set_at_top(text, key, str(value))
    changed = present_settings(text).changes()
    if any(changed[name] != value for name, value in settings.changes().items()):
        raise BadYaml("model.yaml is written in a way that cannot be edited: write the settings by hand.")
    return text


def only(text: str, version: str) -> str:
    """A configuration that serves this version alone; comments and order are not kept."""
    values: dict[str, Any] = yaml.load(text, yaml.BaseLoader) or {}  # noqa: S506 - it makes texts only
    return yaml.safe_dump({**values, "versions": [version], "active": version}, sort_keys=False)


def replace_file(file: Path, text: str) -> None:
    """Writes the file in one step: whoever reads it meanwhile sees the old one or the new one."""
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".model.yaml-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.chmod(name, mode)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _set_at_top(text: str, key: str, value: str) -> str:
    root = _root(text)
    found = _value(root, key)
    if found is not None:
        return _instead(text, found, value)
    if root is not None and root.flow_style:
        return _first_in(text, root, key, value)
    return _with_line(text, f"{key}: {value}")


def _set_in_section(text: str, section: str, key: str, value: str) -> str:
    mapping = _value(_root(text), section)
    if mapping is None:
        return _set_at_top(text, section, f"{{{key}: {value}}}")
    if not isinstance(mapping, yaml.MappingNode):
        raise BadYaml(f"{section} of model.yaml holds no keys and values.")
    found = _value(mapping, key)
    return _first_in(text, mapping, key, value) if found is None else _instead(text, found, value)


def _first_in(text: str, mapping: yaml.MappingNode, key: str, value: str) -> str:
    start, column = mapping.start_mark.index, mapping.start_mark.column
    if mapping.flow_style:
        comma = ", " if mapping.value else ""
        return f"{text[: start + 1]}{key}: {value}{comma}{text[start + 1 :]}"
    return f"{text[:start]}{key}: {value}\n{' ' * column}{text[start:]}"


def _with_line(text: str, line: str) -> str:
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{line}\n"


def _instead(text: str, node: yaml.Node, value: str) -> str:
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]


def _root(text: str) -> yaml.MappingNode | None:
    try:
        root = yaml.compose(text, yaml.BaseLoader)  # type: ignore[arg-type]
    except yaml.YAMLError as error:
        raise BadYaml(f"model.yaml cannot be read: {' '.join(str(error).split())}.") from None
    if root is None or isinstance(root, yaml.MappingNode):
        return root
    raise BadYaml("model.yaml must hold keys and values.")


def _value(mapping: Any, key: str) -> yaml.Node | None:
    if not isinstance(mapping, yaml.MappingNode):
        return None
    return next((value for name, value in mapping.value if name.value == key), None)
