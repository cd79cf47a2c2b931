"""A network with a known answer, written byte by byte so that tests need no ONNX library: the mean of R, G and B."""

from pathlib import Path

H, W = 24, 32


def number(value: int) -> bytes:
    """Return a protobuf varint below 2 ** 14."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def field(tag: int, value: int | bytes | str) -> bytes:
    """Return one protobuf field: a number, or bytes with their length."""
    if isinstance(value, int):
        return number(tag << 3) + number(value)
    value = value.encode() if isinstance(value, str) else value
    return number(tag << 3 | 2) + number(len(value)) + value


def array(name: str, *shape: int) -> bytes:
    """Return an onnx.ValueInfoProto of float32."""
    dimensions = b''.join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))


def write_network(folder: Path, quantity: str = 'disparity_affine') -> Path:
    """Write the network and its description, and return the path of the description.

    A white wall has the value 10, a black one 0.
    """
    axes = field(1, 'axes') + field(8, 1) + field(20, 7)
    keep = field(1, 'keepdims') + field(3, 1) + field(20, 2)
    node = field(1, 'picture') + field(2, 'map') + field(4, 'ReduceMean') + field(5, axes) + field(5, keep)
    inputs, outputs = field(11, array('picture', 1, 3, H, W)), field(12, array('map', 1, 1, H, W))
    graph = field(1, node) + field(2, 'grey') + inputs + outputs
    (folder / 'grey.onnx').write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, '') + field(2, 13)))
    description = folder / f'{quantity}.yaml'
    description.write_text(f'file: grey.onnx\ninput: picture\noutput: map\nsize: [{H}, {W}]\nvalue_range: [0, 10]\n'
                           f'quantity: {quantity}\nlicence: Apache-2.0\n')
    return description
