"""The grid of a sweep: rows that are arms, and every way in which a file can be wrong, said before anything runs."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from ws.errors import UserError
from ws.runs.config import field_types, flat, to_dict
from ws.runs.grid import arms_of, effective, read_grid
from ws.runs.recipes import recipe_for


def parsed(text: str) -> list[str]:
    return [arm.name for arm in arms_of(tomllib.loads(text))]


def test_lists_are_crossed_and_rows_of_their_own_stand_beside_them() -> None:
    text = """
    [base]
    seeds = [0, 1, 2]
    data.doses = [1]
    [grid]
    heal.beta = [0.03, 1]
    heal.aggregate = ["mean", "rmse"]
    [[arm]]
    name = "no barrier"
    heal.barrier = "nll"
    [[arm]]
    "data.worst-ppl" = 5
    """
    arms = arms_of(tomllib.loads(text))
    assert [arm.name for arm in arms] == [
        "beta 0.03, aggregate mean", "beta 0.03, aggregate rmse", "beta 1, aggregate mean", "beta 1, aggregate rmse",
        "no barrier", "worst_ppl 5",
    ]  # fmt: skip
    own = recipe_for("mini")
    first = dataclasses.replace(
        own, seeds=(0, 1, 2), data=dataclasses.replace(own.data, doses=(1.0,)),
        heal=dataclasses.replace(own.heal, beta=0.03, aggregate="mean"),
    )  # fmt: skip
    assert arms[0].config == first and to_dict(arms[0].config) == to_dict(first)  # 1 and 1.0 have other keys
    assert type(arms[2].config.heal.beta) is float
    assert arms[5].config.data.worst_ppl == 5.0


def test_a_rows_defaults_are_its_models_own() -> None:
    arms = arms_of({"grid": {"model": ["mini", "smollm2"]}, "base": {"seeds": [0, 1, 2]}})
    assert [arm.config.dose.grid for arm in arms] == [recipe_for(m).dose.grid for m in ("mini", "smollm2")]
    assert arms_of({"recipe": "full", "base": {"rounds": 2}, "arm": [{}]})[0].config.evaluation.texts == 200


def test_every_field_of_a_run_can_be_written() -> None:
    told = flat(to_dict(recipe_for("mini")))
    assert set(told) <= set(field_types())
    rows = arms_of({"base": {name: "None" if value is None else value for name, value in told.items()}, "arm": [{}]})
    assert rows[0].config == recipe_for("mini")


WRONG = {
    "": "has no arm",
    "[base]\nheal.beta = 1.0": "has no arm",
    "[grid]\n[base]\nheal.beta = 1.0": "has no arm",
    "[grids]\nheal.beta = [1.0]": "no 'grids'. Did you mean 'grid'",
    "arm = 3": "arm is tables",
    "[grid]\nheal.bta = [0.1]": "row 1 of [grid]: there is no field 'heal.bta'. Did you mean 'heal.beta'",
    "[base]\nbarier = 'nll'\n[[arm]]": "[base]: there is no field 'barier'. Did you mean 'heal.barrier'",
    "[grid]\nheal = [0.1]": "heal is a group of fields",
    "[grid]\nheal.beta = 0.1": "must be a list of values",
    "[grid]\nheal.beta = []": "at least one (got [])",
    "[grid]\nheal.beta = [0.1, -1.0]": "row 2 of [grid]: heal.beta must be 0 or more (got -1.0)",
    "[grid]\nheal.beta = [0.1, nan]": "row 2 of [grid]: heal.beta must be 0 or more (got nan)",
    "[grid]\nheal.beta = ['high']": "row 1 of [grid]: heal.beta is a number or 'None' (got 'high')",
    "[grid]\nheal.epochs = [1.5]": "row 1 of [grid]: heal.epochs is a whole number (got 1.5)",
    "[grid]\nheal.epochs = [true]": "heal.epochs is a whole number (got True)",
    "[grid]\ndata.doses = [0.5, 1.0]": "data.doses is a list (a number, ...) (got 0.5)",
    "[grid]\nheal.reference = ['base', 'bse']": "heal.reference is one of 'prev', 'base' (got 'bse')",
    "[grid]\nmethod = ['mean_dif']": "mean_dif",
    "[grid]\nheal.adapter = ['lora', 'lra']": "row 2 of [grid]: heal.adapter is one of",
    "[[arm]]\nname = 'a'\nheal.depth = [0.9, 0.1]": "[[arm]] 1 (a): heal.depth must be lo < hi",
    "[[arm]]\nname = 'a'\nheal.depth = [0.9]": "heal.depth is a list",
    "[[arm]]\nname = 3": "name must be a text",
    "[[arm]]\nname = 'a'\n[[arm]]\nname = 'a'\nheal.beta = 1.0": "are both called 'a'",
    "[[arm]]\nname = 'a'\n[[arm]]\nname = 'b'": "[[arm]] 2 (b) is [[arm]] 1 (a) again: each arm is run once",
    "[grid]\nheal.beta = [0.03]\n[[arm]]": "[[arm]] 1 is row 1 of [grid] again",
    "[grid]\nheal.rank = [8, 'None']": "row 2 of [grid] is row 1 of [grid] again (with defaults filled in",
    "[grid]\nheal.barrier = ['nll']\nheal.beta = [0.1, 0.3]": "without a barrier its beta, tau",
    "[grid]\nheal.reference = ['prev', 'base']": "both references are the base",
    "[grid]\nheal.beta = [0.0]\n[[arm]]\nheal.barrier = 'nll'": "without a barrier",
    "[base]\nheal.beta = 0.1\n'heal.beta' = 0.2\n[[arm]]": "heal.beta is written twice",
    "[grid]\nseeds = [[0], [0, 0]]": "row 2 of [grid]: seeds repeat",
    "[grid]\nseeds = [[0], []]": "row 2 of [grid]: seeds is empty",
    "recipe = 'quik'\n[[arm]]": "There is no recipe 'quik'",
    "[grid]\nbatch_size = [" + ", ".join(map(str, range(1, 40))) + "]\nrounds = ["
    + ", ".join(map(str, range(1, 40))) + "]": "crosses to 1521 rows",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_grid_that_is_wrong_is_refused_with_its_row(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parsed(text)
    assert WRONG[text] in str(refused.value)


def test_all_that_is_wrong_is_said_at_once_and_rows_of_one_mistake_together() -> None:
    with pytest.raises(UserError) as refused:
        parsed("[grid]\nheal.beta = [-1.0, 0.1]\nheal.tau = [-2.0, 0.5, 0.6]")
    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("row 1 of [grid], row 2 of [grid], row 3 of [grid]: heal.beta")
    assert lines[1].startswith("row 4 of [grid]: heal.tau")


def test_what_cannot_matter_is_no_difference_and_what_can_is() -> None:
    one = arms_of({"grid": {"heal.reference": ["prev", "base"], "heal.beta_pow": [0.0, 1.0]}, "base": {"rounds": 2}})
    assert len({repr(effective(arm.config)) for arm in one}) == 4
    assert "heal.tau" not in effective(arms_of({"arm": [{"heal.beta": 0.0}]})[0].config)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_grid(tmp_path / "nothing.toml")
    (tmp_path / "bad.toml").write_text("[base\n")
    with pytest.raises(UserError, match="is no TOML"):
        read_grid(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        read_grid(tmp_path / "bad.toml")
