"""A figure says which machine it is of."""

import json

import numpy as np

from depth_ros.benchmark.machine import describe, in_words, memory_mb


def test_the_machine_is_described_down_to_the_versions():
    said = describe()
    assert said['cpu'] and said['cores'] >= 1 and said['memory_gb'] > 0.1
    assert said['versions']['numpy'] == np.__version__ and 'onnxruntime' in said['versions']
    assert said['cpu'] in in_words(said) and json.loads(json.dumps(said)) == said


def test_memory_that_was_given_back_still_counts_in_the_peak():
    before_mb = memory_mb()
    held = np.ones(400_000_000, np.uint8)    # much, for the system may take back other pages meanwhile
    assert memory_mb() > before_mb + 200
    del held
    assert memory_mb() < before_mb + 200 and memory_mb(peak=True) > before_mb + 200
