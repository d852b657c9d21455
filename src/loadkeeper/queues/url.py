"""Where a queue is: `gearman://host:4730,host2/function`, `amqp://user:pass@host/vhost/queue`,
`redis://host/db/stream?group=name`, `spool:path`."""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

from ..errors import SettingsError
from ..masking import masked
from ..units import parse_duration

T = TypeVar("T")
EXAMPLES = """a queue is one of
  spool:PATH                                 a file of our own, for one machine
  redis://HOST[:PORT]/[DB/]STREAM            a Redis stream; rediss:// with TLS
  amqp://USER:PASSWORD@HOST/[VHOST/]QUEUE    RabbitMQ; amqps:// with TLS
  gearman://HOST[:PORT][,HOST2...]/FUNCTION  one gearmand or several"""
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:,@/?#\s]+)(?::([0-9]{1,5}))?")
_MOST_PORTS = 65535


class Host(NamedTuple):
    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class QueueUrl(NamedTuple):
    """Taken apart; ``text`` is as it was given, with its password."""

    text: str
    scheme: str
    rest: str  # what follows the colon
    hosts: tuple[Host, ...] = ()
    user: str | None = None
    password: str | None = None
    path: tuple[str, ...] = ()
    options: Mapping[str, str] = {}

    @property
    def shown(self) -> str:
        """Without its password."""
        return masked(self.text)


def scheme_of(text: str) -> str:
    """Raises SettingsError."""
    found = _SCHEME.fullmatch(text)
    if found is None:
        raise SettingsError(f"{masked(text)!r} is no queue; {EXAMPLES}")
    return found[1]


def parse(text: str, port: int, options: tuple[str, ...] = (), *, many: bool = False) -> QueueUrl:
    """A URL with hosts and a path. ``port``: where none is given; ``options``: the names that may follow the `?`;
    ``many``: several hosts may be given. Raises SettingsError, with no password in it."""
    scheme = scheme_of(text)
    rest = text[len(scheme) + 1 :]
    if not rest.startswith("//"):
        raise SettingsError(f"{masked(text)!r}: // is missing after {scheme}: ; {EXAMPLES}")
    place, _, query = rest[2:].partition("?")
    authority, slash, path = place.partition("/")
    who, at, where = authority.rpartition("@")
    user, colon, password = who.partition(":")
    parts = tuple(unquote(part) for part in path.split("/")) if slash and path else ()
    if any(not part for part in parts[1:]) or (parts and not parts[-1]):
        raise SettingsError(f"{masked(text)!r}: a part of its path is empty; write a / inside a name as %2F")
    hosts = tuple(_host(one, port, text) for one in where.split(","))
    if len(hosts) > 1 and not many:
        raise SettingsError(f"{masked(text)!r}: only one host can be given here")
    return QueueUrl(
        text,
        scheme,
        rest,
        hosts,
        unquote(user) if at else None,
        unquote(password) if colon else None,
        parts,
        _options(query, options, text),
    )


def _host(text: str, port: int, url: str) -> Host:
    if not text:
        return Host("127.0.0.1", port)
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found[2] or port) <= _MOST_PORTS:
        raise SettingsError(f"{masked(url)!r}: {text!r} is no host; it is NAME or NAME:PORT")
    return Host(found[1].strip("[]"), int(found[2] or port))


def _options(query: str, known: tuple[str, ...], url: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in filter(None, query.split("&")):
        name, equals, value = one.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}" if known else "it has none"
            raise SettingsError(f"{masked(url)!r}: it has no option {name!r}; {hint}")
        if not equals or not value or name in found:
            raise SettingsError(f"{masked(url)!r}: option {name} needs one value, as in {name}=VALUE")
        found[name] = unquote(value)
    return found


def option(url: QueueUrl, name: str, read: Callable[[str], T], otherwise: T) -> T:
    """An option's value. Raises SettingsError, which names the URL and the option."""
    text = url.options.get(name)
    if text is None:
        return otherwise
    try:
        return read(text)
    except SettingsError as error:
        raise SettingsError(f"{url.shown}: {name}: {error}") from None


def seconds(text: str) -> float:
    """Of at least a tenth. Raises SettingsError."""
    value = parse_duration(text)
    if value < 0.1:
        raise SettingsError(f"{text} is too short; at least 0.1s")
    return value


def named(url: QueueUrl, what: str, place: int, otherwise: Any = None) -> str:
    """A part of the path by its place from the end. Raises SettingsError when it is missing."""
    if len(url.path) > place:
        return url.path[-1 - place]
    if otherwise is None:
        raise SettingsError(f"{url.shown!r}: the {what} is missing; {EXAMPLES}")
    return str(otherwise)
