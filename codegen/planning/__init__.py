"""Makes plans: which kernels run in which order on which bytes."""
