"""The arms are one table: what is said of an arm is said there, and nowhere in a string of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import polars as pl

import ws
from ws.experiment.examples import EXAMPLE, EXAMPLE_ROUNDS
from ws.gating import arm_table
from ws.gating.arm_table import TABLE, retaining_arms, searched_arms, short_words, trained_arms, words_of
from ws.runs.reader import Run

NAMES = {kind.name for kind in TABLE}
SOURCES = Path(ws.__file__).parent


def test_every_arm_that_a_run_stores_is_in_the_table() -> None:
    for path in (EXAMPLE, EXAMPLE_ROUNDS):
        run = Run(path)
        for number in range(run.rounds):
            assert set(run.frame("dose", number)["arm"]) <= set(searched_arms())
            assert set(run.arms(number)["arm"]) <= NAMES


def test_retain_is_formed_of_the_trained_arms_that_no_persona_moves_besides() -> None:
    arms = Run(EXAMPLE).arms(0)
    assert set(arms.filter(pl.col("retain").is_not_null())["arm"]) == set(retaining_arms()) & set(arms["arm"])
    assert set(trained_arms()) - set(retaining_arms()) == {arm_table.HEALED_PERSONA}
    assert set(short_words()) <= {*retaining_arms(), arm_table.STEER}


def spelled(tree: ast.AST) -> list[str]:
    """Names of arms that stand as strings where the column `arm` is compared, an arm is made or one is picked."""
    found: list[str] = []
    for node in ast.walk(tree):
        compared = isinstance(node, ast.Compare) and "arm" in ast.unparse(node.left)
        verbs = ("Arm", "one", "moved", "is_in", "Clue")
        called = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(verbs)
        if compared or called:
            parts = node.comparators if isinstance(node, ast.Compare) else node.args
            inner = [x for part in parts for x in ast.walk(part) if isinstance(x, ast.Constant)]
            found += [x.value for x in inner if x.value in NAMES]
        if isinstance(node, ast.Dict | ast.Tuple | ast.List):
            keys = node.keys if isinstance(node, ast.Dict) else node.elts
            named = [key.value for key in keys if isinstance(key, ast.Constant) and key.value in NAMES - {"base"}]
            found += named if len(named) > 1 else []
    return found


def test_no_other_file_spells_an_arm() -> None:
    planted = ast.parse('rows.filter(pl.col("arm") == "healed")\nWORDS = {"sft": 1, "healed": 2}\nArm("steer", report)')
    assert len(spelled(planted)) == 4
    for file in SOURCES.rglob("*.py"):
        if file.name not in ("arm_table.py", "stages.py", "examples.py", "mini_card.py"):
            assert not spelled(ast.parse(file.read_text("utf-8"))), file


def test_the_table_is_light() -> None:
    """Every package reads it, so it imports nothing of ws."""
    tree = ast.parse(Path(arm_table.__file__).read_text("utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert modules == ["__future__", "dataclasses"] and len({words_of(kind.name) for kind in TABLE}) == len(TABLE)
