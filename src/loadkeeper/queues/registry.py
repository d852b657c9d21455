"""Which program speaks which scheme."""

import importlib
from typing import TYPE_CHECKING

from ..errors import SettingsError
from .broker import Broker
from .url import EXAMPLES, scheme_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "loadkeeper.sources"
"""Entry points of other packages: the name is a scheme, the object takes a URL and is a `Broker`."""
BUILT_IN = {
    "spool": "spool:Spool",
    "redis": "redis_streams:RedisStream",
    "rediss": "redis_streams:RedisStream",
    "amqp": "amqp:Amqp",
    "amqps": "amqp:Amqp",
    "gearman": "gearman:Gearman",
}


def broker_of(text: str) -> Broker:
    """A broker for a URL, not connected yet. Raises SettingsError."""
    scheme = scheme_of(text)
    if scheme in BUILT_IN:
        module, _, name = BUILT_IN[scheme].partition(":")
        made: Broker = getattr(importlib.import_module(f".{module}", __package__), name)(text)
        return made
    for point in _others():
        if point.name == scheme:
            other: Broker = point.load()(text)
            return other
    raise SettingsError(f"nothing here knows queues of {scheme}: ; {EXAMPLES}")


def _others() -> "list[EntryPoint]":
    from importlib.metadata import entry_points

    return list(entry_points(group=GROUP))
