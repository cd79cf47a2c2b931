"""How good the depth is: data sets with truth, protocols that make it comparable, metrics, and the runner."""
