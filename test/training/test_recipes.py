"""Each family's objective knows the truth when it sees it; ten steps lower it on the rendered world; what is left fits."""

import filecmp
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip('torch')
for package in ('diffusers', 'transformers', 'safetensors'):
    pytest.importorskip(package)

from depth_ros import pipeline  # noqa: E402
from depth_ros.errors import InputError, WeightsError  # noqa: E402
from depth_ros.families import TABLE, files, load_family  # noqa: E402
from depth_ros.models import weights  # noqa: E402
from depth_ros.settings import build  # noqa: E402
from depth_ros.training import FAMILIES, corpus, losses  # noqa: E402
from depth_ros.training.recipes import gemdepth, load_recipe, pixel_perfect, recipe  # noqa: E402
from depth_ros.training.recipes.depthvlm import canonical_depth  # noqa: E402
from test.families import tiny  # noqa: E402

SMALL = {    # pictures and clips that make a step quick
    'video_depth_anything': {'shape': (42, 56), 'draws': ((1, 4),)},
    'gemdepth': {'shape': (42, 56), 'draws': ((1, 4),)},
    'dvd': {'shape': (32, 48), 'draws': ((1, 5), (2, 1))},
    'pixel_perfect': {'shape': (48, 64), 'draws': ((2, 1),)},
    'pixel_perfect_video': {'shape': (64, 64), 'draws': ((1, 5),)},
    'depthvlm': {'shape': (64, 96), 'draws': ((2, 1),)},
}
RATE = 3e-3    # of networks that know nothing yet; the published ones are for networks that know a lot
LATER = 0.1    # of that rate in a second stage, which finds little left to lower
LEARNS = {'video_depth_anything': ['head.'], 'dvd': ['.lora_'], 'depthvlm': ['depth_head.', 'model.language_model.']}


@pytest.fixture(scope='module')
def material(tmp_path_factory):
    """A rendered scene."""
    folder = tmp_path_factory.mktemp('world')
    corpus.render_world(folder, range(1), None)
    return corpus.Material(folder, folder)


@pytest.fixture(scope='module')
def batches(material):
    """Return what a family sees in one step."""
    return lambda family: recipe.draw(made(family), material, np.random.default_rng(0))


