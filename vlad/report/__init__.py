"""`vladctl report`: what vlad.db remembers of some days, as one HTML file with plots and tables.

contents.py gathers it, series.py thins it out, plots.py draws it, page.py puts it together.
"""
