"""``loadkeeper demo``: the main job on real input, inside a limit that a fixed number of workers breaks."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from ..errors import UsageError
from .demo_files import Shortage, gather

LIMIT = "1G"
NEED = "apt-get install xz-utils"


@click.command(short_help="Compress 350 MiB of real files inside 1 GiB of memory.")
@click.option("--keep", is_flag=True, help="Keep the files afterwards.")
def demo(keep: bool) -> int:
    """Compress 24 real files of 4 to 64 MiB (350 MiB in all, joined from this machine's own) with xz -9, whose
    memory grows with the file, up to 675 MiB each: two big ones at once break 1 GiB, one at a time wastes cores.

    \b
    loadkeeper demo
    """
    if shutil.which("xz") is None:
        raise UsageError(f"the demo compresses with xz, which is not installed; try: {NEED}")
    folder = Path(
        tempfile.mkdtemp(prefix="loadkeeper-demo-", dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None)
    )
    try:
        return _show(folder)
    finally:
        if keep:
            click.echo(f"the files are in {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _show(folder: Path) -> int:
    click.echo("Joining 24 files of 4 to 64 MiB from this machine's own ...", err=True)
    try:
        files = gather(folder)
    except Shortage as error:
        raise UsageError(str(error)) from None
    words = ["run", "--workers-memory", LIMIT, "--name", "demo", "xz", "-9", "-k", ":::", *map(str, files)]
    click.echo(f"$ loadkeeper run --workers-memory {LIMIT} xz -9 -k ::: {folder}/*", err=True)
    sys.stderr.flush()
    from .run import run

    code = int(run.main(words[1:], standalone_mode=False) or 0)
    _tell(files, whole=code == 0)
    return code


def _tell(files: list[Path], *, whole: bool) -> None:
    """What came of it, from the disk; ``whole``: nobody stopped it."""
    packed = [Path(f"{file}.xz") for file in files]
    there = [file for file in packed if file.exists()]
    before = sum(file.with_suffix("").stat().st_size for file in there)
    after = sum(file.stat().st_size for file in there)
    told = f"{len(there)} of {len(files)} files compressed: {before / 2**20:.0f} MiB became {after / 2**20:.0f} MiB"
    click.echo(f"{told}, and all xz together were kept below 1 GiB." if whole else f"{told}.", err=True)
