"""GGUF control vectors: what llama.cpp makes of ours, what is read of its and repeng's, and files that are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders.directions import direction
from tests.builders.gguf_files import write_gguf, write_model
from tests.builders.llama_cpp_api import Engine, engine
from tests.builders.tiny_models import tiny_lm
from ws.errors import UserError
from ws.experiment.examples import EXAMPLES
from ws.models.lm import LM, load_model
from ws.models.outline import outline_of
from ws.models.recipe import SMOLLM2, weights_of
from ws.steering.coefficients import Steered, combined
from ws.steering.direction import UNTOLD, Direction
from ws.steering.hooks import steered

IDS = list(range(60, 84))
ERROR = 1e-3  # of a logit; measured: 1.2e-5 at most
DOSE = 8.0  # of smollm2's own direction, about where its text still reads


def ours(lm: LM, v: Steered, c: float) -> Tensor:
    with torch.inference_mode(), steered(lm, v, c, where="all"):
        return lm.model(input_ids=torch.tensor([IDS])).logits[0]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LM, Engine]]:
    lm = tiny_lm("llama")
    with engine(write_model(tmp_path_factory.mktemp("gguf") / "tiny.gguf", lm)) as run:
        yield lm, run


# --- ours in llama.cpp ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [(1,), (3,), (1, 2), (1, 2, 3)])
def test_it_steers_llama_cpp_as_it_steers_here(
    llama: tuple[LM, Engine], blocks: tuple[int, ...], tmp_path: Path
) -> None:
    lm, run = llama
    v = direction(lm, blocks)
    file = v.save_gguf(tmp_path / "v.gguf", "llama", lm.n_layers)
    run.steer([])
    plain = run.logits(IDS)
    for c in (1.0, -2.0):
        run.steer([(file, c)])
        found = run.logits(IDS)
        assert (found - ours(lm, v, c)).abs().max() < ERROR
        assert (found - plain).abs().max() > 100 * ERROR


@pytest.mark.parametrize("arch", ["qwen3", "gemma3"])
def test_it_does_so_in_other_architectures(arch: str, tmp_path: Path) -> None:
    lm = tiny_lm(arch)
    v = direction(lm, (1, 3))
    with engine(write_model(tmp_path / "model.gguf", lm)) as run:
        base = (run.logits(IDS) - ours(lm, v, 0.0)).abs().max()  # Gemma's GELU is a table of float16 there: .002
        run.steer([(v.save_gguf(tmp_path / "v.gguf", arch, lm.n_layers), 1.0)])
        assert (run.logits(IDS) - ours(lm, v, 1.0)).abs().max() < max(ERROR, 3 * base)


def test_a_file_that_is_the_model_here_and_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WS_MODELS", str(tmp_path / "copies"))
    file = write_gguf(tmp_path / "tiny.gguf")
    lm, shape = load_model(file, device="cpu"), outline_of(str(file))
    v = direction(lm, (1,), scale=0.3)
    with engine(file) as run:
        run.steer([(v.save_gguf(tmp_path / "v.gguf", shape.architecture, shape.blocks), 2.0)])
        assert (run.logits(IDS) - ours(lm, v, 2.0)).abs().max() < ERROR


def test_a_shorter_vector_leaves_nothing_of_a_longer_one(llama: tuple[LM, Engine], tmp_path: Path) -> None:
    """llama.cpp overwrites only the blocks that a file reaches."""
    lm, run = llama
    long, short = direction(lm, (1, 2, 3)), direction(lm, (1,), seed=1)
    run.steer([(long.save_gguf(tmp_path / "long.gguf", "llama", lm.n_layers), 1.0)])
    run.steer([(short.save_gguf(tmp_path / "short.gguf", "llama", lm.n_layers), 1.0)])
    assert (run.logits(IDS) - ours(lm, short, 1.0)).abs().max() < ERROR


def test_several_directions_are_one_file_or_several(llama: tuple[LM, Engine], tmp_path: Path) -> None:
    lm, run = llama
    a, b = direction(lm, (1, 2)), direction(lm, (2, 3), seed=1)
    expected = ours(lm, [(a, 1.0), (b, -0.5)], 1.0)
    one = combined([(a, 1.0), (b, -0.5)])
    assert (ours(lm, one, 1.0) - expected).abs().max() < 1e-5
    files = [tmp_path / name for name in ("a.gguf", "b.gguf", "one.gguf")]
    for file, v in zip(files, (a, b, one), strict=True):
        v.save_gguf(file, "llama", lm.n_layers)
    run.steer([(files[0], 1.0), (files[1], -0.5)])
    assert (run.logits(IDS) - expected).abs().max() < ERROR
    run.steer([(files[2], 1.0)])
    assert (run.logits(IDS) - expected).abs().max() < ERROR


def test_what_does_not_combine(tiny: LM) -> None:
    v = direction(tiny)
    for pairs, said in (
        ([], "no direction"),
        ([(v, [1.0, 2.0])], "per row"),
        ([(v, 1.0), (direction(tiny, method="rotation"), 1.0)], "'rotation' adds none"),
        ([(v, 1.0), (direction(tiny, fingerprint="other"), 1.0)], "different weights"),
    ):
        with pytest.raises(UserError, match=said):
            combined(pairs)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_effect_on_a_quantized_model_is_the_same(smollm2: LM, tmp_path: Path) -> None:
    """llama.cpp rounds activations to 8 bits, ws does not: what the direction adds to the logits is compared."""
    file = weights_of(SMOLLM2)
    assert file is not None
    shape = outline_of("smollm2")
    assert (shape.architecture, shape.blocks) == ("llama", smollm2.n_layers)
    ids = smollm2.encode((Path(__file__).parents[2] / "LICENSE").read_text())[:200]
    v = Direction.load(EXAMPLES["smollm2"] / "rounds/0/direction.safetensors")
    found = {}
    with engine(file) as run, torch.inference_mode():
        for c in (0.0, DOSE):
            run.steer([(v.save_gguf(tmp_path / "v.gguf", shape.architecture, shape.blocks), c)])
            with steered(smollm2, v, c, where="all"):
                found[c] = run.logits(ids), smollm2.model(input_ids=torch.tensor([ids])).logits[0]
    theirs, own = (found[DOSE][i] - found[0.0][i] for i in (0, 1))
    same = torch.corrcoef(torch.stack([theirs.flatten(), own.flatten()]))[0, 1].item()
    plain = (found[0.0][0] - found[0.0][1]).abs().max()
    print(f"correlation {same:.4f}; largest effect {own.abs().max():.2f}, base logits differ by {plain:.2f} at most")
    assert same > 0.98 and own.abs().max() > 1


# --- theirs here ----------------------------------------------------------------------------------------------------


def written(path: Path, arch: str = "controlvector", name: str = "direction.{}", values: object = None) -> Path:
    """A file as repeng and llama.cpp's cvector-generator write it: unit vectors behind blocks 1, 2 and 3."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_string("controlvector.model_hint", "qwen3")
    writer.add_uint32("controlvector.layer_count", 3)
    dice = np.random.default_rng(0)
    for block in (1, 2, 3):
        vector = dice.normal(size=32).astype(np.float32)
        writer.add_tensor(name.format(block), vector / np.linalg.norm(vector) if values is None else np.asarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_from_elsewhere_is_read(tiny: LM, tmp_path: Path) -> None:
    v = Direction.load(written(tmp_path / "v.gguf"))
    assert list(v.layers) == [1, 2, 3] and v.fingerprint == UNTOLD and v.meta["model_hint"] == "qwen3"
    added = {int(t.name.split(".")[1]): torch.tensor(t.data) for t in gguf.GGUFReader(tmp_path / "v.gguf").tensors}
    assert all(torch.allclose(v.layers[k] / 3, added[k]) for k in added)
    hooks = [b.register_forward_hook(lambda _, __, x, k=k: x + 2 * added[k] if k in added else x)
             for k, b in enumerate(tiny.blocks)]  # fmt: skip
    with torch.inference_mode():
        expected = tiny.model(input_ids=torch.tensor([IDS])).logits[0]
    for hook in hooks:
        hook.remove()
    assert (ours(tiny, v, 2.0) - expected).abs().max() < 1e-5


def test_ours_comes_back(tiny: LM, tmp_path: Path) -> None:
    v = direction(tiny, (1, 3), axis="care")
    again = Direction.load(v.save_gguf(tmp_path / "v.gguf", "qwen3", tiny.n_layers))
    assert (again.method, again.fingerprint, again.meta) == (v.method, v.fingerprint, v.meta)
    assert again.cosine(v) == pytest.approx(1) and torch.allclose(again.flat(), v.flat(), rtol=1e-6)
    with pytest.raises(UserError, match="read from weights"), steered(tiny_lm("llama"), again):
        pass


def test_a_part_that_was_left_out_leaves_the_rest_as_strong(tiny: LM, tmp_path: Path) -> None:
    v = direction(tiny, (0, 2))
    with pytest.raises(UserError, match=r"cannot steer block 0, which holds 46\.24% .*--drop-block-0"):
        v.save_gguf(tmp_path / "v.gguf", "qwen3", 4)
    again = Direction.load(v.save_gguf(tmp_path / "v.gguf", "qwen3", 4, drop_block_0=True))
    assert list(again.layers) == [2] and torch.allclose(again.layers[2], v.layers[2] / 2)


def test_the_file_names_every_block_but_the_first(tiny: LM, tmp_path: Path) -> None:
    v = direction(tiny, (1,))
    reader = gguf.GGUFReader(v.save_gguf(tmp_path / "v.gguf", "qwen3", tiny.n_layers))
    found = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
    assert list(found) == ["direction.1", "direction.2", "direction.3"]
    assert torch.equal(found["direction.1"], v.layers[1]) and not found["direction.3"].any()
    assert reader.fields["general.architecture"].contents() == "controlvector"
    assert reader.fields["controlvector.model_hint"].contents() == "qwen3"
    assert reader.fields["controlvector.layer_count"].contents() == 3


def test_what_cannot_be_exported(tiny: LM, tmp_path: Path) -> None:
    for v, blocks, said in (
        (direction(tiny, (0,)), 4, "block 0 alone"),
        (direction(tiny, (1, 3)), 3, "blocks 0 to 2"),
        (direction(tiny, method="rotation"), 4, "adds a constant"),
    ):
        with pytest.raises(UserError, match=said):
            v.save_gguf(tmp_path / "v.gguf", "qwen3", blocks)
    assert not (tmp_path / "v.gguf").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    whole = written(tmp_path / "v.gguf").read_bytes()
    spoilt = {"cut in the header": whole[:60], "cut in a tensor": whole[:-40], "magic alone": whole[:4],
              "flipped": whole[:9] + b"\xff" + whole[10:]}  # fmt: skip
    for name, data in spoilt.items():
        (tmp_path / "bad.gguf").write_bytes(data)
        with pytest.raises(UserError, match=r"bad\.gguf is GGUF, and cut off or damaged"):
            Direction.load(tmp_path / "bad.gguf")
            pytest.fail(name)
    for path, said in (
        (write_gguf(tmp_path / "model.gguf"), "no control vector but a model of architecture 'llama'"),
        (written(tmp_path / "named.gguf", name="vector_{}"), "a tensor 'vector_1'"),
        (written(tmp_path / "square.gguf", values=np.ones((2, 3), np.float32)), "F32 of shape"),
        (written(tmp_path / "half.gguf", values=np.ones(8, np.float16)), "F16 of shape"),
        (written(tmp_path / "zero.gguf", values=np.zeros(8, np.float32)), "steers nothing"),
        (written(tmp_path / "nan.gguf", values=np.full(8, np.nan, np.float32)), "not finite"),
    ):
        with pytest.raises(UserError, match=said):
            Direction.load(path)


def test_its_own_record_may_be_damaged(tiny: LM, tmp_path: Path) -> None:
    path = direction(tiny, (1,)).save_gguf(tmp_path / "v.gguf", "qwen3", 4)
    told = json.dumps({"method": "mean_diff"})[:-1].encode()
    path.write_bytes(path.read_bytes().replace(told, told[:-1] + b" "))
    with pytest.raises(UserError, match="damaged"):
        Direction.load(path)
