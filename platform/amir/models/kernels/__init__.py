"""The operators of `amir.models.operators` as Triton kernels for a GPU; each its file, both ways.

Nobody imports these but `amir.models.kernel_choice`, when they are chosen: Triton comes with the
CUDA build of torch alone. Without a GPU Triton's interpreter runs them (TRITON_INTERPRET=1), in
tests.
"""
