import numpy as np
import pytest

from depth_ros.errors import InputError
from depth_ros.io.tf import TransformTree
from test.io.made import SECOND
from test.io.sensors import OPTICAL, transform

QUARTER = (0, 0, np.sqrt(0.5), np.sqrt(0.5))    # 90 degrees about z


def tree(*static, moving=()):
    grown = TransformTree()
    grown.add(static, static=True)
    grown.add(moving)
    return grown


def moved(grown, target, source, point, stamp=0):
    return (grown.lookup(target, source, stamp) @ [*point, 1])[:3]


def test_points_go_up_and_down_the_tree():
    grown = tree(transform('base', 'lidar', 0, (0, 0, 2)), transform('base', 'mast', 0, (1, 0, 1)),
                 transform('mast', 'cam', 0, turn=OPTICAL))
    assert moved(grown, 'base', 'lidar', (5, 0, 0)) == pytest.approx([5, 0, 2])
    assert moved(grown, 'cam', 'lidar', (5, 0.5, 0)) == pytest.approx([-0.5, -1, 4])    # right, down, forward
    assert np.allclose(grown.lookup('cam', 'lidar', 0) @ grown.lookup('lidar', 'cam', 0), np.eye(4))
    assert np.array_equal(grown.lookup('cam', 'cam', 0), np.eye(4))


def test_a_moving_frame_is_where_it_was_at_that_time():
    grown = tree(moving=[transform('odom', 'base', at * SECOND, (at, 0, 0)) for at in range(3)])
    assert moved(grown, 'odom', 'base', (0, 0, 0), 1 * SECOND) == pytest.approx([1, 0, 0])
    assert moved(grown, 'odom', 'base', (0, 0, 0), 5 * SECOND // 4) == pytest.approx([1.25, 0, 0])


@pytest.mark.parametrize('sign', [1, -1])
def test_a_turn_is_interpolated_the_short_way_round(sign):
    grown = tree(moving=[transform('odom', 'base', 0), transform('odom', 'base', SECOND, turn=sign * np.array(QUARTER))])
    angle = np.radians(30)
    assert moved(grown, 'odom', 'base', (1, 0, 0), SECOND // 3) == pytest.approx([np.cos(angle), np.sin(angle), 0], abs=1e-6)


def test_what_comes_late_is_put_in_order_and_what_comes_again_replaces():
    grown = tree(moving=[transform('odom', 'base', at, (value, 0, 0)) for at, value in ((0, 0), (20, 2), (10, 5), (20, 4))])
    assert [moved(grown, 'odom', 'base', (0, 0, 0), at)[0] for at in (0, 10, 15, 20)] == pytest.approx([0, 5, 4.5, 4])
    assert grown.edges['base'].stamps == [0, 10, 20]


def test_ten_seconds_are_kept_of_what_moves_and_everything_of_what_does_not():
    grown = tree(transform('base', 'cam', 0, (0, 0, 1)),
                 moving=[transform('odom', 'base', at * SECOND // 100, (at, 0, 0)) for at in range(3000)])
    assert len(grown.edges['base'].stamps) == 1001
    grown.add([transform('odom', 'base', 0)])    # too old to count
    assert len(grown.edges['base'].stamps) == 1001
    assert moved(grown, 'base', 'cam', (0, 0, 0), 10**19) == pytest.approx([0, 0, 1])
    grown.forget_moving()
    assert list(grown.edges) == ['cam']


@pytest.mark.parametrize(('target', 'source', 'stamp', 'words'), [
    ('cam', 'lidar', 0, "no transform from 'lidar' to 'cam' .known frames: base, cam, lidar, mast, odom"),
    ('cam', 'nobody', 0, "from 'nobody' to 'cam'"),
    ('odom', 'base', 3 * SECOND, "from 'base' to 'odom' ends 1.000 s before"),
    ('cam', 'odom', SECOND // 2, "from 'base' to 'odom' begins 0.500 s after"),
])
def test_what_is_not_known_is_said(target, source, stamp, words):
    grown = tree(transform('base', 'cam', 0), transform('mast', 'lidar', 0),
                 moving=[transform('odom', 'base', at * SECOND) for at in (1, 2)])
    with pytest.raises(InputError, match=words):
        grown.lookup(target, source, stamp)


def test_a_loop_is_refused_and_the_rest_stands():
    grown = tree(transform('a', 'b', 0, (1, 0, 0)), transform('b', 'c', 0, (1, 0, 0)))
    for parent, child in (('c', 'a'), ('b', 'a'), ('a', 'a')):
        with pytest.raises(InputError, match=f'from {child!r} to {parent!r} would close a loop'):
            grown.add([transform(parent, child, 0)], static=True)
    assert moved(grown, 'a', 'c', (0, 0, 0)) == pytest.approx([2, 0, 0])


@pytest.mark.parametrize(('xyz', 'turn'), [
    ((np.nan, 0, 0), (0, 0, 0, 1)), ((0, 0, 0), (0, 0, 0, 0)), ((0, 0, 0), (2, 0, 0, 1))])
def test_what_is_no_pose_is_refused(xyz, turn):
    with pytest.raises(InputError, match="from 'b' to 'a' is no pose"):
        tree(transform('a', 'b', 0, xyz, turn))


def test_a_frame_may_move_to_another_parent_and_names_may_begin_with_a_slash():
    grown = tree(transform('/a', 'b', 0, (1, 0, 0)))
    assert moved(grown, 'a', '/b', (0, 0, 0)) == pytest.approx([1, 0, 0])
    grown.add([transform('z', 'b', 0, (3, 0, 0))], static=True)
    assert moved(grown, 'z', 'b', (0, 0, 0)) == pytest.approx([3, 0, 0]) and not grown.connected('a', 'b')
