"""Which kernels run in which order on which bytes."""
