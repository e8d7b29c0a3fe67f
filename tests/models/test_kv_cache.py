"""The cache with room: transformers' own numbers bit for bit, forks that do not see each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from tests.builders.tiny_models import tiny_lm
from ws.models import kv_cache
from ws.models.batching import share
from ws.models.kv_cache import RoomyLayer, fork, new_cache
from ws.models.lm import LM


def forward(lm: LM, cache: DynamicCache, ids: Tensor) -> Tensor:
    past = cache.get_seq_length()
    mask = torch.ones(ids.shape[0], past + ids.shape[1], dtype=torch.long)
    places = torch.arange(past, past + ids.shape[1]).expand(ids.shape)
    with torch.inference_mode():
        kw = {"attention_mask": mask, "position_ids": places, "past_key_values": cache, "use_cache": True}
        found = lm.body(input_ids=ids, **kw).last_hidden_state
    assert isinstance(found, Tensor)
    return found


def steps(lm: LM, cache: DynamicCache, ids: Tensor, keep: dict[int, list[int]] | None = None) -> list[Tensor]:
    """The states of one token after another; keep: after which step which rows stay."""
    states = []
    for i in range(ids.shape[1]):
        states.append(forward(lm, cache, ids[:, i : i + 1]))
        if keep and i in keep:
            rows = torch.tensor(keep[i])
            cache.batch_select_indices(rows)
            ids = ids[rows]
    return states


def drawn(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 50, (rows, columns), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little that buffers grow several times within a test."""
    monkeypatch.setattr(kv_cache, "ROOM", 3)


@pytest.mark.usefixtures("little_room")
def test_states_are_those_of_transformers_own_cache(arch_lm: LM) -> None:
    lm = arch_lm
    ids, more = drawn(4, 6), drawn(4, 12, 1)
    own, roomy = DynamicCache(config=lm.model.config.get_text_config()), new_cache(lm)
    keep = {2: [0, 2, 3], 7: [1]}
    for cache in (own, roomy):
        forward(lm, cache, ids)
    pairs = zip(steps(lm, own, more, keep), steps(lm, roomy, more, keep), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert own.get_seq_length() == roomy.get_seq_length() == 18


@pytest.mark.usefixtures("little_room")
def test_forks_do_not_see_each_other() -> None:
    lm = tiny_lm("qwen3")
    root = new_cache(lm)
    forward(lm, root, drawn(3, 5))
    steps(lm, root, drawn(3, 2, 1))  # the root has buffers with room left
    others = [fork(root) for _ in range(2)]
    said = [drawn(3, 8, seed) for seed in (2, 3, 4)]
    mixed = [[], [], []]
    for i in range(8):  # by turns, as two arms that share a prompt
        for states, cache, ids in zip(mixed, (root, *others), said, strict=True):
            states.append(forward(lm, cache, ids[:, i : i + 1]))
    for states, ids in zip(mixed, said, strict=True):
        alone = new_cache(lm)
        forward(lm, alone, drawn(3, 5))
        steps(lm, alone, drawn(3, 2, 1))
        assert all(torch.equal(a, b) for a, b in zip(states, steps(lm, alone, ids), strict=True))


def test_a_cropped_cache_leaves_its_fork_alone() -> None:
    lm = tiny_lm("llama")
    root = new_cache(lm)
    forward(lm, root, drawn(2, 5))
    steps(lm, root, drawn(2, 3, 1))
    other = fork(root)
    before = other.layers[0].keys.clone()
    root.crop(-2)
    steps(lm, root, drawn(2, 2, 5))
    assert torch.equal(other.layers[0].keys, before)


def test_a_step_copies_no_past() -> None:
    lm = tiny_lm("llama")
    cache = new_cache(lm)
    forward(lm, cache, drawn(2, 5))
    places = set()
    for i in range(kv_cache.ROOM // 2):
        steps(lm, cache, drawn(2, 1, i))
        assert isinstance(cache.layers[0], RoomyLayer)
        places.add(cache.layers[0].keys.data_ptr())
    assert len(places) == 1


ROOT, STORY, OTHER = [5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16], [17, 18]
HEADS = [
    [*ROOT, *STORY, 20, 21, 22], [*ROOT, *STORY, 21, 20], [*ROOT, *OTHER, 23], [*ROOT, *STORY], [*ROOT, 24, *OTHER],
    [*ROOT, *STORY, 20, 21, 22],
]  # fmt: skip


@pytest.mark.parametrize("heads", [HEADS, [*HEADS, [30, 31]], HEADS[:1], [[9, 8, 7], [7, 8, 9]]])
def test_what_heads_begin_with_alike_is_read_once_and_changes_no_row(arch_lm: LM, heads: list[list[int]]) -> None:
    lm, read = arch_lm, 0

    def counting(**kw: Any) -> object:
        nonlocal read
        read += kw["input_ids"].numel()
        return lm.body(**kw)

    with torch.inference_mode():
        cache, past = share(lm, heads, counting).rows()
        mask = torch.cat([past, torch.ones(len(heads), 1, dtype=torch.long)], 1)
        kw = {"attention_mask": mask, "position_ids": mask.sum(1, keepdim=True) - 1, "past_key_values": cache}
        found = lm.body(input_ids=torch.full((len(heads), 1), 40), use_cache=True, **kw).last_hidden_state
        alone = [lm.body(input_ids=torch.tensor([[*head, 40]])).last_hidden_state for head in heads]
    assert past.sum(1).tolist() == list(map(len, heads))
    for row, wanted in zip(found, alone, strict=True):
        torch.testing.assert_close(row[-1], wanted[0, -1], atol=1e-4, rtol=1e-4)
    plain = all(isinstance(layer, RoomyLayer) for layer in cache.layers)
    if heads is HEADS:
        assert read == (6 + 2 * 6 + 5 * 3 if plain else 5 * 15), "root, then story and no story, then five ends"
