"""Recipes: LoRA's is what runs were stored with, another family brings its own learning rate."""

from __future__ import annotations

import dataclasses

import pytest

from ws.app.cli import _parse
from ws.errors import UserError
from ws.runs.recipes import mini_quick, recipe_for, with_adapter


def test_another_family_takes_its_own_recipe_and_lora_the_old_one() -> None:
    assert with_adapter(mini_quick(), "lora") == mini_quick() == recipe_for("mini")
    turned = recipe_for("mini", adapter="oft")
    assert turned.heal == dataclasses.replace(mini_quick().heal, adapter="oft", lr=1e-3)
    with pytest.raises(UserError, match=r"heal.adapter 'vera' is unknown"):
        recipe_for("mini", adapter="vera")


def test_the_command_line_takes_it_where_lr_is_left_out() -> None:
    assert _parse("run", ["--heal.adapter", "ia3"]).config.heal.lr == pytest.approx(0.03)
    assert _parse("run", ["--heal.adapter", "ia3", "--heal.lr", "0.002"]).config.heal.lr == 0.002
    assert _parse("run", []).config == mini_quick()
