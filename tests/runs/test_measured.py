from __future__ import annotations

import platform
import sys

import numpy as np
import pytest
import torch

from jepa_vlm.runs.environment import cpu_name, machine, measured, watch_memory


def test_the_machine_is_named_and_what_was_watched():
    watch_memory()
    found = measured()
    gpu = torch.cuda.is_available()
    assert found["memory"] == ("allocator" if gpu else "process")
    assert found["machine"]["kind"] == ("cuda" if gpu else "cpu")


@pytest.mark.skipif(sys.platform == "win32" or torch.cuda.is_available(), reason="watches a process on Unix")
def test_a_processs_peak_is_in_bytes_and_includes_what_it_held():
    before = measured()["peak_memory"]
    held = np.ones(before // 8 + 2**23)  # as much as ever before, and 64 MiB on top
    assert measured()["peak_memory"] >= held.nbytes


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
