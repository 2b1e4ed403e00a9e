"""A model's configuration from its folder: config.pbtxt, model.yaml, or both, and then model.yaml's keys win.

The folder is one on disk or one that a load request brought. Knows nothing of versions.
"""

from __future__ import annotations

from typing import Any, Protocol

from service.repository.model_config import MODEL_YAML_LIMIT_BYTES, ModelConfig, config_of, read_yaml_values
from service.repository.triton_config import read_message
from service.repository.triton_json import read_config_json
from service.repository.triton_reading import Reading
from service.repository.triton_text import CONFIG_LIMIT_BYTES, read_pbtxt

YAML_FILE = "model.yaml"
TRITON_FILE = "config.pbtxt"
GIVEN = "the given config"
# Names that people and editors give the two files, and that nothing reads.
_MISTAKEN = {
    "model.yml": YAML_FILE,
    "config.yaml": YAML_FILE,
    "config.yml": YAML_FILE,
    "config.pbtext": TRITON_FILE,
    "config.pbtxt.txt": TRITON_FILE,
}


class ModelFolder(Protocol):
    """What of a model's folder is read here; see `folder.Folder`."""

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name."""
        ...

    def read(self, location: str, *, limit_bytes: int) -> bytes:
        """The whole of a file. Raises BadModel."""
        ...


def read_config(folder: ModelFolder, model: str) -> ModelConfig:
    """The configuration in a model's folder; the defaults where it has none.

    Raises:
        BadModel: a file cannot be read, or asks for what does not work.
    """
    triton, yaml = f"{model}/{TRITON_FILE}", f"{model}/{YAML_FILE}"
    reading = _reading(folder, model, triton)
    if folder.has(TRITON_FILE):
        read_message(read_pbtxt(folder.read(TRITON_FILE, limit_bytes=CONFIG_LIMIT_BYTES), triton), reading)
    given: dict[str, Any] = {}
    if folder.has(YAML_FILE):
        given = read_yaml_values(folder.read(YAML_FILE, limit_bytes=MODEL_YAML_LIMIT_BYTES), yaml)
    sources = dict.fromkeys(given, yaml)
    where = triton if reading.values and not given else yaml
    sources |= {key: triton for key in reading.values if key not in given}
    warnings = (*reading.warnings, *_unread(folder, model))
    return config_of(reading.values | given, where, sources=sources, warnings=warnings)


def _unread(folder: ModelFolder, model: str) -> list[str]:
    return [
        f"{model}/{name} is not read: the file is called {meant}."
        for name, meant in _MISTAKEN.items()
        if folder.has(name)
    ]


def read_given_config(text: str, folder: ModelFolder, model: str) -> ModelConfig:
    """The configuration that a load request gives as JSON, in place of what the folder has.

    Args:
        text: Triton's ModelConfig as JSON.
        folder: where the files lie that it names.
        model: the folder's name.

    Raises:
        BadModel: as `read_config`.
    """
    where = f"{GIVEN} of {model}"
    reading = _reading(folder, model, where)
    read_message(read_config_json(text, where), reading)
    return config_of(reading.values, where, warnings=reading.warnings)


def _reading(folder: ModelFolder, model: str, where: str) -> Reading:
    return Reading(where, model, lambda location, limit_bytes: folder.read(location, limit_bytes=limit_bytes))
