"""The watchers of a run, each with a run that gives it something to see."""

from __future__ import annotations

import io
import os
import signal

import pytest
import torch
from rich.console import Console
from transformers import TrainerCallback

import jepa_vlm as jv
from jepa_vlm.errors import RunError
from jepa_vlm.states import States
from jepa_vlm.terms import Denominator, Term, TermValue
from jepa_vlm.training.callbacks import Progress
from jepa_vlm.training.metrics import read_metrics
from jepa_vlm.training.signals import StopRequest, StopWhenAsked
from jepa_vlm.training.term_schedule import LossDropout
from tests.training.setting import small_model, small_trainer, trained


class Knob(Term):
    """A term with one parameter, whose value the test decides."""

    name = "knob"

    def __init__(self, mode):
        super().__init__()
        self.mode, self.calls = mode, 0

    def requests(self):
        return ()

    def denominator(self):
        return Denominator("examples")

    def setup(self, dim, generator):
        self.turn = torch.nn.Parameter(torch.ones(3))

    def forward(self, states: States) -> TermValue:
        self.calls += 1
        if self.mode == "detached":
            return TermValue(self.turn.detach().sum() + 0 * self.turn.sum())
        if self.mode == "nan at the third" and self.training and self.calls >= 3:
            return TermValue(self.turn.sum() * float("nan"))
        if self.mode == "infinite gradient" and self.training:
            return TermValue((self.turn - 1).sqrt().sum())
        return TermValue(self.turn.square().sum())


def trainer_with(mode, folder, **changed):
    return small_trainer(small_model(objective=jv.NextToken() + Knob(mode)), folder, **changed)


def test_a_healthy_run_passes_the_checks(tmp_path):
    trainer_with("healthy", tmp_path).train()


def test_a_tensor_without_gradient_is_named_although_weight_decay_moves_it(tmp_path):
    with pytest.raises(RunError, match=r"received no gradient by update 2: objective\.terms\.knob\.turn"):
        trainer_with("detached", tmp_path, weight_decay=0.5).train()


def test_steps_that_leave_a_term_out_are_not_judged(tmp_path):
    objective = jv.NextToken() + Knob("detached")
    objective.terms["knob"].loss_dropout = 0.75
    with pytest.raises(RunError, match=r"received no gradient by update 2: objective\.terms\.knob\.turn"):
        small_trainer(small_model(objective=objective), tmp_path, steps=12, validate_every=12).train()
    last = read_metrics(tmp_path / "metrics.jsonl")[-1]["step"]
    judged = [step for step in range(1, 13) if not LossDropout({"knob": 0.75}, 0).skipped(step)]
    assert last == judged[1]  # the rate of step 0 is zero; the step that is refused writes no row
    assert last > 2


@pytest.mark.parametrize("name", ["inputs", "layers.2.self_attn.q_proj.lora_A"])
def test_a_frozen_tensor_is_named(tmp_path, name):
    model = small_model()
    (frozen,) = [p for full, p in model.named_parameters() if name in full]
    frozen.requires_grad_(False)
    with pytest.raises(RunError, match=rf"1 tensors .* are frozen: .*{name}"):
        small_trainer(model, tmp_path).train()


def test_an_adapter_that_is_off_is_seen(tmp_path):
    model = small_model()
    model.backbone.model.base_model.disable_adapter_layers()
    with pytest.raises(RunError, match="turn the adapter on"):
        small_trainer(model, tmp_path).train()


def test_updates_that_vanish_are_named(tmp_path):
    trainer = trainer_with("healthy", tmp_path, steps=6, validate_every=6, weight_decay=0.0)
    trainer.model.objective.terms["knob"].turn.data.fill_(3e5)  # a float32 of this size does not notice 1e-3
    with pytest.raises(RunError, match=r"have not moved.*knob\.turn"):
        make_blind(trainer).train()


