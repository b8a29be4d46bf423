"""``python -m ellc`` is the same as the ``ellc`` command."""

import sys


def main() -> None:
    """The `ellc` command; Ctrl-C also works while its modules are imported."""
    try:
        from ellc.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)  # `EXIT_INTERRUPTED` of `ellc.cli`, which is not imported yet
    command_line()


if __name__ == "__main__":
    main()
