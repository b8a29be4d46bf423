"""What compiling makes of a network and why, level by level: `ellc explain`."""
