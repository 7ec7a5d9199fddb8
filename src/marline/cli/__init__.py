"""The `marline` command: a thin layer of arguments and output over the rooms below.

A module per command, imported only when that command runs, so that `--help` is instant.
"""
