"""What managers say that belongs to no run: on stderr, where no program has set up logging."""

LOGGER = "loadkeeper"


def say(text: str) -> None:
    """A line for people. Nothing is imported before there is something to say: a load manager stays small."""
    import logging

    logging.getLogger(LOGGER).warning("loadkeeper: %s", text)
