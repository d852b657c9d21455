"""Fixtures that every test file may use."""

import pytest
from support.program import Program


@pytest.fixture
def program(tmp_path):
    """`loadkeeper` in directories of its own."""
    made = Program(tmp_path / "p")
    yield made
    made.close()
