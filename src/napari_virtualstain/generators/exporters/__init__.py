"""Make of a model what other programs run: an ONNX graph, a bioimage.io package."""
