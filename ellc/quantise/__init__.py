"""Post-training quantisation: a float network becomes one with integers of 8 bits.

`layers` finds what can be computed in integers, `observers` watches the values of the float network
on calibration data, `ranges` chooses scales and zero points, `rewrite` makes the integer network.
`quantising` runs these steps in order, and `accuracy` counts correct answers before and after.
"""
