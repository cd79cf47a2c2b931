"""The node, as `depth_ros.ros.depth_node` starts it, on a machine with a fake GPU: SECONDS MOST FAILS before its arguments.

A build takes SECONDS, MOST runs of engines go well, a build FAILS with this reason ('' if it does not). What was counted
is written to the log at the end.
"""

import sys

from depth_ros import engines
from depth_ros.ros import depth_node
from depth_ros.runtime import engine_cache
from test.runtime.fake_trt import platform, slow_build


def main(seconds: str, most: str, fails: str, *arguments: str) -> int:
    here = platform(most=float(most))
    engine_cache.find_platform = engines.find_platform = lambda kind='': here
    engine_cache.build_plan = slow_build(float(seconds), fails)
    code = depth_node.main([sys.argv[0], *arguments])
    print(f'engines opened: {here.trt.opened}', flush=True)
    return code


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
