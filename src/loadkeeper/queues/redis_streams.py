"""`redis://[USER:PASSWORD@]HOST[:PORT]/[DB/]STREAM?group=NAME`: a Redis stream with a consumer group.

Whoever reads an entry owns it; nobody else gets it until it has been idle for ``idle`` seconds, and we say each third
of that time that we still have it (XCLAIM, JUSTID: the count of deliveries stays). An entry is taken out of the stream
when it is answered, so that the stream's length is the backlog. Needs Redis 6.2 for XAUTOCLAIM.
"""

import contextlib
import math
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from .broker import (
    BURIED,
    Answer,
    Backlog,
    Broker,
    Burial,
    Delivery,
    Fate,
    Found,
    Message,
    Past,
    QueueError,
    Unreachable,
    chosen,
)
from .url import QueueUrl, named, option, parse, seconds

PORT = 6379
OLDEST = (6, 2)
BLOCK = 5.0
"""Seconds that a read waits at the server at most: a connection that is dead without a word is found out by it."""
CONNECT = 5.0
SILENT = 10.0
"""Seconds without an answer after which the connection is taken for dead."""
IDLE = 30.0
"""Seconds without a sign of life after which an entry is given to others."""
KEYS = 24 * 3600
"""Seconds for which a key of ours that was put is known."""
LIST = 1000
"""Buried entries that are looked through at once."""
PAYLOAD = (b"payload", b"body", b"data", b"task")
"""Fields that hold the payload, the first one there is; else all fields are the payload, as JSON."""
OPTIONS = ("group", "idle", "results", "socket")
_REFUSALS = ("WRONGPASS", "NOAUTH", "NOPERM", "WRONGTYPE", "DENIED", "invalid username-password")

Fields = Mapping[bytes, bytes]

_PUT = """
for i = 2, #ARGV, 2 do
  if redis.call('SET', KEYS[1] .. ':key:' .. ARGV[i], 1, 'NX', 'EX', ARGV[1]) then
    redis.call('XADD', KEYS[1], '*', 'payload', ARGV[i + 1], 'key', ARGV[i])
  end
end
"""
_SETTLE = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
local at = 3
while at < #ARGV do
  local last = at + 1 + ARGV[at + 1]
  redis.call('XADD', ARGV[at], '*', unpack(ARGV, at + 2, last))
  at = last + 1
