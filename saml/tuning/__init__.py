"""Learning-rate selection: a sweep over one small grid on tuning speakers, who have no other role.

    rates         names of rates, settings of a stage at a rate, folders of trials
    trial         a stage whose training may diverge without failing
    judge_rate    the command judge-rate: loss of the trials at one rate on unseen utterances
    ranking       the best rate, from losses alone (no files)
    choose_rates  the commands choose-start and choose-rates: run records in; adapter, table and config out
    print_rates   the table on a terminal

A trial is one of the experiment's own stages (expert initialisation, pre-training, adaptation) at one rate. A
rate is judged by the loss on utterances that were neither trained on nor used to select an epoch. Importing
this package or `rates` is light, because the workflow does it.
"""
