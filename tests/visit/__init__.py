"""The example in a real browser: used as a person would, photographed, and looked at by axe-core."""
