"""A tiny environment for the loops: three boxes, one of which holds a key."""

from hephaestus_jax.corpus.simulate import environment


class Boxes:
  """Open the red box, then take the key. The green box is a trap."""

  instructions = 'Boxes can be opened, keys taken.'
  task = 'Take the key.'

  def __init__(self):
    self.reset()

  def reset(self):
    self.opened = False
    return 'You see a red, a green and a blue box.'

  def step(self, action):
    match action:
      case 'open red box':
        self.opened = True
        return environment.Outcome('In the red box lies a key.', 0.5, False)
      case 'open blue box':
        return environment.Outcome('The blue box is empty.', 0.0, False)
      case 'open green box':
        return environment.Outcome('A trap! You are out.', 0.0, True)
      case 'take key' if self.opened:
        return environment.Outcome('You have the key.', 1.0, True)
    return environment.Outcome(f'Nothing comes of "{action}".', 0.0, False)

  def admissible(self):
    return ('open blue box', 'open green box', 'open red box')

  def solution(self):
    return ('take key',) if self.opened else ('open red box', 'take key')

  def close(self):
    pass
