"""The model that is to be compressed: an ONNX file with whatever lies beside it, or a version in a repository.

Read through the gateway's own reader, so that what cannot be served is refused here in the same words.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx as onnx_format

from service.core.contract import TensorSpec
from service.core.errors import RetortError
from service.repository.layout import Repository, SingleFile
from service.repository.names import is_name
from service.repository.store import VersionFiles
from service.repository.suggest import did_you_mean, quoted
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

_MESSAGE_LIMIT_BYTES = (1 << 31) - 1
_GRAPHS = ("model.onnx", "model.deep")


class BadSource(ValueError):
    """The model cannot be read; one sentence."""


@dataclass(frozen=True, slots=True)
class Source:
    """The model as one ONNX file, and what the runtime says of it.

    Attributes:
        onnx: the whole model, weights inside: the very bytes of the file where that is so already.
        inputs: what it takes.
        outputs: what it answers.
        version: its id where it was read from a repository; None for a file.
    """

    onnx: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    version: str | None = None

    @property
    def fixed_rows(self) -> int | None:
        """How many rows a run takes, no more and no fewer; None where that is free."""
        fixed = [spec.dims[0] for spec in self.inputs if spec.dims and isinstance(spec.dims[0], int)]
        return min(fixed, default=None)


def read(path: Path) -> Source:
    """The model in an ONNX file, or in the folder `REPOSITORY/MODEL/VERSION`.

    Raises:
        BadSource: there is none, or it cannot be read, served or held in one file.
    """
    if (below := _version_below(path)) is not None:
        raise BadSource(f"{path} is a model's folder: name one of its versions, as in {below}.")
    try:
        files, version = _version(path) if path.is_dir() else (_file(path), None)
        model = whole(files)
        runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    except RetortError as error:
        raise BadSource(f"{path}: {str(error).rstrip('.')}.") from error
    source = Source(model, runner.inputs, runner.outputs, version)
    runner.close()
    return source


def whole(files: VersionFiles) -> bytes:
    """A version as one ONNX file, its external data taken in.

    Raises:
        BadSource: more than one file can hold.
    """
    if not files.external:
        return files.onnx
    if files.bytes_total > _MESSAGE_LIMIT_BYTES:
        raise BadSource(
            f"The model has {files.bytes_total} bytes with its external data; one ONNX file holds at most 2 GiB."
        )
    with tempfile.TemporaryDirectory() as folder:
        for location, data in {**files.external, "model.onnx": files.onnx}.items():
            path = Path(folder, location)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return onnx_format.load(Path(folder, "model.onnx")).SerializeToString(deterministic=True)


def judged_output(source: Source, name: str | None) -> TensorSpec:
    """The output that is judged: the one that is named, or the only one.

    Raises:
        BadSource: there is none of that name, or several and no name.
    """
    names = [spec.name for spec in source.outputs]
    if name is None:
        if len(names) > 1:
            raise BadSource(f"The model has the outputs {', '.join(names)}: say with --output which one is judged.")
        return source.outputs[0]
    if name not in names:
        raise BadSource(f"The model has no output {quoted(name)}{did_you_mean(name, names)}")
    return source.outputs[names.index(name)]


def model_folder(path: Path) -> Path:
    """`REPOSITORY/MODEL` as it was given, its name checked.

    Raises:
        BadSource: it cannot be a model's folder.
    """
    path = path.resolve()
    if not is_name(path.name) or path.parent == path:
        raise BadSource(f"{path} cannot be a model's folder: a name is letters, digits, '_', '.' and '-'.")
    if path.exists() and not path.is_dir():
        raise BadSource(f"{path} is a file, not a model's folder.")
    if any((path / name).is_file() for name in _GRAPHS):
        raise BadSource(f"{path} is a version's folder: name the model's, {path.parent}.")
    if (model := _model_in(path)) is not None:
        raise BadSource(f"{path} is a folder of models: name a model's folder in it, such as {model}.")
    return path


def _model_in(folder: Path) -> Path | None:
    """A model's folder within one that is none itself; None where there is none."""
    if any(next(folder.glob(f"*/{name}"), None) for name in _GRAPHS):
        return None
    below = (next(folder.glob(f"*/*/{name}"), None) for name in _GRAPHS)
    return next((path.parent.parent for path in below if path is not None), None)


def _file(path: Path) -> VersionFiles:
    if not path.exists():
        raise BadSource(f"There is no file {path}.")
    single = SingleFile(path)
    (model,) = single.models()
    return single.read_version(model, "1")


def _version(path: Path) -> tuple[VersionFiles, str]:
    path = path.resolve()
    repository = Repository(path.parent.parent)
    onnx_file = repository.read_config(path.parent.name).onnx_file
    return repository.read_version(path.parent.name, path.name, onnx_file), path.name


def _version_below(path: Path) -> Path | None:
    """A version of the model whose folder this is; None where it holds a model itself, or is none."""
    if _holds_a_model(path):
        return None
    return next((child for child in sorted(path.glob("*")) if _holds_a_model(child)), None)


def _holds_a_model(path: Path) -> bool:
    return any(file.suffix in (".onnx", ".deep") for file in path.glob("*"))
