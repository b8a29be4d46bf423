"""``python -m ellc`` is the same as the ``ellc`` command."""

import sys


def main() -> None:
    """The `ellc` command, which may be interrupted while its modules are read, too."""
    try:
        from ellc.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)  # EXIT_INTERRUPTED, of a module that is not there yet
    command_line()


if __name__ == "__main__":
    main()
