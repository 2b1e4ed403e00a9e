"""Says what an ONNX file needs before anything runs it: external files, operator domains, versions; refuses the rest.

Reads the structure in place and never copies a weight. What is accepted here opens no file but the ones it reports,
has no operator from outside the standard domains, and has no tensor that is larger than its data.
Knows nothing of the disk, of shapes between nodes, or of ONNX Runtime's own checks, which follow.
Source: onnx.proto of ONNX 1.23 (IR versions up to 14).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.errors import BadModel
from service.repository.onnx_steady import SIZED, STEADY, chooses_work
from service.repository.onnx_tensor import ExternalTensor, read_tensor
from service.repository.protobuf_wire import BLOB, BLOBS, INTEGER, Malformed, Rule, Wire
from service.repository.suggest import quoted

FIELDS_LIMIT = 4_000_000
# ONNX Runtime's own protobuf parser stops at 100 messages, three for each graph inside a graph.
_GRAPH_DEPTH_LIMIT = 32

# Field numbers of onnx.proto. A message type that leads to a node, a tensor or an opset must be here in full:
# tests hold these tables against the onnx package.
MODEL: Mapping[int, Rule] = {1: INTEGER, 7: BLOB, 8: BLOBS, 20: BLOBS, 25: BLOBS}
TRAINING: Mapping[int, Rule] = {1: BLOB, 2: BLOB}
FUNCTION: Mapping[int, Rule] = {7: BLOBS, 9: BLOBS, 10: BLOB, 11: BLOBS}
GRAPH: Mapping[int, Rule] = {1: BLOBS, 5: BLOBS, 15: BLOBS}
NODE_NAME: Mapping[int, Rule] = {4: BLOB, 7: BLOB}
NODE_ATTRIBUTES: Mapping[int, Rule] = {5: BLOBS}
ATTRIBUTE: Mapping[int, Rule] = {5: BLOB, 6: BLOB, 10: BLOBS, 11: BLOBS, 22: BLOB, 23: BLOBS}
SPARSE_TENSOR: Mapping[int, Rule] = {1: BLOB, 2: BLOB}
OPSET: Mapping[int, Rule] = {1: BLOB, 2: INTEGER}

_DOMAINS = ("", "ai.onnx", "com.microsoft")
_DOMAINS_LIMIT = 100
_DOMAIN_PREFIXES = ("ai.onnx.", "com.microsoft.")
# Its attribute is the path of a compiled engine: a file outside every check, and code.
_OPENS_FILES = ("com.microsoft", "EPContext")
# Parts of the names of operators, standard and contributed: (De)QuantizeLinear, MatMulInteger, QLinearConv, ...
_QUANTISED = ("uantize", "Integer", "QLinear", "QGemm", "QAttention", "QMoE", "NBits", "Bnb4")
_FOREIGN = (
    (0, b"\x80", "a Python pickle"),
    (0, b"PK\x03\x04", "a zip archive, such as a torch checkpoint"),
    # ONNX Runtime looks for this mark first: it would load such bytes as its own format, whatever else they are.
    (4, b"ORTM", "in ONNX Runtime's own format, which is not checked here"),
)


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What an ONNX file says about itself.

    Attributes:
        ir_version: of the file format.
        opsets: imported domain -> version; the default domain is "".
        domains: those that a node or a function uses.
        quantised: whether any operator stores or computes in integers what stands for real numbers.
        steady: whether the work is known to depend on the shapes of the inputs alone, not on their values.
        external: every tensor whose data lies in another file, in the order of the graph.
    """

    ir_version: int
    opsets: Mapping[str, int]
    domains: frozenset[str]
    quantised: bool
    steady: bool
    external: tuple[ExternalTensor, ...]

    @property
    def external_files(self) -> tuple[str, ...]:
        """Locations as the graph writes them, each once."""
        return tuple(dict.fromkeys(tensor.location for tensor in self.external))

    def check_external(self, sizes_bytes: Mapping[str, int]) -> None:
        """Holds every external tensor against the size of its file.

        Raises:
            BadModel: a tensor reaches past the end of its file.
        """
        for tensor in self.external:
            if tensor.offset_bytes + tensor.length_bytes > sizes_bytes[tensor.location]:
                raise BadModel(f"Tensor {quoted(tensor.name)} reaches past the end of {quoted(tensor.location)}.")


def read_onnx_facts(data: bytes, *, fields_limit: int = FIELDS_LIMIT) -> OnnxFacts:
    """Reads the structure of an ONNX file.

    Args:
        data: the whole file.
        fields_limit: bound on the work, in protobuf fields and messages; a million takes one to three seconds.

    Raises:
        BadModel: not an ONNX file, broken, a domain or an operator that is not served, external data that is not a
            plain path or belongs to a subgraph, or a tensor larger than its data.
    """
    for offset, mark, what in _FOREIGN:
        if data.startswith(mark, offset):
            raise BadModel(f"model.onnx is not an ONNX file: it is {what}.")
    walk = _Walk(Wire(data, fields_limit))
    try:
        walk.model(0, len(data))
    except Malformed as error:
        raise BadModel(f"model.onnx is not an ONNX file or is damaged: {error}.") from None
    return OnnxFacts(
        walk.ir_version, walk.opsets, frozenset(walk.domains), walk.quantised, _steady(data, walk), tuple(walk.external)
    )


