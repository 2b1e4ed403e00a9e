"""M2, M4: what an ONNX file may need, held against the onnx package and against hostile files."""

import tracemalloc
from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from service.core.errors import BadModel
from service.repository import onnx_file, onnx_tensor
from service.repository.onnx_file import ExternalTensor, OnnxFacts, read_onnx_facts
from service.repository.protobuf_wire import Rule
from tests.support.real_data import real_data
from tests.unit.repository.onnx_models import WEIGHT, branch, bytes_field, external, graph, model, number_field, value

GOOD = model().SerializeToString()


def facts(of: onnx.ModelProto) -> OnnxFacts:
    return read_onnx_facts(of.SerializeToString())


def refusal(of: onnx.ModelProto | bytes) -> str:
    with pytest.raises(BadModel) as caught:
        read_onnx_facts(of if isinstance(of, bytes) else of.SerializeToString())
    return str(caught.value)


def if_node(tensor: onnx.TensorProto) -> onnx.NodeProto:
    return helper.make_node("If", ["c"], ["y"], then_branch=branch(tensor), else_branch=branch(tensor))


def sparse(values: onnx.TensorProto, indices: onnx.TensorProto) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(values, indices, [4])


# What it says of good files


def test_says_versions_and_domains() -> None:
    nodes = [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]
    assert facts(model(graph(nodes), domains=["com.microsoft"])) == OnnxFacts(
        8, {"": 17, "com.microsoft": 1}, frozenset({"com.microsoft"}), quantised=False, steady=True, external=()
    )


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"])
def test_standard_domains_are_served(domain: str) -> None:
    assert facts(model(graph([helper.make_node("Op", ["x"], ["y"], domain=domain)]))).domains == {domain}


def test_an_imported_domain_that_nothing_uses_is_harmless() -> None:
    """Exporters leave imports of their function libraries behind after inlining them."""
    assert facts(model(domains=["pkg.onnxscript.torch_lib"])).domains == {""}


@pytest.mark.parametrize(
    ("op_type", "expected"),
    [
        *(
            (name, True)
            for name in ("QuantizeLinear", "DequantizeLinear", "MatMulInteger", "QLinearConv", "MatMulNBits")
        ),
        *((name, False) for name in ("Conv", "QuickGelu", "MatMul")),
    ],
)
def test_says_whether_the_graph_is_quantised(op_type: str, expected: bool) -> None:
    assert facts(model(graph([helper.make_node(op_type, ["x"], ["y"])]))).quantised is expected


STEADY = ("Reshape", "CumSum", "Conv", "Gemm", "LSTM", "Scaler", "LinearClassifier", "ZipMap", "TreeEnsembleClassifier")
VALUE_DEPENDENT = (
    *("Loop", "If", "NonZero", "HannWindow", "RoiAlign", "CenterCropPad", "StringSplit", "NoSuchOperator"),
    *("DictVectorizer", "SVMClassifier", "Mod"),
)


@pytest.mark.parametrize(
    ("op_type", "expected"),
    [*((name, True) for name in STEADY), *((name, False) for name in VALUE_DEPENDENT)],
)
def test_says_whether_the_work_may_depend_on_values(op_type: str, expected: bool) -> None:
    assert facts(model(graph([helper.make_node(op_type, ["x"], ["y"])]))).steady is expected


def test_lists_external_data_of_initializers_and_constants() -> None:
    constant = helper.make_node("Constant", [], ["c"], value=external("c.bin", "c"))
    of = graph([constant], [external("w.bin"), external("w.bin", "v", offset="16")])
    found = facts(model(of))
    assert found.external == (
        ExternalTensor("c", "c.bin", 0, 16),
        ExternalTensor("w", "w.bin", 0, 16),
        ExternalTensor("v", "w.bin", 16, 16),
    )
    assert found.external_files == ("c.bin", "w.bin")
    found.check_external({"c.bin": 16, "w.bin": 32})
    with pytest.raises(BadModel, match=r"'v' reaches past the end of 'w\.bin'"):
        found.check_external({"c.bin": 16, "w.bin": 31})


def test_subgraphs_functions_and_sparse_tensors_with_their_own_data_are_served() -> None:
    weight = numpy_helper.from_array(WEIGHT, "w")
    indices = numpy_helper.from_array(np.arange(4), "i")
    function = helper.make_function("ai.onnx.f", "F", ["x"], ["y"], [if_node(weight)], [helper.make_opsetid("", 17)])
    of = model(graph([if_node(weight)], [], sparse_initializer=[sparse(weight, indices)]), functions=[function])
    assert facts(of).domains == {"", "ai.onnx.f"}


def test_training_information_is_harmless() -> None:
    of = model()
    of.training_info.add().algorithm.CopyFrom(graph())
    assert facts(of) == facts(model())


# What it refuses


