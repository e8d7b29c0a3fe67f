"""Axes: the traits to steer by, each two poles of personas with the prompts to read and to use them on.

axis_file: a TOML or JSON file to checked values, prompt pools put in. axis: the Axis itself, those that are shipped,
and what makes one valid. data/: the shipped axes, pools and item sets.

A new axis is a file, one's own (`--axis my_axis.toml`) or one in data/axes/.
"""
