"""Pure: the hash tags that spread the partitions of one system over all slots of a cluster.

A cluster divides 16384 slots among its masters, as a rule in ranges of equal length, and a key
belongs to the slot that the checksum of its hash tag names. The names `p0`, `p1`, ... would fall
into slots by chance. So each name gets a suffix with which the tag falls into a chosen slot. The
slots follow a sequence of which every beginning is spread evenly, so any number of partitions is.
"""

from binascii import crc_hqx
from functools import cache
from itertools import product
from string import ascii_lowercase

SLOTS = 16384
_SLOT_BITS = 14
_SUFFIX_LENGTH = 4


def slot_of(tag: str) -> int:
    """The slot of the keys with this hash tag, given without braces."""
    return crc_hqx(tag.encode(), 0) % SLOTS


def chosen_slot(partition: int) -> int:
    """The slot of a partition: the number with its bits reversed, less one.

    Halves, quarters, eighths of the range are taken in turn. Less one, because then three
    partitions fall to three masters: into the slots 16383, 8191 and 4095.
    """
    reversed_bits = int(f"{partition % SLOTS:0{_SLOT_BITS}b}"[::-1], 2)
    return (reversed_bits - 1) % SLOTS


@cache
def spread_tag(name: str, partition: int) -> str:
    """`NAME.SUFFIX`, a hash tag in the slot of the partition; always the same for the same name."""
    # The checksum is linear: the checksum of a text is that of its two halves, combined by xor.
    prefix = crc_hqx(bytes(_SUFFIX_LENGTH), crc_hqx(f"{name}.".encode(), 0))
    return f"{name}.{_suffixes()[(prefix % SLOTS) ^ chosen_slot(partition)]}"


@cache
def _suffixes() -> dict[int, str]:
    """The first suffix in the alphabet for each slot; computed once, in a few hundredths of a s."""
    found: dict[int, str] = {}
    for letters in product(ascii_lowercase, repeat=_SUFFIX_LENGTH):
        suffix = "".join(letters)
        found.setdefault(slot_of(suffix), suffix)
        if len(found) == SLOTS:
            break
    return found