@pytest.fixture(autouse=True)
def one_thread():
    """Leave the number of threads as it was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(family):
    """Return the recipe at a tiny size, with a rate for a network that starts from nothing."""
    full = load_recipe(family)
    if family == 'pixel_perfect_video':
        full = replace(full, open=partial(full.open, side_px=64))
    stages = tuple(replace(stage, rate=RATE * LATER**number) for number, stage in enumerate(full.stages))
    return replace(full, stages=stages, **SMALL[family])


def paths_of(family, given):
    """Return the files of a family by role."""
    settings = build({'family': family, 'weights': str(given), **tiny.settings_of(family)})
    return load_family(settings), files.locate(load_family(settings), settings.weights)


def train(family, paths, out, batches, seed=0, steps=10):
    """Train on one batch; return the loss before and after each stage, and the file written."""
    chosen = made(family)
    learner, same = chosen.open(paths, 'cpu'), batches(family)
    with torch.no_grad():
        history = [float(recipe.objective(chosen, learner, same))]
    for stage in chosen.stages:
        for _ in recipe.fit(chosen, stage, learner, [same] * steps, seed):
            pass
        with torch.no_grad():
            history.append(float(recipe.objective(chosen, learner, same)))
    target = out / paths[chosen.role].name
    recipe.write(learner, paths[chosen.role], target)
    return history, target


@pytest.mark.parametrize('family', FAMILIES)
def test_ten_steps_lower_the_loss_on_the_rendered_world_and_leave_a_file_that_fits(family, tmp_path, batches):
    given = tiny.write(family, tmp_path)
    record, paths = paths_of(family, given)
    source = paths[made(family).role]
    before = {key: value.clone() for key, value in weights.read_tensors(source).items()}
    (tmp_path / 'out').mkdir()
    history, target = train(family, paths, tmp_path / 'out', batches)

    assert all(last < 0.9 * first for first, last in zip(history, history[1:], strict=False)), history
    assert pipeline.check_weights(record, target) == ''
    untouched, after = weights.read_tensors(source), weights.read_tensors(target)
    assert all(torch.equal(before[key], untouched[key]) for key in before)
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert changed and all(any(part in key for part in LEARNS.get(family, ('',))) for key in changed)


def test_the_same_seed_leaves_the_same_bytes_and_another_seed_others(tmp_path, batches):
    _, paths = paths_of('pixel_perfect', tiny.write('pixel_perfect', tmp_path))
    outs = [tmp_path / name for name in ('once', 'again', 'other')]
    for out, seed in zip(outs, (0, 0, 1), strict=True):
        out.mkdir()
        train('pixel_perfect', paths, out, batches, seed, steps=2)
    once, again, other = (out / 'ppd.pth' for out in outs)
    assert filecmp.cmp(once, again, shallow=False)
    assert not filecmp.cmp(once, other, shallow=False)


def test_every_step_draws_noise_of_its_own_which_follows_from_the_seed(tmp_path, batches):
    chosen, (_, paths) = made('pixel_perfect'), paths_of('pixel_perfect', tiny.write('pixel_perfect', tmp_path))
    learner, same = chosen.open(paths, 'cpu'), batches('pixel_perfect')
    with torch.no_grad():
        first, again, later, other = (float(recipe.objective(chosen, learner, same, seed, step))
                                      for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0)))
    assert first == again and len({first, later, other}) == 3


def test_there_is_a_recipe_for_every_family_of_the_papers():
    assert set(FAMILIES) == set(TABLE) - {'lite', 'onnx', 'depth_anything'}


def test_weights_that_give_another_quantity_are_not_trained(tmp_path, capsys):
    from depth_ros.commands import main

    metric = tmp_path / 'metric_video_depth_anything_vits.pth'
    metric.touch()
    with pytest.raises(SystemExit) as left:
        main(['train', '--recipe', 'video_depth_anything', '--weights', str(metric), '--out', str(tmp_path)])
    assert left.value.code == 2 and 'give depth_metric' in capsys.readouterr().err


def test_a_stage_that_finds_nothing_to_train_says_so(tmp_path):
    chosen, (_, paths) = made('pixel_perfect'), paths_of('pixel_perfect', tiny.write('pixel_perfect', tmp_path))
    stage = recipe.Stage('lora', 1e-4, ('.lora_',))
    with pytest.raises(WeightsError, match='no entries like .lora_'):
        list(recipe.fit(chosen, stage, chosen.open(paths, 'cpu'), []))


def test_the_given_weights_are_not_overwritten(tmp_path):
    _, paths = paths_of('pixel_perfect', tiny.write('pixel_perfect', tmp_path))
    with pytest.raises(InputError, match='--out'):
        recipe.train(made('pixel_perfect'), paths, tmp_path, scenes=1, steps=1, seed=0, threads=1)


def test_the_command_trains_a_file_on(tmp_path, material, monkeypatch, capsys):
    from depth_ros.commands import main

    given = tiny.write('pixel_perfect', tmp_path / 'given')
    monkeypatch.setattr('depth_ros.training.recipes.load_recipe', made)
    out = tmp_path / 'run'
    out.mkdir()
    (out / 'world').symlink_to(next(iter(material.rendered[False] + material.rendered[True])).parent)
    with pytest.raises(SystemExit) as left:
        main(['train', '--recipe=pixel_perfect', f'--weights={given}', f'--out={out}', '--scenes=1', '--steps=2'])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert 'fine-tuning  step 1  loss' in said and f'wrote {out / "ppd.pth"}' in said
    assert pipeline.check_weights(paths_of('pixel_perfect', given)[0], out / 'ppd.pth') == ''


# ---- a network that says the truth costs nothing -------------------------------------------------------------------------


def free_of_charge(family, graphs, batch):
    value = load_recipe(family).loss(graphs, batch, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(value, 0, atol=2e-3)


def test_disparity_on_any_scale_costs_a_video_network_nothing(batches):
    batch, = batches('video_depth_anything')
    free_of_charge('video_depth_anything', {
        'encoder': lambda rgb: {'frame00': rgb}, 'head': lambda frame00: {'map': 3 * batch['disparity'][0] + 2}}, batch)


def test_disparity_and_the_poses_cost_gemdepth_nothing_and_another_pose_does(batches):
    batch, = batches('gemdepth')
    poses = gemdepth.true_poses(batch)[0]

    def graphs(poses):
        window = lambda frame00: {'disparity': 3 * batch['disparity'][0] + 2, 'pose': poses}    # noqa: E731
        return {'encoder': lambda rgb: {'frame00': rgb}, 'window': window, 'standing': window}

    free_of_charge('gemdepth', graphs(poses), batch)
    wrong = load_recipe('gemdepth').loss(graphs(poses + 0.2), batch, torch.Generator())
    np.testing.assert_allclose(wrong, 0.2 * 0.5 * 0.2**2, atol=2e-4)


def test_the_dice_of_gemdepth_inject_the_pose_in_45_windows_of_100(batches):
    batch, = batches('gemdepth')
    said = {'disparity': batch['disparity'][0], 'pose': gemdepth.true_poses(batch)[0]}
    injected, generator = [], torch.Generator()
    graphs = {'encoder': lambda rgb: {}, 'window': lambda: injected.append(1) or said, 'standing': lambda: said}
    for _ in range(400):
        load_recipe('gemdepth').loss(graphs, batch, generator)
    assert 156 < len(injected) < 204


@pytest.mark.parametrize('family', ['pixel_perfect', 'pixel_perfect_video'])
def test_the_velocity_from_the_truth_to_the_noise_costs_nothing(family, batches):
    batch, = batches(family)
    data = (pixel_perfect.log_depth(batch['disparity'], batch['weight']) if family == 'pixel_perfect' else
            losses.to_quantiles(batch['disparity'], batch['weight']) - 0.5)
    clips = iter(data)

    def denoise(latent, rgb, semantics, t):    # x_t = t x_1 + (1 - t) x_0, so x_1 - x_0 = (x_t - x_0) / t
        return {'velocity': (latent - next(clips)[:, None]) / (t / 1000)}

    free_of_charge(family, {'semantics': lambda rgb: {'semantics': None}, 'denoise': denoise}, batch)


def test_the_latent_of_the_disparity_costs_dvd_nothing_for_videos_and_for_pictures(batches):
    for batch in batches('dvd'):
        disparity = losses.to_quantiles(batch['disparity'], batch['weight']).clamp(0, 1)
        clips = iter(disparity)
        shown = []    # to the VAE, which knows nothing beyond 0..1
        free_of_charge('dvd', {'encode': lambda rgb: shown.append(rgb) or {'latent': rgb},    # noqa: B023
                               'denoise': lambda latent: {'latent': next(clips).expand(1, 3, -1, -1, -1)}}, batch)    # noqa: B023
        assert all(0 <= given.min() and given.max() <= 1 for given in shown)


def test_metres_of_the_canonical_camera_cost_depthvlm_nothing_and_twice_as_many_do(batches):
    batch, = batches('depthvlm')
    pictures = iter(canonical_depth(batch['disparity'], batch['K']))
    free_of_charge('depthvlm', {'depth': lambda rgb: {'depth_m': next(pictures)}}, batch)
    doubled = iter(2 * canonical_depth(batch['disparity'], batch['K']))
    wrong = load_recipe('depthvlm').loss({'depth': lambda rgb: {'depth_m': next(doubled)}}, batch, torch.Generator())
    np.testing.assert_allclose(wrong, math.sqrt(0.5) * math.log(2), atol=2e-3)    # lambda is a half


# ---- truths by hand ------------------------------------------------------------------------------------------------------


def test_a_camera_that_goes_ahead_sees_the_first_one_behind_it_in_units_of_the_mean_depth():
    K = torch.tensor([[[50.0, 0, 49.5], [0, 30.0, 29.5], [0, 0, 1]]])
    T_prev_cam = torch.eye(4).repeat(1, 3, 1, 1)
    T_prev_cam[:, 1:, 2, 3] = 0.5
    disparity = torch.full((1, 3, 60, 100), 1 / 4.0)
    disparity[:, :, :10] = 0    # sky does not count for the mean depth
    known = torch.ones_like(disparity)
    poses = gemdepth.true_poses({'disparity': disparity, 'weight': known, 'K': K, 'T_prev_cam': T_prev_cam})
    right = math.pi / 2    # both fields of view: 60 px at 30 px, 100 px at 50 px
    np.testing.assert_allclose(poses[0], [[0, 0, -z, 0, 0, 0, 1, right, right] for z in (0, 0.125, 0.25)], atol=1e-6)


def test_the_quaternion_of_a_quarter_turn_is_half_the_angle_s_sine_and_cosine():
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(gemdepth.quaternion(quarter), [0, 0, math.sqrt(0.5), math.sqrt(0.5)], atol=1e-6)
    np.testing.assert_allclose(gemdepth.quaternion(torch.eye(3)), [0, 0, 0, 1])


def test_half_the_focal_length_is_twice_the_depth():
    K = torch.tensor([[[500.0, 0, 0], [0, 500.0, 0], [0, 0, 1]]])
    np.testing.assert_allclose(canonical_depth(torch.full((1, 1, 2, 2), 0.25), K), 8.0)


def test_sky_lies_at_the_far_end_of_the_log_depth():
    disparity = torch.tensor([1 / 1.0, 1 / 3.0, 0.0]).repeat(40).view(1, 1, 1, 120)
    near, middle, far = pixel_perfect.log_depth(disparity, torch.ones_like(disparity))[0, 0, 0, :3]
    np.testing.assert_allclose([near, far], [-0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(middle, (math.log(4) - math.log(2)) / (math.log(81) - math.log(2)) - 0.5, atol=1e-6)
