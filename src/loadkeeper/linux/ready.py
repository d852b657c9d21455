"""Waiting for descriptors."""

import select
from collections.abc import Collection


def wait_readable(descriptors: Collection[int], seconds: float) -> None:
    """Until one of them can be read, or for so long; however many there are and high their numbers."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll(1000 * max(0.0, seconds))
