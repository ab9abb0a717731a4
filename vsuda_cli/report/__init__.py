"""The HTML report: one file with tables, plots and pictures, to be opened offline."""
