"""Items made ahead in a thread: order, errors, and an end when nobody wants more."""

import threading
import time

import pytest

from hardmo_jax.perception.read_ahead import read_ahead


def test_items_come_in_order_and_from_another_thread():
    def items():
        for number in range(50):
            yield number, threading.get_ident()

    found = list(read_ahead(items(), 3))
    assert [number for number, _ in found] == list(range(50))
    assert {thread for _, thread in found}.isdisjoint({threading.get_ident()})


def test_no_more_are_made_than_may_be_held():
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    ahead = read_ahead(items(), 2)
    assert next(ahead) == 0
    time.sleep(0.3)
    assert len(made) <= 4, "one given, two held, one waiting to be"
    ahead.close()


def test_an_error_comes_where_the_item_would_have():
    def items():
        yield 1
        raise OSError("the disk is gone")

    ahead = read_ahead(items(), 4)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk is gone"):
        next(ahead)
    with pytest.raises(StopIteration):
        next(ahead)


def test_closing_ends_the_thread_and_closes_the_items():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    ahead = read_ahead(items(), 1)
    next(ahead)
    ahead.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_nothing_starts_before_the_first_is_asked_for():
    made = []

    def items():
        made.append(1)
        yield 1

    read_ahead(items(), 1).close()
    assert not made


def test_reading_one_read_ahead_by_another_ends_both():
    def items():
        yield from range(1000)

    before = threading.active_count()
    outer = read_ahead((2 * number for number in read_ahead(items(), 2)), 2)
    assert [next(outer) for _ in range(3)] == [0, 2, 4]
    outer.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() == before


def test_room_for_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        read_ahead([1], 0)
