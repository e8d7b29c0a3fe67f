"""Evaluation: vignettes, dilemmas, free text, capability, and reports that can only be compared where they are comparable."""
