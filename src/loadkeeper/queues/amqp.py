"""`amqp://USER:PASSWORD@HOST[:PORT]/[VHOST/]QUEUE`: a queue of RabbitMQ, classic or quorum.

Two connections: one takes and answers, the other publishes, for RabbitMQ stops reading from whoever publishes while it
is short of memory or disk, and answers must go on. We hold the connection and its heartbeat, so a worker may stand for
long; but an answer must come within the broker's ``consumer_timeout`` (30 minutes unless set), of which
`answer_within` keeps clear.

What is given back is nacked, never rejected: from RabbitMQ 4.3 on a reject counts as a failure of the message. What is
buried is published to `QUEUE.buried` with its reason, confirmed, and acknowledged only then.
"""

import contextlib
import os
import socket
import ssl
import time
import uuid
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import SettingsError
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
from .url import QueueUrl, option, parse, seconds

if TYPE_CHECKING:
    import amqp

PORTS = {"amqp": 5672, "amqps": 5671}
OLDEST = (3, 8)
CONNECT = 5.0
ANSWER = 20.0
"""Seconds that the server may take for an answer, and for the confirmation of what was published."""
HEARTBEAT = 20
"""Seconds without a sign of life after which one side takes the other for dead; RabbitMQ may want less."""
TICK = 4.0
"""Seconds between two looks at whether a heartbeat is due."""
CONSUMER_TIMEOUT = 1800.0
CLEAR = 0.9
"""Of the consumer's time-out that a task may take before it is ended and given back."""
LOWER = 0.75
"""The prefetch is lowered where less than this share of it is wanted, ..."""
SETTLED = 0.5
"""... at most each so many seconds: it costs three round trips."""
BATCH = 500
"""Messages that are published before their confirmations are waited for."""
LIST = 10_000
"""Messages that are taken at once to look at them."""
MADE = "x-loadkeeper-"
"""What our own headers begin with."""
OPTIONS = ("consumer_timeout", "heartbeat", "cafile")
_NACK = (60, 120)
_REFUSALS = (401, 402, 403, 530)
"""Reply codes of what another try does not help."""


