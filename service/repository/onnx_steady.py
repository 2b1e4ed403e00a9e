"""Whether the work of a graph depends on the shapes of its inputs alone, never on the values that a client sends.

Lists of what is known, not of what is feared: an operator that is missing here costs a version a thread hop a run, one
too many would let a client's value hold the whole server up. Standard names and ONNX Runtime's contributed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from service.repository.protobuf_wire import BLOB, BLOBS, INTEGER, Rule, Wire

NODES_LIMIT = 1000  # of a graph that is looked into; with more of them no run is quick

_LINEAR = """
    Conv ConvTranspose ConvInteger Gemm MatMul MatMulInteger FusedConv FusedGemm FusedMatMul MatMulNBits
    QLinearConv QLinearMatMul QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearAveragePool
    QLinearGlobalAveragePool QLinearConcat QLinearSoftmax QGemm MatMulIntegerToFloat DynamicQuantizeMatMul
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear Attention MultiHeadAttention QAttention
"""
# Not Mod: the remainder of a large double by a tiny one takes 150 times as long as of others. Odd values cost the rest
# of these a few times as much, and 8 times in Sin and Cos of large doubles (measured on an AMD EPYC).
_ELEMENTWISE = """
    Abs Neg Sign Floor Ceil Round Clip Exp Log Sqrt Reciprocal Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh
    Atanh Add Sub Mul Div Min Max Mean Sum And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual Where
    IsNaN IsInf Relu LeakyRelu PRelu Elu Selu Celu Gelu FastGelu BiasGelu QuickGelu ThresholdedRelu Sigmoid HardSigmoid
    HardSwish Mish Softplus Softsign Tanh Identity Cast CastLike Constant
"""
_POOLING_AND_NORMALISATION = """
    MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool Softmax LogSoftmax Hardmax
    BatchNormalization InstanceNormalization LayerNormalization SkipLayerNormalization SimplifiedLayerNormalization
    SkipSimplifiedLayerNormalization GroupNormalization RMSNormalization EmbedLayerNormalization LRN LpNormalization
    MeanVarianceNormalization ArgMax ArgMin Einsum CDist RotaryEmbedding
"""
_MOVING = """
    Concat Gather GatherElements GatherND Flatten Transpose Shape Size DepthToSpace SpaceToDepth ReverseSequence Trilu
    ScatterElements ScatterND GridSample
"""
# Of ai.onnx.ml. In trees a client chooses how deep it goes down: rows that all take one way, and rows that find every
# branch cold, took 0.4 and 1.6 times as long as others (400 trees of 24 levels). Not SVMClassifier, which looks for
# probabilities until they are near enough.
_TABULAR = """
    Scaler Normalizer Imputer Binarizer FeatureVectorizer ArrayFeatureExtractor LinearClassifier LinearRegressor
    SVMRegressor ZipMap TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor LabelEncoder OneHotEncoder
    CategoryMapper
"""

STEADY = frozenset(f"{_LINEAR} {_ELEMENTWISE} {_POOLING_AND_NORMALISATION} {_MOVING} {_TABULAR}".split())

_REDUCING = """
    ReduceMax ReduceMin ReduceMean ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare
"""
_FROM_THE_SECOND = f"""
    {_REDUCING} Reshape Slice Split Squeeze Unsqueeze Expand Tile Pad Resize Upsample OneHot Pow CumSum Dropout
