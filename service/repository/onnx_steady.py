"""Whether the work of a graph depends on the shapes of its inputs alone, never on the values that a client sends.

Lists of what is known, not of what is feared: an operator that is missing here costs a version a thread hop a run, one
too many would let a client's value hold the whole server up. Standard names and ONNX Runtime's contributed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from service.repository.protobuf_wire import BLOB, BLOBS, Rule, Wire

NODES_LIMIT = 1000  # of a graph that is looked into; with more of them no run is quick

_LINEAR = """
    Conv ConvTranspose ConvInteger Gemm MatMul MatMulInteger FusedConv FusedGemm FusedMatMul MatMulNBits
    QLinearConv QLinearMatMul QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearAveragePool
    QLinearGlobalAveragePool QLinearConcat QLinearSoftmax QGemm MatMulIntegerToFloat DynamicQuantizeMatMul
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear Attention MultiHeadAttention QAttention
    LSTM GRU RNN DynamicQuantizeLSTM
"""
# Not Mod: the remainder of a large double by a tiny one takes 150 times as long as of others. Odd values cost the rest
# of these a few times as much, and 8 times in Sin and Cos of large doubles (measured on an AMD EPYC).
_ELEMENTWISE = """
    Abs Neg Sign Floor Ceil Round Clip Exp Log Sqrt Reciprocal Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh
    Atanh Pow Add Sub Mul Div Min Max Mean Sum And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual Where
    IsNaN IsInf Relu LeakyRelu PRelu Elu Selu Celu Gelu FastGelu BiasGelu QuickGelu ThresholdedRelu Sigmoid HardSigmoid
    HardSwish Mish Softplus Softsign Tanh Identity Dropout Cast CastLike Constant
"""
_POOLING_AND_NORMALISATION = """
    MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool Softmax LogSoftmax Hardmax
    BatchNormalization InstanceNormalization LayerNormalization SkipLayerNormalization SimplifiedLayerNormalization
    SkipSimplifiedLayerNormalization GroupNormalization RMSNormalization EmbedLayerNormalization LRN LpNormalization
    MeanVarianceNormalization ArgMax ArgMin CumSum Einsum CDist RotaryEmbedding
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
# Steady where the inputs behind the first, or all of them, are none of a client's: they say how large the output is.
SIZED: Mapping[str, int] = {
    **dict.fromkeys(f"{_REDUCING} Reshape Slice Split Squeeze Unsqueeze Expand Tile Pad Resize Upsample".split(), 1),
    **dict.fromkeys(("TopK", "OneHot"), 1),
    **dict.fromkeys(("ConstantOfShape", "Range"), 0),
}
_SAYING_SIZES = ("Shape", "Size")

GRAPH: Mapping[int, Rule] = {1: BLOBS, 5: BLOBS}
NODE: Mapping[int, Rule] = {1: BLOBS, 2: BLOBS, 4: BLOB}
TENSOR: Mapping[int, Rule] = {8: BLOB}


class _Node(NamedTuple):
    op_type: str
    inputs: list[str]
    outputs: list[str]


def chooses_sizes(wire: Wire, start: int, stop: int) -> bool:
    """Whether a value that a client sends may say how large an output of an operator in `SIZED` becomes.

    Args:
        wire: of the file.
        start: where its main graph starts, a GraphProto of operators in `STEADY` and `SIZED` alone.
        stop: where it stops.

    Raises:
        Malformed: as `wire` does.
    """
    nodes: list[_Node] = []
    ours = {""}  # values that hold nothing of a client's but the shapes; "" stands for an input that is not there
    for number, _, value, end in wire.fields(start, stop, GRAPH):
        if number == 1:
            nodes.append(_node(wire, value, end))
        else:
            ours.update(wire.text(*place) for _, _, *place in wire.fields(value, end, TENSOR))
        if len(nodes) > NODES_LIMIT:
            return True
    for node in nodes:  # each behind those whose outputs it takes
        if not ours.issuperset(node.inputs[SIZED.get(node.op_type, len(node.inputs)) :]):
            return True
        if node.op_type in _SAYING_SIZES or ours.issuperset(node.inputs):
            ours.update(node.outputs)
    return False


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
