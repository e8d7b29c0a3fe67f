"""The app: the command line and the notebooks' pages, over a run's files.

options: the options of every command. commands: what each does. cli: parses, calls, turns errors into exit codes.
access: what viewers of a page may do. page_link: a page's settings in its address. jobs: long work that viewers
share. server/: marimo's server with our layers. views/: what the notebooks show.

It is the last package: no other imports from it.
"""
