"""A user's own gauge, as its user meets it: a command or plug-in, its three lines, and whatever goes wrong with it."""

import json
import os
import signal
import time

import pytest
from support.looks import History, knowing, pool, seen, worker
from support.program import marked, wait_until

from loadkeeper.commands.options import parse_line, parse_sensor
from loadkeeper.errors import SettingsError
from loadkeeper.model import Limits, Lines, Reason
from loadkeeper.sense.sensor import Sensor, command_of


def sensor(line: str, every: float = 0.1) -> Sensor:
    made = Sensor("x", command_of("x", line, every), every, dict(os.environ), lambda: None)
    made.start()
    return made


def until(made: Sensor, so) -> None:
    try:
        wait_until(lambda: so(made, made.reading(time.monotonic())), 10, "the sensor shows something else")
    finally:
        made.close()


# ---------------------------------------------------------------------------------------------------- a command's life


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("echo 12.5", 12.5),
        ("printf ' -3e2 '", -300.0),  # without a newline
        ("echo 1; echo 2; echo; sleep 30", 2.0),  # it goes on
        ("echo warning >&2; echo 7", 7.0),
        ("yes 4 | head -n 100000; echo 5", 5.0),
        ("echo $PPID >/dev/null; exec echo 0", 0.0),
    ],
)
def test_a_command_that_prints_numbers_is_read(line, value):
    until(sensor(line), lambda made, reading: reading == value and not made.fault)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("echo hot", "it printed 'hot', which is no number"),
        ("echo 1; echo nan", "it printed 'nan', which is no number"),
        ("echo 1e999", "it printed '1e999', which is no number"),
        ("true", "it printed no number"),
        ("echo 3; exit 4", "it ended with 4"),
        ("echo first >&2; echo why >&2; exit 1", "it ended with 1: why"),
        ("kill -9 $$", "it was killed by signal 9"),
        ("printf '\\377\\n'", "it printed '\\\\xff', which is no number"),
        ("head -c 100000 /dev/zero", "which is no number"),
    ],
)
def test_whatever_goes_wrong_is_unknown_and_said(line, fault):
    until(sensor(line), lambda made, reading: reading is None and fault in made.fault)


def test_a_command_that_is_not_there():
    made = Sensor("x", ["/no/such/program"], 0.1, dict(os.environ), lambda: None)
    made.start()
    until(made, lambda made, reading: reading is None and "/no/such/program" in made.fault)


def test_it_fails_and_works_again(tmp_path):
    file = tmp_path / "number"
    file.write_text("1")
    made = sensor(f"cat {file}")
    try:
        wait_until(lambda: made.reading(time.monotonic()) == 1.0, 10, "no number")
        file.unlink()
        wait_until(lambda: made.reading(time.monotonic()) is None and made.fault, 10, "still a number")
        file.write_text("2")
        wait_until(lambda: made.reading(time.monotonic()) == 2.0 and not made.fault, 10, "no new number")
    finally:
        made.close()


def test_a_number_grows_old():
    made = sensor("echo 1; sleep 60")
    try:
        wait_until(lambda: made.reading(time.monotonic()) == 1.0, 10, "no number")
        assert made.reading(time.monotonic() + 11) is None
    finally:
        began = time.monotonic()
        made.close()
    assert time.monotonic() - began < 2, "it waits for its command"


# ---------------------------------------------------------------------------------------------------- words and lines


def test_lines_in_words():
    assert parse_line("gpu=80,90,95") == ("gpu", Lines(80.0, 90.0, 95.0))
    assert parse_line("gpu=,90") == ("gpu", Lines(None, 90.0, None))
    assert parse_line("free=<20,10") == ("free", Lines(20.0, 10.0, None, falling=True))
    assert parse_sensor("gpu=a=b") == ("gpu", "a=b")


@pytest.mark.parametrize("text", ["gpu", "gpu=", "gpu=,", "gpu=1,2,3,4", "gpu=x", "gpu=9,8", "gpu=<8,9", "gpu=nan"])
def test_no_lines(text):
    with pytest.raises(SettingsError, match="gpu"):
        parse_line(text)


@pytest.mark.parametrize("text", ["", "=date", "GPU=date", "gpu=", "gpu= ", "cpu=date", "pressure.io=date", "nobody"])
def test_no_sensor(text):
    with pytest.raises(SettingsError, match=f"{text.partition('=')[0]!r}|{text!r}"):
        parse_sensor(text)


def test_a_gauge_that_falls_is_worse_below_its_lines():
    falls = (pool(limits=Limits(gauges={"free": Lines(hold=20.0, pause=10.0, falling=True)})),)

    def look(free):
        workers = [worker(n, 100) for n in range(3)]
        return History(knowing(100)).look(seen(0.0, 12000, workers, sensors={"run": {"free": free}}, pools=falls))

    assert look(30.0).pools["run/a"].why.reason is not Reason.GAUGE
    assert look(15.0).pools["run/a"].why.reason is Reason.GAUGE
    assert not look(15.0).paused
    assert [why.reason for why in look(10.0).paused.values()] == [Reason.GAUGE_PAUSE]


