"""Every steering method against a closed form, and what all of them must keep."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

import ws
from tests.builders.directions import direction, poles
from tests.builders.small_runs import write_axis
from ws.errors import UserError
from ws.models.lm import LM
from ws.models.weight_sites import sites
from ws.steering.direction import Direction
from ws.steering.extraction import extract
from ws.steering.hooks import steered
from ws.steering.methods import Poles, method, names
from ws.steering.methods.clusters import K, grouped

IDS = torch.tensor([list(range(60, 84))])
ANGLES = ("rotation", "givens", "angular", "slerp")
"""Methods that keep the norm."""


def states(seed: int = 0, rows: int = 2) -> Tensor:
    return torch.randn(rows, 5, 16, generator=torch.Generator().manual_seed(seed))


def applied(
    name: str, x: Tensor, c: float | list[float], found: Poles | Tensor | None = None, layers: int = 1
) -> Tensor:
    """x after one block, the direction read from `found`."""
    rule = method(name)
    vectors = found if isinstance(found, Tensor) else rule.extract(found or poles())
    dose = torch.tensor([c] if isinstance(c, float) else c)
    return rule.apply(x, rule.prepare(vectors, dose, layers), torch.ones(len(x), 5, 1))


@pytest.mark.parametrize("name", names())
def test_a_method_says_what_it_is_and_leaves_alone_what_it_must(name: str) -> None:
    rule, x = method(name), states()
    assert rule.unit in ("multiples", "degrees", "shares")
    assert rule.grid is None or (list(rule.grid) == sorted(set(rule.grid)) and rule.grid[0] > 0)
    assert set(rule.reads) <= {"neutral", "background", "writers"}
    head, formula, tail = str(rule.__doc__).partition("Failure mode:")
    assert head and formula and tail.strip()
    assert torch.equal(applied(name, x, 0.0), x)
    assert torch.equal(applied(name, x, [0.0, 5.0])[0], x[0])
    buffer = rule.prepare(rule.extract(poles()), torch.tensor([5.0]), 2)
    half = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0])[None, :, None].expand(2, 5, 1)
    y = rule.apply(x, buffer, half)
    assert torch.equal(y[:, [0, 2]], x[:, [0, 2]])
    assert len(buffer) == 1 and y.dtype == x.dtype
    if name in ANGLES:
        assert torch.allclose(y.norm(dim=-1), x.norm(dim=-1), atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(names()) - {"random", "pca_centred"}))
def test_a_dose_leads_from_the_negative_pole_towards_the_positive_one(name: str) -> None:
    """Positive c: the mean difference of the poles rises; negative c: it falls."""
    found, dose = poles(), {"degrees": 20.0, "shares": 0.5}.get(method(name).unit, 0.5)
    axis = normalize(found.differences.mean(0), dim=0)
    x = found.negative[None, :5]
    up, down = (float((applied(name, x, sign * dose, found) @ axis).mean()) for sign in (1, -1))
    assert up > float((x @ axis).mean())
    assert up > down or name == "givens", "there the other pole need not lie on the other side of the assistant"


def test_rotation_keeps_the_norm_and_turns_by_its_angle() -> None:
    torch.manual_seed(0)
    x, v = torch.randn(2, 5, 16), torch.randn(16) * 3
    rule = method("rotation")
    y = rule.apply(x, rule.prepare(v, torch.tensor([30.0, -60.0]), 2), torch.ones(2, 5, 1))
    cosine = torch.nn.functional.cosine_similarity(x, y, dim=-1)
    assert torch.allclose(y.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    wanted = torch.tensor([math.cos(math.radians(15)), math.cos(math.radians(30))])
    assert torch.allclose(cosine, wanted[:, None].expand(2, 5), atol=1e-6)
    towards = torch.nn.functional.cosine_similarity(y, v, dim=-1) - torch.nn.functional.cosine_similarity(x, v, dim=-1)
    assert bool((towards[0] > 0).all()) and bool((towards[1] < 0).all())
    along = (2 * v).expand(1, 1, 16)
    assert bool(rule.apply(along, rule.prepare(v, torch.tensor([40.0]), 1), torch.ones(1, 1, 1)).isfinite().all())


def test_ablation_removes_the_component_and_only_it() -> None:
    x, v = torch.randn(2, 5, 16), torch.randn(16)
    rule = method("ablation")
    y = rule.apply(x, rule.prepare(v, torch.tensor([1.0, 0.5]), 3), torch.ones(2, 5, 1))
    u = v / v.norm()
    assert torch.allclose(y @ u, (x @ u) * torch.tensor([[0.0], [0.5]]), atol=1e-5)
    assert torch.allclose((y - x) - ((y - x) @ u)[..., None] * u, torch.zeros(2, 5, 16), atol=1e-5)


def turned_by(plane: Tensor, degrees: float) -> Tensor:
    """The rotation matrix of an angle from plane[0] towards plane[1], orthonormal vectors."""
    a, r = plane
    return torch.linalg.matrix_exp(math.radians(degrees) * (torch.outer(r, a) - torch.outer(a, r)))


@pytest.mark.parametrize("degrees", [-70.0, 25.0, 180.0])
def test_givens_is_the_rotation_matrix_of_its_plane(degrees: float) -> None:
    found, x = poles(), states()
    assert found.neutral is not None
    a = normalize(found.neutral.mean(0), dim=0)
    persona = found.positive.mean(0)
    r = normalize(persona - (persona @ a) * a, dim=0)
    wanted = x @ turned_by(torch.stack([a, r]), degrees).T
    assert torch.allclose(applied("givens", x, degrees, found), wanted, atol=1e-5)
    shared = applied("givens", x, degrees, found, layers=2)
    assert torch.allclose(shared, x @ turned_by(torch.stack([a, r]), degrees / 2).T, atol=1e-5)


def test_angular_turns_towards_v_in_its_plane_and_no_further() -> None:
    found, x = poles(), states()
    v, w = method("angular").extract(found)
    u = normalize(v, dim=0)
    assert float(w.norm()) == pytest.approx(1, abs=1e-5) and abs(float(w @ u)) < 1e-5
    angle = lambda h: torch.atan2(h @ w, h @ u).rad2deg()  # noqa: E731
    before, after = angle(x), angle(applied("angular", x, 40.0, found))
    assert torch.allclose(after.abs(), (before.abs() - 40).clamp(min=0), atol=1e-3)
    away = angle(applied("angular", x, -40.0, found))
    assert torch.allclose(away.abs(), (before.abs() + 40).clamp(max=180), atol=1e-3)
    outside = torch.eye(16) - torch.outer(u, u) - torch.outer(w, w)
    assert torch.allclose(applied("angular", x, 40.0, found) @ outside, x @ outside, atol=1e-5)


def test_slerp_goes_a_share_of_the_angle_to_v() -> None:
    found, x = poles(), states()
    u = normalize(method("slerp").extract(found), dim=0)
    angle = lambda h: (normalize(h, dim=-1) @ u).clamp(-1, 1).arccos()  # noqa: E731
    for share in (0.25, 0.5, -0.2):
        assert torch.allclose(angle(applied("slerp", x, share, found)), (1 - share) * angle(x), atol=2e-3)
    assert torch.allclose(applied("slerp", x, 1.0, found), x.norm(dim=-1, keepdim=True) * u, atol=1e-3)


def test_transport_carries_one_distribution_to_the_other() -> None:
    dice = torch.Generator().manual_seed(1)
    start = torch.randn(4000, 16, generator=dice)
    end = 3 + 0.5 * torch.randn(4000, 16, generator=dice)
    moved = applied("transport", start[None, :5], 1.0, Poles(end, start, neutral=start))
    x = start[:5]
    assert torch.allclose(moved[0], 0.5 * x + 3, atol=0.15)
    half = applied("transport", start[None, :5], 1.0, Poles(end, start, neutral=start), layers=2)
    assert torch.allclose(half[0], (x + moved[0]) / 2, atol=1e-5)


def test_clusters_push_each_kind_its_own_way() -> None:
    """Two kinds of contexts whose poles differ in opposite directions: their mean difference is nothing."""
    place, trait = torch.zeros(16), torch.zeros(16)
    place[0], trait[1] = 10.0, 1.0
    base = torch.cat([place + 0.1 * torch.randn(8, 16), -place + 0.1 * torch.randn(8, 16)])
    push = torch.cat([trait.expand(8, 16), -trait.expand(8, 16)])
    found = Poles(base + push, base - push)
    centres, own = grouped(base, 2)
    assert centres.shape == (2, 16) and len(set(own[:8].tolist())) == len(set(own[8:].tolist())) == 1
    assert own[0] != own[8]
    x = torch.stack([base[:5], base[8:13]])
    moved = applied("clusters", x, 1.0, found) - x
    assert torch.allclose(moved[0, :, 1], torch.full((5,), 2.0), atol=0.2)
    assert torch.allclose(moved[1, :, 1], torch.full((5,), -2.0), atol=0.2)
    assert float(found.differences.mean(0).norm()) < 0.1
    assert method("clusters").extract(found).shape == (1 + 2 * K, 16)
    assert method("clusters").extract(poles(2)).shape == (1 + 2 * 2, 16), "no more clusters than pairs"


def test_gated_spares_what_carries_the_trait() -> None:
    found = poles()
    v = found.differences.mean(0)
    moved = applied("gated", torch.stack([found.positive[:5], found.negative[:5]]), 0.5, found)
    assert torch.equal(moved[0], found.positive[:5])
    assert torch.allclose(moved[1], found.negative[:5] + 0.5 * v, atol=1e-6)


def test_means_of_other_populations() -> None:
    found = poles()
    assert found.background is not None and found.neutral is not None
    centred = found.positive.mean(0) - found.background.mean(0)
    assert torch.allclose(method("mean_centred").extract(found), centred)
    assert torch.allclose(
        method("subtraction").extract(found), found.neutral.mean(0) - found.negative.mean(0), atol=1e-6
    )
    assert torch.allclose(method("ablation").extract(found), found.negative.mean(0) - found.neutral.mean(0), atol=1e-6)
    assert torch.allclose(method("mean_diff").extract(found), (found.positive - found.negative).mean(0))


def planted() -> tuple[Tensor, Poles]:
    """A direction that all pairs share, with the sign and the length of -2 times it, and noise along another."""
    torch.manual_seed(0)
    shared, other = torch.linalg.qr(torch.randn(24, 2)).Q.T
    neg = torch.randn(200, 24)
    pos = neg - 2 * shared + torch.randn(200, 1) * other + 0.05 * torch.randn(200, 24)
    return torch.stack([shared, other]), Poles(pos, neg)


def test_the_first_component_finds_a_planted_direction_with_its_sign_and_length() -> None:
    (shared, _), found = planted()
    v = method("pca").extract(found)
    assert float(v @ shared) == pytest.approx(-2, abs=0.2)
    assert float(cosine_similarity(v, -shared, dim=0)) > 0.99


def test_centring_removes_what_all_pairs_share() -> None:
    """The trap: the centred component stands at right angles to the trait, the uncentred one along it."""
    (shared, other), found = planted()
    v = method("pca_centred").extract(found)
    assert abs(float(cosine_similarity(v, shared, dim=0))) < 0.1 < 0.99 < abs(float(cosine_similarity(v, other, dim=0)))
    assert float(v.norm()) == pytest.approx(float(found.differences.mean(0).norm()), rel=1e-4)


def test_s_space_keeps_what_the_block_writes() -> None:
    """Weights that write to three directions alone: of v that part is left."""
    basis = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2))).Q
    found = poles()
    writers = basis[:, :3] @ torch.diag(torch.tensor([3.0, 2.9, 2.8])) @ torch.randn(3, 40)
    made = method("s_space").extract(Poles(found.positive, found.negative, writers=writers))
    inside = basis[:, :3] @ basis[:, :3].T
    assert torch.allclose(inside @ made, made, atol=1e-4)
    assert 0 < float(made.norm()) <= float((inside @ found.differences.mean(0)).norm()) + 1e-4


def test_random_is_as_long_and_always_the_same() -> None:
    found = poles()
    v, again, other = (method("random").extract(x) for x in (found, poles(), poles(seed=1)))
    assert torch.equal(v, again) and not torch.equal(v, other)
    assert float(v.norm()) == pytest.approx(float(found.differences.mean(0).norm()), rel=1e-5)
    assert abs(float(cosine_similarity(v, found.differences.mean(0), dim=0))) < 0.7


@pytest.mark.parametrize("name", names())
def test_every_method_is_read_from_a_model_kept_and_applied(name: str, tiny: LM, tmp_path: Path) -> None:
    """Extract, save, load, steer: from the tag on, and not before it."""
    v = extract(tiny, ws.load_axis(write_axis(tmp_path)), name, layers=(1, 2))
    assert (v.method, v.rule) == (name, name) and v.norm() > 0 and set(v.beside) in (set(), {1, 2})
    found = Direction.load(v.save(tmp_path / "v.safetensors"))
    assert all(torch.equal(found.vectors(k), v.vectors(k)) for k in v.layers)
    c = {"degrees": 40.0, "shares": 1.0}.get(v.unit, 3.0)
    with torch.no_grad():
        plain = tiny.model(input_ids=IDS).logits
        with steered(tiny, found, c, starts=[10]):
            there = tiny.model(input_ids=IDS).logits
        with steered(tiny, v.random_like(0), c, starts=[10]):
            control = tiny.model(input_ids=IDS).logits
    assert torch.equal(there[:, :10], plain[:, :10]) and not torch.allclose(there[:, 10:], plain[:, 10:], atol=1e-3)
    assert not torch.allclose(there, control, atol=1e-3)


def test_what_lies_beside_is_part_of_the_file(tiny: LM, tmp_path: Path) -> None:
    v = direction(tiny, method="givens")
    file = v.save(tmp_path / "v.safetensors")
    raw = bytearray(file.read_bytes())
    place = raw.rfind(v.beside[2].numpy().tobytes()[:64])
    raw[place + 1] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(raw)
    with pytest.raises(UserError, match="damaged"):
        Direction.load(tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match="Pass a list"):
        v + v
    with pytest.raises(UserError, match=r"is \(m, 32\) at each"):
        Direction(v.layers, "givens", "", beside={1: torch.zeros(1, 32)})
    assert (2 * v).beside.keys() == v.beside.keys()


def test_a_block_without_a_plain_weight_is_told(tiny: LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = [site for site in sites(tiny) if site.role != "writes"]
    monkeypatch.setattr("ws.steering.extraction.sites", lambda lm: readers)
    with pytest.raises(UserError, match="mean_diff"):
        extract(tiny, ws.load_axis(write_axis(tmp_path)), "s_space", layers=(1,))
