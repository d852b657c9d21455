"""``completion``: what a shell needs to complete our words."""

import click
from click.shell_completion import get_completion_class

from ..errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print completion for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print what completes verbs and options in SHELL.

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
