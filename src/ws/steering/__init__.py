"""The steer step: a direction read from two poles, and added to the residual stream while the model runs.

methods/: one file per method. direction: the Direction, one vector per block. extraction: `ws.extract`, from an axis
to a direction. coefficients: doses per row and per direction. schedules: when and where a dose applies. hooks:
`ws.steered`, the hooks that apply it.
"""