def _steady(data: bytes, walk: _Walk) -> bool:
    try:
        return walk.steady and not chooses_work(Wire(data, FIELDS_LIMIT), *walk.main_graph)
    except Malformed:  # names that nobody can read, which ONNX Runtime does not mind
        return False


@dataclass(slots=True)
class _Walk:
    """One pass over a model; each method takes the start and stop of a message of its name."""

    wire: Wire
    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    quantised: bool = False
    steady: bool = True
    main_graph: tuple[int, int] = (0, 0)
    external: list[ExternalTensor] = field(default_factory=list)

    def model(self, start: int, stop: int) -> None:
        has_graph = False
        for number, _, value, end in self.wire.fields(start, stop, MODEL):
            match number:
                case 1:
                    self.ir_version = value
                case 7:
                    has_graph = True
                    self.main_graph = value, end
                    self._graph(value, end, depth=1)
                case 8:
                    self._opset(value, end)
                case 20:
                    self._training(value, end)
                case _:
                    self._function(value, end)
        if not has_graph or self.ir_version == 0:
            raise Malformed("it has no graph, or no IR version")

    def _training(self, start: int, stop: int) -> None:
        for _, _, value, end in self.wire.fields(start, stop, TRAINING):
            self._graph(value, end, depth=2)

    def _function(self, start: int, stop: int) -> None:
        for number, _, value, end in self.wire.fields(start, stop, FUNCTION):
            match number:
                case 7:
                    self._node(value, end, depth=2)
                case 9:
                    self._opset(value, end)
                case 10:
                    self._use_domain(self.wire.text(value, end), "")
                case _:
                    self._attribute(value, end, depth=2, is_constant=False)

    def _graph(self, start: int, stop: int, depth: int) -> None:
        if depth > _GRAPH_DEPTH_LIMIT:
            raise Malformed(f"its graphs are nested deeper than {_GRAPH_DEPTH_LIMIT}")
        for number, _, value, end in self.wire.fields(start, stop, GRAPH):
            match number:
                case 1:
                    self._node(value, end, depth)
                case 5:
                    self._tensor(value, end, may_be_external=depth == 1)
                case _:
                    self._sparse_tensor(value, end)

    def _node(self, start: int, stop: int, depth: int) -> None:
        names = {
            number: self.wire.text(value, end) for number, _, value, end in self.wire.fields(start, stop, NODE_NAME)
        }
        op_type, domain = names.get(4, ""), names.get(7, "")
        self._use_domain(domain, op_type)
        if (domain, op_type) == _OPENS_FILES:
            raise BadModel("Operator 'EPContext' loads an engine from a file of its own, which is not served.")
        self.steady = self.steady and (op_type in STEADY or (depth == 1 and op_type in SIZED))
        self.quantised = self.quantised or any(mark in op_type for mark in _QUANTISED)
        is_constant = op_type == "Constant" and domain in ("", "ai.onnx")
        for _, _, value, end in self.wire.fields(start, stop, NODE_ATTRIBUTES):
            self._attribute(value, end, depth, is_constant=is_constant)

    def _attribute(self, start: int, stop: int, depth: int, *, is_constant: bool) -> None:
        for number, _, value, end in self.wire.fields(start, stop, ATTRIBUTE):
            match number:
                case 5:
                    self._tensor(value, end, may_be_external=is_constant and depth == 1)
                case 10:
                    self._tensor(value, end, may_be_external=False)
                case 6 | 11:
                    self._graph(value, end, depth + 1)
                case _:
                    self._sparse_tensor(value, end)

    def _sparse_tensor(self, start: int, stop: int) -> None:
        for _, _, value, end in self.wire.fields(start, stop, SPARSE_TENSOR):
            self._tensor(value, end, may_be_external=False)

    def _opset(self, start: int, stop: int) -> None:
        domain, version = "", 0
        for number, _, value, end in self.wire.fields(start, stop, OPSET):
            if number == 1:
                domain = self.wire.text(value, end)
            else:
                version = value
        self.opsets["" if domain == "ai.onnx" else domain] = version
        if len(self.opsets) > _DOMAINS_LIMIT:
            raise Malformed(f"it imports more than {_DOMAINS_LIMIT} domains")

    def _use_domain(self, domain: str, op_type: str) -> None:
        if domain not in _DOMAINS and not domain.startswith(_DOMAIN_PREFIXES):
            user = f"operator {quoted(op_type)}" if op_type else "a function"
            raise BadModel(f"Domain {quoted(domain)} of {user} is not served: only ai.onnx and com.microsoft are.")
        self.domains.add(domain)
        if len(self.domains) > _DOMAINS_LIMIT:
            raise Malformed(f"it uses more than {_DOMAINS_LIMIT} domains")

    def _tensor(self, start: int, stop: int, *, may_be_external: bool) -> None:
        tensor = read_tensor(self.wire, start, stop, may_be_external=may_be_external)
        if tensor is not None:
            self.external.append(tensor)