class Amqp(Broker):
    """Raises SettingsError."""

    claims_end_with_connection = True

    def __init__(self, text: str) -> None:
        scheme = "amqps" if text.startswith("amqps:") else "amqp"
        url = parse(text, PORTS[scheme], OPTIONS)
        self._url = url
        self.shown = url.shown
        self._vhost, self._queue = _path(url)
        self._heartbeat = option(url, "heartbeat", seconds, float(HEARTBEAT))
        self.answer_within = CLEAR * option(url, "consumer_timeout", seconds, CONSUMER_TIMEOUT)
        self._takes: amqp.Connection | None = None
        self._puts: amqp.Connection | None = None
        self._channel: Any = None  # of `_takes`, on which tasks come
        self._publisher: Publisher | None = None
        self._tag: str | None = None
        self._prefetch = self._wanted = 0
        self._lowered_at = 0.0
        self._held: set[Delivery] = set()
        self._arrived: list[Delivery] = []
        self._cancelled = False
        self._tick_at = 0.0

    # ------------------------------------------------------------------------------------------------- who takes tasks

    def connect(self) -> None:
        self.close()
        with self._faults():
            self._takes = self._made()
            self._check_version(self._takes.server_properties)
            self._channel = _channel(self._takes)
            self._ensure(self._queue)

    def _made(self) -> "amqp.Connection":
        import amqp

        url = self._url
        connection = amqp.Connection(
            host=str(url.hosts[0]),
            userid=url.user or "guest",
            password=url.password if url.password is not None else "guest",
            virtual_host=self._vhost,
            heartbeat=max(1, round(self._heartbeat)),
            connect_timeout=CONNECT,
            read_timeout=ANSWER,
            write_timeout=ANSWER,
            ssl=_tls(url),
            client_properties={
                "product": "Loadkeeper",
                "connection_name": f"loadkeeper {socket.gethostname()} {os.getpid()}",
                "capabilities": {"consumer_cancel_notify": True, "authentication_failure_close": True},
            },
        )
        connection.connect()
        return connection

    def _check_version(self, server: Mapping[str, Any]) -> None:
        text = str(server.get("version", ""))
        version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
        if server.get("product") == "RabbitMQ" and version and version < OLDEST:
            raise QueueError(f"{self.shown}: RabbitMQ {text} is too old; 3.8 and newer are known to work")

    def _ensure(self, queue: str) -> int:
        """The queue, which is made where it is not there; how many messages wait in it."""
        found = self._passive(queue)
        if found is None:
            assert self._takes is not None
            with _short_lived(self._takes) as channel:
                found = channel.queue_declare(queue, durable=True, auto_delete=False).message_count
        return int(found)

    def _passive(self, queue: str) -> int | None:
        """Messages that wait; None: there is no such queue."""
        import amqp

        assert self._takes is not None
        with _short_lived(self._takes) as channel:
            try:
                return int(channel.queue_declare(queue, passive=True).message_count)
            except amqp.NotFound:
                return None

    def descriptors(self) -> Collection[int]:
        if self._takes is None or not self._takes.connected:
            return ()
        return (self._takes.sock.fileno(),)

    def want(self, count: int) -> None:
        self._wanted = count
        with self._faults():
            if self._cancelled:
                self._recover()
            if not count:
                self._stop()
                return
            target, now = len(self._held) + count, time.monotonic()
            if self._tag is None or target > self._prefetch:
                self._consume(target)
            elif target < LOWER * self._prefetch and now >= self._lowered_at + SETTLED:
                self._lowered_at = now
                self._consume(target)

    def _consume(self, prefetch: int) -> None:
        """The prefetch of a consumer is fixed when it begins."""
        self._stop()
        self._channel.basic_qos(0, min(prefetch, 65535), False)
        self._prefetch = prefetch
        self._tag = self._channel.basic_consume(self._queue, callback=self._take, on_cancel=self._cancel)

    def _stop(self) -> None:
        if self._tag is not None:
            tag, self._tag = self._tag, None
            self._channel.basic_cancel(tag)

    def _cancel(self, _tag: str) -> None:
        """The server has ended our consumer: its queue was deleted, or has moved to another node."""
        self._tag = None
        self._cancelled = True

    def _recover(self) -> None:
        """Where the queue is gone, so is what we hold of it: it can be given back only as a copy."""
        self._cancelled = False
        if self._passive(self._queue) is None:
            for delivery in self._held:
                delivery.server = "gone"
            self._ensure(self._queue)

    def _take(self, message: Any) -> None:
        headers = _headers(message)
        properties = message.properties
        delivery = Delivery(
            _body(message),
            str(properties.get("message_id") or headers.get(f"{MADE}key") or ""),
            message.delivery_tag,
            again=bool(message.delivery_info.get("redelivered")),
            result=bool(properties.get("reply_to")),
            past=Past(need=_whole(headers.get(f"{MADE}need"))),
            fields=message,
        )
        self._held.add(delivery)
        self._arrived.append(delivery)

    def receive(self) -> list[Delivery]:
        with self._faults():
            self._drain()
        found, self._arrived = self._arrived, []
        self._wanted = max(0, self._wanted - len(found))
        return found

    def _drain(self) -> None:
        if self._takes is None:
            raise Unreachable(f"{self.shown}: it is not connected")
        while True:
            try:
                self._takes.drain_events(timeout=0)
            except TimeoutError:
                return

    def settle(self, answers: deque[Answer]) -> None:
        with self._faults():
            while answers:
                answer = answers[0]
                if not answer.delivery.lost:
                    self._settle(answer)
                self._held.discard(answer.delivery)
                answers.popleft()

    def _settle(self, answer: Answer) -> None:
        delivery = answer.delivery
        message, tag = delivery.fields, delivery.token
        if answer.fate is Fate.BACK:
            if delivery.server != "gone":
                self._channel.send_method(_NACK, "Lbb", (tag, False, True))
                return
            self._publish(self._queue, [_copy(message, _headers(message))])
        elif answer.fate is Fate.BURIED:
            self._bury(message, delivery.key, answer.burial or Burial(""))
        target = message.properties.get("reply_to")
        if target and answer.fate is not Fate.BACK:
            with contextlib.suppress(Returned):  # nobody waits any more
                self._publish(str(target), [_reply(message, answer)])
        self._channel.basic_ack(tag)

    def _bury(self, message: Any, key: str, burial: Burial) -> None:
        headers = _headers(message) | {
            f"{MADE}burial": msgspec.json.encode(msgspec.structs.replace(burial, said=b"")).decode(),
            f"{MADE}said": burial.said.decode("utf-8", "backslashreplace"),
            f"{MADE}key": key,
        }
        self._ensure(f"{self._queue}.{BURIED}")
        self._publish(f"{self._queue}.{BURIED}", [_copy(message, headers)])

    def _publish(self, queue: str, messages: Sequence[Any]) -> None:
        if self._publisher is None:
            self._puts = self._made()
            self._publisher = Publisher(self._puts)
        try:
            self._publisher.publish(queue, messages)
        except Returned:
            raise
        except BaseException:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        """The connection that publishes: another one is made for the next."""
        puts, self._puts, self._publisher = self._puts, None, None
        if puts is not None:
            _close(puts)

    def due(self, now: float) -> float:
        return self._tick_at

    def tend(self, now: float) -> None:
        if now < self._tick_at:
            return
        self._tick_at = now + min(TICK, self._heartbeat / 4)
        with self._faults():
            if self._takes is not None:
                self._takes.heartbeat_tick()
            if self._puts is not None:
                with contextlib.suppress(TimeoutError):
                    while True:
                        self._puts.drain_events(timeout=0)
                self._puts.heartbeat_tick()

    def close(self) -> None:
        takes, self._takes, self._channel, self._tag = self._takes, None, None, None
        self._hang_up()
        if takes is not None:
            _close(takes)
        self._held.clear()
        self._arrived.clear()
        self._prefetch = self._wanted = 0
        self._cancelled = False

    # ----------------------------------------------------------------------------------------------- who looks after it

    def count(self) -> Backlog:
        """RabbitMQ tells a client of what waits, not of what others hold."""
        with self._faults():
            waiting = self._passive(self._queue)
            if waiting is None:
                self._cancelled = True  # its notice may have been lost
            return Backlog(waiting or 0, None, self._passive(f"{self._queue}.{BURIED}") or 0)

    def put(self, messages: Sequence[Message]) -> list[str]:
        keys = [message.key or uuid.uuid4().hex for message in messages]
        with self._faults():
            self._ensure(self._queue)
            made = [_message(message.payload, {}, message_id=key) for key, message in zip(keys, messages, strict=True)]
            self._publish(self._queue, made)
        return keys

    def peek(self, count: int, *, buried: bool = False) -> list[Found]:
        """RabbitMQ shows nothing that it does not give out: they are taken, and given back."""
        queue = f"{self._queue}.{BURIED}" if buried else self._queue
        with self._faults():
            if self._passive(queue) is None:
                return []
            assert self._takes is not None
            with _short_lived(self._takes) as channel:
                taken = list(_get(channel, queue, count))
                if taken:
                    channel.send_method(_NACK, "Lbb", (taken[-1].delivery_tag, True, True))
            return [_found(message) for message in taken]

    def requeue(self, keys: Collection[str] | None = None, fits: int | None = None) -> int:
        """Each is put back, confirmed, before it is taken out of where it was buried."""
        queue, moved = f"{self._queue}.{BURIED}", 0
        with self._faults():
            if self._passive(queue) is None:
                return 0
            assert self._takes is not None
            with _short_lived(self._takes) as channel:
                for message in _get(channel, queue, LIST):  # the others go back when the channel closes
                    if not chosen(found := _found(message), keys, fits):
                        continue
                    headers = {name: value for name, value in _headers(message).items() if not name.startswith(MADE)}
                    if found.burial is not None and found.burial.need:
                        headers[f"{MADE}need"] = found.burial.need
                    self._ensure(self._queue)
                    self._publish(self._queue, [_copy(message, headers, message_id=found.key)])
                    channel.basic_ack(message.delivery_tag)
                    moved += 1
        return moved

    # ---------------------------------------------------------------------------------------------------------- inside

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """In our own words, with what is worth another try told from what is not."""
        try:
            import amqp
        except ImportError:
            raise QueueError("amqp:// needs the package amqp; pip install 'loadkeeper[amqp]'") from None
        try:
            yield
        except Returned as error:
            raise Unreachable(f"{self.shown}: {error}") from None
        except amqp.AMQPError as error:
            text = str(getattr(error, "reply_text", "") or error)
            if getattr(error, "reply_code", 0) in _REFUSALS:
                raise QueueError(f"{self.shown}: {text}; look to user, password and virtual host of the URL") from None
            raise Unreachable(f"{self.shown}: {text}") from None
        except (OSError, EOFError) as error:
            raise Unreachable(f"{self.shown} cannot be reached: {error}") from None


