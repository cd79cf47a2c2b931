"""`depth_ros models`: the families, what they give and what they may be used for."""

from depth_ros.errors import DepthRosError


def models() -> None:
    """List the model families."""
    from depth_ros.families import TABLE, load_family

    for name, summary in TABLE.items():
        print(f'{name}: {summary}')
        try:
            family = load_family(name)
        except DepthRosError as error:
            print(f'    {error}')
            continue
        gives = [family.quantity.value, *(['pose'] if family.gives_pose else []),
                 *([f'embedding of {family.embedding_dim}'] if family.embedding_dim else [])]
        print(f'    gives {", ".join(gives)}; window {family.live.length}, lag {family.live.lag} frames')
        print(f'    licence: code {family.licence_code}, weights {family.licence_weights}')
