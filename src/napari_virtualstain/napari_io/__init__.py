"""What the viewer is given: layers from images, never a widget."""
