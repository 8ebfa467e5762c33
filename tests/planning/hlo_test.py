"""A program's text, read: on programs short enough to count by hand."""

import numpy as np
import pytest

from hephaestus_jax.planning import hlo

PROGRAM = """\
HloModule jit_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
}

%body (arguments: (s32[], f32[8])) -> (s32[], f32[8]) {
  %mha_fwd.2 = bf16[4,8]{1,0} custom-call(%q), custom_call_target="tpu"
  %sum = f32[8]{0:T(8)} all-reduce(%x), replica_groups=[2,2]<=[4], to_apply=%add
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %mha_fwd.1 = bf16[4,8]{1,0} custom-call(%q), custom_call_target="tpu"
  %gather = bf16[4,16]{1,0} all-gather(%p), replica_groups={{0,1},{2,3}}
  %started = (f32[8]{0}, f32[2]{0}) reduce-scatter-start(%p), \
replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_0'}
  %loop = (s32[], f32[8]) while(%t), condition=%c, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
}
"""


def test_a_loop_is_counted_as_often_as_it_runs():
  assert hlo.kernels(PROGRAM, {'mha_fwd': 2, 'mha_dq': 3}) == {
    'mha_fwd': 4,
    'mha_dq': 0,
  }


def test_collectives_by_kind_bytes_and_what_they_cross():
  found = hlo.collectives(PROGRAM, devices=4, slice_devices=2)
  assert sorted(found) == [
    # 2 x 32 bytes, half of them received, in each of 3 turns.
    ('all-gather', 4 * 16 * 2 / 2, False, True),
    ('all-reduce', 3 * 2 * 32 / 2, False, True),
    # The other half of 8 numbers; devices 0 and 2 are on two slices.
    ('reduce-scatter', 8.0, True, False),
  ]


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('replica_groups=[2,2]<=[4]', [[0, 1], [2, 3]]),
    ('replica_groups=[2,2]<=[2,2]T(1,0)', [[0, 2], [1, 3]]),
    ('replica_groups={{0,3},{1,2}}', [[0, 3], [1, 2]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
    ("replica_groups=mesh['a'=4,'b'=1] {'a'}", [[0, 1, 2, 3]]),
    ('replica_groups={}', [[0, 1, 2, 3]]),
  ],
)
def test_groups_in_each_of_their_spellings(text, expected):
  np.testing.assert_array_equal(hlo.groups(text, 4), expected)


def test_bytes_of_a_shape():
  assert hlo.size('(bf16[4,8]{1,0:T(8,128)(2,1)}, f32[2], pred[])') == 73
