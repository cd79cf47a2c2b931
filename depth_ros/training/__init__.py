"""Losses, the synthetic world and the recipe that trains the network this package ships."""
