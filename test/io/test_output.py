import os
from pathlib import Path

import pytest

from depth_ros.errors import OutputError
from depth_ros.io.output import complete_or_nothing, writing


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def test_a_file_appears_when_it_is_complete_and_not_before(tmp_path):
    with complete_or_nothing(tmp_path / 'a.txt') as path:
        path.write_text('done')
        assert not (tmp_path / 'a.txt').exists()
    assert (tmp_path / 'a.txt').read_text() == 'done' and names(tmp_path) == ['a.txt']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_of_a_failure_nothing_is_left(tmp_path, error):
    with pytest.raises(error), complete_or_nothing(tmp_path / 'a') as path:
        path.mkdir()
        (path / 'half').write_text('half')
        raise error
    assert names(tmp_path) == []


def test_what_exists_stays_unless_it_may_be_replaced_and_then_until_the_new_one_is_complete(tmp_path):
    (tmp_path / 'a').write_text('old')
    with pytest.raises(OutputError, match='exists; choose another name or'), complete_or_nothing(tmp_path / 'a'):
        pass
    with pytest.raises(ValueError), complete_or_nothing(tmp_path / 'a', overwrite=True) as path:
        path.write_text('new')
        raise ValueError
    assert (tmp_path / 'a').read_text() == 'old'
    with complete_or_nothing(tmp_path / 'a', overwrite=True) as path:
        path.write_text('new')
        assert (tmp_path / 'a').read_text() == 'old'
    assert (tmp_path / 'a').read_text() == 'new' and names(tmp_path) == ['a']


def test_a_folder_of_depth_frames_may_be_replaced_another_folder_may_not(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'thesis.tex').write_text('years')
    with pytest.raises(OutputError, match='other things'), complete_or_nothing(tmp_path / 'a', overwrite=True):
        pass
    (tmp_path / 'a' / 'frames.jsonl').write_text('')
    with complete_or_nothing(tmp_path / 'a', overwrite=True) as path:
        path.mkdir()
    assert names(tmp_path) == ['a'] and names(tmp_path / 'a') == []


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(OutputError, match='does not exist; create'), complete_or_nothing(tmp_path / 'no' / 'a'):
        pass
    if os.geteuid() == 0:    # root may write everywhere but where the kernel lets nobody
        place, reason = Path('/proc/a'), 'cannot write a: .*; check free space and permissions'
    else:
        tmp_path.chmod(0o500)
        place, reason = tmp_path / 'a', 'Permission denied'
    with pytest.raises(OutputError, match=reason), complete_or_nothing(place):
        pass


def test_a_full_disk_is_an_output_error(tmp_path):
    if not os.path.exists('/dev/full'):
        pytest.skip('this system has no /dev/full')
    with pytest.raises(OutputError, match='cannot write .*: No space left on device; check free space'):
        with writing(tmp_path / 'a'), open('/dev/full', 'wb', buffering=0) as full:
            full.write(b'x')
