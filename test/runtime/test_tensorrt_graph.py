"""The runner puts arrays where the engine reads them, keeps a state on the GPU, and says why an engine cannot be run."""

import gc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from depth_ros.errors import BackendError, InputError
from depth_ros.runtime import tensorrt_graph
from depth_ros.runtime.cuda import find_gpu
from depth_ros.runtime.onnx_graph import OnnxGraph
from depth_ros.runtime.tensorrt_graph import Engine, PlanRefused, TensorRtGraph, find_platform, import_trt
from test.runtime.fake_trt import HostMemory, convolutions, plan_of, platform, running_sum, save


def images(count, shape=(1, 3, 16, 24)):
    return [np.random.default_rng(i).standard_normal(shape).astype(np.float32) for i in range(count)]


def test_every_run_is_that_of_onnx_runtime_also_when_it_replays_a_cuda_graph(tmp_path):
    path, memory = convolutions(tmp_path / 'net.onnx'), HostMemory()
    graph, reference = TensorRtGraph(Engine(plan_of(path), platform(memory))), OnnxGraph(path, 1)
    for image in images(4):
        np.testing.assert_allclose(graph.run({'image': image})['depth'], reference.run({'image': image})['depth'], atol=1e-5)
    assert memory.captured == 1
    assert graph.inputs == {'image': [1, 3, 16, 24]} and graph.outputs == {'depth': [1, 8, 16, 24]}


def test_a_carried_state_takes_turns_between_two_buffers_and_is_not_copied(tmp_path):
    memory = HostMemory()
    graph = TensorRtGraph(Engine(plan_of(running_sum(tmp_path / 'sum.onnx')), platform(memory)), ('keep',))
    keep, total, pictures = np.zeros((1, 4), np.float32), 0, images(20, (1, 4))
    for image in pictures:
        found = graph.run({'image': image, 'keep': keep})
        keep, total = found['keep_next'], total + image
        np.testing.assert_allclose(found['depth'], 2 * total, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.asarray(keep), total, rtol=1e-5, atol=1e-5)
    assert memory.blocks == 3 + 2            # image, keep, depth; keep_next twice
    assert memory.uploads == 20 + 1          # the pictures and the first state
    assert memory.captured <= 3


def test_states_that_are_held_are_not_written_over(tmp_path):
    graph = TensorRtGraph(Engine(plan_of(running_sum(tmp_path / 'sum.onnx')), platform()), ('keep',))
    zero, held = np.zeros((1, 4), np.float32), []
    for number in range(20):
        held.append(graph.run({'image': zero + number, 'keep': zero})['keep_next'])
    assert [float(np.asarray(state)[0, 0]) for state in held] == list(range(20))
    assert len(graph._launches) == tensorrt_graph.MOST_CUDA_GRAPHS < 20    # each takes memory
    del held
    gc.collect()
    assert len(graph._free['keep_next']) == 20


def test_a_state_of_another_number_format_goes_in_by_way_of_the_host(tmp_path):
    nodes = [helper.make_node('Cast', ['keep'], ['wide'], to=TensorProto.FLOAT),
             helper.make_node('Add', ['wide', 'image'], ['keep_next'])]
    path = save(tmp_path / 'wide.onnx', nodes, {'image': [1, 4], 'keep': [1, 4]}, {'keep_next': [1, 4]})
    model = onnx.load(path)
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    graph, keep = TensorRtGraph(Engine(plan_of(path), platform()), ('keep',)), np.zeros((1, 4), np.float16)
    for _ in range(3):
        keep = graph.run({'image': np.ones((1, 4), np.float32), 'keep': keep})['keep_next']
    assert np.asarray(keep).tolist() == [[3] * 4]


def test_results_of_earlier_runs_stay_as_they_were(tmp_path):
    graph = TensorRtGraph(Engine(plan_of(convolutions(tmp_path / 'net.onnx')), platform()))
    first, second = (graph.run({'image': image})['depth'] for image in images(2))
    assert not np.array_equal(first, second)


def test_an_engine_of_one_profile_is_told_its_shapes(tmp_path):
    path = running_sum(tmp_path / 'sum.onnx')
    graph = TensorRtGraph(Engine(plan_of(path), platform(profile=True)))
    assert graph.inputs == {'image': [1, 4], 'keep': [1, 4]} and graph.outputs == {'depth': [1, 4], 'keep_next': [1, 4]}
    one = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(graph.run({'image': one, 'keep': one})['depth'], 4 * one)


def test_half_precision_inputs_are_converted(tmp_path):
    path = convolutions(tmp_path / 'half.onnx', kind=np.float16)
    image = images(1)[0]
    found = TensorRtGraph(Engine(plan_of(path), platform())).run({'image': image})['depth']
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, OnnxGraph(path, 1).run({'image': image.astype(np.float16)})['depth'])


@pytest.mark.parametrize(('given', 'word'), [
    ({'image': np.zeros((1, 3, 16, 25), np.float32)}, r'built for image of shape \(1, 3, 16, 24\), not \(1, 3, 16, 25\)'),
    ({'picture': np.zeros((1, 3, 16, 24), np.float32)}, 'takes image and was given picture'),
])
def test_another_shape_or_name_is_an_error_in_one_sentence(tmp_path, given, word):
    graph = TensorRtGraph(Engine(plan_of(convolutions(tmp_path / 'net.onnx')), platform()))
    with pytest.raises(InputError, match=word):
        graph.run(given)


def test_a_gpu_that_cannot_capture_runs_without_cuda_graphs_and_says_so(tmp_path):
    tried = []

    class NoCapture(HostMemory):
        def capture(self, work):
            tried.append(work)
            raise RuntimeError('operation not permitted when stream is capturing')

    path = convolutions(tmp_path / 'net.onnx')
    graph, reference = TensorRtGraph(Engine(plan_of(path), platform(NoCapture()))), OnnxGraph(path, 1)
    for image in images(4):
        np.testing.assert_allclose(graph.run({'image': image})['depth'], reference.run({'image': image})['depth'], atol=1e-5)
    assert 'without CUDA graphs' in graph.note and len(tried) == 1


def test_a_plan_that_is_refused_and_a_full_gpu_are_told_apart(tmp_path):
    plan = plan_of(convolutions(tmp_path / 'net.onnx'))
    with pytest.raises(PlanRefused, match='another version'):
        TensorRtGraph(Engine(plan, platform(refuses=True)))
    with pytest.raises(BackendError, match='100 MB free and 900 MB more are needed') as raised:
        TensorRtGraph(Engine(plan, platform(full=True)))
    assert not isinstance(raised.value, PlanRefused)


def test_without_a_gpu_no_tensorrt_object_is_made(monkeypatch):
    try:
        find_gpu()
    except BackendError:
        monkeypatch.setattr(tensorrt_graph, 'import_trt', lambda kind='': pytest.fail('TensorRT is touched'))
        with pytest.raises(BackendError, match='NVIDIA driver'):
            find_platform()
    else:
        pytest.skip('there is a GPU here')


def test_without_tensorrt_the_reasons_are_named(monkeypatch):
    def missing(name):
        raise ImportError(f'lib{name}.so: cannot open shared object file')
    monkeypatch.setattr(tensorrt_graph, 'import_module', missing)
    with pytest.raises(BackendError, match='tensorrt: libtensorrt.so.*; tensorrt_rtx: libtensorrt_rtx.so'):
        import_trt()
