"""What every test runs under. It imports no JAX: many tests need none."""

import os

import hypothesis

# Eight devices, so that sharding is real on any machine.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['JAX_NUM_CPU_DEVICES'] = '8'
# [B, L] + [L] is an error: the axes in the names are to be believed.
os.environ['JAX_NUMPY_RANK_PROMOTION'] = 'raise'
# Tests compile much and compute little: this halves their time.
os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'

# The same examples each time, however slow the machine: what fails, fails for
# what was changed. `pytest --hypothesis-profile=default` looks for new ones.
hypothesis.settings.register_profile('same', derandomize=True, deadline=None)
hypothesis.settings.load_profile('same')
