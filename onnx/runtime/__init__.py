"""An export's model on ONNX Runtime alone. Importing this package imports neither it nor PyTorch."""