def make_blind(trainer):
    """Let the check believe in a learning rate that the optimiser does not have."""
    reach = next(c for c in trainer.callback_handler.callbacks if type(c).__name__ == "GradientsReach")
    reach._rates = {name: 1.0 for name, _ in trainer.model.named_parameters()}
    return trainer


def test_a_small_learning_rate_alone_is_no_alarm(tmp_path):
    trainer = trainer_with("healthy", tmp_path, steps=6, validate_every=6, learning_rate=1e-9, warmup=0.0)
    trainer.model.objective.terms["knob"].turn.data.fill_(3e4)
    trainer.train()


def test_a_loss_that_is_not_finite_names_term_and_examples_and_spares_the_weights(tmp_path):
    trainer = trainer_with("nan at the third", tmp_path, steps=6, validate_every=1, accumulation=1, warmup=0.0)
    kept = {}

    class Keep(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            kept.update(trained(model))

    trainer.add_callback(Keep())
    with pytest.raises(RunError, match=r"'knob' is not finite at step \d.*visual-search-train-0-\d") as error:
        trainer.train()
    assert "checkpoints saved before it are good" in str(error.value)
    now = trained(trainer.model)
    assert all(torch.equal(value, now[name]) for name, value in kept.items())


def test_a_gradient_that_is_not_finite_names_its_tensor(tmp_path):
    with pytest.raises(RunError, match=r"gradients are not, of objective\.terms\.knob\.turn"):
        trainer_with("infinite gradient", tmp_path).train()


class Signal(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_finishes_the_step_saves_and_stops(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as request:
        trainer = small_trainer(small_model(), tmp_path, steps=5, validate_every=5, callbacks=[Signal()])
        trainer.add_callback(StopWhenAsked(request=request))
        trainer.train()
        assert request.asked
    assert trainer.state.global_step == 2
    assert (tmp_path / "checkpoints/checkpoint-2/trainer_state.json").is_file()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def _interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_the_second_signal_acts_as_it_always_does():
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_average_follows_each_step(tmp_path):
    prediction = jv.LatentPrediction(
        context=jv.ViewEncoder(jv.views.Question(), readout="last_token"),
        predictor=jv.IdentityPredictor(),
        target=jv.ViewEncoder(jv.views.TrajectoryOnly(), readout="last_token", policy=jv.ema(0.5)),
        loss=jv.CosineLoss(),
    )
    model = small_model(objective=jv.NextToken() + prediction)
    start = [b.clone() for b in model.target_weights.buffers()]
    small_trainer(model, tmp_path, steps=1, validate_every=1, warmup=0.0).train()
    now = [p for name, p in model.backbone.base.named_parameters() if ".lora_" in name]
    for average, old, new in zip(model.target_weights.buffers(), start, now, strict=True):
        torch.testing.assert_close(average, 0.5 * old + 0.5 * new.detach())


def test_a_stage_may_begin_with_a_new_optimiser(tmp_path):
    """AdamW counts its steps from the first after it was made: 1, 2 in a stage, and 1 again in one that asks for it."""
    counted = []

    class Count(TrainerCallback):
        def on_step_end(self, args, state, control, optimizer=None, **kwargs):
            counted.append({int(held["step"]) for held in optimizer.state.values()})

    parts = [("kept", 0.25), ("kept", 0.25), ("new", 0.5)]
    stages = tuple(jv.Stage(name=name, share=share, terms=("next_token",), optimizer=name) for name, share in parts)
    model = small_model(objective=jv.NextToken())
    small_trainer(model, tmp_path, steps=4, validate_every=3, stages=stages, callbacks=[Count()]).train()
    assert counted == [{1}, {2}, {1}, {2}]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_the_terms(tmp_path, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    small_trainer(small_model(), tmp_path, callbacks=[Progress(console=console)]).train()
    shown = console.file.getvalue()
    assert "held-out" in shown
    assert "latent_prediction" in shown