@pytest.mark.parametrize("domain", ["evil", "com.microsoftly", "ai.onnxx", "AI.ONNX", "com.example\nforged"])
def test_a_custom_domain_is_refused_wherever_it_is_used(domain: str) -> None:
    node = helper.make_node("Op", ["x"], ["y"], domain=domain)
    deep = helper.make_graph([node], "b", [], [value("z")])
    loop = helper.make_node("Loop", ["n", "c"], ["y"], body=deep)
    function = helper.make_function("ai.onnx.f", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 17)])
    defined = helper.make_function(domain, "F", ["x"], ["y"], [], [helper.make_opsetid("", 17)])
    training = model()
    training.training_info.add().algorithm.CopyFrom(deep)
    for of in (
        model(graph([node])),
        model(graph([loop])),
        model(functions=[function]),
        model(functions=[defined]),
        training,
    ):
        assert refusal(of).startswith(f"Domain {domain!a} of ")


def external_outside_the_main_graph() -> Mapping[str, onnx.ModelProto]:
    tensor = external()
    weight = numpy_helper.from_array(WEIGHT, "w")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    shape = helper.make_node("ConstantOfShape", ["x"], ["y"], value=tensor)
    function = helper.make_function("ai.onnx.f", "F", ["x"], ["y"], [constant], [helper.make_opsetid("", 17)])
    default = helper.make_function("ai.onnx.f", "F", ["x"], ["y"], [], [helper.make_opsetid("", 17)])
    default.attribute_proto.append(helper.make_attribute("a", tensor))
    many = helper.make_node("Op", ["x"], ["y"], many=[tensor])
    sparse_attribute = helper.make_node("Constant", [], ["c"], sparse_value=sparse(weight, tensor))
    sparse_attributes = helper.make_node("Op", [], ["c"], values=[sparse(tensor, weight)])
    training = model()
    training.training_info.add().initialization.initializer.append(tensor)
    return {
        "branch": model(graph([if_node(tensor)])),
        "branch's constant": model(graph([helper.make_node("If", ["c"], ["y"], then_branch=graph([constant]))])),
        "graphs": model(graph([helper.make_node("Op", ["c"], ["y"], bodies=[branch(tensor)])])),
        "function": model(functions=[function]),
        "function's attribute": model(functions=[default]),
        "attribute": model(graph([shape])),
        "tensors": model(graph([many])),
        "sparse values": model(graph(sparse_initializer=[sparse(tensor, weight)])),
        "sparse indices": model(graph(sparse_initializer=[sparse(weight, tensor)])),
        "sparse attribute": model(graph([sparse_attribute])),
        "sparse attributes": model(graph([sparse_attributes])),
        "training": training,
    }


@pytest.mark.parametrize("place", external_outside_the_main_graph())
def test_external_data_that_onnx_runtime_would_read_from_disk_itself_is_refused(place: str) -> None:
    assert "save it inside the model" in refusal(external_outside_the_main_graph()[place])


def test_an_operator_that_opens_a_file_is_refused() -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="/etc/passwd")
    assert "loads an engine from a file" in refusal(model(graph([node])))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no graph"),
        (b"\x80\x04\x95\x10\x00", "a Python pickle"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"<html>not found</html>", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "damaged"),
        (bytes_field(7, b""), "no graph, or no IR version"),
        (number_field(1, 8), "no graph, or no IR version"),
        (GOOD + GOOD, "twice"),
        (number_field(1, 8) + bytes_field(7, bytes_field(1, bytes_field(7, b"\xff"))), "not UTF-8"),
        (number_field(1, 8) + b"".join(bytes_field(8, bytes_field(1, b"%d" % n)) for n in range(101)), "imports more"),
        (
            number_field(1, 8)
            + bytes_field(7, b"".join(bytes_field(1, bytes_field(7, b"ai.onnx.%d" % n)) for n in range(101))),
            "uses more than 100 domains",
        ),
    ],
)
def test_what_is_not_onnx_is_refused_in_one_sentence(data: bytes, said: str) -> None:
    sentence = refusal(data)
    assert said in sentence and sentence.endswith(".") and sentence.isprintable()


def test_a_file_with_a_second_meaning_to_onnx_runtime_is_refused() -> None:
    polyglot = bytes_field(2, b"abORTM") + GOOD
    assert onnx.load_model_from_string(polyglot).producer_name == "abORTM"
    assert "own format" in refusal(polyglot)


def test_deep_nesting_is_refused() -> None:
    def nested(depth: int) -> bytes:
        content = b""
        for _ in range(depth - 1):
            content = bytes_field(1, bytes_field(5, bytes_field(6, content)))
        return number_field(1, 8) + bytes_field(7, content)

    assert read_onnx_facts(nested(32)).ir_version == 8
    assert "nested deeper than 32" in refusal(nested(33))
    assert "nested deeper than 32" in refusal(nested(5000))


def test_a_small_file_that_declares_80_gigabytes_of_weights_is_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[20_000_000_000])
    assert "declares 20000000000 elements" in refusal(model(graph(None, [tensor])))


# Bounds


def test_a_large_weight_is_not_copied() -> None:
    data = model(graph(None, [numpy_helper.from_array(np.zeros(4 << 20, np.float32), "w")])).SerializeToString()
    tracemalloc.start()
    try:
        read_onnx_facts(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data) > 16 << 20
    assert peak_bytes < 64 << 10


