"""Ctrl-C while compiled code runs, which Python does not break off: answered all the same."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 0.5
"""For Python to raise KeyboardInterrupt, which it does unless code that it called keeps it."""


@contextmanager
def answered(answer: Callable[[], object], status: int) -> Generator[None]:
    """End the process within a second of a Ctrl-C, after calling `answer`, if Python does not.

    Only the main thread can ask for this; for another one nothing changes, nor where the process
    was started to ignore Ctrl-C, as shells start what runs behind a terminal.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    raised = threading.Event()
    written, read = socket.socketpair()
    written.setblocking(False)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raised.set()
        signal.default_int_handler(number, frame)

    def watch() -> None:
        while came := read.recv(1):
            if came[0] == signal.SIGINT and not raised.wait(GRACE_SECONDS):
                answer()
                os._exit(status)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    handler = signal.signal(signal.SIGINT, interrupt)
    descriptor = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGINT, handler)
        written.close()  # ends the watcher
        watcher.join()
        read.close()
