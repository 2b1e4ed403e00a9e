"""Cleans a graph before a technique touches it: shapes inferred, constants folded, every node named, answers kept.

Every technique that reads shapes or fuses nodes starts here. Built on onnxruntime's quant_pre_process, whose symbolic
shapes know no slice of a length that is left open and no input of unknown rank: such a graph goes on without them,
and a warning says so.
"""

from __future__ import annotations

import tempfile
import warnings
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import quant_pre_process

from models.compress.checks import same_signature
from models.compress.graph import inner_nodes, name_nodes
from models.compress.technique import Material, Technique


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Arguments of `preprocess`.

    Attributes:
        symbolic_shapes: infer symbolic shapes too, where ONNX Runtime can, which needs sympy; without them a dynamic
            axis may stay unknown.
        optimise: let ONNX Runtime fold constants and fuse nodes at its basic level.
    """

    symbolic_shapes: bool = True
    optimise: bool = True


def preprocess(model: bytes, arguments: Preprocess, material: Material | None = None) -> bytes:
    """The same model with a cleaned graph; no material is looked at.

    Raises:
        NotApplied: the model's inputs or outputs would have changed.

    Warns:
        UserWarning: symbolic shapes could not be inferred.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        before.write_bytes(model)
        # Where inference breaks off, ONNX Runtime leaves the whole model in the working folder.
        with chdir(folder):
            _clean(before, after, arguments)
        cleaned = onnx.load(after)
    _keep_used_domains(cleaned)
    name_nodes(cleaned.graph)
    result = cleaned.SerializeToString(deterministic=True)
    same_signature(model, result, "preprocess")
    return result


def _clean(before: Path, after: Path, arguments: Preprocess) -> None:
    skip_optimization = not arguments.optimise
    why = ""
    if arguments.symbolic_shapes:
        try:
            quant_pre_process(before, after, skip_symbolic_shape=False, skip_optimization=skip_optimization)
        except Exception as error:  # a slice that is left open, an unknown rank: each breaks off in another way
            why = next(iter(str(error).splitlines()), type(error).__name__)
        else:
            return
    quant_pre_process(before, after, skip_symbolic_shape=True, skip_optimization=skip_optimization)
    if why:
        warnings.warn(f"No symbolic shapes, as ONNX Runtime breaks off with {why!r}: cleaned without.", stacklevel=3)


def _keep_used_domains(model: onnx.ModelProto) -> None:
    """Drops the opset imports that ONNX Runtime's optimiser adds for every domain it knows, used or not."""
    nodes = [inner for node in model.graph.node for inner in (node, *inner_nodes(node))]
    used = {node.domain for node in nodes} | {node.domain for f in model.functions for node in f.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or not entry.domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)


TECHNIQUE = Technique("preprocess", Preprocess, preprocess)
