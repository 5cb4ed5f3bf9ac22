"""Distil experts into the states at their pads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor, nn

from jepa_vlm.errors import DataError
from jepa_vlm.experts.expert import Expert
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, ExtraInputs, Shuffled, Term, TermValue, zero_through
from jepa_vlm.trajectories import LazyImage, Trajectory
from jepa_vlm.typing import at_least_float32
from jepa_vlm.views import PaddedConversation, Request

AT, OTHER, OTHER_AT = "at.", "other.", "other.at."  # no expert's name has a point


@final
class ExpertDistillation(Term):
    """Sum over experts of weight x loss(head(states at the expert's pads), what the expert knows of the image).

    A state is read at the pad itself, not one before it: the pad is an input like any token, and its state answers.
    Divided by the number of examples, whichever pads they have; an example without an expert's pads adds nothing for
    it. An example's first image is the one that is asked about.

    Args:
        view: Where the pads stand; give the same to ``NextToken``, which trains the model to write them.
        experts: One for each kind of the view's pads, in their order; or the name of another ``ExpertDistillation`` of
            the same objective, whose experts are used here too, heads and all.

    Raises:
        ValueError: If view and experts do not agree, or two experts have one name. Of borrowed ones this is known, and
            checked, once the objective is set up.

    References:
        CoVT, Wakals/CoVT@80a28bf, covt_qwen2_5_vl.py; see docs/method.md.
    """

    name = "expert_distillation"

    def __init__(self, *, view: PaddedConversation, experts: Sequence[Expert] | str) -> None:
        super().__init__()
        own = () if isinstance(experts, str) else experts
        if not isinstance(view, PaddedConversation) or any(not isinstance(expert, Expert) for expert in own):
            raise ValueError(f"view must be a PaddedConversation and experts Experts, got {view!r} and {experts!r}.")
        if len({expert.name for expert in own}) < len(own):
            raise ValueError(f"Experts need different names, got {', '.join(expert.name for expert in own)}.")
        self.view, self.lender = view, experts if isinstance(experts, str) else ""
        self.experts = nn.ModuleDict({expert.name: expert for expert in own})
        self._lent: tuple[nn.ModuleDict, ...] = ()  # in a tuple, so that it is the lender's alone to train and save
        if not self.lender:
            self._check()

    def bind(self, terms: Mapping[str, Term]) -> None:
        """See ``Term.bind``: another term's experts."""
        if self.lender:
            found = terms.get(self.lender)
            self._lent = (found.experts,) if isinstance(found, ExpertDistillation) and not found.lender else ()

    @property
    def _request(self) -> Request:
        return Request(view=self.view, at="pads")

    def requests(self) -> tuple[Request, ...]:
        """See ``Term.requests``."""
        return (self._request,)

    def denominator(self) -> Denominator:
        """See ``Term.denominator``."""
        return Denominator("examples")

    def setup(self, dim: int, generator: torch.Generator) -> None:
        """See ``Term.setup``. Borrowed experts are set up by the term that lends them.

        Raises:
            ValueError: If experts are to be borrowed of a term that has none, or do not agree with the view.
        """
        self._check()
        for expert in self.experts.values():
            cast("Expert", expert).head.setup(dim, generator)

    def extra_inputs(self) -> ExtraInputs:
        """See ``Term.extra_inputs``: by expert, its inputs and where its pads are."""
        return _Looks(self.view, {expert.name: expert.target.inputs for expert in self._each()})

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``; every expert's weighted part is logged.

        Where the batch names another example for one, every expert is also asked about that one's image
        (``TermValue.shuffled``).
        """
        region, extra = states.regions[self._request], states.extra[self.name]
        (nothing,) = at_least_float32(region.hidden.new_zeros(()))
        parts, shuffled = {}, {}
        summands, document = [], []
        for expert in self._each():
            if expert.name in extra:
                places = extra[AT + expert.name]
                asked = region.hidden[places], extra[expert.name]
                if OTHER + expert.name not in extra:
                    (each,) = at_least_float32(expert(*asked))
                else:
                    at, others = extra[OTHER_AT + expert.name], extra[OTHER + expert.name]
                    each, other = at_least_float32(*expert.against_others(*asked, at, others))
                    matched, mixed = (expert.weight * loss.detach().sum() for loss in (each[at], other))
                    shuffled[expert.name] = Shuffled(matched, mixed, len(at))
                parts[expert.name] = expert.weight * each.sum()
                summands.append(expert.weight * each.detach())
                document.append(region.document[places[:, 0]])
            else:
                parts[expert.name] = nothing + zero_through(expert)
        return TermValue(
            torch.stack(list(parts.values())).sum(),
            parts={name: part.detach() for name, part in parts.items()},
            each=torch.cat(summands) if summands else nothing[None][:0],
            document=torch.cat(document) if document else region.document[:0],
            shuffled=shuffled,
        )

    def extra_repr(self) -> str:
        """Show the view."""
        return f"view={self.view}" + (f", experts={self.lender!r}" if self.lender else "")

    def _each(self) -> list[Expert]:
        if self.lender and not self._lent:
            raise ValueError(
                f"{self.name} borrows the experts of {self.lender!r}, and its objective has no ExpertDistillation of "
                "that name with experts of its own; add both to one objective."
            )
        (experts,) = self._lent or (self.experts,)
        return [cast("Expert", expert) for expert in experts.values()]

    def _check(self) -> None:
        asked = [(expert.pads.token, expert.pads.count) for expert in self._each()]
        placed = [(pads.token, pads.count) for pads in self.view.pads]
        if asked != placed:
            raise ValueError(f"The view's pads must be the experts', in order; got {placed} for {asked}.")


@final
@dataclass(frozen=True)
class _Looks:
    """Reads the first image of examples for every expert whose pads they have; picklable, for a collator to carry.

    Args:
        view: Says which examples have which pads.
        readers: By expert, in the view's order.
    """

    view: PaddedConversation
    readers: Mapping[str, Callable[[LazyImage], Tensor]]

    def __call__(
        self, trajectories: Sequence[Trajectory], others: Sequence[Trajectory | None] = ()
    ) -> dict[str, Tensor]:
        """Return of each expert with an example the inputs ("n ..."), and where in the region its pads are ("n pads").

        An expert of which no example has pads is missing. Of its examples for which another one is named, also the
        inputs of those others ("m ..."), and which of the n they are for.
        """
        chosen = [self.view.chosen(trajectory.id) for trajectory in trajectories]
        found: dict[str, Tensor] = {}
        for number, (name, read) in enumerate(self.readers.items()):
            asked = [trajectory for trajectory, own in zip(trajectories, chosen, strict=True) if number in own]
            if asked:
                found[name] = torch.stack([_look(read, trajectory) for trajectory in asked])
                found[AT + name] = torch.tensor(self._places(chosen, number))
            named = others or [None] * len(chosen)
            compared = [other for other, own in zip(named, chosen, strict=True) if number in own]
            at = [place for place, other in enumerate(compared) if other is not None]
            if at:
                found[OTHER + name] = torch.stack([_look(read, other) for other in compared if other is not None])
                found[OTHER_AT + name] = torch.tensor(at)
        return found

    def _places(self, chosen: Sequence[Sequence[int]], expert: int) -> list[list[int]]:
        """Return where an expert's pads stand among all pads of the examples, one example after another."""
        places, at = [], 0
        for own in chosen:
            for number in own:
                end = at + self.view.pads[number].count
                if number == expert:
                    places.append(list(range(at, end)))
                at = end
        return places

    def check(self, trajectory: Trajectory) -> None:
        """Check nothing: what an expert reads is known once the image is opened."""


def _look(read: Callable[[LazyImage], Tensor], trajectory: Trajectory) -> Tensor:
    try:
        return read(trajectory.images[0])
    except DataError as err:
        raise err.at(f"Trajectory {trajectory.id!r}") from None
