"""How one try went."""

from msgspec import Struct, field

OK, REDUCED, MISSING = "ok", "reduced", "missing"


class Finding(Struct, frozen=True):
    """``state``: ok, reduced (runs work without it) or missing (no run can work without it)."""

    tried: str = field(name="try")
    state: str = OK
    found: str = ""
    follows: str = ""