end
return 1
"""
"""Answer an entry: with the copies and results that go with it only where nobody else has answered it. In one step, or
an entry would stay that nobody holds."""


class RedisStream(Broker):
    """Raises SettingsError."""

    def __init__(self, text: str) -> None:
        url = parse(text, PORT, OPTIONS)
        self._url = url
        self.shown = url.shown
        self._stream = named(url, "stream", 0).encode()
        self._database = _number(url, named(url, "database", 1, "0"))
        self._group = url.options.get("group", "loadkeeper").encode()
        self._results = url.options.get("results", "").encode()
        self._idle = option(url, "idle", seconds, IDLE)
        self.keep_every = self._idle / 3
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}".encode()
        self._buried = self._stream + f".{BURIED}".encode()
        self._client: Any = None  # redis.Redis, whose types tell less than nothing of what comes back
        self._ear: Any = None  # a connection of its own on which a read waits
        self._ear_id = 0
        self._listening = self._unblocked = False
        self._wanted = 0
        self._claim_at = 0.0
        self._cursor: bytes = b"0-0"

    # ------------------------------------------------------------------------------------------------- who takes tasks

    def connect(self) -> None:
        self.close()
        with self._faults():
            self._client = self._made()
            self._check_version()
            self._settled_by = self._client.script_load(_SETTLE)

    def _made(self) -> Any:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        host, tls = self._url.hosts[0], self._url.scheme == "rediss"
        path = self._url.options.get("socket")
        where: dict[str, Any] = (
            {"unix_socket_path": path} if path else {"host": host.name, "port": host.port, "ssl": tls}
        )
        return redis.Redis(
            db=self._database,
            username=self._url.user or None,
            password=self._url.password,
            protocol=2,
            socket_timeout=SILENT,
            socket_connect_timeout=CONNECT,
            retry=Retry(NoBackoff(), 0),
            client_name="loadkeeper",
            **where,
        )

    def _check_version(self) -> None:
        import redis

        self._client.ping()
        try:
            text = str(self._client.info("server").get("redis_version", ""))
        except redis.ResponseError:
            return  # INFO is forbidden to this user
        version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
        if version and version < OLDEST:
            raise QueueError(f"{self.shown}: Redis {text} is too old: XAUTOCLAIM came with 6.2")

    def _join(self) -> None:
        """The group, from the first entry of the stream on; and the connection that waits."""
        import redis

        client = self._opened()
        try:
            client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._ear = client.connection_pool.get_connection()
        self._ear.send_command("CLIENT", "ID")
        self._ear_id = int(self._ear.read_response())

    def descriptors(self) -> Collection[int]:
        return (self._ear._sock.fileno(),) if self._listening else ()

    def want(self, count: int) -> None:
        self._wanted = count
        with self._faults():
            if count and self._ear is None:
                self._join()
            if count and not self._listening:
                self._listen()
            elif not count and self._listening and not self._unblocked:
                self._unblocked = True
                self._opened().client_unblock(self._ear_id)

    def _listen(self) -> None:
        words = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", self._wanted)
        self._ear.send_command(*words, "BLOCK", int(BLOCK * 1000), "STREAMS", self._stream, ">")
        self._listening, self._unblocked, self._heard_at = True, False, time.monotonic()

    def receive(self) -> list[Delivery]:
        with self._faults():
            found = self._hear()
            now = time.monotonic()
            if not found and self._wanted and now >= self._claim_at:
                found = self._claim(now)
            self._wanted = max(0, self._wanted - len(found))
            if self._wanted and not self._listening:
                self._listen()
        return found

    def _hear(self) -> list[Delivery]:
        import redis

        if not self._listening:
            return []
        if not self._ear.can_read(0):
            if time.monotonic() - self._heard_at > BLOCK + SILENT:
                raise redis.ConnectionError("the server does not answer")
            return []
        self._listening = False
        try:
            answer = self._ear.read_response()
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._ear.disconnect()
            self._ear = None
            self._join()  # the stream was deleted; it is made anew
            return []
        entries = answer[0][1] if answer else []
        return [self._delivery(number, _fields(flat), again=False) for number, flat in entries if flat is not None]

    def _claim(self, now: float) -> list[Delivery]:
        """Entries of those that are gone."""
        self._claim_at = now + self._idle / 4
        words = (self._stream, self._group, self._consumer, int(self._idle * 1000), self._cursor)
        self._cursor, entries, *_ = self._opened().xautoclaim(*words, count=self._wanted)
        return [self._delivery(number, fields, again=True) for number, fields in entries if fields]

    def _delivery(self, number: bytes, fields: Fields, *, again: bool) -> Delivery:
        return Delivery(
            _payload(fields),
            (fields.get(b"key") or number).decode("utf-8", "backslashreplace"),
            number,
            again=again or b"past" in fields,
            result=b"reply_to" in fields or bool(self._results),
            past=_past(fields.get(b"past")),
            fields=fields,
        )

    def settle(self, answers: deque[Answer]) -> None:
        if not answers:
            return
        batch = list(answers)
        with self._faults():
            pipe = self._opened().pipeline(transaction=False)
            for answer in batch:
                words = (self._group, answer.delivery.token, *self._follow(answer))
                pipe.execute_command("EVALSHA", self._settled_by, 1, self._stream, *words)
            told = pipe.execute(raise_on_error=False)
            answers.clear()
            answers.extend(answer for answer, said in zip(batch, told, strict=True) if isinstance(said, Exception))
            self.late += sum(said == 0 for said in told if not isinstance(said, Exception))
            for said in told:
                if isinstance(said, Exception):
                    raise said

    def _follow(self, answer: Answer) -> list[bytes]:
        """What else goes with the answer, for the script: each a stream, the number of words, the words."""
        delivery, fields = answer.delivery, dict(answer.delivery.fields)
        fields.setdefault(b"key", delivery.key.encode())
        fields.pop(b"past", None)
        if answer.fate is Fate.BACK:
            return _added(self._stream, fields | {b"past": msgspec.json.encode(delivery.past)})
        words: list[bytes] = []
        if answer.fate is Fate.BURIED:
            burial = answer.burial or Burial("")
            shown = msgspec.json.encode(msgspec.structs.replace(burial, said=b""))
            words += _added(self._buried, fields | {b"burial": shown, b"said": burial.said})
        target = fields.get(b"reply_to") or self._results
        if target:
            told = {b"key": delivery.key.encode(), b"outcome": answer.fate.encode(), b"result": answer.result}
            if answer.burial is not None:
                told[b"why"] = answer.burial.why.encode()
            words += _added(target, told)
        return words

    def keep(self, held: Sequence[Delivery]) -> None:
        """Of those that are still ours: somebody else may have been given one while we were cut off."""
        if not held:
            return
        with self._faults():
            client, mine = self._opened(), [delivery.token for delivery in held if not delivery.lost]
            words = (self._stream, self._group, "-", "+", 10 * len(mine) + 100, self._consumer)
            ours = {row["message_id"] for row in client.xpending_range(*words)}
            if kept := [number for number in mine if number in ours]:
                client.xclaim(self._stream, self._group, self._consumer, 0, kept, justid=True)
        for delivery in held:
            delivery.lost = delivery.token not in ours

    def due(self, now: float) -> float:
        return min(self._claim_at, self._heard_at + BLOCK + SILENT) if self._listening else math.inf

    def close(self) -> None:
        client, self._client = self._client, None
        self._ear, self._listening = None, False
        if client is not None:
            import redis

            with contextlib.suppress(redis.RedisError, OSError):
                client.connection_pool.disconnect()
            with contextlib.suppress(redis.RedisError, OSError):
                client.close()
        self._wanted = 0

    # ----------------------------------------------------------------------------------------------- who looks after it

    def count(self) -> Backlog:
        """Entries that nobody has answered, less those that somebody holds: answered ones are taken out."""
        with self._faults():
            pipe = self._opened().pipeline(transaction=False)
            pipe.xlen(self._stream)
            pipe.xinfo_groups(self._stream)
            pipe.xlen(self._buried)
            length, groups, buried = pipe.execute(raise_on_error=False)
        for found in (length, buried):
            if isinstance(found, Exception):
                raise QueueError(f"{self.shown}: {found}")
        taken = 0
        if not isinstance(groups, Exception):  # no stream yet
            taken = next((one["pending"] for one in groups if one["name"] == self._group), 0)
        return Backlog(max(0, length - taken), taken, buried)

    def put(self, messages: Sequence[Message]) -> list[str]:
        with self._faults():
            if not any(message.key for message in messages):
                pipe = self._opened().pipeline(transaction=True)
                for message in messages:
                    pipe.xadd(self._stream, {"payload": message.payload})
                return [number.decode() for number in pipe.execute()]
            keys = [message.key or uuid.uuid4().hex for message in messages]
            words: list[bytes | str | int] = [KEYS]
            for key, message in zip(keys, messages, strict=True):
                words += [key, message.payload]
            self._opened().eval(_PUT, 1, self._stream, *words)
        return keys

    def peek(self, count: int, *, buried: bool = False) -> list[Found]:
        with self._faults():
            entries = self._opened().xrange(self._buried, count=count) if buried else self._untaken(count)
        return [_found(number, fields) for number, fields in entries]

    def _untaken(self, count: int) -> list[tuple[bytes, Fields]]:
        """Behind the last one that the group was given."""
        import redis

        client = self._opened()
        try:
            groups = client.xinfo_groups(self._stream)
        except redis.ResponseError:
            return []
        last = next((one["last-delivered-id"] for one in groups if one["name"] == self._group), b"0-0")
        found: list[tuple[bytes, Fields]] = client.xrange(self._stream, min=b"(" + last, count=count)
        return found

    def requeue(self, keys: Collection[str] | None = None, fits: int | None = None) -> int:
        moved, last = 0, b"-"
        with self._faults():
            client = self._opened()
            while entries := client.xrange(self._buried, min=last, count=LIST):
                pipe, wanted = client.pipeline(transaction=True), 0
                for number, fields in entries:
                    if chosen(found := _found(number, fields), keys, fits):
                        self._put_back(pipe, number, fields, found)
                        wanted += 1
                if wanted:
                    moved += sum(bool(answer) for answer in pipe.execute()[::2])
                last = b"(" + entries[-1][0]
        return moved

    def _put_back(self, pipe: Any, number: bytes, fields: Fields, found: Found) -> None:
        kept = {name: value for name, value in fields.items() if name not in (b"burial", b"said", b"past")}
        kept.setdefault(b"key", found.key.encode())
        if found.burial is not None and found.burial.need:
            kept[b"past"] = msgspec.json.encode(Past(need=found.burial.need))
        pipe.xdel(self._buried, number)
        pipe.xadd(self._stream, kept)

    # ---------------------------------------------------------------------------------------------------------- inside

    def _opened(self) -> Any:
        if self._client is None:
            raise Unreachable(f"{self.shown}: it is not connected")
        return self._client

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """In our own words, with what is worth another try told from what is not."""
        try:
            import redis
        except ImportError:
            raise QueueError("redis:// needs the package redis; pip install 'loadkeeper[redis]'") from None
        try:
            yield
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise QueueError(f"{self.shown}: {error}; look to user and password of the URL") from None
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise Unreachable(f"{self.shown} cannot be reached: {_short(error)}") from None
        except redis.ResponseError as error:
            kind = QueueError if any(word in str(error) for word in _REFUSALS) else Unreachable
            raise kind(f"{self.shown}: {error}") from None


def _number(url: QueueUrl, text: str) -> int:
    if not text.isdigit() or len(url.path) > 2:
        from ..errors import SettingsError

        raise SettingsError(f"{url.shown!r}: the path is DATABASE/STREAM, where DATABASE is a number")
    return int(text)


def _added(stream: bytes, fields: Fields) -> list[bytes]:
    words = [word for field in fields.items() for word in field]
    return [stream, b"%d" % len(words), *words]


def _fields(flat: Sequence[bytes] | None) -> Fields:
    return dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}


def _payload(fields: Fields) -> bytes:
    for name in PAYLOAD:
        if name in fields:
            return fields[name]
    if len(fields) == 1:
        return next(iter(fields.values()))
    text = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()}
    return msgspec.json.encode(text)


def _past(content: bytes | None) -> Past:
    """What we wrote ourselves; of anybody else's, nothing."""
    try:
        return msgspec.json.decode(content, type=Past) if content else Past()
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return Past()


def _found(number: bytes, fields: Fields) -> Found:
    burial = None
    if b"burial" in fields:
        try:
            burial = msgspec.json.decode(fields[b"burial"], type=Burial)
            burial = msgspec.structs.replace(burial, said=fields.get(b"said", b""))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            burial = Burial("somebody else put it there")
    key = (fields.get(b"key") or number).decode("utf-8", "backslashreplace")
    rest = {name: value for name, value in fields.items() if name not in (b"burial", b"said", b"past", b"key")}
    return Found(key, _payload(rest), int(number.partition(b"-")[0]) / 1000, burial)


def _short(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