class Returned(Exception):
    """There is no queue of the name that a message was published to."""


class Publisher:
    """Publishes, and waits until the broker has it for certain."""

    def __init__(self, connection: "amqp.Connection") -> None:
        self._connection = connection
        self._channel = _channel(connection)
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._acked)
        self._channel.events["basic_nack"].add(self._nacked)
        self._channel.events["basic_return"].add(self._came_back)
        self._published = self._confirmed = 0
        self._refused = False
        self._returned: list[str] = []

    def publish(self, queue: str, messages: Sequence[Any]) -> None:
        """Raises Returned, amqp.AMQPError, OSError."""
        self._refused, self._returned = False, []
        for place in range(0, len(messages), BATCH):
            for message in messages[place : place + BATCH]:
                self._channel._basic_publish(message, exchange="", routing_key=queue, mandatory=True)
                self._published += 1
            self._await()
        if self._returned:
            raise Returned(f"there is no queue {self._returned[0]}")

    def _await(self) -> None:
        until = time.monotonic() + ANSWER
        while self._confirmed < self._published:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the broker takes no more messages: it is short of memory or disk, or slow")
            self._connection.drain_events(timeout=left)
        if self._refused:
            raise OSError("the broker has refused a message: its queue is full, or cannot be written")

    def _acked(self, tag: int, multiple: bool) -> None:
        self._confirmed = max(self._confirmed, tag) if multiple else self._confirmed + 1

    def _nacked(self, tag: int, multiple: bool) -> None:
        self._refused = True
        self._acked(tag, multiple)

    def _came_back(self, _error: object, _exchange: str, queue: str, _message: object) -> None:
        self._returned.append(queue)


