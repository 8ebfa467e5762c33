"""Command-line manuals: pages of the AWS CLI, help of the Azure CLI.

A page's examples are a caption, a command and often its output. They serve
three sources: documentation, sessions in a shell (one tool, `bash`), and
requests (a function per command, its options as JSON arguments).
"""

import ast
import dataclasses
import inspect
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from hephaestus_jax.corpus import document
from hephaestus_jax.corpus.adapters import (
  calls,
  entry,
  groups,
  markup,
  service_models,
  tool,
  wording,
)
from hephaestus_jax.corpus.files import archive

BASH = tool.Tool(
  name='bash',
  description='Runs a command in a shell and returns its output.',
  parameters=(
    tool.Parameter('command', 'string', 'The command line.', required=True),
  ),
)


# --- AWS: examples in reStructuredText


@dataclasses.dataclass(frozen=True)
class Example:
  """An example of a page.

  Attributes:
    title: 'To list all tags', '' where there is none.
    caption: the words before the command.
    command: as it is typed.
    output: what it prints, '' where the page doesn't show it.
    files: (caption, content) of files that the command reads.
  """

  title: str
  caption: str
  command: str
  output: str = ''
  files: tuple[tuple[str, str], ...] = ()

  def request(self, arguments: Mapping[str, Any]) -> str:
    """What a user would ask for; raises entry.MalformedError if unsaid."""
    parts = [calls.request(self.caption or self.title, arguments)]
    parts += [f'{caption}\n{content}' for caption, content in self.files]
    return '\n\n'.join(parts)


def aws_pages(names: Sequence[str]) -> list[str]:
  """The example page of each command."""
  return [
    name
    for name in sorted(names)
    if re.fullmatch(r'awscli/examples/[^/]+/([^/]+/)?[a-z][^/]*\.rst', name)
  ]


def aws_services(names: Sequence[str]) -> list[str]:
  """The service models that there are example pages for."""
  commands = {name.split('/')[2] for name in aws_pages(names)}
  return [
    path
    for path in service_models.botocore_models(names)
    if _aws_command(path.split('/')[-3]) in commands
  ]


