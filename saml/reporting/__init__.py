"""Tables and figures: what the experiment found, for people.

`tables` reads hypotheses and writes CSV; `figures` and `show` read only these tables and the run records.
"""
