"""Where models lie: `<root>/<model>/` with its configuration and `<version>/`, several roots, or one ONNX file.

A name from a request becomes a path only after it is known to be one plain component, and no folder is reached
through a link: nothing outside the roots is opened. One broken entry never hides the others.
Knows nothing of what is loaded.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from service.core.errors import BadModel, NotFound, Unavailable
from service.repository.card import Card
from service.repository.config_files import TRITON_FILE, read_config, read_given_config
from service.repository.folder import SHORT, Folder
from service.repository.memory_folder import MemoryFolder
from service.repository.model_config import ModelConfig
from service.repository.names import is_name, legal_name, version_order
from service.repository.store import (
    MODEL_FILE,
    VERSION_LIMIT_BYTES,
    VersionFiles,
    no_files,
    read_single_file,
    read_version_card,
    read_version_files,
)
from service.repository.suggest import did_you_mean, quoted

_SINGLE_VERSION = "1"
# Folders of a Triton repository's model that hold other files than a version's.
NO_VERSIONS = frozenset({"configs", "initial_state", "warmup"})
# What opening a folder says of an absent one, of a file, and of a link.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Source(Protocol):
    """Anything that models and their versions can be read from; every call looks at the disk anew."""

    def models(self) -> list[str]:
        """Names of all models, sorted; never raises for a broken one."""
        ...

    def versions(self, model: str) -> list[str]:
        """Ids of a model's versions in `version_order`, broken ones included.

        Raises:
            NotFound: there is no such model.
        """
        ...

    def read_config(self, model: str, given: str | None = None) -> ModelConfig:
        """What the model's config.pbtxt and model.yaml say, or the defaults where it has none.

        Args:
            model: its name.
            given: Triton's ModelConfig as JSON, read in their place; files that it names are read beside them.

        Raises:
            NotFound: there is no such model.
            BadModel: it cannot be read, or asks for what does not work.
        """
        ...

    def read_version(self, model: str, version: str, onnx_file: str | None = MODEL_FILE) -> VersionFiles:
        """The verified files of one version; `onnx_file` is the name that the model's configuration has for it.

        Raises:
            NotFound: there is no such model or version.
            BadModel: its files cannot be served.
        """
        ...

    def read_card(self, model: str, version: str) -> Card | None:
        """The card of one version alone, to be shown while it is not loaded; None where it has none.

        Raises:
            NotFound: there is no such model or version.
            BadModel: it cannot be read.
        """
        ...


class Repository:
    """One root folder.

    Args:
        root: the operator's own path; may hold links.
        max_bytes: of all files of one version together.

    Raises:
        NotFound: there is no such folder.
    """

    def __init__(self, root: Path, *, max_bytes: int = VERSION_LIMIT_BYTES) -> None:
        if not root.is_dir():
            raise NotFound(f"There is no folder {quoted(str(root))} to read models from.")
        self._root = root
        self._max_bytes = max_bytes

    def models(self) -> list[str]:
        """Names of all folders in the root that may be a model's, sorted; none when the root is gone."""
        try:
            with Folder.at(self._root) as root:
                return sorted(name for name in root.folders() if is_name(name))
        except (OSError, BadModel):
            return []

    def holds(self, model: str) -> bool:
        """Whether it has a folder of that name; looks at no other, of which there may be thousands."""
        try:
            root = Folder.at(self._root)
        except OSError as error:
            return error.errno in SHORT  # then what reads it next says so
        with root:
            try:
                with root.child(model):
                    return True
            except OSError as error:
                return error.errno not in _ABSENT

    def versions(self, model: str) -> list[str]:
        """As `Source.versions`: all folders in the model's that may be a version's."""
        with self._open_model(model) as folder:
            others = NO_VERSIONS if folder.has(TRITON_FILE) else ()
            found = [name for name in folder.folders() if is_name(name) and name not in others]
        return sorted(found, key=version_order) or ([_SINGLE_VERSION] if self._runs_elsewhere(model) else [])

    def folder(self, model: str, version: str) -> Path:
        """The path of a version's folder, there or not yet, for tools that write it.

        Raises:
            NotFound: not the name of a model or a version.
        """
        if not (is_name(model) and is_name(version)):
            raise NotFound(f"{quoted(f'{model}/{version}')} is no name of a model's version.")
        return self._root / model / version

    def read_config(self, model: str, given: str | None = None) -> ModelConfig:
        """As `Source.read_config`."""
        with self._open_model(model) as folder:
            return read_config(folder, model) if given is None else read_given_config(given, folder, model)

    def read_version(self, model: str, version: str, onnx_file: str | None = MODEL_FILE) -> VersionFiles:
        """As `Source.read_version`."""
        if onnx_file is None and self._has_no_folder(model, version):
            return no_files(model, version)
        with self._open_version(model, version) as folder:
            return read_version_files(folder, model, version, onnx_file=onnx_file, max_bytes=self._max_bytes)

    def read_card(self, model: str, version: str) -> Card | None:
        """As `Source.read_card`."""
        if self._has_no_folder(model, version) and self._runs_elsewhere(model):
            return None
        with self._open_version(model, version) as folder:
            return read_version_card(folder)

    def _runs_elsewhere(self, model: str) -> bool:
        """Whether the configuration leaves the model to another server; one that cannot be read does not."""
        try:
            return self.read_config(model).runner is not None
        except BadModel:
            return False

    def _has_no_folder(self, model: str, version: str) -> bool:
        """Whether this is the version of a model without any version's folder."""
        with self._open_model(model) as folder:
            return version == _SINGLE_VERSION and not any(map(is_name, folder.folders()))

    def _open_model(self, model: str) -> Folder:
        if is_name(model):
            try:
                with Folder.at(self._root) as root:
                    return root.child(model)
            except OSError as error:
                _refuse_unless_absent(error, model)
        raise NotFound(f"There is no model {quoted(model)}{did_you_mean(model, self.models())}")

    def _open_version(self, model: str, version: str) -> Folder:
        with self._open_model(model) as folder:
            if is_name(version):
                try:
                    return folder.child(version)
                except OSError as error:
                    _refuse_unless_absent(error, f"{model}/{version}")
        raise NotFound(
            f"Model {quoted(model)} has no version {quoted(version)}{did_you_mean(version, self.versions(model))}"
        )


