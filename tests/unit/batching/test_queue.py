"""The queue: buckets by shape, order of arrival, and the counts that admission reads."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.batching.queue import Queue
from service.batching.ticket import Piece, Ticket, cut


def ticket(rows: int = 1, width: int = 1, *, max_rows: int = 8, alone: bool = False) -> Ticket:
    made = Ticket(future=Any, arrived_s=0.0, deadline_s=0.0)  # type: ignore[arg-type]
    cut(made, {"x": np.zeros((rows, width))}, rows, max_rows=max_rows, alone=alone)
    return made


def queue_of(*tickets: Ticket) -> Queue:
    queue = Queue()
    for each in tickets:
        for piece in each.pieces:
            queue.add(piece)
    return queue


def heads(queue: Queue) -> list[Piece]:
    return [bucket.head for bucket in queue.buckets()]


def take_all(queue: Queue, rows: int) -> list[list[Piece]]:
    batches = []
    while queue.requests:
        batches.append(queue.take(next(queue.buckets()), rows))
    return batches


def test_an_empty_queue_has_no_bucket() -> None:
    queue = Queue()
    assert (list(queue.buckets()), queue.requests, queue.rows, queue.shapes) == ([], 0, 0, 0)


def test_equal_shapes_share_a_bucket_and_others_do_not() -> None:
    a, b, other = ticket(2), ticket(3), ticket(width=2)
    queue = queue_of(a, other, b)
    assert heads(queue) == [a.pieces[0], other.pieces[0]]
    assert [bucket.rows for bucket in queue.buckets()] == [5, 1]
    assert (queue.requests, queue.rows, queue.shapes) == (3, 6, 2)


def test_another_shape_does_not_flush_a_batch() -> None:
    a, other, b = ticket(), ticket(width=2), ticket()
    queue = queue_of(a, other, b)
    assert take_all(queue, 8) == [[a.pieces[0], b.pieces[0]], other.pieces]


def test_the_bucket_whose_head_has_waited_longest_goes_first() -> None:
    first, second, third = ticket(width=1), ticket(width=2), ticket(width=3)
    queue = queue_of(first, second, third, ticket(width=1))
    queue.take(next(queue.buckets()), 1)
    assert heads(queue)[:2] == [second.pieces[0], third.pieces[0]]


def test_take_stops_at_the_first_that_does_not_fit_so_that_nobody_is_overtaken() -> None:
    a, large, small = ticket(3), ticket(4), ticket(1)
    queue = queue_of(a, large, small)
    assert take_all(queue, 5) == [a.pieces, [*large.pieces, *small.pieces]]


def test_take_always_takes_the_first() -> None:
    large = ticket(7)
    queue = queue_of(large, ticket(1))
    assert queue.take(next(queue.buckets()), 2) == large.pieces


def test_those_who_run_alone_have_a_bucket_each() -> None:
    queue = queue_of(ticket(alone=True), ticket(alone=True), ticket(0), ticket(0))
    assert [len(batch) for batch in take_all(queue, 8)] == [1, 1, 1, 1]


def test_a_request_in_pieces_counts_once_until_its_last_piece_is_gone() -> None:
    split = ticket(20)
    queue = queue_of(split)
    assert (queue.requests, queue.rows, split.waiting) == (1, 20, 3)
    queue.take(next(queue.buckets()), 8)
    assert (queue.requests, queue.rows, split.waiting) == (1, 12, 2)
    for piece in split.pieces:
        queue.discard(piece)
    assert (queue.requests, queue.rows, split.waiting) == (0, 0, 0)


def test_discard_works_anywhere_and_twice() -> None:
    a, b, c = ticket(), ticket(), ticket()
    queue = queue_of(a, b, c)
    for _ in range(2):
        queue.discard(b.pieces[0])
    assert take_all(queue, 8) == [[a.pieces[0], c.pieces[0]]]


def test_a_piece_of_a_queue_that_was_given_up_is_no_business_of_the_next() -> None:
    old, new = ticket(), ticket()
    queue_of(old)
    queue = queue_of(new)
    queue.discard(old.pieces[0])
    assert take_all(queue, 8) == [new.pieces]


def test_discarding_the_last_of_a_shape_forgets_the_shape() -> None:
    queue = queue_of(a := ticket(), ticket(width=2))
    queue.discard(a.pieces[0])
    assert queue.shapes == 1


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3)), max_size=30), st.integers(1, 8), st.data())
def test_whatever_is_put_in_comes_out_once_in_order_of_its_shape(
    tickets: list[tuple[int, int]], rows: int, data: st.DataObject
) -> None:
    made = [ticket(n, width) for n, width in tickets]
    queue = queue_of(*made)
    pieces = [piece for each in made for piece in each.pieces]
    gone = set(data.draw(st.sets(st.integers(0, max(0, len(pieces) - 1)), max_size=5))) if pieces else set()
    for index in gone:
        queue.discard(pieces[index])
    out = [piece for batch in take_all(queue, rows) for piece in batch]
    left = [piece for index, piece in enumerate(pieces) if index not in gone]
    assert sorted(out, key=lambda piece: piece.seq) == left
    for width in (1, 2, 3):
        of_shape = [piece.seq for piece in out if piece.inputs["x"].shape[1] == width]
        assert of_shape == sorted(of_shape)
    assert (queue.requests, queue.rows, queue.shapes) == (0, 0, 0)


def test_a_cancelled_future_is_no_business_of_the_queue() -> None:
    loop = asyncio.new_event_loop()
    try:
        waiting = Ticket(loop.create_future(), 0.0, 0.0)
        cut(waiting, {"x": np.zeros((1, 1))}, 1, max_rows=8, alone=False)
        queue = queue_of(waiting)
        waiting.future.cancel()
        assert take_all(queue, 8) == [waiting.pieces]
    finally:
        loop.close()


def levelled(rank: int, rows: int = 1, width: int = 1) -> Ticket:
    made = ticket(rows, width)
    made.level, made.rank = rank // 2, rank
    return made


def test_the_bucket_whose_head_is_of_the_best_rank_goes_first() -> None:
    worse, other, better = levelled(4), levelled(2, width=2), levelled(2)
    queue = queue_of(worse, other, better)
    assert heads(queue) == [other.pieces[0], better.pieces[0]]
    assert take_all(queue, 8) == [other.pieces, [better.pieces[0], worse.pieces[0]]]


def test_each_level_is_counted_and_a_newcomer_waits_for_its_own_and_better_ones() -> None:
    first, second, third = levelled(2, 2), levelled(4, 3), levelled(6, 11)
    queue = queue_of(first, second, third)
    assert [queue.rows_before(level) for level in (1, 2, 3)] == [2, 5, 16]
    assert [queue.requests, *(queue.requests_of(level) for level in (1, 2, 3))] == [3, 1, 1, 1]
    take_all(queue, 8)
    assert [queue.rows, *(queue.rows_before(level) for level in (1, 2, 3))] == [0, 0, 0, 0]
    assert [queue.requests, *(queue.requests_of(level) for level in (1, 2, 3))] == [0, 0, 0, 0]


def test_who_is_delayed_waits_behind_its_level_and_keeps_its_counts() -> None:
    late, others, worse = levelled(2, 11), levelled(2), levelled(4)
    queue = queue_of(late, others, worse)
    before = (queue.requests, queue.rows, queue.requests_of(1), queue.rows_before(1))
    queue.delay(late)
    assert (queue.requests, queue.rows, queue.requests_of(1), queue.rows_before(1)) == before
    assert late.waits_whole
    order = [piece.ticket for batch in take_all(queue, 1) for piece in batch]
    assert order == [others, late, late, worse]
