"""What a server tells Prometheus."""

import prometheus_client

from hephaestus_jax.decode import engine

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
  """One server's counts, in a registry of their own."""

  def __init__(self, running: engine.Engine) -> None:
    self._registry = prometheus_client.CollectorRegistry()
    self.requests = prometheus_client.Counter(
      'hephaestus_requests',
      'Requests by route and by the status that they got.',
      ('route', 'status'),
      registry=self._registry,
    )
    self.seconds = prometheus_client.Histogram(
      'hephaestus_request_seconds',
      'From the end of a request to the end of its answer.',
      ('route',),
      buckets=SECONDS,
      registry=self._registry,
    )
    self.first_token = prometheus_client.Histogram(
      'hephaestus_first_token_seconds',
      'From the end of a request to its first token.',
      buckets=SECONDS,
      registry=self._registry,
    )
    self.prompt_tokens = prometheus_client.Counter(
      'hephaestus_prompt_tokens',
      'Tokens of prompts.',
      registry=self._registry,
    )
    self.completion_tokens = prometheus_client.Counter(
      'hephaestus_completion_tokens',
      'Tokens that were generated.',
      registry=self._registry,
    )
    for name, what, read in (
      (
        'slots',
        'Answers that can be under way at once.',
        lambda: running.slots,
      ),
      ('active', 'Answers that are under way.', lambda: running.active),
      ('waiting', 'Answers that wait for a slot.', lambda: running.waiting),
      (
        'prompt_tokens_reused',
        'Tokens of prompts that a slot held already, so far.',
        lambda: running.reused,
      ),
    ):
      gauge = prometheus_client.Gauge(
        f'hephaestus_{name}', what, registry=self._registry
      )
      gauge.set_function(read)

  def text(self) -> bytes:
    """All of it in Prometheus' text format."""
    return prometheus_client.generate_latest(self._registry)


CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
