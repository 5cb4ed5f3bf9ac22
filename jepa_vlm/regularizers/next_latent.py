"""The next-latent regularizer: predict the next states from the current one."""

from __future__ import annotations

from typing import Literal, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa_vlm.regularizers.head_divergence import head_divergence
from jepa_vlm.regularizers.regularizer import Regularizer
from jepa_vlm.states import Head, RegionStates, States
from jepa_vlm.terms import Denominator, TermValue, zero_through
from jepa_vlm.typing import Hidden, at_least_float32, shape_checked
from jepa_vlm.views import Conversation, Request, View


@final
class LatentDynamics(nn.Module):
    """h_hat_{t+1} = h_t + f(LayerNorm([h_t ; e(x_{t+1})])), f a 3-layer GELU MLP of width ``dim`` (NextLat, equation
    9).

    Args:
        dim: Hidden size of the decoder.
        condition: ``token`` gives f the input embedding of the next token; ``none`` does not (Pearl's wording).
        generator: Random generator of the weights.
    """

    def __init__(self, *, dim: int, condition: Literal["token", "none"], generator: torch.Generator) -> None:
        super().__init__()
        self.condition = condition
        width = 2 * dim if condition == "token" else dim
        self.norm = nn.LayerNorm(width)
        # skip_init: torch would draw the weights first, from the global generator, which the run uses.
        self.first, self.second, self.third = (
            cast("nn.Linear", nn.utils.skip_init(nn.Linear, inputs, dim)) for inputs in (width, dim, dim)
        )
        with torch.no_grad():
            for layer in (self.first, self.second, self.third):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
                nn.init.zeros_(layer.bias)

    @shape_checked
    def forward(self, state: Hidden, following: Hidden) -> Hidden:
        """Return the predicted next state of each row, given the decoder's next input embedding."""
        dtype = self.first.weight.dtype
        state = state.to(dtype)
        fed = torch.cat([state, following.to(dtype)], dim=-1) if self.condition == "token" else state
        change: Tensor = self.third(F.gelu(self.second(F.gelu(self.first(self.norm(fed))))))
        return state + change


