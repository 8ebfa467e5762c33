"""The program inside an agent's machine that runs what it is told.

`operating_system.py` starts it as process 1's child, before the agent can act,
and talks to it in lines of JSON:

    {"shell": "ls", "silent": 5, "longest": 30}   in the one shell, which keeps
    {"output": "a\\n", "ended": true}              its folder and variables
    {"command": ["bash", "-c", "ls"], "longest": 30}     beside that shell
    {"output": "a\\n", "status": 0}

It needs Python's own library alone, and has no more rights than the agent.
"""

import base64
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

MOST = 1 << 20  # bytes of output that are told; what follows is thrown away


class Shell:
  """A login shell that runs one piece of text after the other."""

  def __init__(self) -> None:
    """Starts it. A pipe of its own tells the end of each piece."""
    self._done, done = os.pipe()
    self._told = f'true; printf . >&{done}\n'
    self._input, output = os.pipe()
    read, self._write = os.pipe()
    subprocess.Popen(
      ['/bin/bash', '--login'],
      stdin=read,
      stdout=output,
      stderr=subprocess.STDOUT,
      pass_fds=[done],
      cwd='/root',
      start_new_session=True,
    )
    for theirs in (read, output, done):
      os.close(theirs)

  def run(
    self, text: str, silent: float, longest: float
  ) -> 'tuple[str, bool | None]':
    """(output, whether it has ended; None where the shell itself has).

    Waits no longer than `silent` seconds for more output, and `longest` in all.
    What is still running then goes on.
    """
    encoded = base64.b64encode(text.encode()).decode()
    piece = f'eval "$(echo {encoded} | base64 -d)" < /dev/null; {self._told}'
    # In parts: a shell that is busy reads none, and a pipe holds 64 KB.
    try:
      self._send(piece.encode(), silent)
    except BrokenPipeError:
      return '', None
    output = bytearray()
    until = time.monotonic() + longest
    while True:
      left = max(0.0, min(silent, until - time.monotonic()))
      ready = select.select([self._input, self._done], [], [], left)[0]
      if not ready:
        return _text(output), False
      # Whatever was written before the end is there by now.
      while select.select([self._input], [], [], 0)[0]:
        part = os.read(self._input, 1 << 16)
        if not part:
          return _text(output), None
        output += part[: max(0, MOST - len(output))]
        if time.monotonic() > until:
          return _text(output), False
      if self._done in ready:
        return _text(output), True if os.read(self._done, 1) else None

  def _send(self, piece: bytes, longest: float) -> None:
    """Writes all of it, or what the shell reads in time."""
    os.set_blocking(self._write, False)
    while piece and select.select([], [self._write], [], longest)[1]:
      piece = piece[os.write(self._write, piece) :]


def command(words: 'list[str]', longest: float) -> 'tuple[str, int]':
  """(output, exit status) of a program; background processes go on."""
  with tempfile.TemporaryFile() as file:
    try:
      program = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=subprocess.STDOUT,
        cwd='/root',
        start_new_session=True,
      )
      status = program.wait(longest)
    except subprocess.TimeoutExpired:
      program.kill()
      status = -program.wait()
    except OSError as error:
      return str(error), 127
    file.seek(0)
    return _text(file.read(MOST)), status


def _text(output: 'bytes | bytearray') -> str:
  return bytes(output).decode('utf-8', 'replace')


def main() -> None:
  """Answers until nobody asks any more."""
  signal.signal(signal.SIGPIPE, signal.SIG_IGN)
  shell = Shell()
  for line in sys.stdin.buffer:
    request = json.loads(line)
    if 'shell' in request:
      output, ended = shell.run(
        request['shell'], request['silent'], request['longest']
      )
      if ended is None:  # the agent left it: the next piece gets a new one
        shell = Shell()
      answer = {'output': output, 'ended': ended is not False}
    else:
      output, status = command(request['command'], request['longest'])
      answer = {'output': output, 'status': status}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b'\n')
    sys.stdout.buffer.flush()


if __name__ == '__main__':
  main()
