"""marimo's own command with this library imported first: `python -m ws.hosting run nbs/gates.py --port 2718 ...`.

The first page then need not wait for torch: what takes seconds is done before the server answers.
"""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    """Import what notebooks import, then be `python -m marimo` with the same arguments."""
    from torch import set_num_threads
    from transformers import PreTrainedModel  # noqa: F401  imported lazily otherwise, by the first page

    from ws import charts, views  # noqa: F401
    from ws.models import load_model

    if "--model" not in " ".join(sys.argv):
        load_model("mini")
        set_num_threads(1)  # on a model of this size two are slower as soon as anything else runs beside them
    runpy.run_module("marimo", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
