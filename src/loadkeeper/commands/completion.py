"""``completion``: what a shell needs to complete our words. click's scripts, and what its users miss in them."""

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
)

from ..errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@add_completion_class
class Zsh(ZshComplete):
    """The whole word is replaced, so what stands before ``=`` must come back with it."""

    name = "zsh"

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            for item in found:
                item.value = f"{option}={item.value}"
        return found


@add_completion_class
class Fish(FishComplete):
    """Help may have commas."""

    name = "fish"
    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 2 ","')


add_completion_class(BashComplete)


@click.command(short_help="Print completion for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print what completes verbs, options and names of files in SHELL.

    \b
    loadkeeper completion bash > ~/.local/share/bash-completion/completions/loadkeeper
    loadkeeper completion zsh > ~/.zfunc/_loadkeeper        a directory of $fpath
    loadkeeper completion fish > ~/.config/fish/completions/loadkeeper.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise UsageError(f"there is no completion for {shell}; there is for {', '.join(SHELLS)}")
    click.echo(made(click.get_current_context().find_root().command, {}, "loadkeeper", "_LOADKEEPER_COMPLETE").source())
    return 0
