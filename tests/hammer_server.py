"""Many clients at once against `hephaestus serve`, good, bad, slow and rude.

Too long for the suite: two minutes by default. Needs the extra `serve`.

    python tests/hammer_server.py --clients 100 --seconds 120
    python tests/hammer_server.py --model_dir runs/smollm2/base --clients 20

Starts a server (of a tiny random model, where none is named), and lets each
client do one thing after the other: ask for an answer, whole or as a stream,
and read it; send something malformed; send half a request and leave; leave in
the middle of a stream; drip. Every answer must be what its request is due: 200
with the words that the same request got alone before, 429 or 503 where there
were too many, 4xx for what is malformed. Then SIGTERM must end the server with
status 0. Prints the outcomes and the server's memory; ends with 1 if an outcome
was wrong, or the memory in the last quarter of the time is more than a tenth
above that in the second.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).parent / 'serving'))
import tiny_model

TIMEOUT = 120
MALFORMED = (
  b'',
  b'{',
  b'[' * 5000,
  b'\xff\xfe',
  b'{"model": 7}',
  b'{"model": "MODEL", "messages": []}',
  b'{"model": "MODEL", "messages": [{"role": "judge", "content": "x"}]}',
  b'{"model": "MODEL", "messages": [{"role": "user"}], "n": 99}',
  b'{"model": "MODEL", "prompt": "x", "temperature": -1}',
)
ASKED = 8  # different questions


class Client:
  """What a client does, and what came of it."""

  def __init__(self, port: int, model: str) -> None:
    self.port = port
    self.model = model
    self.outcomes: collections.Counter[str] = collections.Counter()
    self.wrong: list[str] = []
    self.alone: dict[int, str] = {}

  def request(self, body: bytes, path: str = '/v1/chat/completions') -> bytes:
    head = (
      f'POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n'
      f'Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n'
    )
    return head.encode() + body

  def question(self, number: int, stream: bool) -> bytes:
    return self.request(
      json.dumps(
        {
          'model': self.model,
          'messages': [{'role': 'user', 'content': f'{number} ' * number}],
          'max_tokens': 10 + 3 * number,
          'temperature': 1,
          'seed': number,
          'stream': stream,
        }
      ).encode()
    )

  async def exchange(self, sent: bytes, until: int | None = None) -> bytes:
    """Sends, and reads all that comes, or the first `until` bytes."""
    reader, writer = await asyncio.open_connection('127.0.0.1', self.port)
    try:
      writer.write(sent)
      await writer.drain()
      if until == 0:
        return b''
      async with asyncio.timeout(TIMEOUT):
        if until is not None:
          return await reader.read(until)
        return await reader.read()
    finally:
      writer.close()

  async def ask(self, number: int, stream: bool) -> tuple[int, str]:
    """Status and words of an answer."""
    head, _, body = (
      await self.exchange(self.question(number, stream))
    ).partition(b'\r\n\r\n')
    status = int(head.split()[1])
    if status != 200:
      return status, ''
    if not stream:
      return status, json.loads(body)['choices'][0]['message']['content']
    events = [
      line.removeprefix(b'data: ')
      for line in body.split(b'\n')
      if line.startswith(b'data: ')
    ]
    assert events[-1].strip() == b'[DONE]', events[-1]
    deltas = [json.loads(event)['choices'][0]['delta'] for event in events[:-1]]
    return status, ''.join(delta.get('content', '') for delta in deltas)

  def tell(self, what: str, right: bool, detail: object = '') -> None:
    self.outcomes[what] += 1
    if not right:
      self.wrong.append(f'{what}: {detail}')

  async def act(self, rng: random.Random) -> None:
    """One thing that a client does."""
    kind = rng.choices(
      ['ask', 'malformed', 'half', 'leave', 'drip'], [70, 15, 5, 8, 2]
    )[0]
    if kind == 'ask':
      number, stream = rng.randrange(ASKED), rng.random() < 0.5
      status, words = await self.ask(number, stream)
      right = status in (429, 503) or words == self.alone[number]
      self.tell(f'{kind} {status}', right, (number, stream, words))
    elif kind == 'malformed':
      body = rng.choice(MALFORMED).replace(b'MODEL', self.model.encode())
      found = await self.exchange(self.request(body))
      status = int(found.split()[1])
      self.tell(
        f'{kind} {status}', status in (400, 404, 429, 503), (body, found)
      )
    elif kind == 'half':
      await self.exchange(self.question(7, True)[: rng.randrange(20, 150)], 0)
      self.tell(kind, True)
    elif kind == 'leave':
      await self.exchange(self.question(7, True), 200)
      self.tell(kind, True)
    else:
      reader, writer = await asyncio.open_connection('127.0.0.1', self.port)
      for byte in self.question(1, False)[:6]:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.5)
      writer.close()
      self.tell(kind, True)

  async def live(self, seed: int, end: float) -> None:
    rng = random.Random(seed)
    while time.monotonic() < end:
      try:
        await self.act(rng)
      except (OSError, TimeoutError, ValueError, AssertionError) as error:
        # A client that is told nothing was not answered correctly.
        self.tell(type(error).__name__, False, error)


def memory(process: int) -> float:
  """What a process holds, in MB."""
  status = pathlib.Path(f'/proc/{process}/status').read_text()
  (line,) = (x for x in status.splitlines() if x.startswith('VmRSS'))
  return int(line.split()[1]) / 1000


async def hammer(
  client: Client, process: int, options: argparse.Namespace
) -> list:
  for number in range(ASKED):
    _, client.alone[number] = await client.ask(number, stream=False)
  end = time.monotonic() + options.seconds
  clients = [
    asyncio.create_task(client.live(seed, end))
    for seed in range(options.clients)
  ]
  held = []
  while time.monotonic() < end:
    held.append(memory(process))
    await asyncio.sleep(options.seconds / 40)
  await asyncio.gather(*clients)
  return held


def run() -> bool:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--model_dir', type=pathlib.Path)
  parser.add_argument('--clients', type=int, default=100)
  parser.add_argument('--seconds', type=float, default=120)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    model_dir = options.model_dir or pathlib.Path(folder) / 'tiny'
    if options.model_dir is None:
      tiny_model.write(model_dir)
    server = subprocess.Popen(
      [
        *(sys.executable, '-m', 'hephaestus_jax', 'serve', str(model_dir)),
        *('--gin.PORT=0', '--gin.SERVED_NAME=hammered'),
        '--gin.MAX_WAITING=64',
      ],
      stdout=subprocess.PIPE,
      text=True,
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    print(f'{address} of {model_dir}')
    client = Client(int(address.rpartition(':')[2].split('/')[0]), 'hammered')
    try:
      held = asyncio.run(hammer(client, server.pid, options))
    finally:
      server.send_signal(signal.SIGTERM)
      status = server.wait(timeout=60)
  quarter = len(held) // 4
  second = statistics.median(held[quarter : 2 * quarter])
  last = statistics.median(held[-quarter:])
  print(json.dumps(dict(sorted(client.outcomes.items())), indent=2))
  print(f'{sum(client.outcomes.values())} in all, {len(client.wrong)} wrong')
  print('\n'.join(client.wrong[:5]))
  print(
    f'memory in MB: {second:.0f} in the second quarter, {last:.0f} in the last'
  )
  print(f'ended with {status} on SIGTERM')
  return not client.wrong and last < 1.1 * second and status == 0


if __name__ == '__main__':
  sys.exit(not run())
