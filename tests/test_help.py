"""What people read before they begin: every verb's help has an example, completion and manual page are whole."""

import shutil
import subprocess

import click
import pytest

from loadkeeper.cli import VERBS, loadkeeper

CONTEXT = click.Context(loadkeeper)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_in_its_help(verb):
    command = loadkeeper.get_command(CONTEXT, verb)
    text = command.get_help(click.Context(command, info_name=verb))
    assert f"\n  loadkeeper {verb}" in text or f" loadkeeper {verb}" in text
    assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_taken_by_its_shell(program, shell):
    script = program.call("completion", shell).stdout
    assert b"_LOADKEEPER_COMPLETE" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert subprocess.run([shell, "-n"], input=script, check=False).returncode == 0


def test_words_are_completed(program):
    asked = {"_LOADKEEPER_COMPLETE": "bash_complete", "COMP_WORDS": "loadkeeper run --mem", "COMP_CWORD": "2"}
    program.environment |= asked
    offered = program.call().stdout.decode().split()
    assert {"plain,--memory", "plain,--memory-need"} <= set(offered)


def test_the_manual_page_has_every_verb_and_option(program):
    page = program.call("manual").stdout.decode()
    for verb in VERBS:
        assert f".SH LOADKEEPER {verb.upper()}\n" in page
    for option in ("--memory", "--keep-order", "--drain", "--timeout"):
        assert option.replace("-", "\\-") in page
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    command = ["groff", "-man", "-Tutf8", "-ww"]
    made = subprocess.run(command, input=page.encode(), capture_output=True, check=False)
    assert made.returncode == 0
    assert made.stderr == b""
    assert "loadkeeper run xz -9 ::: *.tar" in made.stdout.decode()


@pytest.mark.parametrize(
    ("shell", "words", "offered"),
    [
        ("zsh", "run --pause=st", "--pause=stop"),
        ("bash", "run --joblog x", "file,x"),
        ("bash", "run gzip -", "file,-"),
        ("bash", "run gzip ::: x", "file,x"),
        ("bash", "run --jo", "plain,--jobs"),
    ],
)
def test_what_a_shell_is_offered(program, shell, words, offered):
    asked = {"_LOADKEEPER_COMPLETE": f"{shell}_complete", "COMP_WORDS": f"loadkeeper {words}"}
    program.environment |= {**asked, "COMP_CWORD": str(len(words.split()))}
    assert offered in program.call().stdout.decode().splitlines()
