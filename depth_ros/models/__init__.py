"""The networks, one torch file each, and the weights that the package ships."""
