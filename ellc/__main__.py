"""``python -m ellc`` is the same as the ``ellc`` command."""

import sys


def main() -> None:
    """Run the `ellc` command; Ctrl-C ends it quietly even while modules are being imported."""
    try:
        from ellc.cli import main as command_line
    except KeyboardInterrupt:
        sys.exit(130)  # `EXIT_INTERRUPTED` of `ellc.cli`, which is not imported yet
    command_line()


if __name__ == "__main__":
    main()
