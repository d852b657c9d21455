"""The messages on the wire: msgpack of the nouns in `model`, checked on arrival."""

import msgspec
from msgspec import Struct

from ..errors import ChannelError
from ..model import GAUGES, PROTOCOL, Bye, Hello, Name, Report, Verdict, Want, Welcome
from ..status import Status

LARGEST = 64 << 20
"""Bytes: a report of 100,000 workers is a quarter of this."""


class AskStatus(Struct, frozen=True, tag="status?"):
    """A reading verb wants to know how things stand."""


class Steer(Struct, frozen=True, tag="steer"):
    """The operator wants something of runs, pools or workers. No names: of all runs."""

    want: Want
    names: list[Name] = []


class Steered(Struct, frozen=True, tag="steered"):
    """Answer to `Steer`: whom it reached, by the names that `list` shows."""

    reached: list[str] = []
    unknown: list[str] = []


class Change(Struct, frozen=True, tag="change"):
    """The operator changes settings of runs, by the names of their options. No names: of all runs. `Steered` answers,
    or `Rejected`."""

    settings: dict[Name, Name]
    names: list[Name] = []


class Forget(Struct, frozen=True, tag="forget"):
    """What was learned of these kinds is to be forgotten; of all without names. `Steered` names what was known."""

    names: list[Name] = []


class Answer(Struct, frozen=True, tag="status"):
    status: Status


class Rejected(Struct, frozen=True, tag="rejected"):
    """The load manager could not take a message, and says why."""

    error: str


ToLoadManager = Hello | Report | Bye | AskStatus | Steer | Change | Forget
FromLoadManager = Welcome | Verdict | Answer | Steered | Rejected

_encoder = msgspec.msgpack.Encoder()
_to_load_manager: msgspec.msgpack.Decoder[ToLoadManager] = msgspec.msgpack.Decoder(ToLoadManager)
_from_load_manager: msgspec.msgpack.Decoder[FromLoadManager] = msgspec.msgpack.Decoder(FromLoadManager)

encode = _encoder.encode


def decode_request(frame: bytes) -> ToLoadManager:
    """A message to the load manager. Raises ChannelError when it is none, or contradicts itself."""
    try:
        message = _to_load_manager.decode(frame)
        if isinstance(message, Report):
            _check(message)
        return message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"a message to the load manager cannot be read: {error}") from None


def decode_reply(frame: bytes) -> FromLoadManager:
    """A message from the load manager. Raises ChannelError when it is none."""
    try:
        message = _from_load_manager.decode(frame)
        if isinstance(message, Welcome) and message.protocol != PROTOCOL:
            raise msgspec.ValidationError(f"it is of version {message.protocol}, and this program speaks {PROTOCOL}")
        return message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"a message from the load manager cannot be read: {error}") from None


def _check(report: Report) -> None:
    """What types alone do not say: 0.1 µs for each worker. Raises ValidationError."""
    pools = {pool.name for pool in report.pools}
    if len(pools) < len(report.pools):
        raise msgspec.ValidationError("two pools have one name")
    if len({worker.n for worker in report.workers}) < len(report.workers):
        raise msgspec.ValidationError("two workers have one number")
    for worker in report.workers:
        if worker.pid < 2:  # process 1 is nobody's worker
            raise msgspec.ValidationError(f"worker {worker.n} cannot be process {worker.pid}")
        if worker.pool not in pools:
            raise msgspec.ValidationError(f"worker {worker.n} is of no pool that is told")
        if worker.leaf is not None and (not worker.leaf.startswith("/") or "\0" in worker.leaf):
            raise msgspec.ValidationError(f"worker {worker.n} has a control group that is no path")
    for name in report.wants:
        if name != report.run and not name.startswith((f"{report.run}/", f"{report.run}.")):
            raise msgspec.ValidationError(f"{name!r} is nothing of the run")
    for name in report.sensors:
        if name in GAUGES or name.startswith("pressure."):
            raise msgspec.ValidationError(f"{name!r} is a gauge of the node's")
