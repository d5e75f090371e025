"""Tables, grids and pictures of what was measured."""
