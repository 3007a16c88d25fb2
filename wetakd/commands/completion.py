"""`wetakd completion`: print a script that makes a shell complete commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from wetakd.commands.options import EXIT_CODES

_SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Make a shell complete what you type.", epilog=EXIT_CODES)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options, files and names of studies.

    \b
    Examples:
      wetakd completion bash > ~/.local/share/bash-completion/completions/wetakd
      wetakd completion zsh > "${fpath[1]}/_wetakd"
      wetakd completion fish > ~/.config/fish/completions/wetakd.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click has all three"
    click.echo(kind(click.get_current_context().find_root().command, {}, "wetakd", "_WETAKD_COMPLETE").source())
