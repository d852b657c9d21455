"""`amqp://USER:PASSWORD@HOST[:PORT]/[VHOST/]QUEUE`: a queue of RabbitMQ, classic or quorum.

Two connections: one takes and answers, the other publishes, for RabbitMQ stops reading from whoever publishes while it
is short of memory or disk, and answers must go on. We hold the connection and its heartbeat, so a worker may stand for
long; but an answer must come within the broker's ``consumer_timeout`` (30 minutes unless set), of which
`answer_within` keeps clear.

What is given back is nacked, never rejected: from RabbitMQ 4.3 on a reject counts as a failure of the message. What is
buried is published to `QUEUE.buried` with its reason, confirmed, and acknowledged only then.
"""

import contextlib
import logging
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
CHUNK = 1 << 16
BATCH = 500
"""Messages that are published before their confirmations are waited for."""
BLOCKED = 1.0
"""Seconds between two looks at whether a broker that was blocked takes messages again."""
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
        self._held: dict[Delivery, None] = {}  # that are not answered, in the order in which they came
        self._arrived: list[Delivery] = []
        self._cancelled = False
        self._tick_at = 0.0
        self._sent: dict[Delivery, dict[str, int]] = {}  # what was published for an answer that is not told yet

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

        logging.getLogger("amqp").addHandler(logging.NullHandler())  # what it has to say we say ourselves
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
                "capabilities": {
                    "consumer_cancel_notify": True,
                    "authentication_failure_close": True,
                    "connection.blocked": True,
                },
            },
        )
        connection.connect()
        _read_ahead(connection)
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
        self._held[delivery] = None
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
        transport, heard = self._takes.transport, self._takes.on_inbound_frame
        with contextlib.suppress(TimeoutError), transport.having_timeout(0):
            while True:  # as drain_events does, which sets the time-out anew for every frame
                heard(transport.read_frame())

    def settle(self, answers: deque[Answer]) -> None:
        with self._faults():
            if any(answer.fate is Fate.BACK and not answer.delivery.lost for answer in answers):
                self._recover()  # nobody is told that a queue was deleted of which he takes nothing at the moment
            self._acknowledge(answers)
            waiting: list[Answer] = []
            try:
                while answers:
                    answer = answers[0]
                    try:
                        if not answer.delivery.lost:
                            self._settle(answer)
                        self._held.pop(answer.delivery, None)
                    except Blocked:
                        waiting.append(answer)
                    answers.popleft()
            finally:
                answers.extend(waiting)
            if not waiting:
                self.trouble = ""

    def _acknowledge(self, answers: deque[Answer]) -> None:
        """Those that are done, and nothing else is to be said of: as far as there is no older one, all at once."""
        plain = {
            answer.delivery.token: answer
            for answer in answers
            if answer.fate is Fate.DONE and not answer.delivery.lost and not answer.delivery.result
        }
        last = None
        for delivery in self._held:  # in the order in which they came
            if delivery.token not in plain:
                break
            last = delivery.token
        if last is None:
            return
        self._channel.basic_ack(last, multiple=True)
        for token in [token for token in plain if token <= last]:
            answer = plain[token]
            del self._held[answer.delivery]
            answers.remove(answer)

    def _settle(self, answer: Answer) -> None:
        """Raises Blocked: the broker takes nothing for the moment."""
        delivery = answer.delivery
        message, tag = delivery.fields, delivery.token
        if answer.fate is Fate.BACK and delivery.server != "gone":
            self._channel.send_method(_NACK, "Lbb", (tag, False, True))
            return
        if answer.fate is Fate.BACK:
            self._publish_once(delivery, self._queue, _copy(message, _headers(message)))
        elif answer.fate is Fate.BURIED:
            self._ensure(f"{self._queue}.{BURIED}")
            buried = _copy(message, _burial_headers(message, delivery.key, answer.burial or Burial("")))
            self._publish_once(delivery, f"{self._queue}.{BURIED}", buried)
        target = message.properties.get("reply_to")
        if target and answer.fate is not Fate.BACK:
            with contextlib.suppress(Returned):  # nobody waits any more
                self._publish_once(delivery, str(target), _reply(message, answer))
        self._channel.basic_ack(tag)
        self._sent.pop(delivery, None)

    def _publish_once(self, delivery: Delivery, queue: str, message: Any) -> None:
        """Though it is asked for again while the broker is blocked. Raises Blocked."""
        sent = self._sent.setdefault(delivery, {})
        if queue not in sent:
            sent[queue] = self._publisher_of().send(queue, [message])
        self._await(sent[queue])

    def _publish(self, queue: str, messages: Sequence[Any]) -> None:
        """All of them, confirmed."""
        for place in range(0, len(messages), BATCH):
            self._await(self._publisher_of().send(queue, messages[place : place + BATCH]))

    def _publisher_of(self) -> "Publisher":
        if self._publisher is None:
            self._puts = self._made()
            self._publisher = Publisher(self._puts)
        return self._publisher

    def _await(self, last: int) -> None:
        assert self._publisher is not None
        try:
            self._publisher.wait(last)
        except Returned:
            raise
        except Blocked as error:
            self.trouble = f"{self.shown}: the broker takes nothing: {error}; what is buried waits, and stays ours"
            raise
        except BaseException:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        """The connection that publishes: another one is made for the next."""
        puts, self._puts, self._publisher = self._puts, None, None
        self._sent.clear()
        if puts is not None:
            _close(puts)

    def due(self, now: float) -> float:
        return min(self._tick_at, now + BLOCKED) if self._sent else self._tick_at

    def tend(self, now: float) -> None:
        if now < self._tick_at:
            return
        self._tick_at = now + min(TICK, self._heartbeat / 4)
        with self._faults():
            if self._takes is not None:
                self._takes.heartbeat_tick()
        self._tend_puts()

    def _tend_puts(self) -> None:
        """One that is dead is made anew for the next message."""
        import amqp

        if self._puts is None:
            return
        try:
            with contextlib.suppress(TimeoutError):
                while True:
                    self._puts.drain_events(timeout=0)
            self._puts.heartbeat_tick()
        except (amqp.AMQPError, OSError):
            self._hang_up()

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
        except Blocked as error:
            raise Unreachable(f"{self.shown}: the broker takes nothing: {error}") from None
        except Returned as error:
            raise Unreachable(f"{self.shown}: {error}") from None
        except amqp.AMQPError as error:
            text = str(getattr(error, "reply_text", "") or error)
            if getattr(error, "reply_code", 0) in _REFUSALS:
                raise QueueError(f"{self.shown}: {text}; look to user, password and virtual host of the URL") from None
            raise Unreachable(f"{self.shown}: {text}") from None
        except (OSError, EOFError) as error:
            raise Unreachable(f"{self.shown} cannot be reached: {error}") from None


