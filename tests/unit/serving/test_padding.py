"""What `pad` may say of a graph, and that only what runs prove is padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from service.batching.padding import Pads
from service.core.contract import InferRequest, TensorSpec
from service.core.deadline import Deadline
from service.core.errors import BadModel
from service.gateway.describe import metadata
from service.repository.card import Batching
from service.repository.config_sections import Pad
from service.serving.padding import Padding, declare, told
from service.serving.signature import Signature
from tests.unit.serving import models, texts
from tests.unit.serving.cards import card
from tests.unit.serving.house import House, servable_of, states

TEXT = {"ids": ("INT64", ("N", "L")), "mask": ("INT64", ("N", "L"))}
ANSWER = {"hidden": ("FP32", ("N", "L", 4)), "pooled": ("FP32", ("N", 4))}


def signature(inputs: dict[str, Any], outputs: dict[str, Any] = ANSWER) -> Signature:
    specs = [
        {name: TensorSpec(name, datatype, dims) for name, (datatype, dims) in side.items()}
        for side in (inputs, outputs)
    ]
    return Signature("model 'm'", *specs, "N")


def pad(**inputs: float) -> Pad:
    return Pad(axis=1, inputs=inputs)


def test_a_declaration_names_fillers_and_finds_the_outputs_that_are_as_long() -> None:
    assert declare(pad(ids=3, mask=0), signature(TEXT)) == Pads(1, {"ids": 3, "mask": 0}, {"hidden": (1,)}, 0.2)
    scores = signature(TEXT, {"weights": ("FP32", ("N", 2, "L", "L"))})
    found = declare(pad(ids=3, mask=0), scores)
    assert found is not None and found.cuts == {"weights": (2, 3)}
    assert declare(None, signature(TEXT)) is None


@pytest.mark.parametrize(
    ("given", "inputs", "outputs", "sentence"),
    [
        (pad(ids=0, maks=0), TEXT, ANSWER, "there is no input 'maks', only 'ids', 'mask'"),
        (Pad(axis=2, inputs={"ids": 0}), TEXT, ANSWER, "input 'ids' has 2 axes, and no axis 2"),
        (pad(x=0), {"x": ("FP32", ("N", 8))}, ANSWER, "axis 1 of input 'x' is fixed at 8"),
        (pad(x=0), {"x": ("FP32", ("N", None))}, ANSWER, "axis 1 of input 'x' is without a name"),
        (pad(ids=0), TEXT, ANSWER, "input 'mask' has axis 'L' too, and no filler"),
        (pad(ids=0, mask=0), {**TEXT, "mask": ("INT64", ("N", "M"))}, ANSWER, "is 'L' in one input and 'M' in 'mask'"),
        (pad(ids=0, mask=0), {**TEXT, "mask": ("INT64", ("N", "L", "L"))}, ANSWER, "input 'mask' has axis 'L' too"),
        (pad(ids=0, mask=0), TEXT, {"y": ("FP32", ("N", None))}, "output 'y' has a variable axis without a name"),
        (pad(x=0), {"x": ("BYTES", ("N", "L"))}, ANSWER, "input 'x' holds texts"),
        (pad(ids=0.5, mask=0), TEXT, ANSWER, "input 'ids' is INT64 and cannot hold its filler 0.5"),
        (pad(x=300), {"x": ("UINT8", ("N", "L"))}, ANSWER, "input 'x' is UINT8 and cannot hold its filler 300"),
    ],
)
def test_a_declaration_that_does_not_fit_the_graph_is_refused(
    given: Pad, inputs: dict[str, Any], outputs: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadModel, match="pad of model 'm'") as refused:
        declare(given, signature(inputs, outputs))
    assert sentence in str(refused.value)


async def padding_of(house: House, onnx: bytes, **config: Any) -> tuple[Padding, dict[str, Any]]:
    house.put("1", onnx)
    house.configure(**config)
    catalog = await house.started()
    servable = servable_of(catalog, "1")
    return servable.examined.padding, metadata(servable, [])["batching"]


async def test_a_model_that_heeds_its_mask_is_padded(house: House) -> None:
    padding, described = await padding_of(house, texts.heeds_its_mask(), pad=texts.PAD)
    assert padding.reason == ""
    assert padding.pads is not None and padding.pads.cuts == {"hidden": (1,)}
    assert described == {"mode": "any", "max_batch_size": 32, "padding": "axis 1"}


async def test_a_mask_of_nothing_but_filler_is_found_to_need_its_own_length(house: House) -> None:
    padding, _ = await padding_of(house, texts.heeds_its_mask(), pad=texts.PAD)
    assert padding.pads is not None and padding.pads.guarded == ("mask",)


async def test_control_a_model_that_ignores_its_mask_is_refused_and_still_batched(house: House) -> None:
    padding, described = await padding_of(house, texts.ignores_its_mask(), pad=texts.PAD)
    assert padding.pads is None
    assert "more than the 1e-05 that padding allows: it has no mask, or does not heed it" in padding.reason
    assert (described["mode"], described["padding"], described["reason"]) == ("any", "none", padding.reason)


async def test_an_output_that_is_as_long_without_saying_so_is_refused(house: House) -> None:
    padding, _ = await padding_of(house, texts.heeds_its_mask(hidden_length="M"), pad=texts.PAD)
    assert padding.pads is None
    assert "output 'hidden' has shape" in padding.reason


async def test_without_pad_nothing_is_said_of_it(house: House) -> None:
    padding, described = await padding_of(house, models.scales(2.0))
    assert (padding, told(padding)) == (Padding(), {})
    assert "padding" not in described


async def test_what_is_never_mixed_is_not_padded_either(house: House) -> None:
    says = Batching(mode="single-request-only", reason="its author says so")
    house.put("1", texts.heeds_its_mask(), card=card(batching=says))
    house.configure(pad=texts.PAD)
    servable = servable_of(await house.started(), "1")
    assert servable.examined.padding == Padding(None, "its author says so")
    assert servable.max_batch_size == 0


async def test_a_refusal_is_in_the_log_and_a_wrong_declaration_keeps_the_version_out(house: House) -> None:
    await padding_of(house, texts.ignores_its_mask(), pad=texts.PAD)
    (warned,) = house.logged("padding refused")
    assert (warned["model"], warned["version"]) == ("m", "1")
    house.put("1", texts.heeds_its_mask(), model="wrong")
    house.configure("wrong", pad={"axis": 1, "inputs": {"ids": 0}})
    catalog = await house.started()
    assert states(catalog, "wrong") == {"1": "FAILED"}


async def test_recorded_rows_prove_it_too(house: House) -> None:
    rows = texts.text(9, rows=4)
    rows["mask"][2:, 6:] = 0
    onnx = texts.heeds_its_mask()
    hidden, pooled = onnxruntime.InferenceSession(onnx).run(["hidden", "pooled"], rows)
    house.put("1", onnx, golden=(rows, {"hidden": hidden, "pooled": pooled}))
    house.configure(pad=texts.PAD)
    servable = servable_of(await house.started(), "1")
    assert servable.examined.rows.source == "golden"
    assert servable.examined.padding.pads is not None


async def test_each_request_of_a_padded_version_gets_its_own_answer(house: House) -> None:
    house.put("1", texts.heeds_its_mask())
    house.configure(pad=texts.PAD)
    servable = servable_of(await house.started(), "1")
    for length in (1, 5, 12):
        answer = await servable.infer(InferRequest(texts.text(length)), Deadline.never())
        assert answer.outputs["hidden"].shape == (1, length, texts.WIDTH)
        assert np.isfinite(answer.outputs["pooled"]).all()
