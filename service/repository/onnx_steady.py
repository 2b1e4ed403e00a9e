"""Operators whose work depends on the shapes of their inputs alone, never on the values that a client sends.

A list of what is known, not of what is feared: an operator that is missing here costs a version a thread hop a run, one
too many would let a client's value hold the whole server up. Standard names and ONNX Runtime's contributed ones.
"""

from __future__ import annotations

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
    MeanVarianceNormalization ReduceMax ReduceMin ReduceMean ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceSumSquare ArgMax ArgMin
"""
_MOVING = """
    Concat Split Slice Gather GatherElements GatherND Squeeze Unsqueeze Reshape Flatten Transpose Shape Size
    DepthToSpace SpaceToDepth
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
