"""Faster R-CNN on torchvision's parts (Ren et al. 2015, https://arxiv.org/abs/1506.01497)."""