@final
class NextLatentRegularizer(Regularizer):
    """L_next: from each state, roll ``horizon`` steps ahead and compare with the detached states (paper, section 3.5).

    The mean over valid pairs (t, i) of SmoothL1, averaged over ``dim``, in at least float32. Tokens are teacher-forced;
    each prediction is the input of the next step. Gradient flows into the starting state and the head, not into the
    targets.

    Args:
        horizon: Number of steps to predict.
        condition: Input of the head besides the state: the input embedding of the next ``token`` (NextLat; vision
            features at image positions) or ``none`` (Pearl's literal wording).
        positions: ``trajectory``: T's tokens, images included; t and t+i both in T. ``supervised``: pairs whose target
            token is supervised (the released code). ``all``: the whole view (NextLat).
        view: ``Conversation()`` (as the released code) or ``TrajectoryOnly()`` (the paper's other reading; the
            trajectory view then needs gradient).
        beta: ``beta`` of SmoothL1.
        state_weight: Weight of the state term.
        kl_weight: Weight of KL(p(.|h_{t+i}) || p(.|h_hat_{t+i})) under the frozen head (NextLat, equation 4). The
            released code's cross-entropy in its place is off by one position and is not offered.
        chunk: Rows whose logits are held at once, with ``kl_weight``.

    Raises:
        ValueError: If an argument is out of range, or the view has no trajectory.

    References:
        NextLat, https://arxiv.org/abs/2511.05963. Pearl, https://arxiv.org/abs/2604.08065.
    """

    name = "next_latent"

    def __init__(
        self,
        *,
        horizon: int = 1,
        condition: Literal["token", "none"] = "token",
        positions: str = "trajectory",
        view: View | None = None,
        beta: float = 1.0,
        state_weight: float = 1.0,
        kl_weight: float = 0.0,
        chunk: int = 1024,
    ) -> None:
        super().__init__()
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}.")
        if condition not in ("token", "none"):
            raise ValueError(f"condition must be 'token' or 'none', got {condition!r}.")
        if beta <= 0:
            raise ValueError(f"beta must be positive, got {beta}.")
        if state_weight < 0 or kl_weight < 0 or state_weight + kl_weight == 0:
            raise ValueError(f"Weights must not be negative, and not both 0; got {state_weight=}, {kl_weight=}.")
        if positions not in ("trajectory", "supervised", "all"):
            raise ValueError(f"positions must be 'trajectory', 'supervised' or 'all'; got {positions!r}.")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}.")
        if view is not None and not view.has_trajectory:
            raise ValueError("The question view holds no trajectory; use Conversation() or TrajectoryOnly().")
        self.horizon, self.beta, self.positions, self.chunk = horizon, beta, positions, chunk
        self.condition: Literal["token", "none"] = condition
        self.view, self.state_weight, self.kl_weight = view or Conversation(), state_weight, kl_weight
        # The rollout of the supervised form starts at tokens that need not be supervised themselves.
        self.request = Request(self.view, "all" if positions == "supervised" else positions)

    def requests(self) -> tuple[Request, ...]:
        """See ``Term.requests``."""
        return (self.request,)

    def denominator(self) -> Denominator:
        """See ``Term.denominator``."""
        return Denominator("pairs", self.request, self.horizon, supervised=self.positions == "supervised")

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``Term.setup``."""
        self.head = LatentDynamics(dim=dim, condition=self.condition, generator=generator)

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``."""
        region = states.regions[self.request]
        if region.inputs is None:
            raise RuntimeError("The region was read without its inputs.")
        targets, carry = region.hidden.detach(), region.hidden
        state_sum = kl_sum = carry.new_zeros((), dtype=torch.promote_types(carry.dtype, torch.float32))
        each = state_sum.new_zeros(len(targets))
        for ahead in range(1, min(self.horizon, len(targets) - 1) + 1):
            valid = self._valid(region, ahead)
            # Recomputed in the backward pass: of each step only the carried states are kept.
            rows = (carry[:-1], region.inputs[ahead:], targets[ahead:], valid)
            carry, state, divergence = checkpoint(
                self._step, *rows, states.head, use_reentrant=False, preserve_rng_state=False
            )
            state_sum, kl_sum = state_sum + state.sum(), kl_sum + divergence.sum()
            each[: len(state)] += (self.state_weight * state + self.kl_weight * divergence).detach()
        parts = {"state": self.state_weight * state_sum, "kl": self.kl_weight * kl_sum}
        total = parts["state"] + parts["kl"] + 0.0 * carry.sum() + zero_through(self.head)
        parts = {name: part.detach() for name, part in parts.items()} if self.kl_weight else {}
        return TermValue(total, parts=parts, each=each, document=region.document)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return (
            f"horizon={self.horizon}, condition={self.condition!r}, positions={self.positions!r}, view={self.view}, "
            f"beta={self.beta}, state_weight={self.state_weight}, kl_weight={self.kl_weight}"
        )

    def _valid(self, region: RegionStates, ahead: int) -> Tensor:
        same = region.document[:-ahead] == region.document[ahead:]
        return same & (region.labels[ahead:] != -100) if self.positions == "supervised" else same

    def _step(
        self, carry: Tensor, following: Tensor, target: Tensor, valid: Tensor, head: Head
    ) -> tuple[Tensor, Tensor, Tensor]:
        carry = self.head(carry, following)
        wide, goal = at_least_float32(carry, target)
        keep = valid.to(wide.dtype)
        state = F.smooth_l1_loss(wide, goal, beta=self.beta, reduction="none").mean(dim=-1) * keep
        if not self.kl_weight:
            return carry, state, torch.zeros_like(state)
        return carry, state, head_divergence(goal, wide, head, chunk=self.chunk) * keep
