"""Which weights an adapter trains, of those that `ws.models.weight_sites` finds.

    names = targeted(lm, "writers", depth=(0.2, 0.8))      # ["model.layers.1.self_attn.o_proj", ...]
"""

from __future__ import annotations

from collections.abc import Callable

from ws.errors import UserError
from ws.models.architecture import fused_experts
from ws.models.lm import LM
from ws.models.weight_sites import Site, sites

__all__ = ["TARGETS", "targeted"]


TARGETS: dict[str, Callable[[Site], bool]] = {
    "all": lambda site: True,
    "writers": lambda site: site.role == "writes",
    "readers": lambda site: site.role == "reads",
    "attention": lambda site: site.part == "attention",
    "mlp": lambda site: site.part == "mlp",
    "shared": lambda site: True,
}
BESIDE_EXPERTS = ("attention", "shared")
"""What can be trained where experts are fused into weights that an adapter cannot take."""


def targeted(lm: LM, targets: str = "all", depth: tuple[float, float] = (0.0, 1.0)) -> list[str]:
    """Module names of the chosen weights in the blocks from depth lo to hi (shares of the depth, hi excluded).

    Routers are never among them. UserError: unknown targets, a depth range without a block, fused experts where the
    targets would hold them ("attention" and "shared", all but experts and routers, leave them out).
    """
    if targets not in TARGETS:
        raise UserError(f"unknown targets {targets!r}. Use one of: {', '.join(TARGETS)}.")
    fused = fused_experts(lm.blocks, lm.d_model)
    if fused and targets not in BESIDE_EXPERTS:
        raise UserError(
            f"{lm.name} holds its experts in fused weights ({fused[0]}, {len(fused)} in all), which an adapter would"
            f" skip: targets={targets!r} would train only the rest. If that is meant, say targets='attention', or"
            " targets='shared' for all weights beside experts and routers."
        )
    low, high = (round(share * lm.n_layers) for share in depth)
    found = sites(lm)
    inside = [site for site in found if low <= site.block < high and site.part != "router"]
    names = [site.name for site in inside if TARGETS[targets](site)]
    if not names:
        raise UserError(
            f"targets={targets!r} in depth {depth[0]:g}-{depth[1]:g} (blocks {low} to {high - 1} of {lm.n_layers})"
            f" holds none of the {len(found)} weights found. Widen the depth or choose other targets."
        )
    return names