def test_negative_control_a_protobuf_parser_copies_it() -> None:
    data = model(graph(None, [numpy_helper.from_array(np.zeros(4 << 20, np.float32), "w")])).SerializeToString()
    parsed = onnx.load_model_from_string(data)
    assert parsed.ByteSize() == len(data)
    del data
    assert len(parsed.graph.initializer[0].raw_data) == 16 << 20


def test_many_empty_nodes_cost_bounded_work_and_no_memory() -> None:
    data = number_field(1, 8) + bytes_field(7, b"\x0a\x00" * 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(BadModel, match="more than 1000 fields"):
            read_onnx_facts(data, fields_limit=1000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 << 10


# The tables against the onnx package


def message_tables() -> dict[str, Mapping[int, Rule]]:
    node = {**onnx_file.NODE_NAME, **onnx_file.NODE_ATTRIBUTES}
    return {
        "ModelProto": onnx_file.MODEL,
        "TrainingInfoProto": onnx_file.TRAINING,
        "FunctionProto": onnx_file.FUNCTION,
        "GraphProto": onnx_file.GRAPH,
        "NodeProto": node,
        "AttributeProto": onnx_file.ATTRIBUTE,
        "SparseTensorProto": onnx_file.SPARSE_TENSOR,
        "TensorProto": onnx_tensor.TENSOR,
        "OperatorSetIdProto": onnx_file.OPSET,
        "StringStringEntryProto": onnx_tensor.ENTRY,
    }


def leads_to(descriptor: Descriptor, seen: frozenset[str] = frozenset()) -> bool:
    if descriptor.name in ("NodeProto", "TensorProto", "OperatorSetIdProto"):
        return True
    nested = [field.message_type for field in descriptor.fields if field.message_type is not None]
    return any(leads_to(inner, seen | {descriptor.name}) for inner in nested if inner.name not in seen)


@pytest.mark.parametrize("name", message_tables())
def test_every_way_to_a_node_a_tensor_or_an_opset_is_in_the_tables(name: str) -> None:
    descriptor: Descriptor = onnx.ModelProto.DESCRIPTOR.file.message_types_by_name[name]
    table = message_tables()[name]
    ways = {
        field.number for field in descriptor.fields if field.message_type is not None and leads_to(field.message_type)
    }
    assert ways <= set(table)
    for number, rule in table.items():
        field = descriptor.fields_by_number[number]
        assert rule.once is not field.is_repeated, field.name
        assert (2 in rule.wires) is (field.message_type is not None or field.type in (9, 12) or field.is_repeated)


# Fuzzing: only BadModel may come out, and whatever is accepted is what onnx reads


def domains_of(nodes: list[onnx.NodeProto]) -> set[str]:
    found = set()
    for node in nodes:
        found.add(node.domain)
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                found |= domains_of(list(inner.node))
    return found


def check_against_onnx(data: bytes) -> bool:
    try:
        found = read_onnx_facts(data)
    except BadModel as error:
        assert str(error).isprintable() and len(str(error)) < 400
        return False
    try:
        parsed = onnx.load_model_from_string(data)
    except Exception:
        # A parser behind this one refuses more, such as bad UTF-8 in a field that is not read here.
        return False
    functions = [node for function in parsed.functions for node in function.node]
    used = domains_of([*parsed.graph.node, *functions]) | {function.domain for function in parsed.functions}
    external_names = [
        tensor.name for tensor in parsed.graph.initializer if tensor.data_location == TensorProto.EXTERNAL
    ]
    assert found.domains == used
    assert [tensor.name for tensor in found.external] == external_names
    return True


@given(st.binary(max_size=200))
def test_random_bytes_only_ever_give_bad_model(data: bytes) -> None:
    check_against_onnx(data)


SEEDS = [
    GOOD,
    model(graph(None, [external()])).SerializeToString(),
    model(graph([if_node(numpy_helper.from_array(WEIGHT, "w"))], []), domains=["com.microsoft"]).SerializeToString(),
]


@settings(max_examples=150)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_models_are_read_as_onnx_reads_them_or_refused(seed: bytes, changes: list[tuple[float, int]]) -> None:
    data = bytearray(seed)
    for place, byte in changes:
        data[int(place * (len(data) - 1))] = byte
    check_against_onnx(bytes(data))


@given(st.sampled_from(SEEDS), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=8))
def test_cut_and_spliced_models_are_read_as_onnx_reads_them_or_refused(
    seed: bytes, begin: float, end: float, patch: bytes
) -> None:
    start, stop = sorted((int(begin * len(seed)), int(end * len(seed))))
    check_against_onnx(seed[:start] + patch + seed[stop:])
    check_against_onnx(seed[:start])


def test_the_fuzzers_seeds_are_accepted() -> None:
    assert all(check_against_onnx(seed) for seed in SEEDS)


# Real models


@pytest.mark.parametrize("name", ["resnet20.onnx", "resnet56.onnx"])
def test_published_networks_are_read(name: str) -> None:
    data = (real_data("resnet-cifar10") / name).read_bytes()
    assert read_onnx_facts(data).external == ()
    assert check_against_onnx(data)
