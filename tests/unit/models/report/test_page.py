"""The page is one file that needs no other, says what the cards say, and shows which inputs flip and why."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.data.samples import Samples
from models.evaluate import measure
from models.evaluate.quality import NO_CLASS
from models.report.charts import class_chart, latency_chart, size_chart
from models.report.examples import Show, examples
from models.report.flips import flips
from models.report.occlusion import MOST_PARTS, Side, _pieces, attribution, kind_of
from models.report.page import Page, summary
from models.report.pictures import picture_of, picture_of_attribution
from models.report.rows import rows_of
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.models.compress.networks import images
from tests.unit.models.report.cards import full, variant
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

ROWS = rows_of(
    [
        full(),
        variant("1-fast", "pass", kib=256, speedup=2.0, b=2),
        variant("1-bad", "fail", kib=512, speedup=0.5, b=60),
    ]
)


class Everything(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


def page(**more) -> str:  # type: ignore[no-untyped-def]
    return Page("m", ROWS, (), more.pop("flips", {}), **more).html()


def test_the_page_needs_no_other_file_and_runs_no_script() -> None:
    found = Everything()
    found.feed(page())
    assert all(link.startswith(("data:", "#")) for link in found.links)
    assert "script" not in found.tags
    assert not re.search(r"@import|url\(\s*['\"]?http", page())
    assert found.tags.count("svg") == 3 + 2  # size, two batch sizes, and the classes of two variants


def test_it_says_what_the_cards_say_and_escapes_it() -> None:
    text = page(why_no_flips="No test set <here>.")
    for said in ("95.80%", "2.00x [1.80, 2.20]", "accuracy: 1-fast", "Anything &lt;else&gt;.", "epochs 3"):
        assert said in text
    assert "<else>" not in text
    assert text.count("No test set &lt;here&gt;.") == 2


def test_the_same_cards_give_the_same_page() -> None:
    assert page() == page()


def test_the_summary_names_who_passed_and_who_is_on_the_front() -> None:
    said = summary(ROWS)
    assert said[0] == "1 of 2 variants passed the gate: 1-fast."
    assert said[1] == "On the front of size and quality: 1-fast, 1."
    assert summary(ROWS[:1]) == ("There are no variants.",)


def test_charts_name_every_version_and_are_empty_without_figures() -> None:
    for chart in (size_chart(ROWS), latency_chart(ROWS, 8)):
        assert chart.startswith("<svg")
        assert all(f">{row.version}<" in chart for row in ROWS)
    assert latency_chart(ROWS, 77) == ""
    assert class_chart(ROWS[0], ()) == ""
    assert ">cat<" in class_chart(ROWS[1], ("cat", "dog"))


def test_flips_are_sorted_lost_first_and_told_apart() -> None:
    full_logits = np.array([[2.0, 0, 0], [5, 0, 0], [0, 3, 0], [0, 1, 0], [1, 0, 0]])
    own_logits = np.array([[0.0, 2, 0], [0, 5, 0], [3, 0, 0], [0, 1, 0], [np.nan, 0, 0]])
    test = Samples({"x": np.zeros((5, 1))}, np.array([0, 0, 0, 1, 2]))
    found = flips(full_logits, own_logits, test)
    assert [flip.row for flip in found] == [1, 0, 2, 4]
    assert [flip.kind.partition(":")[0] for flip in found] == ["lost", "lost", "won", "both wrong"]
    assert found[0].full.probability > found[1].full.probability
    assert (found[3].variant.predicted, found[3].variant.probability) == (-1, 0.0)


def corner(rows: int | None = None) -> Side:
    """Logits that read one pixel of an image: what is attributed to it is known."""
    weights = np.zeros((64, 2), np.float32)
    weights[0, 0] = 4.0
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    ends = [value("x", TensorProto.FLOAT, [rows or "N", 1, 8, 8]), value("y", TensorProto.FLOAT, [rows or "N", 2])]
    model = graphs.model(nodes, ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    return Side(OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1)))


@pytest.mark.parametrize("rows", [None, 1, 5])
def test_hiding_the_one_pixel_that_counts_is_what_costs(rows: int | None) -> None:
    image = np.zeros((1, 1, 8, 8), np.float32)
    image[0, 0, 0, 0] = 1.0
    found = attribution(corner(rows), {"x": image}, "x", chosen=0)
    assert found.kind == "image"
    assert np.unravel_index(found.drops.argmax(), found.drops.shape) == (0, 0)
    assert found.drops[0, 0] > 0.4
    assert np.count_nonzero(found.drops) == 1
    other = attribution(corner(rows), {"x": image}, "x", chosen=1)
    assert other.drops[0, 0] == pytest.approx(-found.drops[0, 0])


def test_on_no_class_nothing_hangs_and_what_is_no_number_is_drawn_as_nothing() -> None:
    image = np.full((1, 1, 8, 8), np.nan, np.float32)
    for chosen in (NO_CLASS, 0):
        found = attribution(corner(), {"x": image}, "x", chosen=chosen)
        assert not found.drops.any()
        assert "<img" in picture_of_attribution(found, image[0], 0.0)
    assert "<img" in picture_of(image[0])


def test_a_long_sample_is_hidden_in_pieces_each_of_them_once() -> None:
    pieces = list(_pieces((3, 1000)))
    assert len(pieces) == MOST_PARTS
    hidden = np.zeros((3, 1000), int)
    for piece in pieces:
        hidden[piece] += 1
    assert (hidden == 1).all()
    assert len(list(_pieces((5,)))) == 5
    assert len(list(_pieces(()))) == 1


def test_kinds_of_input() -> None:
    assert kind_of(np.zeros((3, 8, 8), np.float32)) == "image"
    assert kind_of(np.zeros(9, np.int64)) == "tokens"
    assert kind_of(np.zeros(9, np.float32)) == "values"
    assert picture_of(np.array([1.5, 2], np.float32)) == '<span class="values">1.5 2</span>'
    assert picture_of(np.zeros((1, 4, 4), np.float32)).startswith('<img alt="the input" src="data:image/png;base64,')


def test_flips_of_real_versions_are_drawn_side_by_side(full_onnx: bytes, variant_onnx: bytes) -> None:
    inputs = images(300)
    bench = measure.Bench("a-cpu")
    runner = OnnxRunner.load(full_onnx, {}, RunnerOptions(provider="cpu", threads=1))
    labels = runner.run(inputs)["logits"].argmax(axis=1)
    runner.close()
    found = examples(full_onnx, variant_onnx, Samples(inputs, labels), Show(bench, most=2))
    assert found.n == 300
    assert found.lost > 0
    assert (found.won, found.both_wrong) == (0, 0)  # the labels are the full version's own answers
    assert len(found.shown) == min(2, found.lost)
    same = examples(full_onnx, full_onnx, Samples(inputs, labels), Show(bench))
    assert (same.lost, same.shown) == (0, ())
    text = page(flips={"1-fast": found})
    assert f"Of 300 inputs {found.lost} were lost" in text
    assert text.count("<figure>") == 3 * len(found.shown)
