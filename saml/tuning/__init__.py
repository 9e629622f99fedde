"""Learning rates from one small grid: tried on people who are heard by nobody else, and judged by what they
say that neither trained a trial nor chose its epoch.

    rates    how a rate is spelt and how it enters the settings of a stage; where trials lie
    trial    a stage whose training may diverge without failing
    judging  judge-rate: what the trials at one rate lose on unheard sentences
    choice   which rate is best: no files
    stages   choose-start and choose-rates: run records in, adapter, table and configuration out
    show     the table for a terminal

What is tried are the experiment's own stages (expert initialisation, pre-training, adaptation); only their
settings differ, by the rate. Importing this package, or `rates`, is light: the workflow does.
"""
