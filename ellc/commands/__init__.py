"""The commands of the command line; each module parses options, calls a function and prints."""
