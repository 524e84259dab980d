from pescape.cli import main


def run(capsys, *arguments):
    """Run a command; its exit code, and what it printed to stdout and stderr."""
    try:
        main([str(a) for a in arguments])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    printed = capsys.readouterr()
    return code, printed.out, printed.err
