"""``python -m loadkeeper``."""

from .cli import main

main()