def test_a_sensor_is_its_own_runs_alone():
    """Two runs with gauges of one name: each obeys its own."""
    limits = Limits(gauges={"heat": Lines(hold=70.0)})
    pools = (pool(limits=limits), pool(limits=limits, id="other/b"))
    readings = {"run": {"heat": 90.0}, "other": {"heat": 10.0}}
    decision = History(knowing(100)).look(seen(0.0, 12000, [worker(0, 100)], sensors=readings, pools=pools))
    assert decision.pools["run/a"].why.reason is Reason.GAUGE
    assert decision.pools["other/b"].slots > 0


# ------------------------------------------------------------------------------------------------------- a whole run


def test_a_run_is_held_paused_and_continued_by_its_sensor(program, tmp_path):
    heat = tmp_path / "heat"
    heat.write_text("75")
    words = ["--sensor", f"heat=cat {heat}", "--line", "heat=70,80", "--sensor-every", "200ms", "--cpu", "off"]
    program.start("run", *words, "-j2", "sleep", ":::", *["9"] * 4)
    wait_until(lambda: program.status()["runs"], 20, "no run")
    wait_until(lambda: program.status()["node"]["gauges"].get("heat", {}).get("value") == 75, 20, "not shown")
    told = program.status()
    assert told["node"]["gauges"]["heat"] == {"value": 75, "hold": 70, "pause": 80, "end": None, "state": "hold"}
    assert not told["runs"][0]["workers"], "nothing starts at hold"
    assert "waiting for heat: 75, line 70" in told["runs"][0]["pools"][0]["why"]
    heat.write_text("10")
    wait_until(lambda: len(program.status()["runs"][0]["workers"]) == 2, 20, "nothing starts behind hold")
    heat.write_text("85")
    wait_until(lambda: states(program) == ["paused", "running"], 20, "nobody is paused")
    heat.unlink()
    wait_until(lambda: program.status()["node"]["gauges"]["heat"]["state"] == "unknown", 20, "it is still known")
    assert "paused" in states(program), "who stands stays, and nobody is ended"
    heat.write_text("10")
    wait_until(lambda: states(program) == ["running", "running"], 20, "nobody goes on")


def states(program) -> list[str]:
    runs = program.status()["runs"]
    return sorted(one["state"] for one in runs[0]["workers"]) if runs else []


def test_a_fault_is_said_with_what_follows(program):
    run = program.start("run", "--cpu", "off", "--sensor", "gpu=no-such-tool", "--line", "gpu=80", "true", ":::", "1")
    wait_until(lambda: program.status()["runs"], 20, "no run")
    wait_until(lambda: "gpu" in json.dumps(program.status()["runs"][0]["pools"]), 20, "no reason")
    time.sleep(1)
    run.send_signal(signal.SIGTERM)
    said = run.communicate(timeout=20)[1].decode()
    assert "sensor gpu: it ended with 127" in said
    assert "no-such-tool" in said
    assert "; nothing starts until it shows a number" in said


def test_a_sensor_dies_with_its_run_and_with_a_process_manager_that_is_killed(program):
    for number in (signal.SIGTERM, signal.SIGKILL):
        run = program.start(
            "run", "--sensor", "x=while sleep 0.2; do echo 1; done", "--line", "x=5", "sleep", ":::", "60"
        )
        wait_until(lambda: states(program) == ["running"], 20, "nothing runs")
        name = program.status()["runs"][0]["id"]
        assert len(marked(name)) >= 2  # the worker, and the sensor with its child
        run.send_signal(number)
        run.wait(20)
        wait_until(lambda name=name: not marked(name), 10, f"something is left after {number.name}")


PLUGIN = """
import os, pathlib
def celsius():
    file = pathlib.Path(os.environ["CELSIUS"])
    return float(file.read_text())
"""


def test_an_entry_point_is_a_sensor_in_a_process_of_its_own(program, tmp_path):
    """Its fault, an exception here, is unknown; the managers live on."""
    package = tmp_path / "packages"
    (package / "heat-1.dist-info").mkdir(parents=True)
    (package / "heat-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: heat\nVersion: 1\n")
    (package / "heat-1.dist-info" / "entry_points.txt").write_text("[loadkeeper.sensors]\ncelsius = heat:celsius\n")
    (package / "heat.py").write_text(PLUGIN)
    degrees = tmp_path / "degrees"
    degrees.write_text("20")
    program.environment["CELSIUS"] = str(degrees)
    program.environment["PYTHONPATH"] = f"{package}:{os.environ.get('PYTHONPATH', '')}"
    program.start(
        "run", "--sensor", "celsius", "--line", "celsius=60,70", "--sensor-every", "200ms", "sleep", ":::", "60"
    )
    wait_until(lambda: states(program) == ["running"], 20, "nothing runs")
    assert program.status()["node"]["gauges"]["celsius"]["value"] == 20
    degrees.write_text("broken")
    wait_until(lambda: program.status()["node"]["gauges"]["celsius"]["state"] == "unknown", 20, "still known")
    degrees.write_text("30")
    wait_until(lambda: program.status()["node"]["gauges"]["celsius"]["value"] == 30, 20, "not read again")
