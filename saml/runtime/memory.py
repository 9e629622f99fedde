"""Memory of this process."""

import ctypes
import gc
from contextlib import suppress


def release() -> None:
    """Give free memory back to the system, as far as it can be asked to.

    Models refer to themselves through their hooks, and the allocator keeps what is freed in small parts. In a
    process with several stages both would come on top of what the next one needs.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
