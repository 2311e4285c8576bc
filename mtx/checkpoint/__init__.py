"""What is on disk: sealed folders, the state of a training, the model folder. No pickle anywhere."""
