"""What nobody should read over somebody's shoulder: passwords in addresses, wherever text is shown or named."""

import re

_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#:@'\"]*:)[^\s/?#'\"]+@")
HIDDEN = "***"
IN_ARGUMENTS = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#:@'\"\0]*:([^\s/?#'\"\0]+)@")
"""The same in the arguments of a program, which end with NUL."""


def masked(text: str) -> str:
    """``amqp://user:***@host/`` for an address with a password in it; all other text as it is."""
    return _PASSWORD.sub(rf"\1{HIDDEN}@", text) if "://" in text else text
