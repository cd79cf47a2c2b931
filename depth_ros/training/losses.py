"""The losses, one function each, with the paper they come from.

Maps are (B, T, h, w), `weight` likewise, 0 where the truth is unknown; B clips of T frames. What is fitted or
averaged is fitted or averaged over a whole clip, never per frame: a stream has one scale and shift.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CLIP = (1, 2, 3)


def mean(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over everything; 0 if all weights are."""
    return (x * weight).sum() / weight.sum().clamp(min=1e-6)


def clip_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean per clip (B, 1, 1, 1)."""
    return (x * weight).sum(CLIP, keepdim=True) / weight.sum(CLIP, keepdim=True).clamp(min=1e-6)


def standardise(target: Tensor, weight: Tensor, least: float = 1e-6) -> Tensor:
    """Return the target shifted and scaled to mean 0 and mean deviation 1 over each clip (MiDaS, Ranftl et al. 2020,
    eq. 5)."""
    centred = target - clip_mean(target, weight)
    return centred / clip_mean(centred.abs(), weight).clamp(min=least)


def to_quantiles(target: Tensor, weight: Tensor, low: float = 0.02, high: float = 0.98) -> Tensor:
    """Return the target, per clip, so that its `low` quantile is 0 and its `high` quantile 1, of what is known.

    Disparity of DVD (then clipped to 0..1); log(depth + 1) of Pixel-Perfect Depth (Xu et al. 2026, eq. 8, then less 0.5).
    """
    share = torch.tensor([low, high], dtype=target.dtype, device=target.device)
    pairs = [x[w > 0].quantile(share) if (w > 0).any() else share for x, w in zip(target, weight, strict=True)]
    first, last = torch.stack(pairs)[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
    return (target - first) / (last - first).clamp(min=1e-6)


def align(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return s * source + t with the s, t per clip that minimise the weighted squares to target (DVD, eq. 9)."""
    ms, mt = clip_mean(source, weight), clip_mean(target, weight)
    covariance = clip_mean((source - ms) * (target - mt), weight)
    s = covariance / (clip_mean((source - ms).square(), weight) + 1e-6)
    return s * (source - ms) + mt


