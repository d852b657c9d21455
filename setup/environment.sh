# Sourced by ./loadkeeper and ./check: makes a virtual environment from a lock file, once.
#
#   make_environment DIRECTORY LOCK     packages from LOCK, each with its hash; nothing of ours yet
#
# A stamp in the directory says that it is complete; one that was left half made is made anew. Two calls at once wait
# for each other. What is missing is said with how to get it, and the caller ends with 2.

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 2
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            return
        fi
    done
    fail "Python 3.11 or newer is not found; on Debian and Ubuntu: apt-get install python3 python3-venv"
}

make_environment() {
    find_python
    exec 9>"$1.lock" || fail "$1 cannot be made here; clone to a directory that you may write to"
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    if [ "$1/stamp" -nt "$2" ]; then
        return
    fi
    printf 'Setting up %s (once; needs the Python package index) ...\n' "$1" >&2
    rm -rf "$1"
    "$python" -m venv "$1" >&2 ||
        fail "$python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"
    "$1/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r "$2" >&2 ||
        fail "the packages of ${2##*/} could not be installed; is the Python package index within reach of pip?"
}

finish_environment() {
    : >"$1/stamp"
    exec 9>&-
}
