"""How the examples run while the documentation is built."""


class Arguments:
    """Command line of an example: where figures go, and whether few repeats will do.

    Parameters
    ----------
    figures : Path
        Folder for the files that the example saves; the pages have figures of their own.
    quick : bool
    """

    def __init__(self, figures, quick):
        self.figures = figures
        self.quick = quick

    def __call__(self, gallery_conf, script_vars):
        """Return the arguments."""
        return ["--output", str(self.figures)] + ["--quick"] * self.quick

    def __repr__(self):
        return f"Arguments(quick={self.quick})"  # examples run again where this differs
