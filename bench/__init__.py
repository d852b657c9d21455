"""The program beside its peers, measured: `./loadkeeper bench`.

`run` is the door, `measures` says what is measured (`crossing` and `batches`: its two big ones, in a memory group;
`executor`: programs' calls, each side in a program of its own, `calls`), `tools` finds the peers, `figures` keeps and
compares samples, `history` the runs of the past (history.jsonl, a line each), `show` makes the table and the picture.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT / "tests") not in sys.path:
    sys.path.append(str(ROOT / "tests"))  # `support` starts real programs and makes memory groups
