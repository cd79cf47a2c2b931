"""How the networks of the papers learn: a recipe per family, and the loop that all of them share.

`depth_ros train --recipe FAMILY --weights FILE` goes on training a family's weights on rendered clips, whose depth, pose and
camera matrix are exact, and writes them under their published names. The objectives, rates and shares are the papers';
what a paper leaves open is said where it is chosen.
"""

from importlib import import_module

from depth_ros.training.recipes.recipe import Recipe


def load_recipe(family: str) -> Recipe:
    """Return the recipe of one of `training.FAMILIES`."""
    recipe: Recipe = import_module(f'{__name__}.{family}').RECIPE
    return recipe
