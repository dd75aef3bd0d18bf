"""Pictures of the admin in Chromium, light and dark, for the documentation: ``make screenshots``."""
