"""Losses, the synthetic world and the recipes: how the network that this package ships was trained, and how those of the
papers are trained on."""

RECIPES = {'lite': 'depth_ros.training.lite:train_lite'}
FAMILIES = ('video_depth_anything', 'gemdepth', 'dvd', 'pixel_perfect', 'pixel_perfect_video', 'depthvlm')
