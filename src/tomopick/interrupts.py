"""A keyboard interrupt is heard even where a library swallows it.

Bare `except` clauses of libraries (fsspec has several around files) make nothing of an interrupt, or another error.
"""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["Interrupt", "heard", "listen", "remember", "stop_if_heard"]

_heard = False


class Interrupt(KeyboardInterrupt):
    """The user's interrupt.

    It has a type of its own, since Python ends as killed, whatever the exit code, once a plain `KeyboardInterrupt`
    passed through an `exec`, which imports of dataclasses and named tuples go through.
    """


def listen() -> None:
    """Remember interrupts from now on, besides raising them; nothing changes where they are ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _hear)


def remember() -> None:
    """Remember interrupts from now on, and raise none: for a process that another one waits for."""
    signal.signal(signal.SIGINT, _note)


def heard() -> bool:
    """Was there an interrupt since `listen`?"""
    return _heard


def stop_if_heard() -> None:
    """For loops that take long.

    Raises:
        Interrupt: There was an interrupt, whoever caught it.
    """
    if _heard:
        raise Interrupt


def _note(number: int, frame: FrameType | None) -> None:
    global _heard
    _heard = True


def _hear(number: int, frame: FrameType | None) -> None:
    _note(number, frame)
    raise Interrupt
