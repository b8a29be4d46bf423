"""From graph IR to machine code: targets, planning, kernels, emitters, linking and packaging."""