def aws_sessions(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A page -> a request, command and output per example that shows all."""
  group, page = _aws_page_name(member)
  for i, example in enumerate(_read_page(opened, member)):
    name = f'{page}/{i}'
    arguments = {'command': example.command}
    try:
      said = example.request(_said_options(example.command))
      segments = calls.session(BASH, arguments, said, example.output)
    except entry.MalformedError as error:
      yield entry.Flaw(group, name, error.reason)
      continue
    yield entry.Entry(group, name, segments)


def aws_docs(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A service -> a manual page per command that has examples."""
  for page in _aws_manual(opened, member):
    if isinstance(page, entry.Flaw):
      yield page
      continue
    if not page.examples:
      yield entry.Flaw(page.group, page.name, 'no_examples')
      continue
    options = {o for e in page.examples for o in _said_options(e.command)}
    described = dataclasses.replace(
      page.command,
      description=tool.first_sentence(page.command.description, 400),
      parameters=tuple(
        dataclasses.replace(p, name=f'--{p.name}')
        for p in page.command.parameters
        if p.name in options or p.required
      ),
      sections=tuple(
        (e.title or f'Example {i + 1}', _example_text(e))
        for i, e in enumerate(page.examples)
      ),
    )
    yield entry.Entry(
      page.group,
      page.name,
      (document.Segment('documentation', tool.markdown(described)),),
      url=f'https://docs.aws.amazon.com/cli/latest/reference/{page.name}.html',
    )


def aws_requests(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A service -> tools to choose from, request and call per example."""
  pages = []
  for page in _aws_manual(opened, member):
    if isinstance(page, entry.Flaw):
      yield page
    else:
      pages.append(page)
  commands = {page.command.name: page.command for page in pages}
  for page in pages:
    names = calls.others(list(commands), page.command.name)
    others = [commands[name] for name in names]
    for i, example in enumerate(page.examples):
      name = f'{page.name}/{i}'
      try:
        arguments = _aws_arguments(page.command, example.command)
        said = example.request(arguments)
      except entry.MalformedError as error:
        yield entry.Flaw(page.group, name, error.reason)
        continue
      called = _with_global_options(page.command, arguments)
      segments = calls.instruction(called, others, arguments, said)
      yield entry.Entry(page.group, name, segments)


def _aws_command(service: str) -> str:
  """The AWS CLI's name of a botocore service."""
  renamed = {'codedeploy': 'deploy', 'config': 'configservice', 's3': 's3api'}
  return renamed.get(service, service)


def _aws_page_name(member: str) -> tuple[str, str]:
  """'awscli/examples/s3api/x.rst' -> ('s3', 's3api/x')."""
  page = member.removeprefix('awscli/examples/').removesuffix('.rst')
  return groups.aws(page.split('/', 1)[0]), page


@dataclasses.dataclass(frozen=True)
class Page:
  """A manual page of the AWS CLI: group, 'service/command', its content."""

  group: str
  name: str
  command: tool.Tool
  examples: tuple[Example, ...]


def _aws_manual(
  opened: archive.Opened, member: str
) -> Iterator[Page | entry.Flaw]:
  """The pages of a service whose commands are operations of its model.

  Of others nothing says which options they have; they are read as sessions.
  """
  model = service_models.Model.read(opened, member)
  service = _aws_command(model.service)
  # 'describe-tags' and DescribeTags agree but for hyphens and case.
  operations = {name.lower(): name for name in model.operations}
  folder = f'awscli/examples/{service}/'
  for path in aws_pages([n for n in opened.names() if n.startswith(folder)]):
    group, page = _aws_page_name(path)
    command = page.split('/', 1)[1]
    try:
      operation = operations.get(command.replace('-', ''))
      if operation is None:
        raise entry.MalformedError('no_operation')
      described = _aws_tool(model.describe(operation), service, command)
      yield Page(group, page, described, tuple(_read_page(opened, path)))
    except entry.MalformedError as error:
      yield entry.Flaw(group, page, error.reason)


def _aws_tool(operation: tool.Tool, service: str, command: str) -> tool.Tool:
  """An operation as the command line offers it.

  Lists of scalars take several values; what is nested is typed as shorthand or
  JSON, so for the command line it is text.
  """
  parameters = []
  for parameter in operation.parameters:
    kind = parameter.type
    if kind == 'object' or kind in ('array of object', 'array of array'):
      kind = 'string'
    parameters.append(
      dataclasses.replace(
        parameter,
        name=wording.words(parameter.name).replace(' ', '-'),
        type=kind,
        fields=(),
      )
    )
  return tool.Tool(
    name=f'aws {service} {command}',
    description=operation.description,
    parameters=tuple(parameters),
    language='bash',
  )


_AWS_GLOBAL = {
  'cli-binary-format': 'How binary arguments are encoded.',
  'endpoint-url': 'The URL to send the request to.',
  'max-items': 'The number of items to return.',
  'no-paginate': 'Returns the first page only.',
  'output': 'The format of the output.',
  'page-size': 'The number of items to ask for in each service call.',
  'profile': 'The profile with the credentials.',
  'query': 'A JMESPath expression that filters the response.',
  'region': 'The region.',
  'starting-token': 'Where to continue a listing.',
}


def _aws_arguments(command: tool.Tool, line: str) -> dict[str, Any]:
  """A command line's options as the arguments of a call.

  'aws ec2 describe-tags --filters a b --dry-run' gives
  {'filters': 'a b', 'dry-run': True}.

  Raises:
    entry.MalformedError: it isn't one command, or has unknown options.
  """
  words, options = _split(line)
  if ' '.join(words) != command.name:
    raise entry.MalformedError('another_command')
  known = {p.name.replace('-', ''): p for p in command.parameters}
  arguments: dict[str, Any] = {}
  for option, values in options:
    name = option.lstrip('-')
    if name == 'cli-input-json':
      raise entry.MalformedError('arguments_in_a_file')
    parameter = known.get(name.replace('-', ''))
    if parameter is None and name in _AWS_GLOBAL:
      arguments[name] = ' '.join(values) if values else True
      continue
    if parameter is None:
      parameter = known.get(name.removeprefix('no-').replace('-', ''))
      if parameter is None or parameter.type != 'boolean':
        raise entry.MalformedError('unknown_option')
      arguments[parameter.name] = False
      continue
    arguments[parameter.name] = _typed(parameter.type, values)
  return arguments


def _with_global_options(
  command: tool.Tool, arguments: Mapping[str, Any]
) -> tool.Tool:
  """The command with those options of all commands that a call uses."""
  known = {parameter.name for parameter in command.parameters}
  used = tuple(
    tool.Parameter(
      name, 'boolean' if value is True else 'string', _AWS_GLOBAL[name]
    )
    for name, value in arguments.items()
    if name not in known
  )
  return dataclasses.replace(command, parameters=command.parameters + used)


def _typed(kind: str, values: Sequence[str]) -> Any:
  """Words after an option as a JSON value of the option's type."""
  try:
    if kind == 'boolean':
      return {'true': True, 'false': False, '': True}[' '.join(values).lower()]
    if kind == 'integer':
      return int(*values)
    if kind == 'number':
      return float(*values)
    if kind == 'array of integer':
      return [int(value) for value in values]
  except (KeyError, TypeError, ValueError):
    raise entry.MalformedError('malformed_value') from None
  if kind.startswith('array'):
    return list(values)
  return ' '.join(values)


def _split(line: str) -> tuple[list[str], list[tuple[str, list[str]]]]:
  """A command line as (leading words, (option, its values)...).

  Raises:
    entry.MalformedError: quotes don't match, or it is more than a command.
  """
  try:
    # Some pages continue lines with the wrong slash.
    tokens = shlex.split(re.sub(r'\s[/\\]\s*\n', ' ', line))
  except ValueError:
    raise entry.MalformedError('not_a_command') from None
  if not tokens or re.search(r'[|;`]|\$\(|&&|<<|\n\s*(aws|az) ', line):
    raise entry.MalformedError('not_a_command')
  words: list[str] = []
  options: list[tuple[str, list[str]]] = []
  for token in tokens:
    if re.match(r'--?[a-zA-Z]', token):
      option, equals, value = token.partition('=')
      options.append((option, [value] if equals else []))
    elif options:
      options[-1][1].append(token)
    else:
      words.append(token)
  return words, options


def _said_options(line: str) -> dict[str, Any]:
  """Options as text, of whatever command; {} where it can't be split."""
  try:
    words, options = _split(line)
  except entry.MalformedError:
    return {}
  found: dict[str, Any] = {
    name.lstrip('-'): ' '.join(values) or True for name, values in options
  }
  # 'aws s3 cp HERE THERE': what follows the command's name.
  if words[3:]:
    found['arguments'] = words[3:]
  return found


def _example_text(example: Example) -> str:
  """An example for a manual page."""
  parts = [example.caption, f'```bash\n{example.command}\n```']
  for caption, content in example.files:
    parts.append(f'{caption}\n\n```\n{content}\n```')
  if example.output and len(example.output) <= calls.MAX_OBSERVATION:
    parts.append(f'Output:\n\n```\n{example.output}\n```')
  return '\n\n'.join(part for part in parts if part)


def _read_page(opened: archive.Opened, path: str) -> list[Example]:
  try:
    text = opened.read(path).decode()
    return page_examples(text.replace('\r\n', '\n'))
  except UnicodeDecodeError:
    raise entry.MalformedError('not_utf8') from None


def page_examples(source: str) -> list[Example]:
  r"""The examples of a page.

  >>> page_examples('**To list**\n\nThis lists. ::\n\n  aws s3api list-x\n\n'
  ...               'Output::\n\n  {}\n')
  [Example(title='To list', caption='This lists.', command='aws s3api list-x',
           output='{}', files=())]
  """
  found: list[Example] = []
  title, caption = '', ''
  for kind, text in _blocks(source):
    if kind == 'text':
      found_title, caption = _headings(text)
      title = found_title or title
      continue
    command = re.sub(r'^\$ ', '', text)
    if command.startswith('aws '):
      found.append(Example(title, caption, command))
      title = ''
    elif found and re.match('output', caption, re.I):
      if not found[-1].output:
        found[-1] = dataclasses.replace(found[-1], output=text)
    elif found and re.search(r'\bcontents?\b|\bfile\b|\.json', caption):
      files = (*found[-1].files, (caption, text))
      found[-1] = dataclasses.replace(found[-1], files=files)
  return found


def _headings(text: str) -> tuple[str, str]:
  """(title, caption) of the words before a literal block.

  The caption is the paragraph that speaks of the example, else the last.
  """
  title = ''
  captions: list[str] = []
  for paragraph in re.split(r'\n\s*\n', text):
    paragraph = re.sub(r'\s*::$', '', ' '.join(paragraph.split()))
    if heading := re.fullmatch(r'\*\*(.+)\*\*', paragraph):
      title = re.sub(r'^Example \d+:?\s*', '', heading[1]).strip()
      captions = []
    elif not re.fullmatch(r'(command|example|request)s?:?', paragraph, re.I):
      captions.append(markup.rst_text(paragraph))
  if not captions:
    return title, ''
  opening = re.compile(r'(the following|this|these|output)\b', re.IGNORECASE)
  speaking = [text for text in captions if opening.match(text)]
  return title, (speaking or captions)[-1]


def _blocks(source: str) -> Iterator[tuple[str, str]]:
  """('text' | 'literal', block) of a page; a literal follows a '::'."""
  lines: list[str] = []
  literal = False
  for line in [*source.expandtabs(4).split('\n'), '']:
    if literal and line.strip() and not line.startswith(' '):
      yield 'literal', _dedent(lines)
      literal, lines = False, []
    lines.append(line)
    if not literal and line.rstrip().endswith('::'):
      yield 'text', '\n'.join(lines).strip()
      literal, lines = True, []
  yield 'literal' if literal else 'text', _dedent(lines)


def _dedent(lines: Sequence[str]) -> str:
  return inspect.cleandoc('\n' + '\n'.join(lines)).rstrip()


# --- Azure: help in YAML and in generated command classes


@dataclasses.dataclass(frozen=True)
class Command:
  """An az command.

  Attributes:
    tool: named 'az group command'; its parameters bear long option names.
    aliases: an option's other names -> its name, without dashes.
    examples: (what it does, the command line).
  """

  tool: tool.Tool
  aliases: Mapping[str, str]
  examples: tuple[tuple[str, str], ...]


# Options that all az commands spell alike.
_AZURE_SHORT = {
  'g': 'resource-group',
  'l': 'location',
  'n': 'name',
  'o': 'output',
  'y': 'yes',
}


def azure_modules(names: Sequence[str]) -> list[str]:
  """The __init__.py of each command module, standing for its folder."""
  pattern = r'azure/cli/command_modules/[^/]+/__init__\.py'
  return [name for name in sorted(names) if re.fullmatch(pattern, name)]


def azure_docs(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A command module -> a manual page per command."""
  group = groups.azure(member)
  for found in _azure_commands(opened, member):
    if isinstance(found, entry.Flaw):
      yield found
      continue
    examples = [
      f'# {caption.strip()}\n{line.strip()}' for caption, line in found.examples
    ]
    described = dataclasses.replace(
      found.tool,
      parameters=tuple(
        dataclasses.replace(p, name=f'--{p.name}')
        for p in found.tool.parameters
        if p.description
      ),
      example='\n\n'.join(examples),
    )
    if not examples and not described.parameters:
      yield entry.Flaw(group, found.tool.name, 'too_short')
      continue
    yield entry.Entry(
      group,
      found.tool.name,
      (document.Segment('documentation', tool.markdown(described)),),
      url='https://learn.microsoft.com/cli/azure/'
      + '/'.join(found.tool.name.split()[1:-1]),
    )


def azure_requests(
  opened: archive.Opened, member: str
) -> Iterator[entry.Entry | entry.Flaw]:
  """A command module -> tools, request and call per example."""
  group = groups.azure(member)
  commands = {}
  for found in _azure_commands(opened, member):
    if isinstance(found, entry.Flaw):
      yield found
    else:
      commands[found.tool.name] = found
  for name, command in commands.items():
    others = [
      commands[other].tool for other in calls.others(list(commands), name)
    ]
    for i, (caption, line) in enumerate(command.examples):
      try:
        arguments = _azure_arguments(command, line)
        said = calls.request(caption, arguments)
      except entry.MalformedError as error:
        yield entry.Flaw(group, f'{name}/{i}', error.reason)
        continue
      segments = calls.instruction(command.tool, others, arguments, said)
      yield entry.Entry(group, f'{name}/{i}', segments)


def _azure_arguments(command: Command, line: str) -> dict[str, Any]:
  """'az group list -g a --no-wait' -> {'resource-group': 'a', ...}.

  Raises:
    entry.MalformedError: it isn't this command, or has unknown options.
  """
  words, options = _split(line.strip())
  if ' '.join(words) != command.tool.name:
    raise entry.MalformedError('another_command')
  types = {p.name: p.type for p in command.tool.parameters}
  arguments: dict[str, Any] = {}
  for option, values in options:
    name = _long_name(option, command.aliases)
    if name not in types:
      raise entry.MalformedError('unknown_option')
    if types[name] == 'string' and not values:
      raise entry.MalformedError('malformed_value')
    arguments[name] = _typed(types[name], values)
  return arguments


def _long_name(option: str, aliases: Mapping[str, str]) -> str:
  """'-g' -> 'resource-group', '--name' -> 'name'; '' where nobody knows."""
  name = option.lstrip('-')
  return aliases.get(name, name if option.startswith('--') else '')


def _azure_commands(
  opened: archive.Opened, member: str
) -> Iterator[Command | entry.Flaw]:
  """The commands of a module, sorted: written help before generated."""
  folder = member.removesuffix('__init__.py')
  group = groups.azure(member)
  found: dict[str, Command] = {}
  for path in opened.names():
    if not path.startswith(folder) or not path.endswith('.py'):
      continue
    if not re.search(r'_help\.py$|/aaz/latest/.*/_\w+\.py$', path):
      continue
    try:
      source = opened.read(path).decode()
      if '/aaz/' in path:
        commands = _generated_command(source)
      else:
        commands = _written_help(source)
      for command in commands:
        # A generated class repeats what was written by hand.
        if command.tool.name not in found or '/aaz/' not in path:
          found[command.tool.name] = command
    except entry.MalformedError as error:
      yield entry.Flaw(group, path, error.reason)
    except (SyntaxError, UnicodeDecodeError, yaml.YAMLError):
      yield entry.Flaw(group, path, 'not_python_with_help')
  for name in sorted(found):
    yield _with_seen_options(found[name])


def _written_help(source: str) -> Iterator[Command]:
  """helps['group command'] = YAML."""
  for node in ast.parse(source).body:
    match node:
      case ast.Assign(
        targets=[ast.Subscript(slice=ast.Constant(value=str(name)))],
        value=ast.Constant(value=str(text)),
      ):
        content = yaml.load(text, Loader=yaml.CSafeLoader)
        if isinstance(content, dict) and content.get('type') == 'command':
          yield _helped_command(name, content)


def _helped_command(name: str, content: Mapping[str, Any]) -> Command:
  """A command from its parsed YAML help."""
  parameters, aliases = [], dict(_AZURE_SHORT)
  for found in content.get('parameters') or []:
    options = str(found.get('name', '')).split()
    long = [o.lstrip('-') for o in options if o.startswith('--')]
    if not long:
      continue
    aliases.update((option.lstrip('-'), long[0]) for option in options)
    text = [found.get('short-summary'), found.get('long-summary')]
    parameters.append(tool.Parameter(long[0], description=_summary(*text)))
  examples = [
    (str(found.get('name', '')), str(found.get('text', '')))
    for found in content.get('examples') or []
    if isinstance(found, dict)
  ]
  return Command(
    tool.Tool(
      name=f'az {name}',
      description=_summary(
        content.get('short-summary'), content.get('long-summary')
      ),
      parameters=tuple(parameters),
      language='bash',
    ),
    aliases,
    tuple(examples),
  )


def _summary(*texts: Any) -> str:
  """Help strings, or lists of them, as paragraphs."""
  parts = []
  for text in texts:
    lines = text if isinstance(text, list) else [text]
    parts += [' '.join(str(line).split()) for line in lines if line]
  return '\n\n'.join(parts)


_AAZ_TYPES = {
  'AAZBoolArg': 'boolean',
  'AAZFloatArg': 'number',
  'AAZIntArg': 'integer',
  'AAZListArg': 'array of string',
}
_AAZ_OPTIONS = {
  'AAZResourceGroupNameArg': ['-g', '--resource-group'],
  'AAZResourceLocationArg': ['-l', '--location'],
}


def _generated_command(source: str) -> Iterator[Command]:
  """An AAZCommand class; copies for a module's own use are not registered."""
  registered = re.search(r'@register_command\(\s*["\']([^"\']+)["\']', source)
  if not registered:
    return
  # What follows runs the command; it is long, and says nothing about options.
  source = source.split('\n    def _execute_operations', 1)[0]
  tree = ast.parse(source)
  classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
  text = ast.get_docstring(classes[0]) if classes else None
  if not text:
    raise entry.MalformedError('no_help')
  parts = re.split(r'^:example:[ \t]*(.*)\n', text, flags=re.MULTILINE)
  examples = [
    (parts[i], inspect.cleandoc('\n' + parts[i + 1]))
    for i in range(1, len(parts), 2)
  ]
  parameters, aliases = [], dict(_AZURE_SHORT)
  for node in ast.walk(classes[0]):
    match node:
      case ast.Assign(
        targets=[
          ast.Attribute(value=ast.Name(id='_args_schema'), attr=attribute)
        ],
        value=ast.Call(func=ast.Name(id=kind), keywords=keywords),
      ):
        said = _keywords(keywords)
        options = said.get('options') or _AAZ_OPTIONS.get(
          kind, ['--' + attribute.replace('_', '-')]
        )
        long = max(options, key=lambda o: (o.startswith('--'), len(o)))
        aliases.update((o.lstrip('-'), long.lstrip('-')) for o in options)
        words = said.get('help', '')
        if isinstance(words, dict):
          words = _summary(
            words.get('short-summary'), words.get('long-summary')
          )
        enum = said.get('enum')
        parameters.append(
          tool.Parameter(
            name=long.lstrip('-'),
            type=_AAZ_TYPES.get(kind, 'string'),
            description=str(words),
            required=bool(said.get('required')),
            default=str(said.get('default', '')),
            choices=tuple(map(str, enum)) if isinstance(enum, dict) else (),
          )
        )
  described = tool.Tool(
    name=f'az {registered[1]}',
    description=parts[0].strip(),
    parameters=tuple(parameters),
    language='bash',
  )
  yield Command(described, aliases, tuple(examples))


def _keywords(keywords: Sequence[ast.keyword]) -> dict[str, Any]:
  """The literal ones among a call's keyword arguments."""
  found = {}
  for keyword in keywords:
    if keyword.arg in ('options', 'help', 'required', 'enum', 'default'):
      try:
        found[keyword.arg] = ast.literal_eval(keyword.value)
      except ValueError:
        continue  # a name or a call: its value is not ours to know
  return found


def _with_seen_options(command: Command) -> Command:
  """The command with types, and with options that only its examples show.

  An option's type is what all examples agree on: a flag, one word, several.
  What an example does without isn't required, whatever a generator says.
  """
  seen: dict[str, list[str]] = {}
  parsed = 0
  for _, line in command.examples:
    try:
      _, options = _split(line.strip())
    except entry.MalformedError:
      continue
    parsed += 1
    for option, values in options:
      if name := _long_name(option, command.aliases):
        kinds = ('boolean', 'string')
        kind = kinds[len(values)] if len(values) < 2 else 'array of string'
        seen.setdefault(name, []).append(kind)
  order = ('boolean', 'string', 'array of string')
  types = {name: max(kinds, key=order.index) for name, kinds in seen.items()}
  parameters = [
    dataclasses.replace(
      p,
      type=p.type or types.get(p.name, 'string'),
      required=p.required and len(seen.get(p.name, ())) >= parsed,
    )
    for p in command.tool.parameters
  ]
  known = {p.name for p in parameters}
  parameters += [
    tool.Parameter(name, types[name]) for name in types if name not in known
  ]
  return dataclasses.replace(
    command,
    tool=dataclasses.replace(command.tool, parameters=tuple(parameters)),
  )
