"""Ctrl-C waits for what must be whole, and is not lost."""

from __future__ import annotations

import signal
import threading

import pytest

from napari_virtualstain.io.interrupts import interrupts_held


@pytest.fixture(autouse=True)
def _default_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_block_is_finished_before_the_interrupt():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        done.append(True)
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens():
    with interrupts_held():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_error_in_the_block_is_the_one_that_is_raised():
    with pytest.raises(ValueError, match="mine"), interrupts_held():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_somebody_elses_handler_is_left_alone():
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(True))
    with interrupts_held():
        signal.raise_signal(signal.SIGINT)
        assert seen == [True]


def test_another_thread_holds_nothing():
    def work():
        with interrupts_held():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
