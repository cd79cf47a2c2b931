"""Weights files are found where the user says or in the hub's cache; fetching resumes, verifies, and helps offline."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from depth_ros.core.frame import Quantity
from depth_ros.errors import WeightsError
from depth_ros.families import load_family
from depth_ros.families.family import Family, Network, Prediction, SizeRule, WeightsFile
from depth_ros.families.files import locate, verify, where
from depth_ros.settings import build

CONTENT = np.random.default_rng(0).bytes(24_000_000)    # more than one chunk of the hub's library
DIGEST = hashlib.sha256(CONTENT).hexdigest()
COMMIT = 'a' * 40
FILES = {'weights': WeightsFile('net.pth', 'someone/Net', licence='MIT'), 'vae': WeightsFile('vae.pth', page='https://vae.example')}


def family(files=FILES):
    return Family('test', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(8, 8)),
                  lambda graphs, clip, state: (Prediction(clip.rgb[..., 0]), state), network=Network('test', files))


def touch(folder, *names):
    for name in names:
        (folder / name).write_bytes(b'x')
    return folder


def test_a_folder_holds_every_file_by_its_published_name(tmp_path):
    touch(tmp_path, 'net.pth', 'vae.pth')
    assert locate(family(), str(tmp_path)) == {'weights': tmp_path / 'net.pth', 'vae': tmp_path / 'vae.pth'}


def test_the_other_files_are_looked_for_beside_the_one_that_was_named(tmp_path):
    touch(tmp_path, 'mine.pth', 'vae.pth')
    assert locate(family(), str(tmp_path / 'mine.pth')) == {'weights': tmp_path / 'mine.pth', 'vae': tmp_path / 'vae.pth'}


def test_a_file_is_found_under_its_other_names_too(tmp_path):
    files = {'weights': WeightsFile('model.safetensors', also=('net.safetensors',))}
    touch(tmp_path, 'net.safetensors')
    assert locate(family(files), str(tmp_path)) == {'weights': tmp_path / 'net.safetensors'}


def test_a_missing_second_file_is_named_with_its_role_and_the_remedy(tmp_path):
    touch(tmp_path, 'net.pth')
    with pytest.raises(WeightsError, match=r'also needs vae.pth \(vae\).*models get test'):
        locate(family(), str(tmp_path / 'net.pth'))


def test_a_missing_main_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match='test needs net.pth, which is not in'):
        locate(family(), str(tmp_path))


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    touch(tmp_path, 'net.pth', 'vae.pth')
    assert locate(family(), '~/net.pth')['vae'] == tmp_path / 'vae.pth'


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(WeightsError, match='/nowhere/net.pth'):
        locate(family(), '/nowhere/net.pth')


def test_weights_that_may_not_be_looked_at_are_refused_in_one_sentence(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('pathlib.Path.is_file', refuse)
    with pytest.raises(WeightsError, match='/mine may not be read'):
        load_family(build({'family': 'video_depth_anything', 'weights': '/mine'}))


def test_published_files_have_an_address():
    assert where(FILES['weights']) == 'https://huggingface.co/someone/Net/resolve/main/net.pth'
    assert where(FILES['vae']) == 'https://vae.example'


def test_a_file_with_another_checksum_than_the_published_is_refused(tmp_path):
    path = tmp_path / 'net.pth'
    path.write_bytes(CONTENT)
    assert verify({'weights': path}, {'weights': WeightsFile('net.pth', sha256=DIGEST)}) == {'weights': DIGEST}
    with pytest.raises(WeightsError, match='damaged or another file'):
        verify({'weights': path}, {'weights': WeightsFile('net.pth', sha256='0' * 64)})


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as a download of one file needs."""

    damaged = False
    drops = 0                    # connections that break half way
    ranges: list[str] = []

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        if self.path.startswith('/api/models/someone/Net'):
            name = 'net.safetensors'
            held = {'rfilename': name, 'path': name, 'type': 'file', 'size': len(CONTENT), 'oid': ''}
            return self.say([held] if '/tree/' in self.path else {'id': 'someone/Net', 'sha': COMMIT, 'siblings': [held]})
        if not self.path.endswith(('/resolve/main/net.pth', f'/resolve/{COMMIT}/net.safetensors')):
            return self.send_error(404)
        start = int(self.headers.get('Range', 'bytes=0-')[6:].split('-')[0])
        content = (bytes(len(CONTENT)) if self.damaged else CONTENT)[start:]
        self.send_response(206 if start else 200)
        for name, value in {'ETag': f'"{DIGEST}"', 'X-Repo-Commit': COMMIT, 'X-Linked-Etag': f'"{DIGEST}"',
                            'X-Linked-Size': str(len(CONTENT)), 'Content-Length': str(len(content)),
                            'Accept-Ranges': 'bytes'}.items():
            self.send_header(name, value)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}')
        self.end_headers()
        if body:
            self.ranges.append(self.headers.get('Range', ''))
            if Hub.drops:
                Hub.drops -= 1
                content = content[:len(content) // 2]
                self.close_connection = True
            self.wfile.write(content)

    def say(self, answer):
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Hub.damaged, Hub.drops, Hub.ranges = False, 0, []
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


LOCATE = 'locate(Holds(name="test", network=Holds(files={"model": file})), "")["model"]'
BESIDE = 'locate(Holds(name="test", network=Holds(files={"main": WeightsFile("mine.pth"), "other": file})), MINE)["other"]'


def fetch(cache: Path, name='net.pth', action='fetch(file)', **environment):
    """Run `fetch` in a process of its own: the hub's library reads its addresses when it is imported."""
    pytest.importorskip('huggingface_hub', reason='huggingface_hub is not installed')
    code = ('from depth_ros.errors import DepthRosError\n'
            'from depth_ros.families.family import WeightsFile\n'
            'from depth_ros.families.files import fetch, locate\n'
            'from types import SimpleNamespace as Holds\n'
            f'file = WeightsFile("{name}", "someone/Net")\n'
            f'try: print({action})\n'
            'except DepthRosError as error: print("refused:", error)')
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          env={**os.environ, 'HF_HOME': str(cache), 'HF_HUB_DISABLE_XET': '1', **environment})
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


