"""The folder of the user in which things are kept that take long to make."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_folder(*names: str) -> Path:
    """Return a folder under the user's cache, made where it is missing.

    Raises
    ------
    OSError
        When it cannot be made.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home, "vtakit", *names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def trim(folder: Path, pattern: str, kept: int) -> None:
    """Remove the files of a pattern that were not used for longest, all but so many."""
    with suppress(OSError):
        files = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
        for path in files[:-kept]:
            path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock of a file, alone among all processes; one that dies lets go of it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