"""
# Steady where none of these inputs is a client's: they say how large the output is, or how much there is to do. With
# other exponents Pow took 54 times as long, along another axis CumSum 12 times, in training Dropout 7 times, and with a
# thousand steps in place of one LSTM 84 times. Not TopK: of rising numbers it took 60 times as long as of falling ones.
SIZED: Mapping[str, slice] = {
    **dict.fromkeys(_FROM_THE_SECOND.split(), slice(1, None)),
    **dict.fromkeys(("ConstantOfShape", "Range"), slice(0, None)),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), slice(4, 5)),  # the lengths, not the first state
}
# Not where texts go through and one of these inputs is a client's, who could have a long text copied a thousand times.
_COPYING: Mapping[str, slice] = {
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ArrayFeatureExtractor"), slice(1, None)),
    **dict.fromkeys(("Where", "Expand", "Tile", "ScatterElements", "ScatterND"), slice(0, None)),
}
_READING_TEXTS = ("Cast", "LabelEncoder", "OneHotEncoder", "CategoryMapper", "Equal")  # to numbers, or to its own texts
_SAYING_SIZES = ("Shape", "Size")

_NONE = slice(0, 0)

GRAPH: Mapping[int, Rule] = {1: BLOBS, 5: BLOBS, 11: BLOBS}
NODE: Mapping[int, Rule] = {1: BLOBS, 2: BLOBS, 4: BLOB}
TENSOR: Mapping[int, Rule] = {8: BLOB}
INPUT: Mapping[int, Rule] = {1: BLOB, 2: BLOB}
TYPE: Mapping[int, Rule] = {1: BLOB}
TENSOR_TYPE: Mapping[int, Rule] = {1: INTEGER}
_TEXT = 8  # TensorProto.DataType.STRING


class _Node(NamedTuple):
    op_type: str
    inputs: list[str]
    outputs: list[str]


def chooses_work(wire: Wire, start: int, stop: int) -> bool:
    """Whether a value that a client sends may say how much an operator has to do, or how large its output becomes.

    Args:
        wire: of the file.
        start: where its main graph starts, a GraphProto of operators in `STEADY` and `SIZED` alone.
        stop: where it stops.

    Raises:
        Malformed: as `wire` does.
    """
    nodes: list[_Node] = []
    ours = {""}  # values that hold nothing of a client's but the shapes; "" stands for an input that is not there
    texts: set[str] = set()  # values that may hold a client's texts
    for number, _, value, end in wire.fields(start, stop, GRAPH):
        if number == 1:
            nodes.append(_node(wire, value, end))
        elif number == 11:  # noqa: PLR2004 - input
            texts.update(_text_input(wire, value, end))
        else:
            ours.update(wire.text(*place) for _, _, *place in wire.fields(value, end, TENSOR))
        if len(nodes) > NODES_LIMIT:
            return True
    # Each behind those whose outputs it takes.
    return any(_chooses(node, ours, texts) for node in nodes)


def _chooses(node: _Node, ours: set[str], texts: set[str]) -> bool:
    """Whether a client chooses the work of this one; takes note of what its outputs are."""
    inputs, op_type = node.inputs, node.op_type
    if not ours.issuperset(inputs[SIZED.get(op_type, _NONE)]):
        return True
    if not texts.isdisjoint(inputs):
        if not ours.issuperset(inputs[_COPYING.get(op_type, _NONE)]):
            return True
        if op_type not in _READING_TEXTS:
            texts.update(node.outputs)
    if op_type in _SAYING_SIZES or ours.issuperset(inputs):
        ours.update(node.outputs)
    return False


def _text_input(wire: Wire, start: int, stop: int) -> list[str]:
    """The name of a graph's input whose elements are texts, else none."""
    name, is_text = "", False
    for number, _, value, end in wire.fields(start, stop, INPUT):
        if number == 1:
            name = wire.text(value, end)
        else:
            is_text = any(_holds_texts(wire, *place) for _, _, *place in wire.fields(value, end, TYPE))
    return [name] if is_text else []


def _holds_texts(wire: Wire, start: int, stop: int) -> bool:
    """Whether that is the type of tensors of texts."""
    return any(elements == _TEXT for _, _, elements, _ in wire.fields(start, stop, TENSOR_TYPE))


def _node(wire: Wire, start: int, stop: int) -> _Node:
    node = _Node("", [], [])
    for number, _, value, end in wire.fields(start, stop, NODE):
        text = wire.text(value, end)
        match number:
            case 1:
                node.inputs.append(text)
            case 2:
                node.outputs.append(text)
            case _:
                node = node._replace(op_type=text)
    return node
