"""What the kernel's files say, as numbers."""

from hypothesis import given
from hypothesis import strategies as st

from loadkeeper.sense import bounds, held, readings, shares

PARSERS = (
    readings.meminfo,
    readings.cpu_times,
    readings.pressure,
    readings.number,
    readings.limit,
    readings.quota,
    readings.allowed_cpus,
    shares.parse_rollup,
    held.parse_resident,
    lambda content: bounds.grant({}, content),
    lambda content: readings.field(content, b"anon "),
)


@given(
    st.binary()
    | st.sampled_from([b"MemTotal: x\nMemAvailable: 3 kB\n", b"cpu0 1 2 3 4 x\n", b"anon \nfile 3", b"anon", b"1 "])
)
def test_no_content_raises(content: bytes) -> None:
    for parse in PARSERS:
        parse(content)


def test_meminfo_without_what_matters_is_unknown() -> None:
    assert readings.meminfo(None) is None
    assert readings.meminfo(b"") is None
    assert readings.meminfo(b"MemTotal:  100 kB\nMemFree: 50 kB\n") is None
    machine = readings.meminfo(b"MemTotal:  100 kB\nMemAvailable: 50 kB\n")
    assert machine is not None
    assert (machine.total, machine.available, machine.swap_total, machine.dirty) == (102400, 51200, 0, 0)


def test_a_key_is_found_only_at_the_start_of_a_line() -> None:
    stat = b"inactive_file 5\nactive_file 7\ntotal_active_file 9"
    assert readings.field(stat, b"active_file ") == 7
    assert readings.field(stat, b"total_active_file ") == 9
    assert readings.field(stat, b"inactive_file ") == 5
    assert readings.field(stat, b"file ") is None


def test_limits_of_both_versions() -> None:
    assert readings.limit(b"max\n") is None
    assert readings.limit(b"9223372036854771712\n") is None
    assert readings.limit(b"-1\n") is None
    assert readings.limit(b"0\n") == 0
    assert readings.limit(b"1073741824\n") == 1 << 30
    assert readings.quota(b"max 100000\n") is None
    assert readings.quota(b"150000 100000\n") == 1.5
    assert readings.quota(b"150000 0\n") is None


def test_cpu_lists() -> None:
    assert readings.cpu_list("0-3,8,10-11\n") == {0, 1, 2, 3, 8, 10, 11}
    assert readings.cpu_list("") == frozenset()
    assert readings.cpu_list("x-3,,5") == {5}


def test_cpu_times_of_old_kernels_and_of_those_wanted() -> None:
    stat = b"cpu  9 9 9 9 9\ncpu0 1 2 3 400 50\ncpu3 1 2 3 100 0 1 1 70 0 0\nintr 5 cpu9 1 1 1 1 1\n"
    times = readings.cpu_times(stat)
    assert times == {0: (4.5, 0.0), 3: (1.0, 0.7)}
    assert set(readings.cpu_times(stat, {3, 7})) == {3}


def test_waiting_for_io_is_idle_and_a_line_cut_short_is_left_out() -> None:
    assert readings.cpu_times(b"cpu0 1 2 3 400 50 0 0 0\ncpu1 1 2 3\nintr 1\n") == {0: (4.5, 0.0)}


def test_pressure() -> None:
    content = b"some avg10=12.50 avg60=1.00 avg300=0.00 total=2500000\nfull avg10=9.00 avg60=0.00 avg300=0.00 total=7\n"
    assert readings.pressure(content) == (0.125, 2.5)
    assert readings.pressure(b"") is None
    assert readings.pressure(b"full avg10=9.00 avg60=0.00 avg300=0.00 total=7\n") is None
