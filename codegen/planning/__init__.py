"""Makes plans. A plan says which kernels run, in which order, and on which bytes."""
