from hephaestus_jax.corpus import document

MODULE = '''
DOCUMENTATION = """
short_description: Boils
description:
  - Boils water with C(kettle), see L(the manual,https://a.example).
options:
  litres:
    description: How much.
    type: int
    required: true
  mode:
    description: [Set to V(fast).]
    choices: [fast, slow]
    default: slow
"""
EXAMPLES = """
- name: Boil it
  ansible.builtin.boil:
    litres: 2

- name: Boil something unheard of
  ansible.builtin.boil:
    gallons: 2

- ansible.builtin.boil:
    litres: 2

- name: Another module
  ansible.builtin.pour: {}
"""
RETURN = """
id:
  description: Of the boil.
  type: str
"""
'''
MEMBERS = {
  'ansible/modules/boil.py': MODULE,
  'ansible/modules/empty.py': 'a = 1\n',
}
PAGE = """**API: ansible.builtin.boil**

Boils water with `kettle`, see the manual.

**Parameters**

- litres (integer, required): How much.
- mode (string, optional): Set to `fast`. One of: fast, slow. Default: slow.

**Returns**

- id (string): Of the boil.

**Example**

```yaml
- name: Boil it"""


def test_a_module_becomes_a_page(read):
  found, drop = read('ansible_docs', MEMBERS)
  assert found.id == 'ansible_docs/ansible-boil/boil'
  assert found.licence == 'GPL-3.0-or-later'
  assert found.text.startswith(PAGE)
  assert drop.reason == 'no_documentation'


def test_a_task_becomes_a_call(read):
  members = {'ansible/modules/boil.py': MODULE}
  found, *drops = read('ansible_requests', members)
  assert found.id == 'ansible_requests/ansible-boil/boil/0'
  assert found.segments[1:] == (
    document.Segment('user', 'Boil it. Use litres "2".'),
    document.Segment(
      'action', '{"name": "ansible.builtin.boil", "arguments": {"litres": 2}}'
    ),
  )
  assert [d.reason for d in drops] == [
    'unknown_option',
    'no_request',
    'another_command',
  ]
