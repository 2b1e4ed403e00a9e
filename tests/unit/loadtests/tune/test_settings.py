from __future__ import annotations

from loadtests.tune.settings import BATCHING, PRESENT, Settings, batchings, distinct, shapes

NOW = Settings(max_batch_size=32, max_queue_delay_microseconds=0, instances=1)


def test_what_the_present_configuration_says_is_no_change() -> None:
    assert Settings(max_batch_size=32, threads=2).without(NOW) == Settings(threads=2)
    assert distinct([NOW, Settings(threads=2), Settings(threads=2, instances=1)], NOW) == [Settings(threads=2)]
    assert str(PRESENT) == "as it is" and PRESENT.changes() == {}


def test_cores_are_divided_without_overbooking() -> None:
    for cores in (1, 2, 3, 8, 64):
        tried = shapes(cores, NOW)
        assert len(tried) <= 4
        for one in tried:
            assert (one.instances or 1) * (one.threads or 1) <= cores
    assert Settings(instances=8, threads=1) in shapes(8, NOW)


def test_the_chosen_shape_stays_while_batches_vary() -> None:
    shape = Settings(instances=2, threads=2)
    tried = batchings(shape, NOW)
    assert shape in tried and len(tried) == len(set(tried)) <= len(BATCHING) + 1
    assert all((one.instances, one.threads) == (2, 2) for one in tried)
    assert PRESENT not in batchings(PRESENT, NOW)
