"""The trainer's laws and figures on whatever CUDA devices there are: `python -m tests.gpu`.

It needs `pip install 'mlimages-dataset[train]'` and no network; where there is no GPU, the same code runs on the CPU.
"""
