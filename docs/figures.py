"""Draws the README's pictures from a run of the embedded model: `make docs`."""

from __future__ import annotations

from pathlib import Path

import ws
from ws.reporting.charts import dose_chart, save

HERE = Path(__file__).parent

run = ws.run(ws.recipe_for("mini"))
chart = dose_chart(run.frame("dose"), run.arms(), "The quick recipe on the embedded model")
print(save(chart, HERE / "img" / "dose.svg"))
