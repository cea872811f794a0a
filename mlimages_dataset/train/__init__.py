"""The reference trainer: losses, models, distributed training, evaluation, prediction, transfer."""
