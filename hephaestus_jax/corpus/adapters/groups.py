"""The namespace of groups, shared by all sources.

A group is what the held-out split holds out: a service, wherever its text comes
from. If `s3` were in training as command-line pages and held out as an API, the
held-out loss would measure memory.
"""

import re

# AWS command-line names, and near copies of a service under another name.
AWS_ALIASES = {
  'autoscaling-plans': 'autoscaling',
  'cloudhsmv2': 'cloudhsm',
  'codestar-connections': 'codeconnections',
  'configservice': 'config',
  'deploy': 'codedeploy',
  'ds-data': 'ds',
  'dynamodbstreams': 'dynamodb',
  'lex-models': 'lex',
  'lex-runtime': 'lex',
  'lexv2-models': 'lex',
  'lexv2-runtime': 'lex',
  'opensearch': 'es',
  's3api': 's3',
  'waf-regional': 'waf',
}


def aws(service: str) -> str:
  """The group of an AWS service, by its botocore or command-line name.

  >>> [aws('s3api'), aws('elbv2'), aws('ec2'), aws('iot-data')]
  ['s3', 'elb', 'ec2', 'iot']
  """
  if service in AWS_ALIASES:
    return AWS_ALIASES[service]
  # A second version repeats the first; a data plane its control plane.
  service = re.sub(r'v\d$|-(data|runtime|jobs-data)$', '', service)
  return AWS_ALIASES.get(service, service)


def google(api: str) -> str:
  """The group of a Google API: google('admin.directory') is 'google-admin'."""
  return 'google-' + api.split('.', 1)[0].lower()


# Modules of azure-cli that carry another module's commands.
AZURE_ALIASES = {
  'policyinsights': 'resource',
  'privatedns': 'network',
  'rdbms': 'mysql',
  'sqlvm': 'sql',
}


def azure(path: str) -> str:
  """The group of a file of azure-cli: the command module that it lies in.

  >>> azure('azure/cli/command_modules/storage/_help.py')
  'azure-storage'
  """
  module = path.split('/command_modules/', 1)[1].split('/', 1)[0]
  return 'azure-' + AZURE_ALIASES.get(module, module)


def python_module(path: str) -> str:
  """The group of a Python file: its service, else its dotted module.

  >>> [python_module('networkx/algorithms/core.py'),
  ...  python_module('awscli/customizations/s3/subcommands.py')]
  ['networkx.algorithms.core', 's3']
  """
  parts = path.removesuffix('.py').removesuffix('/__init__').split('/')
  if '/command_modules/' in path and len(parts) > 3:
    return azure(path)
  if path.startswith('awscli/customizations/') and len(parts) > 2:
    return aws(parts[2])
  if path.startswith('ansible/modules/') and len(parts) > 2:
    return ansible(parts[2])
  return '.'.join(parts)


def digitalocean(resource: str) -> str:
  """The group of a DigitalOcean resource, 'digitalocean-droplets'."""
  return 'digitalocean-' + resource.lower()


def kubernetes(api: str) -> str:
  """The group of a Kubernetes API class.

  The versions of one API repeat each other, so they share a group.

  >>> [kubernetes('AppsV1Api'), kubernetes('AutoscalingV2Api')]
  ['kubernetes-apps', 'kubernetes-autoscaling']
  """
  name = re.sub(r'(V\d+((alpha|beta)\d+)?)?Api$', '', api)
  return 'kubernetes-' + (name.lower() or 'root')


def ansible(module: str) -> str:
  """The group of an Ansible module; a second version repeats the first.

  >>> [ansible('apt'), ansible('dnf5')]
  ['ansible-apt', 'ansible-dnf']
  """
  return 'ansible-' + module.rstrip('0123456789')
