"""What is assembled is published whole, and the gateway holds it to its card: a real server, real swaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models import assemble, chain, publish
from models.assemble import Published, Setup
from models.data import digits
from models.data.samples import read_arrays
from models.data.splits import Splits
from models.evaluate import measure
from models.evaluate.ledger import AlreadyChosen, Ledger
from models.made import Made
from models.publish import AlreadyPublished
from models.recipes import reading
from service.core.cpu import cpu_class
from service.repository.card import FileEntry, Recipe, Step
from service.repository.layout import Repository
from tests.support.process import ServerProcess

SHIPPED = Path(publish.__file__).parent / "repository" / "digits" / "1" / "model.onnx"


def spoilt(model: bytes) -> bytes:
    """The same network with a wrong scale in its last weights: finite, fast, and often wrong."""
    proto = onnx.load_from_string(model)
    for weight in proto.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.ndim == 2:
            noise = np.random.default_rng(0).standard_normal(array.shape)
            weight.CopyFrom(numpy_helper.from_array((array + noise * 0.3).astype(np.float32), weight.name))
    return proto.SerializeToString()


def made(version: str, model: bytes, recipe: str) -> Made:
    return Made(version, model, Recipe(name=recipe, steps=(Step(technique=recipe),)))


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    root = tmp_path_factory.mktemp("assembled")
    return Setup(
        folder=root / "repository" / "digits",
        sets=assemble.sets("digits", digits.SOURCE, Splits(digits.parts(), 3)),
        output="logits",
        licence="Apache-2.0",
        ledger=root / "ledger.jsonl",
        bench=measure.Bench(cpu_class()),
        runs=20,
        not_verified=("Another source of images.",),
    )


@pytest.fixture(scope="module")
def full(setup: Setup) -> Published:
    return assemble.publish_full(Made("1", SHIPPED.read_bytes(), Recipe(name="given")), setup)


@pytest.fixture(scope="module")
def variants(setup: Setup, full: Published) -> dict[str, Published]:
    calibration = digits.part("calibration").inputs
    int8 = chain.make(reading.named("int8-static"), "1-int8", full.onnx, calibration, on_step=lambda _: None)
    without_test = replace(setup, sets=replace(setup.sets, test=None))
    return {
        "1-int8": assemble.publish_variant(int8, setup, full),
        "1-bad": assemble.publish_variant(made("1-bad", spoilt(full.onnx), "spoil"), setup, full),
        "1-open": assemble.publish_variant(replace(int8, version="1-open"), without_test, full),
    }


@pytest.fixture(scope="module")
def server(
    variants: dict[str, Published], setup: Setup, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    assert variants
    with ServerProcess(["--repository", str(setup.folder.parent)], tmp_path_factory.mktemp("served")) as running:
        yield running


def test_verdicts_are_what_the_variants_deserve(variants: dict[str, Published]) -> None:
    found = {name: published.card.verdict for name, published in variants.items()}
    assert found == {"1-int8": "pass", "1-bad": "fail", "1-open": "insufficient-data"}


def test_a_published_card_tells_of_making_data_and_golden_cases(setup: Setup, variants: dict[str, Published]) -> None:
    files = Repository(setup.folder.parent).read_version("digits", "1-int8")
    card = files.card
    assert card == variants["1-int8"].card
    assert card is not None
    assert card.data is not None
    assert card.recipe == reading.named("int8-static").recipe
    assert {name: split.n for name, split in card.data.splits.items()} == dict(digits.SIZES)
    assert (card.data.overlaps_removed, card.licence, card.not_verified) == (
        3,
        "Apache-2.0",
        ("Another source of images.",),
    )
    assert files.golden is not None
    assert files.golden.rows == 64
    assert card.golden is not None
    assert card.golden.top1
    assert card.golden_tolerance("cpu", cpu_class()) is not None


def test_without_a_test_set_agreement_is_told_all_the_same(variants: dict[str, Published]) -> None:
    quality = variants["1-open"].card.quality[0]
    assert quality.agreement is not None
    assert quality.agreement > 0.9
    assert quality.n == 100


def test_the_full_version_is_published_once_and_then_found(setup: Setup, full: Published) -> None:
    again = assemble.publish_full(Made("1", full.onnx, Recipe(name="given")), setup)
    assert (full.reused, again.reused) == (False, True)
    assert again.card == full.card
    with pytest.raises(AlreadyPublished, match="digits/1 is published already, with another model; name another"):
        assemble.publish_full(Made("1", spoilt(full.onnx), Recipe(name="given")), setup)


def test_a_full_version_without_a_card_is_measured_and_left_as_it_is(setup: Setup, tmp_path: Path) -> None:
    folder = tmp_path / "digits" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(SHIPPED.read_bytes())
    found = assemble.publish_full(
        Made("1", SHIPPED.read_bytes(), Recipe(name="given")), replace(setup, folder=tmp_path / "digits", runs=5)
    )
    assert found.reused
    assert found.card.size is not None
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]


def test_a_variant_that_is_there_is_refused_before_it_is_measured(
    setup: Setup, full: Published, variants: dict[str, Published]
) -> None:
    assert variants
    with pytest.raises(AlreadyPublished, match="1-int8 is published already, and what is published is never changed"):
        assemble.publish_variant(made("1-int8", full.onnx, "copy"), setup, full)
    assert "copy" not in [entry.recipe for entry in Ledger(setup.ledger).entries()]


def test_the_ledger_has_each_choice_made_with_the_test_set_and_no_other(
    setup: Setup, full: Published, variants: dict[str, Published]
) -> None:
    assert variants
    entries = Ledger(setup.ledger).entries()
    assert [entry.recipe for entry in entries] == ["int8-static", "spoil"]
    assert {entry.chosen_on_sha256 for entry in entries} == {digits.part("development").sha256()}
    other = replace(made("1-other", full.onnx, "spoil"), recipe=Recipe(name="spoil", seed=4))
    with pytest.raises(AlreadyChosen, match="Recipe 'spoil' was already chosen with other arguments"):
        assemble.publish_variant(other, setup, full)
    assert not (setup.folder / "1-other").exists()


def test_golden_rows_are_no_rows_of_the_test_set(variants: dict[str, Published], setup: Setup) -> None:
    assert variants
    cases = read_arrays((setup.folder / "1-int8" / "golden.npz").read_bytes())
    test = {row.tobytes() for row in digits.part("test").inputs["image"]}
    assert not test & {row.tobytes() for row in cases["input/image"]}
    assert len({row.tobytes() for row in cases["input/image"]}) == 64


def swap(server: ServerProcess, version: str) -> tuple[int, str]:
    answer = server.http.post("/v2/repository/models/digits/swap", json={"version": version})
    return answer.status_code, answer.text


def test_a_gateway_serves_them_and_swaps_to_the_one_that_passed(server: ServerProcess) -> None:
    image = digits.part("test").inputs["image"][:1]
    assert server.http.get("/v2/models/digits/ready").status_code == 200
    status, text = swap(server, "1-int8")
    assert status == 200, text
    body = {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": image.ravel().tolist()}]}
    answer = server.http.post("/v2/models/digits/infer", json=body)
    assert answer.json()["model_version"] == "1-int8"
    assert int(np.argmax(answer.json()["outputs"][0]["data"])) == digits.part("test").labels[0]


def test_a_gateway_refuses_what_failed_with_the_verdict(server: ServerProcess, variants: dict[str, Published]) -> None:
    status, text = swap(server, "1-bad")
    assert status == 409
    assert "the gate's verdict on version '1-bad'" in text
    assert "'fail'" in text
    assert variants["1-bad"].card.reasons[0].split(":")[0] in text


def test_a_gateway_refuses_what_could_not_be_decided(server: ServerProcess) -> None:
    status, text = swap(server, "1-open")
    assert status == 409
    assert "'insufficient-data'" in text


def test_negative_control_golden_cases_that_do_not_hold_keep_a_version_out(
    server: ServerProcess, setup: Setup, variants: dict[str, Published]
) -> None:
    published = variants["1-int8"]
    files = {path.name: path.read_bytes() for path in (setup.folder / "1-int8").iterdir()}
    cases = read_arrays(files["golden.npz"])
    cases["output/logits"] = cases["output/logits"] + np.float32(0.1)
    npz = assemble.cases.arrays_to_npz(cases)
    entry = FileEntry(sha256=assemble.cards.describe.sha256(npz), bytes=len(npz))
    card = published.card.model_copy(
        update={"version": "1-moved", "files": {**published.card.files, "golden.npz": entry}}
    )
    moved = {"model.onnx": files["model.onnx"], "golden.npz": npz, "card.json": card.to_json()}
    publish.publish(setup.folder, "1-moved", moved)
    server.http.post("/v2/repository/models/digits/load")
    status, text = swap(server, "1-moved")
    assert status == 409
    assert "the golden cases do not hold" in text


def test_a_full_version_that_another_run_published_meanwhile_is_taken(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(setup, folder=tmp_path / "repository" / "digits", runs=5)
    given = Made("1", SHIPPED.read_bytes(), Recipe(name="given"))
    real = assemble.appraise.appraise_full
    theirs: list[Published] = []

    def come_in_between(onnx: bytes, trial: assemble.appraise.Trial) -> assemble.appraise.Appraisal:
        monkeypatch.setattr(assemble.appraise, "appraise_full", real)
        theirs.append(assemble.publish_full(given, small))
        return real(onnx, trial)

    monkeypatch.setattr(assemble.appraise, "appraise_full", come_in_between)
    ours = assemble.publish_full(given, small)
    assert (ours.reused, ours.card) == (True, theirs[0].card)
