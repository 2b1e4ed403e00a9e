"""What load requests brought in place of a model's own files, until a load without it: a configuration, or all files.

Kept in memory and read as files on disk are: the same checks, the same limits. A model of which nothing was brought
is read from the source below. Knows nothing of how a request carries it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.errors import BadModel, NotFound
from service.repository.card import Card
from service.repository.config_files import read_given_config
from service.repository.layout import NO_VERSIONS, Source
from service.repository.memory_folder import MemoryFolder
from service.repository.model_config import ModelConfig
from service.repository.names import is_name, version_order
from service.repository.store import (
    MODEL_FILE,
    VERSION_LIMIT_BYTES,
    VersionFiles,
    read_version_card,
    read_version_files,
)
from service.repository.suggest import did_you_mean, quoted

_OVERRIDES_LIMIT = 1000
_DECODED_OF_REQUEST = 8
_FILE_BYTES = 256  # what a file costs beside its name and its bytes


@dataclass(frozen=True, slots=True)
class Override:
    """What one load request brings.

    Attributes:
        config: Triton's ModelConfig as JSON, in place of config.pbtxt and model.yaml.
        files: `<version>/<path>` -> bytes, in place of the whole folder; empty leaves the folder as it is.
    """

    config: str
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def bytes_total(self) -> int:
        """What it takes of memory, the names of files included: there may be many empty ones."""
        return len(self.config) + sum(_FILE_BYTES + len(path) + len(data) for path, data in self.files.items())


class Overlay:
    """A source over another one.

    Args:
        base: what is read where nothing was brought.
        max_bytes: of all files of one version together, and of all that was brought for all models.
        max_request_bytes: of the request that brings files. What lies coded in them may decode to eight times that:
            a request takes no memory that is out of proportion to it.
    """

    def __init__(
        self, base: Source, *, max_bytes: int = VERSION_LIMIT_BYTES, max_request_bytes: int = VERSION_LIMIT_BYTES
    ) -> None:
        self._base = base
        self._max_version_bytes = min(max_bytes, _DECODED_OF_REQUEST * max_request_bytes)
        self._max_bytes = max_bytes
        self._overrides: dict[str, Override] = {}

    def given(self, model: str) -> Override | None:
        """What is in place of the model's own; None where nothing is."""
        return self._overrides.get(model)

    def put(self, model: str, override: Override | None) -> None:
        """From here on the model is what `override` says; None takes away what was put before.

        Raises:
            BadModel: with what was brought for other models it would be more than may be kept; nothing has changed.
        """
        if override is None:
            self.restore(model, None)
            return
        others = [kept for name, kept in self._overrides.items() if name != model]
        if len(others) >= _OVERRIDES_LIMIT or sum(o.bytes_total for o in [*others, override]) > self._max_bytes:
            limits = f"{self._max_bytes} bytes for at most {_OVERRIDES_LIMIT} models"
            raise BadModel(f"{model}: loads may bring at most {limits} together.")
        self._overrides[model] = override

    def restore(self, model: str, before: Override | None) -> None:
        """Makes the model what it was before a `put`; never refused."""
        if before is None:
            self._overrides.pop(model, None)
        else:
            self._overrides[model] = before

    def models(self) -> list[str]:
        """As `Source.models`, with those that came whole."""
        whole = {model for model, override in list(self._overrides.items()) if override.files}
        return sorted({*self._base.models(), *whole})

    def versions(self, model: str) -> list[str]:
        """As `Source.versions`."""
        folder = self._folder(model)
        if folder is None:
            return self._base.versions(model)
        return sorted((n for n in folder.folders() if is_name(n) and n not in NO_VERSIONS), key=version_order)

    def read_config(self, model: str, given: str | None = None) -> ModelConfig:
        """As `Source.read_config`."""
        override = self._overrides.get(model)
        text = given if given is not None or override is None else override.config
        folder = self._folder(model)
        if folder is None or text is None:
            return self._base.read_config(model, text)
        return read_given_config(text, folder, model)

    def read_version(self, model: str, version: str, onnx_file: str | None = MODEL_FILE) -> VersionFiles:
        """As `Source.read_version`."""
        folder = self._version(model, version)
        if folder is None:
            return self._base.read_version(model, version, onnx_file)
        return read_version_files(folder, model, version, onnx_file=onnx_file, max_bytes=self._max_version_bytes)

    def read_card(self, model: str, version: str) -> Card | None:
        """As `Source.read_card`."""
        folder = self._version(model, version)
        return self._base.read_card(model, version) if folder is None else read_version_card(folder)

    def _folder(self, model: str) -> MemoryFolder | None:
        """The folder that was brought; None where the model's own is read."""
        override = self._overrides.get(model)
        return MemoryFolder(override.files, model) if override is not None and override.files else None

    def _version(self, model: str, version: str) -> MemoryFolder | None:
        folder = self._folder(model)
        if folder is None:
            return None
        if version not in folder.folders():
            raise NotFound(
                f"Model {quoted(model)} has no version {quoted(version)}{did_you_mean(version, folder.folders())}"
            )
        return folder.child(version)


def check_override(model: str, override: Override) -> None:
    """Whether the files of an override can be a model's at all.

    Raises:
        BadModel: a path is not plain, or leads to no version's folder.
    """
    if not is_name(model):
        raise BadModel(f"{quoted(model)} is no name of a model.")
    folder = MemoryFolder(override.files, model)
    for name in folder.folders():
        if not is_name(name):
            raise BadModel(f"{model}: {quoted(name)} is no name of a version.")
