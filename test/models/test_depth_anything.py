"""Depth Anything V2 gives the published numbers with the parity kit's weights, from every stage on."""

import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from depth_ros.errors import WeightsError  # noqa: E402
from depth_ros.families.preprocess import ShortSide, enlarge_corners, normalise, shrink_cubic  # noqa: E402
from depth_ros.models import depth_anything, weights  # noqa: E402
from test.families.tiny import depth_anything as tiny  # noqa: E402
from test.families.tiny import video_depth_anything as video  # noqa: E402
from test.models.manifest import manifest  # noqa: E402
from test.parity.compare import Golden  # noqa: E402


@pytest.mark.parametrize('name', ['dav2_vits', 'dav2_vitb', 'dav2_vitl'])
def test_every_published_file_fits(name, shared):
    published = manifest(shared, name)
    assert depth_anything.expected('model', published) == published


def test_a_picture_gets_the_published_disparity():
    golden = Golden('dav2_s_seed0')
    tensors = video.fill(tiny.shapes())
    for key, value in golden.meta['overrides'].items():
        tensors[key].fill_(value)
    with torch.device('meta'):
        network = depth_anything.DepthAnything(weights.shapes_of(tensors))
    weights.load(network, tensors, 'pseudo-random')
    heard = {}
    fuse = network.depth_head.scratch
    for name, module in (('refinenet4', fuse.refinenet4), ('refinenet1', fuse.refinenet1), ('pre_relu', fuse.output_conv2)):
        module.register_forward_hook(lambda module, inputs, output, name=name: heard.update({name: output}))
    rgb = golden['image_bgr'][..., ::-1]
    x = torch.from_numpy(normalise(shrink_cubic(rgb, ShortSide(56)(*rgb.shape[:2]))[None]))
    disparity = network(x)
    golden.check('x', x)
    golden.check('vit_features', torch.stack(network.pretrained(x, (2, 5, 8, 11))))
    for name, value in heard.items():
        golden.check(name, value)
    golden.check('depth', disparity)
    golden.check('depth_full', enlarge_corners(disparity[0].numpy(), rgb.shape[:2]))
    assert golden.report()
    assert len(golden.rows) == 7


def test_a_file_of_another_network_is_named_as_such():
    with pytest.raises(WeightsError, match='depth_head'):
        depth_anything.expected('model', video.shapes())
