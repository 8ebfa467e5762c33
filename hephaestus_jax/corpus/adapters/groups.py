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


def azure(command: str) -> str:
  """The group of an az command: 'storage blob list' -> 'azure-storage'."""
  return 'azure-' + command.split()[0].lower()


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
  """The group of an Ansible module, 'ansible-apt'."""
  return 'ansible-' + module
