from __future__ import annotations

import platform

import torch

from jepa_vlm.bench.machine import cpu_name, machine


def test_the_processor_is_named(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nmodel name\t: A Processor 3000\n", encoding="utf-8")
    assert cpu_name(listing) == "A Processor 3000"
    assert cpu_name(tmp_path / "nowhere") == platform.processor() or platform.machine()


def test_a_machine_without_a_gpu_has_none():
    found = machine(torch.device("cpu"))
    assert found["kind"] == "cpu"
    assert found["threads"] == torch.get_num_threads()
    assert "gpu" not in found
