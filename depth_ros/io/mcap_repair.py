"""What is whole of an MCAP file that was cut off, as when the power went while recording."""

from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from depth_ros.io.output import writing

MAGIC = b'\x89MCAP0\r\n'
DATA_END = b'\x0f' + (4).to_bytes(8, 'little') + bytes(4)
FOOTER = b'\x02' + (20).to_bytes(8, 'little') + bytes(20)    # no summary: readers scan the records


def copy_readable(path: Path, target: Path) -> bool:
    """Write the whole records of the MCAP file `path` as a valid file `target`; return False if there are none."""
    if path.suffix != '.mcap' or not path.is_file():
        return False
    with path.open('rb') as source:
        end = _end_of_records(source, path.stat().st_size)
        if not end:
            return False
        source.seek(0)
        with writing(target), target.open('wb') as copy:
            copyfileobj(source, copy)
            copy.truncate(end)
            copy.seek(end)
            copy.write(DATA_END + FOOTER + MAGIC)
    return True


def _end_of_records(source: BinaryIO, size: int) -> int:
    """Return where the last whole record of the data section ends, 0 if there are no messages before."""
    if source.read(len(MAGIC)) != MAGIC:
        return 0
    end, has_messages = 0, False
    while True:
        head = source.read(9)    # opcode, length
        after = source.tell() + int.from_bytes(head[1:], 'little')
        if len(head) < 9 or after > size or head[0] in (0x00, 0x02, 0x0F):    # no record, footer, end of data
            return end if has_messages else 0
        has_messages |= head[0] in (0x05, 0x06)    # message, chunk
        end = source.seek(after)
