"""A bidirectional group is computed whole or not at all."""

from __future__ import annotations

import torch

from jepa_vlm.engine.attention import attend_masked, narrower, visible
from jepa_vlm.engine.batch import Layout, Suffix
from jepa_vlm.engine.planner import join_groups, uncut_groups, whole_groups


def test_a_length_is_moved_to_the_end_or_start_of_a_bidirectional_group():
    own = torch.tensor([-1, 0, 0, 0, -1, 1, 1, -1])
    assert [whole_groups(own, n) for n in range(9)] == [0, 1, 4, 4, 4, 5, 7, 7, 8]
    assert [uncut_groups(own, n) for n in range(9)] == [0, 1, 1, 1, 4, 5, 5, 7, 8]
    assert whole_groups(None, 3) == uncut_groups(None, 3) == 3


def test_a_bidirectional_group_may_have_gaps():
    own = torch.tensor([0, 0, -1, 0, -1])
    assert [whole_groups(own, n) for n in range(6)] == [0, 4, 4, 4, 4, 5]
    assert [uncut_groups(own, n) for n in range(6)] == [0, 0, 0, 0, 4, 5]


def test_views_in_a_packed_sequence_share_no_bidirectional_group():
    one, two = torch.tensor([0, 0, -1]), torch.tensor([-1, 0])
    assert join_groups([(one, slice(0, 3)), (two, slice(0, 2))]).tolist() == [0, 0, -1, -1, 1]
    assert join_groups([(None, slice(0, 3)), (None, slice(0, 2))]) is None


def test_visible_tokens_with_groups_and_with_a_window_by_hand():
    seen = visible(4, 4, torch.tensor([-1, 0, 0, -1]), None, torch.device("cpu"))
    assert seen.int().tolist() == [[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    seen = visible(2, 4, None, 2, torch.device("cpu"))
    assert seen.int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]


def test_a_sliding_window_counts_only_where_it_hides_something():
    layout = Layout((3, 2), (Suffix(0, 3, 2),))
    assert narrower(4, layout)
    assert not narrower(5, layout)
    assert not narrower(None, layout)


def test_attention_with_groups_and_windows_equals_a_dense_mask():
    """Written out: each token of the row, and whom it sees."""
    generator = torch.Generator().manual_seed(0)
    layout, window = Layout((4, 3), (Suffix(0, 3, 2),)), 3
    own = torch.tensor([-1, 0, 0, -1, 1, 1, -1, 2, 2])
    query, key, value = (torch.randn(1, 2, len(layout), 8, generator=generator).double() for _ in range(3))
    sees = torch.zeros(9, 9, dtype=torch.bool)
    sequences = [[0, 1, 2, 3], [4, 5, 6], [0, 1, 2, 7, 8]]
    for sequence, asking in zip(sequences, ([0, 1, 2, 3], [4, 5, 6], [7, 8]), strict=True):
        for q in asking:
            for k in sequence:
                distance = sequence.index(q) - sequence.index(k)
                alike = own[q] >= 0 and own[q] == own[k]
                sees[q, k] = (distance >= 0 or bool(alike)) and distance < window
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=sees)
    found = attend_masked(query, key, value, layout, own, window, None, 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
