"""The server of a notebook as an app: marimo's own, started with the library warm, and three layers in front of it.

command: the command line that starts it (where it listens, its password file). main: imports, warms up, then runs
marimo. first_paint: the first screen within the answer itself. static_files: scripts, styles and fonts from memory.
security_headers: what every answer carries.
"""
