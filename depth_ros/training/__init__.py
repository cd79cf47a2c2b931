"""Losses, the synthetic world and the recipes that train the networks this package ships."""

RECIPES = {'lite': 'depth_ros.training.lite:train_lite'}
