"""What runs a graph: named numpy arrays in, named numpy arrays out."""