# ------------------------------------------------------------------------------------------------------------- messages


def _message(payload: bytes, headers: Mapping[str, Any], **properties: Any) -> Any:
    import amqp

    return amqp.Message(
        payload, delivery_mode=2, application_headers=dict(headers), timestamp=int(time.time()), **properties
    )


def _copy(message: Any, headers: Mapping[str, Any], **more: Any) -> Any:
    kept = {
        name: value
        for name, value in message.properties.items()
        if name not in ("application_headers", "delivery_mode", "timestamp", "expiration", "user_id")
    }
    return _message(_body(message), headers, **(kept | more))


def _reply(message: Any, answer: Answer) -> Any:
    headers = {f"{MADE}outcome": answer.fate.value}
    if answer.burial is not None:
        headers[f"{MADE}why"] = answer.burial.why
    kept = {}
    if message.properties.get("correlation_id"):
        kept["correlation_id"] = message.properties["correlation_id"]
    return _message(answer.result, headers, **kept)


def _headers(message: Any) -> dict[str, Any]:
    return dict(message.properties.get("application_headers") or {})


def _body(message: Any) -> bytes:
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)


def _found(message: Any) -> Found:
    headers, burial = _headers(message), None
    if f"{MADE}burial" in headers:
        try:
            burial = msgspec.json.decode(str(headers[f"{MADE}burial"]), type=Burial)
            burial = msgspec.structs.replace(burial, said=str(headers.get(f"{MADE}said", "")).encode())
        except (msgspec.MsgspecError, RecursionError):
            burial = Burial("somebody else put it there")
    key = str(message.properties.get("message_id") or headers.get(f"{MADE}key") or "")
    at = message.properties.get("timestamp")
    put = at.timestamp() if hasattr(at, "timestamp") else float(at) if at else None
    return Found(key, _body(message), put, burial)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= 1 << 62 else 0


def _get(channel: Any, queue: str, count: int) -> Iterator[Any]:
    for _ in range(count):
        message = channel.basic_get(queue)
        if message is None:
            return
        yield message


# ---------------------------------------------------------------------------------------------------------- connections


def _channel(connection: "amqp.Connection") -> Any:
    channel = connection.channel()
    channel.auto_decode = False
    return channel


@contextlib.contextmanager
def _short_lived(connection: "amqp.Connection") -> Iterator[Any]:
    """A channel of its own, for what the broker refuses closes the channel."""
    import amqp

    channel = _channel(connection)
    try:
        yield channel
    finally:
        if channel.is_open:
            with contextlib.suppress(amqp.AMQPError, OSError):
                channel.close()


def _close(connection: "amqp.Connection") -> None:
    import amqp

    transport = getattr(connection, "_transport", None)
    try:
        if transport is not None and transport.sock is not None:
            transport.sock.settimeout(1.0)
        connection.close()
    except (amqp.AMQPError, OSError, EOFError, AttributeError):
        with contextlib.suppress(Exception):
            connection.collect()


def _tls(url: QueueUrl) -> Any:
    if url.scheme != "amqps":
        return False
    return {
        "server_hostname": url.hosts[0].name,
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": url.options.get("cafile") or ssl.get_default_verify_paths().cafile,
    }


def _path(url: QueueUrl) -> tuple[str, str]:
    """(virtual host, queue)."""
    if not 0 < len(url.path) < 3:
        raise SettingsError(f"{url.shown!r}: the path is /QUEUE or /VHOST/QUEUE; a / inside a name is %2F")
    return (url.path[0] or "/", url.path[1]) if len(url.path) == 2 else ("/", url.path[0])
