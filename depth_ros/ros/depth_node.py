"""The node: messages in, messages out, and the lifecycle around one worker."""

import re
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.subscription import Subscription
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from depth_ros.errors import DepthRosError, SettingsError
from depth_ros.io.camera_msg import parse_intrinsics, read_calibration
from depth_ros.io.measured import Measurements
from depth_ros.pipeline import open_live
from depth_ros.ros import parameters
from depth_ros.ros.diagnostics import PATIENCE_S, Statistics, WarnOnce, diagnose, report, values
from depth_ros.ros.outputs import Outputs
from depth_ros.ros.qos import subscribe
from depth_ros.ros.sensors import Sensors
from depth_ros.ros.worker import Worker


class DepthNode(LifecycleNode):
    """A camera topic in, depth topics out. Callbacks only hand over; all work is the worker's.

    Raises SettingsError if a parameter that was given is not known or outside its limits.
    """

    def __init__(self, name: str = 'depth_node') -> None:
        super().__init__(name)
        parameters.declare(self)
        self.add_on_set_parameters_callback(
            lambda changes: parameters.judge(self, changes, configured=self.worker is not None))
        self.phase, self.failure = 'unconfigured', ''
        self.worker: Worker | None = None    # while configured
        self.inputs: list[Subscription] = []    # while active: camera_info, picture
        self.sensors: Sensors | None = None     # while active
        self.active_since_s = 0.0
        self.statistics, self.warn = Statistics(), WarnOnce(self.get_logger().warning)
        self.publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_service(Trigger, '~/reset', self._on_reset)
        # Steady clocks: with use_sim_time the node's own stands still until somebody publishes it.
        settings, steady = parameters.read(self), Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(settings.node.diagnostics_period_s, self._report, clock=steady)
        if settings.node.autostart:
            self.starter = self.create_timer(0.0, self._autostart, clock=steady)

    def _autostart(self) -> None:
        self.starter.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt('configure', self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        done = self._attempt('activate', self._activate)
        if done != TransitionCallbackReturn.SUCCESS:
            self.on_deactivate(state)    # what had begun
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        for subscription in self.inputs:
            self.destroy_subscription(subscription)
        if self.sensors is not None:
            self.sensors.destroy()
        self.inputs, self.sensors, self.phase = [], None, 'inactive'
        if self.worker is not None:
            self.worker.stop()
        self.statistics.pause()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.on_deactivate(state)
        if self.worker is not None:
            self.worker.outputs.destroy()
        self.worker, self.phase = None, 'unconfigured'
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self.on_cleanup(state)

    def _attempt(self, name: str, transition: Callable[[], None]) -> TransitionCallbackReturn:
        """Return whether the transition worked; rclpy would swallow the reason why not."""
        try:
            transition()
        except Exception as error:
            self.failure = str(error) if isinstance(error, DepthRosError) else f'{type(error).__name__}: {error}'
            if self.context.ok():    # publishing fails while the process ends: no news
                self.get_logger().error(f'cannot {name}: {self.failure}')
            return TransitionCallbackReturn.FAILURE
        self.failure = ''
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        settings = parameters.read(self)
        if settings.camera.file:
            read_calibration(settings.camera.file)
        if settings.camera.fx_fy_cx_cy:
            parse_intrinsics(settings.camera.fx_fy_cx_cy)
        measurements = Measurements(settings.metric)
        stream, engines = open_live(settings, self.get_logger().info, self.get_logger().warning)
        self.statistics, self.warn = Statistics(), WarnOnce(self.get_logger().warning)
        outputs = Outputs(self, stream.family, stream.info, self.warn, settings)
        self.worker = Worker(stream, engines, measurements, outputs, self.statistics, self.warn,
                             lambda: parameters.read(self))
        self.phase = 'inactive'
        self.get_logger().info(f'configured: {", ".join(f"{key} {value}" for key, value in stream.info.items())}')

    def _activate(self) -> None:
        assert self.worker is not None
        settings, worker = parameters.read(self).node, self.worker
        topic, kind = ('image', Image) if settings.image_transport == 'raw' else ('image/compressed', CompressedImage)
        # In this order the executor takes what came together: what was measured and the camera_info before the picture.
        kinds = () if worker.stream.family.quantity.is_metric else worker.measurements.kinds
        self.sensors = Sensors(self, kinds, worker.on_measured, self.warn)
        self.inputs.append(subscribe(self, CameraInfo, 'camera_info', worker.on_camera_info, self.warn))
        self.inputs.append(subscribe(self, kind, topic, worker.on_image, self.warn))
        worker.start(exact=settings.camera_info_policy == 'exact')
        self.phase, self.active_since_s = 'active', time.monotonic()
        self.get_logger().info(f'waiting for pictures on {self.inputs[1].topic_name}')

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.worker is not None
        response.message = 'the next picture starts a new segment' if self.worker else 'the node is not configured'
        if self.worker is not None:
            self.worker.reset_wanted = True
        return response

    def _report(self) -> None:
        """Publish /diagnostics, and warn of what has not come by now."""
        listeners = self.worker.outputs.listeners() if self.worker else 0
        missing = self.sensors.problem() if self.sensors else ''
        if missing:
            self.warn(missing)
        if self.phase == 'active' and time.monotonic() - self.active_since_s > PATIENCE_S:
            self._warn_of_silence()
        level, message = diagnose(self.phase, self.failure, self.statistics, listeners, missing)
        now, info = self.get_clock().now(), {}
        if self.worker:
            info = {**self.worker.stream.info, 'metric_source': self.worker.measurements.settings.source}
        said = values(self.statistics, info, now.nanoseconds)
        if (note := info.get('backend_note', '')).startswith('building'):
            message += f', {note}'
        said['listeners'] = str(listeners)
        said |= self.sensors.rates() if self.sensors else {}
        self.publisher.publish(report(now.to_msg(), self.get_fully_qualified_name(), level, message, said))

    def _warn_of_silence(self) -> None:
        name = self.inputs[1].topic_name
        if not self.statistics.arrivals.times_s and not self.count_publishers(name):
            self.warn(f'nobody publishes on {name}; remap image to the topic of the camera, or set node.image_transport')
        elif not self.statistics.arrivals.times_s:
            self.warn(f'{name} is published, but no picture arrives; large ones get lost with best effort: set '
                      f'qos_overrides.{name}.subscription.reliability to reliable, or use config/fastdds.xml')
        elif self.statistics.camera_problem:
            self.warn(self.statistics.camera_problem)

    def close(self) -> None:
        """End the thread and give everything back; the context may be gone already."""
        if self.worker is not None:
            self.worker.stop()
        self.destroy_node()


def parse_names(args: list[str] | None) -> list[str]:
    """Return the names of the nodes that the command line asks for; a wrong one ends the program with a sentence."""
    parser = ArgumentParser('depth_node', description='Depth from one camera, or from several in one process.')
    parser.add_argument('--names', nargs='+', default=['depth_node'], metavar='NAME', help='one node for each; the TensorRT '
                        'engines that they share are on the GPU once. Remaps and parameters take the name of the node '
                        'before a colon: -r left:image:=/left/image_raw -p left:length:=8')
    names: list[str] = parser.parse_args(remove_ros_args(args)[1:]).names
    if len(set(names)) < len(names):
        parser.error(f'each name may be given once, got {" ".join(names)}')
    if wrong := [name for name in names if not re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', name)]:
        parser.error(f'{wrong[0]!r} is no name of a node; take letters, digits and underscores')
    return names


def check_named(args: list[str], node: DepthNode) -> None:
    """Raise SettingsError for a parameter `-p NAME:...` of this node that ROS keeps from it without a word."""
    for flag, rule in zip(args, args[1:], strict=False):
        if flag in ('-p', '--param') and rule.startswith(f'{node.get_name()}:') and node.get_namespace() != '/':
            raise SettingsError(f'-p {rule} does not reach {node.get_fully_qualified_name()}: in a namespace ROS takes the '
                                f'parameters of one node from a file only (--params-file, under '
                                f'{node.get_fully_qualified_name()}:)')


def main(args: list[str] | None = None) -> int:
    """Run a node, or one for each of `--names`, until interrupted; return the exit code."""
    # rclpy ends the context on SIGINT as on SIGTERM; a KeyboardInterrupt on top would come out of the middle of anything.
    signal.signal(signal.SIGINT, lambda *_: None)
    # One small picture at a time gains nothing from OpenCV's threads, and waits for them while the network has the cores.
    cv2.setNumThreads(1)
    names = parse_names(args)
    rclpy.init(args=args)
    nodes: list[DepthNode] = []
    code = 0
    try:
        executor = SingleThreadedExecutor()
        for name in names:
            nodes.append(DepthNode(name))
            check_named(args or sys.argv, nodes[-1])
            executor.add_node(nodes[-1])
        executor.spin()
    except ExternalShutdownException:
        pass
    except DepthRosError as error:
        get_logger('depth_node').fatal(str(error))
        code = 2
    except Exception:
        if rclpy.ok():    # else the context ended while rclpy was at work in it
            raise
    finally:
        for node in nodes:
            node.close()
        rclpy.try_shutdown()
    return code


if __name__ == '__main__':
    sys.exit(main())
