"""Directions in repeng and steering-vectors, and theirs here, against the packages themselves."""

from __future__ import annotations

import copy
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.builders.directions import direction, poles
from ws.models.lm import LM
from ws.steering.direction import Direction
from ws.steering.hooks import steered
from ws.steering.methods import method

pytestmark = pytest.mark.slow

IDS = torch.tensor([list(range(60, 84))])
# both pin older numpy and transformers, with which they are not needed to read and to apply a vector
MISSING = (
    "{} IS MISSING: pip install --no-deps repeng==0.4.0 steering-vectors==0.12.2 scikit-learn==1.9.1 joblib==1.6.0"
    " threadpoolctl==3.8.0 cloudpickle compares with it"
)


def package(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package; repeng 0.4 names a type that numpy 2 has dropped."""
    if importlib.util.find_spec(name) is None or importlib.util.find_spec("sklearn") is None:
        pytest.skip(MISSING.format(name.upper()))
    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    return importlib.import_module(name)


def ours(lm: LM, v: Direction, c: float) -> Tensor:
    with torch.inference_mode(), steered(lm, v, c, where="all"):
        return lm.model(input_ids=IDS).logits


def test_repeng_reads_ours_and_we_read_repengs(tiny: LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coefficient is our c, its blocks and its sign are ours."""
    repeng = package("repeng", monkeypatch)
    model = repeng.ControlModel(copy.deepcopy(tiny.model), [1, 2, 3])
    v = direction(tiny, (1, 3))
    dice = np.random.default_rng(0)
    theirs = repeng.ControlVector("qwen3", {k: dice.normal(size=32).astype(np.float32) for k in (3, 1, 2)})
    theirs.export_gguf(str(tmp_path / "theirs.gguf"))
    read = repeng.ControlVector.import_gguf(v.save_gguf(tmp_path / "ours.gguf", "qwen3", tiny.n_layers))
    assert read.model_type == "qwen3"
    for given, here, c in ((read, v, 2.0), (theirs, Direction.load(tmp_path / "theirs.gguf"), -1.5)):
        model.set_control(given, c)
        with torch.inference_mode():
            found = model(input_ids=IDS).logits
        assert (found - ours(tiny, here, c)).abs().max() < 1e-5
        assert (found - ours(tiny, here, 0.0)).abs().max() > 0.1


def test_steering_vectors_adds_what_a_block_gets(tiny: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no file of its own: layer_activations are our vectors divided by how many they are."""
    other = package("steering_vectors", monkeypatch)
    v = direction(tiny, (1, 3))
    theirs = other.SteeringVector({k: x / len(v.layers) for k, x in v.layers.items()})
    model = copy.deepcopy(tiny.model)
    with torch.no_grad(), theirs.apply(model, multiplier=2.0):
        found = model(input_ids=IDS).logits
    assert (found - ours(tiny, v, 2.0)).abs().max() < 1e-5


@pytest.mark.parametrize(("theirs", "ours_"), [("pca_center", "pca"), ("pca_diff", "pca_centred")])
def test_components_are_repengs_on_the_same_states(theirs: str, ours_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its components have length 1: compared up to length; each has the sign that most of its pairs ask for."""
    repeng = package("repeng", monkeypatch)
    found = poles(40, 24)
    rows = torch.stack([found.positive, found.negative], 1).flatten(0, 1).numpy()
    monkeypatch.setattr("repeng.extract.batched_get_hiddens", lambda *_: {0: rows.copy()})
    monkeypatch.setattr("repeng.extract.model_layer_list", lambda _: [None])
    read = importlib.import_module("repeng.extract").read_representations
    entries = [repeng.DatasetEntry("+", "-")] * 40
    component = torch.from_numpy(read(None, None, entries, [0], method=theirs)[0])
    own = method(ours_).extract(found)
    own = own / own.norm()
    assert (own * (own @ component).sign() - component).abs().max() < 1e-5
    assert ours_ != "pca" or float(own @ component) > 0


def test_the_mean_difference_is_steering_vectors_own(monkeypatch: pytest.MonkeyPatch) -> None:
    package("steering_vectors", monkeypatch)
    aggregators, found = importlib.import_module("steering_vectors.aggregators"), poles(40, 24)
    for aggregator, name in ((aggregators.mean_aggregator, "mean_diff"), (aggregators.pca_aggregator, "pca")):
        theirs, own = aggregator()(found.positive, found.negative), method(name).extract(found)
        own = own if name == "mean_diff" else own / own.norm()
        assert (own - theirs).abs().max() < 1e-5
