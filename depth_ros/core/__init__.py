"""The idea of the package in numpy: windows, alignment, streams, cameras, clouds."""