class Blocked(Exception):
    """The broker takes no messages for the moment: it is short of memory or disk."""


class Returned(Exception):
    """There is no queue of the name that a message was published to."""


class Publisher:
    """Publishes, and waits until the broker has it for certain. Messages are numbered as the broker counts them."""

    def __init__(self, connection: "amqp.Connection") -> None:
        self._connection = connection
        self._channel = _channel(connection)
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._acked)
        self._channel.events["basic_nack"].add(self._nacked)
        self._channel.events["basic_return"].add(self._came_back)
        self._last = 0
        self._out: set[int] = set()  # published and not confirmed
        self._refused = False
        self._returned: list[str] = []
        self._blocked = ""
        connection.on_blocked = self._was_blocked
        connection.on_unblocked = self._was_unblocked

    def send(self, queue: str, messages: Sequence[Any]) -> int:
        """The number of the last one. Raises Blocked, amqp.AMQPError, OSError."""
        if self._blocked:
            raise Blocked(self._blocked)
        for message in messages:
            self._channel._basic_publish(message, exchange="", routing_key=queue, mandatory=True)
            self._last += 1
            self._out.add(self._last)
        return self._last

    def wait(self, last: int) -> None:
        """Until all up to that one are confirmed. Raises Returned, Blocked, amqp.AMQPError, OSError."""
        until = time.monotonic() + ANSWER
        self._drain()
        while any(number <= last for number in self._out):
            if self._blocked:
                raise Blocked(self._blocked)
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the broker does not confirm what was published")
            self._connection.drain_events(timeout=left)
        refused, self._refused = self._refused, False
        returned, self._returned = self._returned, []
        if refused:
            raise OSError("the broker has refused a message: its queue is full, or cannot be written")
        if returned:
            raise Returned(f"there is no queue {returned[0]}")

    def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            while True:
                self._connection.drain_events(timeout=0)

    def _was_blocked(self, reason: str) -> None:
        self._blocked = str(reason) or "it is blocked"

    def _was_unblocked(self) -> None:
        self._blocked = ""

    def _acked(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._out = {number for number in self._out if number > tag}
        else:
            self._out.discard(tag)

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


def _burial_headers(message: Any, key: str, burial: Burial) -> dict[str, Any]:
    return _headers(message) | {
        f"{MADE}burial": msgspec.json.encode(msgspec.structs.replace(burial, said=b"")).decode(),
        f"{MADE}said": burial.said.decode("utf-8", "backslashreplace"),
        f"{MADE}key": key,
    }


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


class Ahead:
    """Reads what the socket has, and hands on what is asked for: a frame is three reads."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._chunk, self._place = b"", 0

    def recv(self, size: int) -> bytes:
        if self._place == len(self._chunk):
            self._chunk, self._place = self._socket.recv(CHUNK), 0
        found = self._chunk[self._place : self._place + size]
        self._place += len(found)
        return found


def _read_ahead(connection: "amqp.Connection") -> None:
    """Where py-amqp does not do so itself, as it does with TLS. Whoever waits must drain first."""
    transport = connection.transport
    if getattr(transport, "_quick_recv", None) == transport.sock.recv:
        transport._quick_recv = Ahead(transport.sock).recv


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
