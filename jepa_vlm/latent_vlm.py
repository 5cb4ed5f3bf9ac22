"""A backbone, an objective and an engine behind one ``forward``."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from jepa_vlm.adapters import Backbone
from jepa_vlm.engine import Batch, Collator, Engine, OnePass, Read, Separate, TargetWeights
from jepa_vlm.engine.batch import SequenceStates, Sources
from jepa_vlm.serialization import Serializer
from jepa_vlm.serialization.target_store import target_stores
from jepa_vlm.states import Head, RegionStates, States
from jepa_vlm.terms import Objective, Shuffled, Term
from jepa_vlm.trajectories import Trajectory
from jepa_vlm.typing import Latent, PerSource, Scalar
from jepa_vlm.views import IGNORED, Request, TokenizedView

Normalisers = Mapping[str, float | Tensor]
ENGINES: dict[str, Engine] = {engine.name: engine for engine in (OnePass(), Separate())}


@final
@dataclass(frozen=True)
class LossTerms:
    """What one micro-batch adds to the loss.

    Args:
        total: The sum of ``weighted``: what is back-propagated.
        weighted: By term: its weight times ``raw``.
        raw: By term: its sum divided by its normaliser.
        sums: By term: its sum, detached.
        counts: By term: its units in this micro-batch.
        latents: By prediction term: (predicted, target), detached.
        documents: By prediction term with several latents of an example: which example each is of.
        parts: By "term/part": the detached parts that make up a term's ``raw``, where it has several.
        skipped: Terms that the batch leaves out by loss dropout; their values and counts are 0.
        by_source: Of a mixture's batch, by term: the detached sum of each source's examples. Terms that are no sums
            over examples are missing.
        shuffled: By "term/part": what another example's target costs (``TermValue.shuffled``).
    """

    total: Scalar
    weighted: dict[str, Scalar]
    raw: dict[str, Scalar]
    sums: dict[str, Scalar]
    counts: dict[str, int]
    latents: dict[str, tuple[Latent, Latent]] = field(default_factory=dict)
    documents: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, Scalar] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    by_source: dict[str, PerSource] = field(default_factory=dict)
    shuffled: dict[str, Shuffled] = field(default_factory=dict)


@final
class LatentVLM(nn.Module):
    """Runs an objective on a backbone.

    Args:
        backbone: The model, LoRA already on if it is to be trained so. Shared, not copied.
        objective: What to compute; copied and set up, so that one objective serves many seeds. A single term will do.
        engine: ``OnePass()`` computes each token once; ``Separate()`` is the slow, obvious reference with the same
            results. The names ``"one_pass"`` and ``"separate"`` will do.
        seed: Random seed of the objective's own parameters.

    Raises:
        ValueError: If the engine is unknown, loss dropout would leave a step without any term, or two cached targets
            have one folder.
        BackboneError: If a target policy needs LoRA and there is none, or the family cannot run the engine.
    """

    accepts_loss_kwargs = False

    def __init__(
        self, backbone: Backbone, objective: Objective | Term, *, engine: Engine | str = "one_pass", seed: int = 0
    ) -> None:
        super().__init__()
        if not isinstance(engine, Engine) and engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}.")
        self.engine = engine if isinstance(engine, Engine) else ENGINES[engine]
        self.engine.check(backbone)
        whole = objective if isinstance(objective, Objective) else 1.0 * objective
        if all(term.loss_dropout for _, term in whole.parts()):
            raise ValueError("One term at least must have no loss dropout, or some steps have nothing to compute.")
        self.backbone, self.model = backbone, backbone.model
        self.objective = copy.deepcopy(whole)
        self.objective.setup(backbone.dim, torch.Generator().manual_seed(seed))
        self.objective.to(device=self.device, dtype=torch.promote_types(backbone.dtype, torch.float32))
        requests = self.objective.requests()
        self.target_stores = target_stores(backbone, requests)
        self.target_weights = TargetWeights(
            backbone=backbone, policies=[request.policy for request in requests if request not in self.target_stores]
        )
        self._prepare()

    @property
    def device(self) -> torch.device:
        """Where the backbone is."""
        return next(self.backbone.base.parameters()).device

    def collator(self) -> Collator:
        """Return what makes batches for this model. Picklable; it holds no weights."""
        dropout = any(isinstance(m, nn.Dropout) and m.p > 0 for m in self.backbone.base.modules())
        dropout |= getattr(self.backbone.base.config.get_text_config(), "attention_dropout", 0.0) > 0
        return Collator(
            serializer=self._serializer(),
            requests={term.name: term.requests() for _, term in self.objective.parts()},
            planner=functools.partial(self.engine.planner, dropout=dropout),
            denominators=self.objective.denominators(),
            stores=self.target_stores,
            extra_inputs=self.objective.extra_inputs(),
        )

    def serialize(self, trajectory: Trajectory) -> dict[str, TokenizedView]:
        """Return the tokens of every view that the objective reads, by view name; a second of a name is numbered.

        Labels stand only in views whose tokens a term trains; a target view, say, has none. What a text encoder of its
        own reads is no view of this tokenizer and not among them.
        """
        requests = self.objective.requests()
        trained = {request.encoding for request in requests if request.at == "supervised"}
        encodings = tuple(dict.fromkeys(request.encoding for request in requests))
        views = self._serializer().views(trajectory, encodings)
        named: dict[str, TokenizedView] = {}
        for encoding, view in zip(encodings, views, strict=True):
            name, number = encoding.view.name, 1
            while name in named:
                number += 1
                name = f"{encoding.view.name}-{number}"
            named[name] = view if encoding in trained else replace(view, labels=torch.full_like(view.labels, IGNORED))
        return named

    def forward(self, batch: Batch, normalisers: Normalisers | None = None) -> LossTerms:
        """Return the objective's terms on a batch, computed in ``backbone.precision()``.

        Args:
            batch: From ``collator()``.
            normalisers: By term: what its sum is divided by. Give the counts of the whole accumulated global batch, so
                that the result does not depend on how it was split; the default is this micro-batch's own counts.

        Raises:
            ValueError: If a term has no normaliser.
        """
        if normalisers is not None and (missing := sorted(set(self.objective.weights) - set(normalisers))):
            raise ValueError(f"Every term needs a normaliser; missing: {', '.join(missing)}.")
        with self.backbone.precision():
            return self._terms(batch, normalisers)

    def _terms(self, batch: Batch, normalisers: Normalisers | None) -> LossTerms:
        states, skipped, sources = self._states(batch), batch.skipped, batch.sources
        states = states if sources is None else replace(states, by_example=True)
        raw, weighted, sums, latents, documents, parts, by_source, shuffled = {}, {}, {}, {}, {}, {}, {}, {}
        counts: dict[str, int] = dict(batch.counts)
        for weight, term in self.objective.parts():
            value = term.skipped(states.head.weight) if term.name in skipped else term(states)
            divisor = counts[term.name] if normalisers is None else normalisers[term.name]
            divisor = _not_zero(divisor)
            raw[term.name] = value.total / divisor
            weighted[term.name] = weight * raw[term.name]
            sums[term.name] = value.total.detach()
            if value.predicted is not None and value.target is not None:
                latents[term.name] = (value.predicted, value.target)
                if value.document is not None:
                    documents[term.name] = value.document
            parts.update({f"{term.name}/{name}": part.detach() / divisor for name, part in value.parts.items()})
            shuffled.update({f"{term.name}/{name}": found for name, found in value.shuffled.items()})
            if sources is not None and value.each is not None:
                by_source[term.name] = _by_source(value.each, value.document, sources)
        total = torch.stack(list(weighted.values())).sum()
        return LossTerms(total, weighted, raw, sums, counts, latents, documents, parts, skipped, by_source, shuffled)

    def run_ahead(self, batches: Sequence[Batch]) -> list[Batch]:
        """Compute the sequences without gradient of an accumulation window's batches as one, before the first's turn.

        Exact, as the weights do not change inside a window; return the batches with what was found. Hand over batches
        that no update of the weights divides, and forget what comes back once there was one. Nothing is done ahead by
        the engine ``separate``, with a vision tower that trains, or where fewer than two batches have such a row.
        """
        self._prepare()
        with self.backbone.precision():
            return self.engine.run_ahead(self.backbone, self.target_weights, batches, self.objective.slot_inputs())

    def after_optimizer_step(self) -> None:
        """Move the average of the adapter's weights, if a target uses one. Call after each optimiser step."""
        self.target_weights.update()

    # What accelerate and transformers.Trainer ask of a model.

    @property
    def config(self) -> Any:
        """The backbone's configuration."""
        return self.backbone.base.config

    @property
    def _no_split_modules(self) -> Any:
        return self.backbone.base._no_split_modules

    @property
    def is_activation_checkpointing(self) -> bool:
        """Whether the decoder recomputes its activations in the backward pass."""
        return bool(self.backbone.base.is_activation_checkpointing)

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Recompute the decoder's activations in the backward pass instead of holding them."""
        self.backbone.base.activation_checkpointing_enable(**kwargs)
        # transformers hooks the inputs of every part, a frozen vision tower included, which would then be
        # back-propagated.
        self.backbone.base.disable_input_require_grads()

    def activation_checkpointing_disable(self) -> None:
        """Hold the activations again."""
        self.backbone.base.activation_checkpointing_disable()

    def _serializer(self) -> Serializer:
        return Serializer(processor=self.backbone.processor, adapter=self.backbone.adapter)

    def _prepare(self) -> None:
        """Set the engine's attention: at once, for evaluation, and before each forward, as engines share backbones."""
        self.engine.prepare(self.backbone)

    def _states(self, batch: Batch) -> States:
        self._prepare()
        rows = self.engine.run(self.backbone, self.target_weights, batch, self.objective.slot_inputs())
        known = {} if batch.ahead is None else batch.ahead.read
        latents: dict[Request, Tensor] = {}
        regions: dict[Request, RegionStates] = {}
        for request in self.objective.requests(batch.skipped):
            read = batch.reads[request]
            if read.latent is not None:
                latents[request] = read.latent
                continue
            picked = known[request] if request in known else rows[read.sequence].at(read.index)
            if request.reads_one:
                latents[request] = _latent(picked.hidden, read)
            else:
                regions[request] = _region(request, picked, read, rows)
        head = self.backbone.base.get_output_embeddings()
        weights = Head(head.weight, getattr(head, "bias", None))
        return States(latents, regions, weights, extra=batch.extra)


