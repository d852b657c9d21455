"""The small tree of errors. A message says what happened, where, and what to do about it."""


class LoadkeeperError(Exception):
    """Anything that we raise on purpose. ``exit_code`` is what a command ends with."""

    exit_code = 1


class UsageError(LoadkeeperError):
    """The user asked for something that cannot be: a wrong option, size, file or command. Nothing was started."""

    exit_code = 2


class SettingsError(UsageError):
    """A value from a flag, the environment or a file is wrong."""


class PlaceError(LoadkeeperError):
    """A place we need cannot be used: a directory, socket or lock."""

    exit_code = 2


class ChannelError(LoadkeeperError):
    """The other side of a channel is gone, does not answer or speaks another version."""
