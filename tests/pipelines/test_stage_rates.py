"""The clock of stages: a stage inside another one takes its time from it, and waiting is no work."""

import threading
import time

import pytest

from hardmo_jax.pipelines.stage_rates import WAITING, StageClock

#: Longer than what a busy machine adds to a sleep.
NAP = 0.2


def test_a_stage_inside_another_takes_its_time_from_it():
    clock = StageClock()
    with clock.at("outer"):
        time.sleep(NAP)
        with clock.at("inner"):
            time.sleep(2 * NAP)
    assert NAP <= clock.seconds["outer"] < 2 * NAP
    assert clock.seconds["inner"] >= 2 * NAP


def test_items_count_while_they_are_made_and_not_while_they_are_used():
    clock = StageClock()
    for _ in clock.timed("read", iter(range(2))):
        time.sleep(NAP)
    assert clock.seconds["read"] < NAP


def test_waiting_is_not_told():
    clock = StageClock()
    with clock.at("look"), clock.at(WAITING):
        time.sleep(0.01)
    assert list(clock.seconds) == ["look"]


def test_threads_do_not_disturb_each_other():
    clock = StageClock()

    def work(stage):
        with clock.at(stage):
            time.sleep(NAP)

    threads = [threading.Thread(target=work, args=(stage,)) for stage in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(clock.seconds.values()) >= NAP


def test_time_counts_when_a_stage_raises():
    clock = StageClock()
    with pytest.raises(OSError, match="no"), clock.at("read"):
        raise OSError("no")
    assert "read" in clock.seconds
    with clock.at("next"):
        pass
    assert "next" in clock.seconds


def test_rates_are_frames_by_the_time_at_work():
    clock = StageClock()
    with clock.at("read"):
        time.sleep(NAP)
    (rate,) = clock.rates(10)
    assert rate.frames_per_second == pytest.approx(10 / rate.seconds)
    assert rate.frames_per_second <= 10 / NAP
