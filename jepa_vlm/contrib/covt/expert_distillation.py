"""The term of CoVT: it distils experts into the states at their tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor, nn

from jepa_vlm.contrib.covt.expert import Expert
from jepa_vlm.contrib.covt.padded_conversation import PaddedConversation
from jepa_vlm.errors import DataError
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, ExtraInputs, Shuffled, Term, TermValue, zero_through
from jepa_vlm.trajectories import LazyImage, Trajectory
from jepa_vlm.typing import at_least_float32
from jepa_vlm.views import Request

AT, OTHER, OTHER_AT = "at.", "other.", "other.at."  # no expert's name has a point


@final
class ExpertDistillation(Term):
    """Sum over experts of weight x loss(head(states at the expert's tokens), the expert's output for the image).

    The states are read at the expert tokens themselves, not one position before. The sum is divided by the number of
    examples, with or without expert tokens; an example without the tokens of an expert adds nothing for it. Experts
    see the first image of an example.

    Args:
        view: The conversation with the expert tokens. The same view in ``NextToken`` trains the model to write them.
        experts: One expert for each kind of token in the view, in the same order; or the name of another
            ``ExpertDistillation`` of the same objective, whose experts and heads this term shares.

    Raises:
        ValueError: If view and experts do not agree, or two experts have one name. Shared experts are checked when
            the objective is set up.

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
        self._lent: tuple[nn.ModuleDict, ...] = ()  # in a tuple, so that only the lender trains and saves it
        if not self.lender:
            self._check()

    def bind(self, terms: Mapping[str, Term]) -> None:
        """See ``Term.bind``: look up the experts of the other term."""
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
        """See ``Term.setup``. The term that lends its experts also sets them up.

        Raises:
            ValueError: If the other term has no experts to lend, or its experts do not agree with the view.
        """
        self._check()
        for expert in self.experts.values():
            cast("Expert", expert).head.setup(dim, generator)

    def extra_inputs(self) -> ExtraInputs:
        """See ``Term.extra_inputs``: by expert, its inputs and the places of its tokens."""
        return _ExpertInputs(self.view, {expert.name: expert.target.inputs for expert in self._each()})

    def forward(self, states: States) -> TermValue:
        """See ``Term.forward``; the weighted loss of every expert is logged as a part.

        If the batch names another example for an example, every expert's answer is also compared with the other
        example's image (``TermValue.shuffled``).
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
class _ExpertInputs:
    """Makes every expert's inputs from the first images of the examples that have its tokens; picklable.

    Args:
        view: Decides which examples have which experts' tokens.
        readers: The function that reads an image, by expert, in the order of the view.
    """

    view: PaddedConversation
    readers: Mapping[str, Callable[[LazyImage], Tensor]]

    def __call__(
        self, trajectories: Sequence[Trajectory], others: Sequence[Trajectory | None] = ()
    ) -> dict[str, Tensor]:
        """Return each expert's inputs ("n ...") and the places of its tokens in the region ("n pads").

        An expert without any example is missing. For the examples that have another example named in ``others``, the
        result also holds the inputs of those others ("m ..."), and the numbers of their examples among the n.
        """
        chosen = [self.view.chosen(trajectory.id) for trajectory in trajectories]
        found: dict[str, Tensor] = {}
        for number, (name, read) in enumerate(self.readers.items()):
            asked = [trajectory for trajectory, own in zip(trajectories, chosen, strict=True) if number in own]
            if asked:
                found[name] = torch.stack([_read(read, trajectory) for trajectory in asked])
                found[AT + name] = torch.tensor(self._places(chosen, number))
            named = others or [None] * len(chosen)
            compared = [other for other, own in zip(named, chosen, strict=True) if number in own]
            at = [place for place, other in enumerate(compared) if other is not None]
            if at:
                found[OTHER + name] = torch.stack([_read(read, other) for other in compared if other is not None])
                found[OTHER_AT + name] = torch.tensor(at)
        return found

    def _places(self, chosen: Sequence[Sequence[int]], expert: int) -> list[list[int]]:
        """Return the places of an expert's tokens among all expert tokens of the examples, in order."""
        places, at = [], 0
        for own in chosen:
            for number in own:
                end = at + self.view.pads[number].count
                if number == expert:
                    places.append(list(range(at, end)))
                at = end
        return places

    def check(self, trajectory: Trajectory) -> None:
        """Check nothing: whether an expert can read an image is known only when the image is opened."""


def _read(read: Callable[[LazyImage], Tensor], trajectory: Trajectory) -> Tensor:
    try:
        return read(trajectory.images[0])
    except DataError as err:
        raise err.at(f"Trajectory {trajectory.id!r}") from None
