"""What was written is known again, and any harm to it is named."""

import pytest

from hephaestus_jax import manifest


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / 'x').write_bytes(b'123456789')
  (tmp_path / 'y').write_bytes(b'')
  manifest.write(tmp_path)
  return tmp_path


def test_what_was_left_alone_is_as_written(folder):
  assert manifest.damage(folder) is None
  # The check value that every description of CRC-32 gives for these digits.
  assert '"crc32": "cbf43926"' in (folder / manifest.NAME).read_text()


def test_harm_is_named_with_both_values(folder):
  x = folder / 'a' / 'x'
  x.write_bytes(b'12345678')
  assert manifest.damage(folder) == 'a/x has 8 bytes, and 9 were written'
  x.write_bytes(b'123456788')
  assert manifest.damage(folder) == (
    'a/x has the CRC-32 bcf309b0, and cbf43926 was written'
  )
  x.unlink()
  assert manifest.damage(folder) == 'a/x is missing'
  assert manifest.damage(folder, under='y') is None


def test_every_bit_of_the_manifest_counts(folder):
  path = folder / manifest.NAME
  whole = path.read_bytes()
  for place in range(len(whole)):
    for bit in range(8):
      harmed = bytearray(whole)
      harmed[place] ^= 1 << bit
      path.write_bytes(harmed)
      assert manifest.damage(folder) is not None, (place, bit)
  path.write_bytes(whole[:-5])
  assert manifest.damage(folder) == f'{manifest.NAME} is not what was written'
  path.unlink()
  assert manifest.damage(folder) == f'{manifest.NAME} is missing'


def test_readers_that_share_the_files_see_all_of_them(folder):
  (folder / 'y').write_bytes(b'?')
  found = [manifest.damage(folder, part=i, parts=2) for i in range(2)]
  assert found == [None, 'y has 1 bytes, and 0 were written']
