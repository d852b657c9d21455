"""The messages on the wire: msgpack of the nouns in `model`, checked on arrival."""

import msgspec
from msgspec import Struct

from ..errors import ChannelError
from ..model import Bye, Hello, Report, Verdict, Want, Welcome
from ..status import Status

LARGEST = 64 << 20
"""Bytes: a report of 100,000 workers is a quarter of this."""


class AskStatus(Struct, frozen=True, tag="status?"):
    """A reading verb wants to know how things stand."""


class Steer(Struct, frozen=True, tag="steer"):
    """The operator wants something of runs, pools or workers. No names: of all runs."""

    want: Want
    names: list[str] = []


class Steered(Struct, frozen=True, tag="steered"):
    """Answer to `Steer`: whom it reached, by the names that `list` shows."""

    reached: list[str] = []
    unknown: list[str] = []


class Change(Struct, frozen=True, tag="change"):
    """The operator changes settings of runs, by the names of their options. No names: of all runs. `Steered` answers,
    or `Rejected`."""

    settings: dict[str, str]
    names: list[str] = []


class Forget(Struct, frozen=True, tag="forget"):
    """What was learned of these kinds is to be forgotten; of all without names. `Steered` names what was known."""

    names: list[str] = []


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
    """A message to the load manager. Raises ChannelError when it is none."""
    try:
        return _to_load_manager.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"a message to the load manager cannot be read: {error}") from None


def decode_reply(frame: bytes) -> FromLoadManager:
    """A message from the load manager. Raises ChannelError when it is none."""
    try:
        return _from_load_manager.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"a message from the load manager cannot be read: {error}") from None
