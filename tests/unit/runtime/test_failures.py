"""ONNX Runtime's texts, as 1.31 writes them, and what a client gets to read of them."""

from __future__ import annotations

import time

import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from service.core.errors import BadInput, BadModel, DoesNotFit, RetortError, RunFailed, Stuck
from service.runtime.failures import load_failure, ran_out_of_memory, run_failure, sentence

RESHAPE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'r1' Status"
    " Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91"
    " onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool)"
    " input_shape_size == requested_shape_size was false. The input tensor cannot be reshaped to the requested shape."
    " Input shape:{4}, requested shape:{3,2}\n"
)
NO_MEMORY = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running ConstantOfShape node. Name:'' Status"
    " Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void*"
    " onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for"
    " requested buffer of size 800000000000\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            RESHAPE,
            "Reshape node 'r1': input_shape_size == requested_shape_size was false. The input tensor cannot be reshaped"
            " to the requested shape. Input shape:{4}, requested shape:{3,2}",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/onnxruntime/core/graph/model.cc:256"
            " onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&, const"
            " onnxruntime::IOnnxRuntimeOpSchemaRegistryList*, const onnxruntime::logging::Logger&, const"
            " onnxruntime::ModelOptions&) Unsupported model IR version: 99, max supported IR version: 13\n",
            "Unsupported model IR version: 99, max supported IR version: 13",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/onnxruntime/core/graph/model_load_utils.h:46 void"
            " onnxruntime::model_load_utils::ValidateOpsetForDomain(const"
            " std::unordered_map<std::__cxx11::basic_string<char>, int>&, const onnxruntime::logging::Logger&, bool,"
            " const std::string&, int) ONNX Runtime only *guarantees* support for official opsets.\n",
            "ONNX Runtime only *guarantees* support for official opsets.",
        ),
        (
            "virtual OrtValue* x.cc:87 virtual OrtValue* onnxruntime::Kernel::Output(int) const [ONNXRuntimeError] : 1"
            " : FAIL : tensor.cc:57 CalculateTensorStorageSize Tensor shape.Size() must be >= 0",
            "virtual OrtValue* Tensor shape.Size() must be >= 0",
        ),
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x for the following"
            " indices\n index: 1 Got: 5 Expected: 4\n Please fix either the inputs/outputs or the model.",
            "Got invalid dimensions for input: x for the following indices index: 1 Got: 5 Expected: 4 Please fix"
            " either the inputs/outputs or the model.",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/onnxruntime/core"
            "/providers/cpu/text/string_normalizer.cc:235 onnxruntime::StringNormalizer::Locale::Locale(const"
            " std::string&)::<lambda()> Failed to construct locale with name:en_US.UTF-8",
            "Exception during initialization: Failed to construct locale with name:en_US.UTF-8",
        ),
        ("in /layer1/conv/Conv", "in /layer1/conv/Conv"),  # a node's name is no path
        ("a\0b\x1b[31mc\u2028d", "a b [31mc d"),
        ("", ""),
    ],
)
def test_sentence(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_a_sentence_ends_somewhere() -> None:
    assert len(sentence("x" * 10_000)) == 303


@pytest.mark.parametrize(
    "hostile",
    [
        "a.cc:1 " + "x::" * 20_000 + "(" * 20_000,
        "a.cc:1 " + "x::(" + "()" * 20_000,
        "/" * 40_000 + ".cc:",
        "a.cc:1 " * 20_000,
        "Non-zero status code returned while running " * 1_000 + "x" * 10_000,
        "[ONNXRuntimeError] : " * 10_000,
    ],
)
def test_patterns_stay_quick_on_hostile_texts(hostile: str) -> None:
    """Texts hold names that a model's author chose: a pattern that backtracks took 53 s on the first of these.

    Milliseconds, of this thread's own computing: a machine that stalls adds nothing to it.
    """
    start_s = time.thread_time()
    assert len(sentence(hostile)) <= 303
    assert time.thread_time() - start_s < 0.5


def invalid(text: str) -> Exception:
    return ort_errors.InvalidArgument(text)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            invalid("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Invalid input name: z"),
            BadInput,
            "Invalid input name: z",
        ),
        (ValueError("Required inputs (['x']) are missing"), BadInput, "are missing"),
        (ort_errors.Fail(RESHAPE), RunFailed, "Reshape node 'r1'"),
        (ort_errors.Fail(NO_MEMORY), RunFailed, "not enough memory for this run"),
        (MemoryError(), RunFailed, "not enough memory for this run"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), RunFailed, "not UTF-8"),
        (RuntimeError("anything else"), RunFailed, "anything else"),
    ],
)
def test_run_failures(error: Exception, kind: type[RetortError], words: str) -> None:
    failure = run_failure(error)
    assert type(failure) is kind
    assert words in str(failure)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ort_errors.ModelLoadCanceled("[ONNXRuntimeError] : 12 : whatever"), Stuck, "cancelled"),
        (ort_errors.Fail(NO_MEMORY), DoesNotFit, "not enough memory"),
        (ort_errors.RuntimeException("std::bad_alloc"), DoesNotFit, "not enough memory"),
        (ort_errors.Fail("pthread_create failed, error code: 12 error msg: Cannot allocate memory"), DoesNotFit, "not"),
        (ort_errors.Fail("External file: w.bin not found from the table user provided."), BadModel, "external data"),
        (
            ort_errors.InvalidGraph("Data of w should be stored in /dev/null/w.bin, but"),
            BadModel,
            "inside the model file",
        ),
        (
            ort_errors.InvalidProtobuf("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : no"),
            BadModel,
            "cannot be loaded: no",
        ),
    ],
)
def test_load_failures(error: Exception, kind: type[RetortError], words: str) -> None:
    failure = load_failure(error)
    assert type(failure) is kind
    assert words in str(failure)
    assert "/dev" not in str(failure)


@pytest.mark.parametrize(
    "text",
    [
        "[ONNXRuntimeError] : 1 : FAIL : bfc_arena.cc:157 Extend Available memory of 8388608 is smaller than requested"
        " bytes of 16777216",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    ],
)
def test_the_memory_of_a_device_counts_too(text: str) -> None:
    assert type(load_failure(ort_errors.Fail(text))) is DoesNotFit
    assert str(run_failure(ort_errors.Fail(text))) == "there is not enough memory for this run"


def test_out_of_memory() -> None:
    assert ran_out_of_memory(ort_errors.Fail(NO_MEMORY))
    assert ran_out_of_memory(MemoryError())
    assert not ran_out_of_memory(ort_errors.Fail(RESHAPE))
    assert not ran_out_of_memory(None)
