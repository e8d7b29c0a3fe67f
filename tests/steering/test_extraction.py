"""The direction against a naive loop, what it reads, and that reading it from a model moves that model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders.directions import hooks_left
from tests.builders.tiny_models import tiny_lm
from ws.axes.axis import Axis
from ws.axes.axis_file import Context
from ws.errors import UserError
from ws.generation.completions import generate
from ws.models.lm import LM
from ws.steering.direction import Direction
from ws.steering.extraction import default_layers, extract, pairs_of, tag_states

CONTEXTS = (
    Context("Hi"),
    Context("May a nurse lie to a patient about the bill?", "Well, I think"),
    Context("What do you say to your boss?"),
    Context("Your sister is ill, and the rules say no. What now?"),
    Context("x", "No"),
)


def axis(**kw: Any) -> Axis:
    fields: dict[str, Any] = {
        "name": "kind",
        "title": "Kind or cruel",
        "models": ("any",),
        "target": "Care",
        "intended": {"Care": 1},
        "positive": ("You are kind to everyone you meet.", "You care."),
        "negative": ("You are cruel to everyone you meet.", "You harm."),
        "contexts": CONTEXTS,
        "narration": (),
        "train": (),
        "select": (),
        "probes": (),
    }
    return Axis(**{**fields, **kw})


def naive(lm: LM, pairs: list[tuple[Context, str | None, str | None]], layer: int) -> torch.Tensor:
    """One prompt at a time, whole forwards with output_hidden_states, forms averaged."""
    states: list[list[torch.Tensor]] = [[], []]
    for context, *systems in pairs:
        for pole, system in enumerate(systems):
            for form in lm.forms:
                ids = lm.prompt_ids(context.user, system=system, form=form, prefix=context.assistant_prefix)
                with torch.no_grad():
                    out = lm.model(input_ids=torch.tensor([ids]), output_hidden_states=True)
                states[pole].append(out.hidden_states[layer + 1][0, -1])
    return (torch.stack(states[0]) - torch.stack(states[1])).mean(0)


def test_extract_equals_a_naive_loop(arch_lm: LM) -> None:
    # the tiny Gemmas look back eight tokens and cannot see the persona: a longer window
    lm = tiny_lm(arch_lm.name.removeprefix("tiny-"), sliding_window=64) if "gemma" in arch_lm.name else arch_lm
    made = axis()
    v = extract(lm, made, layers=(0, 2), pairs=7, batch_size=3)
    for layer, vector in v.layers.items():
        wanted = naive(lm, pairs_of(made.contexts, made.positive, made.negative, 7), layer)
        assert torch.allclose(vector, wanted, atol=1e-5)
        assert float(vector.norm()) > 0.01
    assert (v.method, v.fingerprint, v.meta["pairs"]) == ("mean_diff", lm.fingerprint, 7)
    assert hooks_left(lm) == 0


def test_a_direction_of_norm_0_is_refused(tmp_path: Path) -> None:
    """Early blocks of the tiny Gemma 3 look back eight tokens: no persona reaches the tag."""
    lm = tiny_lm("gemma3")
    with pytest.raises(UserError, match=r"the direction of kind has norm 0: both poles .* behind blocks 0, 1\."):
        extract(lm, axis(), layers=(0, 1))
    path = Direction({1: torch.zeros(32)}, "mean_diff", lm.fingerprint).save(tmp_path / "zero.safetensors")
    with pytest.raises(UserError, match=r"zero.safetensors has norm 0"):
        Direction.load(path)


def test_without_a_template_the_persona_is_plain_text_and_the_last_token_is_read() -> None:
    lm, made = tiny_lm("gpt2", chat=False), axis()
    v = extract(lm, made, layers=(1,))
    wanted = naive(lm, pairs_of(made.contexts, made.positive, made.negative, 256), 1)
    assert torch.allclose(v.layers[1], wanted, atol=1e-5)


def test_the_base_contrast_is_against_neutral(tiny: LM) -> None:
    made, long = axis(), axis(neutral=("You are a person in a town by the sea.",))
    plain, padded = (extract(tiny, a, layers=(1,), contrast="base") for a in (made, long))
    for v, neutral in ((plain, (None,)), (padded, long.neutral)):
        wanted = naive(tiny, pairs_of(CONTEXTS, made.positive, neutral, 99), 1)
        assert torch.allclose(v.layers[1], wanted, atol=1e-5)
    assert not torch.allclose(plain.layers[1], padded.layers[1], atol=1e-3)


def test_a_forward_stops_behind_the_deepest_block_and_skips_the_head(tiny: LM) -> None:
    ran: list[int] = []
    handles = [b.register_forward_pre_hook(lambda *_, k=k: ran.append(k)) for k, b in enumerate(tiny.blocks)]
    head = tiny.model.lm_head.register_forward_pre_hook(lambda *_: ran.append(99))
    extract(tiny, axis(), layers=(0, 1))
    for handle in (*handles, head):
        handle.remove()
    assert set(ran) == {0, 1}


def test_every_context_comes_and_the_quota_ends_the_walk() -> None:
    positive, negative = ("a", "b", "c"), ("A", "B", "C")
    few = pairs_of(CONTEXTS, positive, negative, 2)
    assert [c for c, *_ in few] == list(CONTEXTS) and [p for _, p, _ in few] == ["a", "b", "c", "a", "b"]
    assert all(n == p.upper() for _, p, n in few if p)
    whole = pairs_of(CONTEXTS, positive, negative, 1000)
    assert len(whole) == len(set(whole)) == 15


def test_the_default_layers_are_the_middle_of_the_depth(tiny: LM) -> None:
    assert default_layers(tiny) == (1, 2, 3)
    for depth, wanted in ((6, (2, 3, 4)), (12, (5, 6, 7)), (28, (13, 14, 15)), (34, (15, 17, 19)), (36, (16, 18, 20))):
        lm = tiny_lm("gpt2", n_layer=depth)
        assert default_layers(lm) == wanted


def test_a_context_that_begins_the_reply_is_read_at_its_end(tiny: LM) -> None:
    """Reading at the tag itself would make the assistant prefix without effect."""
    with_prefix, without = (extract(tiny, axis(contexts=(Context("Hi", p),)), layers=(2,)) for p in ("No", ""))
    assert not torch.allclose(with_prefix.layers[2], without.layers[2], atol=1e-3)


def test_states_do_not_depend_on_the_batch(arch_lm: LM) -> None:
    rows = [arch_lm.prompt_ids(c.user) for c in CONTEXTS]
    one, all_ = (tag_states(arch_lm, rows, (1, 3), size) for size in (1, 64))
    for k, states in one.items():
        assert states.dtype == torch.float32 and torch.allclose(states, all_[k], atol=1e-5)


def test_adding_the_direction_moves_the_state_to_the_pole(tiny: LM) -> None:
    """c = 1 at the only layer turns the mean negative state into the mean positive one."""
    made = axis(contexts=(Context("Hi"),), positive=("You are kind.",), negative=("You are cruel.",))
    v = extract(tiny, made, layers=(3,))
    pos, neg = (
        tag_states(tiny, [tiny.prompt_ids("Hi", system=s, form=f) for f in tiny.forms], (3,))[3].mean(0)
        for s in ("You are kind.", "You are cruel.")
    )
    assert torch.allclose(neg + v.layers[3], pos, atol=1e-5)
    df = generate(tiny, "Hi", v, [0.0, 1.0], max_new_tokens=4)
    assert float(df["kl_drift"].explode().max() or 0) > 0


@pytest.mark.parametrize("name", ["pca", "rotation", "ablation"])
def test_other_methods_extract_too(tiny: LM, name: str) -> None:
    v = extract(tiny, axis(), method=name, layers=(1,))
    assert v.method == name and v.rule == name
    assert abs(v.cosine(extract(tiny, axis(), layers=(1,)))) > 0.3


def test_mistakes_are_named(tiny: LM) -> None:
    for match, kw in {
        "no steering method": {"method": "magic"},
        "contrast": {"contrast": "both"},
        "blocks 0 to 3": {"layers": (1, 4)},
        "cannot read": {"layers": ()},
    }.items():
        with pytest.raises(UserError, match=match):
            extract(tiny, axis(), **kw)
    with pytest.raises(UserError, match="context"):
        extract(tiny, axis(contexts=(Context("x" * 600),)))
    assert hooks_left(tiny) == 0
