"""Tables, figures and HTML pages of an experiment. Nothing here imports torch.

`tables` reads hypotheses and writes CSV files; `figures` and `print_tables` read only these and the run
records.
"""
