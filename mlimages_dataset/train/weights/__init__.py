"""Weights in and out: checkpoints, safetensors, state dicts of torchvision and timm, TensorFlow's, and ONNX."""