def fit_scale(source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return s (B, 1, 1, 1) > 0 with s * source closest to target in weighted squares."""
    s = clip_mean(source * target, weight) / (clip_mean(source.square(), weight) + 1e-8)
    return s.clamp(min=1e-6)


def scale_and_shift_invariant(aligned: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean |aligned - target|, both on one scale by `standardise` or `align` (MiDaS, eq. 1, whole clip instead of
    picture)."""
    return mean((aligned - target).abs(), weight)


def gradient_matching(aligned: Tensor, target: Tensor, weight: Tensor, scales: int = 4) -> Tensor:
    """Sum over scales of mean |dx R| + |dy R|, R = aligned - target (MiDaS, eq. 11; MegaDepth, Li & Snavely 2018)."""
    residual = aligned - target
    total = residual.new_zeros(())
    for k in range(scales):
        r, w = residual[..., :: 2**k, :: 2**k], weight[..., :: 2**k, :: 2**k]
        total = total + mean((r[..., :, 1:] - r[..., :, :-1]).abs(), w[..., :, 1:] * w[..., :, :-1])
        total = total + mean((r[..., 1:, :] - r[..., :-1, :]).abs(), w[..., 1:, :] * w[..., :-1, :])
    return total


def temporal_gradient_matching(aligned: Tensor, target: Tensor, weight: Tensor, still: float = 0.05) -> Tensor:
    """Mean | |p_t - p_t-1| - |d_t - d_t-1| | where the truth changes by less than `still`; 0 for a single frame.

    The temporal gradient matching loss of Video Depth Anything (Chen et al. 2025): instead of following optical flow, it
    leaves out the pixels where an edge or a mover passes.
    """
    if aligned.shape[1] < 2:
        return aligned.new_zeros(())
    own, true = (aligned[:, 1:] - aligned[:, :-1]).abs(), (target[:, 1:] - target[:, :-1]).abs()
    return mean((own - true).abs(), weight[:, 1:] * weight[:, :-1] * (true < still))


def lmr_spatial(aligned: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean |dx p - dx d| + |dy p - dy d| (DVD, eq. 6 left; there in the latent space, here on the map)."""
    return gradient_matching(aligned, target, weight, scales=1)


def lmr_temporal(aligned: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean |dt p - dt d| at fixed pixels (DVD, eq. 6 right); 0 for a single frame."""
    if aligned.shape[1] < 2:
        return aligned.new_zeros(())
    change = (aligned[:, 1:] - aligned[:, :-1]) - (target[:, 1:] - target[:, :-1])
    return mean(change.abs(), weight[:, 1:] * weight[:, :-1])


def latent_regression(
    predicted: Tensor, target: Tensor, spatial_share: float = 0.5, temporal_share: float = 0.5
) -> Tensor:
    """Mean square of the difference + the two rectifications (DVD, eq. 7, weights of its table 5).

    Latents (B, C, T, h, w), all known; the rectification is the same for every channel.
    """
    p, z = predicted.flatten(0, 1), target.flatten(0, 1)  # (B C, T, h, w)
    known = torch.ones_like(z)
    rectified = spatial_share * lmr_spatial(p, z, known) + temporal_share * lmr_temporal(p, z, known)
    return (p - z).square().mean() + rectified


def between(data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return the sample x_t = t * noise + (1 - t) * data on the way from data (t = 0) to noise (t = 1)
    (Pixel-Perfect Depth, eq. 1)."""
    return time * noise + (1 - time) * data


def flow_matching(velocity: Tensor, data: Tensor, noise: Tensor, weight: Tensor) -> Tensor:
    """Mean square of velocity - (noise - data) (Pixel-Perfect Depth, eq. 2 and 3; Lipman et al. 2022)."""
    return mean((velocity - (noise - data)).square(), weight)


def temporal_gradient(aligned: Tensor, target: Tensor, weight: Tensor, references: int = 1) -> Tensor:
    """Mean |(p_j - p_i) - (d_j - d_i)| over reference frames i < references <= j (PPVD, eq. 9, RTG); 0 for short clips.

    Against slow drift, which differences of neighbours do not feel.
    """
    if aligned.shape[1] <= references:
        return aligned.new_zeros(())
    residual = aligned - target
    total = residual.new_zeros(())
    for i in range(references):
        change = residual[:, references:] - residual[:, i : i + 1]
        total = total + mean(change.abs(), weight[:, references:] * weight[:, i : i + 1])
    return total / references


def silog(prediction: Tensor, target: Tensor, weight: Tensor, mean_share: float = 1.0) -> Tensor:
    """sqrt(mean g^2 - mean_share * (mean g)^2), g = log prediction - log target, per clip (Eigen et al. 2014, eq. 4).

    DepthVLM trains its depth head with mean_share 0.5; with 1 a common factor costs nothing. Weights must be 0 where
    target is not positive.
    """
    g = torch.where(weight > 0, prediction.clamp(min=1e-4).log() - target.clamp(min=1e-4).log(), 0.0)
    variance = clip_mean(g.square(), weight) - mean_share * clip_mean(g, weight).square()
    return (variance.clamp(min=0) + 1e-6).sqrt().mean()


def pose(motion: Tensor, truth: Tensor, known: Tensor, floor: float = 0.02) -> tuple[Tensor, Tensor]:
    """Return the rotation's error [rad] and the translation's, relative to max(length, floor).

    motion and truth (B, T, 6): rotation vector and translation of T_prev_cam; known (B, T, 2) weights of the two parts.
    The split follows PoseNet (Kendall et al. 2015, eq. 2).
    """
    rotation = (motion[..., :3] - truth[..., :3]).abs().sum(-1)
    length = truth[..., 3:].norm(dim=-1).clamp(min=floor)
    translation = (motion[..., 3:] - truth[..., 3:]).abs().sum(-1) / length
    return mean(rotation, known[..., 0]), mean(translation.clamp(max=3), known[..., 1])


def camera(encoding: Tensor, truth: Tensor, knee: float = 1.0) -> Tensor:
    """Mean Huber distance of pose encodings (..., 9): translation, quaternion xyzw, fields of view [rad].

    The camera loss of VGGT (Wang et al. 2025), whose camera head GemDepth has.
    """
    return F.huber_loss(encoding, truth, delta=knee)


def temporal_alignment(
    disparity: Tensor, truth: Tensor, K: Tensor, T_prev_cam: Tensor, weight: Tensor, agree: float = 0.03
) -> Tensor:
    """Mean |log(d' / d)| between the disparity d' of frame t's points, moved into frame t-1, and the disparity d that
    frame t-1 has where they land; 0 for a single frame.

    The temporal alignment error of Video Depth Anything (Chen et al. 2025, sec. 4.1), backwards in time, in the log of
    disparity so that it is the same in depth. disparity and truth (B, T, h, w) [1/m, or both and the translations in
    one other unit], K (B, 3, 3), T_prev_cam (B, T, 4, 4). Points whose truth misses by more than `agree` are covered in
    frame t-1, or move; they count nothing.
    """
    if disparity.shape[1] < 2:
        return disparity.new_zeros(())
    misfit, inside = _misfit_after_motion(disparity, weight, K, T_prev_cam)
    with torch.no_grad():
        true_misfit, known = _misfit_after_motion(truth, weight, K, T_prev_cam)
    return mean(misfit.abs(), inside * known * (true_misfit.abs() < agree))


def _misfit_after_motion(disparity: Tensor, weight: Tensor, K: Tensor, T_prev_cam: Tensor) -> tuple[Tensor, Tensor]:
    """Return log(d' / d) and its weight (B, T-1, h, w): 0 where a point lands outside frame t-1 or lies at infinity.

    With x = (u, v, 1), p = K (R K^-1 x + t d) is seen at p_xy / p_z and has the disparity d' = d / p_z.
    """
    B, T, h, w = disparity.shape
    d = disparity[:, 1:].flatten(0, 1).flatten(1)  # (N, hw), N = B (T-1)
    v, u = torch.meshgrid(torch.arange(h, device=d.device), torch.arange(w, device=d.device), indexing='ij')
    x = torch.stack([u, v, torch.ones_like(u)]).to(d).flatten(1)  # (3, hw)
    K, motion = K.repeat_interleave(T - 1, 0), T_prev_cam[:, 1:].flatten(0, 1)
    p = K @ (motion[:, :3, :3] @ torch.linalg.inv(K) @ x + motion[:, :3, 3:] * d[:, None])  # (N, 3, hw)
    z = p[:, 2].clamp(min=1e-3)
    size = torch.tensor([w - 1, h - 1], device=d.device)[:, None]
    at = 2 * p[:, :2] / z[:, None] / size - 1  # -1..1 from the first pixel's centre to the last's
    previous = torch.stack([disparity[:, :-1], weight[:, :-1]], 2).flatten(0, 1)  # (N, 2, h, w)
    grid = at.transpose(1, 2).unflatten(1, (h, w))
    there, weight_there = F.grid_sample(previous, grid, align_corners=True, padding_mode='border').flatten(2).unbind(1)
    inside = (at.abs() <= 1).all(1) & (p[:, 2] > 1e-3) & (d > 1e-6) & (there > 1e-6)
    log = (d / z).clamp(min=1e-6).log() - there.clamp(min=1e-6).log()
    return log.view(B, T - 1, h, w), (inside * weight_there).view(B, T - 1, h, w) * weight[:, 1:]


def confidence(predicted: Tensor, error: Tensor, weight: Tensor, scale: float = 0.3) -> Tensor:
    """Cross-entropy of the predicted confidence to exp(-error / scale): 1 where the map is right (as in DUSt3R's
    intent, bounded)."""
    wanted = torch.exp(-error.detach().abs() / scale)
    return mean(F.binary_cross_entropy(predicted.clamp(1e-4, 1 - 1e-4), wanted, reduction='none'), weight)


def rigid_flow(disparity: Tensor, K: Tensor, T_prev_cam: Tensor, stride: int = 8) -> tuple[Tensor, Tensor]:
    """Return where each cell of a grid lies in the previous frame, as a displacement in cells (B, 2, h/s, w/s), and
    whether inside.

    disparity (B, h, w) [1/m], K (B, 3, 3), T_prev_cam (B, 4, 4) [m]. With d = 1/Z the point is, up to a factor,
    p = K (R K^-1 (u, v, 1) + t d), which also holds at infinity.
    """
    d = disparity[:, stride // 2 :: stride, stride // 2 :: stride]
    h, w = d.shape[-2:]
    v, u = torch.meshgrid(torch.arange(h, device=d.device), torch.arange(w, device=d.device), indexing='ij')
    centre = (stride - 1) / 2
    uv1 = torch.stack([u * stride + centre, v * stride + centre, torch.ones_like(u)]).to(d).flatten(1)  # (3, N)
    ray = T_prev_cam[:, :3, :3] @ torch.linalg.inv(K) @ uv1
    p = K @ (ray + T_prev_cam[:, :3, 3:] * d.flatten(1)[:, None])  # (B, 3, N)
    uv = p[:, :2] / p[:, 2:].clamp(min=1e-3)
    edge = torch.tensor([disparity.shape[-1] - 1, disparity.shape[-2] - 1], device=d.device)[:, None]
    inside = ((uv >= 0) & (uv <= edge)).all(1) & (p[:, 2] > 1e-3)
    return ((uv - uv1[:2]) / stride).unflatten(-1, (h, w)), inside.unflatten(-1, (h, w))


def flow(predicted_cells: Tensor, truth_cells: Tensor, weight: Tensor) -> Tensor:
    """Mean end-point error in cells, L1 (RAFT, eq. 7, one iteration). Maps (B, 2, h, w), weight (B, h, w)."""
    return mean((predicted_cells - truth_cells).abs().sum(1), weight)
