"""Distil experts into the states at their pads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast, final

import torch
from einops import rearrange
from torch import Tensor, nn

from jepa_vlm.encoders import States
from jepa_vlm.errors import DataError
from jepa_vlm.experts.expert import Expert
from jepa_vlm.serialization import Beside
from jepa_vlm.terms import Term, TermValue, Unit
from jepa_vlm.trajectories import LazyImage, Trajectory
from jepa_vlm.typing import at_least_float32
from jepa_vlm.views import PaddedConversation, ViewRequest


@final
class ExpertDistillation(Term):
    """Sum over experts of weight x loss(head(states at the expert's pads), what the expert knows of the image).

    A state is read at the pad itself, not one before it: the pad is an input like any token, and its state answers.
    Divided by the number of examples. An example's first image is the one that is asked about.

    Args:
        view: Where the pads stand; give the same to ``NextToken``, which trains the model to write them.
        experts: One for each kind of the view's pads, in their order.

    Raises:
        ValueError: If view and experts do not agree, or two experts have one name.

    References:
        CoVT, Wakals/CoVT@80a28bf, covt_qwen2_5_vl.py; see docs/method.md.
    """

    name = "expert_distillation"

    def __init__(self, *, view: PaddedConversation, experts: Sequence[Expert]) -> None:
        super().__init__()
        if not isinstance(view, PaddedConversation) or any(not isinstance(expert, Expert) for expert in experts):
            raise ValueError(f"view must be a PaddedConversation and experts Experts, got {view!r} and {experts!r}.")
        asked, placed = ([(p.token, p.count) for p in pads] for pads in ([e.pads for e in experts], view.pads))
        if asked != placed:
            raise ValueError(f"The view's pads must be the experts', in order; got {placed} for {asked}.")
        if len({expert.name for expert in experts}) < len(experts):
            raise ValueError(f"Experts need different names, got {', '.join(expert.name for expert in experts)}.")
        self.view = view
        self.experts = nn.ModuleDict({expert.name: expert for expert in experts})

    @property
    def _request(self) -> ViewRequest:
        return ViewRequest(view=self.view, region="pads")

    def requests(self) -> tuple[ViewRequest, ...]:
        """See ``Term.requests``."""
        return (self._request,)

    def unit(self) -> Unit:
        """See ``Term.unit``."""
        return Unit("examples")

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``Term.setup``."""
        for expert in self._each():
            expert.head.setup(dim, generator)

    def beside(self) -> Beside:
        """See ``Term.beside``: by expert, what it reads of each example's image."""
        return _Looks({expert.name: expert.target.inputs for expert in self._each()})

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``; every expert's weighted part is logged."""
        at_pads = rearrange(
            states.regions[self._request].hidden, "(batch pads) dim -> batch pads dim", pads=self.view.count
        )
        ends = accumulate(pads.count for pads in self.view.pads)
        parts = {}
        for expert, end in zip(self._each(), ends, strict=True):
            own = at_pads[:, end - expert.pads.count : end]
            (each,) = at_least_float32(expert(own, states.beside[self.name][expert.name]))
            parts[expert.name] = expert.weight * each
        each = torch.stack(list(parts.values())).sum(dim=0)
        sums = {name: part.detach().sum() for name, part in parts.items()}
        return TermValue(each.sum(), parts=sums, each=each.detach())

    def extra_repr(self) -> str:
        """Show the view."""
        return f"view={self.view}"

    def _each(self) -> list[Expert]:
        return [cast("Expert", expert) for expert in self.experts.values()]


@final
@dataclass(frozen=True)
class _Looks:
    """Reads the first image of each example for every expert; picklable, so that a collator can carry it."""

    readers: Mapping[str, Callable[[LazyImage], Tensor]]

    def __call__(self, trajectories: Sequence[Trajectory]) -> dict[str, Tensor]:
        """Return the inputs of each expert ("batch ...")."""
        looks = [self._look(trajectory) for trajectory in trajectories]
        return {name: torch.stack([look[name] for look in looks]) for name in self.readers}

    def check(self, trajectory: Trajectory) -> None:
        """Check nothing: what an expert reads is known once the image is opened."""

    def _look(self, trajectory: Trajectory) -> dict[str, Tensor]:
        try:
            return {name: read(trajectory.images[0]) for name, read in self.readers.items()}
        except DataError as err:
            raise err.at(f"Trajectory {trajectory.id!r}") from None
