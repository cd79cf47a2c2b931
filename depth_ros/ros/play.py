"""A recording as a camera: its pictures and camera_info as topics at their real rate, stamped with the time of playing.

    python -m depth_ros.ros.play RECORDING

Pictures wider than 640 pixels are played at that width: two cores that send, infer, receive and record larger ones measure
only themselves.
"""

import argparse
import sys
import time
from dataclasses import replace

import cv2
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from depth_ros.core.camera import resize_camera
from depth_ros.core.frame import Frame
from depth_ros.errors import DepthRosError
from depth_ros.io.camera_msg import camera_info_message
from depth_ros.io.image_msg import image_message
from depth_ros.io.messages import make_header
from depth_ros.io.source import open_source
from depth_ros.ros.outputs import message_types
from depth_ros.settings import CameraSettings

IMAGE, INFO = '/camera/image_raw', '/camera/camera_info'
WAIT_S = 30.0    # for somebody to listen
WIDTH_PX = 640


class Player(Node):
    """Publishes frames reliably: a recording that is played to be measured should arrive whole."""

    def __init__(self) -> None:
        super().__init__('player')
        self.types = message_types()
        self.image = self.create_publisher(Image, IMAGE, QoSProfile(depth=10))
        self.info = self.create_publisher(CameraInfo, INFO, QoSProfile(depth=10))

    def play(self, path: str, intrinsics: str = '') -> int:
        """Publish every frame when it is due and return how many there were."""
        offset_ns, count = 0, 0
        for frame in open_source(path, camera=CameraSettings(model='raw', fx_fy_cx_cy=intrinsics)).frames():
            offset_ns = offset_ns or time.time_ns() + 100_000_000 - frame.stamp_ns
            due_ns = frame.stamp_ns + offset_ns
            time.sleep(max(0.0, (due_ns - time.time_ns()) / 1e9))
            self._publish(frame, due_ns)
            count += 1
        self.image.wait_for_all_acked(Duration(seconds=5))
        return count

    def _publish(self, frame: Frame, stamp_ns: int) -> None:
        frame = shrink(frame)
        header = make_header(self.types, stamp_ns, frame.frame_id or 'camera_optical_frame')
        if frame.camera:
            self.info.publish(camera_info_message(self.types, header, frame.camera))
        self.image.publish(image_message(self.types, header, frame.rgb, 'rgb8'))


def shrink(frame: Frame) -> Frame:
    """Return the frame at most WIDTH_PX wide."""
    height, width = frame.rgb.shape[:2]
    if width <= WIDTH_PX:
        return frame
    height = round(height * WIDTH_PX / width)
    rgb = cv2.resize(frame.rgb, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    return replace(frame, rgb=rgb, camera=frame.camera and resize_camera(frame.camera, height, WIDTH_PX))


def main() -> int:
    """Play the recording named on the command line once somebody listens; print the number of frames."""
    arguments = argparse.ArgumentParser(prog='python -m depth_ros.ros.play')
    arguments.add_argument('recording')
    arguments.add_argument('--intrinsics', default='', help='fx,fy,cx,cy in pixels of the recording')
    arguments.add_argument('--listeners', type=int, default=1, help='subscribers to wait for')
    given = arguments.parse_args()
    rclpy.init()
    player = Player()
    try:
        deadline_s = time.monotonic() + WAIT_S
        while player.image.get_subscription_count() < given.listeners and time.monotonic() < deadline_s:
            time.sleep(0.05)
        print(player.play(given.recording, given.intrinsics))
    except KeyboardInterrupt:
        return 130
    except DepthRosError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        player.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
