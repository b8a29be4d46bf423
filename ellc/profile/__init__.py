"""Where the time of a network goes: layers, kinds of operators, memory, phases of a program."""
