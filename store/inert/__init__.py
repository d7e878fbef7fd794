"""Text that others wrote, made inert: visible on a screen, without markup in Markdown, no formula in a table."""
