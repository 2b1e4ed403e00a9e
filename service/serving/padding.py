"""May requests of different lengths share a run? What model.yaml allows, held against the graph, and proven by runs.

A wrong declaration is an error of the load. A right one is still only a claim: that a filled row is answered as the row
alone is found out by running both, and where it is not, nothing is padded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.batching.padding import Pads
from service.core.contract import TensorSpec
from service.core.errors import BadModel
from service.repository.config_sections import Pad
from service.serving.signature import Signature


@dataclass(frozen=True, slots=True)
class Padding:
    """What was found out about padding.

    Attributes:
        pads: what is padded; None where nothing is.
        reason: why not, where model.yaml asks for it; else "".
    """

    pads: Pads | None = None
    reason: str = ""


NO_PADDING = Padding()


def declare(pad: Pad | None, signature: Signature) -> Pads | None:
    """What model.yaml's `pad` means for a graph, to be proven; None without it.

    Raises:
        BadModel: an input that there is not, an axis that is none or fixed, an input that grows with the axis and has
            no filler, or an output of which it cannot be said whether it does.
    """
    if pad is None:
        return None
    symbol = _symbol(pad, signature)
    for name, spec in signature.inputs.items():
        expected = [pad.axis] if name in pad.inputs else []
        if _axes(spec, symbol) != expected:
            raise _wrong(signature, f"input '{name}' has axis '{symbol}' too, and no filler for it")
    for name, spec in signature.outputs.items():
        if None in spec.dims[1:]:
            sentence = f"output '{name}' has a variable axis without a name, which may be '{symbol}' or not"
            raise _wrong(signature, sentence)
    for name, filler in pad.inputs.items():
        _check_filler(signature, signature.inputs[name], filler)
    cuts = {name: tuple(axes) for name, spec in signature.outputs.items() if (axes := _axes(spec, symbol))}
    return Pads(pad.axis, dict(pad.inputs), cuts, pad.max_waste)


def _symbol(pad: Pad, signature: Signature) -> str:
    symbols: dict[str, str] = {}
    for name in pad.inputs:
        spec = signature.inputs.get(name)
        if spec is None:
            known = ", ".join(f"'{known}'" for known in list(signature.inputs)[:8])
            raise _wrong(signature, f"there is no input '{name[:100]}', only {known}")
        if pad.axis >= len(spec.dims):
            raise _wrong(signature, f"input '{name}' has {len(spec.dims)} axes, and no axis {pad.axis}")
        dim = spec.dims[pad.axis]
        if not isinstance(dim, str):
            what = "without a name" if dim is None else f"fixed at {dim}"
            raise _wrong(signature, f"axis {pad.axis} of input '{name}' is {what}, and must be a named variable one")
        symbols[name] = dim
    first = next(iter(symbols.values()))
    for name, symbol in symbols.items():
        if symbol != first:
            raise _wrong(signature, f"axis {pad.axis} is '{first}' in one input and '{symbol}' in '{name}'")
    return first


def _axes(spec: TensorSpec, symbol: str) -> list[int]:
    return [axis for axis, dim in enumerate(spec.dims) if dim == symbol]


def _check_filler(signature: Signature, spec: TensorSpec, filler: int | float) -> None:
    if spec.datatype == "BYTES":
        raise _wrong(signature, f"input '{spec.name}' holds texts, which no number fills")
    try:
        exact = spec.datatype.startswith("FP") or spec.dtype.type(filler) == filler
    except (OverflowError, ValueError):
        exact = False
    if not exact:
        raise _wrong(signature, f"input '{spec.name}' is {spec.datatype} and cannot hold its filler {filler}")


def _wrong(signature: Signature, sentence: str) -> BadModel:
    return BadModel(f"pad of {signature.where}: {sentence}")


def told(padding: Padding) -> Mapping[str, str]:
    """What metadata says of padding: nothing where nobody asked for it."""
    if padding.pads is not None:
        return {"padding": f"axis {padding.pads.axis}"}
    return {"padding": "none", "reason": padding.reason} if padding.reason else {}
