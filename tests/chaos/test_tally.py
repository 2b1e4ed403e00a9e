"""The accounts themselves: a request too many or too few on either side is found."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.chaos import world
from tests.chaos.tally import Body, Books, Tally
from tests.chaos.test_chaos import check_accounts

METRICS = """\
# HELP nv_inference_request_success Inference requests answered
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="digits",version="1"} 3
nv_inference_request_success{model="digits",version="1-int8"} 2
nv_inference_request_success{model="visitor",version="1"} 1
retort_grpc_calls{code="OK"} 2
retort_grpc_calls{code="NOT_FOUND"} 0
retort_http_responses{code="200"} 5
retort_http_responses{code="404"} 1
"""


def kept() -> Tally:
    """What the clients of these metrics saw; one more 200 is the answer that brought the metrics themselves."""
    tally = Tally(answers=Counter({200: 5, 404: 1}), calls=Counter(OK=2), left=1)
    tally.right.update({world.SWAPPED: 5, world.VISITOR: 1})
    return tally


def test_samples_are_added_up_by_their_labels() -> None:
    books = Books(METRICS)
    assert books.value("nv_inference_request_success") == 6
    assert books.value("nv_inference_request_success", model="digits") == 5
    assert books.value("nv_inference_request_success", model="digits", version="1") == 3
    assert books.value("nothing") == 0
    assert books.by("retort_http_responses", "code") == {"200": 5, "404": 1}


def test_equal_accounts_agree() -> None:
    check_accounts(kept(), Books(METRICS))


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ('{model="digits",version="1"} 3', '{model="digits",version="1"} 4'),
        ('{model="digits",version="1-int8"} 2', '{model="digits",version="1-int8"} 1'),
        ('{model="visitor",version="1"} 1', '{model="visitor",version="1"} 0'),
        ('calls{code="OK"} 2', 'calls{code="OK"} 3'),
        ('responses{code="200"} 5', 'responses{code="200"} 3'),
        ('responses{code="200"} 5', 'responses{code="200"} 6'),
        ('responses{code="404"} 1', 'responses{code="404"} 0'),
        ('responses{code="404"} 1', 'responses{code="404"} 2'),
        ('responses{code="404"} 1', 'responses{code="404"} 1\nretort_http_responses{code="500"} 1'),
    ],
)
def test_one_too_many_or_too_few_is_found(written: str, instead: str) -> None:
    assert written in METRICS
    with pytest.raises(AssertionError):
        check_accounts(kept(), Books(METRICS.replace(written, instead)))


def test_a_process_is_seen_as_it_is() -> None:
    before = Body.of(os.getpid())
    read, write = os.pipe()
    try:
        assert Body.of(os.getpid()).descriptors == before.descriptors + 2
    finally:
        os.close(read)
        os.close(write)
    assert before.resident_bytes > 2**20
    assert before.threads >= 1
