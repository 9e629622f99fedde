"""The commands of the program `saml`, one module a group; `stage_table` defines the stages of the pipeline.

The functions behind the commands are in other packages and are imported only when a command runs.
"""
