"""How far an estimated camera path is from the true one, through `evo` (extra `eval`)."""

from typing import Any

import numpy as np

from depth_ros.errors import InputError, need

REMEDY = "pip install 'depth_ros[eval]'"


def score_trajectory(truth: np.ndarray, estimate: np.ndarray, stamps_ns: np.ndarray, scale: bool) -> dict[str, float]:
    """Return the errors of the poses `estimate` against `truth`, both T_world_cam (N, 4, 4), taken at `stamps_ns` (N).

    The estimate is first moved onto the truth as a whole (Umeyama 1991), with `scale` also scaled (Sim(3), for one camera
    whose metres are unknown). Then:
    ate_m       root mean square distance of the positions (Sturm et al. 2012, sec. V)
    rpe_m       root mean square of the translation error from frame to frame, m
    rpe_deg     the same of the rotation, degrees
    scale       what the estimate was multiplied by, 1 without `scale`
    rotation_error_deg_median    median angle between estimated and true rotation from frame to frame; needs no alignment
    The first four are NaN where no alignment exists: fewer than three poses, or a path on a straight line.
    Raises InputError for lists of different length, MissingDependency without evo.
    """
    if not len(truth) == len(estimate) == len(stamps_ns):
        raise InputError(f'{len(truth)} true poses, {len(estimate)} estimated ones and {len(stamps_ns)} stamps '
                         'do not belong together; give one of each per frame')
    trajectory, evo = need('evo.core.trajectory', REMEDY), need('evo.core.metrics', REMEDY)
    seconds = np.asarray(stamps_ns) / 1e9
    pair = [trajectory.PoseTrajectory3D(poses_se3=list(poses), timestamps=seconds) for poses in (truth, estimate)]
    try:
        factor = pair[1].align(pair[0], correct_scale=scale)[2]
    except need('evo', REMEDY).EvoException:    # Umeyama's covariance is degenerate
        ate_m = rpe_m = rpe_deg = factor = np.nan
    else:
        ate_m = _rms(evo.APE(evo.PoseRelation.translation_part), pair)
        rpe_m = _rms(evo.RPE(evo.PoseRelation.translation_part), pair)
        rpe_deg = _rms(evo.RPE(evo.PoseRelation.rotation_angle_deg), pair)
    return {'ate_m': ate_m, 'rpe_m': rpe_m, 'rpe_deg': rpe_deg, 'scale': float(factor),
            'rotation_error_deg_median': _rotation_error_deg(truth, estimate)}


def _rms(metric: Any, pair: list[Any]) -> float:
    metric.process_data(pair)
    return float(np.sqrt(np.mean(metric.error ** 2)))


def _rotation_error_deg(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Return the median angle [deg] by which the rotations between consecutive frames differ; NaN for a single frame."""
    if len(truth) < 2:
        return np.nan
    R, S = (np.swapaxes(poses[:-1, :3, :3], 1, 2) @ poses[1:, :3, :3] for poses in (truth, estimate))
    difference = np.swapaxes(R, 1, 2) @ S                      # (N - 1, 3, 3)
    sine = np.linalg.norm(difference - np.swapaxes(difference, 1, 2), axis=(1, 2)) / np.sqrt(8)
    cosine = (np.trace(difference, axis1=1, axis2=2) - 1) / 2
    return float(np.median(np.degrees(np.arctan2(sine, cosine))))