class Repositories:
    """Several roots as one; a model that two of them hold is read from the one that comes first.

    Args:
        roots: in order.
        max_bytes: of all files of one version together.

    Raises:
        NotFound: one of the folders does not exist.
    """

    def __init__(self, roots: Sequence[Path], *, max_bytes: int = VERSION_LIMIT_BYTES) -> None:
        self._repositories = [Repository(root, max_bytes=max_bytes) for root in roots]

    def models(self) -> list[str]:
        """Names of all models of all roots, each once, sorted."""
        return sorted(self._count())

    def hidden(self) -> list[str]:
        """Names of models that more than one root holds, so that all but the first of them are never read."""
        return sorted(name for name, count in self._count().items() if count > 1)

    def versions(self, model: str) -> list[str]:
        """As `Source.versions`."""
        return self._holding(model).versions(model)

    def read_config(self, model: str, given: str | None = None) -> ModelConfig:
        """As `Source.read_config`."""
        return self._holding(model).read_config(model, given)

    def read_version(self, model: str, version: str, onnx_file: str | None = MODEL_FILE) -> VersionFiles:
        """As `Source.read_version`."""
        return self._holding(model).read_version(model, version, onnx_file)

    def read_card(self, model: str, version: str) -> Card | None:
        """As `Source.read_card`."""
        return self._holding(model).read_card(model, version)

    def _count(self) -> Counter[str]:
        return Counter(name for repository in self._repositories for name in repository.models())

    def _holding(self, model: str) -> Repository:
        for repository in self._repositories:
            if is_name(model) and repository.holds(model):
                return repository
        raise NotFound(f"There is no model {quoted(model)}{did_you_mean(model, self.models())}")


class SingleFile:
    """One ONNX file as a model of its own, version 1; external data beside it works, a card is not looked for.

    Args:
        path: the operator's own path; may be or hold links.
        max_bytes: of the file and its external data together.

    Raises:
        NotFound: there is no such file.
    """

    def __init__(self, path: Path, *, max_bytes: int = VERSION_LIMIT_BYTES) -> None:
        if not path.is_file():
            raise NotFound(f"There is no file {quoted(str(path))}.")
        self._model = legal_name(path.stem)
        self._path = path.resolve()
        self._max_bytes = max_bytes

    def models(self) -> list[str]:
        """The one name."""
        return [self._model]

    def versions(self, model: str) -> list[str]:
        """As `Source.versions`: `1`."""
        self._check(model, _SINGLE_VERSION)
        return [_SINGLE_VERSION]

    def read_config(self, model: str, given: str | None = None) -> ModelConfig:
        """As `Source.read_config`: the defaults."""
        self._check(model, _SINGLE_VERSION)
        return ModelConfig() if given is None else read_given_config(given, MemoryFolder({}, model), model)

    def read_version(self, model: str, version: str, onnx_file: str | None = MODEL_FILE) -> VersionFiles:
        """As `Source.read_version`."""
        self._check(model, version)
        try:
            with Folder.at(self._path.parent, where=model) as folder:
                return read_single_file(folder, self._path.name, model, version, max_bytes=self._max_bytes)
        except OSError as error:
            raise BadModel(f"The folder of {quoted(self._path.name)} cannot be opened.") from error

    def read_card(self, model: str, version: str) -> Card | None:
        """As `Source.read_card`: none."""
        self._check(model, version)
        return None

    def _check(self, model: str, version: str) -> None:
        if (model, version) != (self._model, _SINGLE_VERSION):
            raise NotFound(f"There is only version {_SINGLE_VERSION} of model {quoted(self._model)}.")


def _refuse_unless_absent(error: OSError, what: str) -> None:
    sentence = f"{what} cannot be opened: {(error.strerror or 'unknown reason').lower()}"
    if error.errno in SHORT:
        raise Unavailable(f"{sentence}; try again later") from None
    if error.errno not in _ABSENT:
        raise BadModel(f"{sentence}.") from None
