"""Every setting, once: default, unit, limits and help. ROS parameters, CLI flags and the README table derive from it.

A setting's name is its path: `family`, `cloud.stride_px`. `build` makes `Settings` of a flat mapping of such names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from depth_ros.errors import SettingsError


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None,
           choices: tuple[str, ...] = (), live: bool = False) -> Any:
    """Return a dataclass field; `live` settings may change while a node runs."""
    return field(default=default, metadata={'help': help, 'low': low, 'high': high, 'choices': choices, 'live': live})


@dataclass(frozen=True)
class ModelSettings:
    """What the networks of the papers understand; `depth_ros models` says which family has what."""

    variant: str = option('', 'Size or kind, e.g. small, large; empty: what the weights file is called, else the smallest.')
    device: str = option('auto', 'Where torch computes; auto: CUDA where there is a GPU.', choices=('auto', 'cpu', 'cuda'))
    precision: str = option('auto', 'Number format of a torch network; auto: fp32 on a CPU, on a GPU fp16 or bf16 as it '
                            'was trained.', choices=('auto', 'fp32', 'fp16', 'bf16'))
    short_side_px: int = option(0, 'Short side of the picture that the network sees; 0: as published [px].', low=0,
                                high=4096)
    pose_injection: bool = option(True, 'GemDepth: add the embedding of the predicted pose to the tokens.')
    tau: float = option(0.5, 'DVD: point of the flow that the one pass stands for.', low=0.0, high=1.0)
    steps: int = option(4, 'Pixel-Perfect Depth: Euler steps.', low=1, high=1000)
    seed: int = option(666, 'Pixel-Perfect Depth: seed of the starting noise.', low=0, high=999_999)
    swap_channels: bool = option(False, 'Pixel-Perfect Video Depth: show the network BGR, as the official video path does.')


@dataclass(frozen=True)
class AlignmentSettings:
    """How successive maps are put on one scale."""

    fit: str = option('robust', 'How a window is fitted to the one before; robust: moving objects do not pull; '
                      'least_squares, scale_only: as published.', choices=('robust', 'least_squares', 'scale_only'))
    per_frame: str = option('auto', 'Fit each map of a single-picture network to the one before; auto: where the '
                            'network is affine-invariant.', choices=('auto', 'on', 'off'))
    cuts: bool = option(True, 'Start a new segment where the picture has nothing to do with the last one, or where a '
                        'fit fails far beyond its running level.')
    gap_s: float = option(2.0, 'A longer gap between two stamps starts a new segment [s].', low=0.01, high=3600.0)
    scale_low: float = option(0.2, 'A fit below this scale is not applied; the last good one holds.', low=1e-3, high=1.0)
    scale_high: float = option(5.0, 'A fit above this scale is not applied; the last good one holds.', low=1.0, high=1e3)


@dataclass(frozen=True)
class CameraSettings:
    """What the pictures are and where their calibration comes from."""

    model: str = option('rectified', 'rectified: pictures are pinhole pictures with matrix P; raw: rays follow K and D; '
                        'rectify: undistort the picture first.', choices=('rectified', 'raw', 'rectify'))
    file: str = option('', 'Calibration YAML as camera_calibration writes it; used instead of camera_info.')
    fx_fy_cx_cy: str = option('', 'Pinhole intrinsics "fx,fy,cx,cy" in pixels of the input; used instead of camera_info.')


@dataclass(frozen=True)
class MetricSettings:
    """Where metres come from."""

    source: str = option('none', 'What brings metres to a network that has none. none; range: LiDAR or a depth image; '
                         'camera_height: the ground seen from a known height; odometry: the way between pictures; family: a '
                         'slow metric network beside the fast one; fixed: scale and shift are known. A metric network needs '
                         'none.', choices=('none', 'range', 'camera_height', 'odometry', 'family', 'fixed'))
    scale: float = option(1.0, 'For the source fixed: inverse depth per unit of disparity [1/m]; for a log-depth network '
                          'log(1 + depth) per unit.', low=1e-9, high=1e9, live=True)
    shift: float = option(0.0, 'For the source fixed: inverse depth at disparity 0 [1/m].', low=-1e3, high=1e3, live=True)
    tolerance_s: float = option(0.05, 'A measurement serves the picture nearest in time, if it is at most so far away [s].',
                                low=0.0, high=10.0)
    extrinsic: str = option('', 'Where the sensor of the metric source sits, seen from the camera: "x,y,z,qx,qy,qz,qw" in m '
                            '(its pose in the optical frame), or a YAML file with them; empty: from /tf_static.')
    range_min_m: float = option(0.1, 'For the source range: nearer measurements are left out [m].', low=0.0, high=1e3)
    range_max_m: float = option(100.0, 'For the source range: farther ones are left out [m].', low=0.1, high=1e5)
    height_m: float = option(0.0, 'For the source camera_height: height of the camera over the ground [m]; it has to be '
                             'given.', low=0.0, high=1e3)
    gravity: str = option('parameter', 'For the source camera_height, where down is known from; parameter: pitch and roll; '
                          'imu: the topic imu; tf: the vertical axis of metric.base_frame.',
                          choices=('parameter', 'imu', 'tf'))
    pitch_deg: float = option(0.0, 'How far the camera looks down [degrees].', low=-89.0, high=89.0)
    roll_deg: float = option(0.0, 'How far the camera is turned clockwise about its axis [degrees].', low=-180.0, high=180.0)
    base_frame: str = option('base_link', 'For gravity from tf: a frame whose z axis points up.')
    odometry: str = option('topic', 'For the source odometry; topic: nav_msgs/Odometry on odometry; tf: the way of the '
                           'camera in metric.odom_frame.', choices=('topic', 'tf'))
    odom_frame: str = option('odom', 'For odometry from tf: the frame that the camera moves in.')
    family: str = option('depthvlm', 'For the source family: the metric network that is asked now and then.')
    weights: str = option('', 'For the source family: its weights, as the setting weights.')
    variant: str = option('', 'For the source family: its variant, as the setting model.variant.')
    every_s: float = option(5.0, 'For the source family: time between two questions, by the stamps [s].', low=0.0,
                            high=3600.0)
    timeout_s: float = option(2.0, 'So long without a fix that fits, and the scale is lost [s]; the source family has '
                              'twice metric.every_s more.', low=0.1, high=3600.0, live=True)
    on_lost: str = option('hold', 'hold: keep the last scale for metric.hold_s, with a warning; stop: no metres at once.',
                          choices=('hold', 'stop'), live=True)
    hold_s: float = option(5.0, 'So long a lost scale is kept [s].', low=0.0, high=3600.0, live=True)
    min_depth_m: float = option(0.05, 'Nearer metric depth becomes NaN [m].', low=0.0, high=1e3, live=True)
    max_depth_m: float = option(100.0, 'Farther metric depth becomes NaN [m].', low=0.1, high=1e5, live=True)

    def __post_init__(self) -> None:
        check_order('metric.min_depth_m', self.min_depth_m, 'metric.max_depth_m', self.max_depth_m)
        check_order('metric.range_min_m', self.range_min_m, 'metric.range_max_m', self.range_max_m)


FAR = ('nan', 'inf', 'cap')    # no point and no value; plus infinity; the limit itself, as if something were there


@dataclass(frozen=True)
class ScanSettings:
    """The flat scan of a band of rows."""

    rows: float = option(0.1, 'Height of the band, about the optical axis, as a share of the picture.', low=0.001, high=1.0,
                         live=True)
    bin_deg: float = option(0.5, 'Angle between two rays of the scan [deg].', low=0.05, high=10.0, live=True)
    min_range_m: float = option(0.1, 'Nearer points are left out [m].', low=0.0, high=1e3, live=True)
    max_range_m: float = option(10.0, 'Farther points are left out [m].', low=0.1, high=1e5, live=True)
    far: str = option('nan', 'What a ray says that meets nothing but what is too far. nan: nothing; inf: free to the end; '
                      'cap: max_range_m.', choices=FAR, live=True)
    frame_id: str = option('', 'Frame with x forward and y left at the camera; empty: that of the picture without '
                           '_optical_frame or _optical.', live=True)

    def __post_init__(self) -> None:
        check_order('cloud.scan.min_range_m', self.min_range_m, 'cloud.scan.max_range_m', self.max_range_m)


@dataclass(frozen=True)
class CloudSettings:
    """The point cloud, and what else is made of metres for those who plan paths."""

    rate_hz: float = option(10.0, 'Highest rate of the cloud, by the stamps of the pictures; 0: every frame [Hz].',
                            low=0.0, high=1000.0, live=True)
    stride_px: int = option(1, 'Use every n-th pixel in both directions [px].', low=1, high=32, live=True)
    roi: str = option('', 'Take the points of a part of the picture: u0,v0,u1,v1 as shares of it, in pixels if one is above '
                      '1; empty: all.', live=True)
    min_depth_m: float = option(0.1, 'Drop nearer points [m].', low=0.0, high=1e3, live=True)
    max_depth_m: float = option(20.0, 'Drop farther points [m].', low=0.1, high=1e5, live=True)
    far: str = option('nan', 'Points that are too far. nan: none; inf: at infinity; cap: at max_depth_m on their ray, which '
                      'clears a costmap up to there.', choices=FAR, live=True)
    image_far: str = option('nan', 'The same for ~/depth/image, where nan leaves depth beyond cloud.max_depth_m as it is; '
                            'cap: the value is cloud.max_depth_m.', choices=FAR, live=True)
    edge_ratio: float = option(0.08, 'A point flies if it hangs between two surfaces, farther from both than this share of '
                               'its depth; 0 keeps all.', low=0.0, high=10.0, live=True)
    edge_px: int = option(0, 'How far to look for the two surfaces; 0: a 60th of the short side; more for maps of much '
                          'smaller networks [px].', low=0, high=256, live=True)
    edges: str = option('drop', 'What becomes of flying points. drop: none; near, far: put on the nearer or the farther '
                        'surface.', choices=('drop', 'near', 'far'), live=True)
    min_confidence: float = option(0.0, 'Drop points of less confidence, where the family says any.', low=0.0, high=1.0,
                                   live=True)
    organised: bool = option(True, 'Rows and columns as in the picture, NaN where there is no point; false: only points.',
                             live=True)
    voxel_m: float = option(0.0, 'Keep one point in each cube of this size; 0 keeps all [m].', low=0.0, high=10.0, live=True)
    fuse: int = option(0, 'Fill holes of the cloud and vote out what flickers with so many clouds before, seen from the '
                       'newest camera; 0: off.', low=0, high=30, live=True)
    scan: ScanSettings = field(default_factory=ScanSettings)
    field: str = option('rgb', 'Fourth field of a point.', choices=('rgb', 'confidence'), live=True)

    def __post_init__(self) -> None:
        check_order('cloud.min_depth_m', self.min_depth_m, 'cloud.max_depth_m', self.max_depth_m)
        corners(self.roi)


@dataclass(frozen=True)
class PoseSettings:
    """The way of the camera."""

    from_pictures: bool = option(False, 'Where depth is in metres, find the way of the camera from tracked corners; for '
                                 'networks that predict no translation.')


@dataclass(frozen=True)
class NodeSettings:
    """What only a live node has."""

    autostart: bool = option(True, 'Configure and activate at start; false: wait for a lifecycle manager.')
    image_transport: str = option('raw', 'Subscribe to `image` (raw) or `image/compressed` (compressed).',
                                  choices=('raw', 'compressed'))
    camera_info_policy: str = option('latest', 'latest: the newest camera_info serves every picture; exact: only one '
                                     'with the very stamp of the picture.', choices=('latest', 'exact'))
    build_engines: bool = option(True, 'Build TensorRT engines that are missing, beside the running node; false: use those '
                                 'that `depth_ros build-engine` has built.')
    publish_tf: bool = option(False, 'Publish depth_ros_world -> frame of the camera on /tf, while its way is known in '
                              'metres. A frame has one parent: not for a camera that already has one. Needs tf2_ros.')
    diagnostics_period_s: float = option(1.0, 'Time between two messages on /diagnostics [s].', low=0.1, high=60.0)


@dataclass(frozen=True)
class Settings:
    """All settings."""

    family: str = option('lite', 'Model family; `depth_ros models` lists them.')
    weights: str = option('', 'File with the weights, or folder with all files of the family (for the family onnx: a YAML '
                          'description); empty: the shipped or downloaded ones.')
    backend: str = option('auto', 'What runs the network; auto: for ONNX files TensorRT where it is and their engines are '
                          'built, else ONNX Runtime; for weights files torch. openvino: for ONNX files, if it says what '
                          'ONNX Runtime says; pays on a CPU that multiplies in bfloat16.',
                          choices=('auto', 'tensorrt', 'torch', 'onnx', 'openvino'))
    threads: int = option(0, 'CPU threads of one inference; 0: all cores but one, at least one.', low=0, high=256)
    length: int = option(0, 'Frames that one inference sees; 0: as the family was made.', low=0, high=512)
    stride: int = option(0, 'New frames per inference; 0: as the family was made.', low=0, high=512)
    model: ModelSettings = field(default_factory=ModelSettings)
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    metric: MetricSettings = field(default_factory=MetricSettings)
    cloud: CloudSettings = field(default_factory=CloudSettings)
    pose: PoseSettings = field(default_factory=PoseSettings)
    node: NodeSettings = field(default_factory=NodeSettings)


def options(cls: type = Settings, prefix: str = '') -> Iterator[tuple[str, Field]]:
    """Yield (dotted name, dataclass field) of every setting, in order of declaration."""
    for item in fields(cls):
        if item.default_factory is not MISSING:
            yield from options(item.default_factory, f'{prefix}{item.name}.')    # type: ignore[arg-type]
        else:
            yield prefix + item.name, item


def build(values: Mapping[str, Any]) -> Settings:
    """Return Settings with `values`, a flat mapping of dotted names, over the defaults.

    Raises SettingsError for a name that is not known, a value of another type or outside its limits.
    """
    known = dict(options())
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f'did you mean {near[0]}?' if near else f'known: {", ".join(known)}'
            raise SettingsError(f'unknown setting {name!r}; {hint}')
    checked = {name: check(name, known[name], value) for name, value in values.items()}
    return _assemble(Settings, '', checked)


def flatten(settings: Settings) -> dict[str, Any]:
    """Return {dotted name: value} of every setting."""
    flat = {}
    for name, _ in options():
        value: Any = settings
        for part in name.split('.'):
            value = getattr(value, part)
        flat[name] = value
    return flat


def check(name: str, item: Field, value: Any) -> Any:
    """Return `value` as the type of the setting, or raise SettingsError with the limits."""
    kind, meta = type(item.default), item.metadata
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise SettingsError(f'{name}={value!r}: expected {kind.__name__}, e.g. {item.default!r}')
    if meta['choices'] and value not in meta['choices']:
        raise SettingsError(f'{name}={value!r}: expected one of {", ".join(meta["choices"])}')
    if meta['low'] is not None and not meta['low'] <= value <= meta['high']:
        raise SettingsError(f'{name}={value!r}: expected {meta["low"]:g} to {meta["high"]:g}')
    return value


def check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    """Raise SettingsError unless `low` is below `high`."""
    if low >= high:
        raise SettingsError(f'{low_name}={low:g} is not below {high_name}={high:g}; nothing would be left between them')


def corners(roi: str) -> tuple[float, float, float, float]:
    """Return u0, v0, u1, v1 of a region of the picture, (0, 0, 1, 1) for ''.

    Raises SettingsError for text that is no region.
    """
    try:
        u0, v0, u1, v1 = (float(part) for part in (roi or '0,0,1,1').split(','))
    except ValueError:
        raise SettingsError(f'cloud.roi={roi!r}: expected four numbers u0,v0,u1,v1, e.g. 0,0.5,1,1') from None
    if not (u0 < u1 and v0 < v1):    # NaN neither
        raise SettingsError(f'cloud.roi={roi!r} holds no pixel; give u0 < u1 and v0 < v1')
    return u0, v0, u1, v1


def _assemble(cls: type, prefix: str, values: Mapping[str, Any]) -> Any:
    parts = {}
    for item in fields(cls):
        if item.default_factory is not MISSING:
            parts[item.name] = _assemble(item.default_factory, f'{prefix}{item.name}.', values)    # type: ignore[arg-type]
        elif prefix + item.name in values:
            parts[item.name] = values[prefix + item.name]
    return cls(**parts)
