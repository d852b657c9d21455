"""Fixtures that every test file may use, and the summary of the long modes."""

import os
import platform
import time
from pathlib import Path

import pytest
from support.gearmand import Gearmand
from support.plain import open_directory
from support.program import Program
from support.servers import Rabbit, RedisServer, shared


@pytest.fixture
def program(tmp_path):
    """`loadkeeper` in directories of its own."""
    made = Program(tmp_path / "p")
    yield made
    made.close()


@pytest.fixture(scope="module")
def lasting_program(tmp_path_factory):
    """The same for all tests of a file: its load manager need not come up for each."""
    made = Program(tmp_path_factory.mktemp("program") / "p")
    yield made
    made.close()


@pytest.fixture
def open_path():
    """As `tmp_path`, for plain users too."""
    with open_directory() as made:
        yield made


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """This very process in directories of its own, for tests of the library; one load manager for all of a file."""
    made = Program(tmp_path_factory.mktemp("library") / "p")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LOADKEEPER_")]:
            patch.delenv(name)
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            patch.setenv(name, made.environment[name])
        yield made
        made.close()


@pytest.fixture
def apart(tmp_path_factory, monkeypatch):
    """The same without any load manager."""
    made = Program(tmp_path_factory.mktemp("apart") / "p")
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, made.environment[name])
    yield made
    made.close()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    made = RedisServer(tmp_path_factory.mktemp("redis"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def gearmand(tmp_path_factory):
    made = Gearmand(tmp_path_factory.mktemp("gearmand"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory, worker_id):
    """RabbitMQ, for all tests of a session, whichever process they run in: each takes a queue of its own."""
    if worker_id == "master":
        made = Rabbit(tmp_path_factory.mktemp("rabbit"))
        yield made
        made.close()
        return
    with shared(tmp_path_factory.getbasetemp().parent / "rabbit") as made:
        yield made


# ---------------------------------------------------------------------------------------- those that share the machine

BUSY = (
    "test_bad_input",
    "test_black_box",
    "test_decide_",
    "test_fuzz",
    "test_gnu_parallel",
    "test_help",
    "test_house",
    "test_library_arguments",
    "test_other_users",
    "test_pid_reuse",
    "test_secrets",
    "test_misbehaving_workers",
    "test_journals",
    "test_power_loss",
    "test_process_manager_crowd",
    "test_record_room",
    "test_sensors",
    "test_settings_from_files",
    "test_show_",
    "test_simulate_",
    "test_sources",
    "test_template",
    "test_units",
    "test_worker",
)
"""Files whose tests may run beside each other: nothing in them is about time, load or what else runs on the node."""

GENTLE = (
    "test_act_",
    "test_channel",
    "test_checkpoints",
    "test_client_",
    "test_coming_over",
    "test_disk_full",
    "test_events",
    "test_executor",
    "test_guard",
    "test_hostile_values",
    "test_kinds",
    "test_library",
    "test_linux_",
    "test_load_manager_",
    "test_mutual_guard",
    "test_plain_user",
    "test_queue",
    "test_record_",
    "test_reference_",
    "test_resources",
    "test_resume_and_results",
    "test_run_ends",
    "test_run_list",
    "test_serve",
    "test_sense_node",
    "test_sense_readings",
    "test_sense_windows",
)
"""Files whose tests mostly wait: a few at a time leave each other enough of two cores; those above would not."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name.startswith(BUSY):
            item.add_marker("beside")
        elif item.path.name.startswith(GENTLE):
            item.add_marker("gentle")


# ------------------------------------------------------------------------------------------------------- the long modes

_reports: list[pytest.TestReport] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long-summary", metavar="FILE", help="write what ran, how long, and what it measured")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        _reports.append(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--long-summary")
    if path and _reports:
        Path(path).write_text(_summary())


def _summary() -> str:
    """A table; a test may add what it measured by ``record_property("measured", text)``."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    passed = sum(report.outcome == "passed" for report in _reports)
    head = [
        "# The long modes",
        "",
        f"`./check long` on {time.strftime('%Y-%m-%d')}: {passed} of {len(_reports)} passed. "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}.",
        "",
        "| test | outcome | seconds | measured |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *map(_row, _reports)]) + "\n"


def _row(report: pytest.TestReport) -> str:
    name = report.nodeid.removeprefix("tests/").replace(".py::", ": ").replace("_", " ")
    measured = "; ".join(str(value) for key, value in report.user_properties if key == "measured")
    return f"| {name} | {report.outcome} | {report.duration:.1f} | {measured.replace('|', '/')} |"