def _region(request: Request, picked: SequenceStates, read: Read, rows: Mapping[str, SequenceStates]) -> RegionStates:
    if read.labels is None or read.document is None:
        raise RuntimeError(f"{request} was read without labels.")
    inputs = None if request.at == "supervised" else picked.inputs
    targets = None
    if read.slots is not None and request.view.has_targets:
        targets = rows[read.sequence].targets_at(read.slots).detach()
    return RegionStates(picked.hidden, read.labels, read.document, inputs, targets)


def _latent(picked: Tensor, read: Read) -> Latent:
    if read.document is None or read.size is None:
        return picked
    wide = picked.to(torch.promote_types(picked.dtype, torch.float32))
    sums = wide.new_zeros(len(read.size), wide.shape[1]).index_add(0, read.document, wide)
    return sums / read.size[:, None].to(wide.dtype)


def _by_source(each: Tensor, document: Tensor | None, sources: Sources) -> PerSource:
    """Add up summands by the source of their example."""
    of = sources.of if document is None else sources.of[document]
    wide = each.to(torch.promote_types(each.dtype, torch.float32))
    return wide.new_zeros(len(sources.denominators)).index_add(0, of, wide)


def _not_zero(divisor: float | Tensor) -> float | Tensor:
    """An empty sum is 0; divide it by 1 so that it stays 0. A divisor below 1 is meant: units over many processes."""
    return divisor + (divisor == 0)