def test_a_published_file_is_fetched_once_and_found_again(tmp_path, hub):
    path = Path(fetch(tmp_path, HF_ENDPOINT=hub))
    assert path.name == 'net.pth' and path.read_bytes() == CONTENT
    assert fetch(tmp_path, HF_ENDPOINT=hub) == str(path) and len(Hub.ranges) == 1
    assert fetch(tmp_path, action=LOCATE, HF_HUB_OFFLINE='1') == str(path)


def test_a_second_file_that_was_fetched_serves_a_main_one_that_the_user_has(tmp_path, hub):
    path = fetch(tmp_path / 'cache', HF_ENDPOINT=hub)
    mine = touch(tmp_path, 'mine.pth') / 'mine.pth'
    assert fetch(tmp_path / 'cache', action=BESIDE.replace('MINE', f'"{mine}"'), HF_HUB_OFFLINE='1') == path


def test_a_folder_is_fetched_and_each_of_its_files_verified(tmp_path, hub):
    Hub.damaged = True
    assert 'net.safetensors arrived damaged and was removed' in fetch(tmp_path, '', HF_ENDPOINT=hub)
    Hub.damaged = False
    folder = Path(fetch(tmp_path, '', HF_ENDPOINT=hub))
    assert (folder / 'net.safetensors').read_bytes() == CONTENT
    assert fetch(tmp_path, '', action=LOCATE, HF_HUB_OFFLINE='1') == str(folder)


def test_a_broken_download_goes_on_where_it_stopped(tmp_path, hub):
    Hub.drops = 1
    assert Path(fetch(tmp_path, HF_ENDPOINT=hub)).read_bytes() == CONTENT
    assert len(Hub.ranges) == 2 and int(Hub.ranges[1][6:-1]) > 5_000_000


def test_a_file_that_arrives_damaged_is_removed_and_said_so(tmp_path, hub):
    Hub.damaged = True
    assert 'arrived damaged and was removed' in fetch(tmp_path, HF_ENDPOINT=hub)
    assert not list(tmp_path.rglob('snapshots/*/net.pth'))
    Hub.damaged = False
    assert Path(fetch(tmp_path, HF_ENDPOINT=hub)).read_bytes() == CONTENT


def test_a_machine_without_a_network_is_told_where_to_get_the_file_and_where_to_put_it(tmp_path):
    said = fetch(tmp_path, HF_HUB_OFFLINE='1')
    assert 'refused: ' in said and 'https://huggingface.co/someone/Net/resolve/main/net.pth' in said
    assert 'setting weights' in said and len(said.splitlines()) == 1
