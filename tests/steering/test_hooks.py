"""Which positions of which rows are steered, by how much, and that nothing is left behind."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.builders.directions import direction, hooks_left
from tests.builders.tiny_models import tiny_lm
from ws.errors import UserError
from ws.models.attachments import refuse_steered
from ws.models.batching import pad
from ws.models.lm import LM, positions
from ws.steering.direction import Direction
from ws.steering.hooks import steered
from ws.steering.methods import names
from ws.steering.schedules import Constant, CosineGate, Exponential, Linear, Window, parse_schedule

USERS = ("Hi", "May a nurse lie about a bill?", "What now, then?")


def batch(lm: LM, left: bool = True) -> tuple[dict[str, Tensor], list[int]]:
    """A padded batch of three prompts, each with three tokens behind the tag, and the column of each tag."""
    rows = [lm.prompt_ids(user) + [65, 66, 67] for user in USERS]
    ids, mask = pad(rows, lm.pad_id, lm.device, left=left)
    gaps = [ids.shape[1] - len(row) if left else 0 for row in rows]
    tags = [gap + len(row) - 4 for gap, row in zip(gaps, rows, strict=True)]
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions(mask)}, tags


@contextmanager
def difference(lm: LM, layer: int) -> Iterator[tuple[Any, list[Tensor]]]:
    """(arm, seen): call arm() inside `steered`; seen then gets output behind minus in front, per forward."""
    before: list[Tensor] = []
    seen: list[Tensor] = []
    handles = [lm.blocks[layer].register_forward_hook(lambda _, __, out: before.append(out.clone()))]

    def arm() -> None:
        handles.append(lm.blocks[layer].register_forward_hook(lambda _, __, out: seen.append(out - before[-1])))

    yield arm, seen
    for handle in handles:
        handle.remove()


def clause(where: str, columns: int, tags: list[int]) -> Tensor:
    k = torch.arange(columns)[None] - torch.tensor(tags)[:, None]
    return {"assistant": k >= 0, "generated": k > 0, "prompt": k < 0, "all": k > -(10**6)}[where]


# --- where -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["assistant", "generated", "prompt", "all"])
@pytest.mark.parametrize("left", [True, False])
def test_exactly_the_named_positions_are_steered_in_a_padded_prefill(tiny: LM, where: str, left: bool) -> None:
    inputs, tags = batch(tiny, left)
    v = direction(tiny, (1,))
    with torch.no_grad(), difference(tiny, 1) as (arm, seen), steered(tiny, v, 2.0, where=where):
        arm()
        tiny.model(**inputs)
    mask = inputs["attention_mask"].bool()
    changed = (seen[0] != 0).any(-1)
    assert torch.equal(changed, clause(where, mask.shape[1], tags) & mask)
    assert torch.allclose(seen[0][changed], 2.0 * v.layers[1].expand(int(changed.sum()), -1), atol=1e-5)


@pytest.mark.parametrize("where", ["assistant", "generated", "prompt", "all"])
def test_cached_decoding_steers_each_new_token_and_no_padding(tiny: LM, where: str) -> None:
    inputs, _ = batch(tiny)
    v = direction(tiny, (1,))
    with torch.no_grad(), difference(tiny, 1) as (arm, seen), steered(tiny, v, 1.0, where=where):
        arm()
        out = tiny.model(**inputs, use_cache=True)
        # two new columns, of which the middle row only has the first
        new = torch.cat([inputs["attention_mask"], torch.tensor([[1, 1], [1, 0], [1, 1]])], 1)
        tiny.model(
            input_ids=torch.full((3, 2), 70),
            attention_mask=new,
            position_ids=positions(new)[:, -2:],
            past_key_values=out.past_key_values,
        )
    expected = torch.tensor([[1, 1], [1, 0], [1, 1]]).bool() & (where != "prompt")
    assert torch.equal((seen[1] != 0).any(-1), expected)


def test_every_architecture_is_steered_from_the_tag_on_inside_generate(arch_lm: LM) -> None:
    inputs, tags = batch(arch_lm)
    inputs.pop("position_ids")
    v = direction(arch_lm, (2,), scale=0.1)
    c = torch.tensor([1.0, 0.0, -2.0])
    with difference(arch_lm, 2) as (arm, seen), steered(arch_lm, v, c):
        arm()
        arch_lm.model.generate(**inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    mask = inputs["attention_mask"].bool()
    wanted = clause("assistant", mask.shape[1], tags) & mask & (c != 0)[:, None]
    assert torch.equal((seen[0] != 0).any(-1), wanted)
    for step in seen[1:]:
        assert torch.allclose(step[:, 0], c[:, None] * v.layers[2], atol=1e-5)
    assert hooks_left(arch_lm) == 0


def test_without_a_template_the_last_token_of_the_prompt_is_the_tag() -> None:
    lm = tiny_lm("gpt2", chat=False)
    ids, mask = pad([lm.prompt_ids(user) for user in USERS], lm.pad_id, lm.device, left=True)
    with torch.no_grad(), difference(lm, 1) as (arm, seen), steered(lm, direction(lm, (1,))):
        arm()
        lm.model(input_ids=ids, attention_mask=mask, position_ids=positions(mask))
    assert (seen[0] != 0).any(-1).nonzero().tolist() == [[i, ids.shape[1] - 1] for i in range(3)]


def test_given_starts_win_and_a_cache_from_outside_is_after_the_tag(tiny: LM) -> None:
    inputs, _ = batch(tiny)
    v = direction(tiny, (1,))
    width = inputs["input_ids"].shape[1]
    with torch.no_grad(), difference(tiny, 1) as (arm, seen), steered(tiny, v, starts=[width - 1] * 3):
        arm()
        tiny.model(**inputs)
    assert (seen[0] != 0).any(-1).nonzero()[:, 1].tolist() == [width - 1] * 3
    with torch.no_grad():
        cache = tiny.model(**inputs, use_cache=True).past_key_values
        with difference(tiny, 1) as (arm, seen), steered(tiny, v):
            arm()
            tiny.model(input_ids=torch.full((3, 1), 70), past_key_values=cache)
        assert bool((seen[0] != 0).any(-1).all())
        with pytest.raises(UserError, match="starts="), steered(tiny, v, schedule=Linear(5)):
            tiny.model(input_ids=torch.full((3, 1), 70), past_key_values=cache)


def test_blocks_that_return_tuples_keep_the_rest_of_the_tuple(tiny: LM) -> None:
    inputs, _ = batch(tiny)
    v, block, rest = direction(tiny, (1,)), tiny.blocks[1], []
    with torch.no_grad():
        with steered(tiny, v):
            wanted = tiny.model(**inputs).logits
        before = block.register_forward_hook(lambda _, __, out: (out, "rest"))
        with steered(tiny, v):
            after = block.register_forward_hook(lambda _, __, out: (rest.append(out[1]), out[0])[1])
            got = tiny.model(**inputs).logits
        before.remove()
        after.remove()
    assert torch.equal(got, wanted) and rest == ["rest"]


# --- how much --------------------------------------------------------------------------------------------------------


def test_each_layer_gets_its_share_of_c(tiny: LM) -> None:
    inputs, tags = batch(tiny)
    v = direction(tiny, (0, 2, 3))
    for layer in v.layers:
        with torch.no_grad(), difference(tiny, layer) as (arm, seen), steered(tiny, v, 1.5):
            arm()
            tiny.model(**inputs)
        assert torch.allclose(seen[0][0, tags[0]], 1.5 * v.layers[layer] / 3, atol=1e-5)


def test_a_whole_steered_forward_equals_one_written_by_hand(tiny: LM) -> None:
    """Parity with the plainest implementation: a hook that adds in a Python loop."""
    inputs, tags = batch(tiny)
    v, c = direction(tiny, (1, 2)), [0.7, 0.0, -1.3]

    def by_hand(layer: int) -> Any:
        def hook(_: Any, __: Any, out: Tensor) -> Tensor:
            out = out.clone()
            for row, (tag, dose) in enumerate(zip(tags, c, strict=True)):
                for column in range(tag, out.shape[1]):
                    out[row, column] += dose * v.layers[layer] / 2
            return out

        return hook

    with torch.no_grad():
        with steered(tiny, v, c):
            got = tiny.model(**inputs).logits
        handles = [tiny.blocks[k].register_forward_hook(by_hand(k)) for k in v.layers]
        wanted = tiny.model(**inputs).logits
        for handle in handles:
            handle.remove()
    kept = inputs["attention_mask"].bool()
    assert torch.allclose(got[kept], wanted[kept], atol=1e-5)


@pytest.mark.parametrize("name", names())
def test_rows_at_zero_equal_no_hook_bit_for_bit(arch_lm: LM, name: str) -> None:
    inputs, _ = batch(arch_lm)
    v = direction(arch_lm, method=name)
    with torch.no_grad():
        pristine = arch_lm.model(**inputs).logits
        with steered(arch_lm, v, 0.0):
            assert torch.equal(arch_lm.model(**inputs).logits, pristine)
        with steered(arch_lm, v, torch.tensor([0.0, 30.0, 0.0])), torch.no_grad():
            mixed = arch_lm.model(**inputs).logits
        assert torch.equal(arch_lm.model(**inputs).logits, pristine)
    assert torch.equal(mixed[[0, 2]], pristine[[0, 2]])
    assert not torch.allclose(mixed[1, -1], pristine[1, -1], atol=1e-3)


def test_rows_of_a_mixed_batch_equal_runs_at_one_dose(tiny: LM) -> None:
    inputs, _ = batch(tiny)
    v = direction(tiny)
    kept = inputs["attention_mask"].bool()
    with torch.no_grad():
        with steered(tiny, v, [0.5, -1.0, 2.0]):
            mixed = tiny.model(**inputs).logits
        for row, c in enumerate([0.5, -1.0, 2.0]):
            with steered(tiny, v, c):
                single = tiny.model(**inputs).logits
            assert torch.allclose(mixed[row][kept[row]], single[row][kept[row]], atol=1e-5)


def test_pairs_add_up_and_each_may_have_its_own_rows(tiny: LM) -> None:
    inputs, _ = batch(tiny)
    v, w = direction(tiny, seed=1), direction(tiny, seed=2)
    with torch.no_grad():
        with steered(tiny, [(v, [1.0, 0.0, 2.0]), (w, -0.5)], 2.0):
            got = tiny.model(**inputs).logits
        for row, share in enumerate([1.0, 0.0, 2.0]):
            with steered(tiny, 2 * share * v - 1.0 * w):
                wanted = tiny.model(**inputs).logits
            assert torch.allclose(got[row], wanted[row], atol=1e-4)


def test_keeping_rows_and_setting_coefficients_follow_the_batch(tiny: LM) -> None:
    inputs, _ = batch(tiny)
    v = direction(tiny)
    some = {name: x[[2, 0]] for name, x in inputs.items()}
    with torch.no_grad():
        with steered(tiny, v, [0.5, -1.0, 2.0]):
            whole = tiny.model(**inputs).logits
        with steered(tiny, v, [0.5, -1.0, 2.0]) as steering:
            steering.set_rows([2, 0])
            assert torch.allclose(tiny.model(**some).logits, whole[[2, 0]], atol=1e-5)
            steering.set_coefficients([-1.0, 0.5])
            changed = tiny.model(**some).logits
        with steered(tiny, v, -1.0):
            assert torch.allclose(changed[0], tiny.model(**some).logits[0], atol=1e-5)


SCHEDULES = [
    (Constant(), lambda k: 1.0),
    (Linear(3), lambda k: max(0.0, 1 - k / 3)),
    (Exponential(2), lambda k: 0.5 ** (k / 2)),
    (Window(1, 3), lambda k: float(1 <= k < 3)),
]


@pytest.mark.parametrize(("schedule", "factor"), SCHEDULES, ids=lambda x: type(x).__name__)
def test_schedules_follow_their_closed_form_in_prefill_and_decoding(tiny: LM, schedule: Any, factor: Any) -> None:
    inputs, tags = batch(tiny)
    v = direction(tiny, (1,))
    with torch.no_grad(), difference(tiny, 1) as (arm, seen), steered(tiny, v, 2.0, schedule=schedule):
        arm()
        cache = tiny.model(**inputs, use_cache=True).past_key_values
        mask = torch.cat([inputs["attention_mask"], torch.ones(3, 1, dtype=torch.long)], 1)
        tiny.model(input_ids=torch.full((3, 1), 70), attention_mask=mask, past_key_values=cache)
    for row, tag in enumerate(tags):
        for k in range(4):
            assert torch.allclose(seen[0][row, tag + k], 2 * factor(k) * v.layers[1], atol=1e-5)
        assert torch.allclose(seen[1][row, 0], 2 * factor(4) * v.layers[1], atol=1e-5)
        assert not seen[0][row, :tag].any()


def test_schedules_can_be_written_as_text() -> None:
    texts = {"constant": Constant(), "linear:40": Linear(40), "exponential:2.5": Exponential(2.5)}
    texts["window:0:20"] = Window(0, 20)
    assert {text: parse_schedule(text) for text in texts} == texts
    for bad in ("", "linear", "linear:x", "linear:-1", "window:3", "window:5:2", "cosine:3"):
        with pytest.raises(UserError):
            parse_schedule(bad)


@pytest.mark.parametrize("side", ["below", "above"])
def test_the_cosine_gate_opens_where_the_cosine_says(tiny: LM, side: Any) -> None:
    inputs, _ = batch(tiny)
    v = direction(tiny, (1,))
    gate = CosineGate(0.02, side)
    outputs: list[Tensor] = []
    handle = tiny.blocks[1].register_forward_hook(lambda _, __, out: outputs.append(out.clone()))
    with torch.no_grad(), difference(tiny, 1) as (arm, seen), steered(tiny, v, 1.0, where="all", gate=gate):
        arm()
        tiny.model(**inputs)
    handle.remove()
    cosine = torch.nn.functional.cosine_similarity(outputs[0], v.layers[1], dim=-1)
    opened = (cosine < 0.02 if side == "below" else cosine > 0.02) & inputs["attention_mask"].bool()
    assert torch.equal((seen[0] != 0).any(-1), opened)
    assert 0.2 < float(opened.float().mean()) < 0.8


def test_a_direction_made_in_inference_mode_can_enter_a_graph(tiny: LM) -> None:
    with torch.inference_mode():
        v = direction(tiny, (1,)) * 2
    inputs, _ = batch(tiny)
    embedded = tiny.model.get_input_embeddings()(inputs.pop("input_ids")).requires_grad_()
    with steered(tiny, v, starts=[3, 3, 3]):
        tiny.model(inputs_embeds=embedded, **inputs).logits.sum().backward()
    assert embedded.grad is not None and bool(embedded.grad.isfinite().all())


# --- the user's mistakes, and what is left behind --------------------------------------------------------------------


def test_mistakes_are_named(tiny: LM) -> None:
    inputs, _ = batch(tiny)
    v = direction(tiny)
    for c in (math.nan, math.inf, [0.0, math.nan, 1.0]):
        with pytest.raises(UserError, match="finite"), steered(tiny, v, c):
            pass
    for c in ([1.0, 2.0], torch.ones(4), [1.0]):
        with pytest.raises(UserError, match="batch of 3"), steered(tiny, v, c):
            tiny.model(**inputs)
    with pytest.raises(UserError, match="shape"), steered(tiny, v, torch.ones(3, 2)):
        pass
    with pytest.raises(UserError, match=r"\[2, 3\]"), steered(tiny, [(v, [1.0, 2.0]), (v, [1.0, 2.0, 3.0])]):
        pass
    with pytest.raises(UserError, match="block 9"), steered(tiny, direction(tiny, (1, 9))):
        pass
    with pytest.raises(UserError, match="width 8"), steered(tiny, Direction({1: torch.ones(8)}, "mean_diff", "x")):
        pass
    with pytest.raises(UserError, match="where"), steered(tiny, v, where="user"):
        pass
    with pytest.raises(UserError, match="starts"), steered(tiny, v, starts=[1, 2]):
        tiny.model(**inputs)
    with pytest.raises(UserError, match="assistant turn"), steered(tiny, v):
        tiny.model(input_ids=torch.tensor([[65, 66]]))
    with pytest.raises(UserError, match="starts="), steered(tiny, v):
        tiny.model(inputs_embeds=torch.zeros(1, 3, tiny.d_model))
    with pytest.raises(UserError, match="attention mask"), steered(tiny, v):
        tiny.model(input_ids=inputs["input_ids"], attention_mask=torch.ones(3, 1, 4, 4).bool())
    with pytest.raises(UserError, match="no steering method"), steered(tiny, direction(tiny, method="magic")):
        pass
    assert hooks_left(tiny) == 0


def test_a_stale_direction_is_refused_unless_that_is_meant(tiny: LM) -> None:
    v = direction(tiny, fingerprint="0" * 16)
    with pytest.raises(UserError, match=r"0{16}.*allow_stale"), steered(tiny, v):
        pass
    with steered(tiny, v, allow_stale=True):
        assert hooks_left(tiny) > 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(error: type[BaseException]) -> None:
    lm = tiny_lm("qwen3", seed=5)
    with pytest.raises(error), steered(lm, direction(lm)):
        raise error
    with pytest.raises(UserError), steered(lm, direction(lm), schedule="nonsense"):
        pass
    assert hooks_left(lm) == 0
    refuse_steered(lm, "a test")
    held = []

    def take() -> None:
        held.append(lm.lock.acquire(blocking=False))
        lm.lock.release()

    other = threading.Thread(target=take)
    other.start()
    other.join()
    assert held == [True]


def test_calls_that_attach_their_own_hooks_are_refused_inside(tiny: LM) -> None:
    with steered(tiny, direction(tiny)):
        with pytest.raises(UserError, match="direction="):
            refuse_steered(tiny, "generate")
        with steered(tiny, direction(tiny)):
            pass
        with pytest.raises(UserError):
            refuse_steered(tiny, "generate")
        elsewhere: list[str] = []

        def ask() -> None:
            refuse_steered(tiny, "generate")  # another thread will wait for the lock instead
            elsewhere.append("free")

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert elsewhere == ["free"]
    refuse_steered(tiny, "generate")


# --- directions and methods ------------------------------------------------------------------------------------------


def test_a_direction_survives_the_disk(tiny: LM, tmp_path: Path) -> None:
    v = direction(tiny, (2, 1, 3), axis="care", pairs=4)
    again = Direction.load(v.save(tmp_path / "deep" / "direction.safetensors"))
    assert list(again.layers) == [1, 2, 3] and all(torch.equal(again.layers[k], v.layers[k]) for k in v.layers)
    assert (again.method, again.fingerprint, again.meta) == (v.method, v.fingerprint, {"axis": "care", "pairs": 4})


def test_damaged_and_foreign_files_are_named(tiny: LM, tmp_path: Path) -> None:
    whole = direction(tiny).save(tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    for name in ("half", "text", "foreign", "missing"):
        with pytest.raises(UserError, match=f"{name}.safetensors"):
            Direction.load(tmp_path / f"{name}.safetensors")


def test_a_direction_checks_itself() -> None:
    for layers in ({}, {1: torch.ones(3), 2: torch.ones(4)}, {1: torch.ones(2, 2)}):
        with pytest.raises(UserError, match="at least one layer"):
            Direction(layers, "mean_diff", "x")
    with pytest.raises(UserError, match="block 2"):
        Direction({1: torch.ones(2), 2: torch.tensor([1.0, math.nan])}, "mean_diff", "x")


def test_algebra(tiny: LM) -> None:
    v, w = direction(tiny, seed=1), direction(tiny, seed=2)
    assert torch.allclose((2 * v - w).flat(), 2 * v.flat() - w.flat())
    assert torch.equal((-v).flat(), -v.flat()) and torch.equal((v * 0.5).flat(), v.flat() / 2)
    assert v.norm() == pytest.approx(float(v.flat().square().sum().sqrt()))
    assert v.cosine(3 * v) == pytest.approx(1) and v.cosine(-v) == pytest.approx(-1) and abs(v.cosine(w)) < 0.6
    for other in (direction(tiny, (1, 3)), direction(tiny, fingerprint="1"), direction(tiny, method="rotation")):
        with pytest.raises(UserError, match="different"):
            v + other
    with pytest.raises(UserError, match="different"):
        v.cosine(direction(tiny, (1, 3)))
    with pytest.raises(UserError, match="finite"):
        v * math.nan
    with pytest.raises(TypeError):
        v * "2"  # type: ignore[operator]


def test_a_random_control_has_the_norm_and_the_rule_of_what_it_controls(tiny: LM) -> None:
    v = direction(tiny, (1, 2), method="rotation")
    r = v.random_like(3)
    assert (r.method, r.rule, r.unit) == ("random", "rotation", "degrees")
    assert all(float(r.layers[k].norm()) == pytest.approx(float(v.layers[k].norm()), rel=1e-5) for k in v.layers)
    assert torch.equal(v.random_like(3).flat(), r.flat()) and not torch.equal(v.random_like(4).flat(), r.flat())
    assert abs(v.cosine(r)) < 0.6
    with steered(tiny, r, 10.0):
        pass
