"""What `doctor` says of the address at which workers of process-load-manager are asked."""

import json
import socket


def findings(program, cwd) -> dict[str, dict[str, str]]:
    done = program.call("doctor", "--json", cwd=cwd)
    return {finding["try"]: finding for finding in json.loads(done.stdout)}


def test_a_configured_publisher_is_tried_and_warned_of(program, tmp_path):
    assert not any("publish" in tried for tried in findings(program, tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tried = f"publish to workers at zmq://127.0.0.1:{port}"
        (tmp_path / "loadkeeper.toml").write_text(f'[run]\ncheckpoint = "zmq://127.0.0.1:{port}"\n')
        found = findings(program, tmp_path)[tried]
        assert found["state"] == "reduced"
        assert "somebody listens there already" in found["found"]
        assert found["follows"] == "a run with this setting does not start"
    found = findings(program, tmp_path)[tried]
    assert found["state"] == "reduced"
    assert "whoever has an account on this machine can take the port" in found["follows"]
    with socket.create_server(("127.0.0.1", port)):
        pass  # it was let go


def test_settings_that_cannot_be_read_are_a_finding(program, tmp_path):
    program.environment["LOADKEEPER_CHECKPOINT"] = "tcp://127.0.0.1:6268"
    program.environment["LOADKEEPER_MEMROY"] = "1G"
    found = findings(program, tmp_path)["read the settings"]
    assert found["state"] == "missing"
    assert "LOADKEEPER_CHECKPOINT: 'tcp://127.0.0.1:6268' is no address" in found["found"]
    assert "; LOADKEEPER_MEMROY: is no setting" in found["found"]
    del program.environment["LOADKEEPER_MEMROY"]
    program.environment["LOADKEEPER_CHECKPOINT"] = "zmq://127.0.0.1:0"
    assert "publish to workers at zmq://127.0.0.1:0" in findings(program, tmp_path)
