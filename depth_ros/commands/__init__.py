"""The `depth_ros` program: one file per subcommand, loaded when it is called."""

import sys
from importlib import import_module

from depth_ros.errors import DepthRosError

COMMANDS = {
    'process': 'Depth of a recording: bag, video or folder of pictures in; bag or folder out.',
    'ask': 'Answer a question about a picture, with its depth.',
    'demo': 'Play a recording to a live node and show what it publishes.',
    'bench': 'Time every stage on this machine.',
    'evaluate': 'Score networks against the truth of pictures and videos.',
    'models': 'List the model families, check weights files, get the published ones.',
    'export': 'Write a network as ONNX files, which need no torch and run faster.',
    'build-engine': 'Build the TensorRT engines of an exported network for this GPU.',
    'train': 'Train a network of this package.',
}


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand; an error on purpose is one sentence and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ('-h', '--help'):
        print(_overview())
    elif arguments[0] == '--version':
        from depth_ros import __version__
        print(__version__)
    elif arguments[0] not in COMMANDS:
        sys.exit(_fail(f'unknown command {arguments[0]!r}; known: {", ".join(COMMANDS)}'))
    else:
        sys.exit(_run(*arguments))


def _run(name: str, *arguments: str) -> int:
    import typer

    function = name.replace('-', '_')
    module = import_module(f'depth_ros.commands.{function}')
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=COMMANDS[name])(getattr(module, function))
    try:
        return int(app(list(arguments), prog_name=f'depth_ros {name}', standalone_mode=True) or 0)
    except DepthRosError as error:
        return _fail(str(error))


def _fail(sentence: str) -> int:
    print(f'depth_ros: {sentence}', file=sys.stderr)
    return 2


def _overview() -> str:
    lines = [f'  {name:14}{help}' for name, help in COMMANDS.items()]
    return '\n'.join(['usage: depth_ros COMMAND ...    (depth_ros COMMAND --help for its options)', '', *lines])
