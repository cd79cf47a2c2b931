"""How pictures reach the node: compressed, and with a camera_info of the very same stamp."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from test.ros.rig import Rig, camera_info, grey_picture, image, stamped, wait


def jpeg(rgb: np.ndarray, stamp_ns: int) -> CompressedImage:
    data = cv2.imencode('.jpg', rgb)[1].tobytes()
    return stamped(CompressedImage(format='rgb8; jpeg compressed bgr8', data=data), stamp_ns)


def test_compressed_pictures_become_depth_and_broken_ones_are_counted(networks: dict[str, Path],
                                                                      tmp_path: Path) -> None:
    with Rig('compressed', tmp_path, weights=networks['metric'], node__image_transport='compressed') as rig:
        rig.listen('depth/image')

        def answered() -> bool:
            rig.compressed.publish(jpeg(grey_picture(51), rig.tick()))
            return bool(rig.received['depth/image'])

        wait(answered, f'depth; the node says:\n{rig.process.log}')
        broken = jpeg(grey_picture(), rig.tick())
        broken.data = broken.data[:100]
        rig.compressed.publish(broken)
        rig.status(lambda values, status: int(values.get('drops: unusable picture', 0)) == 1)
        assert 'truncated JPEG of 100 bytes' in rig.process.log
        rig.compressed.publish(jpeg(grey_picture(51), rig.tick()))
        message = rig.answer('depth/image', rig.clock_ns)
        assert np.frombuffer(message.data, np.float32) == pytest.approx(2.0, abs=0.1)


def test_picture_and_camera_info_of_one_stamp_find_each_other_in_either_order(networks: dict[str, Path],
                                                                             tmp_path: Path) -> None:
    with Rig('exact', tmp_path, weights=networks['metric'], node__camera_info_policy='exact') as rig:
        rig.warm_up('depth/image', 'depth/camera_info')
        rig.send(image(grey_picture(), rig.tick()), camera_info(rig.clock_ns))
        rig.answer('depth/camera_info', rig.clock_ns)
        rig.send(image(grey_picture(), rig.tick()))
        rig.infos.publish(camera_info(rig.clock_ns))
        rig.answer('depth/camera_info', rig.clock_ns)
        lonely_ns = rig.send(image(grey_picture(), rig.tick()))
        rig.said()    # by this time it has arrived
        rig.send(image(grey_picture(), rig.tick()))    # now no camera_info can be expected for the one before
        rig.answer('depth/image', lonely_ns)
        assert int(rig.said()['uncalibrated: no camera_info']) >= 1
