"""What transformers is told."""

from __future__ import annotations

from transformers import TrainingArguments

from jepa_vlm.training import TrainSettings


def test_one_process_takes_one_device(tmp_path, monkeypatch):
    stock = TrainingArguments.__post_init__

    def sees_four(self):
        stock(self)
        self._n_gpu = 4

    monkeypatch.setattr(TrainingArguments, "__post_init__", sees_four)
    arguments = TrainSettings(folder=tmp_path, steps=1, batch_size=2).arguments()
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 2
